import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ristretto255_oprf } from "@noble/curves/ed25519.js";
import { toBase64url } from "../src/bytes.js";
import { OprfClient } from "../src/oprf.js";

const file = JSON.parse(readFileSync(new URL("../../../tests/vectors/oprf.json", import.meta.url), "utf8")) as {
  key: string; vectors: { input: string; blind: string; output: string }[];
};
const hex = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(text, "hex"));

/** noble maps random bytes to 1 + (bytes mod (order - 1)): bytes that give the wanted blind. */
function randomFor(blind: string): (length?: number) => Uint8Array {
  let value = BigInt(`0x${Buffer.from(hex(blind)).reverse().toString("hex")}`) - 1n;
  return (length = 48) => {
    const bytes = new Uint8Array(length);
    for (let i = 0, v = value; i < length; i++, v >>= 8n) bytes[i] = Number(v & 255n);
    return bytes;
  };
}

test.each(file.vectors)("the vectors of RFC 9497 hold: $input", ({ input, blind, output }) => {
  const client = new OprfClient(randomFor(blind));
  const blinded = client.blind(hex(input));
  expect(Buffer.from(blinded.blind).toString("hex")).toBe(blind);
  const evaluated = ristretto255_oprf.oprf.blindEvaluate(hex(file.key) as never, Buffer.from(blinded.blinded, "base64url") as never);
  expect(Buffer.from(client.finalize(blinded, toBase64url(evaluated)), "base64url").toString("hex")).toBe(output);
});

test("the same number is blinded differently each time, and gives the same token", () => {
  const key = hex(file.key) as never;
  const client = new OprfClient();
  const [a, b] = [client.blind("+4915123456789"), client.blind("+4915123456789")];
  expect(a.blinded).not.toBe(b.blinded);
  const token = (x: typeof a): string => client.finalize(x, toBase64url(ristretto255_oprf.oprf.blindEvaluate(key, Buffer.from(x.blinded, "base64url") as never)));
  expect(token(a)).toBe(token(b));
  expect(token(a)).toHaveLength(86);
});

test("an evaluated element that is none is refused", () => {
  const client = new OprfClient();
  expect(() => client.finalize(client.blind("+49301234567"), toBase64url(new Uint8Array(32)))).toThrow();
});
