"""Charges uses to whoever makes them. What is asked within one turn of the event loop goes to Redis in one command."""

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from signaling.limits.rules import Charge, Limit, charge
from signaling.limits.script import PREFIX, TAKE
from signaling.storage.redis import AnyRedis, run_script

log = logging.getLogger(__name__)

_KNOWN: Final = 20_000
"""Charges that are remembered, so that their keys are not hashed anew."""
_PATIENCE: Final = 1.0
"""Seconds that a request waits for its charge; when Redis does not answer, it goes on: limits must not be what keeps people from calling."""

_encode: Final = msgspec.msgpack.Encoder().encode


class Limits:
    """The limits of one service.

    Args:
        redis: live state.
        pepper: key of the hashes that stand in for devices, accounts and addresses; the same on every hub.
        scale: multiplies every limit.
    """

    def __init__(self, redis: AnyRedis, pepper: bytes, scale: float = 1.0) -> None:
        self._redis = redis
        self._pepper = hashlib.blake2b(pepper, person=b"kloudtalk limits").digest()
        self._scale = scale
        self._known: dict[tuple[str, str], Charge] = {}
        self._asked: list[tuple[Sequence[Charge], asyncio.Future[float]]] = []
        self._task: asyncio.Task[None] | None = None

    def charge(self, limit: Limit, who: str) -> Charge:
        """One use of what is limited, by a device, an account, an address (``gateway/origin.py``: ``limit_key``) or what else it counts by."""
        found = self._known.get((limit.name, who))
        if found is None:
            digest = hashlib.blake2b(f"{limit.name}:{who}".encode(), key=self._pepper, digest_size=12).hexdigest()
            found = charge(limit, f"{PREFIX}{limit.name}:{digest}", self._scale)
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[(limit.name, who)] = found
        return found

    async def take(self, *charges: Charge) -> float:
        """Charge all of them, or none. Returns 0, or the seconds until all will fit."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[float] = loop.create_future()
        self._asked.append((charges, done))
        if self._task is None:
            self._task = loop.create_task(self._run())
        return await done

    async def _run(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, []
            waits: list[float] = [0.0] * len(asked)
            try:
                async with asyncio.timeout(_PATIENCE):
                    lists = _encode([charges for charges, _ in asked])
                    answers: Any = await run_script(self._redis, TAKE, [PREFIX], [lists])
                waits = [seconds(answer) for answer in answers]
            except Exception as error:  # whatever it is: nobody may wait for ever
                log.error("limits: Redis does not answer (%s); %d requests are not counted", type(error).__name__, len(asked))
            for (_, done), wait in zip(asked, waits, strict=True):
                if not done.done():
                    done.set_result(wait)
        self._task = None


def seconds(answer: Any) -> float:
    """What ``over`` in ``script.py`` answered, as the seconds to wait."""
    return max(answer[1::2]) / 1e6 if answer else 0.0
