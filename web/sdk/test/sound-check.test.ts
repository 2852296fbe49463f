import { describe, expect, test } from "vitest";
import { finding, hear, type Checked, type Heard } from "../src/sound-check.js";

const call = (more: Partial<Checked> = {}, received = 500, lost = 0): Checked => ({
  stage: "connected", media: "flowing", endReason: null, quality: { packetsReceived: received, packetsLost: lost }, ...more,
});
const heard = (more: Partial<Heard> = {}): Heard => ({ rms: -25, peak: -12, clipped: 0, packets: 500, lost: 0, jitterMs: 5, loudest: -12, reports: 9, ...more });

describe("what a test call finds", () => {
  test.each([
    ["well", call(), heard()],
    ["connecting", call({ stage: "ringing", media: "none" }), null],
    ["connecting", call({ stage: "connecting", media: "connecting" }), null],
    ["checking", call(), null],
    ["nothing_through", call({ stage: "ended", media: "none", endReason: "failed" }), null],
    ["busy", call({ stage: "ended", media: "none", endReason: "busy" }), null],
    ["away", call({ stage: "ended", media: "none", endReason: "missed" }), null],
    ["nothing_out", call(), heard({ packets: 0, loudest: -90 })],
    ["nothing_back", call({}, 0), heard()],
    ["loss_out", call(), heard({ lost: 60 })],
    ["loss_back", call({}, 500, 60), heard()],
    ["silent", call(), heard({ loudest: -80 })],
    ["quiet", call(), heard({ loudest: -45 })],
    ["too_loud", call(), heard({ clipped: 0.2 })],
    ["checking", call(), heard({ loudest: -80, reports: 3 })],
    ["well", call({ stage: "ended", media: "none", endReason: "hangup" }), heard()],
  ] as const)("%s", (expected, of, what) => {
    expect(finding(of, what)).toBe(expected);
  });

  test("a few lost packets say nothing", () => {
    expect(finding(call({}, 20, 2), heard({ packets: 20, lost: 2 }))).toBe("well");
  });
});

describe("a report", () => {
  const body = { rms: -30, peak: -20, clipped: 0.5, packets: 10, lost: 1, jitter: 0.004 };
  test("keeps the loudest, and counts", () => {
    const first = hear(null, body);
    expect(first).toMatchObject({ loudest: -20, jitterMs: 4, reports: 1 });
    expect(hear(first, { ...body, peak: -70 })).toMatchObject({ loudest: -20, peak: -70, reports: 2 });
  });
  test("that is none is left out, and one out of range is cut", () => {
    for (const bad of [{}, { ...body, rms: "loud" }, { ...body, packets: NaN }]) expect(hear(null, bad)).toBeNull();
    expect(hear(null, { ...body, peak: 500, rms: -999, clipped: 7, lost: -3 })).toMatchObject({ peak: 0, rms: -90, clipped: 1, lost: 0 });
  });
});
