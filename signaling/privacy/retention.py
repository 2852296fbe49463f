"""Retention: what has outlived its lifetime in docs/data.md is deleted, every hour, by every hub (it is the same work twice at worst).

Rows are bound by rules; what lives in Redis expires by itself or goes with what it belongs to, and sweeps delete what was missed. A frozen
account's rows stay as they are (P23). ``tests/unit/test_retention.py`` holds the rules against the inventory's words.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import Column, ColumnElement, delete, select

from signaling.defects import frames_only
from signaling.privacy.erasure import STORE_ERRORS
from signaling.storage.sql import Database
from signaling.storage.tables import (
    AUDIT_YEARS,
    accounts,
    announcements,
    audit_log,
    call_quality,
    call_records,
    operator_sessions,
    operator_tokens,
    operators,
    orders,
    rights_requests,
    tickets,
)
from signaling.tasks import steady

log = logging.getLogger(__name__)

_EVERY: Final = 3600.0
"""Seconds between rounds."""
_CLOSE: Final = 5.0
"""Seconds that the work under way has to end."""
DAY: Final = 86_400


class Rule(Struct, frozen=True):
    """Rows whose time is longer ago than their lifetime go."""

    name: str
    time: Column[Any]
    """Milliseconds since 1970; rows without one stay."""
    days: int
    """0: no end."""
    owner: Column[Any] | None = None
    """The account whose row it is; rows of frozen accounts stay."""


def rules(*, call_history_days: int) -> tuple[Rule, ...]:
    """Every lifetime of a row that ends by itself."""
    return (
        Rule("call history", call_records.c.ended_at, call_history_days, call_records.c.account),
        Rule("call quality", call_quality.c.at, 30, call_quality.c.account),
        Rule("written requests", rights_requests.c.opened_at, AUDIT_YEARS * 365),
        Rule("audit trail", audit_log.c.at, AUDIT_YEARS * 365),
        Rule("closed tickets", tickets.c.closed_at, 180, tickets.c.account),
        Rule("announcements", announcements.c.at, 90),
        Rule("unpaid orders", orders.c.unpaid_since, 30),
        Rule("books", orders.c.paid_at, 3650),
        Rule("operators' sessions", operator_sessions.c.created_at, 2),
        Rule("operators' tokens", operator_tokens.c.expires_at, 30),
        Rule("operators", operators.c.removed_at, AUDIT_YEARS * 365),
    )


def outlived(rule: Rule, now: float) -> ColumnElement[bool]:
    """Which rows must go. ``now``: seconds."""
    condition = rule.time < int((now - rule.days * DAY) * 1000)
    if rule.owner is not None:
        frozen = select(accounts.c.id).where(accounts.c.restricted_at.is_not(None))
        condition = condition & rule.owner.not_in(frozen)
    return condition


class Retention:
    """Runs the rules and the sweeps.

    Args:
        sweeps: what else must be looked through, by name; each is run every round, and again in the next when it fails.
    """

    def __init__(
        self,
        *,
        database: Database,
        rules: Iterable[Rule],
        sweeps: Mapping[str, Callable[[], Awaitable[object]]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._rules = tuple(rule for rule in rules if rule.days)
        self._sweeps = sweeps
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self.rounds = 0
        """Rounds that are over."""

    def start(self) -> None:
        """Begin; the first round is now."""
        self._task = asyncio.get_running_loop().create_task(steady("retention", self._run))

    async def close(self) -> None:
        """Stop, after what is being done now."""
        if self._task is not None:
            self._closing.set()
            await asyncio.wait([self._task], timeout=_CLOSE)
            self._task.cancel()

    async def once(self) -> dict[str, int]:
        """One round. Answers how many rows went, by rule. Raises ``SQLAlchemyError``."""
        gone: dict[str, int] = {}
        for rule in self._rules:
            async with self._database.patient.begin() as connection:
                done = await connection.execute(delete(rule.time.table).where(outlived(rule, self._clock())))
                gone[rule.name] = done.rowcount
        return gone

    async def _run(self) -> None:
        while not self._closing.is_set():
            for name, work in {"rows": self.once, **self._sweeps}.items():
                if not self._closing.is_set():
                    await self._try(name, work)
            self.rounds += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY):
                    await self._closing.wait()

    async def _try(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except STORE_ERRORS as error:
            log.error("retention: a store does not answer (%s); %s again in an hour", type(error).__name__, name)
        except Exception as error:  # the other sweeps must not wait for this one
            log.error("retention: %s: defect %s", name, type(error).__name__, exc_info=frames_only(error))
