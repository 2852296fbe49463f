"""Live calls in Redis. One transaction carries every change of one batch of events.

``call:{ID}`` holds the state, ``sealed:{ID}`` what was sealed for the devices in it, ``calls`` the ids by deadline. The braces are a
hash tag: all keys of one call lie on one node of a cluster. Everything expires, should every hub die.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct
from redis.asyncio import Redis

from signaling.calls.history import QUEUE, Line
from signaling.calls.machine import Call
from signaling.wire.certificate import DeviceCertificate

_LIFETIME: Final = 86_400
"""Seconds after its last change until a call's keys expire: longer than any call goes without one, but for connected ones, which the hub
touches."""

INDEX: Final = "calls"
"""Sorted set: ids of live calls by deadline; calls without one have the score infinity."""


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
_call: Final = msgspec.msgpack.Decoder(Call)
_record: Final[msgspec.msgpack.Decoder[Record]] = msgspec.msgpack.Decoder(Record)


# A batch is one script: atomic as a transaction, and one command to build and one answer to read instead of some hundred, which is most
# of what a batch costs the hub. ARGV: lifetime; number of calls, then id, deadline, state of each; number of calls with new records, then id,
# number of records, records of each; number of ended calls, then their ids; history lines.
_COMMIT: Final = f"""
local lifetime, at = ARGV[1], 2
local function take() at = at + 1; return ARGV[at - 1] end
for _ = 1, take() do
  local id, deadline, state = take(), take(), take()
  redis.call('SET', 'call:{{' .. id .. '}}', state, 'EX', lifetime)
  redis.call('ZADD', '{INDEX}', deadline, id)
end
for _ = 1, take() do
  local key = 'sealed:{{' .. take() .. '}}'
  for _ = 1, take() do redis.call('RPUSH', key, take()) end
  redis.call('EXPIRE', key, lifetime)
end
for _ = 1, take() do
  local id = take()
  redis.call('UNLINK', 'call:{{' .. id .. '}}', 'sealed:{{' .. id .. '}}')
  redis.call('ZREM', '{INDEX}', id)
end
while at <= #ARGV do redis.call('RPUSH', '{QUEUE}', take()) end
"""


class CallStore:
    """Redis behind calls. Raises ``redis.exceptions.RedisError`` or ``OSError`` when it does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._commit = redis.register_script(_COMMIT)

    async def commit(
        self, changed: Iterable[Call], ended: Iterable[str], records: Mapping[str, list[Record]], history: list[Line]
    ) -> None:
        """Write a batch: all of it, or none."""
        encode = _encoder.encode
        calls: list[Any] = []
        for call in changed:
            calls += (call.id, "+inf" if call.deadline is None else call.deadline, encode(call))
        sealed: list[Any] = []
        for call_id, added in records.items():
            sealed += (call_id, len(added), *map(encode, added))
        gone = list(ended)
        lines = [encode(line) for line in history]
        await self._commit(args=[_LIFETIME, len(calls) // 3, *calls, len(records), *sealed, len(gone), *gone, *lines])

    async def load(self) -> list[tuple[Call, list[Record]]]:
        """Every live call, for a hub that starts. Entries of the index whose call has expired are removed."""
        ids: Any = await self._redis.zrange(INDEX, 0, -1)
        found: list[tuple[Call, list[Record]]] = []
        for start in range(0, len(ids), 200):
            some = [i.decode() for i in ids[start : start + 200]]
            async with self._redis.pipeline(transaction=False) as pipe:
                for call_id in some:
                    pipe.get(f"call:{{{call_id}}}")
                    pipe.lrange(f"sealed:{{{call_id}}}", 0, -1)
                answers = await pipe.execute()
            for call_id, state, sealed in zip(some, answers[::2], answers[1::2], strict=True):
                if state is None:
                    await self._redis.zrem(INDEX, call_id)
                else:
                    found.append((_call.decode(state), [_record.decode(item) for item in sealed]))
        return found
