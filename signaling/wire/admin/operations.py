"""What goes on: figures, live calls and those that ended, hubs and relays; and what operators do about it."""

from enum import StrEnum
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from signaling.wire.admin.frame import AdminEndpoint, AdminEvents, Permission, Pseudonym, Reason
from signaling.wire.errors import ErrorCode
from signaling.wire.ids import ID_PATTERN, CallId, Millis
from signaling.wire.messages import Reason as EndReason
from signaling.wire.messages import Rung, Stage
from signaling.wire.rest import Query

LIVE_CALLS: Final = 200
"""Live calls that are shown at a time: those whose stage ends soonest first."""
PAGE: Final = 50
"""Ended calls of one page."""


class Reasoned(Struct, frozen=True):
    """Why an operator does something."""

    reason: Reason


class Span(Struct, frozen=True, omit_defaults=True):
    """Calls that ended within some minutes."""

    at: Millis
    """When the span began."""
    calls: int = 0
    connected: int = 0
    not_connected: int = 0
    """Taken, and media never flowed at both ends."""
    set_up_p95: int | UnsetType = UNSET
    """Milliseconds."""


class Country(Struct, frozen=True):
    """Calls by the country of the caller's number; countries behind which fewer than 20 people stand are put together."""

    code: str
    """Calling code without the plus; empty for all others."""
    region: str
    """Its main country, ISO 3166-1 alpha-2; ``ZZ`` for none."""
    connected: int
    not_connected: int


class CallFigures(Struct, frozen=True, omit_defaults=True):
    """How calls went that ended within the last hours."""

    hours: int
    calls: int
    connected: int
    not_connected: int
    reasons: dict[str, int]
    """Calls by why they ended."""
    rungs: dict[str, int]
    """Calls by the lowest rung that their media took; ``unknown`` where no client told it."""
    spans: list[Span]
    countries: list[Country]
    success: float | UnsetType = UNSET
    """Of the calls that were taken, the share in which media flowed at both ends."""
    set_up_p50: int | UnsetType = UNSET
    """Milliseconds from when the call was taken until media flowed at both ends."""
    set_up_p95: int | UnsetType = UNSET


class HubInfo(Struct, frozen=True, omit_defaults=True):
    """One hub, as of a few seconds ago."""

    hub: str
    this: bool = False
    """The one that answers."""
    name: str = ""
    """Machine and process."""
    version: str = ""
    started_at: Millis | UnsetType = UNSET
    devices: int = 0
    """Devices that are connected."""
    calls: dict[str, int] = {}
    """Live calls that were placed here, by stage."""
    cpu: float | UnsetType = UNSET
    """Share of one core."""
    lag: float | UnsetType = UNSET
    """Seconds that the event loop was late at most."""
    memory: int | UnsetType = UNSET
    """Bytes."""
    draining: bool = False


class RelayInfo(Struct, frozen=True, omit_defaults=True):
    """One relay, as of a few seconds ago."""

    relay: str
    calls: int
    capacity: int
    name: str = ""
    started_at: Millis | UnsetType = UNSET
    legs: int = 0
    """Sides of calls whose device is there."""
    packets: float = 0
    """Forwarded, a second."""
    dropped: float = 0
    """Datagrams that the source gate did not let through, a second."""
    cpu: float | UnsetType = UNSET
    lag: float | UnsetType = UNSET


class Overview(Struct, frozen=True):
    """How the service does now."""

    at: Millis
    devices: int
    """Devices that are connected, on all hubs."""
    stages: dict[str, int]
    """Live calls by stage, on all hubs."""
    hubs: list[HubInfo]
    relays: list[RelayInfo]


class CallSummary(Struct, frozen=True, omit_defaults=True):
    """A call, live or ended, without what it was about."""

    call: CallId
    stage: Stage
    caller: Pseudonym
    callee: Pseudonym
    started_at: Millis
    connected_at: Millis | UnsetType = UNSET
    ended_at: Millis | UnsetType = UNSET
    reason: EndReason | UnsetType = UNSET
    set_up: int | UnsetType = UNSET
    """Milliseconds from when it was taken until media flowed at both ends."""
    rung: Rung | UnsetType = UNSET
    caller_hub: str | UnsetType = UNSET
    callee_hub: str | UnsetType = UNSET
    relay: str | UnsetType = UNSET
    heard: list[float] = []
    """Live calls: opinion scores (1 to 4.5) of the last minutes, one each ten seconds, oldest first: of the side that hears worse. Empty where
    nobody measures."""


class LiveCalls(Struct, frozen=True):
    """Calls that go on."""

    total: int
    """Pairs of people with live calls; more than are shown when the service is busy."""
    calls: list[CallSummary]


class EndedCalls(Struct, frozen=True, omit_defaults=True):
    """Calls that ended, newest first."""

    calls: list[CallSummary]
    next: Millis | UnsetType = UNSET
    """``before`` of the next page; absent on the last."""


class Line(StrEnum):
    """What a line of a call's time line says."""

    INVITED = "invited"
    RANG = "rang"
    TAKEN = "taken"
    MEDIA = "media"
    CONNECTED = "connected"
    MOVED = "moved"
    LEFT = "left"
    BACK = "back"
    HANDED = "handed"
    RELAY = "relay"
    DIP = "dip"
    RECOVERED = "recovered"
    ENDED = "ended"


class TimelineEntry(Struct, frozen=True, omit_defaults=True):
    """One line."""

    at: Millis
    what: Line
    side: int | UnsetType = UNSET
    """0: the caller's, 1: the callee's."""
    rung: Rung | UnsetType = UNSET
    relay: str | UnsetType = UNSET
    mos: float | UnsetType = UNSET
    """``dip``: the worst of it."""


class MeasuredAt(StrEnum):
    """Who measured."""

    RELAY = "relay"
    """The relay of the call, which sees packets' headers."""
    DEVICE = "device"
    """The other side's device, whose user has allowed it (the consent ``quality``)."""


class QualityPoint(Struct, frozen=True, omit_defaults=True):
    """How what one side sent arrived, over some seconds."""

    at: Millis
    side: int
    """Who sent. 0: the caller, 1: the callee."""
    loss: float
    """Share."""
    jitter: float
    """Seconds."""
    rtt: float | UnsetType = UNSET
    """Seconds."""
    mos: float | UnsetType = UNSET
    """1 to 4.5."""
    by: MeasuredAt = MeasuredAt.RELAY


class CallDetail(Struct, frozen=True):
    """A call with its time line. ``quality`` is what relays see of calls that they carry, and what the devices of users tell who allow it."""

    call: CallSummary
    timeline: list[TimelineEntry]
    quality: list[QualityPoint]


_E = ErrorCode
_READ: Final = Permission.OPERATIONS_READ
HOURS: Final = r"^(1|6|24)\Z"

OPERATIONS_ENDPOINTS: Final[tuple[AdminEndpoint, ...]] = (
    AdminEndpoint(
        id="operations.overview",
        method="GET",
        path="/v1/admin/overview",
        summary="How the service does now",
        access=_READ,
        answer=Overview,
    ),
    AdminEndpoint(
        id="operations.figures",
        method="GET",
        path="/v1/admin/figures",
        summary="How calls went: success, set-up time, reasons, rungs, countries",
        access=_READ,
        answer=CallFigures,
        query=(Query("hours", HOURS, "1, 6 or 24; 1 when it is left out"),),
    ),
    AdminEndpoint(
        id="operations.live", method="GET", path="/v1/admin/calls/live", summary="Calls that go on", access=_READ, answer=LiveCalls
    ),
    AdminEndpoint(
        id="operations.ended",
        method="GET",
        path="/v1/admin/calls",
        summary="Calls that ended, for as long as they are kept (`call_trace_hours`)",
        access=_READ,
        answer=EndedCalls,
        query=(
            Query("before", r"^[0-9]{1,16}\Z", "`next` of the page before"),
            Query("reason", "^(" + "|".join(EndReason) + r")\Z", "only those that ended so"),
            Query("account", r"^[0-9A-Za-z]{22}\Z", "only those of the account with this pseudonym"),
        ),
    ),
    AdminEndpoint(
        id="operations.call",
        method="GET",
        path="/v1/admin/calls/{call}",
        summary="A call with its time line, by its id",
        access=_READ,
        answer=CallDetail,
        errors=(_E.NOT_FOUND,),
    ),
    AdminEndpoint(
        id="operations.end_call",
        method="POST",
        path="/v1/admin/calls/{call}/end",
        summary="End a call; both sides see `unavailable`",
        access=Permission.CALLS_END,
        body=Reasoned,
        errors=(_E.NOT_FOUND,),
        audit="call_ended",
        subject="call",
    ),
    AdminEndpoint(
        id="operations.drain_hub",
        method="POST",
        path="/v1/admin/hubs/{hub}/drain",
        summary="Have a hub hand its clients over to the others and end; what supervises it starts it again",
        access=Permission.HUBS_DRAIN,
        body=Reasoned,
        errors=(_E.NOT_FOUND, _E.NOT_POSSIBLE),
        audit="hub_drained",
        subject="hub",
    ),
    AdminEndpoint(
        id="operations.drain_relay",
        method="POST",
        path="/v1/admin/relays/{relay}/drain",
        summary="Have a relay's calls move to other relays, and end it; what supervises it starts it again",
        access=Permission.HUBS_DRAIN,
        body=Reasoned,
        errors=(_E.NOT_FOUND, _E.NOT_POSSIBLE),
        audit="relay_drained",
        subject="relay",
    ),
)
"""Operations of the operators' page."""

OPERATIONS_EVENTS: Final = AdminEvents(
    id="operations.stream",
    path="/v1/admin/stream",
    summary="What goes on, every two seconds what has changed, for half an hour at most",
    access=_READ,
    events={"overview": Overview, "calls": LiveCalls, "call": CallDetail},
    query=(Query("call", ID_PATTERN, "a call to be followed with its time line, too: the event `call`"),),
)
"""The live updates of the same."""
