"""Name, about text and picture (P03, P15): changed by their owner, seen by those who have each other in their address books."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from msgspec import UNSET
from sqlalchemy import delete, insert, select, update

from signaling.accounts.events import AccountEvents
from signaling.accounts.pictures import MEDIA_TYPE, PictureInvalid, redraw
from signaling.accounts.profile_rules import clean
from signaling.gateway.request import Session
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, pictures
from signaling.wire import base64url
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.rest import MAX_PICTURE, ChangeProfile, Picture, Profile, Profiles, SetPicture

PICTURES_AN_HOUR: Final = 20
"""Pictures that one account may set in an hour: each costs the hub up to a second."""


class Limits(Protocol):
    """Counts uses (``accounts/registration_store.py``)."""

    async def count(self, kind: str, value: str) -> tuple[int, int]:
        """(uses in this hour with this one, seconds until the hour ends)."""


class PublicProfileService:
    """Profiles.

    Args:
        mutual: those of some accounts that may see an account's profile: each has the other in the address book, and none blocked the other.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        *,
        database: Database,
        events: AccountEvents,
        limits: Limits,
        mutual: Callable[[str, list[str]], Awaitable[frozenset[str]]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._events = events
        self._limits = limits
        self._mutual = mutual
        self._clock = clock
        self._drawing = asyncio.Semaphore(1)
        """One picture at a time: its pixels are in memory."""

    async def change(self, session: Session, body: ChangeProfile) -> None:
        """Change name and about text. The about text's time is that of its last change."""
        values: dict[str, Any] = {}
        if body.name is not UNSET:
            values["name"] = clean(body.name) or None
        if body.about is not UNSET:
            values["about"] = clean(body.about) or None
            values["about_changed_at"] = self._now()
        if not values:
            return
        async with self._database.begin() as connection:
            await connection.execute(update(accounts).where(accounts.c.id == session.account).values(**values))
        self._events.profile_changed(session.account)

    async def set_picture(self, session: Session, body: SetPicture) -> None:
        """Set the picture. Raises ``Refused`` (``picture_invalid``, ``too_large``, ``rate_limited``)."""
        used, left = await self._limits.count("picture", session.account)
        if used > PICTURES_AN_HOUR:
            raise Refused(ErrorCode.RATE_LIMITED, retry_after=float(left))
        try:
            content = base64url.decode(body.image)
        except ValueError:
            raise Refused(ErrorCode.PICTURE_INVALID) from None
        if len(content) > MAX_PICTURE:
            raise Refused(ErrorCode.TOO_LARGE)
        try:
            async with self._drawing:
                image = await asyncio.to_thread(redraw, content)
        except PictureInvalid:
            raise Refused(ErrorCode.PICTURE_INVALID) from None
        async with self._database.begin() as connection:
            await connection.execute(delete(pictures).where(pictures.c.account == session.account))
            row = {"account": session.account, "image": image, "media_type": MEDIA_TYPE, "changed_at": self._now()}
            await connection.execute(insert(pictures).values(**row))
        self._events.profile_changed(session.account)

    async def remove_picture(self, session: Session) -> None:
        """Remove the picture, if there is one."""
        async with self._database.begin() as connection:
            gone = await connection.execute(delete(pictures).where(pictures.c.account == session.account))
        if gone.rowcount:
            self._events.profile_changed(session.account)

    async def profiles(self, session: Session, wanted: list[str]) -> Profiles:
        """Profiles of accounts; those that may not be seen, and those that do not exist, are empty."""
        visible = await self._mutual(session.account, [account for account in wanted if account != session.account])
        query = (
            select(
                accounts.c.id,
                accounts.c.business,
                accounts.c.name,
                accounts.c.about,
                accounts.c.about_changed_at,
                pictures.c.changed_at,
            )
            .outerjoin(pictures, pictures.c.account == accounts.c.id)
            .where(accounts.c.id.in_([*visible, session.account]))
        )
        async with self._database.begin() as connection:
            rows = {row.id: row for row in await connection.execute(query)}
        return Profiles(
            [
                Profile(
                    account=account,
                    business=row.business,
                    name=_or_unset(row.name),
                    about=_or_unset(row.about),
                    about_changed_at=_or_unset(row.about_changed_at),
                    picture_changed_at=_or_unset(row.changed_at),
                )
                if (row := rows.get(account)) is not None
                else Profile(account=account)
                for account in wanted
            ]
        )

    async def picture(self, session: Session, account: str) -> Picture:
        """A picture. Who has none, may not be seen, or does not exist look alike: ``not_found``."""
        if account != session.account and account not in await self._mutual(session.account, [account]):
            raise Refused(ErrorCode.NOT_FOUND)
        async with self._database.begin() as connection:
            row = (await connection.execute(select(pictures).where(pictures.c.account == account))).first()
        if row is None:
            raise Refused(ErrorCode.NOT_FOUND)
        return Picture(image=base64url.encode(row.image), media_type=row.media_type, changed_at=row.changed_at)

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _or_unset(value: Any) -> Any:
    return UNSET if value is None else value
