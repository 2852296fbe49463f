"""The audit trail: who of the operators did what, when, and to which request. Append-only: the database refuses changes, and each entry
carries a digest over itself and the one before, so that a changed or missing entry shows (P24).

It names operators, requests, and accounts by their pseudonyms, never a person. Entries go after three years (``privacy/retention.py``).
"""

import hashlib
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from signaling.operators.operator import LOCAL, Operator
from signaling.storage.sql import Database
from signaling.storage.tables import audit_log

FIRST: Final = "0" * 64
"""What stands for the digest before the first entry."""
_CHUNK: Final = 2_000


class Action(StrEnum):
    """What was done."""

    OPERATOR_ADDED = "operator_added"
    OPERATOR_REMOVED = "operator_removed"
    OPERATOR_INVITED = "operator_invited"
    OPERATOR_ENROLLED = "operator_enrolled"
    OPERATOR_CHANGED = "operator_changed"
    OPERATOR_UNLOCKED = "operator_unlocked"
    SIGNED_IN = "signed_in"
    SIGNED_OUT = "signed_out"
    SESSIONS_ENDED = "sessions_ended"
    LOCKED_OUT = "locked_out"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - no password
    PASSKEY_ADDED = "passkey_added"
    PASSKEY_REMOVED = "passkey_removed"
    TOKEN_ADDED = "token_added"  # noqa: S105 - no token
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 - no token
    ACCOUNT_LOOKED_UP = "account_looked_up"
    ACCOUNT_REVEALED = "account_revealed"
    ACCOUNT_BLOCKED = "account_blocked"
    ACCOUNT_UNBLOCKED = "account_unblocked"
    CALL_ENDED = "call_ended"
    HUB_DRAINED = "hub_drained"
    RELAY_DRAINED = "relay_drained"
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
    """One line of the trail. ``subject``: the request, ticket, operator, or account's pseudonym; ``via``: a token's id; ``at`` in milliseconds."""

    seq: int
    at: int
    operator: str
    action: str
    subject: str
    before: str
    digest: str
    reason: str = ""
    via: str = ""


def digest_of(before: str, at: int, operator: str, action: str, subject: str, reason: str = "", via: str = "") -> str:
    """Hex SHA-256 over an entry and the digest of the one before. (Entries of old have neither reason nor token.)"""
    more = (reason, via) if reason or via else ()
    return hashlib.sha256("\0".join((before, str(at), operator, action, subject, *more)).encode()).hexdigest()


def broken_at(entries: list[Entry]) -> int | None:
    """The first entry that is not what was written, or whose predecessor is missing; None when the trail is whole (pure)."""
    before: str | None = None
    for entry in entries:
        expected = digest_of(entry.before, entry.at, entry.operator, entry.action, entry.subject, entry.reason, entry.via)
        if entry.digest != expected or (before is not None and entry.before != before):
            return entry.seq
        before = entry.digest
    return None


class Verified(Struct, frozen=True):
    """What a check of the trail found. ``head``: the newest entry's digest."""

    entries: int
    head: str
    broken_at: int | None


class AuditTrail:
    """Writes and reads the trail."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def write(
        self, connection: AsyncConnection, operator: Operator | None, action: str, subject: str = "", reason: str = ""
    ) -> None:
        """Append, in the transaction of what is done: neither is there without the other. ``operator`` None: who administers the machine."""
        if connection.dialect.name == "postgresql":
            await connection.execute(text("LOCK TABLE audit_log IN EXCLUSIVE MODE"))  # one writer: the chain has one end
        last = await connection.execute(select(audit_log.c.digest).order_by(audit_log.c.seq.desc()).limit(1))
        before, at = last.scalar_one_or_none() or FIRST, int(self._clock() * 1000)
        name, via = (LOCAL, "") if operator is None else (operator.name, operator.via)
        digest = digest_of(before, at, name, action, subject, reason, via)
        values = {"operator": name, "action": action, "subject": subject, "reason": reason, "via": via}
        await connection.execute(insert(audit_log).values(at=at, before=before, digest=digest, **values))

    async def note(self, operator: Operator | None, action: str, subject: str = "", reason: str = "") -> None:
        """Append in a transaction of its own: for what is done elsewhere than in SQL."""
        async with self._database.begin() as connection:
            await self.write(connection, operator, action, subject, reason)

    async def read(self) -> list[Entry]:
        """Every entry, oldest first."""
        return [_entry(row) for row in await self._database.fetch(select(audit_log).order_by(audit_log.c.seq))]

    async def page(self, *, before: int | None, limit: int) -> list[Entry]:
        """``limit`` entries, newest first; those before the one with this number."""
        query = select(audit_log).order_by(audit_log.c.seq.desc()).limit(limit)
        if before is not None:
            query = query.where(audit_log.c.seq < before)
        return [_entry(row) for row in await self._database.fetch(query)]

    async def verify(self) -> Verified:
        """Whether the trail is whole; read in parts."""
        count, last, broken = 0, None, None
        top = (await self._database.fetch(select(func.max(audit_log.c.seq))))[0][0] or 0
        position = 0
        while broken is None:
            query = (
                select(audit_log).where(audit_log.c.seq > position, audit_log.c.seq <= top).order_by(audit_log.c.seq).limit(_CHUNK)
            )
            entries = [_entry(row) for row in await self._database.fetch(query)]
            if not entries:
                break
            broken = broken_at(entries if last is None else [last, *entries])
            count, last, position = count + len(entries), entries[-1], entries[-1].seq
        return Verified(count, FIRST if last is None else last.digest, broken)


def _entry(row: Any) -> Entry:
    return Entry(row.seq, row.at, row.operator, row.action, row.subject, row.before, row.digest, row.reason, row.via)
