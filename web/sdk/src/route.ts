/** The way of one call's media, kept going: runs the ladder (`ladder.ts`) on a connection, and watches whether anything comes. */
import { advance, start, type Act, type Ladder, type LadderEvent, type Via } from "./ladder.js";
import type { Media } from "./media.js";
import type { Platform } from "./platform.js";
import { between, tally, type Look, type Tally } from "./quality.js";
import type { IceCredentials, Leg } from "./sdp.js";
import type { CallQuality } from "./state.js";

/** Milliseconds between two looks while a way is being found, and once there is one. */
const LOOK_WHILE_WAITING = 150;
const LOOK = 250;
/** Opus' pauses for silence still send every 400 ms: after this many milliseconds without a packet, none will come. */
const SILENT_AFTER = 1_200;
const MEASURE_EVERY = 2_000;
/** Milliseconds that the hub may take to give a leg: it waits for a relay that is just starting. */
const LEG_WITHIN = 2_500;
/** Milliseconds that the other side has to reach its leg when this one has reached its own. */
const PEER_WITHIN = 4_000;

export interface RouteEvents {
  /** Say it to the other side, sealed. */
  say(kind: "restart" | "restart_answer" | "relay" | "wish", body: Record<string, unknown>): Promise<void>;
  /** This device's leg for its ICE credentials, if it can be had for as long as it is `wanted`. Rejects when there is none. */
  leg(credentials: IceCredentials, wanted: () => boolean): Promise<Leg>;
  /** The other side's newest verified description. */
  peer(): string;
  /** Media flow, on another way than before too, or stopped. */
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
  /** Milliseconds that the way of now has. */
  #patience = 0;
  #return: number | null = null;
  #watch: number | null = null;
  #closed = false;
  /** The pair of candidates that was in use when this epoch began or its way was lost, and how many packets had come. */
  #old: { pair: string | null; packets: number } = { pair: null, packets: 0 };
  #last: Look | null = null;
  #measured: { look: Look; at: number } | null = null;
  #tally: Tally | null = null;
  /** Legs that are waited for. */
  #legs = 0;
  /** This side has reached its leg of this epoch, but nothing has come. */
  #ready = false;
  /** When the last packet came in this epoch; null: none has. */
  #heardAt: number | null = null;
  /** What was told last, and when the last packet came, on whatever way. */
  #flowing = false;
  #soundAt: number | null = null;

  constructor(platform: Platform, media: Media, leader: boolean, { relay, servers }: { readonly relay: boolean; readonly servers: boolean }, events: RouteEvents) {
    this.#platform = platform;
    this.#media = media;
    this.#events = events;
    this.#ladder = start(leader, relay, servers);
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
    // while a leg is waited for, it is the way before that has failed: Firefox says so at once of one without any candidate
    else if (this.#legs === 0 && (state === "failed" || this.#ladder.carried)) this.#lost();
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
    if (ladder.epoch !== before.epoch) this.#forget();
    if (ladder.carried && (!before.carried || ladder.turn !== before.turn)) this.#tell(true);
    // the way before goes on for as long as it can while the next is looked for: whether it does is heard
    else if (before.carried && !ladder.carried && !quiet(event)) this.#tell(false);
    const near = before.via === "relay" && before.carried && !before.hidden;
    const more = acts.some(({ act }) => act === "leg") ? LEG_WITHIN : 0;
    for (const act of acts) this.#do(act, ladder.epoch, near, more);
    const given = !ladder.ever && (acts.length === 0 ? event.type === "lost" : ladder.tried > 2 && !ladder.relay);
    if (given) this.#events.exhausted();
  }

  #tell(flowing: boolean): void {
    this.#flowing = flowing;
    this.#events.flowing(flowing);
  }

  #do(act: Act, epoch: number, near: boolean, more: number): void {
    const { setTimeout, clearTimeout } = this.#platform;
    switch (act.act) {
      case "wait":
        this.#wait(epoch, act.milliseconds, more);
        return;
      case "return":
        if (this.#return !== null) clearTimeout(this.#return);
        this.#return = setTimeout(() => { this.#take({ type: "return", epoch }); }, act.milliseconds);
        return;
      case "say": void this.#events.say(act.kind, act.body); return;
      case "offer": void this.#direct(epoch, near); return;
      case "answer": void this.#answer(epoch, near); return;
      case "leg": void this.#overRelay(epoch); return;
    }
  }

  #wait(epoch: number, milliseconds: number, more = 0): void {
    if (this.#timer !== null) this.#platform.clearTimeout(this.#timer);
    this.#patience = milliseconds;
    this.#timer = this.#platform.setTimeout(() => { this.#take({ type: "late", epoch }); }, milliseconds + more);
  }

  async #direct(epoch: number, near: boolean): Promise<void> {
    try {
      const sdp = await this.#media.offer(true, near);
      if (epoch === this.epoch) await this.#events.say("restart", { epoch, sdp });
    } catch { /* the connection is closed, or another negotiation came between: `late` goes on */ }
  }

  async #answer(epoch: number, near: boolean): Promise<void> {
    const offer = this.#offer;
    if (offer === null) return;
    try {
      const sdp = await this.#media.answer(offer, true, near);
      if (epoch === this.epoch) await this.#events.say("restart_answer", { epoch, sdp });
    } catch { /* as above */ }
  }

  async #overRelay(epoch: number): Promise<void> {
    this.#legs++;
    try {
      await this.#media.toLeg(this.#events.peer(), async (credentials) => {
        const leg = await this.#events.leg(credentials, () => epoch === this.epoch);
        // whether the relay carries shows from now on: the hub may have waited for one that is just starting
        if (epoch === this.epoch && !this.#ladder.carried) this.#wait(epoch, this.#patience);
        return leg;
      });
    } catch {
      this.#take({ type: "no_relay", epoch });
    } finally {
      this.#legs--;
    }
  }

  #lost(): void {
    this.#forget(); // what came until now says nothing about whether this way carries again
    this.#take({ type: "lost", epoch: this.epoch });
  }

  #forget(): void {
    this.#old = { pair: this.#last?.pair ?? null, packets: this.#last?.packets ?? 0 };
    this.#heardAt = null;
    this.#ready = false;
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
    if (more) this.#soundAt = now;
    if (!this.#ladder.carried) {
      if (this.#flowing && this.#soundAt !== null && now - this.#soundAt > SILENT_AFTER) this.#tell(false);
      const heard = look.packets > this.#old.packets;
      const ready = look.pair !== null && look.atLeg === (this.via === "relay") && (look.pair !== this.#old.pair || heard);
      if (!ready || !this.#media.connected) return;
      if (!heard && this.#old.packets > 0) {
        // ICE is there, but the other side, who was heard before, is not: most likely on its way over from another network
        if (this.via === "relay" && !this.#ready) this.#wait(this.epoch, PEER_WITHIN);
        this.#ready = true;
        return;
      }
      this.#heardAt = heard ? now : null;
      this.#take({ type: "flows", epoch: this.epoch, turn: turned(look) });
      this.#measured = { look, at: now };
      this.#tally = tally(this.#tally, look);
      this.#events.quality(between(null, look));
      return;
    }
    if (look.pair !== null && turned(look) !== this.#ladder.turn) {
      this.#take({ type: "flows", epoch: this.epoch, turn: turned(look) });
      this.#events.quality(between(null, look));
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

/** Through a TURN server, of whichever side. */
function turned({ rung }: Look): boolean {
  return rung?.startsWith("turn") === true;
}

/** It begins a way while the one before still carries, as far as this side knows. */
function quiet(event: LadderEvent): boolean {
  return ["return", "renew", "restart", "relay"].includes(event.type) || (event.type === "wish" && event.via === "direct");
}
