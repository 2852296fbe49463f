"""What operators do about what goes on: end a call, drain a hub or a relay. The gateway has written it to the audit trail before."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from media.control import RelayDirectory
from signaling.cluster.messages import BusMessage, Drain
from signaling.wire.errors import ErrorCode, Refused


class Cluster(Protocol):
    """The hubs (``cluster/``)."""

    @property
    def node(self) -> str:
        """Id of this hub."""

    def living(self) -> frozenset[str]:
        """Ids of all hubs that are alive."""

    async def deliver(self, node: str, message: BusMessage) -> None:
        """Tell another hub."""


class OperationsActions:
    """Raises ``redis.exceptions.RedisError`` or ``OSError`` when Redis does not answer.

    Args:
        stop: ends a live call; False when there is none.
        drain_this: ends this hub as SIGTERM does.
    """

    def __init__(
        self,
        *,
        stop: Callable[[str], Awaitable[bool]],
        cluster: Cluster,
        relays: RelayDirectory,
        drain_this: Callable[[], object],
    ) -> None:
        self._stop = stop
        self._cluster = cluster
        self._relays = relays
        self._drain_this = drain_this

    async def end_call(self, call: str) -> None:
        """End a call, for both sides as ``unavailable``. Raises ``Refused(not_found)``."""
        if not await self._stop(call):
            raise Refused(ErrorCode.NOT_FOUND, "no call with this id goes on")

    async def drain_hub(self, hub: str) -> None:
        """Have a hub hand its clients over to the others, and end. Raises ``Refused``: ``not_found``, ``not_possible``."""
        living = self._cluster.living()
        if hub not in living:
            raise Refused(ErrorCode.NOT_FOUND, "no such hub is alive")
        if len(living) < 2:
            raise Refused(ErrorCode.NOT_POSSIBLE, "it is the only hub: there is none to hand its clients over to")
        if hub == self._cluster.node:
            self._drain_this()
        else:
            await self._cluster.deliver(hub, Drain())

    async def drain_relay(self, relay: str) -> None:
        """Have a relay's calls move to other relays, and end it. Raises ``Refused``: ``not_found``, ``not_possible``."""
        known = {state.id for state in await self._relays.relays()}
        if relay not in known:
            raise Refused(ErrorCode.NOT_FOUND, "no such relay is alive")
        if len(known) < 2:
            raise Refused(ErrorCode.NOT_POSSIBLE, "it is the only relay: its calls would have nowhere to go")
        if not await self._relays.drain(relay):
            raise Refused(ErrorCode.NOT_FOUND, "the relay does not listen any more")
