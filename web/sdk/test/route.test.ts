import { beforeEach, describe, expect, test, vi } from "vitest";
import { RETURN_LATER } from "../src/ladder.js";
import type { Media } from "../src/media.js";
import type { Platform } from "../src/platform.js";
import type { Look } from "../src/quality.js";
import { Route } from "../src/route.js";
import type { Rung } from "../src/state.js";

const NOTHING: Look = { pair: null, rung: null, atLeg: false, packets: 0, lost: 0, jitter: null, rtt: null, sent: 0, sentLost: null, sentJitter: null, concealed: 0, samples: 0 };

/** A call of this side's, in which the browser sees what `sees` says, and hears a packet every 20 ms while `hears`. */
function calling(relay: boolean) {
  const told: boolean[] = [], said: string[] = [], rungs: (Rung | null)[] = [];
  let [look, heard]: [Look, boolean] = [NOTHING, false];
  const media = {
    connected: true,
    look: async () => look,
    offer: async (restart: boolean, near: boolean) => (restart ? (near ? "near" : "far") : "first"),
    accept: async () => undefined,
    toLeg: async (_peer: string, ask: (credentials: { ufrag: string; pwd: string }) => Promise<unknown>) => { await ask({ ufrag: "u", pwd: "p" }); return true; },
  } as unknown as Media;
  const platform = {
    now: () => Date.now(), setTimeout: (act: () => void, milliseconds: number) => setTimeout(act, milliseconds) as unknown as number, clearTimeout: (timer: number) => { clearTimeout(timer); },
  } as unknown as Platform;
  const route = new Route(platform, media, true, { relay, servers: true }, {
    say: async (kind, body) => { said.push(kind === "restart" ? `restart ${String(body["sdp"])}` : kind); },
    leg: async () => ({ ufrag: "l", pwd: "l", candidates: [] }),
    peer: () => "",
    flowing: (flowing) => { told.push(flowing); },
    quality: ({ rung }) => { rungs.push(rung); },
    exhausted: () => undefined,
  });
  setInterval(() => { if (heard) look = { ...look, packets: look.packets + 1, samples: look.samples + 960 }; }, 20);
  return {
    route, told, said, rungs,
    sees: (rung: Rung) => { look = { ...look, pair: rung, rung, atLeg: rung === "relay" }; },
    hears: (now: boolean) => { heard = now; },
    pass: (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds),
  };
}

beforeEach(() => { vi.useFakeTimers(); return () => { vi.useRealTimers(); }; });

describe("while a way back is looked for", () => {
  async function onRelay() {
    const call = calling(true);
    call.route.answered(false, true);
    await call.pass(4_100);
    call.sees("relay");
    call.hears(true);
    await call.pass(1_000);
    expect([call.route.via, call.told, call.said]).toEqual(["relay", [true], ["relay"]]);
    return call;
  }

  test("in vain, nobody is told of an interruption, as nobody hears one", async () => {
    const call = await onRelay();
    await call.pass(RETURN_LATER);
    expect([call.route.via, call.said]).toEqual(["direct", ["relay", "restart near"]]);
    await call.pass(5_000);
    expect([call.route.via, call.said]).toEqual(["relay", ["relay", "restart near", "relay"]]);
    expect(call.told).toEqual([true, true]);
    await call.pass(2 * RETURN_LATER);
    expect(call.said).toHaveLength(5); // and once more, later
    expect(call.told).not.toContain(false);
  });

  test("it is told when the way before falls silent meanwhile", async () => {
    const call = await onRelay();
    await call.pass(RETURN_LATER);
    expect(call.route.via).toBe("direct");
    call.hears(false);
    await call.pass(1_500);
    expect(call.told).toEqual([true, false]);
    call.hears(true);
    await call.pass(3_000);
    expect(call.told).toEqual([true, false, true]);
  });

  test("and found, it is taken, and nothing is looked for any more", async () => {
    const call = await onRelay();
    await call.pass(RETURN_LATER);
    call.sees("srflx");
    await call.pass(500);
    expect([call.route.via, call.told, call.rungs.at(-1)]).toEqual(["direct", [true, true], "srflx"]);
    await call.pass(20 * RETURN_LATER);
    expect(call.said).toEqual(["relay", "restart near"]);
  });
});

test("from a TURN server it is looked for with TURN servers; what ICE finds by itself ends the search, and losing it begins a new one", async () => {
  const call = calling(false);
  call.route.answered(false, true);
  call.sees("turn_udp");
  call.hears(true);
  await call.pass(RETURN_LATER + 500);
  expect(call.said).toEqual(["restart far"]); // it goes on over TURN
  expect(call.told).toEqual([true, true]);
  call.sees("host");
  await call.pass(10 * RETURN_LATER);
  expect([call.said, call.rungs.at(-1)]).toEqual([["restart far"], "host"]);
  call.sees("turn_peer");
  await call.pass(RETURN_LATER + 1_000);
  expect(call.said).toHaveLength(2);
  expect(call.told).not.toContain(false);
});

test("a way on which nothing comes any more is lost", async () => {
  const call = calling(true);
  call.route.answered(false, true);
  call.sees("host");
  call.hears(true);
  await call.pass(1_000);
  call.hears(false);
  await call.pass(2_000);
  expect([call.told, call.said]).toEqual([[true, false], ["relay"]]);
});
