"""Unpadded base64url (RFC 4648, section 5), the only way that bytes travel in the protocol."""

import base64
import binascii


def encode(data: bytes) -> str:
    """Bytes to unpadded base64url."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Unpadded base64url to bytes. Raises ``ValueError`` when ``text`` is not the canonical encoding of anything."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64url") from error
    if encode(data) != text:
        raise ValueError("not canonical base64url")
    return data
