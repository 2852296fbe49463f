/** Address book entries, encrypted with a key that only the account's devices have (P05, P08). */
import { concat, fromBase64url, randomBytes, toBase64url, utf8, type Bytes } from "./bytes.js";

const BLOCK = 64;
const NONCE = 12;
const NAME_BYTES = 200;

export interface BookEntry {
  readonly name: string;
  /** E.164 */
  readonly phone: string;
}

/** The key is extractable: a further device of the account gets it, sealed. */
export async function importBookKey(raw: Bytes): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", raw, { name: "AES-GCM" }, true, ["encrypt", "decrypt"]);
}

const aad = (token: string): Bytes => utf8(`kloudtalk/v1 book\0${token}`);

/** `token` is the entry's discovery token: a hub cannot move a name to another number's entry. */
export async function encryptEntry(key: CryptoKey, token: string, entry: BookEntry, nonce: Bytes = randomBytes(NONCE)): Promise<string> {
  const json = utf8(JSON.stringify({ name: cut(entry.name), phone: entry.phone }));
  const padded = new Uint8Array(Math.ceil(json.length / BLOCK) * BLOCK).fill(0x20);
  padded.set(json);
  const encrypted = await crypto.subtle.encrypt({ name: "AES-GCM", iv: nonce, additionalData: aad(token) }, key, padded);
  return toBase64url(concat(nonce, new Uint8Array(encrypted)));
}

/** Null when it is not ours: another key, another token, or changed on the way. */
export async function decryptEntry(key: CryptoKey, token: string, entry: string): Promise<BookEntry | null> {
  try {
    const bytes = fromBase64url(entry);
    const plain = await crypto.subtle.decrypt({ name: "AES-GCM", iv: bytes.slice(0, NONCE), additionalData: aad(token) }, key, bytes.slice(NONCE));
    const parsed: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(plain));
    if (typeof parsed === "object" && parsed !== null && "name" in parsed && "phone" in parsed && typeof parsed.name === "string" && typeof parsed.phone === "string") {
      return { name: parsed.name, phone: parsed.phone };
    }
  } catch {
    // falls through
  }
  return null;
}

/** At most 200 bytes of UTF-8, never half a character. JSON escapes must not make it longer: control characters and quotes go. */
function cut(name: string): string {
  const clean = name.replace(/[\u0000-\u001f\u007f"\\]/gu, " ").replace(/[\ud800-\udfff](?![\udc00-\udfff])/gu, "").trim();
  let bytes = 0, kept = "";
  for (const character of clean) {
    bytes += utf8(character).length;
    if (bytes > NAME_BYTES) break;
    kept += character;
  }
  return kept;
}
