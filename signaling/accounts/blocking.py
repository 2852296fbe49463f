"""Blocking by an operator: an account that breaks the terms takes part no more, on every hub at once, until it is unblocked.

It has no socket, is called by nobody, and is nobody's match. Its user is told what for, keeps the rights (export, objection, deletion) and can
write to support. Unlike freezing (``privacy/restriction.py``), lifetimes go on, and the user cannot undo it.
"""

import time
from collections.abc import Callable
from typing import Protocol

from sqlalchemy import select, update

from signaling.operators.audit import Action, AuditTrail
from signaling.operators.operator import Operator
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, devices
from signaling.wire.rest import BlockedFor


class BlockingEvents(Protocol):
    """What the hub must hear; returns at once."""

    def account_blocked(self, account: str, devices: list[str], discovery_token: str, *, blocked: bool) -> None:
        """Sessions must be looked up again; when blocked, sockets and calls end, and who had it as a contact is told."""


class Blocking:
    """Blocks and unblocks accounts."""

    def __init__(
        self, *, database: Database, audit: AuditTrail, events: BlockingEvents, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._audit = audit
        self._events = events
        self._clock = clock

    async def set(self, operator: Operator, account: str, pseudonym: str, blocked_for: BlockedFor | None, reason: str) -> bool:
        """Block for something, or unblock with None. False when there is no such account. ``reason`` goes on the audit trail."""
        blocked = blocked_for is not None
        async with self._database.begin() as connection:
            columns = (accounts.c.discovery_token, accounts.c.blocked_at)
            row = (await connection.execute(select(*columns).where(accounts.c.id == account).with_for_update())).first()
            if row is None:
                return False
            at = (row.blocked_at or int(self._clock() * 1000)) if blocked else None
            await connection.execute(
                update(accounts).where(accounts.c.id == account).values(blocked_at=at, blocked_for=blocked_for)
            )
            action = Action.ACCOUNT_BLOCKED if blocked else Action.ACCOUNT_UNBLOCKED
            told = f"{blocked_for}: {reason}" if blocked else reason
            await self._audit.write(connection, operator, action, pseudonym, told[:200])
            ids = [device.id for device in await connection.execute(select(devices.c.id).where(devices.c.account == account))]
        self._events.account_blocked(account, ids, row.discovery_token, blocked=blocked)
        return True
