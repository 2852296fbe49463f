"""Hints between hubs about presence: one Redis channel, which every hub listens to.

A hint says that something about an account changed, never what: the hub that hears it asks the stores. Hints come to each hub in one order, and
a connection that was lost is told, so a hub that may have missed some looks at everything again.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct
from redis.exceptions import RedisError

from signaling.storage.redis import AnyRedis
from signaling.tasks import end_tasks, steady

log = logging.getLogger(__name__)

CHANNEL: Final = "presence"
"""The Redis channel of hints."""
_BACKOFF: Final = 1.0


class Hint(Struct, frozen=True, array_like=True):
    """What changed."""

    status: Sequence[str] = ()
    """Accounts that came online, went offline, or were seen."""
    rules: Sequence[str] = ()
    """Accounts whose settings, blocks, address book or number changed, or which are gone."""


class Bus(Protocol):
    """Carries hints to every hub, the sender's own included, in one order."""

    async def publish(self, hint: Hint) -> None:
        """Tell every hub. Raises ``RedisError`` or ``OSError``."""

    async def start(self, heard: Callable[[Hint], None], lost: Callable[[], None]) -> None:
        """Listen from when this returns. ``lost`` is called when hints may have been missed, once they are heard again."""

    async def close(self) -> None:
        """Stop listening."""


class RedisBus:
    """``Bus`` over Redis pub/sub."""

    def __init__(self, redis: AnyRedis) -> None:
        self._redis = redis
        self._task: asyncio.Task[None] | None = None

    async def publish(self, hint: Hint) -> None:
        """Tell every hub."""
        await self._redis.publish(CHANNEL, msgspec.msgpack.encode(hint))

    async def start(self, heard: Callable[[Hint], None], lost: Callable[[], None]) -> None:
        """Subscribe, and listen in the background."""
        listening = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(
            steady("presence: hints", lambda: self._listen(heard, lost, listening), again=_BACKOFF)
        )
        await listening.wait()

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            await end_tasks(self._task)

    async def _listen(self, heard: Callable[[Hint], None], lost: Callable[[], None], listening: asyncio.Event) -> None:
        decoder = msgspec.msgpack.Decoder(Hint)
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(CHANNEL)
                    while True:
                        message: Any = await pubsub.get_message(timeout=None)
                        if message is None:
                            continue
                        if message["type"] == "subscribe":
                            if listening.is_set():
                                lost()
                            listening.set()
                        elif message["type"] == "message":
                            heard(decoder.decode(message["data"]))
            except (RedisError, OSError, msgspec.DecodeError) as error:
                log.error("presence: hints cannot be heard (%s)", type(error).__name__)
            await asyncio.sleep(_BACKOFF)
