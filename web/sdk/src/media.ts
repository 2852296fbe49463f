/** One WebRTC connection: audio both ways, candidates in batches, ICE restarts towards the other side or a relay's leg, what the browser counts. */
import { randomId } from "./bytes.js";
import type { Platform } from "./platform.js";
import type { Look } from "./quality.js";
import { iceCredentials, overLeg, preferred, relayedOnly, setupRole, withCredentials, withoutAddresses, withRobustOpus, type IceCredentials, type Leg } from "./sdp.js";
import type { Rung } from "./state.js";

const BATCH = 40;

export interface MediaEvents {
  /** Candidates to be sent, in order. */
  candidates(candidates: readonly RTCIceCandidateInit[], end: boolean): void;
  /** ICE and DTLS came up, went down for the moment, or cannot be had. */
  state(state: "connected" | "disconnected" | "failed"): void;
  remote(stream: MediaStream): void;
}

export interface MediaOptions {
  readonly iceServers: readonly RTCIceServer[];
  /** The other side must not learn this device's addresses: TURN servers and relays only, in what is said and in what is sent. */
  readonly hidden: boolean;
  /** Hidden, and a relay is there: nothing at all goes to the other side's candidates. */
  readonly closed: boolean;
}

export class Media {
  readonly #pc: RTCPeerConnection;
  readonly #platform: Platform;
  readonly #events: MediaEvents;
  readonly #local: MediaStream;
  readonly #remote: MediaStream;
  readonly #iceServers: RTCIceServer[];
  readonly #hidden: boolean;
  /** Hidden, with a relay and no TURN server: the other side's candidates are never used, and it gets nothing with which it could check one of ours. */
  readonly #sealed: boolean;
  #shut: boolean;
  #waiting: RTCIceCandidateInit[] = [];
  #ended = false;
  #flush: number | null = null;
  #early: RTCIceCandidateInit[] = [];
  #leg: ReadonlySet<string> = new Set();
  /** Of DTLS; null before the first answer. */
  #active: boolean | null = null;
  #turned: "found" | "refused" | "none" = "none";
  /** Negotiations that were begun: one that waits for the server stops when another has begun. */
  #begun = 0;
  #closed = false;

  constructor(platform: Platform, { iceServers, hidden, closed }: MediaOptions, local: MediaStream, events: MediaEvents) {
    this.#platform = platform;
    this.#events = events;
    this.#local = local;
    this.#hidden = hidden;
    this.#shut = closed;
    this.#sealed = closed && !iceServers.some(isTurn);
    // of no use to a sealed one: what STUN finds is never said
    this.#iceServers = this.#sealed ? [] : [...iceServers];
    // Firefox calls ICE without any candidate of its own failed at once, and never sends media on that connection again, though a restart gets through
    const pc = (this.#pc = new platform.RTCPeerConnection(this.#configuration(hidden && !this.#sealed)));
    this.#remote = new MediaStream();
    for (const track of local.getAudioTracks()) pc.addTrack(track, local);
    pc.ontrack = ({ track }) => {
      if (this.#remote.getTracks().includes(track)) return;
      this.#remote.addTrack(track);
      events.remote(this.#remote);
    };
    pc.onicecandidate = ({ candidate }) => {
      if (candidate === null || candidate.candidate === "") this.#ended = true;
      else this.#gathered(candidate.toJSON());
      this.#flush ??= platform.setTimeout(() => { this.#send(); }, BATCH);
    };
    pc.onicecandidateerror = ({ errorCode }) => {
      // 701: no answer from the server (W3C WebRTC, section 4.8.2)
      if (errorCode !== 701 && this.#turned === "none") this.#turned = "refused";
    };
    pc.onconnectionstatechange = () => {
      const state = pc.connectionState;
      if (!this.#closed && (state === "connected" || state === "disconnected" || state === "failed")) events.state(state);
    };
  }

  get remote(): MediaStream {
    return this.#remote;
  }

  /** What TURN servers gave so far: a candidate, a refusal, nothing. Firefox does not tell of refusals. */
  get turned(): "found" | "refused" | "none" {
    return this.#turned;
  }

  get connected(): boolean {
    return !this.#closed && this.#pc.connectionState === "connected";
  }

  /**
   * Our offer; `restart` gathers anew over the networks of now (RFC 8445, section 9). `near`: without TURN servers. Where a relay carries already,
   * only a direct way is better, and Chromium checks one pair after the other.
   */
  async offer(restart = false, near = false): Promise<string> {
    await this.#begin(restart, near);
    await this.#pc.setLocalDescription(await this.#pc.createOffer({ iceRestart: restart }));
    return this.#said();
  }

  /** Our answer to an offer. */
  async answer(offer: string, restart = false, near = false): Promise<string> {
    await this.#begin(restart, near);
    await this.#pc.setRemoteDescription({ type: "offer", sdp: this.#heard(offer) });
    await this.#takeEarly();
    await this.#pc.setLocalDescription(await this.#pc.createAnswer());
    this.#active ??= setupRole(this.#pc.localDescription?.sdp ?? "") === "active";
    return this.#said();
  }

  async accept(answer: string): Promise<void> {
    if (this.#pc.signalingState !== "have-local-offer") return;
    this.#active ??= setupRole(answer) !== "active";
    await this.#pc.setRemoteDescription({ type: "answer", sdp: this.#heard(answer) });
    await this.#takeEarly();
  }

  /**
   * Restarts ICE towards our leg of a relay: an offer that nobody gets to see, answered by the other side's description with the leg's ICE
   * lines. DTLS goes on end to end. `ask` gets the leg for our new credentials; false when another negotiation has begun meanwhile.
   */
  async toLeg(peer: string, ask: (credentials: IceCredentials) => Promise<Leg>): Promise<boolean> {
    const number = await this.#begin(false);
    // with candidates of the other side still known, new host ports could try them
    this.#pc.setConfiguration(this.#configuration(this.#hidden && !this.#shut));
    await this.#pc.setLocalDescription(await this.#pc.createOffer({ iceRestart: true }));
    const offer = this.#pc.localDescription?.sdp ?? "";
    const credentials = iceCredentials(offer);
    if (credentials === null) throw new Error("an offer without ICE");
    const leg = await ask(credentials);
    if (number !== this.#begun || this.#closed) return false;
    this.#leg = new Set(leg.candidates.map((candidate) => address(candidate.split(" ")[4], candidate.split(" ")[5])));
    await this.#pc.setRemoteDescription({ type: "answer", sdp: preferred(withRobustOpus(overLeg(peer, offer, leg, this.#active ?? false)), number) });
    return true;
  }

  /** Candidates of the other side; those that come before its description wait for it. */
  async add(candidates: readonly RTCIceCandidateInit[]): Promise<void> {
    if (this.#shut) return;
    if (this.#pc.remoteDescription === null) {
      this.#early.push(...candidates);
      return;
    }
    for (const candidate of candidates) {
      // one that this browser cannot use (a protocol it does not know, an old generation) must not stop the others
      await this.#pc.addIceCandidate({ ...candidate, candidate: preferred(candidate.candidate ?? "", this.#begun) }).catch(() => undefined);
    }
  }

  /** The microphone is off while muted or held; held silences the other side too. */
  silence(microphone: boolean, speaker: boolean): void {
    for (const track of this.#local.getAudioTracks()) track.enabled = !microphone;
    for (const track of this.#remote.getAudioTracks()) track.enabled = !speaker;
  }

  /** Fingerprints that the other side used in DTLS, as `sha-256 AB:CD:…`; empty where the browser does not tell. */
  async remoteFingerprints(): Promise<string[]> {
    const stats = await this.#pc.getStats();
    const ids = new Set<string>();
    const found: string[] = [];
    stats.forEach((report: { type: string; remoteCertificateId?: string }) => { if (report.type === "transport" && report.remoteCertificateId) ids.add(report.remoteCertificateId); });
    stats.forEach((report: { type: string; id: string; fingerprint?: string; fingerprintAlgorithm?: string }) => {
      if (report.type === "certificate" && ids.has(report.id)) found.push(`${report.fingerprintAlgorithm ?? ""} ${report.fingerprint ?? ""}`.toLowerCase());
    });
    return found;
  }

  /** What the browser has counted so far (W3C webrtc-stats); null when the connection is closed. */
  async look(): Promise<Look | null> {
    if (this.#closed) return null;
    const byId = new Map<string, Report>();
    (await this.#pc.getStats()).forEach((report: Report) => { byId.set(report.id, report); });
    const all = [...byId.values()];
    const chosen = all.find((one) => one.type === "transport" && one.selectedCandidatePairId !== undefined)?.selectedCandidatePairId;
    const pair = byId.get(chosen ?? "") ?? all.find((one) => one.type === "candidate-pair" && one.selected === true)
      ?? all.find((one) => one.type === "candidate-pair" && one.nominated === true && one.state === "succeeded") ?? null;
    const [local, remote] = [byId.get(pair?.localCandidateId ?? ""), byId.get(pair?.remoteCandidateId ?? "")];
    const atLeg = remote !== undefined && this.#leg.has(address(remote.address ?? remote.ip, remote.port));
    const heard = all.filter((one) => one.type === "inbound-rtp" && one.kind === "audio");
    const sent = all.filter((one) => one.type === "outbound-rtp" && one.kind === "audio").reduce((total, one) => total + (one.packetsSent ?? 0), 0);
    const sum = (field: "packetsReceived" | "packetsLost" | "concealedSamples" | "totalSamplesReceived"): number => heard.reduce((total, one) => total + (one[field] ?? 0), 0);
    const rtcp = all.find((one) => one.type === "remote-inbound-rtp" && one.kind !== "video" && typeof one.roundTripTime === "number");
    return {
      pair: pair?.id ?? null,
      rung: pair === null || local === undefined ? null : rung(local, remote, atLeg),
      atLeg,
      packets: sum("packetsReceived"), lost: Math.max(0, sum("packetsLost")),
      sent, sentLost: rtcp?.packetsLost ?? null, sentJitter: rtcp?.jitter ?? null,
      concealed: sum("concealedSamples"), samples: sum("totalSamplesReceived"),
      jitter: heard.find((one) => typeof one.jitter === "number")?.jitter ?? null,
      // RTCP's goes all the way; over a relay ICE's would end at it
      rtt: rtcp?.roundTripTime ?? (atLeg ? null : pair?.currentRoundTripTime ?? null),
    };
  }

  close(): void {
    this.#closed = true;
    if (this.#flush !== null) this.#platform.clearTimeout(this.#flush);
    this.#pc.close();
    for (const track of this.#remote.getTracks()) track.stop();
  }

  /** A negotiation begins: what was under way is given up. `exposed`: with the other side's candidates. */
  async #begin(exposed: boolean, near = false): Promise<number> {
    const number = ++this.#begun;
    if (this.#pc.signalingState === "have-local-offer") await this.#pc.setLocalDescription({ type: "rollback" });
    this.#waiting = [];
    this.#ended = false;
    if (exposed && !this.#sealed) {
      this.#shut = false;
      this.#pc.setConfiguration(this.#configuration(this.#hidden, near));
    }
    return number;
  }

  #configuration(relayed: boolean, near = false): RTCConfiguration {
    const iceServers = near ? this.#iceServers.filter((server) => !isTurn(server)) : this.#iceServers;
    return { iceServers, bundlePolicy: "max-bundle", iceTransportPolicy: relayed ? "relay" : "all" };
  }

  #said(): string {
    const sdp = this.#pc.localDescription?.sdp ?? "";
    if (!this.#hidden) return sdp;
    // candidates of this device answer those who know its credentials; nobody is to find out whether an address that they guessed is one
    return withoutAddresses(this.#sealed ? withCredentials(sdp, { ufrag: randomId(), pwd: randomId() }) : sdp);
  }

  #heard(sdp: string): string {
    return preferred(withRobustOpus(this.#shut ? withoutAddresses(sdp) : sdp), this.#begun);
  }

  #gathered(init: RTCIceCandidateInit): void {
    if (/ typ relay( |$)/u.test(init.candidate ?? "")) this.#turned = "found";
    if (!this.#hidden) {
      this.#waiting.push(init);
      return;
    }
    const candidate = relayedOnly(init.candidate ?? "");
    if (candidate !== null && !this.#shut) this.#waiting.push({ ...init, candidate });
  }

  #send(): void {
    this.#flush = null;
    if (this.#closed) return;
    const [some, end] = [this.#waiting, this.#ended];
    this.#waiting = [];
    this.#events.candidates(some, end);
  }

  async #takeEarly(): Promise<void> {
    const early = this.#early;
    this.#early = [];
    await this.add(early);
  }
}

/** The fields of the reports that are read here. */
interface Report {
  readonly type: string; readonly id: string; readonly kind?: string;
  readonly selectedCandidatePairId?: string; readonly selected?: boolean; readonly nominated?: boolean; readonly state?: string;
  readonly localCandidateId?: string; readonly remoteCandidateId?: string; readonly currentRoundTripTime?: number;
  readonly candidateType?: string; readonly relayProtocol?: string; readonly address?: string; readonly ip?: string; readonly port?: number;
  readonly packetsSent?: number; readonly packetsReceived?: number; readonly packetsLost?: number; readonly jitter?: number; readonly roundTripTime?: number;
  readonly concealedSamples?: number; readonly totalSamplesReceived?: number;
}

/** Whether there is a TURN server among an entry's addresses. */
export function isTurn({ urls }: RTCIceServer): boolean {
  return [urls].flat().some((url) => /^turns?:/u.test(url));
}

function address(host: string | undefined, port: string | number | undefined): string {
  return `${host ?? ""} ${port ?? ""}`;
}

function rung(local: Report, remote: Report | undefined, atLeg: boolean): Rung {
  if (atLeg) return "relay";
  if (local.candidateType === "relay") return local.relayProtocol === "tls" ? "turn_tls" : local.relayProtocol === "tcp" ? "turn_tcp" : "turn_udp";
  if (remote?.candidateType === "relay") return "turn_peer";
  return local.candidateType === "host" && remote?.candidateType === "host" ? "host" : "srflx";
}
