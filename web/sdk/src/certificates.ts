/** Device certificates: what is signed, and how a chain is verified. The bytes are those of `signaling/accounts/certificates.py`. */
import { concat, fromBase64url, lengthPrefixed, u64, utf8, type Bytes } from "./bytes.js";
import { verify } from "./keys.js";
import type { CertificateLink, DeviceCertificate } from "./wire.js";

const PREFIX = utf8("kloudtalk/v1 device certificate\0");
const MAX_CHAIN = 10;

/** The bytes that the issuer of `link` signs. Throws `RangeError` when a key is not base64url. */
export function certificateBytes(account: string, identityKey: string, issuerKey: string, link: Omit<CertificateLink, "signature">): Bytes {
  return concat(
    PREFIX,
    lengthPrefixed(utf8(account)),
    lengthPrefixed(fromBase64url(identityKey)),
    lengthPrefixed(fromBase64url(issuerKey)),
    lengthPrefixed(utf8(link.device)),
    lengthPrefixed(fromBase64url(link.signing_key)),
    lengthPrefixed(fromBase64url(link.sealing_key)),
    u64(link.issued_at),
  );
}

/** Whether every link from the identity key to the device is signed by its issuer. Never throws. */
export async function verifyCertificate(certificate: DeviceCertificate): Promise<boolean> {
  const { account, identity_key, chain } = certificate;
  if (chain.length < 1 || chain.length > MAX_CHAIN) return false;
  if (new Set(chain.map((link) => link.device)).size !== chain.length) return false;
  let issuer = identity_key;
  for (const link of chain) {
    try {
      const signed = certificateBytes(account, identity_key, issuer, link);
      if (!(await verify(fromBase64url(issuer), fromBase64url(link.signature), signed))) return false;
    } catch {
      return false;
    }
    issuer = link.signing_key;
  }
  return true;
}

/** The link of the device that the certificate is for. */
export function leaf(certificate: DeviceCertificate): CertificateLink {
  const link = certificate.chain.at(-1);
  if (link === undefined) throw new RangeError("an empty chain");
  return link;
}
