"""Reads what is kept of ended calls (``calls/trace.py``), and forgets what is an account's (P23). Calls write it with the script that ends
them (``calls/store.py``): it costs no command of its own.

- ``{cN}:trace:CALL``: one trace
- ``{cN}:traces``: calls that have one, newest first
- ``{cN}:traces_of:PSEUDONYM``: those of one account, newest first
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from signaling.calls.trace import Trace, decode_trace
from signaling.storage.redis import AnyRedis

_CHUNK: Final = 200
"""Traces read at a time."""


class Traces:
    """Raises ``redis.exceptions.RedisError`` or ``OSError`` when Redis does not answer.

    Args:
        pseudonym: what stands for an account.
    """

    def __init__(self, redis: AnyRedis, *, pseudonym: Callable[[str], str], shards: int = 1) -> None:
        self._redis = redis
        self._pseudonym = pseudonym
        self._shards = shards

    async def find(self, call: str) -> Trace | None:
        """The trace of an ended call, if it is still kept."""
        for shard in range(self._shards):
            data: Any = await self._redis.get(f"{{c{shard}}}:trace:{call}")
            if data is not None:
                return _decoded(data)
        return None

    async def newest(self, limit: int, *, before: float | None = None) -> list[Trace]:
        """Traces of calls that ended last (before that time), newest first."""
        found: list[Trace] = []
        for shard in range(self._shards):
            found += await self._list(f"{{c{shard}}}:traces", shard, limit, before)
        return _newest(found, limit)

    async def of(self, pseudonym: str, limit: int = 10_000) -> list[Trace]:
        """An account's traces, newest first."""
        found: list[Trace] = []
        for shard in range(self._shards):
            found += await self._list(f"{{c{shard}}}:traces_of:{pseudonym}", shard, limit, None)
        return _newest(found, limit)

    async def known_to(self, account: str) -> list[Trace]:
        """An account's traces, without those of calls that it must not know of."""
        pseudonym = self._pseudonym(account)
        return [trace for trace in await self.of(pseudonym) if trace.told or trace.caller == pseudonym]

    async def forget(self, account: str) -> None:
        """An account is deleted: every trace that it is in goes."""
        pseudonym = self._pseudonym(account)
        for shard in range(self._shards):
            key = f"{{c{shard}}}:traces_of:{pseudonym}"
            calls: Any = await self._redis.lrange(key, 0, -1)
            for call in calls:
                await self._redis.unlink(f"{{c{shard}}}:trace:{call.decode()}")
                await self._redis.lrem(f"{{c{shard}}}:traces", 0, call)
            await self._redis.unlink(key)

    async def sweep(self) -> int:
        """Take calls whose trace has expired off the end of the lists; answers how many."""
        gone = 0
        for shard in range(self._shards):
            key = f"{{c{shard}}}:traces"
            while last := await self._range(key, -_CHUNK, -1):
                there = await self._get(shard, last)
                kept = next((i for i, data in enumerate(reversed(there)) if data is not None), len(there))
                if kept:
                    await self._redis.ltrim(key, 0, -1 - kept)
                gone += kept
                if kept < len(last):
                    break
        return gone

    async def _range(self, key: str, start: int, end: int) -> list[str]:
        members: Any = await self._redis.lrange(key, start, end)
        return [member.decode() for member in members]

    async def _get(self, shard: int, calls: list[str]) -> list[bytes | None]:
        # the keys of a shard have one hash tag: one command in a cluster, too
        found: Any = await self._redis.mget([f"{{c{shard}}}:trace:{call}" for call in calls])
        return list(found)

    async def _list(self, key: str, shard: int, limit: int, before: float | None) -> list[Trace]:
        found: list[Trace] = []
        start = 0
        while len(found) < limit and (some := await self._range(key, start, start + _CHUNK - 1)):
            traces = [_decoded(data) for data in await self._get(shard, some) if data is not None]
            found += [trace for trace in traces if trace is not None and (before is None or trace.ended_at < before)]
            start += _CHUNK
        return found


def _decoded(data: bytes) -> Trace | None:
    try:
        return decode_trace(data)
    except msgspec.DecodeError:
        return None  # of another version of the hub


def _newest(traces: list[Trace], limit: int) -> list[Trace]:
    return sorted(traces, key=lambda trace: trace.ended_at, reverse=True)[:limit]
