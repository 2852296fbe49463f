"""What is counted of calls, out of the steps that they take. Each step is counted once, by the hub that stored it. Pure."""

from dataclasses import dataclass, field

from signaling.calls.machine import Call, What
from signaling.telemetry.counting import HUMAN, TALK, Histogram, count
from signaling.wire.messages import CONNECT_TIMEOUT, Reason, Rung, Stage

Step = tuple[Call | None, Call]
"""A call before (None: it is new) and after a change that was stored."""


@dataclass(slots=True)
class CallCounts:
    """Since the start of the hub."""

    stages: dict[Stage, int] = field(default_factory=lambda: dict.fromkeys(Stage, 0))
    """Calls that reached a stage."""
    ended: dict[tuple[Reason, Stage], int] = field(default_factory=dict)
    """Calls by why they ended, and in which stage they were then."""
    rungs: dict[tuple[What, Rung], int] = field(default_factory=dict)
    """Devices at which media flow, by the way that they told: ``media`` for the first time, ``moved`` later."""
    ring: Histogram = field(default_factory=lambda: Histogram(HUMAN))
    """Seconds from the invite until a device of the callee said that it rings."""
    audio: Histogram = field(default_factory=lambda: Histogram(HUMAN))
    """Seconds from the accept until both devices said that media flows."""
    talk: Histogram = field(default_factory=lambda: Histogram(TALK))
    """Seconds from then to the end."""

    def take(self, step: Step, now: float) -> None:
        """Count one step, stored at ``now`` (seconds since 1970)."""
        before, after = step
        stage = after.stage
        if before is None:
            self.stages[Stage.INVITING] += 1
            return
        if after.trail is not before.trail:
            mark = after.trail[-1]
            if mark.rung is not None:
                count(self.rungs, (mark.what, mark.rung))
        if stage is before.stage:
            return
        self.stages[stage] += 1
        if stage is Stage.RINGING:
            self.ring.observe(now - after.created_at)
        elif stage is Stage.CONNECTED and before.deadline is not None and after.connected_at is not None:
            self.audio.observe(after.connected_at - accepted_at(before.deadline))
        elif stage is Stage.ENDED and after.reason is not None:
            count(self.ended, (after.reason, before.stage))
            if after.connected_at is not None and after.ended_at is not None:
                self.talk.observe(after.ended_at - after.connected_at)


def accepted_at(deadline: float) -> float:
    """When a call in ``connecting`` was taken, by the deadline of that stage, which nothing moves."""
    return deadline - CONNECT_TIMEOUT
