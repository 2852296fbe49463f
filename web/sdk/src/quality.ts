/** How well a call is heard, from what the browser counts. Pure. */
import type { CallQuality, RecordedQuality, Rung } from "./state.js";
import type { HeardNow, KeptQuality, MeasuredQuality, MeasuredWay } from "./wire.js";

// ITU-T G.107 with default values: R = 93.2 without any impairment (table 3)
const R_BEST = 93.2;
// ITU-T G.113, appendix I: G.711 with concealment at random loss; none was standardised for Opus, whose FEC and concealment do no worse
const BPL = 25.1;
// milliseconds: Opus' frame of 20 and its look-ahead of 6.5 (RFC 6716, section 2)
const CODEC_DELAY = 26.5;

/**
 * Mean opinion score of what is heard, 1 (bad) to 4.4: the E-model (ITU-T G.107), simplified to delay and loss; the delay term is the linear fit
 * of Cole and Rosenbluth (2001). The same as `media/quality.py`; `tests/vectors/mos.json` holds both to it.
 *
 * `loss`: share, 0 to 1. `jitter`, `rtt`: seconds; twice the jitter is waited for in the receiver's buffer.
 */
export function mos({ loss, jitter, rtt }: { loss: number; jitter: number; rtt: number }): number {
  const delay = 1000 * (rtt / 2 + 2 * jitter) + CODEC_DELAY;
  const byDelay = 0.024 * delay + 0.11 * Math.max(0, delay - 177.3);
  const percent = 100 * Math.min(1, Math.max(0, loss));
  const byLoss = (95 * percent) / (percent + BPL);
  const rating = Math.min(100, Math.max(0, R_BEST - byDelay - byLoss));
  return Math.max(1, 1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6);
}

/** In words, by G.107's user satisfaction (annex B): from 4.0 satisfied, from 3.1 some or many dissatisfied, below nearly all. */
export function level(score: number | null): CallQuality["level"] {
  if (score === null) return "unknown";
  return score >= 4 ? "good" : score >= 3.1 ? "fair" : "poor";
}

/** Before anything is known. */
export const UNKNOWN: CallQuality = { rttMs: null, jitterMs: null, lossPercent: null, concealedPercent: null, mos: null, level: "unknown", path: null, rung: null, packetsSent: 0, packetsReceived: 0, packetsLost: 0 };

/** One look at a connection. Counts are since its start; times in seconds. */
export interface Look {
  /** The pair of candidates in use, null before there is one. */
  readonly pair: string | null;
  readonly rung: Rung | null;
  /** The pair's far end is the leg that was asked for last. */
  readonly atLeg: boolean;
  readonly packets: number;
  readonly lost: number;
  readonly jitter: number | null;
  readonly rtt: number | null;
  readonly sent: number;
  /** Of what was sent, as the other side says (RTCP); null until it does. */
  readonly sentLost: number | null;
  readonly sentJitter: number | null;
  readonly concealed: number;
  readonly samples: number;
}

/** What happened between two looks. */
export function between(before: Look | null, now: Look): CallQuality {
  const since = (count: (look: Look) => number): number => Math.max(0, count(now) - (before === null ? 0 : count(before)));
  const [packets, lost, concealed, samples] = [since((l) => l.packets), since((l) => l.lost), since((l) => l.concealed), since((l) => l.samples)];
  const loss = packets + lost === 0 ? null : lost / (packets + lost);
  const score = loss === null || now.jitter === null ? null : mos({ loss, jitter: now.jitter, rtt: now.rtt ?? 0 });
  return {
    rttMs: now.rtt === null ? null : now.rtt * 1000,
    jitterMs: now.jitter === null ? null : now.jitter * 1000,
    lossPercent: loss === null ? null : 100 * loss,
    concealedPercent: samples === 0 ? null : (100 * concealed) / samples,
    mos: score,
    level: level(score),
    path: now.rung === null ? null : now.rung === "host" || now.rung === "srflx" ? "direct" : "relay",
    rung: now.rung,
    packetsSent: now.sent, packetsReceived: now.packets, packetsLost: now.lost,
  };
}

/** Sums over a call, of which means are made. */
export interface Tally { readonly last: Look; readonly jitter: Mean; readonly rtt: Mean; readonly sentJitter: Mean }
interface Mean { readonly sum: number; readonly count: number }
const NONE: Mean = { sum: 0, count: 0 };

/** One more look. */
export function tally(before: Tally | null, look: Look): Tally {
  const more = (mean: Mean | undefined, value: number | null): Mean => (value === null ? mean ?? NONE : { sum: (mean?.sum ?? 0) + value, count: (mean?.count ?? 0) + 1 });
  return { last: look, jitter: more(before?.jitter, look.jitter), rtt: more(before?.rtt, look.rtt), sentJitter: more(before?.sentJitter, look.sentJitter) };
}

/** How well a whole call worked, as it may be kept; null when nothing came that could be measured. */
export function measured(all: Tally | null, client: string | null): MeasuredQuality | null {
  if (all === null || all.last.packets + all.last.lost === 0) return null;
  const { last } = all;
  const mean = ({ sum, count }: Mean): number => (count === 0 ? 0 : Math.min(60, sum / count));
  const lost = last.sentLost === null ? 0 : Math.min(last.sent, Math.max(0, last.sentLost));
  return {
    received: { packets: last.packets, lost: last.lost, jitter: mean(all.jitter) },
    ...(last.sentLost === null ? {} : { sent: { packets: last.sent - lost, lost, jitter: mean(all.sentJitter) } }),
    ...(all.rtt.count === 0 ? {} : { rtt: mean(all.rtt) }),
    ...(last.rung === null ? {} : { rung: last.rung === "host" || last.rung === "srflx" ? "direct" as const : last.rung }),
    ...(client === null ? {} : { client: client.slice(0, 64) }),
  };
}

/** How a call was heard between two looks at what has come, as it is told while it goes on; null when nothing came that could be measured. */
export function heard(before: { received: number; lost: number }, now: { received: number; lost: number }, quality: Pick<CallQuality, "jitterMs" | "rttMs">): HeardNow | null {
  const [came, lost] = [now.received - before.received, Math.max(0, now.lost - before.lost)];
  if (came < 0 || came + lost === 0 || quality.jitterMs === null) return null; // a new connection counts from the start
  const seconds = (milliseconds: number): number => Math.min(60, Math.max(0, milliseconds / 1000));
  return { loss: lost / (came + lost), jitter: seconds(quality.jitterMs), ...(quality.rttMs === null ? {} : { rtt: seconds(quality.rttMs) }) };
}

/** What the history shows of what was kept: the device's own count, or, without one, what the relay saw. */
export function recorded(kept: KeptQuality | undefined): RecordedQuality | null {
  if (kept === undefined) return null;
  const { measured: own, relayed } = kept;
  const share = (way: MeasuredWay | undefined): number | null => (way === undefined || way.packets + way.lost === 0 ? null : way.lost / (way.packets + way.lost));
  const seen = (way: { expected: number; lost: number } | undefined): number | null => (way === undefined || way.expected === 0 ? null : way.lost / way.expected);
  const score = kept.mos ?? relayed?.received.mos ?? null;
  return {
    mos: score, level: level(score), lossReceived: share(own?.received) ?? seen(relayed?.received), lossSent: share(own?.sent) ?? seen(relayed?.sent),
    rttMs: own?.rtt === undefined ? null : own.rtt * 1000,
  };
}
