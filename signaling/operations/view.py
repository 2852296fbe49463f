"""What operators see of what goes on, whatever hub they ask: out of the stores that hubs and relays share."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, Protocol, TypeVar

from msgspec import UNSET, structs

from media.control import RelayDirectory, RelayState
from media.report import Sample
from signaling.calls.machine import Call
from signaling.calls.relays import Placement
from signaling.calls.samples import HeardSamples
from signaling.calls.traces import Traces
from signaling.operations.figures import FigureKeeper
from signaling.operations.hubs import HubLoad, HubLoads
from signaling.operations.tally import SPAN, figures, grouped, percentile, region_of
from signaling.operations.timeline import CHARTED, ended_summary, heard_points, lately, live_summary, millis, quality_of, timeline
from signaling.privacy.aggregates import MINIMUM, publishable
from signaling.wire.admin.operations import (
    LIVE_CALLS,
    PAGE,
    CallDetail,
    CallFigures,
    CallSummary,
    Country,
    EndedCalls,
    HubInfo,
    LiveCalls,
    Overview,
    RelayInfo,
    Span,
)
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.messages import Reason

Answer = TypeVar("Answer")

_FRESH: Final = 1.5
"""Seconds for which an answer serves everyone who looks."""


class Calls(Protocol):
    """Live calls (``calls/service.py``)."""

    async def live(self, limit: int) -> tuple[int, list[Call]]:
        """How many pairs have live calls, and the calls of some."""

    async def live_call(self, call_id: str) -> Call | None:
        """A live call."""


class Cluster(Protocol):
    """The hubs (``cluster/``)."""

    @property
    def node(self) -> str:
        """Id of this hub."""

    def living(self) -> frozenset[str]:
        """Ids of all hubs that are alive."""

    async def locate(self, devices: Iterable[str]) -> dict[str, str]:
        """Hubs of those of these devices that are connected."""


class Relays(Protocol):
    """Which relay carries which call (``calls/relays.py``)."""

    directory: RelayDirectory

    async def where(self, calls: Sequence[str]) -> dict[str, tuple[str, str]]:
        """The relay of each call that is on one, and the call's random name there."""

    async def placements(self, call: str) -> list[Placement]:
        """The relays that a call has been on."""


class OperationsView:
    """Raises ``redis.exceptions.RedisError`` or ``OSError`` when Redis does not answer.

    Args:
        pseudonym: what stands for an account.
    """

    def __init__(
        self,
        *,
        calls: Calls,
        traces: Traces,
        cluster: Cluster,
        relays: Relays,
        heard: HeardSamples,
        figures: FigureKeeper,
        loads: HubLoads,
        pseudonym: Callable[[str], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._calls = calls
        self._traces = traces
        self._cluster = cluster
        self._relays = relays
        self._heard = heard
        self._figures = figures
        self._loads = loads
        self._pseudonym = pseudonym
        self._clock = clock
        self._kept: dict[str, tuple[float, Any]] = {}
        self._reading: dict[str, asyncio.Task[Any]] = {}

    async def overview(self) -> Overview:
        """How the service does now."""
        return await self._once("overview", self._overview)

    async def live(self) -> LiveCalls:
        """Calls that go on."""
        return await self._once("live", self._live)

    async def call_figures(self, hours: int) -> CallFigures:
        """How calls went that ended within the last hours."""
        return await self._once(f"figures {hours}", lambda: self._call_figures(hours))

    async def ended(self, *, before: int | None = None, reason: str | None = None, account: str | None = None) -> EndedCalls:
        """A page of calls that ended. ``before`` in milliseconds; ``account`` is a pseudonym."""
        traces = await self._traces.newest(
            PAGE + 1,
            before=None if before is None else before / 1000,
            reason=None if reason is None else Reason(reason),
            pseudonym=account,
        )
        page = [ended_summary(trace) for trace in traces[:PAGE]]
        more = len(traces) > PAGE
        return EndedCalls(page, next=int(traces[PAGE - 1].ended_at * 1000) if more else UNSET)

    async def call(self, call: str) -> CallDetail:
        """A call with its time line. Raises ``Refused(not_found)``."""
        trace = await self._traces.find(call)
        live = None
        if trace is not None:
            summary, trail = ended_summary(trace), trace.trail
        else:
            live = await self._calls.live_call(call)
            if live is None:
                raise Refused(ErrorCode.NOT_FOUND, "no call with this id goes on, or has ended lately")
            (summary,) = await self._summaries([live])
            trail = live.trail
        placements = await self._relays.placements(call)
        samples: list[Sample] = []
        for placement in placements:
            samples += await self._relays.directory.samples(placement.pair)
        if placements and summary.relay is UNSET and live is None:
            summary = structs.replace(summary, relay=placements[-1].relay)
        quality = quality_of(samples) + heard_points(await self._heard.of_call(call))
        return CallDetail(summary, timeline(summary, trail, placements, quality), quality)

    async def hub_ids(self) -> frozenset[str]:
        """Hubs that are alive."""
        return self._cluster.living()

    # --- reading ------------------------------------------------------------------------------------------------------------------

    async def _once(self, what: str, read: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        """One reading for everyone who looks at about the same time."""
        at, kept = self._kept.get(what, (-math.inf, None))
        if kept is not None and time.monotonic() - at < _FRESH:
            answer: Answer = kept
            return answer
        reading = self._reading.get(what)
        if reading is None:
            reading = self._reading[what] = asyncio.get_running_loop().create_task(read())
            reading.add_done_callback(lambda _done: self._reading.pop(what, None))
        result: Answer = await asyncio.shield(reading)
        self._kept[what] = (time.monotonic(), result)
        return result

    async def _overview(self) -> Overview:
        nodes = self._cluster.living()
        loads, relays = await asyncio.gather(self._loads.read(nodes), self._relays.directory.relays())
        stages: Counter[str] = Counter()
        for load in loads.values():
            stages.update(load.calls)
        hubs = [_hub(node, loads.get(node), this=node == self._cluster.node) for node in nodes]
        return Overview(
            at=millis(self._clock()),
            devices=sum(load.devices for load in loads.values()),
            stages=dict(stages),
            hubs=sorted(hubs, key=lambda hub: (hub.name, hub.hub)),
            relays=[_relay(relay) for relay in sorted(relays, key=lambda relay: relay.id)],
        )

    async def _live(self) -> LiveCalls:
        total, calls = await self._calls.live(LIVE_CALLS)
        return LiveCalls(total, await self._summaries(calls))

    async def _summaries(self, calls: Sequence[Call]) -> list[CallSummary]:
        devices = {device for call in calls for device in (call.caller_device, call.callee_device) if device is not None}
        ids = [call.id for call in calls]
        hubs, relays, heard = await asyncio.gather(
            self._cluster.locate(devices), self._relays.where(ids), self._heard.latest(ids, CHARTED)
        )
        relayed = await self._relays.directory.latest([pair for _, pair in relays.values()], CHARTED)
        seen = {call: quality_of(relayed[pair]) for call, (_, pair) in relays.items()}
        now = millis(self._clock())
        summaries = [
            structs.replace(
                live_summary(call, caller=self._pseudonym(call.caller), callee=self._pseudonym(call.callee)),
                caller_hub=hubs.get(call.caller_device, UNSET),
                callee_hub=UNSET if call.callee_device is None else hubs.get(call.callee_device, UNSET),
                relay=relays[call.id][0] if call.id in relays else UNSET,
                heard=lately([*heard_points(heard[call.id]), *seen.get(call.id, ())], now),
            )
            for call in calls
        ]
        return sorted(summaries, key=lambda summary: (-summary.started_at, summary.call))

    async def _call_figures(self, hours: int) -> CallFigures:
        spans, counted = await asyncio.gather(self._figures.spans(hours), self._figures.countries(hours))
        total = figures(counters for _, counters in spans)
        shown = publishable({code: people for code, people, _, _ in counted})
        countries = [Country(code, region_of(code), good, bad) for code, good, bad in grouped(counted, shown)]
        if sum(people for _, people, _, _ in counted) < MINIMUM:
            countries = []  # even all of them together say too much about somebody
        p50, p95 = percentile(total.set_up, 0.5), percentile(total.set_up, 0.95)
        return CallFigures(
            hours=hours,
            calls=total.calls,
            connected=total.connected,
            not_connected=total.not_connected,
            reasons=total.reasons,
            rungs=total.rungs,
            spans=[_span(number, counters) for number, counters in spans],
            countries=countries,
            success=UNSET if total.success is None else total.success,
            set_up_p50=UNSET if p50 is None else p50,
            set_up_p95=UNSET if p95 is None else p95,
        )


def _span(number: int, counters: dict[str, int]) -> Span:
    one = figures([counters])
    p95 = percentile(one.set_up, 0.95)
    return Span(number * SPAN * 1000, one.calls, one.connected, one.not_connected, UNSET if p95 is None else p95)


def _hub(node: str, load: HubLoad | None, *, this: bool) -> HubInfo:
    if load is None:
        return HubInfo(hub=node, this=this)
    return HubInfo(
        hub=node,
        this=this,
        name=load.name,
        version=load.version,
        started_at=millis(load.started_at),
        devices=load.devices,
        calls=load.calls,
        cpu=load.cpu,
        lag=load.lag,
        memory=load.memory,
        draining=load.draining,
    )


def _relay(state: RelayState) -> RelayInfo:
    load = state.load
    if load is None:
        return RelayInfo(relay=state.id, calls=state.pairs, capacity=state.capacity)
    return RelayInfo(
        relay=state.id,
        calls=state.pairs,
        capacity=state.capacity,
        name=load.name,
        started_at=millis(load.started_at),
        legs=load.legs,
        packets=load.packets,
        dropped=load.dropped,
        cpu=load.cpu,
        lag=load.lag,
    )
