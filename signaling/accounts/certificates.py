"""Device certificates: what is signed, and how a chain is verified. Pure; the client library and the hub use the same functions."""

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from signaling.wire import base64url
from signaling.wire.certificate import MAX_CHAIN, CertificateLink, DeviceCertificate

PREFIX: Final = b"kloudtalk/v1 device certificate\0"
"""Domain separation: no other signature of the product starts like this."""


class CertificateInvalid(ValueError):  # noqa: N818 - named as the error code is
    """A chain that does not prove that the device belongs to the account."""


def length_prefixed(value: bytes) -> bytes:
    """``value`` after its length as two bytes, big-endian: no two lists of values give the same bytes."""
    return len(value).to_bytes(2, "big") + value


def certificate_bytes(account: str, identity_key: str, issuer_key: str, link: CertificateLink) -> bytes:
    """The bytes that the issuer of ``link`` signs. Keys are base64url of 32 bytes; raises ``ValueError`` when they are not."""
    return b"".join(
        (
            PREFIX,
            length_prefixed(account.encode()),
            length_prefixed(base64url.decode(identity_key)),
            length_prefixed(base64url.decode(issuer_key)),
            length_prefixed(link.device.encode()),
            length_prefixed(base64url.decode(link.signing_key)),
            length_prefixed(base64url.decode(link.sealing_key)),
            link.issued_at.to_bytes(8, "big"),
        )
    )


def verify_chain(certificate: DeviceCertificate) -> None:
    """Verify every link from the identity key to the device. Raises ``CertificateInvalid``."""
    if not 1 <= len(certificate.chain) <= MAX_CHAIN:
        raise CertificateInvalid("the chain is empty or too long")
    issuer = certificate.identity_key
    seen: set[str] = set()
    for link in certificate.chain:
        if link.device in seen:
            raise CertificateInvalid("a device appears twice in the chain")
        seen.add(link.device)
        try:
            signed = certificate_bytes(certificate.account, certificate.identity_key, issuer, link)
            Ed25519PublicKey.from_public_bytes(base64url.decode(issuer)).verify(base64url.decode(link.signature), signed)
        except (ValueError, OverflowError, InvalidSignature) as error:
            raise CertificateInvalid("a link of the chain is not signed by its issuer") from error
        issuer = link.signing_key
