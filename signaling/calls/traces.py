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
from signaling.wire.messages import Reason

_CHUNK: Final = 200
"""Traces read at a time."""
_ALL: Final = 1_000_000


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

    async def newest(
        self, limit: int, *, before: float | None = None, reason: Reason | None = None, pseudonym: str | None = None
    ) -> list[Trace]:
        """Traces of calls that ended last, newest first: before a time, for one reason, of one account, if these are given."""
        found: list[Trace] = []
        for shard in range(self._shards):
            key = f"{{c{shard}}}:traces" if pseudonym is None else f"{{c{shard}}}:traces_of:{pseudonym}"
            found += await self._list(key, shard, limit, before, reason)
        return sorted(found, key=lambda trace: trace.ended_at, reverse=True)[:limit]

    async def known_to(self, account: str) -> list[Trace]:
        """An account's traces, without those of calls that it must not know of."""
        pseudonym = self._pseudonym(account)
        return [trace for trace in await self.newest(_ALL, pseudonym=pseudonym) if trace.told or trace.caller == pseudonym]

    async def forget(self, account: str) -> list[str]:
        """An account is deleted: every trace that it is in goes. Answers their calls."""
        pseudonym = self._pseudonym(account)
        gone: list[str] = []
        for shard in range(self._shards):
            key = f"{{c{shard}}}:traces_of:{pseudonym}"
            calls: Any = await self._redis.lrange(key, 0, -1)
            for call in calls:
                await self._redis.unlink(f"{{c{shard}}}:trace:{call.decode()}")
                await self._redis.lrem(f"{{c{shard}}}:traces", 0, call)
                gone.append(call.decode())
            await self._redis.unlink(key)
        return gone

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

    async def _list(self, key: str, shard: int, limit: int, before: float | None, reason: Reason | None) -> list[Trace]:
        found: list[Trace] = []
        start = 0
        while len(found) < limit and (some := await self._range(key, start, start + _CHUNK - 1)):
            traces = [_decoded(data) for data in await self._get(shard, some) if data is not None]
            found += [
                trace
                for trace in traces
                if trace is not None and (before is None or trace.ended_at < before) and reason in (None, trace.reason)
            ]
            start += _CHUNK
        return found


def _decoded(data: bytes) -> Trace | None:
    try:
        return decode_trace(data)
    except msgspec.DecodeError:
        return None  # of another version of the hub
