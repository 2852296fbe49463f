"""Which hub a device is on. ``{hub}:routes:NODE`` is a hash of device to its account, and since when, that lives as long as its hub's lease:
a dead hub's routes vanish together, and a hub at rest pays for its lease only, not for its devices.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from signaling.cluster.nodes import LEASE, NODES, Nodes
from signaling.storage.gather import Gather
from signaling.storage.redis import AnyRedis, run_script

PREFIX: Final = "{hub}:routes:"
"""Redis keys: this and a node's id."""
NEWER: Final = "!"
"""What ``claim`` answers when another hub has a newer socket of the device."""
_BATCH: Final = 500

# KEYS: nodes; ARGV: this node, prefix, lease in ms, then, for each: operation ('+' or '-'), device, account, since when.
# '+' takes a device from whichever hub had it and answers that hub, or '!' when that one has a newer socket of it: a hub may be slow to claim
# for a client that has long gone elsewhere. '-' answers 0 if another hub has the device, else 1: also when this hub's own routes were lost.
_APPLY: Final = """
local me, prefix = ARGV[1], ARGV[2]
local own = prefix .. me
local others = {}
for _, node in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do if node ~= me then others[#others + 1] = node end end
local out = {}
for i = 4, #ARGV, 4 do
  local device, since = ARGV[i + 1], tonumber(ARGV[i + 3])
  if ARGV[i] == '+' then
    local before = ''
    for _, node in ipairs(others) do
      local there = redis.call('HGET', prefix .. node, device)
      if there and tonumber(string.match(there, '^%S+')) > since then
        before = '!'
      elseif there then
        redis.call('HDEL', prefix .. node, device)
        before = node
      end
    end
    if before ~= '!' then redis.call('HSET', own, device, ARGV[i + 3] .. ' ' .. ARGV[i + 2]) end
    out[#out + 1] = before
  else
    local gone = 1
    redis.call('HDEL', own, device)
    for _, node in ipairs(others) do if redis.call('HEXISTS', prefix .. node, device) == 1 then gone = 0 end end
    out[#out + 1] = gone
  end
end
redis.call('PEXPIRE', own, ARGV[3])
return out
"""

# KEYS: nodes; ARGV: prefix, devices. Answers the node of each device, or ''.
_LOCATE: Final = """
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1e6
local nodes = redis.call('ZRANGEBYSCORE', KEYS[1], string.format('%.6f', now), '+inf')
local out = {}
for i = 2, #ARGV do
  out[i - 1] = ''
  for _, node in ipairs(nodes) do
    if redis.call('HEXISTS', ARGV[1] .. node, ARGV[i]) == 1 then out[i - 1] = node end
  end
end
return out
"""


class _Operation(NamedTuple):
    take: bool
    device: str
    account: str
    since: float
    done: "asyncio.Future[str | bool]"


class Routes:
    """Claims and releases routes of this hub's devices, in the order they were asked for, many at a time."""

    def __init__(self, redis: AnyRedis, nodes: Nodes) -> None:
        self._redis = redis
        self._nodes = nodes
        self._queue: list[_Operation] = []
        self._found: Gather[str, str] = Gather(self._locate)
        self._task: asyncio.Task[None] | None = None

    async def claim(self, device: str, account: str, since: float) -> str:
        """The device is on this hub, since that time (seconds since 1970, by the hubs' common clock).

        Returns the hub that it was on, '' for none, or ``NEWER`` when another hub has a newer socket of it. Raises ``RedisError`` or
        ``OSError``.
        """
        return str(await self._put(True, device, account, since))

    async def release(self, device: str) -> bool:
        """The device left. False when another hub has it already. Raises ``RedisError`` or ``OSError``; to be asked again then, unless
        the device is back: one that is gone must not look connected for ever.
        """
        return bool(await self._put(False, device, "", 0.0))

    async def locate(self, devices: Iterable[str]) -> dict[str, str]:
        """Hubs of those of these devices that are connected. Raises ``RedisError`` or ``OSError``."""
        wanted = list(devices)
        if len(wanted) == 1:
            node = await self._found.get(wanted[0])  # an invite as a rule: many of them are looked up in one command
            return {} if node is None else {wanted[0]: node}
        return await self._locate(wanted) if wanted else {}

    async def _locate(self, wanted: list[str]) -> dict[str, str]:
        nodes: Any = await run_script(self._redis, _LOCATE, [NODES], [PREFIX, *wanted])
        return {device: node.decode() for device, node in zip(wanted, nodes, strict=True) if node}

    async def republish(self, devices: Mapping[str, tuple[str, float]]) -> None:
        """Claim every device that is here (device to account, and since when), after the store or the lease was lost."""
        for device, (account, since) in devices.items():
            self._put(True, device, account, since)
        if self._queue:
            last = self._queue[-1].done
            await asyncio.wait([last])

    async def close(self) -> None:
        """Finish what is queued."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=2)

    def _put(self, take: bool, device: str, account: str, since: float) -> "asyncio.Future[str | bool]":
        loop = asyncio.get_running_loop()
        done: asyncio.Future[str | bool] = loop.create_future()
        self._queue.append(_Operation(take, device, account, since, done))
        if self._task is None:
            self._task = loop.create_task(self._run())
        return done

    async def _run(self) -> None:
        try:
            while self._queue:
                some, self._queue = self._queue[:_BATCH], self._queue[_BATCH:]
                arguments: list[str | int] = [self._nodes.node, PREFIX, int(LEASE * 1000)]
                for operation in some:
                    arguments += ("+" if operation.take else "-", operation.device, operation.account, repr(operation.since))
                try:
                    answers: Any = await run_script(self._redis, _APPLY, [NODES], arguments)
                except Exception as error:  # whatever it is: nobody may wait for ever
                    for operation in some:
                        if not operation.done.done():
                            operation.done.set_exception(error)
                            operation.done.exception()  # whoever does not wait for it need not hear
                    continue
                for operation, answer in zip(some, answers, strict=True):
                    if not operation.done.done():
                        operation.done.set_result(answer.decode() if operation.take else bool(answer))
        finally:
            self._task = None
