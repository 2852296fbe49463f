"""Presence in Redis.

``presence:nodes`` holds each hub's lease by its node name; ``presence:at:NODE`` the accounts that are connected there; ``online:{ACCOUNT}`` the
nodes where an account is connected; ``last_seen:{ACCOUNT}`` its two last minutes. An account is online when a node of its set has a lease that
lasts. So a hub at rest sends one command every few seconds, however many are connected, and one that dies takes its accounts offline by itself.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from signaling.presence.rules import Seen
from signaling.storage.redis import AnyRedis

LEASE: Final = 15.0
"""Seconds that a node counts as alive after its last sign of life."""
LAST_SEEN_LIFETIME: Final = 90 * 86_400
"""Seconds after which last seen is forgotten."""
_NODES: Final = "presence:nodes"

# Redis's own clock decides, so hubs whose clocks differ agree. A lease that has run out is not renewed: others may have acted on it.
# KEYS: nodes; ARGV: node, milliseconds of a lease, 1 to begin one. Answers 1 when the lease holds, then nodes with milliseconds left, in pairs.
_BEAT: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local own = redis.call('ZSCORE', KEYS[1], ARGV[1])
local holds = 0
if ARGV[3] == '1' or (own and tonumber(own) > now) then
  redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
  holds = 1
end
local answer = {holds}
local all = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #all, 2 do
  answer[#answer + 1] = all[i]
  answer[#answer + 1] = tonumber(all[i + 1]) - now
end
return answer
"""


class PresenceStore:
    """Redis behind presence. Raises ``redis.exceptions.RedisError`` or ``OSError`` when it does not answer."""

    def __init__(self, redis: AnyRedis) -> None:
        self._redis = redis
        self._beat = redis.register_script(_BEAT)
        self._alive: dict[str, bool] = {}

    async def beat(self, node: str, *, begin: bool) -> tuple[bool, dict[str, float]]:
        """Renew a node's lease, or begin one.

        Returns:
            (whether the lease holds, seconds since the lease of each dead node ran out).
        """
        answer: Any = await self._beat(keys=[_NODES], args=[node, int(LEASE * 1000), int(begin)])
        left = {name.decode(): int(rest) / 1000 for name, rest in zip(answer[1::2], answer[2::2], strict=True)}
        self._alive = {name: rest > 0 for name, rest in left.items()}
        return bool(answer[0]), {name: -rest for name, rest in left.items() if rest <= 0}

    async def end(self, node: str) -> None:
        """A node has no accounts any more and is no more."""
        await self._redis.zrem(_NODES, node)

    async def join(self, node: str, accounts: Sequence[str]) -> None:
        """Accounts have a first socket at a node."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.sadd(f"presence:at:{node}", *accounts)
            for account in accounts:
                pipe.sadd(f"online:{{{account}}}", node)
            await pipe.execute()

    async def leave(self, node: str, accounts: Sequence[str]) -> None:
        """Accounts have no socket at a node any more."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for account in accounts:
                pipe.srem(f"online:{{{account}}}", node)
            # last: whoever cleans up after us finds the accounts here as long as they may be in a set above
            pipe.srem(f"presence:at:{node}", *accounts)
            await pipe.execute()

    async def at(self, node: str, limit: int) -> list[str]:
        """Some of the accounts that are connected at a node."""
        members: Any = await self._redis.srandmember(f"presence:at:{node}", limit)
        return [member.decode() for member in members]

    async def record(self, minutes: Mapping[str, int]) -> None:
        """Keep when accounts were last seen: whole minutes, in milliseconds since 1970."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for account, minute in minutes.items():
                key = f"last_seen:{{{account}}}"
                pipe.zadd(key, {str(minute): minute})
                pipe.zremrangebyrank(key, 0, -3)
                pipe.expire(key, LAST_SEEN_LIFETIME)
            await pipe.execute()

    async def forget(self, accounts: Collection[str]) -> None:
        """Delete when accounts were last seen."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for account in accounts:
                pipe.unlink(f"last_seen:{{{account}}}")
            if accounts:
                await pipe.execute()

    async def erase(self, account: str) -> None:
        """Delete everything of an account."""
        nodes: Any = await self._redis.zrange(_NODES, 0, -1)
        async with self._redis.pipeline(transaction=False) as pipe:
            for node in nodes:
                pipe.srem(f"presence:at:{node.decode()}", account)
            pipe.delete(f"online:{{{account}}}")
            pipe.delete(f"last_seen:{{{account}}}")
            await pipe.execute()

    async def recorded(self) -> list[str]:
        """Every account whose last seen is stored."""
        return [key.decode()[11:-1] async for key in self._redis.scan_iter(match="last_seen:{*}", count=500)]

    async def read(self, accounts: Iterable[str]) -> dict[str, Seen]:
        """Accounts as they are now."""
        wanted = list(accounts)
        async with self._redis.pipeline(transaction=False) as pipe:
            for account in wanted:
                pipe.smembers(f"online:{{{account}}}")
                pipe.zrange(f"last_seen:{{{account}}}", -2, -1)
            answers: list[Any] = await pipe.execute() if wanted else []
        nodes = [{node.decode() for node in members} for members in answers[::2]]
        if any(node not in self._alive for some in nodes for node in some):
            await self._look_for(set().union(*nodes))
        seen: dict[str, Seen] = {}
        for account, at, minutes in zip(wanted, nodes, answers[1::2], strict=True):
            times = [int(minute) for minute in minutes]
            online = any(self._alive[node] for node in at)
            seen[account] = Seen(online, times[-1] if times else None, times[0] if len(times) > 1 else None)
        return seen

    async def _look_for(self, nodes: set[str]) -> None:
        """Nodes newer than our last sign of life, or remnants of one that is gone: these never count as alive."""
        known: Any = await self._redis.zmscore(_NODES, sorted(nodes))
        for node, score in zip(sorted(nodes), known, strict=True):
            self._alive.setdefault(node, score is not None)
