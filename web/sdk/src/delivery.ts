/** Requests that must reach the hub however often the connection breaks. */
import { KloudTalkError } from "./errors.js";
import type { Request, Socket } from "./socket.js";
import type { Ok } from "./wire.js";

/** Milliseconds that a request waits for a connection: longer than any call lives without one. */
const PATIENCE = 60_000;
/** Milliseconds for which a hub that cannot do it now, and says so, is asked again; and between two times, when it names none. */
const UNAVAILABLE = 20_000;
const AGAIN = 1_000;

/**
 * Sends what `make` makes, and once more after each reconnection until there is an answer, or when the hub's own stores do not answer it. It may
 * arrive twice, so the hub's codes in `done` mean, from the second time on, that the first one arrived. `wanted(again)` is asked before each try. Null: not wanted any more, or it had arrived.
 */
export async function deliver(
  socket: () => Socket | null, make: () => Promise<Request>, wanted: (again: boolean) => boolean | Promise<boolean>, done: readonly string[] = [],
): Promise<Ok | null> {
  let waited = 0;
  for (let again = false; ; again = true) {
    const connection = socket();
    if (connection === null) throw new KloudTalkError("network");
    await connection.untilOnline(PATIENCE);
    if (!(await wanted(again))) return null;
    try {
      return await connection.request(await make());
    } catch (error) {
      if (!(error instanceof KloudTalkError)) throw error;
      if (again && done.includes(error.code)) return null;
      if (error.code === "unavailable" && waited < UNAVAILABLE) {
        const wait = 1000 * (error.retryAfter ?? 0) || AGAIN;
        waited += wait;
        await connection.pause(wait);
      } else if (error.code !== "network" && error.code !== "timeout") throw error;
    }
  }
}
