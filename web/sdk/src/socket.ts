/** The WebSocket to the hub: `hello`, requests and their answers, reconnecting with jitter. */
import { KloudTalkError } from "./errors.js";
import type { Platform } from "./platform.js";
import type { ConnectionState } from "./state.js";
import type { ClientMessage, Ok, ServerMessage } from "./wire.js";

const SUBPROTOCOL = "kloudtalk.v1";
const ANSWER_TIMEOUT = 10_000;
const CLOSE = { unauthenticated: 4401, replaced: 4409 } as const;

type Without<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;
/** A request without its number: the socket gives it one. */
export type Request = Without<Exclude<ClientMessage, { type: "hello" }>, "id">;

/** Milliseconds before the `attempt`-th try (from 0): at most 0.25 s doubling to 15 s, and anything down to half of that at random. */
export function backoff(attempt: number, random: number): number {
  const most = Math.min(15_000, 250 * 2 ** Math.min(attempt, 10));
  return most * (0.5 + random / 2);
}

export interface SocketEvents {
  /** A message that is not the answer to a request. */
  message(message: ServerMessage): void;
  connection(state: ConnectionState): void;
  /** The server does not know this session any more, or the device is connected from another page. No reconnect follows. */
  stopped(reason: "revoked" | "replaced"): void;
}

export class Socket {
  readonly #url: string;
  readonly #token: string;
  readonly #platform: Platform;
  readonly #events: SocketEvents;
  #ws: WebSocket | null = null;
  #id = 0;
  #attempt = 0;
  #retry: number | null = null;
  #closed = false;
  #online = false;
  readonly #waiting = new Map<number, { resolve: (ok: Ok) => void; reject: (error: KloudTalkError) => void; timer: number }>();
  readonly #whenOnline = new Set<() => void>();

  constructor(url: string, token: string, platform: Platform, events: SocketEvents) {
    this.#url = url;
    this.#token = token;
    this.#platform = platform;
    this.#events = events;
  }

  get online(): boolean {
    return this.#online;
  }

  /** Connects now, or again now instead of after the back-off. */
  connect(): void {
    if (this.#closed || this.#ws !== null) return;
    if (this.#retry !== null) this.#platform.clearTimeout(this.#retry);
    this.#retry = null;
    this.#events.connection({ status: "connecting", retryAt: null });
    const ws = (this.#ws = new this.#platform.WebSocket(this.#url, SUBPROTOCOL));
    let refused = false;
    ws.onopen = () => { ws.send(JSON.stringify({ type: "hello", id: this.#id++, token: this.#token })); };
    ws.onmessage = (event) => {
      const message = parse(event.data);
      if (message === null || this.#ws !== ws) return;
      if (message.type === "sync") {
        this.#online = true;
        this.#attempt = 0;
        this.#events.connection({ status: "online", retryAt: null });
        this.#events.message(message);
        for (const go of [...this.#whenOnline]) go();
        return;
      }
      if (message.type === "ok") {
        this.#settle(message.re)?.resolve(message);
      } else if (message.type === "error") {
        if (!this.#online && message.code === "unauthenticated") refused = true;
        if (message.re !== undefined) {
          this.#settle(message.re)?.reject(new KloudTalkError(message.code, { retryAfter: message.retry_after, devices: message.devices }));
        }
      } else {
        this.#events.message(message);
      }
    };
    ws.onclose = (event) => {
      if (this.#ws !== ws) return;
      this.#ws = null;
      this.#drop();
      if (this.#closed) return;
      if (refused || event.code === CLOSE.replaced) {
        this.#closed = true;
        this.#events.connection({ status: "offline", retryAt: null });
        this.#events.stopped(refused ? "revoked" : "replaced");
        return;
      }
      // 4401 on an open connection: the session ended. The next `hello` says so for certain
      const wait = event.code === CLOSE.unauthenticated ? 0 : backoff(this.#attempt++, this.#platform.random());
      this.#events.connection({ status: "waiting", retryAt: this.#platform.now() + wait });
      this.#retry = this.#platform.setTimeout(() => { this.#retry = null; this.connect(); }, wait);
    };
  }

  /** The network came back, or the user is impatient: try at once. An open socket that may be dead is left to the heartbeat. */
  retryNow(): void {
    if (this.#ws !== null && this.#ws.readyState !== WebSocket.OPEN) return;
    this.connect();
  }

  /** Sends a request and waits for its answer. Rejects with the hub's code, or `network`, `timeout`. */
  request(request: Request): Promise<Ok> {
    const ws = this.#ws;
    if (ws === null || !this.#online) return Promise.reject(new KloudTalkError("network"));
    const id = this.#id++;
    return new Promise((resolve, reject) => {
      const timer = this.#platform.setTimeout(() => this.#settle(id)?.reject(new KloudTalkError("timeout")), ANSWER_TIMEOUT);
      this.#waiting.set(id, { resolve, reject, timer });
      ws.send(JSON.stringify({ ...request, id }));
    });
  }

  /** Resolves when online, at once if it is. Rejects with `network` after `milliseconds`. */
  async untilOnline(milliseconds: number): Promise<void> {
    if (this.#online) return;
    this.retryNow();
    await new Promise<void>((resolve, reject) => {
      const go = (): void => { this.#whenOnline.delete(go); this.#platform.clearTimeout(timer); resolve(); };
      const timer = this.#platform.setTimeout(() => { this.#whenOnline.delete(go); reject(new KloudTalkError("network")); }, milliseconds);
      this.#whenOnline.add(go);
    });
  }

  close(): void {
    this.#closed = true;
    if (this.#retry !== null) this.#platform.clearTimeout(this.#retry);
    this.#ws?.close(1000);
    this.#ws = null;
    this.#drop();
    this.#events.connection({ status: "offline", retryAt: null });
  }

  #settle(id: number): { resolve: (ok: Ok) => void; reject: (error: KloudTalkError) => void } | null {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return null;
    this.#waiting.delete(id);
    this.#platform.clearTimeout(waiting.timer);
    return waiting;
  }

  #drop(): void {
    this.#online = false;
    for (const id of [...this.#waiting.keys()]) this.#settle(id)?.reject(new KloudTalkError("network"));
  }
}

function parse(data: unknown): ServerMessage | null {
  try {
    const message: unknown = JSON.parse(String(data));
    return typeof message === "object" && message !== null && "type" in message ? (message as ServerMessage) : null;
  } catch {
    return null;
  }
}
