"""What the edge counts: sockets, frames, requests, refusals. Pure."""

from dataclasses import dataclass, field

from signaling.telemetry.counting import FAST, Histogram
from signaling.wire.errors import ErrorCode
from signaling.wire.messages import ClientMessage


@dataclass(slots=True)
class SocketCounts:
    """Of WebSockets, since the start of the hub."""

    opened: int = 0
    """Sockets that stood, with a `hello` or without."""
    received: dict[type[ClientMessage], int] = field(default_factory=dict)
    """Messages of clients that were read, by type."""
    sent: int = 0
    """Messages to clients."""
    refused: dict[ErrorCode, int] = field(default_factory=dict)
    """Messages of clients that were refused at the edge, before a feature saw them, by why."""
    closed: dict[int, int] = field(default_factory=dict)
    """Sockets that the hub closed, by close code (RFC 6455, section 7.4)."""
    hello: Histogram = field(default_factory=lambda: Histogram(FAST))
    """Seconds from `hello` to `sync`."""


@dataclass(slots=True)
class RestCounts:
    """Of REST, since the start of the hub."""

    requests: dict[tuple[str, str], int] = field(default_factory=dict)
    """By the endpoint's id and what came of it: ``ok`` or an error code."""
    seconds: Histogram = field(default_factory=lambda: Histogram(FAST))
    """From the request to its answer."""
