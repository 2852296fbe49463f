"""How late the event loop is: what waits for a turn waits for so long."""

import asyncio

from signaling.telemetry.counting import FAST, Histogram

_EVERY = 0.25
"""Seconds between two looks."""


class LoopLag:
    """Looks a few times a second how much later than asked for it is called. ``start`` before use, ``close`` after."""

    def __init__(self) -> None:
        self.seconds = Histogram(FAST)
        self.turned = 0.0
        """When it was called last, on the event loop's clock."""
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look."""
        self._next()

    def close(self) -> None:
        """Stop."""
        if self._timer is not None:
            self._timer.cancel()

    def _next(self) -> None:
        loop = asyncio.get_running_loop()
        self.turned = loop.time()
        self._timer = loop.call_later(_EVERY, self._look, self.turned + _EVERY)

    def _look(self, due: float) -> None:
        self.seconds.observe(max(0.0, asyncio.get_running_loop().time() - due))
        self._next()
