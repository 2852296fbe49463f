"""Restriction of processing (P23): a frozen account is kept as it is, and nothing else is done with it until its owner unfreezes it.

It has no socket, is called by nobody (a caller sees what a caller of somebody offline sees), is nobody's match, is counted in no statistics,
and no lifetime deletes any of it. Its owner can look at the account and its devices, sign devices out, export, withdraw consents, object, ask
support, unfreeze and delete.
"""

import time
from collections.abc import Callable
from typing import Protocol

from sqlalchemy import select, update

from signaling.storage.sql import Database
from signaling.storage.tables import accounts, devices


class RestrictionEvents(Protocol):
    """What the hub must hear; returns at once."""

    def account_restricted(self, account: str, devices: list[str], discovery_token: str, *, restricted: bool) -> None:
        """Sessions must be looked up again; when frozen, sockets and calls end, and who had it as a contact is told."""


class Restriction:
    """Freezes and unfreezes accounts."""

    def __init__(self, *, database: Database, events: RestrictionEvents, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._events = events
        self._clock = clock

    async def set(self, account: str, *, restricted: bool) -> bool:
        """Freeze or unfreeze; doing so twice is doing so once. False when there is no such account."""
        at = int(self._clock() * 1000) if restricted else None
        async with self._database.begin() as connection:
            row = (
                await connection.execute(
                    select(accounts.c.discovery_token, accounts.c.restricted_at).where(accounts.c.id == account).with_for_update()
                )
            ).first()
            if row is None:
                return False
            if (row.restricted_at is not None) == restricted:
                return True
            await connection.execute(update(accounts).where(accounts.c.id == account).values(restricted_at=at))
            found = await connection.execute(select(devices.c.id).where(devices.c.account == account))
            ids = [device.id for device in found]
        self._events.account_restricted(account, ids, row.discovery_token, restricted=restricted)
        return True
