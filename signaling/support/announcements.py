"""Announcements of new features (P28), shown in the app to who does not object. Nothing is kept of who has seen which: the app knows."""

import secrets
import time
from collections.abc import Callable
from typing import Final, Protocol

from sqlalchemy import delete, insert, select

from signaling.operators.audit import Action, AuditTrail
from signaling.operators.operator import NoSuchThing, Operator, OperatorError
from signaling.operators.references import new_reference
from signaling.storage.sql import Database
from signaling.storage.tables import announcements
from signaling.wire.rest import Announcement, Announcements, Interest

LIFETIME_DAYS: Final = 90
"""Days for which an announcement is shown."""
_SHOWN: Final = 20


class Objections(Protocol):
    """Who does not want to be told (``privacy/objections.py``)."""

    async def objects(self, account: str, interest: Interest) -> bool:
        """Whether the account objects."""


class AnnouncementService:
    """What is announced."""

    def __init__(
        self,
        *,
        database: Database,
        audit: AuditTrail,
        objections: Objections,
        clock: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database = database
        self._audit = audit
        self._objections = objections
        self._clock = clock
        self._token_bytes = token_bytes

    async def for_account(self, account: str) -> Announcements:
        """What a user is told, newest first; nothing to who objects."""
        if await self._objections.objects(account, Interest.ANNOUNCEMENTS):
            return Announcements([])
        return Announcements(await self.current())

    async def current(self) -> list[Announcement]:
        """What is announced now, newest first."""
        since = int((self._clock() - LIFETIME_DAYS * 86_400) * 1000)
        query = select(announcements).where(announcements.c.at >= since).order_by(announcements.c.at.desc()).limit(_SHOWN)
        async with self._database.begin() as connection:
            return [Announcement(row.id, row.title, row.text, row.at) for row in await connection.execute(query)]

    async def add(self, operator: Operator, title: str, text: str) -> Announcement:
        """Announce. Raises ``OperatorError``."""
        if not 1 <= len(title) <= 120 or not 1 <= len(text) <= 4000:
            raise OperatorError("a title has 1 to 120 characters, a text 1 to 4,000")
        made = Announcement(new_reference(self._token_bytes), title, text, int(self._clock() * 1000))
        async with self._database.begin() as connection:
            await connection.execute(insert(announcements).values(id=made.announcement, title=title, text=text, at=made.at))
            await self._audit.write(connection, operator, Action.ANNOUNCED, made.announcement)
        return made

    async def withdraw(self, operator: Operator, announcement: str) -> None:
        """Announce it no more. Raises ``OperatorError``."""
        async with self._database.begin() as connection:
            gone = await connection.execute(delete(announcements).where(announcements.c.id == announcement))
            if not gone.rowcount:
                raise NoSuchThing("there is no such announcement")
            await self._audit.write(connection, operator, Action.ANNOUNCEMENT_WITHDRAWN, announcement)
