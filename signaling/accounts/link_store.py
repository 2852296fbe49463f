"""Device links under way: Redis keys that live for ten minutes. No script or transaction needs two keys of different hash slots."""

import hashlib
from collections.abc import Collection
from typing import Any, Final

from signaling.storage.redis import AnyRedis

LINK_LIFETIME: Final = 600
"""Seconds from opening a link until it is forgotten."""

APPROVING: Final = "approving"
"""State of a link whose new device is being written to SQL: approved once its row is there, else still claimed."""

# a link is claimed by one device only: state and claim change together, or not at all
_CLAIM: Final = """
if redis.call('HGET', KEYS[1], 'state') ~= 'waiting' then return -2 end
redis.call('HSET', KEYS[1], 'state', 'claimed', 'claim', ARGV[1], 'session', ARGV[2], 'claim_key', ARGV[3])
return redis.call('TTL', KEYS[1])
"""

# the state moves from one to another by one request only
_MOVE: Final = """
if redis.call('HGET', KEYS[1], 'state') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'state', ARGV[2])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'approval', ARGV[3]) end
return 1
"""


class LinkStore:
    """Redis behind links. Tokens are stored hashed."""

    def __init__(self, redis: AnyRedis) -> None:
        self._redis = redis
        self._claim = redis.register_script(_CLAIM)
        self._move = redis.register_script(_MOVE)

    async def open(self, link: str, lookup: str, account: str, device: str) -> bool:
        """Open a link; False when the lookup code is taken at the moment."""
        if not await self._redis.set(f"link_lookup:{lookup}", link, nx=True, ex=LINK_LIFETIME):
            return False
        # noted first: whatever happens next, the account's deletion finds it
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.sadd(f"links:{account}", link)
            pipe.expire(f"links:{account}", LINK_LIFETIME)
            await pipe.execute()
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
        key = _claim_key(token)
        await self._redis.set(key, link, ex=LINK_LIFETIME)
        left = int(await self._claim(keys=[f"link:{link}"], args=[claim, session_hash, key]))
        if left < 0:
            await self._redis.delete(key)
            return False
        await self._redis.expire(key, left)
        return True

    async def by_claim(self, token: str) -> str | None:
        """The link that was claimed with this bearer token."""
        link: Any = await self._redis.get(_claim_key(token))
        return None if link is None else str(link.decode())

    async def move(self, link: str, before: str, after: str, approval: str = "") -> bool:
        """Change the state if it is ``before``."""
        return bool(await self._move(keys=[f"link:{link}"], args=[before, after, approval]))

    async def delete(self, link: str, lookup: str) -> None:
        """Forget a link."""
        for key in (f"link:{link}", f"link_lookup:{lookup}"):
            await self._redis.delete(key)

    async def of_account(self, account: str) -> list[dict[str, str]]:
        """Every link that an account has opened and that has not expired; its id is the field ``link``."""
        links: Any = await self._redis.smembers(f"links:{account}")
        found = [(link.decode(), (await self.load(link.decode()))[0]) for link in sorted(links)]
        return [fields | {"link": link} for link, fields in found if fields]

    async def forget(self, account: str, opened_by: Collection[str] | None = None) -> None:
        """Forget the links that some devices of an account opened, or all of it, and who claimed them (P23)."""
        links: Any = await self._redis.smembers(f"links:{account}")
        for name in links:
            link = name.decode()
            fields, _ = await self.load(link)
            if fields and opened_by is not None and fields["device"] not in opened_by:
                continue
            if "claim_key" in fields:
                await self._redis.delete(fields["claim_key"])
            await self.delete(link, fields.get("lookup", ""))
            await self._redis.srem(f"links:{account}", link)


def _claim_key(token: str) -> str:
    return f"link_claim:{hashlib.sha256(token.encode()).hexdigest()}"
