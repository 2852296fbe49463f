"""Proof that a device asks for what cannot be taken back (pure): a stolen token alone neither exports nor deletes nor freezes an account.

The device signs the act, the account, itself and the time with the signing key of its certificate, which never leaves it.
"""

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from signaling.accounts.certificates import length_prefixed
from signaling.wire import base64url
from signaling.wire.certificate import DeviceCertificate
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.rest import Proof

PREFIX: Final = b"kloudtalk/v1 proof\0"
"""Domain separation, as for certificates."""

MAX_SKEW: Final = 3600.0
"""Seconds that the device's clock may differ from ours, either way."""

EXPORT: Final = "account.export"
DELETE: Final = "account.delete"
RESTRICT: Final = "account.restrict"
UNRESTRICT: Final = "account.unrestrict"


def proof_bytes(act: str, account: str, device: str, at: int) -> bytes:
    """The bytes that the device signs; ``at`` in milliseconds."""
    named = b"".join(length_prefixed(part.encode()) for part in (act, account, device))
    return PREFIX + named + at.to_bytes(8, "big")


def prove(act: str, account: str, device: str, key: Ed25519PrivateKey, at: int) -> Proof:
    """What a device sends."""
    return Proof(at, base64url.encode(key.sign(proof_bytes(act, account, device, at))))


def check(proof: Proof, act: str, certificate: DeviceCertificate, now: float) -> None:
    """Raises ``Refused(proof_invalid)`` unless the certificate's device has signed this act within the hour. ``now``: seconds."""
    leaf = certificate.leaf
    if abs(now - proof.at / 1000) > MAX_SKEW:
        raise Refused(ErrorCode.PROOF_INVALID)
    signed = proof_bytes(act, certificate.account, leaf.device, proof.at)
    try:
        Ed25519PublicKey.from_public_bytes(base64url.decode(leaf.signing_key)).verify(base64url.decode(proof.signature), signed)
    except (InvalidSignature, ValueError):
        raise Refused(ErrorCode.PROOF_INVALID) from None
