import { expect, test } from "vitest";
import { NOWHERE, over, told, without } from "../src/elsewhere.js";
import type { CallElsewhere } from "../src/wire.js";

const view = (change: Partial<CallElsewhere> = {}): CallElsewhere => ({ call: "c", seq: 4, device: "b1", outgoing: false, peer: { account: "A", device: "a1" }, connected_for: 3, ...change });
const ids = (elsewhere: { calls: ReadonlyMap<string, CallElsewhere> }): string[] => [...elsewhere.calls.keys()];

test("a call at another device can be taken over until it is over, and hints that come late bring nothing back", () => {
  const there = told(NOWHERE, [view()], "b2", false);
  expect(ids(there)).toEqual(["c"]);
  const gone = over(there, { call: "c" });
  expect(ids(gone)).toEqual([]);
  expect(ids(told(gone, [view({ seq: 9 })], "b2", true))).toEqual([]);
});

test("the newest word counts, in whatever order they come", () => {
  const moved = told(NOWHERE, [view({ seq: 6, device: "b3" })], "b2", false);
  expect(told(moved, [view()], "b2", false).calls.get("c")?.device).toBe("b3");
});

test("`sync` is the truth: what is not in it is not there", () => {
  const two = told(NOWHERE, [view(), view({ call: "d" })], "b2", false);
  expect(ids(told(two, [view({ call: "d" })], "b2", true))).toEqual(["d"]);
});

test("a call at this device is not elsewhere, and is again once it has moved away", () => {
  const there = told(NOWHERE, [view()], "b2", false);
  expect(ids(told(there, [view({ seq: 5, device: "b2" })], "b2", false))).toEqual([]);
  const here = without(there, "c");
  expect(ids(here)).toEqual([]);
  expect(ids(told(here, [view({ seq: 7, device: "b3" })], "b2", false))).toEqual(["c"]);
});
