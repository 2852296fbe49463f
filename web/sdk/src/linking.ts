/** Linking a further device: what both devices prove to each other with the code, whose secret part the hub never sees. */
import { concat, equal, fromBase64url, lengthPrefixed, randomBytes, toBase64url, u64, utf8, type Bytes } from "./bytes.js";
import type { DeviceCertificate } from "./wire.js";

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LOOKUP = 4;
const SECRET = 12;

/** Twelve characters of Crockford's base32: 60 bits that a person can type. */
export function makeSecret(): string {
  return [...randomBytes(SECRET)].map((byte) => ALPHABET.charAt(byte % 32)).join("");
}

/** As shown: groups of four. */
export function showCode(lookup: string, secret: string): string {
  return ((lookup + secret).match(/.{4}/g) ?? []).join("-");
}

/** What was typed or scanned; null when it cannot be a code. Forgives case, spaces, dashes and the letters that look like digits. */
export function parseCode(typed: string): { lookup: string; secret: string } | null {
  const code = typed.toUpperCase().replace(/[\s-]/gu, "").replaceAll("O", "0").replace(/[IL]/gu, "1");
  if (code.length !== LOOKUP + SECRET || [...code].some((character) => !ALPHABET.includes(character))) return null;
  return { lookup: code.slice(0, LOOKUP), secret: code.slice(LOOKUP) };
}

async function hmacKey(secret: string): Promise<CryptoKey> {
  const ikm = await crypto.subtle.importKey("raw", utf8(secret), "HKDF", false, ["deriveBits"]);
  const key = await crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: utf8("kloudtalk/v1 link") }, ikm, 256);
  return crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
}

async function mac(secret: string, data: Bytes): Promise<string> {
  return toBase64url(new Uint8Array(await crypto.subtle.sign("HMAC", await hmacKey(secret), data)));
}

/** The MAC by which the new device proves its keys to the old one. Keys are base64url. */
export async function claimMac(secret: string, claim: { device: string; signing_key: string; sealing_key: string; device_name: string }): Promise<string> {
  return mac(secret, concat(
    utf8("kloudtalk/v1 link claim\0"),
    lengthPrefixed(utf8(claim.device)),
    lengthPrefixed(fromBase64url(claim.signing_key)),
    lengthPrefixed(fromBase64url(claim.sealing_key)),
    lengthPrefixed(utf8(claim.device_name)),
  ));
}

/** The MAC by which the old device proves the certificate and the sealed secrets to the new one. */
export async function approvalMac(secret: string, certificate: DeviceCertificate, sealed: string): Promise<string> {
  return mac(secret, concat(
    utf8("kloudtalk/v1 link approval\0"),
    lengthPrefixed(utf8(certificate.account)),
    lengthPrefixed(fromBase64url(certificate.identity_key)),
    ...certificate.chain.map((link) => concat(
      lengthPrefixed(utf8(link.device)),
      lengthPrefixed(fromBase64url(link.signing_key)),
      lengthPrefixed(fromBase64url(link.sealing_key)),
      u64(link.issued_at),
      lengthPrefixed(fromBase64url(link.signature)),
    )),
    lengthPrefixed(utf8(sealed)),
  ));
}

export function sameMac(a: string, b: string): boolean {
  return equal(utf8(a), utf8(b));
}
