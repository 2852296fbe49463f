"""OpenTelemetry spans of calls, for whoever sets ``otlp_endpoint``. Imported only then: when tracing is off it costs nothing.

All spans of a call are one trace, whatever hubs and relays they come from, and no client sends anything for it: the trace's id is a keyed hash of the
call's id, so every hub knows it. A relay, which must not know the call, is told that hash with the request for a leg.

A hub tells a stage when it has stored its end: ``call.inviting``, ``call.ringing``, ``call.connecting``, ``call.connected`` (with what happened meanwhile as events),
all below ``call``, which is told with the end. A leg is ``relay.leg`` at the hub, and below it ``relay.answer`` and, at its end, ``relay.call`` at the relay.
Attributes hold the call's id, stages, reasons, rungs and ids of hubs and relays: nothing of people.
"""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

import signaling
from media.relay import Direction
from signaling.calls.counts import Step, accepted_at
from signaling.calls.machine import Call, What
from signaling.wire.messages import Reason, Stage

_TIMEOUT: Final = 2.0
"""Seconds that a collector may take."""
_BAD: Final = (Reason.FAILED, Reason.LOST)
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)

Attributes = Mapping[str, str | int | float]


class _Ids(RandomIdGenerator):
    """Random ids, but for the next span where they are chosen."""

    trace = 0
    span = 0

    def generate_trace_id(self) -> int:
        return self.trace or super().generate_trace_id()

    def generate_span_id(self) -> int:
        chosen, self.span = self.span, 0
        return chosen or super().generate_span_id()


class _Spans:
    """Makes spans that are over, and sends them from a thread of its own."""

    def __init__(self, *, endpoint: str, role: str, instance: str) -> None:
        self._ids = _Ids()
        resource = Resource.create(
            {
                "service.name": f"kloudtalk-{role}",
                "service.version": signaling.__version__,
                "service.instance.id": instance,
            }
        )
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_TIMEOUT)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, export_timeout_millis=_TIMEOUT * 1000))
        self._tracer = self._provider.get_tracer("kloudtalk", signaling.__version__)

    def tell(
        self,
        name: str,
        parent: SpanContext | None,
        begin: float,
        end: float,
        attributes: Attributes,
        *,
        ids: tuple[int, int] | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        bad: bool = False,
        events: Sequence[tuple[float, str, Attributes]] = (),
    ) -> SpanContext:
        """One span. Times in seconds since 1970; ``ids``: of a root, its trace and span."""
        context = Context() if parent is None else api.set_span_in_context(NonRecordingSpan(parent), Context())
        self._ids.trace, self._ids.span = (0, 0) if ids is None else ids
        span = self._tracer.start_span(name, context, kind, dict(attributes), start_time=_nanos(begin))
        self._ids.trace = self._ids.span = 0
        for at, what, more in events:
            span.add_event(what, dict(more), _nanos(at))
        if bad:
            span.set_status(Status(StatusCode.ERROR))
        span.end(_nanos(max(begin, end)))
        return span.get_span_context()

    @contextmanager
    def open(self, name: str, parent: SpanContext, attributes: Attributes) -> Iterator[SpanContext]:
        """A span that lasts as long as the block; ``error`` when it raises, without the exception's text."""
        context = api.set_span_in_context(NonRecordingSpan(parent), Context())
        span = self._tracer.start_span(name, context, SpanKind.CLIENT, dict(attributes))
        try:
            yield span.get_span_context()
        except BaseException:
            span.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            span.end()

    async def close(self) -> None:
        """Send what waits."""
        await asyncio.to_thread(self._provider.shutdown)


class CallTraces:
    """A hub's spans.

    Args:
        secret: the same on all hubs; makes traces' ids out of calls'.
        share: of the calls, 0 to 1: the same ones on all hubs.
    """

    def __init__(self, *, endpoint: str, secret: bytes, node: str, share: float) -> None:
        self._secret = secret
        self._node = node
        self._bound = round(share * (1 << 64))
        self._spans = _Spans(endpoint=endpoint, role="hub", instance=node)

    def take(self, step: Step, now: float) -> None:
        """A step of a call that was stored at ``now``."""
        before, after = step
        if before is None or before.stage is after.stage:
            return
        root = self._root(after.id)
        if root is None:
            return
        begin, events = _began(before), list[tuple[float, str, Attributes]]()
        if before.stage is Stage.CONNECTED:
            marks = [mark for mark in after.trail if mark.what in (What.MEDIA, What.MOVED, What.LEFT, What.BACK)]
            events = [(after.created_at + mark.at / 1000, str(mark.what), _mark(mark.side, mark.rung)) for mark in marks]
        attributes = {"kloudtalk.call": after.id, "kloudtalk.hub": self._node, "kloudtalk.next": str(after.stage)}
        reason = {} if after.reason is None else {"kloudtalk.reason": str(after.reason)}
        bad = after.reason in _BAD
        self._spans.tell(f"call.{before.stage}", root, begin, now, attributes | reason, bad=bad, events=events)
        if after.stage is Stage.ENDED:
            whole = {"kloudtalk.call": after.id, "kloudtalk.hub": self._node} | reason
            self._spans.tell("call", None, after.created_at, now, whole, ids=(root.trace_id, root.span_id), bad=bad)

    @contextmanager
    def leg(self, call: str) -> Iterator[str]:
        """While a device gets a leg: a W3C trace context for the relay; empty when the call is not traced."""
        root = self._root(call)
        if root is None:
            yield ""
            return
        with self._spans.open("relay.leg", root, {"kloudtalk.call": call, "kloudtalk.hub": self._node}) as span:
            yield f"00-{span.trace_id:032x}-{span.span_id:016x}-01"

    def _root(self, call: str) -> SpanContext | None:
        digest = hmac.digest(self._secret, b"kloudtalk/v1 traces\0" + call.encode(), hashlib.sha256)
        if int.from_bytes(digest[8:16], "big") >= self._bound:
            return None
        return SpanContext(int.from_bytes(digest[:16], "big"), int.from_bytes(digest[16:24], "big") or 1, True, _SAMPLED)

    async def close(self) -> None:
        """Send what waits."""
        await self._spans.close()


class RelayTraces:
    """A relay's spans. Implements ``media.control.Observer``."""

    def __init__(self, *, endpoint: str, relay: str) -> None:
        self._relay = relay
        self._spans = _Spans(endpoint=endpoint, role="relay", instance=relay)
        self._pairs: dict[str, tuple[SpanContext, float]] = {}

    def answered(self, trace: str, pair: str, began: float, outcome: str) -> None:
        """A leg was asked for at ``began`` (seconds since 1970), with this trace context."""
        parent = parse(trace)
        if parent is None:
            return
        attributes = {"kloudtalk.relay": self._relay, "kloudtalk.outcome": outcome}
        span = self._spans.tell("relay.answer", parent, began, time.time(), attributes, kind=SpanKind.SERVER)
        if outcome == "given":
            self._pairs.setdefault(pair, (span, began))

    def released(self, pair: str, sides: tuple[Direction, Direction]) -> None:
        """A pair has ended."""
        found = self._pairs.pop(pair, None)
        if found is None:
            return
        attributes: dict[str, str | int | float] = {"kloudtalk.relay": self._relay}
        for side, direction in enumerate(sides):
            attributes[f"kloudtalk.packets.{side}"] = direction.packets
            attributes[f"kloudtalk.lost.{side}"] = direction.lost
            attributes[f"kloudtalk.jitter.{side}"] = direction.jitter
        self._spans.tell("relay.call", found[0], found[1], time.time(), attributes)

    async def close(self) -> None:
        """Send what waits."""
        await self._spans.close()


def parse(trace: str) -> SpanContext | None:
    """A W3C trace context (version 00); None for anything else."""
    parts = trace.split("-")
    if len(parts) != 4 or [len(part) for part in parts] != [2, 32, 16, 2]:
        return None
    try:
        found = SpanContext(int(parts[1], 16), int(parts[2], 16), True, _SAMPLED)
    except ValueError:
        return None
    return found if found.is_valid else None


def _began(call: Call) -> float:
    """When the stage began that a call is in."""
    if call.stage is Stage.CONNECTED and call.connected_at is not None:
        return call.connected_at
    if call.stage is Stage.CONNECTING and call.deadline is not None:
        return accepted_at(call.deadline)
    if call.stage is Stage.RINGING:
        return call.created_at + next((mark.at / 1000 for mark in call.trail if mark.what is What.RANG), 0.0)
    return call.created_at


def _mark(side: int, rung: object) -> Attributes:
    return {"side": "callee" if side else "caller"} | ({} if rung is None else {"rung": str(rung)})


def _nanos(seconds: float) -> int:
    return int(seconds * 1e9)
