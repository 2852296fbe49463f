"""How calls are heard while they go on (P17): what devices count every ten seconds, of who has allowed it, for operators. Numbers only.

- ``heard:{CALL}:SIDE``: what the device at one side heard, a list of ``HeardSample``; the last ``KEPT`` are kept
- ``heard_by:ACCOUNT``: ``CALL SIDE`` of each such list that is an account's, so that it can be shown to its owner, and deleted
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from signaling.storage.redis import AnyRedis

KEPT: Final = 360
"""Samples of one side: those of the last hour."""
LEAST: Final = 3_600
"""Seconds that they are kept at least, after the last one, however short traces are kept: a call is looked at while it goes on."""


class HeardSample(Struct, frozen=True, array_like=True):
    """What one device heard within some seconds."""

    at: float
    """Seconds since 1970."""
    loss: float
    """Share of packets, 0 to 1."""
    jitter: float
    """Seconds."""
    rtt: float | None
    """Seconds, from one device to the other and back."""
    mos: float
    """Mean opinion score, 1 to 4.4."""


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(HeardSample)


class HeardSamples:
    """Raises ``redis.exceptions.RedisError`` or ``OSError`` when Redis does not answer.

    Args:
        kept: seconds for which operators can see an ended call.
    """

    def __init__(self, redis: AnyRedis, *, kept: int) -> None:
        self._redis = redis
        self._kept = max(LEAST, kept)

    async def add(self, account: str, call: str, side: int, sample: HeardSample) -> None:
        """Keep one."""
        key, index = _key(call, side), _index(account)
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.rpush(key, _encoder.encode(sample))
            pipe.ltrim(key, -KEPT, -1)
            pipe.expire(key, self._kept)
            pipe.sadd(index, f"{call} {side}")
            pipe.expire(index, self._kept)
            await pipe.execute()

    async def of_call(self, call: str) -> tuple[list[HeardSample], list[HeardSample]]:
        """What each side heard, oldest first."""
        one, other = await self._read([_key(call, 0), _key(call, 1)], KEPT)
        return one, other

    async def latest(self, calls: Sequence[str], many: int) -> dict[str, tuple[list[HeardSample], list[HeardSample]]]:
        """What each side of some calls heard lately."""
        found = await self._read([_key(call, side) for call in calls for side in (0, 1)], many)
        return {call: (found[2 * i], found[2 * i + 1]) for i, call in enumerate(calls)}

    async def of_account(self, account: str) -> dict[str, list[HeardSample]]:
        """All that an account's devices told, by call."""
        mine = await self._mine(account)
        found = await self._read([_key(call, side) for call, side in mine], KEPT)
        return {call: samples for (call, _), samples in zip(mine, found, strict=True) if samples}

    async def forget(self, account: str, call: str | None = None) -> None:
        """Delete what an account's devices told, of one call or of all."""
        mine = await self._mine(account)
        gone = [(of, side) for of, side in mine if call in (None, of)]
        for of, side in gone:
            await self._redis.unlink(_key(of, side))
        if call is None:
            await self._redis.unlink(_index(account))
        elif gone:
            await self._redis.srem(_index(account), *(f"{of} {side}" for of, side in gone))

    async def _mine(self, account: str) -> list[tuple[str, int]]:
        members: Any = await self._redis.smembers(_index(account))
        return [(call, int(side)) for call, _, side in (member.decode().partition(" ") for member in sorted(members))]

    async def _read(self, keys: Sequence[str], many: int) -> list[list[HeardSample]]:
        if not keys:
            return []
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.lrange(key, -many, -1)
            found: list[Any] = await pipe.execute()
        return [_decoded(items) for items in found]


def _key(call: str, side: int) -> str:
    return f"heard:{{{call}}}:{side}"


def _index(account: str) -> str:
    return f"heard_by:{account}"


def _decoded(items: Sequence[bytes]) -> list[HeardSample]:
    found = []
    for data in items:
        try:
            found.append(_decoder.decode(data))
        except msgspec.DecodeError:
            continue  # of another version of the hub
    return found
