"""Address book entries: names and numbers encrypted with a key that only the account's devices have (P06). Pure."""

import secrets
from collections.abc import Callable
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from signaling.wire import base64url
from signaling.wire.rest import MAX_ENTRY

_AAD: Final = b"kloudtalk/v1 book\0"
_BLOCK: Final = 64
_NONCE: Final = 12
_MAX_NAME: Final = 200
"""UTF-8 bytes of a name; a longer one is cut."""


class EntryInvalid(ValueError):  # noqa: N818 - what is wrong, as the other errors of this library
    """An entry that was not made with this key for this token."""


class BookEntry(Struct, frozen=True):
    """One contact. ``phone`` is E.164."""

    name: str
    phone: str


def _cut(name: str, limit: int) -> str:
    return name.encode()[:limit].decode("utf-8", "ignore")


def encrypt_entry(book_key: bytes, token: str, entry: BookEntry, token_bytes: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Encrypt one contact (AES-256-GCM), bound to its discovery token; base64url. Raises ``ValueError``."""
    nonce = token_bytes(_NONCE)
    limit = _MAX_NAME
    while True:
        data = msgspec.json.encode(BookEntry(_cut(entry.name, limit), entry.phone))
        data += b" " * (-len(data) % _BLOCK)
        text = base64url.encode(nonce + AESGCM(book_key).encrypt(nonce, data, _AAD + token.encode("ascii")))
        if len(text) <= MAX_ENTRY:
            return text
        limit //= 2  # control characters take six bytes each in JSON


def decrypt_entry(book_key: bytes, token: str, entry: str) -> BookEntry:
    """Decrypt one contact. Raises ``EntryInvalid``."""
    try:
        data = base64url.decode(entry)
        plain = AESGCM(book_key).decrypt(data[:_NONCE], data[_NONCE:], _AAD + token.encode("ascii"))
        return msgspec.json.decode(plain, type=BookEntry)
    except (InvalidTag, ValueError, msgspec.DecodeError) as error:
        raise EntryInvalid("the entry was not made with this key for this token") from error
