import { describe, expect, test } from "vitest";
import { heard, measured, recorded, tally, type Look } from "../src/quality.js";

const look = (more: Partial<Look> = {}): Look => ({
  pair: "p", rung: "srflx", atLeg: false, packets: 100, lost: 0, sent: 100, sentLost: null, sentJitter: null, jitter: 0.01, rtt: 0.1, concealed: 0, samples: 0, ...more,
});

describe("what a call's quality comes to", () => {
  test("counts are those of the end, times are means", () => {
    const all = [look(), look({ packets: 970, lost: 30, sent: 1000, sentLost: 20, sentJitter: 0.02, jitter: 0.03, rtt: null })].reduce<ReturnType<typeof tally> | null>(tally, null);
    expect(measured(all, "Firefox 153")).toEqual({
      received: { packets: 970, lost: 30, jitter: 0.02 }, sent: { packets: 980, lost: 20, jitter: 0.02 }, rtt: 0.1, rung: "direct", client: "Firefox 153",
    });
  });
  test("nothing that came is nothing to keep, and what is not known is left out", () => {
    expect(measured(null, null)).toBeNull();
    expect(measured(tally(null, look({ packets: 0 })), null)).toBeNull();
    expect(measured(tally(null, look({ rtt: null, rung: null, jitter: null })), null)).toEqual({ received: { packets: 100, lost: 0, jitter: 0 } });
  });
  test("while a call goes on, what came since the last time is told", () => {
    const now = { jitterMs: 12, rttMs: 80 };
    expect(heard({ received: 500, lost: 5 }, { received: 975, lost: 30 }, now)).toEqual({ loss: 0.05, jitter: 0.012, rtt: 0.08 });
    expect(heard({ received: 500, lost: 5 }, { received: 990, lost: 4 }, { ...now, rttMs: null })).toEqual({ loss: 0, jitter: 0.012 }); // one that counted as lost came late
  });
  test("nothing is told when nothing came, or when the counting began anew", () => {
    const now = { jitterMs: 12, rttMs: 80 };
    expect(heard({ received: 500, lost: 5 }, { received: 500, lost: 5 }, now)).toBeNull();
    expect(heard({ received: 500, lost: 5 }, { received: 20, lost: 0 }, now)).toBeNull();
    expect(heard({ received: 500, lost: 5 }, { received: 900, lost: 5 }, { ...now, jitterMs: null })).toBeNull();
  });
  test("the history shows one's own count first, then the relay's", () => {
    const way = { packets: 90, expected: 100, lost: 10, jitter: 0.01, mos: 3.5 };
    expect(recorded(undefined)).toBeNull();
    expect(recorded({ relayed: { sent: { ...way, lost: 20 }, received: way } })).toEqual({ mos: 3.5, level: "fair", lossReceived: 0.1, lossSent: 0.2, rttMs: null });
    expect(recorded({ mos: 4.2, measured: { received: { packets: 99, lost: 1, jitter: 0 }, rtt: 0.05 }, relayed: { sent: way, received: way } }))
      .toEqual({ mos: 4.2, level: "good", lossReceived: 0.01, lossSent: 0.1, rttMs: 50 });
  });
});
