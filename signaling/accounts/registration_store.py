"""Registrations under way, and the limits on sending codes: Redis keys that expire by themselves. No script or transaction needs two keys of
different hash slots.

Keys hold no number and no address: they are HMACs under the server's pepper. A registration's fields do hold both, for an hour.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Any, Final

from signaling.accounts.rules import REGISTRATION_LIFETIME
from signaling.storage.redis import AnyRedis

_WINDOW: Final = 3600
"""Seconds of the window that limits count in."""

# counts and sets the life of the counter in one step; answers (count, seconds left)
_COUNT: Final = """
local n = redis.call('INCRBY', KEYS[1], 1)
if n == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return {n, redis.call('TTL', KEYS[1])}
"""

# a late write revives nothing that has expired: it would stay for ever
_CHANGE: Final = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
"""
_COUNT_TRY: Final = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
return redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
"""


class RegistrationStore:
    """Redis behind registrations. Raises ``redis.exceptions.RedisError`` when it does not answer."""

    def __init__(self, redis: AnyRedis, pepper: bytes) -> None:
        self._redis = redis
        self._pepper = pepper
        self._count = redis.register_script(_COUNT)
        self._change = redis.register_script(_CHANGE)
        self._count_try = redis.register_script(_COUNT_TRY)

    def _key(self, kind: str, value: str) -> str:
        return f"{kind}:{hmac.digest(self._pepper, f'{kind}:{value}'.encode(), hashlib.sha256).hex()}"

    async def create(self, token: str, fields: Mapping[str, str]) -> None:
        """Keep a new registration for an hour."""
        key = self._key("registration", token)
        # noted first: whatever happens next, the account's deletion finds it
        for handle in self.handles(fields["phone"], fields["email"]):
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.sadd(handle, key)
                pipe.expire(handle, REGISTRATION_LIFETIME)
                await pipe.execute()
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(key, mapping=dict[Any, Any](fields))
            pipe.expire(key, REGISTRATION_LIFETIME)
            await pipe.execute()

    def handles(self, phone: str, email: str) -> list[str]:
        """Under what a number's and an address's registrations can be found: keyed hashes, which name neither."""
        return [self._key("registrations", phone), self._key("registrations", email)]

    async def forget_all(self, handles: Iterable[str]) -> None:
        """Forget every registration that is under way for a number or an address (P23), whatever else it is known under."""
        for handle in handles:
            keys: Any = await self._redis.smembers(handle)
            for key in keys:
                await self._forget(key.decode())
            await self._redis.delete(handle)

    async def load(self, token: str) -> dict[str, str]:
        """All fields; empty when there is no such registration."""
        return await self._load(self._key("registration", token))

    async def update(self, token: str, fields: Mapping[str, str]) -> bool:
        """Change fields of a registration that exists. False when it has expired."""
        pairs = [text for pair in fields.items() for text in pair]
        return bool(await self._change(keys=[self._key("registration", token)], args=pairs))

    async def count_try(self, token: str, channel: str) -> int:
        """Count a try of a code before it is compared, so that parallel tries cannot exceed the limit. 0 when the registration has expired."""
        return int(await self._count_try(keys=[self._key("registration", token)], args=[f"{channel}_tries"]))

    async def delete(self, token: str) -> None:
        """Forget a registration."""
        await self._forget(self._key("registration", token))

    async def _load(self, key: str) -> dict[str, str]:
        stored: Any = await self._redis.hgetall(key)
        return {k.decode(): v.decode() for k, v in stored.items()}

    async def _forget(self, key: str) -> None:
        fields = await self._load(key)
        await self._redis.delete(key)
        if "phone" in fields:
            for handle in self.handles(fields["phone"], fields["email"]):
                await self._redis.srem(handle, key)

    async def count(self, kind: str, value: str) -> tuple[int, int]:
        """Count one use of a limited thing within an hour.

        Returns:
            (uses in this window with this one, seconds until the window ends).
        """
        used, left = await self._count(keys=[self._key(f"limit:{kind}", value)], args=[_WINDOW])
        return int(used), int(left)
