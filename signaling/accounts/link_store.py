"""Device links under way: Redis keys that live for ten minutes."""

import hashlib
from typing import Any, Final

from redis.asyncio import Redis

LINK_LIFETIME: Final = 600
"""Seconds from opening a link until it is forgotten."""

# a link is claimed by one device only: state and claim change together, or not at all
_CLAIM: Final = """
if redis.call('HGET', KEYS[1], 'state') ~= 'waiting' then return 0 end
redis.call('HSET', KEYS[1], 'state', 'claimed', 'claim', ARGV[1], 'session', ARGV[2])
redis.call('SET', KEYS[2], ARGV[3], 'EX', redis.call('TTL', KEYS[1]))
return 1
"""

# the state moves from one to another by one request only
_MOVE: Final = """
if redis.call('HGET', KEYS[1], 'state') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'approval', ARGV[3])
return 1
"""


class LinkStore:
    """Redis behind links. Tokens are stored hashed."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._claim = redis.register_script(_CLAIM)
        self._move = redis.register_script(_MOVE)

    async def open(self, link: str, lookup: str, account: str, device: str) -> bool:
        """Open a link; False when the lookup code is taken at the moment."""
        if not await self._redis.set(f"link_lookup:{lookup}", link, nx=True, ex=LINK_LIFETIME):
            return False
        async with self._redis.pipeline(transaction=True) as pipe:
            fields: dict[Any, Any] = {"state": "waiting", "account": account, "device": device, "lookup": lookup}
            pipe.hset(f"link:{link}", mapping=fields)
            pipe.expire(f"link:{link}", LINK_LIFETIME)
            await pipe.execute()
        return True

    async def by_lookup(self, lookup: str) -> str | None:
        """The link that is shown with this code."""
        link: Any = await self._redis.get(f"link_lookup:{lookup}")
        return None if link is None else str(link.decode())

    async def load(self, link: str) -> tuple[dict[str, str], float]:
        """All fields and the seconds left; no fields when there is no such link."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(f"link:{link}")
            pipe.pttl(f"link:{link}")
            fields, left = await pipe.execute()
        return {k.decode(): v.decode() for k, v in fields.items()}, max(0.0, left / 1000)

    async def claim(self, link: str, claim: str, session_hash: str, token: str) -> bool:
        """Claim a link for a device; False when it is not waiting any more."""
        return bool(await self._claim(keys=[f"link:{link}", _claim_key(token)], args=[claim, session_hash, link]))

    async def by_claim(self, token: str) -> str | None:
        """The link that was claimed with this bearer token."""
        link: Any = await self._redis.get(_claim_key(token))
        return None if link is None else str(link.decode())

    async def move(self, link: str, before: str, after: str, approval: str = "") -> bool:
        """Change the state if it is ``before``."""
        return bool(await self._move(keys=[f"link:{link}"], args=[before, after, approval]))

    async def delete(self, link: str, lookup: str) -> None:
        """Forget a link."""
        await self._redis.delete(f"link:{link}", f"link_lookup:{lookup}")


def _claim_key(token: str) -> str:
    return f"link_claim:{hashlib.sha256(token.encode()).hexdigest()}"
