/** The bytes that Python makes are the bytes that TypeScript makes: `tests/vectors` is the common ground. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { decryptEntry, encryptEntry, importBookKey } from "../src/address-book.js";
import { fromBase64url } from "../src/bytes.js";
import { verifyCertificate } from "../src/certificates.js";
import { approvalMac, claimMac, parseCode, showCode } from "../src/linking.js";
import { safetyNumber } from "../src/safety-number.js";
import { prove, type Act } from "../src/proof.js";
import { mos } from "../src/quality.js";
import { open, seal } from "../src/sealing.js";
import type { StoredDevice } from "../src/storage.js";
import type { DeviceCertificate } from "../src/wire.js";

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- each file says what is in it
type Vector = Record<string, any>;
const load = (name: string): Vector => JSON.parse(readFileSync(new URL(`../../../tests/vectors/${name}.json`, import.meta.url), "utf8"));

async function x25519(d: string, x: string): Promise<CryptoKeyPair> {
  const jwk = { kty: "OKP", crv: "X25519" };
  return {
    privateKey: await crypto.subtle.importKey("jwk", { ...jwk, d, x }, { name: "X25519" }, false, ["deriveBits"]),
    publicKey: await crypto.subtle.importKey("jwk", { ...jwk, x }, { name: "X25519" }, true, []),
  };
}
const ed25519 = (d: string, x: string): Promise<CryptoKey> => crypto.subtle.importKey("jwk", { kty: "OKP", crv: "Ed25519", d, x }, { name: "Ed25519" }, false, ["sign"]);

describe("certificates", () => {
  const { valid, invalid } = load("certificate") as unknown as { valid: { name: string; certificate: DeviceCertificate }[]; invalid: { reason: string; certificate: DeviceCertificate }[] };
  test.each(valid)("$name is valid", async ({ certificate }) => { expect(await verifyCertificate(certificate)).toBe(true); });
  test.each(invalid)("$reason is not", async ({ certificate }) => { expect(await verifyCertificate(certificate)).toBe(false); });
});

describe("sealed payloads", () => {
  const { vectors, invalid } = load("sealing");
  test.each(vectors as Vector[])("$name opens, and what is sealed here opens again", async (v: Vector) => {
    const keys = await x25519(v["receiver_sealing_private"], v["receiver_sealing_public"]);
    const route = { call: v["call"], sender: v["sender"], receiver: v["receiver"] };
    expect(await open(route, v["sealed"], keys, v["sender_signing_public"])).toEqual(v["content"]);
    const again = await seal(route, v["content"], await ed25519(v["sender_signing_private"], v["sender_signing_public"]), v["receiver_sealing_public"]);
    expect(again.length).toBe(v["sealed"].length);
    expect(await open(route, again, keys, v["sender_signing_public"])).toEqual(v["content"]);
  });
  test.each(invalid as Vector[])("$name: $error", async (v: Vector) => {
    const keys = await x25519(v["receiver_sealing_private"], v["receiver_sealing_public"]);
    await expect(open({ call: v["call"], sender: v["sender"], receiver: v["receiver"] }, v["sealed"], keys, v["sender_signing_public"])).rejects.toMatchObject({ reason: v["error"] });
  });
});

test.each(load("safety_number")["vectors"] as Vector[])("safety number $safety_number", ({ one, other, shown }: Vector) => {
  const of = (side: { account: string; identity_key: string }): { account: string; identityKey: string } => ({ account: side.account, identityKey: side.identity_key });
  expect(safetyNumber(of(one), of(other))).toBe(shown);
});

test("linking: code, both MACs, and the sealed secrets", async () => {
  const v = load("linking");
  expect(showCode(v["lookup"], v["secret"])).toBe(v["shown"]);
  for (const typed of v["typed"]) expect(parseCode(typed)).toEqual({ lookup: v["lookup"], secret: v["secret"] });
  expect(await claimMac(v["secret"], v["claim"].input)).toBe(v["claim"].mac);
  const { certificate, sealed } = v["approval"].input;
  expect(await approvalMac(v["secret"], certificate, sealed)).toBe(v["approval"].mac);
  const own = certificate.chain.at(-1);
  const keys = await x25519(v["new_device"].sealing_private, own.sealing_key);
  const content = await open({ call: v["lookup"], sender: v["old_device"].device, receiver: v["new_device"].device }, sealed, keys, v["old_device"].signing_public);
  expect(content).toEqual({ kind: "secrets", n: 0, body: { book_key: v["book_key"] } });
});

describe("address book entries", () => {
  const { vectors, invalid } = load("address_book");
  test.each(vectors as Vector[])("$phone", async (v: Vector) => {
    const key = await importBookKey(fromBase64url(v["book_key"]));
    const read = await decryptEntry(key, v["token"], v["entry"]);
    expect(read?.phone).toBe(v["phone"]);
    expect(v["name"].startsWith(read?.name)).toBe(true);
    expect(await encryptEntry(key, v["token"], { name: v["name"], phone: v["phone"] }, fromBase64url(v["nonce"]))).toBe(v["entry"]);
  });
  test.each(invalid as Vector[])("$reason", async (v: Vector) => {
    expect(await decryptEntry(await importBookKey(fromBase64url(v["book_key"])), v["token"], v["entry"])).toBeNull();
  });
});

test.each(load("proof")["proofs"] as Vector[])("proof of $act", async ({ act, at, signature }: Vector) => {
  const v = load("proof");
  const signing = { privateKey: await ed25519(v["signing_private"], v["signing_public"]) } as CryptoKeyPair;
  const self = { account: v["account"], device: v["device"], signing } as StoredDevice;
  expect(await prove(act as Act, self, at)).toEqual({ at, signature });
});

test("mean opinion scores are those of the relay", () => {
  const vectors = load("mos") as unknown as { loss: number; jitter: number; rtt: number; mos: number }[];
  expect(vectors.length).toBeGreaterThan(100);
  for (const { mos: expected, ...given } of vectors) expect(mos(given)).toBeCloseTo(expected, 9);
});
