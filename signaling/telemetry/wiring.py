"""What relays and key-holders tell their operators: which metrics, which checks. The hub's: ``hub_wiring.py``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from media.control import RelayControl
from media.metrics import RelayMetrics
from media.relay import Relay
from signaling.settings import Settings
from signaling.storage.redis import AnyRedis
from signaling.telemetry.health import Check, CheckError, Health, check_disk, check_skew, redis_clock
from signaling.telemetry.server import telling

if TYPE_CHECKING:  # a relay starts sooner without what a key-holder needs
    from signaling.contacts.keyholder import KeyHolder

NOT_INSTALLED: Final = "otlp_endpoint needs OpenTelemetry: pip install 'kloudtalk[tracing]'"


async def check_redis(redis: AnyRedis) -> str:
    """Whether Redis answers. Raises what the client raises."""
    await redis.ping()
    return "answers"


async def check_clock(redis: AnyRedis) -> str:
    """Whether this machine's clock is that of Redis. Raises ``CheckError``."""
    return check_skew(await redis_clock(redis))


async def check_folder(settings: Settings) -> str:
    """Whether there is room where the data are. Raises ``CheckError``."""
    return check_disk(settings.data_dir)


@asynccontextmanager
async def _relay_traces(relay: Relay, control: RelayControl, settings: Settings) -> AsyncIterator[None]:
    if settings.otlp_endpoint is None:
        yield
        return
    try:
        from signaling.telemetry.traces import RelayTraces
    except ImportError:
        raise ValueError(NOT_INSTALLED) from None
    traces = control.observer = RelayTraces(endpoint=settings.otlp_endpoint, relay=control.id)
    relay.on_release.append(traces.released)
    try:
        yield
    finally:
        relay.on_release.remove(traces.released)
        await traces.close()


@asynccontextmanager
async def observe_keyholder(holder: "KeyHolder", settings: Settings) -> AsyncIterator[None]:
    """For ``keyholder.run_keyholder``."""
    from signaling.telemetry.keyholder import KeyHolderMetrics

    health = Health([Check("disk", partial(check_folder, settings), essential=False)])
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
            Check("redis", partial(check_redis, redis)),
            Check("offered", offered),
            Check("clock", partial(check_clock, redis), essential=False),
        ]
    )
    async with (
        telling("relay", RelayMetrics(relay), health=health, host=settings.metrics_host, port=settings.metrics_port),
        _relay_traces(relay, control, settings),
    ):
        yield
