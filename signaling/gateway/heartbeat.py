"""Pings for all connections out of one timer, in slots: who says nothing for two rounds is gone. Pure but for what the connections do."""

from collections.abc import Iterator
from typing import Final, Generic, Protocol, TypeVar

SLOTS: Final = 15
"""Rounds take as many seconds: an idle client is asked after 15 to 30 s and cut off 15 s later, before carrier-grade NATs forget it
and well before a user wonders."""


class Beating(Protocol):
    """A connection, as the heartbeat sees it."""

    slot: int
    heard: bool
    asked: bool

    def ping(self) -> None:
        """Ask whether the client is still there."""

    def abort(self) -> None:
        """End the connection at once."""


T = TypeVar("T", bound=Beating)


class Heartbeat(Generic[T]):
    """The slots. ``tick`` must be called once a second."""

    def __init__(self) -> None:
        self._slots: list[set[T]] = [set() for _ in range(SLOTS)]
        self._at = 0

    def add(self, connection: T) -> None:
        """Watch a connection; its first look is a round away."""
        connection.slot = self._at
        self._slots[self._at].add(connection)

    def discard(self, connection: T) -> None:
        """Stop watching."""
        self._slots[connection.slot].discard(connection)

    def __iter__(self) -> Iterator[T]:
        """Every connection that is watched."""
        for slot in self._slots:
            yield from tuple(slot)

    def __len__(self) -> int:
        """How many are watched."""
        return sum(map(len, self._slots))

    def tick(self) -> None:
        """Look at the next slot."""
        self._at = (self._at + 1) % SLOTS
        for connection in tuple(self._slots[self._at]):
            if connection.heard:
                connection.heard = connection.asked = False
            elif connection.asked:
                connection.abort()
            else:
                connection.asked = True
                connection.ping()
