import { expect, test } from "vitest";
import { attempts, type Known } from "../src/attempts.js";

/** The outcomes of direct, TURN and relay, of those that are told. */
const outcomes = (known: Partial<Known>): unknown[] => attempts({
  hidden: false, servers: true, relay: true, turned: "found", turnTaken: true, leg: "given", carried: new Set(), over: true, ...known,
}).map(({ way, outcome }) => [way, outcome]);

test("while ways are tried only what is certain is said", () => {
  expect(outcomes({ over: false })).toEqual([["direct", null], ["turn", null], ["relay", null]]);
  expect(outcomes({ over: false, hidden: true, servers: false, leg: "full" })).toEqual([["direct", "hidden"], ["turn", "none"], ["relay", "full"]]);
  expect(outcomes({ over: false, relay: false, leg: "unasked" })).toEqual([["direct", null], ["turn", null], ["relay", "none"]]);
});

test("in the end each way has its reason", () => {
  expect(outcomes({})).toEqual([["direct", "no_answer"], ["turn", "no_answer"], ["relay", "no_answer"]]);
  expect(outcomes({ turned: "none", leg: "asked" })).toEqual([["direct", "no_answer"], ["turn", "unreachable"], ["relay", "unreachable"]]);
  expect(outcomes({ turned: "refused", leg: "none" })).toEqual([["direct", "no_answer"], ["turn", "refused"], ["relay", "none"]]);
  expect(outcomes({ servers: false, relay: false, leg: "unasked" })).toEqual([["direct", "no_answer"], ["turn", "none"], ["relay", "none"]]);
});

test("a way that was not taken, though it could have been, is not said to have failed", () => {
  expect(outcomes({ hidden: true, turnTaken: false })).toEqual([["direct", "hidden"], ["relay", "no_answer"]]);
  expect(outcomes({ leg: "unasked", carried: new Set(["direct"]) })).toEqual([["direct", "carried"]]);
});

test("a way that carried media did not fail, even if another one does now", () => {
  expect(outcomes({ carried: new Set(["turn", "relay"]), leg: "none" })).toEqual([["direct", "no_answer"], ["turn", "carried"], ["relay", "carried"]]);
});
