import { expect, test, vi } from "vitest";
import { KloudTalkError } from "../src/errors.js";
import { hedged } from "../src/hedge.js";

const platform = { setTimeout: (act: () => void, ms: number) => setTimeout(act, ms) as unknown as number, clearTimeout: (timer: number) => { clearTimeout(timer); } };
const never = (): Promise<never> => new Promise(() => undefined);

test("a request on a dead connection is made again, and the first answer counts", async () => {
  const ask = vi.fn().mockImplementationOnce(never).mockRejectedValueOnce(new KloudTalkError("network")).mockResolvedValue("leg");
  await expect(hedged(platform, ask, 5, 4)).resolves.toBe("leg");
  expect(ask).toHaveBeenCalledTimes(3);
});

test("the server's no is a no, and so is nothing but failures", async () => {
  const no = vi.fn().mockRejectedValue(new KloudTalkError("no_relay"));
  await expect(hedged(platform, no, 5, 4)).rejects.toMatchObject({ code: "no_relay" });
  expect(no).toHaveBeenCalledTimes(1);
  await expect(hedged(platform, () => Promise.reject(new KloudTalkError("network")), 1, 3)).rejects.toMatchObject({ code: "network" });
});
