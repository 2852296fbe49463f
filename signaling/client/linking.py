"""Linking a further device: the code on the old device's screen, and the two MACs under its secret part. Pure."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from signaling.accounts.certificates import length_prefixed
from signaling.client.sealing import Content, Route, SealError, seal, unseal
from signaling.wire import base64url
from signaling.wire.certificate import DeviceCertificate

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base32: no I, L, O, U."""
LOOKUP: Final = 4
SECRET: Final = 12
"""Characters of the secret: 60 bits, of no use after the link's ten minutes."""

_INFO: Final = b"kloudtalk/v1 link"
_CLAIM: Final = b"kloudtalk/v1 link claim\0"
_APPROVAL: Final = b"kloudtalk/v1 link approval\0"


def make_secret(token_bytes: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """A new secret part."""
    return "".join(ALPHABET[byte % 32] for byte in token_bytes(SECRET))


def show(lookup: str, secret: str) -> str:
    """The code as it is shown: four groups of four."""
    code = lookup + secret
    return "-".join(code[i : i + 4] for i in range(0, len(code), 4))


def parse(code: str) -> tuple[str, str]:
    """(lookup, secret) of a code as someone typed it. Raises ``ValueError``."""
    text = "".join(code.upper().split()).replace("-", "").translate(str.maketrans("OIL", "011"))
    if len(text) != LOOKUP + SECRET or not set(text) <= set(ALPHABET):
        raise ValueError("not a code of four groups of four")
    return text[:LOOKUP], text[LOOKUP:]


def link_key(secret: str) -> bytes:
    """The key of both MACs, 32 bytes (HKDF, RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_INFO).derive(secret.upper().encode("ascii"))


def claim_mac(key: bytes, *, device: str, signing_key: str, sealing_key: str, device_name: str) -> str:
    """Proves to the old device that these keys are of who read the code. Public keys and answer are base64url."""
    data = (
        _CLAIM
        + length_prefixed(device.encode())
        + length_prefixed(base64url.decode(signing_key))
        + length_prefixed(base64url.decode(sealing_key))
        + length_prefixed(device_name.encode())
    )
    return base64url.encode(hmac.digest(key, data, hashlib.sha256))


def approval_mac(key: bytes, certificate: DeviceCertificate, sealed: str) -> str:
    """Proves to the new device that this certificate and these secrets are of who showed the code."""
    data = _APPROVAL + length_prefixed(certificate.account.encode()) + length_prefixed(base64url.decode(certificate.identity_key))
    for link in certificate.chain:
        data += (
            length_prefixed(link.device.encode())
            + length_prefixed(base64url.decode(link.signing_key))
            + length_prefixed(base64url.decode(link.sealing_key))
            + link.issued_at.to_bytes(8, "big")
            + length_prefixed(base64url.decode(link.signature))
        )
    data += length_prefixed(sealed.encode("ascii"))
    return base64url.encode(hmac.digest(key, data, hashlib.sha256))


def same_mac(one: str, other: str) -> bool:
    """Whether two MACs are equal, in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


def seal_secrets(book_key: bytes, route: Route, signing: Ed25519PrivateKey, sealing_key: str) -> str:
    """The account's shared secrets, for the new device; the lookup stands in the call's place."""
    return seal(route, Content("secrets", 0, {"book_key": base64url.encode(book_key)}), signing, sealing_key)


def open_secrets(route: Route, sealed: str, sealing: X25519PrivateKey, signing_key: str) -> bytes:
    """The address book key, 32 bytes. Raises ``SealError``."""
    content = unseal(route, sealed, sealing, signing_key)
    book_key = content.body.get("book_key")
    try:
        key = base64url.decode(book_key) if content.kind == "secrets" and isinstance(book_key, str) else b""
    except ValueError:
        key = b""
    if len(key) != 32:
        raise SealError("cannot_open")
    return key
