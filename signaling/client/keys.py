"""The keys of one device, and the certificates that it makes: for itself as the first device, or for a device that it links.

Pure: randomness and time come from the caller. Private keys are held by ``cryptography``'s objects and leave them only by
``DeviceKeys.export``, for a store on the same machine.
"""

import secrets
from collections.abc import Callable
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec import Struct
from msgspec.structs import replace

from signaling.accounts.certificates import certificate_bytes
from signaling.wire import base64url
from signaling.wire.certificate import MAX_CHAIN, CertificateLink, DeviceCertificate

_NO_SIGNATURE: Final = base64url.encode(bytes(64))


class StoredKeys(Struct, frozen=True):
    """A device's private keys as base64url, for a store that only the user can read."""

    device: str
    signing: str
    sealing: str


class DeviceKeys:
    """One device: its id, signing key (Ed25519) and sealing key (X25519)."""

    def __init__(self, device: str, signing: Ed25519PrivateKey, sealing: X25519PrivateKey) -> None:
        self.device = device
        self.signing = signing
        self.sealing = sealing

    @classmethod
    def generate(cls, token_bytes: Callable[[int], bytes] = secrets.token_bytes) -> Self:
        """New keys under a new id."""
        return cls(
            base64url.encode(token_bytes(16)),
            Ed25519PrivateKey.from_private_bytes(token_bytes(32)),
            X25519PrivateKey.from_private_bytes(token_bytes(32)),
        )

    @classmethod
    def load(cls, stored: StoredKeys) -> Self:
        """The keys that ``export`` gave. Raises ``ValueError``."""
        return cls(
            stored.device,
            Ed25519PrivateKey.from_private_bytes(base64url.decode(stored.signing)),
            X25519PrivateKey.from_private_bytes(base64url.decode(stored.sealing)),
        )

    def export(self) -> StoredKeys:
        """The private keys, for keeping."""
        return StoredKeys(
            self.device, base64url.encode(self.signing.private_bytes_raw()), base64url.encode(self.sealing.private_bytes_raw())
        )

    @property
    def signing_key(self) -> str:
        """Public signing key, base64url."""
        return base64url.encode(self.signing.public_key().public_bytes_raw())

    @property
    def sealing_key(self) -> str:
        """Public sealing key, base64url."""
        return base64url.encode(self.sealing.public_key().public_bytes_raw())


def certify_first(account: str, identity: Ed25519PrivateKey, keys: DeviceKeys, issued_at: int) -> DeviceCertificate:
    """The first device's certificate: one link, signed by the identity key. ``issued_at``: milliseconds."""
    identity_key = base64url.encode(identity.public_key().public_bytes_raw())
    link = CertificateLink(keys.device, keys.signing_key, keys.sealing_key, issued_at, _NO_SIGNATURE)
    signature = identity.sign(certificate_bytes(account, identity_key, identity_key, link))
    return DeviceCertificate(account, identity_key, (replace(link, signature=base64url.encode(signature)),))


def certify_linked(
    own: DeviceCertificate, keys: DeviceKeys, *, device: str, signing_key: str, sealing_key: str, issued_at: int
) -> DeviceCertificate:
    """A further device's certificate: this device's chain, and a link signed by this device.

    Raises:
        ValueError: the chain has no room, a device would be in it twice, or a key is not one.
    """
    if len(own.chain) >= MAX_CHAIN:
        raise ValueError("this device may not link a further one: the chain would be too long")
    if any(link.device == device for link in own.chain):
        raise ValueError("the new device has an id that is in the chain already")
    link = CertificateLink(device, signing_key, sealing_key, issued_at, _NO_SIGNATURE)
    signature = keys.signing.sign(certificate_bytes(own.account, own.identity_key, own.leaf.signing_key, link))
    return DeviceCertificate(own.account, own.identity_key, (*own.chain, replace(link, signature=base64url.encode(signature))))
