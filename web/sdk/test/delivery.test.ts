import { expect, test } from "vitest";
import { deliver } from "../src/delivery.js";
import { KloudTalkError, type LocalErrorCode } from "../src/errors.js";
import type { Request, Socket } from "../src/socket.js";
import type { ErrorCode } from "../src/wire.js";

/** A socket whose answers are given; `null` stands for `ok`. */
function socket(answers: (ErrorCode | LocalErrorCode | null)[]) {
  const sent: unknown[] = [];
  let waited = 0;
  const paused: number[] = [];
  const fake = {
    async untilOnline() { waited++; },
    async pause(milliseconds: number) { paused.push(milliseconds); },
    async request(request: Request) {
      sent.push(request);
      const code = answers.shift();
      if (code !== null && code !== undefined) throw new KloudTalkError(code);
      return { type: "ok", re: 1 };
    },
  } as unknown as Socket;
  return { fake, sent, paused, waited: () => waited };
}
const request = async (): Promise<Request> => ({ type: "call.accept", call: "c", payload: "p" });

test("is sent again after each reconnection until there is an answer", async () => {
  const { fake, sent, waited } = socket(["network", "timeout", null]);
  await expect(deliver(() => fake, request, () => true)).resolves.toMatchObject({ type: "ok" });
  expect([sent.length, waited()]).toEqual([3, 3]);
});

test("a refusal is told, and not asked for again", async () => {
  const { fake, sent } = socket(["answered_elsewhere", null]);
  await expect(deliver(() => fake, request, () => true)).rejects.toMatchObject({ code: "answered_elsewhere" });
  expect(sent).toHaveLength(1);
});

test("a hub whose stores do not answer is asked again in a moment, but not for ever", async () => {
  const { fake, sent, paused } = socket(["unavailable", "unavailable", null]);
  await expect(deliver(() => fake, request, () => true)).resolves.toMatchObject({ type: "ok" });
  expect([sent.length, paused]).toEqual([3, [1000, 1000]]);
  await expect(deliver(() => socket(Array.from({ length: 50 }, () => "unavailable" as const)).fake, request, () => true)).rejects.toMatchObject({ code: "unavailable" });
});

test("what says that it arrived the first time counts from the second time on only", async () => {
  await expect(deliver(() => socket(["wrong_stage"]).fake, request, () => true, ["wrong_stage"])).rejects.toMatchObject({ code: "wrong_stage" });
  const { fake } = socket(["network", "wrong_stage"]);
  await expect(deliver(() => fake, request, () => true, ["wrong_stage"])).resolves.toBeNull();
});

test("nothing is sent that nobody wants any more", async () => {
  const { fake, sent } = socket(["network", null]);
  await expect(deliver(() => fake, request, (again) => !again)).resolves.toBeNull();
  expect(sent).toHaveLength(1);
});
