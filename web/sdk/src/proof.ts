/** Proof that this device asks for what cannot be taken back. The bytes are those of `signaling/privacy/proof.py`. */
import { concat, lengthPrefixed, toBase64url, u64, utf8, type Bytes } from "./bytes.js";
import { sign } from "./keys.js";
import type { StoredDevice } from "./storage.js";
import type { Proof } from "./wire.js";

const PREFIX = utf8("kloudtalk/v1 proof\0");

/** What is asked for: a signature for one act is none for another. */
export type Act = "account.export" | "account.delete" | "account.restrict" | "account.unrestrict";

/** The bytes that the device signs; `at` in milliseconds. */
export function proofBytes(act: Act, account: string, device: string, at: number): Bytes {
  return concat(PREFIX, ...[act, account, device].map((part) => lengthPrefixed(utf8(part))), u64(at));
}

export async function prove(act: Act, self: StoredDevice, at: number): Promise<Proof> {
  return { at, signature: toBase64url(await sign(self.signing.privateKey, proofBytes(act, self.account, self.device, at))) };
}
