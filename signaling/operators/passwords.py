"""Operators' passwords: argon2id (RFC 9106), by argon2-cffi; never on the event loop, and few at a time, for each takes 64 MiB."""

import asyncio
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from signaling.wire.errors import ErrorCode, Refused

MINIMUM: Final = 12
"""Characters."""
_DISTINCT: Final = 6
"""Different characters."""
_AT_ONCE: Final = 2


def check_password(password: str, operator: str) -> None:
    """Raises ``Refused`` (``password_weak``) with what is missing (pure). Length is what counts (NIST SP 800-63B); no rules on characters."""
    if len(password) < MINIMUM:
        raise Refused(ErrorCode.PASSWORD_WEAK, f"a password has {MINIMUM} characters or more")
    if len(set(password)) < _DISTINCT:
        raise Refused(ErrorCode.PASSWORD_WEAK, "a password has more different characters")
    if operator in password.lower():
        raise Refused(ErrorCode.PASSWORD_WEAK, "a password does not hold the operator's name")


class Passwords:
    """Hashes and verifies."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        """What is stored, with its salt and parameters."""
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether it is the password. With nothing stored the work is the same: time does not tell which operators there are."""
        if self._nobody is None:
            self._nobody = await self.hash("nobody's password")
        async with self._slots:
            return await asyncio.to_thread(self._verify, stored or self._nobody, password) and stored is not None

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False
