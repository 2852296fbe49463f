"""The safety number: 60 digits that two users compare by voice; equal when no one is between them. Pure."""

import hashlib
from typing import Final

from signaling.wire import base64url

ROUNDS: Final = 5200
"""Hashes per side: makes looking for a key with similar digits 5200 times as dear."""


def digits_of(account: str, identity_key: str) -> str:
    """One side's 30 digits. ``identity_key`` is base64url. Raises ``ValueError``."""
    key = base64url.decode(identity_key)
    digest = hashlib.sha512(b"\0\0" + key + account.encode("ascii")).digest()
    for _ in range(ROUNDS):
        digest = hashlib.sha512(digest + key).digest()
    return "".join(f"{int.from_bytes(digest[5 * i : 5 * i + 5], 'big') % 100_000:05d}" for i in range(6))


def safety_number(one: tuple[str, str], other: tuple[str, str]) -> str:
    """The 60 digits of two sides, each (account, identity key); the same for both, whoever asks."""
    return "".join(sorted((digits_of(*one), digits_of(*other))))


def grouped(number: str) -> str:
    """A safety number in groups of five, as it is shown."""
    return " ".join(number[i : i + 5] for i in range(0, len(number), 5))
