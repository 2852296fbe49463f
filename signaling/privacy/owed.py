"""Erasures that are owed, and what else running hubs must do for another process: noted in SQL before anything is done, shared by all hubs, struck out when every store has done its part (P23).

A note holds nothing that tells who the person was: a random id, the discovery token, keyed hashes. It lives for as long as the work takes.
"""

import time
from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy import Row, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from signaling.storage.sql import Database
from signaling.storage.tables import owed_erasures


class What(StrEnum):
    """What must go."""

    ACCOUNT = "account"
    """The account and everything of it."""
    ADDRESS_BOOK = "address_book"
    """The address book; the account stays."""
    FREEZE = "freeze"
    """Nothing: the account is to be frozen, on a written request (``privacy/requests.py``)."""
    UNFREEZE = "unfreeze"
    """Nothing: the account is to be unfrozen."""


ERASURES: Final = frozenset({What.ACCOUNT, What.ADDRESS_BOOK})
"""Those after which nothing of the book counts any more."""


class Owed(Struct, frozen=True):
    """One note."""

    account: str
    what: What
    known: bool
    """Whether the account goes on to exist."""
    discovery_token: str | None
    handles: tuple[str, ...]
    """Keyed hashes under which registrations under way for the account's number and address are known."""


class OwedErasures:
    """The notes. ``in`` and ``keys`` answer from memory what this hub knows: its own notes at once, those of others after ``refresh``."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[str, set[What]] = {}

    def __contains__(self, account: object) -> bool:
        """Whether anything of an account is still to be erased: none of it counts any more."""
        return account in self._known

    def keys(self) -> frozenset[str]:
        """Accounts of which something is still to be erased."""
        return frozenset(self._known)

    async def note(self, account: str, what: What, *, known: bool) -> None:
        """Note an erasure; noting it twice is noting it once. Raises ``SQLAlchemyError``."""
        async with self._database.begin() as connection:
            await self.note_with(connection, account, what, known=known)
        if what in ERASURES:
            self._known.setdefault(account, set()).add(what)

    async def note_with(self, connection: AsyncConnection, account: str, what: What, *, known: bool) -> None:
        """As ``note``, in a transaction of the caller's, of which nothing holds before it is committed."""
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        values = {"account": account, "what": what, "known": known, "handles": "[]", "at": int(self._clock() * 1000)}
        await connection.execute(dialect.insert(owed_erasures).values(**values).on_conflict_do_nothing())

    async def refresh(self) -> list[Owed]:
        """Every note, oldest first."""
        async with self._database.begin() as connection:
            rows = (await connection.execute(select(owed_erasures).order_by(owed_erasures.c.at, owed_erasures.c.account))).all()
        notes = [_owed(row) for row in rows]
        known: dict[str, set[What]] = {}
        for note in notes:
            if note.what in ERASURES:
                known.setdefault(note.account, set()).add(note.what)
        self._known = known
        return notes

    async def complete(self, connection: AsyncConnection, account: str, *, discovery_token: str, handles: Iterable[str]) -> None:
        """Add to an account's note what the other stores need to know, in the transaction that deletes its rows."""
        values = {"discovery_token": discovery_token, "handles": msgspec.json.encode(list(handles)).decode()}
        where = (owed_erasures.c.account == account, owed_erasures.c.what == What.ACCOUNT)
        await connection.execute(update(owed_erasures).where(*where).values(**values))

    async def get(self, account: str, what: What) -> Owed | None:
        """One note."""
        where = (owed_erasures.c.account == account, owed_erasures.c.what == what)
        async with self._database.begin() as connection:
            row = (await connection.execute(select(owed_erasures).where(*where))).first()
        return None if row is None else _owed(row)

    async def strike(self, account: str, what: What) -> None:
        """An erasure is done."""
        async with self._database.begin() as connection:
            await connection.execute(delete(owed_erasures).where(owed_erasures.c.account == account, owed_erasures.c.what == what))
        self._forget(account, what)

    async def settle(self, account: str, what: What, work: Callable[[Owed], Awaitable[None]]) -> None:
        """Do the work and strike the note out, if there is one. Raises what ``work`` raises, and the note stays then.

        The row is locked meanwhile: of two hubs that settle the same note one waits, and finds it done. So nothing that a user stores
        after an erasure is ever taken for what was to be erased. ``work`` must not use the database.
        """
        where = (owed_erasures.c.account == account, owed_erasures.c.what == what)
        async with self._database.begin() as connection:
            row = (await connection.execute(select(owed_erasures).where(*where).with_for_update())).first()
            if row is not None:
                await work(_owed(row))
                await connection.execute(delete(owed_erasures).where(*where))
        self._forget(account, what)

    def _forget(self, account: str, what: What) -> None:
        rest = self._known.get(account)
        if rest is not None:
            rest.discard(what)
            if not rest:
                del self._known[account]


def _owed(row: Row[Any]) -> Owed:
    return Owed(
        account=row.account,
        what=What(row.what),
        known=row.known,
        discovery_token=row.discovery_token,
        handles=tuple(msgspec.json.decode(row.handles, type=list[str])),
    )
