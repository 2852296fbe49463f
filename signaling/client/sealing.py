"""Sealed payloads: signed by the sending device, encrypted for the receiving one, bound to the call and to both (P10).

The bytes are in ``docs/security.md``. HPKE is RFC 9180 in base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
"""

from typing import Annotated, Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from msgspec import Meta, Struct

from signaling.accounts.certificates import length_prefixed
from signaling.wire import base64url

PREFIX: Final = b"kloudtalk/v1 sealed\0"
BLOCK: Final = 256
"""Content is padded to a multiple of this, so that its length tells little."""
MAX_SEALED: Final = 16_384
"""Characters of a sealed payload (``wire/ids.py``)."""
_SIGNATURE: Final = 64
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class SealError(ValueError):
    """A payload that must not be applied. ``reason`` is the notice: ``cannot_open`` (it was not sealed for this device, in this call,
    by that device, or was changed) or ``signature_invalid`` (it opens, but the sender did not sign it).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Route(Struct, frozen=True):
    """What a payload is bound to: the call (or what stands in its place), the sending and the receiving device."""

    call: str
    sender: str
    receiver: str


class Content(Struct, frozen=True):
    """What is inside a sealed payload. ``n`` counts from 0, per call, sender and receiver."""

    kind: str
    n: Annotated[int, Meta(ge=0, le=2**53 - 1)]
    body: dict[str, Any]


_content: Final = msgspec.json.Decoder(Content)


def context(route: Route) -> bytes:
    """The bytes that bind a payload to its route."""
    return PREFIX + b"".join(length_prefixed(part.encode()) for part in (route.call, route.sender, route.receiver))


def padded(content: Content) -> bytes:
    """The content as JSON, padded with spaces."""
    data = msgspec.json.encode(content)
    return data + b" " * (-len(data) % BLOCK)


def seal(route: Route, content: Content, signing: Ed25519PrivateKey, sealing_key: str) -> str:
    """Sign with the sender's key and seal for the receiver's public sealing key (base64url).

    Raises:
        ValueError: the key is not one, or the content is too long for a payload.
    """
    data, bound = padded(content), context(route)
    plaintext = signing.sign(bound + data) + data
    receiver_key = X25519PublicKey.from_public_bytes(base64url.decode(sealing_key))
    sealed = base64url.encode(_SUITE.encrypt(plaintext, receiver_key, info=bound))
    if len(sealed) > MAX_SEALED:
        raise ValueError("the content is too long for a sealed payload")
    return sealed


def unseal(route: Route, sealed: str, sealing: X25519PrivateKey, signing_key: str) -> Content:
    """Open what the route's sender (public signing key, base64url) sealed for this device. Raises ``SealError``."""
    bound = context(route)
    try:
        plaintext = _SUITE.decrypt(base64url.decode(sealed), sealing, info=bound)
    except (InvalidTag, ValueError) as error:
        raise SealError("cannot_open") from error
    signature, data = plaintext[:_SIGNATURE], plaintext[_SIGNATURE:]
    try:
        Ed25519PublicKey.from_public_bytes(base64url.decode(signing_key)).verify(signature, bound + data)
    except (InvalidSignature, ValueError) as error:
        raise SealError("signature_invalid") from error
    try:
        return _content.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise SealError("cannot_open") from error
