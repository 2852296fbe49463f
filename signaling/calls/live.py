"""What goes on now, read from Redis by who does not run calls: for the export of an account."""

from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from signaling.calls.machine import Call
from signaling.calls.store import INDEX

_call: Final = msgspec.msgpack.Decoder(Call)
_SOME: Final = 500


async def live_calls_of(redis: Redis, account: str) -> list[Call]:
    """Live calls that an account takes part in, or is offered. Raises ``RedisError``."""
    ids: Any = await redis.zrange(INDEX, 0, -1)
    found: list[Call] = []
    for start in range(0, len(ids), _SOME):
        async with redis.pipeline(transaction=False) as pipe:
            for call_id in ids[start : start + _SOME]:
                pipe.get(f"call:{{{call_id.decode()}}}")
            states = await pipe.execute()
        for call in (_call.decode(state) for state in states if state is not None):
            if call.caller == account or (call.callee == account and not call.hidden):
                found.append(call)
    return found


async def prune_index(redis: Redis) -> int:
    """Take calls that have expired out of the index of live calls; answers how many. Raises ``RedisError``."""
    ids: Any = await redis.zrange(INDEX, 0, -1)
    gone = 0
    for start in range(0, len(ids), _SOME):
        some = ids[start : start + _SOME]
        async with redis.pipeline(transaction=False) as pipe:
            for call_id in some:
                pipe.exists(f"call:{{{call_id.decode()}}}")
            exists = await pipe.execute()
        expired = [call_id for call_id, there in zip(some, exists, strict=True) if not there]
        if expired:
            gone += await redis.zrem(INDEX, *expired)
    return gone
