"""Registrations under way, and the limits on sending codes: Redis keys that expire by themselves.

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


class RegistrationStore:
    """Redis behind registrations. Raises ``redis.exceptions.RedisError`` when it does not answer."""

    def __init__(self, redis: AnyRedis, pepper: bytes) -> None:
        self._redis = redis
        self._pepper = pepper
        self._count = redis.register_script(_COUNT)

    def _key(self, kind: str, value: str) -> str:
        return f"{kind}:{hmac.digest(self._pepper, f'{kind}:{value}'.encode(), hashlib.sha256).hex()}"

    async def create(self, token: str, fields: Mapping[str, str]) -> None:
        """Keep a new registration for an hour."""
        key = self._key("registration", token)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(key, mapping=dict[Any, Any](fields))
            pipe.expire(key, REGISTRATION_LIFETIME)
            for handle in self.handles(fields["phone"], fields["email"]):
                pipe.sadd(handle, key)
                pipe.expire(handle, REGISTRATION_LIFETIME)
            await pipe.execute()

    def handles(self, phone: str, email: str) -> list[str]:
        """Under what a number's and an address's registrations can be found: keyed hashes, which name neither."""
        return [self._key("registrations", phone), self._key("registrations", email)]

    async def forget_all(self, handles: Iterable[str]) -> None:
        """Forget every registration that is under way for a number or an address (P23)."""
        for handle in handles:
            keys: Any = await self._redis.smembers(handle)
            await self._redis.delete(handle, *keys)

    async def load(self, token: str) -> dict[str, str]:
        """All fields; empty when there is no such registration."""
        stored: Any = await self._redis.hgetall(self._key("registration", token))
        return {k.decode(): v.decode() for k, v in stored.items()}

    async def update(self, token: str, fields: Mapping[str, str]) -> None:
        """Change fields of a registration that exists; nothing is revived that expired."""
        key = self._key("registration", token)
        if await self._redis.exists(key):
            await self._redis.hset(key, mapping=dict[Any, Any](fields))

    async def count_try(self, token: str, channel: str) -> int:
        """Count a try of a code before it is compared, so that parallel tries cannot exceed the limit."""
        return int(await self._redis.hincrby(self._key("registration", token), f"{channel}_tries", 1))

    async def delete(self, token: str) -> None:
        """Forget a registration."""
        key = self._key("registration", token)
        fields = await self.load(token)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(key)
            if "phone" in fields:
                for handle in self.handles(fields["phone"], fields["email"]):
                    pipe.srem(handle, key)
            await pipe.execute()

    async def count(self, kind: str, value: str) -> tuple[int, int]:
        """Count one use of a limited thing within an hour.

        Returns:
            (uses in this window with this one, seconds until the window ends).
        """
        used, left = await self._count(keys=[self._key(f"limit:{kind}", value)], args=[_WINDOW])
        return int(used), int(left)
