import { expect, test } from "vitest";
import { browserPlatform } from "../src/platform.js";
import { backoff, Socket } from "../src/socket.js";
import type { ConnectionState } from "../src/state.js";

/** A WebSocket of which the test is the hub. */
class Wire {
  static all: Wire[] = [];
  readyState = 1;
  sent: { type: string; id: number }[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  constructor(readonly url: string, readonly protocol: string) {
    Wire.all.push(this);
    queueMicrotask(() => this.onopen?.());
  }
  send(text: string): void { this.sent.push(JSON.parse(text) as { type: string; id: number }); }
  close(): void { this.drop(1000); }
  drop(code: number): void { this.readyState = 3; this.onclose?.({ code }); }
  say(message: unknown): void { this.onmessage?.({ data: JSON.stringify(message) }); }
}

const clock = { now: 0 };

function make(network = true) {
  Wire.all = [];
  clock.now = 0;
  const timers: { act: () => void; wait: number }[] = [];
  const seen: (ConnectionState["status"] | string)[] = [];
  const platform = {
    ...browserPlatform(), WebSocket: Wire as never, random: () => 0.5, now: () => clock.now, network: { online: network, watch: () => () => undefined },
    setTimeout: (act: () => void, wait: number) => timers.push({ act, wait }) - 1, clearTimeout: (i: number) => { timers[i] = { act: () => undefined, wait: 0 }; },
  };
  const socket = new Socket("ws://hub/v1/ws", "T", platform, {
    message: (message) => seen.push(message.type), connection: ({ status, cause }) => seen.push(cause === null ? status : `${status} ${cause}`), stopped: (reason) => seen.push(`stopped ${reason}`),
  });
  return { socket, timers, seen };
}
const SYNC = { type: "sync", account: "a", device: "d", calls: [], contacts_wanted: false };
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

test("says hello, is online after sync, and answers requests by their numbers", async () => {
  const { socket, seen } = make();
  socket.connect();
  await turn();
  const ws = Wire.all[0]!;
  expect(ws.sent[0]).toMatchObject({ type: "hello", token: "T" });
  await expect(socket.request({ type: "call.hangup", call: "c" })).rejects.toMatchObject({ code: "network" });
  ws.say({ type: "ok", re: 0 });
  ws.say(SYNC);
  expect(seen).toEqual(["connecting", "online", "sync"]);
  const [first, second] = [socket.request({ type: "call.hangup", call: "c" }), socket.request({ type: "call.decline", call: "c" })];
  ws.say({ type: "error", re: ws.sent[2]!.id, code: "unknown_call", message: "" });
  ws.say({ type: "ok", re: ws.sent[1]!.id, stage: "ended" });
  await expect(first).resolves.toMatchObject({ stage: "ended" });
  await expect(second).rejects.toMatchObject({ code: "unknown_call" });
});

test("a lost connection rejects what waits, and is tried again after a jittered wait", async () => {
  const { socket, timers, seen } = make();
  socket.connect();
  await turn();
  Wire.all[0]!.say(SYNC);
  const lost = socket.request({ type: "call.hangup", call: "c" });
  Wire.all[0]!.drop(1006);
  await expect(lost).rejects.toMatchObject({ code: "network" });
  expect(seen.at(-1)).toBe("waiting interrupted");
  expect(timers.at(-1)!.wait).toBe(187.5);
  timers.at(-1)!.act();
  expect(Wire.all).toHaveLength(2);
});

test("a refused hello and a newer page end it; nothing is tried again", async () => {
  for (const [message, code, reason] of [[{ type: "error", re: 0, code: "unauthenticated", message: "" }, 4401, "revoked"], [null, 4409, "replaced"]] as const) {
    const { socket, seen } = make();
    socket.connect();
    await turn();
    if (message) Wire.all[0]!.say(message);
    else Wire.all[0]!.say(SYNC);
    Wire.all[0]!.drop(code);
    expect(seen.at(-1)).toBe(`stopped ${reason}`);
    socket.connect();
    expect(Wire.all).toHaveLength(1);
  }
});

test("the wait doubles to a bound, with jitter down to its half", () => {
  expect([0, 1, 2, 20].map((attempt) => backoff(attempt, 1))).toEqual([250, 500, 1000, 15_000]);
  expect(backoff(3, 0)).toBe(1000);
});

test("a hub that says nothing is asked, and replaced when it does not answer", async () => {
  const { socket, timers, seen } = make();
  socket.connect();
  await turn();
  const ws = Wire.all[0]!;
  ws.say(SYNC);
  const idle = timers.at(-1)!;
  expect(idle.wait).toBe(45_000);
  socket.inCall = true; // from here on a dead connection matters
  clock.now += 5_000;
  expect(timers.at(-1)!.wait).toBe(5_000);
  timers.at(-1)!.act();
  expect(ws.sent.at(-1)).toMatchObject({ type: "ping" });
  const unanswered = timers.find((timer) => timer.wait === 2_500)!;
  ws.say({ type: "ok", re: ws.sent.at(-1)!.id });
  await turn();
  expect(seen.at(-1)).toBe("sync"); // it answered: nothing happens
  socket.probe();
  timers.findLast((timer) => timer.wait === 2_500)!.act();
  await turn();
  expect(unanswered).not.toBe(timers.findLast((timer) => timer.wait === 2_500));
  expect(ws.readyState).toBe(3);
  expect(seen.at(-1)).toBe("waiting interrupted");
  timers.at(-1)!.act();
  expect(Wire.all).toHaveLength(2);
});

test("what was said lately is proof enough that the hub is there", async () => {
  const { socket, timers } = make();
  socket.connect();
  await turn();
  const ws = Wire.all[0]!;
  ws.say(SYNC);
  clock.now += 44_000;
  ws.say({ type: "contacts.wanted" });
  clock.now += 1_000;
  timers.findLast((timer) => timer.wait === 45_000)!.act();
  expect(ws.sent).toHaveLength(1);
});

test("on another network the connection is made anew at once, and what waited is told", async () => {
  const { socket, seen } = make();
  socket.connect();
  await turn();
  Wire.all[0]!.say(SYNC);
  const lost = socket.request({ type: "call.hangup", call: "c" });
  socket.replace();
  await expect(lost).rejects.toMatchObject({ code: "network" });
  await turn();
  expect(Wire.all).toHaveLength(2);
  expect(Wire.all[1]!.sent[0]).toMatchObject({ type: "hello" });
  Wire.all[0]!.say({ type: "contacts.wanted" }); // late words of the old one are not heard
  Wire.all[1]!.say(SYNC);
  expect(seen).toEqual(["connecting", "online", "sync", "connecting", "online", "sync"]);
});

test("an opening that leads nowhere is given up", async () => {
  const { socket, timers, seen } = make();
  socket.connect();
  await turn();
  timers.find((timer) => timer.wait === 20_000)!.act();
  expect(seen.at(-1)).toBe("waiting server");
  timers.at(-1)!.act();
  expect(Wire.all).toHaveLength(2);
});

test("in a call an opening is given up early, and each time later, for a hub that many come to at once", async () => {
  const { socket, timers } = make();
  socket.inCall = true;
  for (const patience of [4_000, 8_000, 16_000, 20_000, 20_000]) {
    socket.connect();
    await turn();
    timers.filter((timer) => timer.wait === patience).at(-1)!.act();
  }
  expect(Wire.all).toHaveLength(5);
});

test("a hub that goes away, limits or has no network behind it is named, with its own wait", async () => {
  for (const [code, network, cause, wait] of [[1001, true, "going_away", 750], [4429, true, "rate_limited", 3_750], [4406, true, "shut_out", 187.5], [1006, false, "no_network", 187.5], [1013, true, "server", 187.5]] as const) {
    const { socket, timers, seen } = make(network);
    socket.connect();
    await turn();
    Wire.all[0]!.say(SYNC);
    Wire.all[0]!.drop(code);
    expect(seen.at(-1)).toBe(`waiting ${cause}`);
    expect(timers.at(-1)!.wait).toBe(wait);
  }
});

test("a hub that asks for time before it answers is given it", async () => {
  const { socket, timers } = make();
  socket.connect();
  await turn();
  Wire.all[0]!.say({ type: "error", re: 0, code: "unavailable", message: "", retry_after: 7 });
  Wire.all[0]!.drop(1013);
  expect(timers.at(-1)!.wait).toBe(7_000);
});

test("a connection that breaks again and again is tried less and less often, until one lasts", async () => {
  const { socket, timers } = make();
  const waits: number[] = [];
  socket.connect();
  for (let i = 0; i < 5; i++) {
    await turn();
    Wire.all.at(-1)!.say(SYNC);
    if (i === 3) clock.now += 6_000;
    Wire.all.at(-1)!.drop(1006);
    waits.push(timers.at(-1)!.wait);
    timers.at(-1)!.act();
  }
  expect(waits).toEqual([187.5, 375, 750, 187.5, 375]);
});

test("a page that is put to sleep has no connection, so that it is woken, and comes back when it is", async () => {
  const { socket, seen } = make();
  socket.connect();
  await turn();
  Wire.all[0]!.say(SYNC);
  socket.inCall = true;
  socket.sleep(); // not in a call: browsers do not put a page to sleep then, and nobody may be cut off
  expect(Wire.all[0]!.readyState).toBe(1);
  socket.inCall = false;
  socket.sleep();
  expect(Wire.all[0]!.readyState).toBe(3);
  expect(seen.at(-1)).toBe("offline");
  socket.retryNow();
  await turn();
  Wire.all[1]!.say(SYNC);
  expect(seen.slice(-3)).toEqual(["connecting", "online", "sync"]);
});
