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

function make() {
  Wire.all = [];
  const timers: { act: () => void; wait: number }[] = [];
  const seen: (ConnectionState["status"] | string)[] = [];
  const platform = {
    ...browserPlatform(), WebSocket: Wire as never, random: () => 0.5, now: () => 0,
    setTimeout: (act: () => void, wait: number) => timers.push({ act, wait }) - 1, clearTimeout: (i: number) => { timers[i] = { act: () => undefined, wait: 0 }; },
  };
  const socket = new Socket("ws://hub/v1/ws", "T", platform, {
    message: (message) => seen.push(message.type), connection: ({ status }) => seen.push(status), stopped: (reason) => seen.push(`stopped ${reason}`),
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
  expect(seen.at(-1)).toBe("waiting");
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
