"""Voluntary application server identification (RFC 8292): who sends the pushes, so that nobody else can to the same subscription."""

import hashlib
import hmac
from typing import Final
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from signaling.push.encryption import public_bytes
from signaling.wire import base64url

_LIFETIME: Final = 12 * 3600
"""Seconds for which a token holds; 24 hours at most (RFC 8292, section 2)."""
_KEPT: Final = 6 * 3600
"""Seconds for which it is used again."""
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256."""


class Vapid:
    """The hub's key and its tokens. Every hub with the same secret has the same key, so a subscription holds with all of them.

    Args:
        contact: ``mailto:`` or ``https:`` URL under which the operators of push services can reach the operator of this one.
    """

    def __init__(self, secret: bytes, contact: str) -> None:
        self._contact = contact
        digest = hmac.digest(secret, b"kloudtalk/v1 vapid", hashlib.sha512)
        # 512 bits modulo the order: the bias is below 2^-250
        self._key = ec.derive_private_key(int.from_bytes(digest, "big") % (_ORDER - 1) + 1, ec.SECP256R1())
        self.public_key = base64url.encode(public_bytes(self._key.public_key()))
        """For ``PushManager.subscribe``: 65 bytes, base64url."""
        self._tokens: dict[str, tuple[float, str]] = {}

    def header(self, endpoint: str, now: float) -> str:
        """The ``Authorization`` header for a push to an endpoint. ``now``: seconds since 1970."""
        parts = urlsplit(endpoint)
        audience = f"{parts.scheme}://{parts.netloc}"
        made, token = self._tokens.get(audience, (0.0, ""))
        if not made <= now < made + _KEPT:
            claims = {"aud": audience, "exp": int(now) + _LIFETIME, "sub": self._contact}
            token = jwt.encode(claims, self._key, algorithm="ES256")
            if len(self._tokens) > 100:
                self._tokens.clear()
            self._tokens[audience] = now, token
        return f"vapid t={token}, k={self.public_key}"
