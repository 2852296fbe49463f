"""The device certificate as it travels: an account's identity key vouches for a device, directly or through other devices.

Private keys never leave the device that made them, the account's identity key included; so a device that is linked later is
vouched for by the device that linked it, and carries the chain. Verification is in ``signaling/accounts/certificates.py``.
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

from signaling.wire.ids import AccountId, DeviceId, Key32, Millis, Signature

MAX_CHAIN: Final = 8
"""Links of one certificate: how often a linked device may link a further one. Bounds the work of a verifier."""


class CertificateLink(Struct, frozen=True, forbid_unknown_fields=True):
    """One device's keys, signed by its issuer: the identity key (first link) or the signing key of the link before."""

    device: DeviceId
    signing_key: Key32
    """Ed25519 public key."""
    sealing_key: Key32
    """X25519 public key."""
    issued_at: Millis
    signature: Signature
    """Ed25519 over ``certificate_bytes`` (see ``accounts/certificates.py``), by the issuer."""


class DeviceCertificate(Struct, frozen=True, forbid_unknown_fields=True):
    """The identity key, and the links from it to the device; the last link is the device that the certificate is for."""

    account: AccountId
    identity_key: Key32
    """Ed25519 public key of the account."""
    chain: Annotated[tuple[CertificateLink, ...], Meta(min_length=1, max_length=MAX_CHAIN)]

    @property
    def leaf(self) -> CertificateLink:
        """The link of the device that this certificate is for."""
        return self.chain[-1]

    @property
    def device(self) -> str:
        """Id of the device that this certificate is for."""
        return self.chain[-1].device
