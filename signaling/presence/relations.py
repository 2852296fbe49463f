"""Reads how accounts stand towards each other: settings, exceptions and blocks from SQL, address books from contacts."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, Protocol

from sqlalchemy import select

from signaling.accounts.standing import takes_part
from signaling.presence.rules import Sight, Toward, records_last_seen, sight
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, blocks, presence_exceptions
from signaling.wire.rest import LastSeenTo, OnlineTo

_CHUNK: Final = 500
"""SQLite bounds the parameters of one statement."""


class Contacts(Protocol):
    """Address books (``contacts/service.py``)."""

    async def tokens_in_book(self, owner: str, tokens: Sequence[str]) -> frozenset[str]:
        """Those of the tokens that the owner's book holds."""

    async def holders_among(self, token: str, accounts: Sequence[str]) -> frozenset[str]:
        """Those of the accounts whose book holds the token."""


def _chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(ids)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk


class Relations:
    """Raises ``SQLAlchemyError``, ``RedisError`` or ``OSError`` when a store does not answer."""

    def __init__(self, database: Database, contacts: Contacts) -> None:
        self._database = database
        self._contacts = contacts

    async def sights(self, account: str, others: Collection[str]) -> dict[str, tuple[Sight, Sight]]:
        """For each of the others: (what ``account`` may see of it, what it may see of ``account``). Who does not exist, or is frozen, sees and shows nothing."""
        found = dict.fromkeys(others, (Sight.NOTHING, Sight.NOTHING))
        facts, marks = await self._read(account, [other for other in others if other != account])
        own = facts.pop(account, None)
        if own is None or not facts:
            return found
        in_book = await self._contacts.tokens_in_book(account, [token for token, _, _ in facts.values()])
        holders = await self._contacts.holders_among(own[0], list(facts))

        def toward(one: str, two: str, settings: tuple[str, LastSeenTo, OnlineTo], has: bool) -> Toward:
            return Toward(
                last_seen=settings[1],
                online=settings[2],
                has=has,
                blocked=("block", one, two) in marks,
                last_seen_excepted=("last_seen", one, two) in marks,
                online_excepted=("online", one, two) in marks,
            )

        for other, settings in facts.items():
            mine = toward(account, other, own, settings[0] in in_book)
            theirs = toward(other, account, settings, other in holders)
            found[other] = sight(theirs, mine), sight(mine, theirs)
        return found

    async def _read(
        self, account: str, others: Sequence[str]
    ) -> tuple[dict[str, tuple[str, LastSeenTo, OnlineTo]], set[tuple[str, str, str]]]:
        """Settings by account, and what one marked the other with: (mark, who, whom)."""
        facts: dict[str, tuple[str, LastSeenTo, OnlineTo]] = {}
        marks: set[tuple[str, str, str]] = set()
        a, e, b = accounts.c, presence_exceptions.c, blocks.c
        # not one transaction: a change in between is told after it was committed, and then all of it is read again
        for chunk in _chunks([account, *others]):
            query = select(a.id, a.discovery_token, a.last_seen_to, a.online_to)
            query = query.where(a.id.in_(chunk), takes_part())
            for row in await self._database.fetch(query):
                facts[row.id] = row.discovery_token, LastSeenTo(row.last_seen_to), OnlineTo(row.online_to)
        # all of one account's marks: they are bounded, or few
        excepted = select(e.setting, e.account, e.excepted).where((e.account == account) | (e.excepted == account))
        marks |= {(row.setting, row.account, row.excepted) for row in await self._database.fetch(excepted)}
        blocked = select(b.account, b.blocked).where((b.account == account) | (b.blocked == account))
        marks |= {("block", row.account, row.blocked) for row in await self._database.fetch(blocked)}
        return facts, marks

    async def recording(self, ids: Iterable[str], *, now: bool = False) -> frozenset[str]:
        """Those of the accounts whose last seen may be stored; with ``now``, those for whom it may be recorded at this moment: not frozen ones."""
        found: set[str] = set()
        for chunk in _chunks(ids):
            query = select(accounts.c.id, accounts.c.last_seen_to).where(accounts.c.id.in_(chunk))
            if now:
                query = query.where(takes_part())
            found.update(row.id for row in await self._database.fetch(query) if records_last_seen(LastSeenTo(row.last_seen_to)))
        return frozenset(found)
