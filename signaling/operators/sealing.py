"""Secrets that must be had again in clear (TOTP, sign-ins under way): sealed with AES-256-GCM under a key of the hubs."""

import hashlib
import hmac
import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE: Final = 12


class Sealer:
    """Seals and opens. ``secret``: the hubs' common secret; who has the database alone has no key."""

    def __init__(self, secret: bytes) -> None:
        self._aead = AESGCM(hmac.digest(secret, b"kloudtalk/v1 operators' secrets", hashlib.sha256))

    def seal(self, clear: bytes, context: str) -> bytes:
        """Sealed bytes, of use in the same context only (whose secret it is)."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._aead.encrypt(nonce, clear, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes | None:
        """The clear bytes; None when they were sealed with another key, for another context, or changed."""
        try:
            return self._aead.decrypt(sealed[:_NONCE], sealed[_NONCE:], context.encode())
        except (InvalidTag, ValueError):
            return None
