/** What a test call says about microphone and network. Pure. */
import type { CallQuality, CallState, EndReason } from "./state.js";

/** What is looked at of a call. */
export type Checked = Pick<CallState, "stage" | "media" | "endReason"> & { readonly quality: Pick<CallQuality, "packetsReceived" | "packetsLost"> };

/** What the echo hears of this device, as it said last. Levels in dBFS, -90 (nothing at all) to 0 (full scale). */
export interface Heard {
  readonly rms: number; readonly peak: number;
  /** Share of the samples that were at full scale, 0 to 1. */
  readonly clipped: number;
  /** RTP packets since the call began, that came and that did not; jitter in milliseconds. */
  readonly packets: number; readonly lost: number; readonly jitterMs: number;
  /** The loudest peak of all that was said in this call. */
  readonly loudest: number;
  /** Reports so far. */
  readonly reports: number;
}

/** What was found, the first that holds; `checking` and `connecting`: not yet. */
export type Finding =
  | "connecting" | "checking"
  /** No test call was to be had. */
  | "busy" | "away"
  /** No way was found, whatever was tried. */
  | "nothing_through"
  /** Packets do not get out, or none come back. */
  | "nothing_out" | "nothing_back"
  | "silent" | "quiet" | "too_loud" | "loss_out" | "loss_back" | "well";

/** dBFS under which a microphone that was spoken into is silent: muted, covered, or the wrong one. Room noise is above. */
const SILENT = -60;
/** Speech whose peaks stay under this is hard to understand. */
const QUIET = -35;
const CLIPPED = 0.01;
/** Share of packets, 0 to 1, from which gaps are heard in spite of concealment (ITU-T G.113: a loss of 3 % costs some 10 points of R). */
const LOSS = 0.03;
/** Reports (1.5 s each) in which to say something: the greeting, and some seconds more. And packets before a share of them means anything. */
const LISTENED = 8;
const ENOUGH = 100;

/** What a test call shows so far. */
export function finding(call: Checked, heard: Heard | null): Finding {
  if (heard === null) {
    if (call.stage === "ended") return ended(call.endReason);
    return call.stage === "inviting" || call.stage === "ringing" || call.media !== "flowing" ? "connecting" : "checking";
  }
  const { packetsReceived: came, packetsLost: lost } = call.quality;
  if (heard.packets === 0) return heard.reports > 1 ? "nothing_out" : "checking";
  if (came === 0) return heard.reports > 2 ? "nothing_back" : "checking";
  if (heard.packets + heard.lost > ENOUGH && heard.lost / (heard.packets + heard.lost) > LOSS) return "loss_out";
  if (came + lost > ENOUGH && lost / (came + lost) > LOSS) return "loss_back";
  if (heard.loudest < QUIET) return heard.reports < LISTENED ? "checking" : heard.loudest < SILENT ? "silent" : "quiet";
  if (heard.clipped > CLIPPED) return "too_loud";
  return heard.reports > 1 ? "well" : "checking";
}

/** One more report out of a verified payload; null: it is none. */
export function hear(before: Heard | null, body: unknown): Heard | null {
  const { rms, peak, clipped, packets, lost, jitter } = body as Record<string, unknown>;
  const all = [rms, peak, clipped, packets, lost, jitter];
  if (!all.every((one) => typeof one === "number" && Number.isFinite(one))) return null;
  const [r, p, c, n, l, j] = all as [number, number, number, number, number, number];
  return {
    rms: level(r), peak: level(p), clipped: Math.min(1, Math.max(0, c)), packets: Math.max(0, n), lost: Math.max(0, l), jitterMs: Math.max(0, j) * 1000,
    loudest: Math.max(before?.loudest ?? -90, level(p)), reports: (before?.reports ?? 0) + 1,
  };
}

function ended(reason: EndReason | null): Finding {
  if (reason === "busy") return "busy";
  if (reason === "failed" || reason === "lost") return "nothing_through";
  return reason === "hangup" || reason === "cancelled" ? "checking" : "away";
}

function level(db: number): number {
  return Math.min(0, Math.max(-90, db));
}
