/** One WebRTC connection: audio both ways, candidates in batches, ICE restart, numbers about its quality. */
import type { Platform } from "./platform.js";
import type { CallQuality } from "./state.js";

const BATCH = 40;

export interface MediaEvents {
  /** Candidates to be sent, in order. */
  candidates(candidates: readonly RTCIceCandidateInit[], end: boolean): void;
  /** The path came up, went down for the moment, or cannot be had. */
  state(state: "flowing" | "interrupted" | "failed"): void;
  remote(stream: MediaStream): void;
}

export const UNKNOWN: CallQuality = { rttMs: null, jitterMs: null, lossPercent: null, level: "unknown", path: null };

export class Media {
  readonly #pc: RTCPeerConnection;
  readonly #platform: Platform;
  readonly #events: MediaEvents;
  readonly #local: MediaStream;
  readonly #remote: MediaStream;
  #waiting: RTCIceCandidateInit[] = [];
  #ended = false;
  #flush: number | null = null;
  #early: RTCIceCandidateInit[] = [];
  #counted = { lost: 0, received: 0 };
  #closed = false;

  constructor(platform: Platform, iceServers: readonly RTCIceServer[], local: MediaStream, events: MediaEvents) {
    this.#platform = platform;
    this.#events = events;
    this.#local = local;
    const pc = (this.#pc = new platform.RTCPeerConnection({ iceServers: [...iceServers], bundlePolicy: "max-bundle" }));
    this.#remote = new MediaStream();
    for (const track of local.getAudioTracks()) pc.addTrack(track, local);
    pc.ontrack = ({ track }) => {
      this.#remote.addTrack(track);
      events.remote(this.#remote);
    };
    pc.onicecandidate = ({ candidate }) => {
      if (candidate === null || candidate.candidate === "") this.#ended = true;
      else this.#waiting.push(candidate.toJSON());
      this.#flush ??= platform.setTimeout(() => { this.#send(); }, BATCH);
    };
    pc.onconnectionstatechange = () => {
      if (this.#closed) return;
      if (pc.connectionState === "connected") events.state("flowing");
      else if (pc.connectionState === "disconnected") events.state("interrupted");
      else if (pc.connectionState === "failed") events.state("failed");
    };
  }

  get remote(): MediaStream {
    return this.#remote;
  }

  /** Our offer; `restart` gathers anew over the networks of now (RFC 8445, section 9). */
  async offer(restart = false): Promise<string> {
    this.#ended = false;
    await this.#pc.setLocalDescription(await this.#pc.createOffer({ iceRestart: restart }));
    return this.#pc.localDescription?.sdp ?? "";
  }

  /** Our answer to an offer. */
  async answer(offer: string): Promise<string> {
    await this.#pc.setRemoteDescription({ type: "offer", sdp: offer });
    await this.#takeEarly();
    await this.#pc.setLocalDescription(await this.#pc.createAnswer());
    return this.#pc.localDescription?.sdp ?? "";
  }

  async accept(answer: string): Promise<void> {
    await this.#pc.setRemoteDescription({ type: "answer", sdp: answer });
    await this.#takeEarly();
  }

  /** Candidates of the other side; those that come before its description wait for it. */
  async add(candidates: readonly RTCIceCandidateInit[]): Promise<void> {
    if (this.#pc.remoteDescription === null) {
      this.#early.push(...candidates);
      return;
    }
    for (const candidate of candidates) {
      // one that this browser cannot use (a protocol it does not know, an old generation) must not stop the others
      await this.#pc.addIceCandidate(candidate).catch(() => undefined);
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

  async quality(): Promise<CallQuality> {
    if (this.#closed) return UNKNOWN;
    let rtt: number | null = null, jitter: number | null = null, received = 0, lost = 0, path: CallQuality["path"] = null;
    const stats = await this.#pc.getStats();
    // eslint-disable-next-line @typescript-eslint/no-explicit-any -- reports have a shape for each type
    const all: any[] = [];
    stats.forEach((report) => all.push(report));
    const byId = new Map(all.map((report) => [report.id, report]));
    for (const report of all) {
      if (report.type === "inbound-rtp" && report.kind === "audio") {
        jitter = typeof report.jitter === "number" ? report.jitter * 1000 : jitter;
        received += report.packetsReceived ?? 0;
        lost += report.packetsLost ?? 0;
      } else if (report.type === "remote-inbound-rtp" && typeof report.roundTripTime === "number") {
        rtt ??= report.roundTripTime * 1000;
      } else if (report.type === "candidate-pair" && report.nominated && report.state === "succeeded") {
        if (typeof report.currentRoundTripTime === "number") rtt = report.currentRoundTripTime * 1000;
        const relayed = [report.localCandidateId, report.remoteCandidateId].some((id) => byId.get(id)?.candidateType === "relay");
        path = relayed ? "relay" : "direct";
      }
    }
    const [newLost, newReceived] = [Math.max(0, lost - this.#counted.lost), Math.max(0, received - this.#counted.received)];
    this.#counted = { lost, received };
    const loss = newLost + newReceived === 0 ? null : (100 * newLost) / (newLost + newReceived);
    return { rttMs: rtt, jitterMs: jitter, lossPercent: loss, level: level(rtt, jitter, loss), path };
  }

  close(): void {
    this.#closed = true;
    if (this.#flush !== null) this.#platform.clearTimeout(this.#flush);
    this.#pc.close();
    for (const track of this.#remote.getTracks()) track.stop();
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

/** What people notice: echo of delay above some 300 ms, gaps above some 3 % loss (ITU-T G.107 in broad strokes). */
export function level(rtt: number | null, jitter: number | null, loss: number | null): CallQuality["level"] {
  if (rtt === null && loss === null) return "unknown";
  if ((rtt ?? 0) > 500 || (loss ?? 0) > 8 || (jitter ?? 0) > 80) return "poor";
  if ((rtt ?? 0) > 250 || (loss ?? 0) > 2 || (jitter ?? 0) > 35) return "fair";
  return "good";
}
