import { describe, expect, test } from "vitest";
import { advance, CONNECT_WITHIN, DIRECT_WITHIN, REPLACE_WITHIN, RETURN_FRESH, RETURN_LATER, SETTLE_WITHIN, start, type Act, type Ladder, type LadderEvent, type Via } from "../src/ladder.js";

const run = (ladder: Ladder, ...events: LadderEvent[]): [Ladder, readonly Act[]] => events.reduce<[Ladder, readonly Act[]]>(([now], event) => [...advance(now, event)], [ladder, []]);
const flows = (epoch: number, turn = false): LadderEvent => ({ type: "flows", epoch, turn });
const answered: LadderEvent = { type: "answered", hidden: false, moves: true };
const up: LadderEvent[] = [answered, flows(0)];

describe("the caller", () => {
  test("goes to the relay when nothing has connected in four seconds", () => {
    const [first, acts] = run(start(true, true), answered);
    expect(acts).toEqual([{ act: "wait", milliseconds: CONNECT_WITHIN }]);
    const [second, then] = advance(first, { type: "late", epoch: 0 });
    expect(second).toMatchObject({ epoch: 1, via: "relay" });
    expect(then).toEqual([{ act: "say", kind: "relay", body: { epoch: 1 } }, { act: "leg" }, { act: "wait", milliseconds: CONNECT_WITHIN }]);
  });

  test("does not disturb the first way when there is no relay to go to", () => {
    expect(run(start(true, false), answered, { type: "late", epoch: 0 })[1]).toEqual([]);
  });

  test("goes to the relay at once when one of the two hides, and so does the callee, without a word", () => {
    for (const leader of [true, false]) {
      const [ladder, acts] = run(start(leader, true), { type: "answered", hidden: true, moves: true });
      expect(ladder).toMatchObject({ epoch: 1, via: "relay" });
      expect(acts).toEqual([{ act: "leg" }, { act: "wait", milliseconds: CONNECT_WITHIN }]);
    }
  });

  test("replaces a way that is lost by the relay, the relay by the relay, and that by a direct way", () => {
    const [relayed, acts] = run(start(true, true), ...up, { type: "lost", epoch: 0 });
    expect(relayed).toMatchObject({ epoch: 1, via: "relay", carried: false });
    expect(acts.at(-1)).toEqual({ act: "wait", milliseconds: REPLACE_WITHIN * 1.5 });
    const [again] = run(relayed, flows(1), { type: "lost", epoch: 1 });
    expect(again).toMatchObject({ epoch: 2, via: "relay" });
    const [direct, then] = run(again, { type: "late", epoch: 2 });
    expect(direct).toMatchObject({ epoch: 3, via: "direct" });
    expect(then[0]).toEqual({ act: "offer" });
    expect(run(relayed, { type: "no_relay", epoch: 1 })[0]).toMatchObject({ epoch: 2, via: "direct" });
  });

  test("where one hides, takes TURN servers when the relay does not carry or is not there, and the relay again after them", () => {
    const hidden: LadderEvent = { type: "answered", hidden: true, moves: true };
    for (const first of [{ type: "late", epoch: 1 }, { type: "no_relay", epoch: 1 }] as LadderEvent[]) {
      const [turn, acts] = run(start(true, true, true), hidden, first);
      expect(turn).toMatchObject({ epoch: 2, via: "direct" });
      expect(acts).toEqual([{ act: "offer" }, { act: "wait", milliseconds: CONNECT_WITHIN }]);
      expect(advance(turn, { type: "late", epoch: 2 })[0]).toMatchObject({ epoch: 3, via: "relay" });
      expect(run(turn, flows(2, true))[1]).toEqual([]); // it is behind a server: there is nothing better to look for
    }
    // without TURN servers there is only the relay: it is asked for again, as one may be starting
    expect(run(start(true, true), hidden, { type: "no_relay", epoch: 1 })[0]).toMatchObject({ epoch: 2, via: "relay" });
    // in a call a relay that falls silent is most likely there again in a moment: once more, then TURN
    const [again] = run(start(true, true, true), hidden, flows(1), { type: "lost", epoch: 1 });
    expect(again).toMatchObject({ epoch: 2, via: "relay" });
    expect(advance(again, { type: "late", epoch: 2 })[0]).toMatchObject({ epoch: 3, via: "direct" });
    expect(advance(again, { type: "no_relay", epoch: 2 })[0]).toMatchObject({ epoch: 3, via: "direct" });
  });

  test("keeps the relay where one hides", () => {
    const hidden: LadderEvent = { type: "answered", hidden: true, moves: true };
    expect(run(start(true, true), hidden, flows(1), { type: "lost", epoch: 1 })[0]).toMatchObject({ epoch: 2, via: "relay" });
    expect(run(start(true, true), hidden, flows(1), { type: "network" }, flows(2))[1]).toEqual([]); // no way back
  });

  test("after a change of networks takes the relay at once, with time for the browser to see the network, and then looks for a direct way", () => {
    const [moved, then] = run(start(true, true), ...up, { type: "network" });
    expect(moved).toMatchObject({ epoch: 1, via: "relay" });
    expect(then).toEqual([{ act: "say", kind: "relay", body: { epoch: 1 } }, { act: "leg" }, { act: "wait", milliseconds: SETTLE_WITHIN }]);
    expect(run(start(true, false), ...up, { type: "network" })[0]).toMatchObject({ epoch: 1, via: "direct" });
    const [ladder, acts] = run(start(true, true), answered, { type: "late", epoch: 0 }, flows(1), { type: "network" }, flows(2));
    expect(acts).toEqual([{ act: "return", milliseconds: RETURN_FRESH }]);
    const [back] = advance(ladder, { type: "return", epoch: 2 });
    expect(back).toMatchObject({ epoch: 3, via: "direct" });
    // it is not there: back to the relay, and later once more
    expect(run(back, { type: "late", epoch: 3 }, flows(4))[1]).toEqual([{ act: "return", milliseconds: RETURN_LATER }]);
  });

  test("looks for the way back from a relay, again and again, less and less often, at most every ten minutes", () => {
    let [ladder, acts] = run(start(true, true), answered, { type: "late", epoch: 0 }, flows(1));
    const waits: number[] = [];
    for (let tried = 0; tried < 9; tried++) {
      const [back] = acts;
      if (back?.act !== "return") throw new Error("it does not look any more");
      waits.push(back.milliseconds / 1000);
      const { epoch } = ladder;
      expect(advance(ladder, { type: "return", epoch: epoch - 1 })).toEqual([ladder, []]);
      const [trying, then] = advance(ladder, { type: "return", epoch });
      expect(trying).toMatchObject({ epoch: epoch + 1, via: "direct" });
      expect(then).toEqual([{ act: "offer" }, { act: "wait", milliseconds: DIRECT_WITHIN }]);
      const [over, again] = advance(trying, { type: "late", epoch: epoch + 1 });
      expect(again.slice(0, 2)).toEqual([{ act: "say", kind: "relay", body: { epoch: epoch + 2 } }, { act: "leg" }]);
      [ladder, acts] = advance(over, flows(epoch + 2));
    }
    expect(waits).toEqual([10, 20, 40, 80, 160, 320, 600, 600, 600]);
    // found: nothing more to look for, and the next time it begins anew
    const [found, none] = run(ladder, { type: "return", epoch: ladder.epoch }, flows(ladder.epoch + 1));
    expect([found.via, none]).toEqual(["direct", []]);
    expect(run(found, { type: "lost", epoch: found.epoch }, flows(found.epoch + 1))[1]).toEqual([{ act: "return", milliseconds: RETURN_LATER }]);
  });

  test("looks for the way back from a TURN server, which goes on where there is none; ICE may find it by itself too", () => {
    const [turned, acts] = run(start(true, false), answered, flows(0, true));
    expect(acts).toEqual([{ act: "return", milliseconds: RETURN_LATER }]);
    const [trying, then] = advance(turned, { type: "return", epoch: 0 });
    expect(trying).toMatchObject({ epoch: 1, via: "direct", turn: false });
    expect(then).toEqual([{ act: "offer" }, { act: "wait", milliseconds: DIRECT_WITHIN }]);
    expect(advance(trying, flows(1, true))[1]).toEqual([{ act: "return", milliseconds: 2 * RETURN_LATER }]);
    const [found, none] = run(trying, flows(1, true), flows(1, false));
    expect([found.carried, found.turn, none]).toEqual([true, false, []]);
    expect(advance(found, { type: "return", epoch: 1 })).toEqual([found, []]); // it was asked for while a server carried
    expect(advance(found, flows(1, true))[1]).toEqual([{ act: "return", milliseconds: RETURN_LATER }]);
  });

  test("who hides stays behind servers", () => {
    expect(run(start(true, false), { type: "answered", hidden: true, moves: true }, flows(0, true))[1]).toEqual([]);
    expect(run(start(true, true), { type: "answered", hidden: true, moves: true }, flows(1))[1]).toEqual([]);
  });

  test("the callee leaves it to the caller, unless it was the callee who came to another network", () => {
    const [ladder, acts] = run(start(false, true), answered, { type: "relay", epoch: 1 }, flows(1));
    expect(acts).toEqual([]);
    const [, soon] = run(ladder, { type: "network" }, { type: "relay", epoch: 2 }, flows(2));
    expect(soon).toEqual([{ act: "return", milliseconds: RETURN_FRESH }]);
    // and the caller, who has tried in vain before, begins anew then
    const [caller] = run(start(true, true), answered, { type: "late", epoch: 0 }, flows(1), { type: "return", epoch: 1 }, { type: "late", epoch: 2 }, flows(3));
    expect(run(caller, { type: "wish", epoch: 3, via: "direct" }, { type: "late", epoch: 4 }, flows(5))[1]).toEqual([{ act: "return", milliseconds: RETURN_LATER }]);
  });

  test("follows a wish of the callee, once", () => {
    const [ladder] = run(start(true, true), ...up, { type: "wish", epoch: 0, via: "relay" });
    expect(ladder).toMatchObject({ epoch: 1, via: "relay" });
    expect(advance(ladder, { type: "wish", epoch: 0, via: "relay" })).toEqual([ladder, []]);
  });

  test("moves nobody who does not know how", () => {
    const old: LadderEvent = { type: "answered", hidden: false, moves: false };
    for (const event of [{ type: "late", epoch: 0 }, { type: "lost", epoch: 0 }, { type: "network" }] as LadderEvent[]) expect(run(start(true, true), old, event)[0].epoch).toBe(0);
  });
});

/**
 * Both sides over a hub that keeps the order of what each says but loses some, with timers, lost ways and changed networks at any time, and ways that
 * carry or do not. In the end, with a network that carries, both must be on the same way, and it carries.
 */
describe("two sides", () => {
  interface Side { ladder: Ladder; inbox: { kind: "restart" | "relay" | "wish"; body: { epoch: number; via?: Via } }[]; late: number | null; back: number | null; leg: number; offered: number; answered: number }
  const random = (seed: number) => () => { seed = (seed * 1_664_525 + 1_013_904_223) % 4_294_967_296; return seed / 4_294_967_296; };

  test.each(Array.from({ length: 400 }, (_, seed) => seed))("settle on one way (%i)", (seed) => {
    const r = random(seed + 1);
    const hidden = r() < 0.2;
    const servers = r() < 0.5;
    const make = (leader: boolean): Side => ({ ladder: start(leader, true, servers), inbox: [], late: null, back: null, leg: -1, offered: 0, answered: 0 });
    const [caller, callee] = [make(true), make(false)];
    let lossy = true, [direct, relay] = [r() < 0.5, r() < 0.8];
    const other = (side: Side): Side => (side === caller ? callee : caller);
    const take = (side: Side, event: LadderEvent): void => {
      const [ladder, acts] = advance(side.ladder, event);
      expect(ladder.epoch).toBeGreaterThanOrEqual(side.ladder.epoch);
      side.ladder = ladder;
      for (const act of acts) {
        if (act.act === "wait") side.late = ladder.epoch;
        else if (act.act === "return") side.back = ladder.epoch;
        else if (act.act === "say") { if (!lossy || r() < 0.8) other(side).inbox.push({ kind: act.kind, body: act.body }); }
        else if (act.act === "leg") side.leg = ladder.epoch;
        else if (act.act === "answer") side.answered = ladder.epoch;
        else { side.offered = ladder.epoch; if (!lossy || r() < 0.8) other(side).inbox.push({ kind: "restart", body: { epoch: ladder.epoch } }); }
      }
    };
    const step = (quiet: boolean): void => {
      const side = r() < 0.5 ? caller : callee;
      const choice = r();
      const { ladder } = side;
      if (choice < 0.35) {
        const message = side.inbox.shift();
        if (message !== undefined) take(side, message.kind === "wish" ? { type: "wish", epoch: message.body.epoch, via: message.body.via ?? "direct" } : { type: message.kind, epoch: message.body.epoch });
      } else if (choice < 0.65) {
        const both = caller.ladder.epoch === callee.ladder.epoch;
        const carries = ladder.via === "relay" ? relay && caller.leg === ladder.epoch && callee.leg === ladder.epoch : direct && !hidden && (ladder.epoch === 0 || callee.answered === ladder.epoch);
        if (both && carries) take(side, flows(ladder.epoch, ladder.via === "direct" && r() < 0.3));
      } else if (choice < 0.85) {
        if (side.late !== null) { const epoch = side.late; side.late = null; take(side, { type: "late", epoch }); }
        else if (ladder.carried && other(side).ladder.epoch !== ladder.epoch) take(side, { type: "lost", epoch: ladder.epoch }); // it hears nothing
      } else if (choice < 0.9) {
        if (!quiet && side.back !== null) { const epoch = side.back; side.back = null; take(side, { type: "return", epoch }); }
      } else if (!quiet) {
        if (choice < 0.94) take(side, { type: "lost", epoch: ladder.epoch });
        else if (choice < 0.97) take(side, { type: "network" });
        else [direct, relay] = [r() < 0.5, r() < 0.8];
      }
    };
    for (const side of [caller, callee]) take(side, { type: "answered", hidden, moves: true });
    for (let i = 0; i < 300; i++) step(false);
    [lossy, relay] = [false, true];
    for (let i = 0; i < 3_000; i++) step(true);
    while (caller.inbox.length + callee.inbox.length > 0) step(true);
    expect(callee.ladder).toMatchObject({ epoch: caller.ladder.epoch, via: caller.ladder.via });
    expect([caller.ladder.carried, callee.ladder.carried]).toEqual([true, true]);
  });
});
