"""What a hub tells its operators: which checks, which traces. Apart from ``wiring.py``: relays start without what a hub needs."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Protocol

from redis.asyncio import Redis

from media.control import RelayDirectory
from signaling.calls.counts import Step
from signaling.contacts.discovery import Discovery
from signaling.settings import Settings
from signaling.storage.persistence import check_not_persistent
from signaling.storage.redis import AnyRedis
from signaling.storage.sql import Database
from signaling.telemetry.health import Check, CheckError, Health
from signaling.telemetry.wiring import NOT_INSTALLED, check_clock, check_folder, check_redis


def hub_health(
    *,
    redis: AnyRedis,
    book_redis: Redis,
    database: Database,
    discovery: Discovery,
    relays: RelayDirectory,
    settings: Settings,
    draining: Callable[[], bool],
) -> Health:
    """What a hub needs. Without Redis or SQL nothing goes; without the others, calls do."""

    async def sql() -> str:
        await database.ping()
        return f"{database.engine.dialect.name} answers"

    async def book() -> str:
        await book_redis.ping()
        await check_not_persistent(book_redis)
        return "answers, and does not persist"

    async def keyholder() -> str:
        await discovery.ping()
        return "answers"

    async def relay() -> str:
        found = await relays.relays()
        if not found:
            raise CheckError("no relay runs: calls that no direct way and no TURN server carries fail")
        if all(one.pairs >= one.capacity for one in found):
            raise CheckError("every relay is full")
        return f"{len(found)} running, {sum(one.pairs for one in found)} of {sum(one.capacity for one in found)} calls"

    async def taking() -> str:
        if draining():
            raise CheckError("the hub is about to end, and hands its clients over")
        return "takes clients"

    checks = [
        Check("clients", taking),
        Check("redis", partial(check_redis, redis)),
        Check("sql", sql),
        Check("address_book", book, essential=False),
        Check("keyholder", keyholder, essential=False),
        Check("disk", partial(check_folder, settings), essential=database.engine.dialect.name == "sqlite"),
        Check("clock", partial(check_clock, redis), essential=False),
    ]
    if settings.relay:
        checks.append(Check("relay", relay, essential=False))
    return Health(checks)


class Tracing(Protocol):
    """Spans of a hub's calls (``traces.CallTraces``)."""

    def take(self, step: Step, now: float) -> None:
        """A step of a call that was stored."""

    def leg(self, call: str) -> AbstractContextManager[str]:
        """While a device gets a leg of a relay."""

    async def close(self) -> None:
        """Send what waits."""


def call_traces(settings: Settings, node: str) -> Tracing | None:
    """Spans for OpenTelemetry, where they are wanted. Raises ``ValueError`` when what they need is not installed."""
    if settings.otlp_endpoint is None:
        return None
    try:
        from signaling.telemetry.traces import CallTraces
    except ImportError:
        raise ValueError(NOT_INSTALLED) from None
    secret = (settings.keyholder_secret or "").encode()
    return CallTraces(endpoint=settings.otlp_endpoint, secret=secret, node=node, share=settings.otlp_share)
