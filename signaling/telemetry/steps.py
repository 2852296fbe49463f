"""What is done with the steps of calls, once they are stored: count them, log them, trace them."""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from signaling.calls.counts import CallCounts, Step
from signaling.calls.machine import Call
from signaling.wire.messages import Reason

log = logging.getLogger(__name__)

_BAD: Final = (Reason.FAILED, Reason.LOST)
"""Ends that an operator wants to see without looking for them."""


class Steps:
    """Takes steps from ``CallService``.

    Args:
        clock: seconds since 1970, the same on every hub.
        trace: gets each step, when calls are traced.
    """

    def __init__(self, clock: Callable[[], float], trace: Callable[[Step, float], None] | None = None) -> None:
        self.counts = CallCounts()
        self._clock = clock
        self._trace = trace

    def take(self, steps: Sequence[Step]) -> None:
        """Steps that were stored together."""
        if not steps:
            return
        now = self._clock()
        verbose = log.isEnabledFor(logging.DEBUG)
        for step in steps:
            self.counts.take(step, now)
            if self._trace is not None:
                self._trace(step, now)
            if verbose or step[1].reason in _BAD:
                _say(*step)


def _say(before: Call | None, after: Call) -> None:
    if before is not None and before.stage is after.stage:
        return
    extra = {"call": after.id, "stage": str(after.stage)} | ({} if after.reason is None else {"reason": str(after.reason)})
    log.log(logging.INFO if after.reason in _BAD else logging.DEBUG, "call", extra=extra)
