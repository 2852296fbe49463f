"""How long a store takes to answer, as its client sees it. Pure."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from signaling.telemetry.counting import FAST, Histogram


@dataclass(slots=True)
class Latency:
    """Since the client was made."""

    seconds: Histogram = field(default_factory=lambda: Histogram(FAST))
    """Of each command, pipeline or statement that was answered."""
    failed: int = 0
    """Those that were not: no connection, or no answer in time."""


@runtime_checkable
class Measured(Protocol):
    """A client that counts how long its store takes."""

    @property
    def latency(self) -> Latency:
        """What was counted."""
