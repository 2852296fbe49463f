"""What each kind of process tells its operators: which metrics, which checks."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from typing import Final, Protocol

from redis.asyncio import Redis

from media.control import RelayControl, RelayDirectory
from media.metrics import RelayMetrics
from media.relay import Relay
from signaling.calls.counts import Step
from signaling.contacts.discovery import Discovery
from signaling.contacts.keyholder import KeyHolder
from signaling.contacts.store import check_not_persistent
from signaling.settings import Settings
from signaling.storage.redis import AnyRedis
from signaling.storage.sql import Database
from signaling.telemetry.health import Check, CheckError, Health, check_disk, check_skew, redis_clock
from signaling.telemetry.keyholder import KeyHolderMetrics
from signaling.telemetry.server import telling

_NOT_INSTALLED: Final = "otlp_endpoint needs OpenTelemetry: pip install 'kloudtalk[tracing]'"


async def _redis(redis: AnyRedis) -> str:
    await redis.ping()
    return "answers"


async def _clock(redis: AnyRedis) -> str:
    return check_skew(await redis_clock(redis))


async def _disk(settings: Settings) -> str:
    return check_disk(settings.data_dir)


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
        Check("redis", partial(_redis, redis)),
        Check("sql", sql),
        Check("address_book", book, essential=False),
        Check("keyholder", keyholder, essential=False),
        Check("disk", partial(_disk, settings), essential=database.engine.dialect.name == "sqlite"),
        Check("clock", partial(_clock, redis), essential=False),
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
        raise ValueError(_NOT_INSTALLED) from None
    secret = (settings.keyholder_secret or "").encode()
    return CallTraces(endpoint=settings.otlp_endpoint, secret=secret, node=node, share=settings.otlp_share)


@asynccontextmanager
async def _relay_traces(relay: Relay, control: RelayControl, settings: Settings) -> AsyncIterator[None]:
    if settings.otlp_endpoint is None:
        yield
        return
    try:
        from signaling.telemetry.traces import RelayTraces
    except ImportError:
        raise ValueError(_NOT_INSTALLED) from None
    traces = control.observer = RelayTraces(endpoint=settings.otlp_endpoint, relay=control.id)
    relay.on_release.append(traces.released)
    try:
        yield
    finally:
        relay.on_release.remove(traces.released)
        await traces.close()


@asynccontextmanager
async def observe_keyholder(holder: KeyHolder, settings: Settings) -> AsyncIterator[None]:
    """For ``keyholder.run_keyholder``."""
    health = Health([Check("disk", partial(_disk, settings), essential=False)])
    async with telling(
        "keyholder", KeyHolderMetrics(holder.counts), health=health, host=settings.metrics_host, port=settings.metrics_port
    ):
        yield


@asynccontextmanager
async def observe_relay(relay: Relay, control: RelayControl, redis: AnyRedis, settings: Settings) -> AsyncIterator[None]:
    """For ``media.process.run_relay``."""

    async def offered() -> str:
        if relay.draining:
            raise CheckError("the relay is about to end")
        if not control.listening:
            raise CheckError("hubs cannot reach the relay: it does not hear Redis")
        return f"{len(relay)} of {relay.capacity} calls"

    health = Health(
        [
            Check("redis", partial(_redis, redis)),
            Check("offered", offered),
            Check("clock", partial(_clock, redis), essential=False),
        ]
    )
    async with (
        telling("relay", RelayMetrics(relay), health=health, host=settings.metrics_host, port=settings.metrics_port),
        _relay_traces(relay, control, settings),
    ):
        yield
