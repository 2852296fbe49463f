"""What every way to wake devices has. Nothing of a call is in a push; endpoints and tokens are never logged."""

from enum import StrEnum
from typing import Final, Protocol

from signaling.push.rules import Outcome
from signaling.push.store import Subscription


class Wake(StrEnum):
    """What a device is woken for. That is all that a push says."""

    CALL = "call"
    SUPPORT = "support"
    """Support has answered a question (P27)."""

    @property
    def payload(self) -> bytes:
        """JSON; the same for everybody, and of one length, which says nothing either."""
        return f'{{"wake":"{self}"}}'.encode().ljust(_LENGTH)

    @property
    def urgency(self) -> str:
        """Of web push (RFC 8030, section 5.3)."""
        return "high" if self is Wake.CALL else "normal"


_LENGTH: Final = 18
TIMEOUT: Final = 10.0
"""Seconds that a push service has to answer."""


class Sender(Protocol):
    """One way to wake devices."""

    async def send(self, to: Subscription, ttl: float, wake: Wake = Wake.CALL) -> Outcome:
        """Try once. ``ttl``: seconds after which the push is of no use. Never raises what a push service can cause."""

    async def close(self) -> None:
        """Close connections."""
