"""Messages between hubs. Each hub has an inbox, a Redis list, that it empties many at a time; what it is sent within one tick of the event
loop travels in one command per hub. A list and not publish/subscribe, so that a hub that was away for a moment has lost nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

from redis.exceptions import RedisError

from signaling.cluster.messages import BusMessage, Missed, decode_bus, encode_bus
from signaling.cluster.nodes import Nodes
from signaling.storage.redis import AnyRedis

log = logging.getLogger(__name__)

LIFETIME: Final = 60
"""Seconds that an inbox nobody empties is kept: longer than a lease, so nothing is lost while its hub still counts as alive."""
_LIMIT: Final = 200_000
"""Messages in one inbox; when a hub falls that far behind they are dropped, and it is told to make up for them."""
_MANY: Final = 1_000
"""Messages taken at a time."""
_BLOCK: Final = 2.0
"""Seconds of one blocking wait; below the client's time-out."""


def inbox(node: str) -> str:
    """Redis key of a hub's inbox."""
    return f"inbox:{node}"


class Bus:
    """This hub's inbox and its way to the others'. ``handle`` gets each message; what it raises is logged and goes no further."""

    def __init__(self, redis: AnyRedis, nodes: Nodes, handle: Callable[[BusMessage], None]) -> None:
        self._redis = redis
        self._nodes = nodes
        self._handle = handle
        self._waiting: dict[str, list[bytes]] = {}
        self._flushing: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to read the inbox."""
        self._reading = asyncio.get_running_loop().create_task(self._read())

    async def close(self) -> None:
        """Send what waits; stop reading."""
        if self._flushing is not None:
            await asyncio.wait([self._flushing], timeout=2)
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    def send(self, node: str, message: BusMessage) -> None:
        """Tell one hub. A hint: dropped when Redis does not answer."""
        self._waiting.setdefault(node, []).append(encode_bus(message))
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush())

    def broadcast(self, message: BusMessage) -> None:
        """Tell every other hub; a hint as well."""
        for node in self._nodes.others:
            self.send(node, message)

    async def surely(self, message: BusMessage) -> None:
        """Tell every other hub. Raises ``RedisError`` or ``OSError`` when that cannot be; to be repeated then."""
        data = encode_bus(message)
        for node in self._nodes.others:
            await self._push(node, [data])

    async def _flush(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, {}
                for node, messages in waiting.items():
                    try:
                        await self._push(node, messages)
                    except (RedisError, OSError, TimeoutError) as error:
                        log.error("bus: Redis does not answer (%s); %d notices dropped", type(error).__name__, len(messages))
        finally:
            self._flushing = None

    async def _push(self, node: str, messages: Iterable[bytes]) -> None:
        key = inbox(node)
        length: Any = await self._redis.rpush(key, *messages)
        if length > _LIMIT:
            await self._redis.unlink(key)
            await self._redis.rpush(key, encode_bus(Missed()))
        await self._redis.expire(key, LIFETIME)

    async def _read(self) -> None:
        key = inbox(self._nodes.node)
        while True:
            try:
                found: Any = await self._redis.blpop([key], timeout=_BLOCK)
                if found is None:
                    continue
                self._take(found[1])
                while more := await self._more(key):
                    for data in more:
                        self._take(data)
            except (RedisError, OSError, TimeoutError) as error:
                self._nodes.missed()
                log.error("bus: Redis does not answer (%s)", type(error).__name__)
                await asyncio.sleep(0.5)

    async def _more(self, key: str) -> list[bytes]:
        some: Any = await self._redis.lpop(key, _MANY)
        return some or []

    def _take(self, data: bytes) -> None:
        message = decode_bus(data)
        if message is None:
            return
        try:
            self._handle(message)
        except Exception as error:
            log.error("bus: defect %s in %s", type(error).__name__, type(message).__name__)
