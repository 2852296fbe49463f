"""What is counted of calls, out of the steps that they take. Each step is counted once, by the hub that stored it. Pure."""

from dataclasses import dataclass, field
from typing import Final

from signaling.calls.machine import Call
from signaling.telemetry.counting import HUMAN, TALK, Histogram, count
from signaling.wire.messages import CONNECT_TIMEOUT, Stage

# looking a member up in an enum costs more than the comparison
_RINGING: Final = Stage.RINGING
_CONNECTED: Final = Stage.CONNECTED
_ENDED: Final = Stage.ENDED

Step = tuple[Call | None, Call]
"""A call before (None: it is new) and after a change that was stored."""


@dataclass(slots=True)
class CallCounts:
    """Since the start of the hub. Keys are plain texts: an enum's hash is computed in Python, each time."""

    invited: int = 0
    rang: int = 0
    taken: int = 0
    connected: int = 0
    """Calls that reached a stage."""
    ended: dict[tuple[str, str], int] = field(default_factory=dict)
    """Calls by why they ended, and in which stage they were then."""
    rungs: dict[tuple[str, str], int] = field(default_factory=dict)
    """Devices at which media flow, by the way that they told: ``media`` for the first time, ``moved`` later."""
    ring: Histogram = field(default_factory=lambda: Histogram(HUMAN))
    """Seconds from the invite until a device of the callee said that it rings."""
    audio: Histogram = field(default_factory=lambda: Histogram(HUMAN))
    """Seconds from the accept until both devices said that media flows."""
    talk: Histogram = field(default_factory=lambda: Histogram(TALK))
    """Seconds from then to the end."""

    @property
    def stages(self) -> dict[Stage, int]:
        """Calls that reached each stage."""
        return {
            Stage.INVITING: self.invited,
            Stage.RINGING: self.rang,
            Stage.CONNECTING: self.taken,
            Stage.CONNECTED: self.connected,
            Stage.ENDED: sum(self.ended.values()),
        }

    def take(self, step: Step, now: float) -> None:
        """Count one step, stored at ``now`` (seconds since 1970)."""
        before, after = step
        if before is None:
            self.invited += 1
            return
        if after.trail is not before.trail:
            mark = after.trail[-1]
            if mark.rung is not None:
                count(self.rungs, (mark.what._value_, mark.rung._value_))
        stage = after.stage
        if stage is before.stage:
            return
        if stage is _ENDED:
            reason = "" if after.reason is None else after.reason._value_
            count(self.ended, (reason, before.stage._value_))
            if after.connected_at is not None and after.ended_at is not None:
                self.talk.observe(after.ended_at - after.connected_at)
        elif stage is _CONNECTED:
            self.connected += 1
            if before.deadline is not None:
                self.audio.observe(max(0.0, now - accepted_at(before.deadline)))  # hubs' clocks agree to some milliseconds
        elif stage is _RINGING:
            self.rang += 1
            self.ring.observe(max(0.0, now - after.created_at))
        else:
            self.taken += 1


def accepted_at(deadline: float) -> float:
    """When a call in ``connecting`` was taken, by the deadline of that stage, which nothing moves."""
    return deadline - CONNECT_TIMEOUT
