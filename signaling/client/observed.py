"""What an echo tells its operators: metrics, and whether a hub is connected."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric

from signaling.client.echo import EchoState
from signaling.settings import Settings
from signaling.telemetry.families import counters, gauge, histogram
from signaling.telemetry.health import Check, CheckError, Health
from signaling.telemetry.server import telling


@dataclass(frozen=True, eq=False)
class EchoMetrics:
    """Implements ``prometheus_client.registry.Collector``."""

    state: EchoState

    def describe(self) -> Iterable[Metric]:
        """Nothing: the names are fixed."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Everything, as it stands."""
        state = self.state
        yield gauge("kloudtalk_echo_calls", "Test calls that go on.", float(state.calls))
        yield gauge("kloudtalk_echo_capacity_calls", "Test calls that are taken at a time.", float(state.capacity))
        ended = {(str(outcome),): float(number) for outcome, number in state.counts.ended.items()}
        yield counters("kloudtalk_echo_calls_ended", "Test calls, by what became of them.", ("outcome",), ended)
        yield histogram(
            "kloudtalk_echo_audio_delay_seconds", "From taking a test call until sound goes both ways.", state.counts.audio
        )


@asynccontextmanager
async def observe_echo(state: EchoState, settings: Settings) -> AsyncIterator[None]:
    """For ``echo.run_echo``."""

    async def hub() -> str:
        if not state.online:
            raise CheckError("no hub is connected: nobody can test their audio")
        return f"{state.calls} of {state.capacity} test calls"

    health = Health([Check("hub", hub)])
    async with telling("echo", EchoMetrics(state), health=health, host=settings.metrics_host, port=settings.metrics_port):
        yield
