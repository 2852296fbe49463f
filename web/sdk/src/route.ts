/** The way of one call's media, kept going: runs the ladder (`ladder.ts`) on a connection, and watches whether anything comes. */
import { advance, start, type Act, type Ladder, type LadderEvent, type Via } from "./ladder.js";
import type { Media } from "./media.js";
import type { Platform } from "./platform.js";
import { between, tally, type Look, type Tally } from "./quality.js";
import type { IceCredentials, Leg } from "./sdp.js";
import type { CallQuality } from "./state.js";

/** Milliseconds between two looks while a way is being found, and once there is one. */
const LOOK_WHILE_WAITING = 150;
const LOOK = 400;
/** Opus' pauses for silence still send every 400 ms: after this many milliseconds without a packet, none will come. */
const SILENT_AFTER = 1_200;
const MEASURE_EVERY = 2_000;

export interface RouteEvents {
  /** Say it to the other side, sealed. */
  say(kind: "restart" | "restart_answer" | "relay" | "wish", body: Record<string, unknown>): Promise<void>;
  /** This device's leg for its ICE credentials. Rejects when there is none. */
  leg(credentials: IceCredentials): Promise<Leg>;
  /** The other side's newest verified description. */
  peer(): string;
  /** Media flow, or stopped. */
  flowing(flowing: boolean): void;
  quality(quality: CallQuality): void;
  /** Nothing is left to try. */
  exhausted(): void;
}

export class Route {
  readonly #platform: Platform;
  readonly #media: Media;
  readonly #events: RouteEvents;
  #ladder: Ladder;
  #offer: string | null = null;
  #timer: number | null = null;
  #return: number | null = null;
  #watch: number | null = null;
  #closed = false;
  /** The pair of candidates that was in use when this epoch began, and how many packets had come. */
  #old: { pair: string | null; packets: number } = { pair: null, packets: 0 };
  #last: Look | null = null;
  #measured: { look: Look; at: number } | null = null;
  #tally: Tally | null = null;
  /** When the last packet came in this epoch; null: none has. */
  #heardAt: number | null = null;

  constructor(platform: Platform, media: Media, leader: boolean, relay: boolean, events: RouteEvents) {
    this.#platform = platform;
    this.#media = media;
    this.#events = events;
    this.#ladder = start(leader, relay);
  }

  get epoch(): number {
    return this.#ladder.epoch;
  }

  /** What was counted so far; null before media flowed. */
  get tally(): Tally | null {
    return this.#tally;
  }

  get via(): Via {
    return this.#ladder.via;
  }

  /** Offer and answer are exchanged. `hidden`: one of the two hides; `moves`: the other side knows epochs. */
  answered(hidden: boolean, moves: boolean): void {
    this.#take({ type: "answered", hidden, moves });
    this.#look();
  }

  /** The other side said something about the way. */
  async heard(kind: "restart" | "restart_answer" | "relay" | "wish", body: { epoch: number; sdp: string | null; via: Via }): Promise<void> {
    if (kind === "restart_answer") {
      if (body.epoch === this.epoch && this.via === "direct" && body.sdp !== null) await this.#media.accept(body.sdp);
      return;
    }
    if (kind === "restart") this.#offer = body.sdp;
    this.#take(kind === "wish" ? { type: "wish", epoch: body.epoch, via: body.via } : { type: kind, epoch: body.epoch });
  }

  /** What ICE says. */
  state(state: "connected" | "disconnected" | "failed"): void {
    if (state === "connected") this.#look();
    else if (state === "failed" || this.#ladder.carried) this.#lost();
  }

  /** The networks of this device changed. */
  network(): void {
    this.#take({ type: "network" });
  }

  /** The relay will end: a leg of another one is needed. */
  relayEnding(): void {
    this.#take({ type: "renew" });
  }

  close(): void {
    this.#closed = true;
    for (const timer of [this.#timer, this.#return, this.#watch]) if (timer !== null) this.#platform.clearTimeout(timer);
  }

  #take(event: LadderEvent): void {
    if (this.#closed) return;
    const before = this.#ladder;
    const [ladder, acts] = advance(before, event);
    this.#ladder = ladder;
    if (ladder.epoch !== before.epoch) {
      this.#old = { pair: this.#last?.pair ?? null, packets: this.#last?.packets ?? 0 };
      this.#heardAt = null;
    }
    if (ladder.carried !== before.carried) this.#events.flowing(ladder.carried);
    for (const act of acts) this.#do(act, ladder.epoch);
    const given = !ladder.ever && (acts.length === 0 ? event.type === "lost" : ladder.tried > 2 && !ladder.relay);
    if (given) this.#events.exhausted();
  }

  #do(act: Act, epoch: number): void {
    const { setTimeout, clearTimeout } = this.#platform;
    switch (act.act) {
      case "wait":
        if (this.#timer !== null) clearTimeout(this.#timer);
        this.#timer = setTimeout(() => { this.#take({ type: "late", epoch }); }, act.milliseconds);
        return;
      case "return":
        if (this.#return !== null) clearTimeout(this.#return);
        this.#return = setTimeout(() => { this.#take({ type: "return", epoch }); }, act.milliseconds);
        return;
      case "say": void this.#events.say(act.kind, act.body); return;
      case "offer": void this.#direct(epoch); return;
      case "answer": void this.#answer(epoch); return;
      case "leg": void this.#overRelay(epoch); return;
    }
  }

  async #direct(epoch: number): Promise<void> {
    try {
      const sdp = await this.#media.offer(true);
      if (epoch === this.epoch) await this.#events.say("restart", { epoch, sdp });
    } catch { /* the connection is closed, or another negotiation came between: `late` goes on */ }
  }

  async #answer(epoch: number): Promise<void> {
    const offer = this.#offer;
    if (offer === null) return;
    try {
      const sdp = await this.#media.answer(offer, true);
      if (epoch === this.epoch) await this.#events.say("restart_answer", { epoch, sdp });
    } catch { /* as above */ }
  }

  async #overRelay(epoch: number): Promise<void> {
    try {
      await this.#media.toLeg(this.#events.peer(), (credentials) => this.#events.leg(credentials));
    } catch {
      this.#take({ type: "no_relay", epoch });
    }
  }

  #lost(): void {
    this.#take({ type: "lost", epoch: this.epoch });
  }

  /** Looks now, and again and again. */
  #look(): void {
    if (this.#watch !== null) this.#platform.clearTimeout(this.#watch);
    this.#watch = null;
    if (this.#closed) return;
    const epoch = this.epoch;
    void this.#media.look().catch(() => null).then((look) => {
      if (this.#closed || this.#watch !== null) return;
      this.#watch = this.#platform.setTimeout(() => { this.#watch = null; this.#look(); }, this.#ladder.carried ? LOOK : LOOK_WHILE_WAITING);
      if (look !== null && epoch === this.epoch) this.#see(look);
    });
  }

  #see(look: Look): void {
    const now = this.#platform.now();
    const more = this.#last === null || look.packets > this.#last.packets;
    this.#last = look;
    if (!this.#ladder.carried) {
      const ours = look.pair !== null && look.atLeg === (this.via === "relay") && (look.pair !== this.#old.pair || look.packets > this.#old.packets);
      if (!ours || !this.#media.connected) return;
      this.#heardAt = look.packets > this.#old.packets ? now : null;
      this.#take({ type: "flows", epoch: this.epoch });
      this.#measured = { look, at: now };
      this.#tally = tally(this.#tally, look);
      this.#events.quality(between(null, look));
      return;
    }
    if (more) this.#heardAt = now;
    // who never sent anything (a microphone that was pulled out) is not somebody who has gone
    else if (this.#heardAt !== null && now - this.#heardAt > SILENT_AFTER) {
      this.#heardAt = null;
      this.#lost();
      return;
    }
    if (this.#measured !== null && now - this.#measured.at >= MEASURE_EVERY) {
      this.#events.quality(between(this.#measured.look, look));
      this.#tally = tally(this.#tally, look);
      this.#measured = { look, at: now };
    }
  }
}
