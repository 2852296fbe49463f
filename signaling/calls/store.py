"""Live calls in Redis, one record per pair of accounts, changed by compare-and-set. One script carries every change of one batch.

Keys lie in shards, ``{c0}:``, ``{c1}:`` and so on; the braces are a hash tag, so that all keys of a pair lie on one node of a cluster. On a
single server there is one shard, and a batch is one command whatever is in it; in a cluster, one per shard that it touches.

- ``{cN}:pair:KEY``: version and live calls (``calls/pair.py``); for a while after the last call ended, an empty one
- ``{cN}:sealed:CALL``: what was sealed for the devices in a call, and their certificates
- ``{cN}:calls``: pairs with live calls by their earliest deadline
- ``{cN}:calls_of:ACCOUNT``: pairs of an account that have live calls
- ``{cN}:call_history``: lines of ended calls on their way to SQL
- ``{cN}:trace:CALL``, ``{cN}:traces``, ``{cN}:traces_of:PSEUDONYM``: what is kept of ended calls for operators (``calls/traces.py``)

Everything expires, should every hub die.
"""

import asyncio
import itertools
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct
from redis.asyncio.cluster import RedisCluster

from signaling.calls.history import queue_key
from signaling.calls.machine import Call
from signaling.calls.pair import ABSENT, counter, decode_state
from signaling.cluster.bus import LIFETIME as INBOX_LIFETIME
from signaling.limits.rules import Charge
from signaling.limits.script import FUNCTIONS as LIMITS
from signaling.limits.script import PREFIX as LIMITS_PREFIX
from signaling.limits.script import TAKE
from signaling.storage.gather import Gather
from signaling.storage.redis import AnyRedis, run_script
from signaling.wire.certificate import DeviceCertificate

_LIFETIME: Final = 86_400
"""Seconds after its last change until a pair's keys expire; hubs touch those of longer calls."""
TOMBSTONE: Final = 600
"""Seconds that an empty record (no personal data: a version) stays after the last call: a hub that was cut off and has not heard of the end
cannot take the pair for lost."""
CLUSTER_SHARDS: Final = 16
"""Shards in a Redis Cluster: enough to spread over the nodes of any cluster that calls need, few enough to look through."""


_COUNTED: Final = 500
"""Pairs whose counters are asked for at a time."""
SEALED: Final = 1_024
"""Sealed payloads and certificates kept of one call for ``sync``: more than devices that behave send; what comes after those is passed on, and
not kept.
"""
TRACES: Final = 20_000
"""Traces of ended calls kept in a shard; the oldest go first, should there be more before their time is over."""
TRACES_OF: Final = 400
"""The same for one account in a shard."""


class SealedRecord(Struct, frozen=True, array_like=True, tag="s"):
    """A sealed payload: who sealed it, and for which device."""

    sender: str
    receiver: str
    payload: str


class CertificateRecord(Struct, frozen=True, array_like=True, tag="c"):
    """The certificate of a device in the call."""

    certificate: DeviceCertificate


Record = SealedRecord | CertificateRecord

_encoder: Final = msgspec.msgpack.Encoder()
_record: Final[msgspec.msgpack.Decoder[Record]] = msgspec.msgpack.Decoder(Record)


class Change(Struct, array_like=True):
    """What a batch does to one pair. It is done as a whole if the stored version is ``expected``, else nothing of it is.

    The script reads it as it stands: fields go to Redis in this order.
    """

    key: str
    expected: Raw
    state: Raw
    live: bool
    """Whether any call is live afterwards."""
    was_live: bool
    accounts: tuple[str, str]
    deadline: str
    """Seconds since 1970, or ``+inf``: as text, for Lua would round it."""
    cleared: list[str]
    """Calls whose sealed payloads go: they have ended, or a new connection begins."""
    records: list[str | Raw]
    """Call and what was sealed in it, in turns; after that was cleared."""
    history: list[Raw]
    outbox: list[tuple[str, Raw]] = []
    """Inbox of a hub, and the message for it."""
    traces: list[str | Raw] = []
    """Call, its trace, and the pseudonyms of caller and callee, in turns."""
    charges: list[Charge] = []
    """What the change costs those who asked for it; nothing is done, nor charged, when one of them does not fit."""


class Limited(Struct, frozen=True):
    """A change was not done, for some of its charges do not fit: their positions, and the seconds until they will."""

    waits: dict[int, float]


Outcome = bytes | Limited | None
"""Of a change: None when it was done, the stored state when that was another one (empty when nothing is stored)."""


LATE: Final = 12.0
"""Seconds after which a change that was asked for is not done any more: whoever asked has been told by then that it was not, and a network that was
broken may deliver it much later.
"""

# One script does a whole shard's part of a batch: atomic, and one command with one argument to build and one answer to read instead of some
# hundred. KEYS: any key of the shard. ARGV: shard prefix, whether the index of accounts is in this shard, the changes as MessagePack, seconds that
# traces are kept, and the time by this Redis's clock after which nothing is done ('' for never): 'late' is the answer then. Answers, for each change, '' when it was done, the stored state when the version was another one ('-' when nothing is stored), and a
# list, as that of `over`, when a limit is reached.
_COMMIT: Final = f"""
{LIMITS}
local prefix, indexed, out, now = ARGV[1], ARGV[2] == '1', {{}}, nil
if ARGV[5] ~= '' and microseconds() > tonumber(ARGV[5]) * 1e6 then return 'late' end
for n, change in ipairs(cmsgpack.unpack(ARGV[3])) do
  local id, expected, state, live, was, accounts, deadline, cleared, records, lines, outbox, traces, charges = unpack(change)
  local key = prefix .. 'pair:' .. id
  if redis.call('GETRANGE', key, 0, 15) ~= expected then
    out[n] = redis.call('GET', key) or '-'
  else
    if #charges > 0 then
      now = now or microseconds()
      out[n] = over(charges, now)
    end
  end
  if not out[n] then
    if live then
      redis.call('SET', key, state, 'EX', {_LIFETIME})
      redis.call('ZADD', prefix .. 'calls', deadline, id)
      if indexed and not was then
        for _, account in ipairs(accounts) do
          redis.call('SADD', prefix .. 'calls_of:' .. account, id)
          redis.call('EXPIRE', prefix .. 'calls_of:' .. account, {_LIFETIME})
        end
      end
    else
      redis.call('SET', key, state, 'EX', {TOMBSTONE})
      redis.call('ZREM', prefix .. 'calls', id)
      if indexed then
        redis.call('SREM', prefix .. 'calls_of:' .. accounts[1], id)
        redis.call('SREM', prefix .. 'calls_of:' .. accounts[2], id)
      end
    end
    for _, call in ipairs(cleared) do redis.call('UNLINK', prefix .. 'sealed:' .. call) end
    for i = 1, #records, 2 do
      local sealed = prefix .. 'sealed:' .. records[i]
      if redis.call('RPUSH', sealed, records[i + 1]) > {SEALED} then redis.call('RPOP', sealed) end
      redis.call('EXPIRE', sealed, {_LIFETIME})
    end
    for _, line in ipairs(lines) do redis.call('RPUSH', prefix .. 'call_history', line) end
    for i = 1, #traces, 4 do
      local call = traces[i]
      redis.call('SET', prefix .. 'trace:' .. call, traces[i + 1], 'EX', ARGV[4])
      if redis.call('LPUSH', prefix .. 'traces', call) > {TRACES} then redis.call('UNLINK', prefix .. 'trace:' .. redis.call('RPOP', prefix .. 'traces')) end
      for side = 2, 3 do
        local of = prefix .. 'traces_of:' .. traces[i + side]
        if redis.call('LPUSH', of, call) > {TRACES_OF} then redis.call('UNLINK', prefix .. 'trace:' .. redis.call('RPOP', of)) end
        redis.call('EXPIRE', of, ARGV[4])
      end
    end
    if indexed then
      for _, letter in ipairs(outbox) do
        redis.call('RPUSH', letter[1], letter[2])
        redis.call('EXPIRE', letter[1], {INBOX_LIFETIME})
      end
    end
    out[n] = ''
  end
end
return out
"""

# KEYS: any key of the shard. ARGV: prefix, then key, state, live, deadline, accounts. Stores what is newer than what is stored, or missing.
# Answers the state that is stored where that is the newer one, else ''.
_RESTORE: Final = f"""
local prefix, out = ARGV[1], {{}}
for i = 2, #ARGV, 6 do
  local key = prefix .. 'pair:' .. ARGV[i]
  local current = redis.call('GET', key)
  if not current or string.sub(current, 1, 8) < string.sub(ARGV[i + 1], 1, 8) then
    if ARGV[i + 2] == '1' then
      redis.call('SET', key, ARGV[i + 1], 'EX', {_LIFETIME})
      redis.call('ZADD', prefix .. 'calls', ARGV[i + 3], ARGV[i])
      if ARGV[i + 4] ~= '' then
        for side = 4, 5 do
          redis.call('SADD', prefix .. 'calls_of:' .. ARGV[i + side], ARGV[i])
          redis.call('EXPIRE', prefix .. 'calls_of:' .. ARGV[i + side], {_LIFETIME})
        end
      end
    else
      redis.call('SET', key, ARGV[i + 1], 'EX', {TOMBSTONE})
      redis.call('ZREM', prefix .. 'calls', ARGV[i])
      if ARGV[i + 4] ~= '' then
        redis.call('SREM', prefix .. 'calls_of:' .. ARGV[i + 4], ARGV[i])
        redis.call('SREM', prefix .. 'calls_of:' .. ARGV[i + 5], ARGV[i])
      end
    end
    out[#out + 1] = ''
  else
    out[#out + 1] = current
  end
end
return out
"""

# KEYS: any key of the shard. ARGV: prefix, then pairs. Answers 8 bytes for each, one after the other: the counter of its version, 0 where nothing is stored.
_COUNTERS: Final = """
local out = {}
for i = 2, #ARGV do
  local counter = redis.call('GETRANGE', ARGV[1] .. 'pair:' .. ARGV[i], 0, 7)
  out[i - 1] = counter == '' and string.rep('\\0', 8) or counter
end
return table.concat(out)
"""

# KEYS: any key of the shard. ARGV: prefix, then triples of pair, call and record: kept only while the pair is stored.
_APPEND: Final = f"""
local prefix = ARGV[1]
for i = 2, #ARGV, 3 do
  if redis.call('EXISTS', prefix .. 'pair:' .. ARGV[i]) == 1 then
    local sealed = prefix .. 'sealed:' .. ARGV[i + 1]
    if redis.call('RPUSH', sealed, ARGV[i + 2]) > {SEALED} then redis.call('RPOP', sealed) end
    redis.call('EXPIRE', sealed, {_LIFETIME})
  end
end
"""


class CallStore:
    """Redis behind calls. Raises ``redis.exceptions.RedisError`` or ``OSError`` when it does not answer.

    Args:
        redis: live state.
        trace_seconds: how long traces of ended calls are kept.
        clock: seconds since 1970 by Redis's clock; None: changes are done however late they arrive. So they are in a cluster, whose nodes have
            clocks of their own.
    """

    def __init__(self, redis: AnyRedis, *, trace_seconds: int = 86_400, clock: Callable[[], float] | None = None) -> None:
        self._redis = redis
        self._clock = clock
        self._trace_seconds = str(max(1, trace_seconds))
        self._cluster = isinstance(redis, RedisCluster)
        self.shards = CLUSTER_SHARDS if self._cluster else 1
        self._nonce = secrets.token_bytes(4)
        self._numbers = itertools.count(1)
        self._of: Gather[str, list[str]] = Gather(self._pairs_of)

    def nonce(self) -> bytes:
        """8 bytes for a version, never the same twice."""
        return self._nonce + (next(self._numbers) & 0xFFFF_FFFF).to_bytes(4, "big")

    async def commit(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        """Do a batch. Raises ``TimeoutError`` when it reached Redis too late, and nothing was done."""
        if not self._cluster:
            until = "" if self._clock is None else f"{self._clock() + LATE:.6f}"
            answers: Any = await run_script(
                self._redis, _COMMIT, ["{c0}:calls"], ["{c0}:", "1", _encoder.encode(changes), self._trace_seconds, until]
            )
            if answers == b"late":
                raise TimeoutError("the change came too late")
            return [_outcome(answer) for answer in answers]
        results = await self._charge(changes)
        # in a cluster, the index of accounts is written before (an entry too many does no harm) and cleared after
        for change, limited in zip(changes, results, strict=True):
            if limited is None and change.live and not change.was_live:
                for account in change.accounts:
                    await self._note(account, change.key)
        by_shard: dict[int, list[int]] = {}
        for position, change in enumerate(changes):
            if results[position] is None:
                by_shard.setdefault(self._shard(change.key), []).append(position)

        async def one(shard: int, positions: list[int]) -> list[tuple[int, Outcome]]:
            part = _encoder.encode([changes[position] for position in positions])
            answers = await run_script(
                self._redis, _COMMIT, [f"{{c{shard}}}:calls"], [f"{{c{shard}}}:", "0", part, self._trace_seconds, ""]
            )
            return [(position, _outcome(answer)) for position, answer in zip(positions, answers, strict=True)]

        for part in await asyncio.gather(*(one(*item) for item in by_shard.items())):
            for position, outcome in part:
                results[position] = outcome
        done = [change for change, outcome in zip(changes, results, strict=True) if outcome is None]
        for change in done:
            if not change.live:
                for account in change.accounts:
                    await self._redis.srem(self._of_account(account), change.key)
        for change in done:
            for key, message in change.outbox:
                await self._redis.rpush(key, bytes(message)[_HEAD:])
                await self._redis.expire(key, INBOX_LIFETIME)
        return results

    async def _charge(self, changes: Sequence[Change]) -> list[Outcome]:
        """In a cluster, limits are on one node, and are charged before; who is overtaken by another hub then pays twice."""
        results: list[Outcome] = [None] * len(changes)
        costly = [position for position, change in enumerate(changes) if change.charges]
        if costly:
            lists = _encoder.encode([changes[position].charges for position in costly])
            answers: Any = await run_script(self._redis, TAKE, [LIMITS_PREFIX], [lists])
            for position, answer in zip(costly, answers, strict=True):
                changes[position].charges = []
                results[position] = _outcome(answer)
        return results

    async def append(self, records: Iterable[tuple[str, str, Record]]) -> None:
        """Keep sealed payloads (pair, call, record) for ``sync``, without touching the state of their calls."""
        by_shard: dict[int, list[Any]] = {}
        for key, call, record in records:
            by_shard.setdefault(self._shard(key), []).extend((key, call, _encoder.encode(record)))
        for shard, arguments in by_shard.items():
            await run_script(self._redis, _APPEND, [f"{{c{shard}}}:calls"], [f"{{c{shard}}}:", *arguments])

    async def load(self, keys: Sequence[str]) -> list[tuple[bytes, dict[str, Call]]]:
        """Version and live calls of pairs."""
        if not keys:
            return []
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.get(self._pair(key))
            return [decode_state(state) for state in await pipe.execute()]

    async def counters(self, keys: Sequence[str]) -> list[int]:
        """How many changes led to what is stored of pairs; 0 where nothing is."""
        by_shard: dict[int, list[int]] = {}
        for position, key in enumerate(keys):
            by_shard.setdefault(self._shard(key), []).append(position)
        results = [0] * len(keys)
        for shard, positions in by_shard.items():
            for start in range(0, len(positions), _COUNTED):
                some = positions[start : start + _COUNTED]
                arguments = [f"{{c{shard}}}:", *(keys[position] for position in some)]
                answer: bytes = await run_script(self._redis, _COUNTERS, [f"{{c{shard}}}:calls"], arguments)
                for number, position in enumerate(some):
                    results[position] = counter(answer[8 * number : 8 * number + 8])
        return results

    async def sealed(self, key: str, call: str) -> list[Record]:
        """What was sealed in a call, in the order it came."""
        items: Any = await self._redis.lrange(f"{self._prefix(key)}sealed:{call}", 0, -1)
        return [_record.decode(item) for item in items]

    async def pairs_of(self, account: str) -> list[str]:
        """Pairs of an account that may have live calls."""
        return await self._of.get(account) or []

    async def _pairs_of(self, accounts: list[str]) -> dict[str, list[str]]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for account in accounts:
                pipe.smembers(self._of_account(account))
            answers: Any = await pipe.execute()
        return {account: sorted(member.decode() for member in members) for account, members in zip(accounts, answers, strict=True)}

    async def due(self, now: float, limit: int) -> list[str]:
        """Pairs with a call whose deadline was before ``now``."""
        found: list[str] = []
        for shard in range(self.shards):
            some: Any = await self._redis.zrangebyscore(f"{{c{shard}}}:calls", "-inf", now, start=0, num=limit)
            found += [member.decode() for member in some]
        return found

    async def first(self, limit: int) -> tuple[int, list[str]]:
        """How many pairs have live calls, and ``limit`` of them, those with the earliest deadline first."""
        total, found = 0, list[str]()
        for shard in range(self.shards):
            key = f"{{c{shard}}}:calls"
            total += await self._redis.zcard(key)
            if len(found) < limit:
                some: Any = await self._redis.zrange(key, 0, limit - len(found) - 1)
                found += [member.decode() for member in some]
        return total, found

    async def every(self) -> list[str]:
        """Every pair with live calls. Index entries of pairs that have expired are removed on the way."""
        found: list[str] = []
        for shard in range(self.shards):
            members: Any = await self._redis.zrange(f"{{c{shard}}}:calls", 0, -1)
            found += [member.decode() for member in members]
        return found

    async def drop(self, key: str) -> None:
        """Remove a pair that is gone from the index of deadlines."""
        await self._redis.zrem(f"{self._prefix(key)}calls", key)

    async def touch(self, pairs: Iterable[tuple[str, Iterable[str], Iterable[str]]]) -> None:
        """Keep pairs (key, accounts, calls), and what was sealed in their calls, for another lifetime."""
        for key, accounts, calls in pairs:
            await self._redis.expire(self._pair(key), _LIFETIME)
            for account in accounts:
                await self._redis.expire(self._of_account(account), _LIFETIME)
            for call in calls:
                await self._redis.expire(f"{self._prefix(key)}sealed:{call}", _LIFETIME)

    async def restore(self, states: Sequence[tuple[str, tuple[str, str], bytes, float | None]]) -> list[bytes | None]:
        """Put back what the store lost: (pair, accounts, state, deadline). Where it has something newer, that is returned."""
        by_shard: dict[int, list[int]] = {}
        for position, (key, *_) in enumerate(states):
            by_shard.setdefault(self._shard(key), []).append(position)
        results: list[bytes | None] = [None] * len(states)
        for shard, positions in by_shard.items():
            arguments: list[Any] = [f"{{c{shard}}}:"]
            for position in positions:
                key, accounts, state, deadline = states[position]
                live = bool(decode_state(state)[1])
                arguments += (key, state, "1" if live else "0", "+inf" if deadline is None else deadline)
                arguments += ("", "") if self._cluster else accounts
                if self._cluster and live:
                    for account in accounts:
                        await self._note(account, key)
            answers: Any = await run_script(self._redis, _RESTORE, [f"{{c{shard}}}:calls"], arguments)
            for position, answer in zip(positions, answers, strict=True):
                results[position] = answer or None
        return results

    async def _note(self, account: str, key: str) -> None:
        """In a cluster: a pair of an account has a live call."""
        await self._redis.sadd(self._of_account(account), key)
        await self._redis.expire(self._of_account(account), _LIFETIME)

    def _shard(self, name: str) -> int:
        return 0 if self.shards == 1 else int.from_bytes(name.encode()[-2:], "big") % self.shards

    def _prefix(self, name: str) -> str:
        return f"{{c{self._shard(name)}}}:"

    def _of_account(self, account: str) -> str:
        return f"{self._prefix(account)}calls_of:{account}"

    def _pair(self, key: str) -> str:
        return f"{self._prefix(key)}pair:{key}"

    def queues(self) -> list[str]:
        """Redis lists of history lines."""
        return [queue_key(shard) for shard in range(self.shards)]


def binary(data: bytes) -> Raw:
    """Bytes for a script: as a MessagePack string, for Redis's ``cmsgpack`` does not know the type of bytes."""
    return Raw(b"\xdb" + len(data).to_bytes(4, "big") + data)


_HEAD: Final = 5
"""Bytes of ``binary`` before the data."""


def encode_record(record: Record) -> Raw:
    """What was sealed in a call, as it is stored."""
    return binary(_encoder.encode(record))


def _outcome(answer: Any) -> Outcome:
    if answer == b"":
        return None
    if isinstance(answer, list):
        return Limited({answer[i]: answer[i + 1] / 1e6 for i in range(0, len(answer), 2)})
    return ABSENT if answer == b"-" else bytes(answer)
