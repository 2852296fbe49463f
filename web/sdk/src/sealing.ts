/**
 * Sealed payloads: signed by one device, readable by one other, bound to one call and to its place in it (P10).
 *
 * HPKE (RFC 9180) base mode with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM around an Ed25519 signature; `docs/security.md` has the bytes.
 */
import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from "@hpke/core";
import { concat, fromBase64url, lengthPrefixed, toBase64url, utf8, type Bytes } from "./bytes.js";
import { sign, verify } from "./keys.js";

const PREFIX = utf8("kloudtalk/v1 sealed\0");
const BLOCK = 256;
const ENCAPSULATED = 32;
const SIGNATURE = 64;

/** What is inside: its kind, its number for this call, sender and receiver (from 0), and the body. */
export interface Content {
  readonly kind: string;
  readonly n: number;
  readonly body: unknown;
}

/** Who seals for whom in which call. */
export interface Route {
  readonly call: string;
  readonly sender: string;
  readonly receiver: string;
}

/** Why a payload was not opened. */
export class SealError extends Error {
  constructor(readonly reason: "cannot_open" | "signature_invalid") {
    super(reason);
    this.name = "SealError";
  }
}

const suite = new CipherSuite({ kem: new DhkemX25519HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });

function context(route: Route): Bytes {
  return concat(PREFIX, lengthPrefixed(utf8(route.call)), lengthPrefixed(utf8(route.sender)), lengthPrefixed(utf8(route.receiver)));
}

/** Seals `content`. `signingKey` is the sender's private Ed25519 key, `sealingKey` the receiver's public X25519 key (base64url). */
export async function seal(route: Route, content: Content, signingKey: CryptoKey, sealingKey: string): Promise<string> {
  const json = utf8(JSON.stringify({ kind: content.kind, n: content.n, body: content.body }));
  // padded, so that the length says little about what is inside
  const padded = new Uint8Array(Math.ceil(json.length / BLOCK) * BLOCK).fill(0x20);
  padded.set(json);
  const info = context(route);
  const signature = await sign(signingKey, concat(info, padded));
  const recipientPublicKey = await suite.kem.deserializePublicKey(fromBase64url(sealingKey).buffer);
  const { enc, ct } = await suite.seal({ recipientPublicKey, info: info.buffer }, concat(signature, padded).buffer);
  return toBase64url(concat(new Uint8Array(enc), new Uint8Array(ct)));
}

/** Opens what `seal` made. Throws `SealError`. `signingKey` is the sender's public Ed25519 key (base64url), out of its verified certificate. */
export async function open(route: Route, sealed: string, sealingKeys: CryptoKeyPair, signingKey: string): Promise<Content> {
  const info = context(route);
  let plain: Bytes;
  try {
    const bytes = fromBase64url(sealed);
    const recipientKey = sealingKeys;
    const enc = bytes.slice(0, ENCAPSULATED).buffer;
    plain = new Uint8Array(await suite.open({ recipientKey, enc, info: info.buffer }, bytes.slice(ENCAPSULATED).buffer));
  } catch {
    throw new SealError("cannot_open");
  }
  const [signature, content] = [plain.slice(0, SIGNATURE), plain.slice(SIGNATURE)];
  if (!(await verify(fromBase64url(signingKey), signature, concat(info, content)))) throw new SealError("signature_invalid");
  try {
    const parsed: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(content));
    if (isContent(parsed)) return parsed;
  } catch {
    // signed, but not what this protocol says
  }
  throw new SealError("cannot_open");
}

function isContent(value: unknown): value is Content {
  if (typeof value !== "object" || value === null || !("kind" in value && "n" in value && "body" in value)) return false;
  return typeof value.kind === "string" && typeof value.n === "number" && Number.isSafeInteger(value.n) && value.n >= 0 && typeof value.body === "object" && value.body !== null;
}
