"""The hubs that are alive: each holds a lease in Redis, renewed on a timer, whatever the number of its connections.

``{hub}:nodes`` is a sorted set of node ids by the end of their lease, in seconds of Redis's clock: hubs need not agree about the time.
A hub whose lease ran out (it was stopped, or cut off from Redis) learns so at its next renewal and makes up for what it missed.
"""

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from redis.exceptions import RedisError

from signaling.storage.redis import AnyRedis, run_script
from signaling.tasks import end_tasks, steady

log = logging.getLogger(__name__)

NODES: Final = "{hub}:nodes"
"""Redis key: node ids by the end of their lease."""
LEASE: Final = 10.0
"""Seconds until a hub that renews no more counts as dead. Far below the 30 s after which nobody may still look online because of it."""
GRACE: Final = 5.0
"""Seconds that hubs whose lease ran out have to take it again before they are buried: when Redis was away, everyone's ran out."""
_LINGER: Final = 30.0
"""Seconds for which a hub that was there is reckoned with."""
RENEWAL: Final = 2.0
"""Seconds between renewals: several may fail before the lease is lost."""

# KEYS: nodes; ARGV: this node, lease, key prefix of routes. Answers the time, whether the lease had been held, who lives, who died.
# Whoever removes a dead node from the set is the one that cleans up after it.
_RENEW: Final = """
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1e6
local held = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], string.format('%.6f', now + tonumber(ARGV[2])), ARGV[1])
redis.call('PEXPIRE', ARGV[3] .. ARGV[1], math.floor(tonumber(ARGV[2]) * 1000))
local dead = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.6f', now))
if #dead > 0 then redis.call('ZREM', KEYS[1], unpack(dead)) end
return {string.format('%.6f', now), (held and tonumber(held) >= now) and 1 or 0, redis.call('ZRANGE', KEYS[1], 0, -1), dead}
"""


def new_node_id() -> str:
    """A name for this run of this hub: never used again."""
    return secrets.token_hex(8)


class Nodes:
    """This hub's lease, and the others.

    Args:
        on_gap: called after the lease was lost and taken again, or Redis was away, with the seconds since the last renewal that
            went well: for so long notices may have been missed.
        on_death: called with the ids of hubs that this one has to clean up after.
    """

    def __init__(
        self,
        redis: AnyRedis,
        *,
        node: str,
        routes_prefix: str,
        on_gap: Callable[[float], Awaitable[None]],
        on_death: Callable[[list[str]], Awaitable[None]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.node = node
        self.others: frozenset[str] = frozenset()
        """Ids of the other hubs that are alive, as of the last renewal."""
        self._last_others = -math.inf
        self._redis = redis
        self._prefix = routes_prefix
        self._on_gap = on_gap
        self._on_death = on_death
        self._monotonic = monotonic
        self._offset: float | None = None
        self._gap = False
        self._renewed = monotonic()
        self._cares: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def time(self) -> float:
        """Seconds since 1970 by Redis's clock, the same for all hubs; a jump of this machine's clock does not move it."""
        return time.time() if self._offset is None else self._offset + self._monotonic()

    @property
    def alone(self) -> bool:
        """Whether there is no other hub, and was none a moment ago."""
        return not self.others and self._monotonic() - self._last_others > _LINGER

    def joined(self, node: str) -> None:
        """Another hub says that it has started."""
        self.others |= {node}
        self._last_others = self._monotonic()

    def missed(self) -> None:
        """The connection to Redis broke: look, at the next renewal, for what was missed."""
        self._gap = True

    async def start(self) -> None:
        """Take the lease. Raises ``RedisError`` or ``OSError`` when Redis does not answer."""
        self._bury(await self._renew(first=True))
        self._task = asyncio.get_running_loop().create_task(steady("cluster: lease", self._run))

    async def abandon(self) -> None:
        """Stop renewing, without a word, as a hub that dies does. For tests of what the others do then."""
        await self._stop()

    async def _stop(self) -> None:
        tasks = [*self._cares, *([] if self._task is None else [self._task])]
        await end_tasks(*tasks)

    async def close(self) -> None:
        """Give the lease back: the others see at once that this hub is gone."""
        await self._stop()
        try:
            await self._redis.zrem(NODES, self.node)
            await self._redis.unlink(self._prefix + self.node)
        except (RedisError, OSError):
            log.warning("cluster: Redis does not answer; this hub's lease runs out by itself")

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(RENEWAL)
            try:
                dead = await self._renew(first=False)
            except (RedisError, OSError, TimeoutError) as error:
                self._gap = True
                log.error("cluster: Redis does not answer (%s)", type(error).__name__)
                continue
            now = self._monotonic()
            if not self._gap:
                self._renewed = now
            elif not self._cares:  # else it is being made up for already
                self._gap = False
                self._care(self._recover(now))
            self._bury(dead)

    def _care(self, work: Coroutine[Any, Any, None]) -> None:
        # beside the renewals, which must go on meanwhile
        task = asyncio.get_running_loop().create_task(work)
        self._cares.add(task)
        task.add_done_callback(self._cares.discard)

    async def _recover(self, now: float) -> None:
        try:
            await self._on_gap(now - self._renewed)
            self._renewed = now
        except Exception as error:
            self._gap = True  # again at the next renewal
            log.error("cluster: what was missed could not be made up for (%s)", type(error).__name__)

    def _bury(self, dead: list[str]) -> None:
        if dead:
            self._care(self._after_death(dead))

    async def _after_death(self, dead: list[str]) -> None:
        await asyncio.sleep(GRACE)
        gone = [node for node in dead if node not in self.others]
        if not gone:
            return
        log.warning("cluster: %d hubs are gone", len(gone))
        while True:
            try:
                await self._on_death(gone)
                return
            except Exception as error:
                log.error("cluster: cleaning up after a hub failed (%s); trying again", type(error).__name__)
                await asyncio.sleep(RENEWAL)

    async def _renew(self, *, first: bool) -> list[str]:
        asked = self._monotonic()
        answer: Any = await run_script(self._redis, _RENEW, [NODES], [self.node, LEASE, self._prefix])
        answered = self._monotonic()
        # half of the way there and back: a paused process must not take the pause for an offset
        if self._offset is None or answered - asked < 1.0:
            self._offset = float(answer[0]) - (asked + answered) / 2
        if not first and not answer[1]:
            self._gap = True
        self.others = frozenset(node.decode() for node in answer[2]) - {self.node}
        if self.others:
            self._last_others = answered
        return [node.decode() for node in answer[3] if node.decode() != self.node]
