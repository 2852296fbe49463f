"""Pseudonyms: what operators see in place of an account's id.

The id (128 random bits) enciphered as one block of AES under a key of the deployment, in base62. So a pseudonym is stable, two deployments
have different ones, nobody without the key gets from one to the other, and with it no table of pseudonyms is needed, which would have to
be kept, exported and erased. (One block of random data, each id once: a block cipher's own purpose; no mode is needed.)
"""

import hashlib
import hmac
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.modes import ECB

from signaling.wire import base64url

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LENGTH: Final = 22
"""Characters. The first eight are enough to tell accounts on a screen apart."""


class Pseudonyms:
    """Pseudonyms of one deployment. ``secret``: the hubs' common secret."""

    def __init__(self, secret: bytes) -> None:
        key = hmac.digest(secret, b"kloudtalk/v1 pseudonyms", hashlib.sha256)[:16]
        cipher = Cipher(algorithms.AES(key), ECB())  # noqa: S305 - one block
        self._encryptor, self._decryptor = cipher.encryptor(), cipher.decryptor()  # to make one costs fifty times what a block does

    def of(self, account: str) -> str:
        """The pseudonym of an account's id. Raises ``ValueError`` when it is none."""
        raw = base64url.decode(account)
        if len(raw) != 16:
            raise ValueError("not an account's id")
        number = int.from_bytes(self._encryptor.update(raw))
        digits = []
        for _ in range(LENGTH):
            number, digit = divmod(number, 62)
            digits.append(_DIGITS[digit])
        return "".join(reversed(digits))

    def account(self, pseudonym: str) -> str | None:
        """The account's id; None for what is no pseudonym. Whether there is such an account, the database says."""
        number = 0
        for character in pseudonym:
            digit = _DIGITS.find(character)
            if digit < 0:
                return None
            number = number * 62 + digit
        if len(pseudonym) != LENGTH or number >> 128:
            return None
        return base64url.encode(self._decryptor.update(number.to_bytes(16)))
