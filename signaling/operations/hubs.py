"""How much each hub has to do: it says so in Redis every few seconds, for the operators' page of whatever hub.

``hub_load:NODE`` is a ``HubLoad`` as JSON, with a lifetime of seconds.
"""

import asyncio
import logging
import os
import resource
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct
from redis.exceptions import RedisError

from signaling.storage.redis import AnyRedis
from signaling.tasks import end_tasks, steady

log = logging.getLogger(__name__)

EVERY: Final = 2.0
"""Seconds between two."""
_LIFETIME: Final = 10
"""Seconds that one is kept."""
_LOOK: Final = 0.25
"""Seconds between two looks at how late the event loop is."""


class HubLoad(Struct, frozen=True):
    """What a hub says of itself."""

    name: str
    """Machine and process."""
    version: str
    started_at: float
    """Seconds since 1970."""
    devices: int
    calls: dict[str, int]
    """Live calls that were placed here, by stage."""
    cpu: float
    """Share of one core."""
    lag: float
    """Seconds that the event loop was late at most."""
    memory: int
    """Bytes in RAM."""
    draining: bool = False


_decoder: Final = msgspec.json.Decoder(HubLoad)


class HubLoads:
    """Says how much this hub has to do, and reads what the others say.

    Args:
        node: id of this hub.
        devices: how many devices are connected here.
        calls: live calls that were placed here, by stage.
        draining: whether it is about to end.
    """

    def __init__(
        self,
        *,
        redis: AnyRedis,
        node: str,
        version: str,
        devices: Callable[[], int],
        calls: Callable[[], dict[str, int]],
        draining: Callable[[], bool],
    ) -> None:
        self._redis = redis
        self._node = node
        self._version = version
        self._devices = devices
        self._calls = calls
        self._draining = draining
        self._name = f"{socket.gethostname()} {os.getpid()}"
        self._started = time.time()
        self._looked = time.monotonic()
        self._cpu = _cpu_seconds()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to say so."""
        self._task = asyncio.get_running_loop().create_task(steady("hubs", self._run))

    async def close(self) -> None:
        """Stop; the others see at once that there is nothing to be seen any more."""
        if self._task is not None:
            await end_tasks(self._task)
        try:
            await self._redis.unlink(_key(self._node))
        except (RedisError, OSError, TimeoutError):
            log.warning("hubs: Redis does not answer; what this hub said of itself expires")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        lag = 0.0
        while True:
            try:
                await self.say(lag)
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("hubs: Redis does not answer (%s)", type(error).__name__)
            lag = 0.0
            for _ in range(round(EVERY / _LOOK)):
                due = loop.time() + _LOOK
                await asyncio.sleep(_LOOK)
                lag = max(lag, loop.time() - due)

    async def say(self, lag: float) -> None:
        """Say it now. Raises ``RedisError`` or ``OSError``."""
        now, cpu = time.monotonic(), _cpu_seconds()
        load = HubLoad(
            name=self._name,
            version=self._version,
            started_at=self._started,
            devices=self._devices(),
            calls=self._calls(),
            cpu=round((cpu - self._cpu) / max(0.001, now - self._looked), 3),
            lag=round(lag, 4),
            memory=_memory(),
            draining=self._draining(),
        )
        self._looked, self._cpu = now, cpu
        await self._redis.set(_key(self._node), msgspec.json.encode(load), ex=_LIFETIME)

    async def read(self, nodes: Iterable[str]) -> dict[str, HubLoad]:
        """What hubs say of themselves; those that say nothing are left out. Raises ``RedisError`` or ``OSError``."""
        wanted = sorted(nodes)
        async with self._redis.pipeline(transaction=False) as pipe:
            for node in wanted:
                pipe.get(_key(node))
            found: list[Any] = await pipe.execute()
        loads: dict[str, HubLoad] = {}
        for node, raw in zip(wanted, found, strict=True):
            if raw is not None:
                try:
                    loads[node] = _decoder.decode(raw)
                except msgspec.DecodeError:
                    continue  # a hub of another version
        return loads


def _key(node: str) -> str:
    return f"hub_load:{node}"


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _memory() -> int:
    """Resident set size in bytes; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0
