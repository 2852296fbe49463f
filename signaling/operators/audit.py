"""The audit trail: who of the operators did what, when, and to which request. Append-only: the database refuses changes, and each entry
carries a digest over itself and the one before, so that a changed or missing entry shows (P24).

It names operators and requests, never a user. Entries go after three years (``privacy/retention.py``).
"""

import hashlib
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from msgspec import Struct
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from signaling.storage.sql import Database
from signaling.storage.tables import audit_log

FIRST: Final = "0" * 64
"""What stands for the digest before the first entry."""


class Action(StrEnum):
    """What was done."""

    OPERATOR_ADDED = "operator_added"
    OPERATOR_REMOVED = "operator_removed"
    REQUEST_OPENED = "request_opened"
    NOTHING_FOUND = "nothing_found"
    CODE_SENT = "code_sent"
    CODE_WRONG = "code_wrong"
    VERIFIED_BY_CODE = "verified_by_code"
    VERIFIED_BY_DOCUMENT = "verified_by_document"
    CONFIRMED = "confirmed"
    FULFILLED = "fulfilled"
    REJECTED = "rejected"
    TICKET_READ = "ticket_read"
    TICKET_ANSWERED = "ticket_answered"
    TICKET_CLOSED = "ticket_closed"
    ANNOUNCED = "announced"
    ANNOUNCEMENT_WITHDRAWN = "announcement_withdrawn"
    AGGREGATES_READ = "aggregates_read"


class Entry(Struct, frozen=True):
    """One line of the trail. ``subject``: the request, ticket or announcement; ``at`` in milliseconds."""

    seq: int
    at: int
    operator: str
    action: str
    subject: str
    before: str
    digest: str


def digest_of(before: str, at: int, operator: str, action: str, subject: str) -> str:
    """Hex SHA-256 over an entry and the digest of the one before."""
    return hashlib.sha256("\0".join((before, str(at), operator, action, subject)).encode()).hexdigest()


def broken_at(entries: list[Entry]) -> int | None:
    """The first entry that is not what was written, or whose predecessor is missing; None when the trail is whole (pure)."""
    before: str | None = None
    for entry in entries:
        expected = digest_of(entry.before, entry.at, entry.operator, entry.action, entry.subject)
        if entry.digest != expected or (before is not None and entry.before != before):
            return entry.seq
        before = entry.digest
    return None


class AuditTrail:
    """Writes and reads the trail."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def write(self, connection: AsyncConnection, operator: str, action: Action, subject: str) -> None:
        """Append, in the transaction of what is done: neither is there without the other."""
        if connection.dialect.name == "postgresql":
            await connection.execute(text("LOCK TABLE audit_log IN EXCLUSIVE MODE"))  # one writer: the chain has one end
        last = await connection.execute(select(audit_log.c.digest).order_by(audit_log.c.seq.desc()).limit(1))
        before, at = last.scalar_one_or_none() or FIRST, int(self._clock() * 1000)
        digest = digest_of(before, at, operator, action, subject)
        await connection.execute(
            insert(audit_log).values(at=at, operator=operator, action=action, subject=subject, before=before, digest=digest)
        )

    async def read(self) -> list[Entry]:
        """Every entry, oldest first."""
        async with self._database.begin() as connection:
            rows = (await connection.execute(select(audit_log).order_by(audit_log.c.seq))).all()
        return [Entry(row.seq, row.at, row.operator, row.action, row.subject, row.before, row.digest) for row in rows]
