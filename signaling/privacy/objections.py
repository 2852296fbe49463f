"""Objection (P23): what the service does in its own interest, without consent, and who does not want it done with their data."""

import time
from collections.abc import Callable
from typing import Final

from msgspec import UNSET
from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from signaling.storage.sql import Database
from signaling.storage.tables import objections
from signaling.wire.rest import ChangeObjection, Interest, Objection, Objections

TEXTS: Final[dict[Interest, str]] = {
    Interest.ANNOUNCEMENTS: (
        "We tell you in the app about new features of the service. If you object, you are told nothing of the kind."
    ),
    Interest.STATISTICS: (
        "We count accounts per country and plan, never in groups small enough to say anything about a person. "
        "If you object, your account is not counted."
    ),
}
"""What is done, and what an objection does, word for word."""


class ObjectionService:
    """The record of objections."""

    def __init__(self, *, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def list(self, account: str) -> Objections:
        """Every interest, and where it stands."""
        query = select(objections.c.interest, objections.c.at).where(objections.c.account == account)
        async with self._database.begin() as connection:
            since = {row.interest: row.at for row in await connection.execute(query)}
        return Objections(
            [
                Objection(interest=interest, text=TEXTS[interest], objected=interest in since, at=since.get(interest, UNSET))
                for interest in Interest
            ]
        )

    async def objects(self, account: str, interest: Interest) -> bool:
        """Whether the account objects."""
        query = select(objections.c.at).where(objections.c.account == account, objections.c.interest == interest)
        async with self._database.begin() as connection:
            return (await connection.execute(query)).first() is not None

    async def change(self, account: str, interest: Interest, body: ChangeObjection) -> Objection:
        """Object, or take it back; doing so twice is doing so once."""
        where = (objections.c.account == account, objections.c.interest == interest)
        async with self._database.begin() as connection:
            if body.objected:
                dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
                values = {"account": account, "interest": interest, "at": int(self._clock() * 1000)}
                await connection.execute(dialect.insert(objections).values(**values).on_conflict_do_nothing())
            else:
                await connection.execute(delete(objections).where(*where))
        return next(o for o in (await self.list(account)).objections if o.interest is interest)
