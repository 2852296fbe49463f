/** Safety numbers: 60 digits that two people compare to know that no one is between them (P10). */
import { sha512 } from "@noble/hashes/sha2.js";
import { concat, fromBase64url, utf8 } from "./bytes.js";

const ROUNDS = 5200;
const cache = new Map<string, string>();

function side(account: string, identityKey: string): string {
  const key = `${account} ${identityKey}`;
  const known = cache.get(key);
  if (known !== undefined) return known;
  const raw = fromBase64url(identityKey);
  let hash: Uint8Array = sha512(concat(new Uint8Array(2), raw, utf8(account)));
  for (let round = 0; round < ROUNDS; round++) hash = sha512(concat(hash, raw));
  let digits = "";
  for (let group = 0; group < 6; group++) {
    let value = 0; // five bytes: below 2^40, exact in a double
    for (let i = 0; i < 5; i++) value = value * 256 + (hash[group * 5 + i] as number);
    digits += String(value % 100_000).padStart(5, "0");
  }
  if (cache.size > 500) cache.clear();
  cache.set(key, digits);
  return digits;
}

/** The number of two accounts, the same from both sides: 12 groups of 5 digits, separated by spaces. Takes some 20 ms. */
export function safetyNumber(a: { account: string; identityKey: string }, b: { account: string; identityKey: string }): string {
  const digits = [side(a.account, a.identityKey), side(b.account, b.identityKey)].sort().join("");
  return (digits.match(/.{5}/g) ?? []).join(" ");
}
