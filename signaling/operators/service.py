"""Who may act as an operator. A secret of 256 bits is shown once; its SHA-256 is kept."""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from signaling.operators.audit import Action, AuditTrail
from signaling.storage.sql import Database
from signaling.storage.tables import operators

_NAME: Final = re.compile(r"[a-z][a-z0-9.-]{0,31}")


class OperatorError(Exception):
    """What an operator asked for cannot be done; the message says why, for the operator."""


class Operator(Struct, frozen=True):
    """Somebody who has proven to be an operator. Services take this, not a name."""

    name: str


class Operators:
    """Adds, removes and authenticates operators."""

    def __init__(
        self,
        *,
        database: Database,
        audit: AuditTrail,
        clock: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._token_bytes = token_bytes

    async def add(self, name: str) -> str:
        """Add an operator; answers the secret, which is not kept. For who administers the machine. Raises ``OperatorError``."""
        if not _NAME.fullmatch(name):
            raise OperatorError("a name has up to 32 small letters, digits, dots and dashes, and begins with a letter")
        secret = self._token_bytes(32).hex()
        try:
            async with self._database.begin() as connection:
                await connection.execute(
                    insert(operators).values(name=name, secret_hash=_hash(secret), created_at=int(self._clock() * 1000))
                )
                await self._audit.write(connection, name, Action.OPERATOR_ADDED, "")
        except IntegrityError:
            raise OperatorError("there is, or was, an operator of this name: names are not used twice") from None
        return secret

    async def remove(self, name: str) -> None:
        """An operator may do nothing any more. Raises ``OperatorError``."""
        async with self._database.begin() as connection:
            gone = await connection.execute(
                update(operators)
                .where(operators.c.name == name, operators.c.removed_at.is_(None))
                .values(removed_at=int(self._clock() * 1000), secret_hash=b"")
            )
            if not gone.rowcount:
                raise OperatorError("there is no such operator")
            await self._audit.write(connection, name, Action.OPERATOR_REMOVED, "")

    async def list(self) -> list[str]:
        """Names of those who may act."""
        query = select(operators.c.name).where(operators.c.removed_at.is_(None)).order_by(operators.c.name)
        async with self._database.begin() as connection:
            return [row.name for row in await connection.execute(query)]

    async def authenticate(self, name: str, secret: str) -> Operator:
        """Raises ``OperatorError`` when the two do not belong together."""
        query = select(operators.c.secret_hash).where(operators.c.name == name, operators.c.removed_at.is_(None))
        async with self._database.begin() as connection:
            kept = (await connection.execute(query)).scalar_one_or_none()
        if not hmac.compare_digest(_hash(secret), kept or bytes(32)):
            raise OperatorError("operator and secret do not belong together")
        return Operator(name)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.strip().encode()).digest()
