"""Messages between hubs. Each hub has an inbox, a Redis list, that it empties many at a time; what it is sent within one tick of the event
loop travels in one command per hub. A list and not publish/subscribe, so that a hub that was away for a moment has lost nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import RedisError, ResponseError

from signaling.cluster.messages import BusMessage, Missed, PairChanged, Replaced, Resync, Text, decode_bus, encode_bus
from signaling.cluster.nodes import Nodes
from signaling.storage.redis import AnyRedis, run_script
from signaling.tasks import end_tasks

log = logging.getLogger(__name__)

LIFETIME: Final = 60
"""Seconds that an inbox nobody empties is kept: longer than a lease, so nothing is lost while its hub still counts as alive."""
_LIMIT: Final = 200_000
"""Messages in one inbox; when a hub falls that far behind they are dropped, and it is told to make up for them."""
_MANY: Final = 1_000
"""Messages taken at a time."""
_BLOCK: Final = 2.0
"""Seconds of one blocking wait; below the client's time-out."""
_FOR_DEVICES: Final = (Text, PairChanged, Replaced, Resync)
"""Notices without which a device would not know how its call stands."""
_RETRY: Final = 1.0
_KEEP: Final = 15.0
"""Seconds between tries to send them, and for which they are tried: after that, what they say is old."""


# KEYS: an inbox. ARGV: seconds that it is kept, how many messages it may hold, what is put in their place when there are more, then messages.
_PUSH: Final = """
for i = 4, #ARGV do redis.call('RPUSH', KEYS[1], ARGV[i]) end
if redis.call('LLEN', KEYS[1]) > tonumber(ARGV[2]) then
  redis.call('UNLINK', KEYS[1])
  redis.call('RPUSH', KEYS[1], ARGV[3])
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
"""


def inbox(node: str) -> str:
    """Redis key of a hub's inbox."""
    return f"inbox:{node}"


class Bus:
    """This hub's inbox and its way to the others'. ``handle`` gets each message; what it raises is logged and goes no further."""

    def __init__(self, redis: AnyRedis, nodes: Nodes, handle: Callable[[BusMessage], None]) -> None:
        self._redis = redis
        self._nodes = nodes
        self._handle = handle
        self._waiting: dict[str, list[tuple[bytes, bool]]] = {}
        self._failing: dict[str, float] = {}
        self._flushing: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        # BLMPOP came with Redis 7; in a cluster, the client would have to ask each time where its key stands
        self._one = isinstance(redis, RedisCluster)

    def start(self) -> None:
        """Begin to read the inbox."""
        self._reading = asyncio.get_running_loop().create_task(self._read())

    async def close(self) -> None:
        """Send what waits; stop reading."""
        if self._flushing is not None:
            flushing = self._flushing
            await asyncio.wait([flushing], timeout=2)
            await end_tasks(flushing)
        if self._reading is not None:
            await end_tasks(self._reading)

    def send(self, node: str, message: BusMessage) -> None:
        """Tell one hub. A hint: dropped when Redis does not answer, what is for a device after a while only."""
        self._waiting.setdefault(node, []).append((encode_bus(message), isinstance(message, _FOR_DEVICES)))
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

    async def deliver(self, node: str, message: BusMessage) -> None:
        """Tell one hub. Raises ``RedisError`` or ``OSError`` when that cannot be."""
        await self._push(node, [encode_bus(message)])

    async def leftover(self, node: str) -> list[BusMessage]:
        """Empty the inbox of a hub that is gone. Raises ``RedisError`` or ``OSError``."""
        found: list[BusMessage] = []
        while more := await self._more(inbox(node)):  # the hub that is gone reads no more
            found += [message for data in more if (message := decode_bus(data)) is not None]
        return found

    async def _flush(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, {}
                failed = False
                for node, messages in waiting.items():
                    try:
                        await self._push(node, [data for data, _ in messages])
                        self._failing.pop(node, None)
                    except (RedisError, OSError, TimeoutError) as error:
                        failed = True
                        self._keep(node, messages, error)
                if failed:
                    await asyncio.sleep(_RETRY)
        finally:
            self._flushing = None

    def _keep(self, node: str, messages: list[tuple[bytes, bool]], error: Exception) -> None:
        """What could not be sent is sent in a moment if it is for devices: the other hub has not noticed that it was told nothing."""
        now = asyncio.get_running_loop().time()
        kept = [one for one in messages if one[1]] if now - self._failing.setdefault(node, now) < _KEEP else []
        log.error(
            "bus: Redis does not answer (%s); %d notices dropped, %d wait",
            type(error).__name__,
            len(messages) - len(kept),
            len(kept),
        )
        if kept:
            self._waiting[node] = (kept + self._waiting.get(node, []))[-_LIMIT:]
        else:
            self._failing.pop(node, None)

    async def _push(self, node: str, messages: Iterable[bytes]) -> None:
        await run_script(self._redis, _PUSH, [inbox(node)], [LIFETIME, _LIMIT, encode_bus(Missed()), *messages])

    async def _read(self) -> None:
        key = inbox(self._nodes.node)
        while True:
            try:
                found: Any = await self._redis.blpop([key], timeout=_BLOCK) if self._one else await self._many(key)
                if found is None:
                    continue
                for data in [found[1]] if self._one else found[1]:
                    self._take(data)
                while self._one and (more := await self._more(key)):
                    for data in more:
                        self._take(data)
            except Exception as error:  # whatever it is: a hub that does not read what it is told is worse than none
                if not self._one and isinstance(error, ResponseError) and "unknown command" in str(error).lower():
                    self._one = True
                    continue
                if not isinstance(error, RedisError | OSError | TimeoutError):
                    log.error("bus: defect %s while reading", type(error).__name__)
                self._nodes.missed()
                log.error("bus: Redis does not answer (%s)", type(error).__name__)
                await asyncio.sleep(0.5)

    async def _many(self, key: str) -> Any:
        """Wait for messages, and take all there are, in one command."""
        return await self._redis.execute_command("BLMPOP", _BLOCK, 1, key, "LEFT", "COUNT", _MANY)

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
