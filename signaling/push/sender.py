"""What every way to wake devices has. Nothing of a call is in a push; endpoints and tokens are never logged."""

from typing import Final, Protocol

from signaling.push.rules import Outcome
from signaling.push.store import Subscription

WAKE: Final = b'{"wake":"call"}'
"""All that a push says. The same for everybody, so its length says nothing either."""
TIMEOUT: Final = 10.0
"""Seconds that a push service has to answer."""


class Sender(Protocol):
    """One way to wake devices."""

    async def send(self, to: Subscription, ttl: float) -> Outcome:
        """Try once. ``ttl``: seconds after which the push is of no use. Never raises what a push service can cause."""

    async def close(self) -> None:
        """Close connections."""
