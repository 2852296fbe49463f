"""What partners may get (P25): how many accounts there are, by country and by plan, and nothing that says anything about a person.

No group below 20 is named, what is left is put together until it is that large too, and every count is rounded down to a multiple of 10, so that
one person who comes or goes shows in no two releases. Who objects to statistics, and who is frozen, is not counted. This is the only way that
anything about users leaves the service; an operator runs it, and that is on the audit trail.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import phonenumbers
from msgspec import Struct
from sqlalchemy import select

from signaling.accounts.standing import takes_part
from signaling.operators.audit import Action, AuditTrail
from signaling.operators.operator import Operator
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, objections
from signaling.wire.rest import Interest

MINIMUM: Final = 20
"""The smallest group that is named."""
STEP: Final = 10
"""Counts are multiples of it."""
OTHER: Final = "other"
"""Every group that is too small to be named."""


def publishable(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts that may be given out, of counts by group (pure). Empty when all of it together is too small."""
    shown = {group: count for group, count in counts.items() if count >= MINIMUM}
    rest = sum(counts.values()) - sum(shown.values())
    # what is left must be large enough itself: else it could be had from a total that is known from elsewhere
    while 0 < rest < MINIMUM and shown:
        smallest = min(shown, key=lambda group: (shown[group], group))
        rest += shown.pop(smallest)
    if rest >= MINIMUM:
        shown[OTHER] = rest
    return {group: count // STEP * STEP for group, count in sorted(shown.items())}


def countries(phones: Iterable[str]) -> Counter[str]:
    """How many numbers (E.164) are of each country, by ISO 3166-1 alpha-2."""
    return Counter(phonenumbers.region_code_for_number(phonenumbers.parse(phone)) or "ZZ" for phone in phones)


class Aggregates(Struct, frozen=True):
    """What is given out."""

    accounts_by_country: dict[str, int]


class AggregateService:
    """Makes the counts."""

    def __init__(self, *, database: Database, audit: AuditTrail) -> None:
        self._database = database
        self._audit = audit

    async def read(self, operator: Operator) -> Aggregates:
        """The counts as of now."""
        objecting = select(objections.c.account).where(objections.c.interest == Interest.STATISTICS)
        query = select(accounts.c.phone).where(takes_part(), accounts.c.service.is_(None), accounts.c.id.not_in(objecting))
        async with self._database.begin() as connection:
            phones = list((await connection.execute(query)).scalars())
            await self._audit.write(connection, operator, Action.AGGREGATES_READ, "")
        return Aggregates(publishable(await asyncio.to_thread(countries, phones)))
