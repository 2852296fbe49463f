/** The REST API: one method to ask, errors as `KloudTalkError`. */
import { KloudTalkError } from "./errors.js";
import type { Platform } from "./platform.js";
import type { ErrorBody } from "./wire.js";

type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
interface Options { token?: string | null; body?: unknown }

const TIMEOUT = 35_000; // the outcome of a link is waited for up to 25 s
/** Connections that browsers keep for one server over HTTP/1.1, and milliseconds in which one that lives answers. */
const KEPT = 6;
const ALIVE_WITHIN = 1_500;

export class RestClient {
  readonly #base: string;
  readonly #platform: Platform;
  /** Called when the server does not know the session any more. */
  onUnauthenticated: (token: string) => void = () => undefined;

  constructor(base: string, platform: Platform) {
    this.#base = base;
    this.#platform = platform;
  }

  /** Asks; `token` is the bearer. Answers the body, or undefined for 204. */
  async ask<T = void>(method: Method, path: string, options: Options = {}): Promise<T> {
    const text = await (await this.download(method, path, options)).text();
    return (text === "" ? undefined : parse(text)) as T;
  }

  /**
   * The network is another one. Connections that were kept from the one before are dead, and a request on one of them would wait for minutes: each is
   * used for a trifle, and those without an answer are given up, which closes them.
   */
  renew(): void {
    for (let i = 0; i < KEPT; i++) {
      const asking = this.#platform.fetch(`${this.#base}/v1/server`, { cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(ALIVE_WITHIN) });
      asking.then((response) => response.blob()).catch(() => undefined);
    }
  }

  /** As `ask`, for a file. */
  async download(method: Method, path: string, options: Options = {}): Promise<Blob> {
    const headers: Record<string, string> = {};
    if (options.token) headers["Authorization"] = `Bearer ${options.token}`;
    if (options.body !== undefined) headers["Content-Type"] = "application/json";
    let response: Response;
    let content: Blob;
    try {
      response = await this.#platform.fetch(this.#base + path, {
        method, headers, body: options.body === undefined ? null : JSON.stringify(options.body), cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(TIMEOUT),
      });
      content = await response.blob();
    } catch (error) {
      throw new KloudTalkError(error instanceof DOMException && error.name === "TimeoutError" ? "timeout" : "network");
    }
    if (response.ok) return content;
    const body = parse(await content.text()) as Partial<ErrorBody> | undefined;
    if (body?.code === undefined) throw new KloudTalkError(response.status >= 500 ? "unavailable" : "network");
    if (body.code === "unauthenticated" && options.token) this.onUnauthenticated(options.token);
    throw new KloudTalkError(body.code, { retryAfter: body.retry_after, triesLeft: body.tries_left, devices: body.devices });
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
