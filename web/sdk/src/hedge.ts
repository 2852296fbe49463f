/** A request that must not wait for a connection that died with the network it was made in. */
import { KloudTalkError } from "./errors.js";
import type { Platform } from "./platform.js";

/**
 * Asks again every `milliseconds` until one of at most `times` answers: browsers put requests on kept connections, and find out late that one of
 * those is dead. Only for requests that may be made twice. Rejects with the first answer that is an error, or when all have failed.
 */
export function hedged<T>(platform: Pick<Platform, "setTimeout" | "clearTimeout">, ask: () => Promise<T>, milliseconds: number, times: number): Promise<T> {
  return new Promise((resolve, reject) => {
    let [asked, failed] = [0, 0];
    let timer: number | null = null;
    const stop = (): void => { if (timer !== null) platform.clearTimeout(timer); };
    const again = (): void => {
      asked++;
      timer = asked < times ? platform.setTimeout(again, milliseconds) : null;
      ask().then((value) => { stop(); resolve(value); }, (error: unknown) => {
        const reached = error instanceof KloudTalkError && error.code !== "network" && error.code !== "timeout";
        if (!reached && ++failed < times) return;
        stop();
        reject(error as Error);
      });
    };
    again();
  });
}
