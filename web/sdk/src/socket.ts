/** The WebSocket to the hub: `hello`, requests and their answers, finding out that it is dead, reconnecting with jitter. */
import { KloudTalkError } from "./errors.js";
import type { Platform } from "./platform.js";
import type { ConnectionCause, ConnectionState } from "./state.js";
import type { ClientMessage, Ok, ServerMessage } from "./wire.js";

const SUBPROTOCOL = "kloudtalk.v1";
const ANSWER_TIMEOUT = 10_000;
/**
 * Milliseconds from opening to `sync`; in a call, and otherwise. Browsers themselves wait for minutes where packets vanish; but a hub to which
 * thousands come at once needs a while for all of them, and who gives up early stands at the end of the line again. In a call each attempt takes twice as long as the one before.
 */
const OPEN_TIMEOUT = { call: 4_000, idle: 20_000 } as const;
/** Milliseconds that a hub has to answer `ping`: several round trips of a bad mobile network. */
const PING_TIMEOUT = 2_500;
/** Milliseconds without a message until the hub is asked whether it is there; in a call, and otherwise. */
const SILENCE = { call: 5_000, idle: 45_000 } as const;
/** Milliseconds that a connection must have lasted for the next back-off to start from the beginning. */
const STEADY = 5_000;
const CLOSE = { goingAway: 1001, tryLater: 1013, unauthenticated: 4401, frozen: 4403, blocked: 4406, replaced: 4409, rateLimited: 4429 } as const;
/** Milliseconds within which clients of a hub that goes away come back, at random; who is in a call comes first. */
const SPREAD = { call: 250, idle: 1_500 } as const;

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
  #opening: number | null = null;
  #beat: number | null = null;
  #heardAt = 0;
  #onlineAt = 0;
  #openedAt = 0;
  #closed = false;
  #online = false;
  #inCall = false;
  /** Milliseconds that the hub asked us to wait. */
  #asked = 0;
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

  /** In a call a dead connection is looked for more often. */
  set inCall(inCall: boolean) {
    if (inCall === this.#inCall) return;
    this.#inCall = inCall;
    if (this.#online) this.#listen();
  }

  /** Connects now, or again now instead of after the back-off. */
  connect(): void {
    if (this.#closed || this.#ws !== null) return;
    if (this.#retry !== null) this.#platform.clearTimeout(this.#retry);
    this.#retry = null;
    this.#events.connection({ status: "connecting", retryAt: null, cause: null });
    const ws = (this.#ws = new this.#platform.WebSocket(this.#url, SUBPROTOCOL));
    let refused = false;
    this.#openedAt = this.#platform.now();
    const patience = this.#inCall ? Math.min(OPEN_TIMEOUT.call * 2 ** Math.min(this.#attempt, 10), OPEN_TIMEOUT.idle) : OPEN_TIMEOUT.idle;
    this.#opening = this.#platform.setTimeout(() => { if (this.#ws === ws) this.#abandon(); }, patience);
    ws.onopen = () => { ws.send(JSON.stringify({ type: "hello", id: this.#id++, token: this.#token })); };
    ws.onmessage = (event) => {
      const message = parse(event.data);
      if (message === null || this.#ws !== ws) return;
      this.#heardAt = this.#platform.now();
      if (message.type === "sync") {
        this.#opened();
        this.#events.connection({ status: "online", retryAt: null, cause: null });
        this.#events.message(message);
        for (const go of [...this.#whenOnline]) go();
        return;
      }
      if (message.type === "ok") {
        this.#settle(message.re)?.resolve(message);
      } else if (message.type === "error") {
        if (!this.#online) {
          if (message.code === "unauthenticated") refused = true;
          this.#asked = 1000 * (message.retry_after ?? 0);
        }
        if (message.re !== undefined) {
          this.#settle(message.re)?.reject(new KloudTalkError(message.code, { retryAfter: message.retry_after, devices: message.devices }));
        }
      } else {
        this.#events.message(message);
      }
    };
    ws.onclose = (event) => {
      if (this.#ws !== ws) return;
      if (refused || event.code === CLOSE.replaced) {
        this.#ws = null;
        this.#drop();
        this.#closed = true;
        this.#events.connection({ status: "offline", retryAt: null, cause: null });
        this.#events.stopped(refused ? "revoked" : "replaced");
        return;
      }
      this.#lost(event.code);
    };
  }

  /** The user is impatient: try at once. What is being opened gets a moment; what is open is asked whether it is. */
  retryNow(): void {
    if (this.#online) this.probe();
    else if (this.#ws === null) this.connect();
    else if (this.#platform.now() - this.#openedAt > 1_000) this.replace();
  }

  /** The network is another one: what was open before is dead, whatever it looks like. */
  replace(): void {
    if (this.#closed) return;
    this.#detach();
    this.#attempt = 0;
    this.connect();
  }

  /** The page is put to sleep: without a connection the hub knows that this device has to be woken. `retryNow` ends it. */
  sleep(): void {
    if (this.#closed || this.#inCall) return;
    if (this.#retry !== null) this.#platform.clearTimeout(this.#retry);
    this.#retry = null;
    this.#detach();
    this.#events.connection({ status: "offline", retryAt: null, cause: null });
  }

  /** Asks the hub whether it is there; a connection without an answer is replaced. */
  probe(patience = PING_TIMEOUT): void {
    const ws = this.#ws;
    if (ws === null || !this.#online) return;
    this.#request({ type: "ping" }, patience).catch((error: unknown) => {
      if (this.#ws === ws && error instanceof KloudTalkError && error.code === "timeout") this.#abandon();
    });
  }

  /** Sends a request and waits for its answer. Rejects with the hub's code, or `network`, `timeout`. */
  request(request: Request): Promise<Ok> {
    return this.#request(request, ANSWER_TIMEOUT);
  }

  #request(request: Request, timeout: number): Promise<Ok> {
    const ws = this.#ws;
    if (ws === null || !this.#online) return Promise.reject(new KloudTalkError("network"));
    const id = this.#id++;
    return new Promise((resolve, reject) => {
      const timer = this.#platform.setTimeout(() => this.#settle(id)?.reject(new KloudTalkError("timeout")), timeout);
      this.#waiting.set(id, { resolve, reject, timer });
      ws.send(JSON.stringify({ ...request, id }));
    });
  }

  /** Resolves when online, at once if it is. Rejects with `network` after `milliseconds`. */
  async untilOnline(milliseconds: number): Promise<void> {
    if (this.#online) return;
    if (this.#ws === null) this.connect();
    await new Promise<void>((resolve, reject) => {
      const go = (): void => { this.#whenOnline.delete(go); this.#platform.clearTimeout(timer); resolve(); };
      const timer = this.#platform.setTimeout(() => { this.#whenOnline.delete(go); reject(new KloudTalkError("network")); }, milliseconds);
      this.#whenOnline.add(go);
    });
  }

  /** Resolves after some milliseconds. */
  pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => { this.#platform.setTimeout(resolve, milliseconds); });
  }

  close(): void {
    this.#closed = true;
    if (this.#retry !== null) this.#platform.clearTimeout(this.#retry);
    this.#detach();
    this.#events.connection({ status: "offline", retryAt: null, cause: null });
  }

  #opened(): void {
    this.#online = true;
    this.#onlineAt = this.#platform.now();
    this.#asked = 0;
    this.#stop("opening");
    this.#listen();
  }

  /** Looks now and then whether the hub has said anything. */
  #listen(): void {
    this.#stop("beat");
    const silence = this.#inCall ? SILENCE.call : SILENCE.idle;
    this.#beat = this.#platform.setTimeout(() => {
      if (this.#platform.now() - this.#heardAt >= silence - 500) this.probe();
      this.#listen();
    }, silence);
  }

  /** Nothing comes over this connection any more. A close of it would be waited for in vain. */
  #abandon(): void {
    const was = this.#online;
    this.#detach();
    this.#lost(0, was);
  }

  #detach(): void {
    const ws = this.#ws;
    this.#ws = null;
    this.#drop();
    if (ws === null) return;
    ws.onopen = ws.onmessage = ws.onclose = null;
    ws.close(1000);
  }

  #lost(code: number, was = this.#online): void {
    const { now, random } = this.#platform;
    const lasted = was ? now() - this.#onlineAt : 0;
    this.#ws = null;
    this.#drop();
    if (this.#closed) return;
    if (lasted > STEADY) this.#attempt = 0;
    let wait = Math.max(backoff(this.#attempt++, random()), this.#asked);
    let cause: ConnectionCause = this.#platform.network.online ? (was ? "interrupted" : "server") : "no_network";
    if (code === CLOSE.goingAway) [wait, cause] = [random() * (this.#inCall ? SPREAD.call : SPREAD.idle), "going_away"];
    else if (code === CLOSE.rateLimited) [wait, cause] = [Math.max(wait, 5_000 * (0.5 + random() / 2)), "rate_limited"];
    else if (code === CLOSE.tryLater) cause = "server";
    else if (code === CLOSE.frozen || code === CLOSE.blocked) cause = "shut_out";
    // on an open connection: the session ended. The next `hello` says so for certain
    else if (code === CLOSE.unauthenticated) wait = 0;
    this.#events.connection({ status: "waiting", retryAt: now() + wait, cause });
    this.#retry = this.#platform.setTimeout(() => { this.#retry = null; this.connect(); }, wait);
  }

  #settle(id: number): { resolve: (ok: Ok) => void; reject: (error: KloudTalkError) => void } | null {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return null;
    this.#waiting.delete(id);
    this.#platform.clearTimeout(waiting.timer);
    return waiting;
  }

  #stop(timer: "opening" | "beat"): void {
    const running = timer === "opening" ? this.#opening : this.#beat;
    if (running !== null) this.#platform.clearTimeout(running);
    if (timer === "opening") this.#opening = null;
    else this.#beat = null;
  }

  #drop(): void {
    this.#online = false;
    this.#stop("opening");
    this.#stop("beat");
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
