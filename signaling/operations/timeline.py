"""A call's time line and its quality over time, out of its trail and of what relays have seen. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import UNSET, UnsetType

from media.report import Sample
from signaling.calls.machine import Call, Mark
from signaling.calls.relays import Placement
from signaling.calls.samples import HeardSample
from signaling.calls.trace import Trace, rung_of, set_up
from signaling.wire.admin.operations import CallSummary, Line, MeasuredAt, QualityPoint, TimelineEntry
from signaling.wire.messages import Stage

POOR: Final = 3.1
"""Below this opinion score nearly everybody is dissatisfied (ITU-T G.107, annex B)."""
CHARTED: Final = 18
"""Points of a small chart: three minutes."""
_STEP: Final = 10_000
"""Milliseconds of one."""


def millis(seconds: float) -> int:
    """Milliseconds since 1970."""
    return int(seconds * 1000)


def _optional(seconds: float | None) -> int | UnsetType:
    return UNSET if seconds is None else millis(seconds)


def live_summary(call: Call, *, caller: str, callee: str) -> CallSummary:
    """A call that goes on. ``caller`` and ``callee`` are pseudonyms."""
    rung, took = rung_of(call.trail), set_up(call.created_at, call.connected_at, call.trail)
    return CallSummary(
        call=call.id,
        stage=call.stage,
        caller=caller,
        callee=callee,
        started_at=millis(call.created_at),
        connected_at=_optional(call.connected_at),
        set_up=UNSET if took is None else took,
        rung=UNSET if rung is None else rung,
    )


def ended_summary(trace: Trace) -> CallSummary:
    """A call that ended."""
    rung, took = rung_of(trace.trail), set_up(trace.created_at, trace.connected_at, trace.trail)
    return CallSummary(
        call=trace.id,
        stage=Stage.ENDED,
        caller=trace.caller,
        callee=trace.callee,
        started_at=millis(trace.created_at),
        connected_at=_optional(trace.connected_at),
        ended_at=millis(trace.ended_at),
        reason=trace.reason,
        set_up=UNSET if took is None else took,
        rung=UNSET if rung is None else rung,
    )


def timeline(
    summary: CallSummary, trail: Sequence[Mark], placements: Iterable[Placement], quality: Sequence[QualityPoint]
) -> list[TimelineEntry]:
    """Everything that happened, in order."""
    lines = [TimelineEntry(summary.started_at, Line.INVITED, side=0)]
    lines += [
        TimelineEntry(summary.started_at + mark.at, Line(mark.what), side=mark.side, rung=UNSET if mark.rung is None else mark.rung)
        for mark in trail
    ]
    if summary.connected_at is not UNSET:
        lines.append(TimelineEntry(summary.connected_at, Line.CONNECTED))
    lines += [TimelineEntry(millis(placement.at), Line.RELAY, relay=placement.relay) for placement in placements]
    # a way that the other side's device measures is not told a second time as the relay sees it
    told = {point.side for point in quality if point.by is MeasuredAt.DEVICE}
    lines += dips([point for point in quality if (point.by is MeasuredAt.DEVICE) == (point.side in told)])
    if summary.ended_at is not UNSET:
        lines.append(TimelineEntry(summary.ended_at, Line.ENDED))
    return sorted(lines, key=lambda line: (line.at, line.what is Line.ENDED))


def heard_points(samples: tuple[Sequence[HeardSample], Sequence[HeardSample]]) -> list[QualityPoint]:
    """What the devices of both sides heard (``samples``: by who heard it), in order of time. A point's side is who sent: the other one."""
    points = [
        QualityPoint(
            at=millis(sample.at),
            side=1 - listener,
            loss=sample.loss,
            jitter=sample.jitter,
            rtt=UNSET if sample.rtt is None else sample.rtt,
            mos=sample.mos,
            by=MeasuredAt.DEVICE,
        )
        for listener, heard in enumerate(samples)
        for sample in heard
    ]
    return sorted(points, key=lambda point: (point.at, point.side))


def lately(points: Iterable[QualityPoint], now: int) -> list[float]:
    """Opinion scores of the last minutes for a small chart, the worse of both ways and of all who measured, oldest first.

    ``now``: milliseconds; clocks of machines may be some seconds apart.
    """
    worst: dict[int, float] = {}
    for point in points:
        steps = max(0, now - point.at) // _STEP
        if point.mos is not UNSET and steps < CHARTED and point.at < now + _STEP:
            worst[steps] = min(point.mos, worst.get(steps, point.mos))
    return [worst[steps] for steps in sorted(worst, reverse=True)]


def quality_of(samples: Iterable[Sample]) -> list[QualityPoint]:
    """Points of both sides, in order of time."""
    points = [
        QualityPoint(
            at=millis(sample.at),
            side=number,
            loss=side.loss,
            jitter=side.jitter,
            rtt=UNSET if side.rtt is None else side.rtt,
            mos=UNSET if side.mos is None else side.mos,
        )
        for sample in samples
        for number, side in enumerate(sample.sides)
        if side.packets
    ]
    return sorted(points, key=lambda point: (point.at, point.side))


def dips(points: Sequence[QualityPoint]) -> list[TimelineEntry]:
    """Where what a side sent began to arrive badly (with the worst that it came to), and where it was well again."""
    lines: list[TimelineEntry] = []
    for side in (0, 1):
        began: int | None = None
        worst = POOR
        for point in points:
            if point.side != side or point.mos is UNSET:
                continue
            if point.mos < POOR:
                began = point.at if began is None else began
                worst = min(worst, point.mos)
            elif began is not None:
                lines.append(TimelineEntry(began, Line.DIP, side=side, mos=worst))
                lines.append(TimelineEntry(point.at, Line.RECOVERED, side=side))
                began, worst = None, POOR
        if began is not None:
            lines.append(TimelineEntry(began, Line.DIP, side=side, mos=worst))
    return lines
