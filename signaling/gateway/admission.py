"""Who is let in when all come at once (pure). A hub that takes longer to say ``sync`` than clients wait for it does its work in vain: they have gone, and
come again. So only as many wait as are let in soon; the others are told when to come back, each at a time of its own.
"""

from typing import Final

SOON: Final = 1.0
"""Seconds that a client may have to wait for its turn: clients give up after some 20 s, in a call after 4 s at first, and on a bad network some of
these are gone already."""
LATEST: Final = 30.0
"""The longest that a client is told to wait, in seconds: half of the time that a party of a call has to come back."""
_FIRST_GUESS: Final = 0.01
"""Seconds that one client takes, before any was seen. With less, a slow machine would let in more at first than it can serve."""
_MEMORY: Final = 0.05
"""Share of the newest client in what is reckoned with."""


class Admission:
    """The queue at the door, as numbers. The caller gives the time: seconds, only ever growing."""

    def __init__(self) -> None:
        self.waiting = 0
        """Clients that wait, or are just let in."""
        self._each = _FIRST_GUESS
        self._last: float | None = None
        self._slot = 0.0

    def arrive(self, now: float) -> float:
        """A client says hello. Returns 0 when it may wait for its turn, else the seconds after which it is to come again."""
        queue = self.waiting * self._each
        if queue <= SOON:
            self.waiting += 1
            return 0.0
        self._slot = max(self._slot + self._each, now + queue)
        if self._slot > now + LATEST:  # begin anew, as those told first will be in by then
            self._slot = now + queue
        return min(LATEST, self._slot - now)

    def leave(self, now: float) -> None:
        """A client was let in, or is gone. While others wait, the time between two says how long each takes."""
        self.waiting -= 1
        if self._last is not None:
            self._each += _MEMORY * (min(1.0, now - self._last) - self._each)
        self._last = now if self.waiting else None
