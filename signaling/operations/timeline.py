"""A call's time line and its quality over time, out of its trail and of what relays have seen. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import UNSET, UnsetType

from media.report import Sample
from signaling.calls.machine import Call, Mark
from signaling.calls.relays import Placement
from signaling.calls.trace import Trace, rung_of, set_up
from signaling.wire.admin.operations import CallSummary, Line, QualityPoint, TimelineEntry
from signaling.wire.messages import Stage

POOR: Final = 3.1
"""Below this opinion score nearly everybody is dissatisfied (ITU-T G.107, annex B)."""


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
    lines += dips(quality)
    if summary.ended_at is not UNSET:
        lines.append(TimelineEntry(summary.ended_at, Line.ENDED))
    return sorted(lines, key=lambda line: (line.at, line.what is Line.ENDED))


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
