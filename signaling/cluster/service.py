"""One hub's place among the others: its lease, its devices' routes, its bus. What other features use of ``cluster/``."""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from signaling.cluster.bus import Bus
from signaling.cluster.messages import BusMessage, Joined
from signaling.cluster.nodes import Nodes, new_node_id
from signaling.cluster.routes import PREFIX, Routes
from signaling.storage.redis import AnyRedis


class Cluster:
    """``start`` before use, ``close`` after.

    Args:
        handle: gets what other hubs say.
        on_gap: called with the seconds for which notices may have been missed.
        on_death: called with the ids of hubs that this one has to clean up after.
    """

    def __init__(
        self,
        redis: AnyRedis,
        *,
        handle: Callable[[BusMessage], None],
        on_gap: Callable[[float], Awaitable[None]],
        on_death: Callable[[list[str]], Awaitable[None]],
    ) -> None:
        self.nodes = Nodes(redis, node=new_node_id(), routes_prefix=PREFIX, on_gap=on_gap, on_death=on_death)
        self.routes = Routes(redis, self.nodes)
        self._bus = Bus(redis, self.nodes, self._heard)
        self._handle = handle

    @property
    def node(self) -> str:
        """Id of this hub."""
        return self.nodes.node

    @property
    def alone(self) -> bool:
        """Whether there is no other hub now."""
        return self.nodes.alone

    def lives(self, node: str) -> bool:
        """Whether a hub is alive, as far as is known."""
        return node in self.nodes.others or node == self.nodes.node

    def living(self) -> frozenset[str]:
        """Ids of all hubs that are alive, this one among them, as far as is known."""
        return self.nodes.others | {self.node}

    def time(self) -> float:
        """Seconds since 1970, the same on every hub."""
        return self.nodes.time()

    def missed(self) -> None:
        """What this hub knows is not what is stored: look, at the next renewal, for what was missed."""
        self.nodes.missed()

    async def leftover(self, node: str) -> list[BusMessage]:
        """What a hub that is gone was told and has not read. Raises ``RedisError`` or ``OSError``."""
        return await self._bus.leftover(node)

    async def start(self) -> None:
        """Take the lease, begin to listen. Raises ``RedisError`` or ``OSError`` when Redis does not answer."""
        await self.nodes.start()
        self._bus.start()
        # a hub that thinks itself alone looks for no device elsewhere
        await self._bus.surely(Joined(self.node))

    def _heard(self, message: BusMessage) -> None:
        if isinstance(message, Joined):
            self.nodes.joined(message.node)
        else:
            self._handle(message)

    async def close(self) -> None:
        """Send what waits, and leave."""
        await self.routes.close()
        await self._bus.close()
        await self.nodes.close()

    async def locate(self, devices: Iterable[str]) -> dict[str, str]:
        """Hubs of those of these devices that are connected. Raises ``RedisError`` or ``OSError``."""
        return await self.routes.locate(devices)

    async def claim(self, device: str, account: str, since: float) -> str:
        """A device is on this hub, since that time. Returns the hub that it was on, '' or ``NEWER``. Raises ``RedisError`` or ``OSError``."""
        return await self.routes.claim(device, account, since)

    async def release(self, device: str) -> bool:
        """A device left this hub. False when another hub has it already. Raises ``RedisError`` or ``OSError``."""
        return await self.routes.release(device)

    async def republish(self, devices: Mapping[str, tuple[str, float]]) -> None:
        """Claim all devices that are here (device to account, and since when) again."""
        await self.routes.republish(devices)

    def send(self, node: str, message: BusMessage) -> None:
        """Tell another hub; a hint."""
        self._bus.send(node, message)

    def broadcast(self, message: BusMessage) -> None:
        """Tell every other hub; a hint."""
        self._bus.broadcast(message)

    async def deliver(self, node: str, message: BusMessage) -> None:
        """Tell another hub. Raises ``RedisError`` or ``OSError`` when that cannot be."""
        await self._bus.deliver(node, message)

    async def surely(self, message: BusMessage) -> None:
        """Tell every other hub. Raises ``RedisError`` or ``OSError``; to be repeated then."""
        await self._bus.surely(message)
