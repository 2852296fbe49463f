/** The keys of a device. Private keys are non-extractable WebCrypto keys: no script, this one included, can read them out. */
import { certificateBytes } from "./certificates.js";
import { toBase64url, type Bytes } from "./bytes.js";
import type { CertificateLink, DeviceCertificate } from "./wire.js";

/** Ed25519 (RFC 8032) for signing, X25519 (RFC 7748) for sealing. */
export interface DeviceKeys {
  readonly signing: CryptoKeyPair;
  readonly sealing: CryptoKeyPair;
}

async function pair(algorithm: "Ed25519" | "X25519"): Promise<CryptoKeyPair> {
  const usages: KeyUsage[] = algorithm === "Ed25519" ? ["sign", "verify"] : ["deriveBits"];
  return (await crypto.subtle.generateKey({ name: algorithm }, false, usages)) as CryptoKeyPair;
}

export async function makeDeviceKeys(): Promise<DeviceKeys> {
  return { signing: await pair("Ed25519"), sealing: await pair("X25519") };
}

/** The raw public key, base64url. */
export async function publicKey(keys: CryptoKeyPair): Promise<string> {
  return toBase64url(new Uint8Array(await crypto.subtle.exportKey("raw", keys.publicKey)));
}

export async function sign(privateKey: CryptoKey, data: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.sign({ name: "Ed25519" }, privateKey, data));
}

/** False for a wrong signature and for a key that is none. */
export async function verify(rawKey: Bytes, signature: Bytes, data: Bytes): Promise<boolean> {
  try {
    const key = await crypto.subtle.importKey("raw", rawKey, { name: "Ed25519" }, false, ["verify"]);
    return await crypto.subtle.verify({ name: "Ed25519" }, key, signature, data);
  } catch {
    return false;
  }
}

/**
 * The certificate of an account's first device. The identity key is made here, signs this one link and is then forgotten: further
 * devices are vouched for by devices, so nobody ever needs it again, and nobody can steal it.
 */
export async function certifyFirstDevice(account: string, device: string, keys: DeviceKeys, now: number): Promise<DeviceCertificate> {
  const identity = await pair("Ed25519");
  const identityKey = await publicKey(identity);
  return { account, identity_key: identityKey, chain: [await link(account, identityKey, identityKey, identity.privateKey, device, await publicKey(keys.signing), await publicKey(keys.sealing), now)] };
}

/** The certificate of a further device, vouched for by the device that `own` is for. */
export async function certifyFurtherDevice(
  own: DeviceCertificate,
  ownKeys: DeviceKeys,
  claim: { device: string; signing_key: string; sealing_key: string },
  now: number,
): Promise<DeviceCertificate> {
  const issuer = await publicKey(ownKeys.signing);
  const made = await link(own.account, own.identity_key, issuer, ownKeys.signing.privateKey, claim.device, claim.signing_key, claim.sealing_key, now);
  return { ...own, chain: [...own.chain, made] };
}

async function link(
  account: string, identityKey: string, issuerKey: string, issuer: CryptoKey, device: string, signing: string, sealing: string, now: number,
): Promise<CertificateLink> {
  const unsigned = { device, signing_key: signing, sealing_key: sealing, issued_at: now };
  return { ...unsigned, signature: toBase64url(await sign(issuer, certificateBytes(account, identityKey, issuerKey, unsigned))) };
}
