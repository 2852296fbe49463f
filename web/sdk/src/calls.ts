/** Calls: one at a time per device. The hub's events and the user's acts meet here, one after the other. */
import { attempts, type Known } from "./attempts.js";
import { randomId } from "./bytes.js";
import { leaf } from "./certificates.js";
import type { Contacts } from "./contacts.js";
import type { Core } from "./core.js";
import { deliver } from "./delivery.js";
import { NOWHERE, over, told, without, type Elsewhere } from "./elsewhere.js";
import { KloudTalkError } from "./errors.js";
import { isTurn, Media } from "./media.js";
import { heard, measured, UNKNOWN } from "./quality.js";
import { Route } from "./route.js";
import { safetyNumber } from "./safety-number.js";
import type { IceCredentials, Leg } from "./sdp.js";
import { hear } from "./sound-check.js";
import type { CallStage, CallState, EndReason, TriedWay } from "./state.js";
import type * as wire from "./wire.js";

const REMEMBERED = 500;
/** Milliseconds for the hub to answer when media have stopped. */
const PROBE = 600;
/** Milliseconds until a hub that could not take a report is told again. */
const UNAVAILABLE = 1_000;
/** Milliseconds between two reports of how a call is heard, where the user allows them. */
const HEARD_EVERY = 10_000;
const GLARE_WAIT = 5_000;
const GIVE_UP_AFTER = 60_000;
const MAX_CANDIDATES = 100;

/** What belongs to the call of now and is not for the page. */
interface Live {
  readonly id: string;
  readonly outgoing: boolean;
  readonly account: string;
  /** This device made the offer of the connection of now: it called, or took the call over. */
  leads: boolean;
  /** What the hub says of changes up to this one is of the time before this device took the call over, and came late. */
  since: number;
  /** The offer was made to take the call over, and waits for the answer. */
  moving: boolean;
  /** The other side's devices that the call moved away from. */
  readonly former: Set<string>;
  /** What the server had to get media through, when it was last asked. */
  ways: Ways | null;
  /** Devices that the call is sealed for, by id; of an incoming call the caller's. All verified. */
  readonly devices: Map<string, wire.DeviceCertificate>;
  /** The other device in the call, once there is one. */
  peer: wire.DeviceCertificate | null;
  media: Media | null;
  route: Route | null;
  /** This device hides its address; the other one does, or the reverse is known. */
  hidden: boolean;
  peerHidden: boolean;
  /** The other side can move a call to a relay. */
  peerMoves: boolean;
  local: MediaStream | null;
  /** Of an incoming call. */
  offer: string | null;
  /** Candidates that came before this side had media. */
  early: RTCIceCandidateInit[];
  /** Ours, until the invite or the answer is at the hub. */
  outbox: { candidates: readonly RTCIceCandidateInit[]; end: boolean; epoch: number }[] | null;
  /** Whether the hub knows the call. */
  known: boolean;
  reported: boolean;
  /** The way that the hub was told of last. */
  told: wire.Rung | null;
  /** The other side's verified description: what DTLS must agree with. */
  remoteSdp: string;
  /** What became of the ways for the media so far; null: none was needed yet. */
  tried: Tried | null;
  timers: Set<number>;
  interruptedAt: number | null;
  /** How many packets had come, and were lost, when it was last told how the call is heard. */
  heard: { at: number; received: number; lost: number } | null;
}

/** Filled in as a call goes on (`attempts.ts`). */
interface Tried { restarted: boolean; leg: Known["leg"]; readonly carried: Set<TriedWay> }

/** What this device tells the hub of a call. */
type Report =
  | { type: "call.ringing" | "call.busy" | "call.decline" | "call.hangup" | "call.failed"; call: string }
  | { type: "call.connected"; call: string; rung?: wire.Rung }
  | { type: "call.moved"; call: string; rung: wire.Rung };

/** What the server has to get media through. */
interface Ways { readonly servers: readonly RTCIceServer[]; readonly relay: boolean }

export class Calls {
  readonly #core: Core;
  readonly #contacts: Contacts;
  readonly #client: string | null;
  readonly #kept: () => void;
  #live: Live | null = null;
  #starting = false;
  #elsewhere: Elsewhere = NOWHERE;
  #queue: Promise<void> = Promise.resolve();
  #sending: Promise<void> = Promise.resolve();
  /** Calls that are over for this device; the oldest is forgotten first. */
  readonly #over = new Set<string>();
  /** Calls that the hub may still think to be up: told again after the next `sync`. */
  readonly #leaving = new Set<string>();
  /** Both called at once: this call goes on in place of ours, with our microphone. */
  #glare: { id: string; local: MediaStream | null; state: CallState } | null = null;

  /** `client`: the browser's name and version, or null. `kept`: called when a call's quality was kept. */
  constructor(core: Core, contacts: Contacts, client: string | null = null, kept: () => void = () => undefined) {
    this.#core = core;
    this.#contacts = contacts;
    this.#client = client;
    this.#kept = kept;
  }

  get localStream(): MediaStream | null {
    return this.#live?.local ?? null;
  }

  get remoteStream(): MediaStream | null {
    const stream = this.#live?.media?.remote;
    return stream !== undefined && stream.getTracks().length > 0 ? stream : null; // an empty one would leave an <audio> paused
  }

  // --- what the user does -------------------------------------------------------------------------------------------------

  /** `identityKey`: what the devices must be of, when it is known. */
  async call(account: string, identityKey?: string): Promise<void> {
    const core = this.#core;
    const self = core.device();
    if (this.#starting || this.#busy()) throw new KloudTalkError("busy");
    if (account === self.account) throw new KloudTalkError("call_to_self");
    this.#starting = true;
    let local: MediaStream | null = null;
    try {
      local = await this.#microphone();
      await core.socket?.untilOnline(8_000);
      const [devices, ways] = await Promise.all([this.#devices(account), this.#ways()]);
      if (this.#busy()) throw new KloudTalkError("busy"); // somebody called us meanwhile
      if (identityKey !== undefined && [...devices.values()].some((one) => one.identity_key !== identityKey)) throw new KloudTalkError("not_secure");
      const live = this.#begin({ id: randomId(), outgoing: true, account, devices, local });
      this.#show(live, "inviting", null);
      const media = this.#media(live, ways, local);
      local = null; // belongs to the call now
      try {
        const sdp = await media.offer();
        await this.#invite(live, account, sdp);
      } catch (error) {
        if (this.#live === live) {
          this.#close(live);
          core.set({ call: null });
        }
        throw error;
      }
      live.known = true;
      this.#release(live);
    } finally {
      this.#starting = false;
      for (const track of local?.getTracks() ?? []) track.stop();
    }
  }

  /** A test call: microphone and network, by an account that sends back what it hears. Rejects with `not_found` where there is none. */
  async soundCheck(): Promise<void> {
    const echo = await this.findEcho();
    await this.call(echo.account, echo.identity_key);
  }

  async findEcho(): Promise<wire.EchoAccount> {
    const echo = await this.#core.ask<wire.EchoAccount>("GET", "/v1/echo");
    this.#core.set({ echo: echo.account });
    return echo;
  }

  async #invite(live: Live, account: string, sdp: string): Promise<void> {
    const self = this.#core.device();
    for (let attempt = 0; ; attempt++) {
      const payloads: Record<string, string> = {};
      for (const [device, certificate] of live.devices) {
        payloads[device] = await this.#core.security.seal(live.id, self.device, self, certificate, "offer", this.#described(live, sdp));
      }
      try {
        await deliver(() => this.#core.socket, async () => ({ type: "call.invite", call: live.id, to: account, payloads }), (again) => this.#undecided(live, again), ["call_exists"]);
        return;
      } catch (error) {
        // their devices changed since we asked: ask once more
        const stale = error instanceof KloudTalkError && (error.code === "stale_devices" || error.code === "unknown_device");
        if (!stale || attempt > 0) throw error;
        const devices = await this.#devices(account);
        live.devices.clear();
        for (const [device, certificate] of devices) live.devices.set(device, certificate);
      }
    }
  }

  /** Whether an invite is still to be sent: not when the hub has the call already, or had it and it is over. */
  async #undecided(live: Live, again: boolean): Promise<boolean> {
    if (again) {
      await this.#queue; // what `sync` said
      const over = live.known ? null : await this.#inHistory(live.id);
      if (over !== null) this.#end(live, over);
    }
    return this.#live === live && !live.known;
  }

  /** Takes over a call that is at another device of this account. Nothing changes there before this device has its microphone and an offer. */
  async takeOver(id: string): Promise<void> {
    const core = this.#core;
    const there = this.#elsewhere.calls.get(id);
    if (there === undefined) throw new KloudTalkError("unknown_call");
    if (this.#starting || this.#busy()) throw new KloudTalkError("busy");
    const { account } = there.peer;
    const connectedAt = core.state.elsewhere.find((call) => call.id === id)?.connectedAt ?? core.platform.now();
    this.#starting = true;
    let local: MediaStream | null = null;
    try {
      local = await this.#microphone();
      await core.socket?.untilOnline(8_000);
      const [devices, ways] = await Promise.all([this.#devices(account), this.#ways()]);
      if (this.#busy()) throw new KloudTalkError("busy");
      const live = this.#begin({ id, outgoing: there.outgoing, account, devices, local });
      [live.leads, live.moving, live.since] = [true, true, there.seq];
      core.security.resume(id);
      const media = this.#media(live, ways, local);
      local = null; // belongs to the call now
      this.#show(live, "connecting", there.peer);
      if (core.state.call !== null) core.set({ call: { ...core.state.call, connectedAt } });
      try {
        await this.#move(live, there, await media.offer());
        if (this.#live !== live) throw new KloudTalkError("unknown_call");
      } catch (error) {
        if (this.#live === live) {
          this.#close(live);
          core.set({ call: null });
        }
        throw error;
      }
      live.known = true;
      this.#where(without(this.#elsewhere, id));
      this.#release(live);
    } finally {
      this.#starting = false;
      for (const track of local?.getTracks() ?? []) track.stop();
    }
  }

  async #move(live: Live, there: wire.CallElsewhere, sdp: string): Promise<void> {
    const self = this.#core.device();
    let to = there.peer.device ?? "";
    for (let attempt = 0; ; attempt++) {
      const peer = live.devices.get(to);
      if (peer === undefined) throw new KloudTalkError("unknown_device");
      live.peer = peer;
      try {
        await deliver(() => this.#core.socket, async () => ({
          type: "call.take_over", call: live.id, device: there.device, to, payload: await this.#core.security.seal(live.id, self.device, self, peer, "take_over", this.#described(live, sdp)),
        }), async (again) => {
          if (again) await this.#queue; // what `sync` said
          return this.#live === live && !live.known;
        }, ["wrong_stage"]);
        return;
      } catch (error) {
        // the other side moved at the same moment: once more, sealed for its device of now
        const now = error instanceof KloudTalkError && error.code === "unknown_device" ? error.devices?.[0] : undefined;
        if (now === undefined || attempt > 0) throw error;
        to = now;
      }
    }
  }

  async accept(): Promise<void> {
    const core = this.#core;
    const live = this.#must();
    const state = core.state.call;
    if (live.outgoing || live.media !== null || state?.stage !== "ringing" || this.#starting) throw new KloudTalkError("wrong_stage");
    if (this.#changed(live.account)) throw new KloudTalkError("identity_changed");
    this.#starting = true;
    try {
      const [local, ways] = await Promise.all([this.#microphone(), this.#ways()]);
      if (this.#live !== live) {
        for (const track of local.getTracks()) track.stop();
        throw new KloudTalkError("unknown_call");
      }
      live.local = local;
      await this.#answer(live, ways, local);
    } finally {
      this.#starting = false;
    }
  }

  async #answer(live: Live, ways: Ways, local: MediaStream): Promise<void> {
    const [core, self] = [this.#core, this.#core.device()];
    if (live.peer === null || live.offer === null) throw new KloudTalkError("wrong_stage");
    const media = this.#media(live, ways, local);
    this.#show(live, "connecting", null);
    try {
      const sdp = await media.answer(live.offer);
      const payload = await core.security.seal(live.id, self.device, self, live.peer, "answer", this.#described(live, sdp));
      await deliver(() => core.socket, async () => ({ type: "call.accept", call: live.id, payload }), () => this.#live === live, ["wrong_stage"]);
    } catch (error) {
      if (this.#live === live) {
        const elsewhere = error instanceof KloudTalkError && (error.code === "answered_elsewhere" || error.code === "unknown_call");
        if (!elsewhere) this.#tell({ type: "call.decline", call: live.id }, live.id);
        this.#end(live, elsewhere ? "answered_elsewhere" : "failed");
      }
      throw error;
    }
    live.route?.answered(live.hidden || live.peerHidden, live.peerMoves);
    await media.add(live.early.splice(0));
    this.#release(live);
  }

  /** An offer or answer, and what the other side must know of this one: `docs/security.md`. */
  #described(live: Live, sdp: string): { sdp: string; moves: true; hidden: boolean } {
    return { sdp, moves: true, hidden: live.hidden };
  }

  #understand(live: Live, body: unknown): void {
    const { moves, hidden } = body as { moves?: unknown; hidden?: unknown };
    [live.peerMoves, live.peerHidden] = [moves === true, hidden === true];
  }

  decline(): void {
    const live = this.#must();
    if (live.outgoing || live.media !== null) throw new KloudTalkError("wrong_stage");
    this.#tell({ type: "call.decline", call: live.id }, live.id);
    this.#end(live, "declined");
  }

  hangup(): void {
    if (this.#live === null && this.#glare !== null) {
      this.#leaving.add(this.#glare.id);
      this.#dropGlare("cancelled");
      return;
    }
    const live = this.#must();
    if (!live.outgoing && live.media === null) {
      this.decline();
      return;
    }
    const ringing = live.outgoing && ["inviting", "ringing"].includes(this.#core.state.call?.stage ?? "");
    this.#tell({ type: "call.hangup", call: live.id }, live.id);
    this.#end(live, ringing ? "cancelled" : "hangup");
  }

  setMuted(muted: boolean): void {
    this.#voice({ muted });
  }

  setHeld(held: boolean): void {
    this.#voice({ held });
  }

  dismiss(): void {
    if (this.#core.state.call?.stage === "ended") this.#core.set({ call: null });
  }

  /** The user accepted a contact's new key. */
  accepted(account: string): void {
    const { call } = this.#core.state;
    const live = this.#live;
    if (live !== null && call !== null && live.account === account) this.#core.set({ call: { ...call, identityChanged: false, safetyNumber: this.#safetyNumber(live) } });
  }

  /** Verified or not: draw it. */
  refreshPeer(): void {
    const { call } = this.#core.state;
    if (call !== null) this.#core.set({ call: { ...call, peer: { ...call.peer, ...this.#known(call.peer.account), business: call.peer.business } } });
  }

  /** The device is signed out, or the page closes. */
  stop(): void {
    this.#where(NOWHERE);
    const live = this.#live;
    if (live !== null) {
      this.#tell({ type: live.outgoing || live.media !== null ? "call.hangup" : "call.decline", call: live.id }, live.id);
      this.#end(live, "hangup");
    }
    this.#dropGlare("hangup");
  }

  /** This device is not let in any more (frozen, blocked): the hub has ended its calls, and has no way left to say so. Media must not go on without it. */
  shutOut(): void {
    this.#where(NOWHERE);
    const stage = this.#core.state.call?.stage;
    const ringing = stage === "inviting" || stage === "ringing";
    if (this.#live !== null) this.#end(this.#live, !ringing ? "hangup" : this.#live.outgoing ? "cancelled" : "unavailable");
    this.#dropGlare("cancelled");
  }

  // --- what the hub says, in its order --------------------------------------------------------------------------------------

  handle(message: wire.ServerMessage): void {
    this.#queue = this.#queue.then(() => this.#take(message)).catch((error: unknown) => {
      // a message that this client cannot take must not stop the next; the call it belongs to would end by its deadline
      console.error("KloudTalk: a message was not taken", error);
    });
  }

  async #take(message: wire.ServerMessage): Promise<void> {
    const late = message.type === "call.ended" || message.type === "call.up" || message.type === "call.taken_over";
    if (late && message.call === this.#live?.id && message.seq <= this.#live.since) return;
    switch (message.type) {
      case "sync": return this.#sync(message);
      case "call.incoming": return this.#incoming(message);
      case "call.rings": { const live = this.#mine(message.call); if (live !== null) this.#show(live, "ringing", null); return; }
      case "call.answered": return this.#answered(message.call, message.peer, message.payload, false);
      case "call.signalled": return this.#signalled(message.call, message.device, message.payload, false);
      case "call.relay_ending": this.#mine(message.call)?.route?.relayEnding(); return;
      case "call.taken_over": return this.#moved(message.call, message.peer, message.payload, false);
      case "call.elsewhere": this.#where(told(this.#elsewhere, [message], this.#core.device().device, false)); return;
      case "call.elsewhere_over": this.#where(over(this.#elsewhere, message)); return;
      case "call.up": { const live = this.#mine(message.call); if (live !== null) this.#up(live); return; }
      case "call.ended": return this.#ended(message);
      default:
    }
  }

  async #incoming(message: wire.CallIncoming): Promise<void> {
    const core = this.#core;
    const about = { account: message.peer.account, device: message.peer.device ?? null, call: message.call };
    if (this.#leaving.has(message.call)) {
      this.#tell({ type: "call.decline", call: message.call }, message.call);
      return;
    }
    if (this.#over.has(message.call)) {
      core.security.notice("replayed", about);
      return;
    }
    if (this.#live?.id === message.call) return;
    const glare = this.#glare?.id === message.call ? this.#glare : null;
    if (glare === null && (this.#busy() || this.#starting)) {
      this.#tell({ type: "call.busy", call: message.call }, message.call, false);
      return;
    }
    const { certificate } = message.peer;
    if (certificate === undefined || certificate.account !== message.peer.account || certificate.chain.at(-1)?.device !== message.peer.device) {
      core.security.notice("certificate_invalid", about);
      return;
    }
    const verdict = await core.security.judge(certificate.account, [certificate], { call: message.call });
    if (verdict === "refused") {
      this.#dropGlare("failed");
      return;
    }
    const self = core.device();
    const content = await core.security.open(message.call, certificate, self.device, self, message.payload, false);
    const sdp = content?.kind === "offer" ? text(content.body, "sdp") : null;
    if (sdp === null) {
      this.#dropGlare("failed");
      return;
    }
    const live = this.#begin({ id: message.call, outgoing: false, account: certificate.account, devices: new Map([[leaf(certificate).device, certificate]]), local: glare?.local ?? null });
    [live.peer, live.offer, live.remoteSdp, live.known] = [certificate, sdp, sdp, true];
    this.#understand(live, content?.body);
    this.#glare = null;
    this.#contacts.show();
    if (message.accepted === true) {
      this.#show(live, "connecting", message.peer);
      try {
        if (verdict === "changed") throw new KloudTalkError("identity_changed");
        live.local ??= await this.#microphone();
        await this.#answer(live, await this.#ways(), live.local);
      } catch {
        if (this.#live === live) {
          this.#tell({ type: "call.hangup", call: live.id }, live.id);
          this.#end(live, "failed");
        }
      }
      return;
    }
    this.#show(live, "ringing", message.peer);
    core.emit("incoming", core.state.call);
    this.#tell({ type: "call.ringing", call: live.id }, live.id, false);
    // the hub ends it in time; this is for a device that has lost the hub meanwhile
    this.#later(live, (message.expires_in + 5) * 1000, () => { if (live.media === null) this.#end(live, "missed"); });
  }

  /** The callee took the call. Its device must be one that the call was sealed for, with the same keys. */
  async #answered(id: string, peer: wire.Peer, payload: string, again: boolean): Promise<void> {
    const live = this.#mine(id);
    if (live === null || !live.outgoing || live.media === null || live.peer !== null) return;
    const core = this.#core;
    const certificate = live.devices.get(peer.device ?? "");
    if (certificate === undefined || peer.account !== live.account) {
      core.security.notice("ghost_device", { account: live.account, device: peer.device ?? null, call: id });
      this.#fail(live, true);
      return;
    }
    const self = core.device();
    const content = await core.security.open(id, certificate, self.device, self, payload, again);
    const sdp = content?.kind === "answer" ? text(content.body, "sdp") : null;
    if (sdp === null || this.#live !== live) {
      if (this.#live === live) this.#fail(live, true);
      return;
    }
    [live.peer, live.remoteSdp] = [certificate, sdp];
    this.#understand(live, content?.body);
    this.#show(live, "connecting", { account: live.account, device: leaf(certificate).device });
    try {
      await live.media.accept(sdp);
    } catch {
      this.#fail(live);
      return;
    }
    live.route?.answered(live.hidden || live.peerHidden, live.peerMoves);
  }

  /**
   * The other side goes on at another of its devices. Whoever cannot show a certificate of the identity key that the call is with, and an offer
   * signed for this call, changes nothing: media with the device that is known go on.
   */
  async #moved(id: string, peer: wire.Peer, payload: string, again: boolean): Promise<void> {
    const live = this.#mine(id);
    if (live === null || live.media === null) return;
    const core = this.#core;
    const { certificate } = peer;
    if (certificate === undefined || certificate.account !== live.account || peer.account !== live.account || certificate.chain.at(-1)?.device !== peer.device) {
      core.security.notice("certificate_invalid", { account: live.account, device: peer.device ?? null, call: id });
      return;
    }
    if ((await core.security.judge(live.account, [certificate], { call: id })) !== "trusted") return;
    const self = core.device();
    const content = await core.security.open(id, certificate, self.device, self, payload, again);
    const sdp = content?.kind === "take_over" ? text(content.body, "sdp") : null;
    if (sdp !== null && this.#live === live) await this.#follow(live, certificate, sdp, content?.body);
  }

  /** A new connection, with the device that made this offer. */
  async #follow(live: Live, peer: wire.DeviceCertificate, sdp: string, body: unknown): Promise<void> {
    const core = this.#core;
    const ways = await this.#ways().catch(() => live.ways); // what it was when the call began is better than no call
    const { local } = live;
    if (this.#live !== live || local === null || ways === null || core.state.call === null) return;
    live.route?.close();
    live.media?.close();
    const { device } = leaf(peer);
    if (live.peer !== null) live.former.add(leaf(live.peer).device);
    live.former.delete(device);
    live.devices.set(device, peer);
    [live.peer, live.remoteSdp, live.outbox, live.interruptedAt] = [peer, sdp, [], null];
    [live.leads, live.moving, live.reported] = [false, false, false];
    this.#understand(live, body);
    const media = this.#media(live, ways, local);
    const { muted, held } = core.state.call;
    core.set({ call: { ...core.state.call, peerMuted: false, peerHeld: false, media: "connecting" } });
    this.#show(live, "connecting", { account: live.account, device });
    try {
      await this.#signal(live, "answer", this.#described(live, await media.answer(sdp)));
    } catch {
      this.#fail(live);
      return;
    }
    if (this.#live !== live) return;
    live.route?.answered(live.hidden || live.peerHidden, live.peerMoves);
    this.#release(live);
    if (muted || held) void this.#signal(live, "state", { muted, held });
  }

  async #signalled(id: string, device: string, payload: string, again: boolean): Promise<void> {
    const live = this.#mine(id);
    if (live === null) return;
    const core = this.#core;
    const sender = live.peer ?? live.devices.get(device) ?? null;
    if (live.former.has(device)) return; // it was on its way when the call moved
    if (sender === null || leaf(sender).device !== device) {
      core.security.notice("wrong_sender", { account: live.account, device, call: id });
      return;
    }
    const self = core.device();
    const content = await core.security.open(id, sender, self.device, self, payload, again);
    if (content === null || this.#live !== live) return;
    await this.#apply(live, content.kind, content.body);
  }

  async #apply(live: Live, kind: string, body: unknown): Promise<void> {
    const sdp = text(body, "sdp");
    switch (kind) {
      case "candidates": {
        const candidates = list(body, "candidates");
        if (live.media === null) live.early.push(...candidates.slice(0, MAX_CANDIDATES - live.early.length));
        // those of another way would be tried for nothing, and over a relay none are wanted
        else if (number(body, "epoch") === (live.route?.epoch ?? 0) && live.route?.via !== "relay") await live.media.add(candidates);
        return;
      }
      case "answer": // to the offer that took the call over
        if (!live.moving || live.media === null || sdp === null) return;
        [live.moving, live.remoteSdp] = [false, sdp];
        this.#understand(live, body);
        try {
          await live.media.accept(sdp);
        } catch {
          this.#fail(live);
          return;
        }
        live.route?.answered(live.hidden || live.peerHidden, live.peerMoves);
        return;
      case "take_over": // it went away and came back while this device was away
        if (sdp !== null && live.peer !== null && live.media !== null) await this.#follow(live, live.peer, sdp, body);
        return;
      case "state": {
        const { call } = this.#core.state;
        const { muted, held } = body as { muted?: unknown; held?: unknown };
        if (call !== null) this.#core.set({ call: { ...call, peerMuted: muted === true, peerHeld: held === true } });
        return;
      }
      case "restart":
      case "restart_answer":
        if (sdp === null || live.route === null) return;
        if (number(body, "epoch") >= live.route.epoch) live.remoteSdp = sdp;
        return live.route.heard(kind, { epoch: number(body, "epoch"), sdp, via: "direct" });
      case "levels": {
        const { call, echo } = this.#core.state;
        const heard = call === null || live.account !== echo ? null : hear(call.heard, body);
        if (call !== null && heard !== null) this.#core.set({ call: { ...call, heard } });
        return;
      }
      case "relay":
      case "wish":
        return live.route?.heard(kind, { epoch: number(body, "epoch"), sdp: null, via: text(body, "via") === "relay" ? "relay" : "direct" });
      default: // a newer client's: not ours to understand
    }
  }

  #ended(message: wire.CallEnded): void {
    this.#leaving.delete(message.call);
    const live = this.#mine(message.call);
    if (live === null) {
      if (this.#glare?.id === message.call) this.#dropGlare(message.reason);
      return;
    }
    if (message.superseded_by !== undefined && live.outgoing && this.#core.state.call !== null) {
      // they called us at the same moment: that call goes on, with our microphone, and comes as `call.incoming`
      const { local } = live;
      live.local = null;
      const glare = { id: message.superseded_by, local, state: this.#core.state.call };
      this.#close(live);
      this.#glare = glare;
      this.#core.set({ call: { ...glare.state, id: glare.id, stage: "connecting", direction: "incoming" } });
      this.#core.platform.setTimeout(() => { if (this.#glare === glare) this.#dropGlare("failed"); }, GLARE_WAIT);
      return;
    }
    this.#end(live, message.reason);
  }

  #up(live: Live): void {
    this.#show(live, "connected", null);
  }

  /** The truth after a (re)connect. */
  async #sync(sync: wire.Sync): Promise<void> {
    this.#where(told(this.#elsewhere, sync.elsewhere ?? [], sync.device, true));
    const live = this.#live;
    if (live !== null && live.known && !sync.calls.some((view) => view.call === live.id)) {
      this.#end(live, this.#elsewhere.calls.has(live.id) ? "moved" : ((await this.#inHistory(live.id)) ?? "lost"));
    }
    if (this.#glare !== null && !sync.calls.some((view) => view.call === this.#glare?.id)) this.#dropGlare("failed");
    for (const id of this.#leaving) if (!sync.calls.some((view) => view.call === id)) this.#leaving.delete(id);
    for (const view of sync.calls) await this.#view(view);
  }

  async #view(view: wire.CallView): Promise<void> {
    const payloads = view.payloads ?? [];
    const rings = view.stage === "inviting" || view.stage === "ringing";
    const live = this.#mine(view.call);
    if (live === null) {
      const [offer, ...rest] = payloads;
      if (!view.outgoing && rings && offer !== undefined && !this.#over.has(view.call)) {
        await this.#incoming({ type: "call.incoming", call: view.call, seq: view.seq, peer: view.peer, payload: offer.payload, expires_in: view.expires_in });
        for (const { device, payload } of rest) await this.#signalled(view.call, device, payload, true);
        return;
      }
      // its media are gone with the page that had it, or the user has left it
      this.#tell({ type: view.outgoing || !rings ? "call.hangup" : "call.decline", call: view.call }, view.call);
      return;
    }
    live.known = true;
    for (const { device, payload } of payloads) {
      if (live.outgoing && live.peer === null && view.peer.device === device) await this.#answered(view.call, view.peer, payload, true);
      else if (live.peer !== null && leaf(live.peer).device !== device && view.peer.device === device) await this.#moved(view.call, view.peer, payload, true);
      else if (live.peer !== null) await this.#signalled(view.call, device, payload, true);
      if (this.#live !== live) return;
    }
    // after a move the hub's stage is `connected` before media flow here
    if (view.stage === "connected" && live.reported) this.#up(live);
    else if (view.stage === "ringing" && live.outgoing) this.#show(live, "ringing", null);
    this.#release(live);
    // if the report was lost on the way
    if (view.stage === "inviting" && !live.outgoing) this.#tell({ type: "call.ringing", call: live.id }, live.id, false);
    if ((view.stage === "connecting" || view.stage === "connected") && live.reported) this.#tell({ type: "call.connected", call: live.id, ...this.#rung() }, live.id, false);
  }

  /** How a call ended, if the hub has it among those that are over. */
  async #inHistory(call: string): Promise<EndReason | null> {
    try {
      const { calls } = await this.#core.ask<wire.CallHistory>("GET", "/v1/calls?limit=20");
      return calls.find((record) => record.call === call)?.reason ?? null;
    } catch {
      return null;
    }
  }

  // --- media ------------------------------------------------------------------------------------------------------------------

  /** The connection of a call and its way, from now on the call's. */
  #media(live: Live, ways: Ways, local: MediaStream): Media {
    const { platform } = this.#core;
    live.hidden = this.#core.state.alwaysRelay;
    live.ways = ways;
    const media = new Media(platform, { iceServers: ways.servers, hidden: live.hidden, closed: live.hidden && ways.relay }, local, {
      candidates: (candidates, end) => {
        if (live.route?.via === "relay") return; // they are for the relay's leg, which sees them by itself
        const batch = { candidates, end, epoch: live.route?.epoch ?? 0 };
        if (live.outbox !== null) live.outbox.push(batch);
        else void this.#candidates(live, batch);
      },
      remote: () => {
        this.#quiet(live);
        this.#core.set({});
      },
      state: (state) => { live.route?.state(state); },
    });
    live.media = media;
    const turn = ways.servers.some(isTurn);
    live.tried = { restarted: false, leg: "unasked", carried: new Set() };
    live.route = new Route(platform, media, live.leads, { relay: ways.relay, servers: turn }, {
      say: (kind, body) => {
        if (live.tried !== null && (kind === "restart" || kind === "restart_answer")) live.tried.restarted = true;
        return this.#signal(live, kind, body);
      },
      leg: (credentials, wanted) => this.#leg(live, credentials, wanted),
      peer: () => live.remoteSdp,
      flowing: (flowing) => { this.#flowing(live, flowing); },
      quality: (quality) => {
        const { call } = this.#core.state;
        if (this.#live !== live || call === null) return;
        this.#core.set({ call: { ...call, quality } });
        if (call.stage === "connected") this.#tellHeard(live, quality);
        if (quality.rung !== null) {
          live.tried?.carried.add(quality.rung === "host" || quality.rung === "srflx" ? "direct" : quality.rung === "relay" ? "relay" : "turn");
          this.#tried(live);
        }
      },
      exhausted: () => { if (this.#live === live && this.#core.state.call?.stage !== "connected") this.#fail(live); },
    });
    return media;
  }

  /** Shows what was tried, once the callee has taken the call. `over`: nothing more will be. */
  #tried(live: Live, over = false): void {
    const { call } = this.#core.state;
    const { tried, media, ways } = live;
    if (this.#live !== live || call === null || tried === null || media === null || ways === null || live.peer === null) return;
    const hidden = live.hidden || live.peerHidden;
    const now = attempts({
      ...tried, hidden, servers: ways.servers.some(isTurn), relay: ways.relay, turned: media.turned, over,
      turnTaken: tried.restarted || !(hidden && ways.relay && live.peerMoves),
    });
    if (JSON.stringify(now) !== JSON.stringify(call.tried)) this.#core.set({ call: { ...call, tried: now } });
  }

  #asked(live: Live, leg: Known["leg"]): void {
    if (live.tried !== null) live.tried.leg = leg;
    this.#tried(live);
  }

  /** This device's leg of the relay, over whichever connection to the hub gets through, for as long as it is wanted. */
  async #leg(live: Live, { ufrag, pwd }: IceCredentials, wanted: () => boolean): Promise<Leg> {
    this.#asked(live, "asked");
    try {
      const ok = await deliver(() => this.#core.socket, () => Promise.resolve({ type: "call.relay", call: live.id, ufrag, pwd }), () => this.#live === live && wanted());
      if (ok === null) throw new KloudTalkError("timeout"); // nobody wants it any more
      if (ok.leg === undefined) throw new KloudTalkError("no_relay");
      this.#asked(live, "given");
      return ok.leg;
    } catch (error) {
      const code = error instanceof KloudTalkError ? error.code : null;
      if (code === "no_relay" || code === "no_relay_free") this.#asked(live, code === "no_relay" ? "none" : "full");
      throw error;
    }
  }

  /** Candidates that waited for the invite or the answer to be at the hub may go now. */
  #release(live: Live): void {
    const waiting = live.outbox;
    live.outbox = null;
    for (const batch of waiting ?? []) void this.#candidates(live, batch);
  }

  async #candidates(live: Live, { candidates, end, epoch }: { candidates: readonly RTCIceCandidateInit[]; end: boolean; epoch: number }): Promise<void> {
    if (candidates.length > 0 || end) await this.#signal(live, "candidates", end ? { epoch, candidates, end: true } : { epoch, candidates });
  }

  /** Seals for the other side, one after the other: to the device in the call, or before there is one, to all that ring. */
  #signal(live: Live, kind: string, body: unknown): Promise<void> {
    this.#sending = this.#sending.then(async () => {
      if (this.#live !== live) return;
      const self = this.#core.device();
      const to = live.peer === null ? [...live.devices.values()] : [live.peer];
      for (const certificate of to) {
        const { device } = leaf(certificate);
        // sealed anew for each try, as the same number twice would be taken for a replay; refused: the call is over, or goes on without that device
        await deliver(() => this.#core.socket, async () => ({
          type: "call.signal", call: live.id, to: device, payload: await this.#core.security.seal(live.id, self.device, self, certificate, kind, body),
        }), () => this.#live === live).catch(() => undefined);
      }
    });
    return this.#sending;
  }

  /** The way of the media, as coarse as whoever runs the service needs it: not whether two people share a network. */
  #rung(): { rung?: wire.Rung } {
    const rung = this.#core.state.call?.quality.rung ?? null;
    return rung === null ? {} : { rung: rung === "host" || rung === "srflx" ? "direct" : rung };
  }

  #flowing(live: Live, flowing: boolean): void {
    const core = this.#core;
    if (this.#live !== live || core.state.call === null) return;
    if (flowing) {
      live.interruptedAt = null;
      core.set({ call: { ...core.state.call, media: "flowing" } });
      void this.#checkFingerprint(live).then((genuine) => {
        if (!genuine || this.#live !== live) return;
        const rung = this.#rung(); // the first look at the way is there by now
        if (!live.reported) this.#tell({ type: "call.connected", call: live.id, ...rung }, live.id, false);
        // a look for a better way that was in vain is no move
        else if (rung.rung !== undefined && rung.rung !== live.told) this.#tell({ type: "call.moved", call: live.id, rung: rung.rung }, live.id, false);
        [live.reported, live.told] = [true, rung.rung ?? live.told];
      });
      return;
    }
    core.set({ call: { ...core.state.call, media: "interrupted" } });
    core.socket?.probe(PROBE); // what ended the media may have ended the connection too, and the new way has to be agreed over it
    if (live.interruptedAt !== null) return;
    const at = (live.interruptedAt = core.platform.now());
    this.#later(live, GIVE_UP_AFTER, () => {
      if (live.interruptedAt !== at) return;
      this.#tell({ type: "call.hangup", call: live.id }, live.id);
      this.#end(live, "lost");
    });
  }

  /** The networks of this device changed. */
  restart(): void {
    this.#live?.route?.network();
  }

  /** The browser checks DTLS against the description; this checks, where the browser tells, that it used the verified one. */
  async #checkFingerprint(live: Live): Promise<boolean> {
    const used = await live.media?.remoteFingerprints().catch(() => []) ?? [];
    const signed = live.remoteSdp.toLowerCase();
    if (used.every((fingerprint) => signed.includes(`a=fingerprint:${fingerprint}`))) return true;
    this.#core.security.notice("fingerprint_mismatch", { account: live.account, device: live.peer === null ? null : leaf(live.peer).device, call: live.id });
    this.#fail(live);
    return false;
  }

  #voice(change: { muted?: boolean; held?: boolean }): void {
    const live = this.#must();
    const { call } = this.#core.state;
    if (call === null) return;
    const next = { ...call, ...change };
    this.#core.set({ call: next });
    this.#quiet(live);
    if (live.peer !== null && live.media !== null) void this.#signal(live, "state", { muted: next.muted, held: next.held });
  }

  /** What is muted or held stays so, whatever connection carries the call. */
  #quiet(live: Live): void {
    const { call } = this.#core.state;
    if (this.#live === live && call?.id === live.id) live.media?.silence(call.muted || call.held, call.held);
  }

  async #microphone(): Promise<MediaStream> {
    try {
      return await this.#core.platform.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true }, video: false });
    } catch (error) {
      const name = error instanceof DOMException ? error.name : "";
      throw new KloudTalkError(name === "NotAllowedError" || name === "SecurityError" ? "microphone_denied" : "no_microphone");
    }
  }

  async #ways(): Promise<Ways> {
    const { ice_servers: servers, relay } = await this.#core.ask<wire.IceServers>("GET", "/v1/ice-servers");
    return { servers: servers.map((server) => ({ ...server, urls: [...server.urls] })), relay: relay === true };
  }

  /** The callee's devices, every one of them trusted. Throws `identity_changed`, `not_secure`, `no_devices`. */
  async #devices(account: string): Promise<Map<string, wire.DeviceCertificate>> {
    const { certificates } = await this.#core.ask<wire.AccountDevices>("GET", `/v1/accounts/${account}/devices`);
    const verdict = await this.#core.security.judge(account, certificates);
    this.#contacts.show();
    if (verdict === "refused") throw new KloudTalkError("not_secure");
    if (verdict === "changed" || this.#changed(account)) throw new KloudTalkError("identity_changed");
    if (certificates.length === 0) throw new KloudTalkError("no_devices");
    return new Map(certificates.map((certificate) => [leaf(certificate).device, certificate]));
  }

  // --- state --------------------------------------------------------------------------------------------------------------------

  #begin(of: Pick<Live, "id" | "outgoing" | "account" | "devices" | "local">): Live {
    const live: Live = {
      ...of, leads: of.outgoing, since: 0, moving: false, former: new Set(), ways: null, peer: null, media: null, route: null, hidden: false, peerHidden: false, peerMoves: false, offer: null, early: [], outbox: [], known: false, reported: false, told: null, remoteSdp: "", tried: null, timers: new Set(), interruptedAt: null, heard: null,
    };
    this.#live = live;
    return live;
  }

  #show(live: Live, stage: CallStage, peer: wire.Peer | null): void {
    if (this.#live !== live) return;
    const { state } = this.#core;
    const now = this.#core.platform.now();
    const before = state.call?.id === live.id && state.call.stage !== "ended" ? state.call : null;
    const base: CallState = before ?? {
      id: live.id, direction: live.outgoing ? "outgoing" : "incoming", stage, peer: { account: live.account, name: null, phone: null, device: null, verified: false, business: false },
      startedAt: now, connectedAt: null, endedAt: null, muted: false, held: false, peerMuted: false, peerHeld: false, media: "none", quality: UNKNOWN,
      safetyNumber: null, identityChanged: false, notices: state.notices.filter((notice) => notice.call === live.id), endReason: null,
      tried: [], heard: null,
    };
    const known = this.#known(live.account);
    this.#core.set({
      call: {
        ...base, stage,
        direction: live.outgoing ? "outgoing" : "incoming",
        peer: { ...base.peer, ...known, phone: known.phone ?? peer?.phone ?? base.peer.phone, device: peer?.device ?? base.peer.device, business: known.business || base.peer.business || peer?.business === true },
        connectedAt: base.connectedAt ?? (stage === "connected" ? now : null),
        media: base.media === "none" && live.media !== null && (stage === "connecting" || stage === "connected") ? "connecting" : base.media,
        safetyNumber: base.safetyNumber ?? this.#safetyNumber(live),
        identityChanged: this.#changed(live.account),
      },
    });
  }

  #where(elsewhere: Elsewhere): void {
    if (elsewhere === this.#elsewhere) return;
    this.#elsewhere = elsewhere;
    const before = new Map(this.#core.state.elsewhere.map((call) => [call.id, call.connectedAt]));
    const now = this.#core.platform.now();
    this.#core.set({
      elsewhere: [...elsewhere.calls.values()].map(({ call, device, peer, connected_for: seconds }) => ({
        id: call, device, account: peer.account, phone: peer.phone ?? null, connectedAt: before.get(call) ?? now - seconds * 1000,
      })),
    });
  }

  #known(account: string): { name: string | null; phone: string | null; verified: boolean; business: boolean } {
    const contact = this.#contacts.byAccount(account);
    return { name: contact?.name ?? null, phone: contact?.phone ?? null, business: this.#core.state.contacts.some((one) => one.account === account && one.business), verified: this.#core.security.pin(account)?.verified ?? false };
  }

  #changed(account: string): boolean {
    return this.#core.security.pin(account)?.changedTo != null;
  }

  #safetyNumber(live: Live): string | null {
    const [self, pin] = [this.#core.device(), this.#core.security.pin(live.account)];
    if (pin === undefined) return null;
    const theirs = { account: live.account, identityKey: pin.changedTo ?? pin.identityKey };
    return safetyNumber({ account: self.account, identityKey: self.certificate.identity_key }, theirs);
  }

  #mine(call: string): Live | null {
    return this.#live?.id === call ? this.#live : null;
  }

  #must(): Live {
    if (this.#live === null) throw new KloudTalkError("no_call");
    return this.#live;
  }

  #busy(): boolean {
    return this.#live !== null || this.#glare !== null;
  }

  /** Tells the hub. `insist`: when it cannot be told now, the next `sync` is the time; when it cannot take it now, in a moment. */
  #tell(request: Report, call: string, insist = true): void {
    if (insist) this.#leaving.add(call);
    this.#core.request(request).then(
      () => { this.#leaving.delete(call); },
      (error: unknown) => {
        if (!(error instanceof KloudTalkError) || error.code === "network" || error.code === "timeout") return;
        const wanted = (): boolean => (insist ? this.#leaving.has(call) : this.#mine(call) !== null);
        if (error.code === "unavailable") this.#core.platform.setTimeout(() => { if (wanted()) this.#tell(request, call, insist); }, UNAVAILABLE);
        else this.#leaving.delete(call);
      },
    );
  }

  /** `taken`: before the callee took it a call cannot fail, it is cancelled. */
  #fail(live: Live, taken = live.peer !== null): void {
    this.#tell({ type: taken ? "call.failed" : "call.hangup", call: live.id }, live.id);
    this.#end(live, "failed");
  }

  #end(live: Live, reason: EndReason): void {
    if (this.#live !== live) return;
    this.#tried(live, true);
    const { call } = this.#core.state;
    this.#keepQuality(live);
    this.#close(live);
    if (call === null) return;
    const ended: CallState = { ...call, stage: "ended", endedAt: this.#core.platform.now(), endReason: reason, media: "none" };
    this.#core.set({ call: ended });
    this.#core.emit("ended", ended);
  }

  /** Has the server keep how well the call worked, if the user allows it (P17). */
  #keepQuality(live: Live): void {
    if (!this.#mayKeepQuality()) return;
    const found = measured(live.route?.tally ?? null, this.#client);
    if (found !== null) void this.#core.ask("PUT", `/v1/calls/${live.id}/quality`, found).then(this.#kept, () => undefined);
  }

  #mayKeepQuality(): boolean {
    return this.#core.state.consents.some((one) => one.purpose === "quality" && one.granted);
  }

  /** Tells now and then how the call is heard here, if the user allows it (P17). */
  #tellHeard(live: Live, quality: CallState["quality"]): void {
    if (!this.#mayKeepQuality()) {
      live.heard = null;
      return;
    }
    const now = this.#core.platform.now();
    const before = live.heard;
    if (before !== null && now - before.at < HEARD_EVERY) return;
    live.heard = { at: now, received: quality.packetsReceived, lost: quality.packetsLost };
    const found = before === null ? null : heard(before, live.heard, quality);
    if (found !== null) void this.#core.ask("POST", `/v1/calls/${live.id}/quality`, found).catch(() => undefined); // the next one may get there
  }

  #dropGlare(reason: EndReason): void {
    const glare = this.#glare;
    if (glare === null) return;
    this.#glare = null;
    for (const track of glare.local?.getTracks() ?? []) track.stop();
    this.#remember(glare.id);
    const ended: CallState = { ...glare.state, id: glare.id, stage: "ended", endedAt: this.#core.platform.now(), endReason: reason };
    this.#core.set({ call: ended });
    this.#core.emit("ended", ended);
  }

  #close(live: Live): void {
    this.#live = null;
    for (const timer of live.timers) this.#core.platform.clearTimeout(timer);
    live.route?.close();
    live.media?.close();
    for (const track of live.local?.getTracks() ?? []) track.stop();
    this.#core.security.endCall(live.id);
    this.#remember(live.id);
  }

  #remember(call: string): void {
    this.#over.add(call);
    for (const oldest of this.#over) {
      if (this.#over.size <= REMEMBERED) break;
      this.#over.delete(oldest);
    }
  }

  #later(live: Live, milliseconds: number, act: () => void): void {
    const timer = this.#core.platform.setTimeout(() => {
      live.timers.delete(timer);
      if (this.#live === live) act();
    }, milliseconds);
    live.timers.add(timer);
  }
}

function text(body: unknown, field: string): string | null {
  const value = (body as Record<string, unknown>)[field];
  return typeof value === "string" ? value : null;
}

/** 0 where there is none: the first way is the only one that older clients know. */
function number(body: unknown, field: string): number {
  const value = (body as Record<string, unknown>)[field];
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : 0;
}

function list(body: unknown, field: string): RTCIceCandidateInit[] {
  const value = (body as Record<string, unknown>)[field];
  if (!Array.isArray(value)) return [];
  return value.slice(0, MAX_CANDIDATES).flatMap((item: unknown): RTCIceCandidateInit[] => {
    if (typeof item !== "object" || item === null) return [];
    const { candidate, sdpMid, sdpMLineIndex, usernameFragment } = item as Record<string, unknown>;
    if (typeof candidate !== "string") return [];
    return [{
      candidate, sdpMid: typeof sdpMid === "string" ? sdpMid : null, sdpMLineIndex: typeof sdpMLineIndex === "number" ? sdpMLineIndex : null,
      usernameFragment: typeof usernameFragment === "string" ? usernameFragment : null,
    }];
  });
}
