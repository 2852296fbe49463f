"""Address books in the live Redis that keeps nothing on disk (P07).

``book:{account}`` is a hash of discovery token to ciphertext; ``holders:{token}`` the accounts whose book holds the token, so that a
later joiner is found (P08). Neither holds a name or a number that the server could read.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final

from redis.asyncio import Redis

from signaling.storage.gather import Gather
from signaling.storage.scrub import scrub_memory

# Everything of one change is one script: it is atomic, costs one round trip, and two uploads at once cannot pass the limit together.
# KEYS: book; ARGV: account, limit, reset, number of removals, removals…, then pairs of token and entry
_CHANGE: Final = """
local book, account, limit = KEYS[1], ARGV[1], tonumber(ARGV[2])
local removals = tonumber(ARGV[4])
local size = redis.call('HLEN', book)
if ARGV[3] == '1' then size = 0 end
local fresh = 0
local removed = {}
for i = 5, 4 + removals do removed[ARGV[i]] = true end
for i = 5 + removals, #ARGV, 2 do
  if ARGV[3] == '1' or removed[ARGV[i]] or redis.call('HEXISTS', book, ARGV[i]) == 0 then fresh = fresh + 1 end
end
local gone = 0
if ARGV[3] ~= '1' then for token in pairs(removed) do gone = gone + redis.call('HEXISTS', book, token) end end
if size - gone + fresh > limit and fresh > 0 then return -1 end
if ARGV[3] == '1' then
  for _, token in ipairs(redis.call('HKEYS', book)) do redis.call('SREM', 'holders:' .. token, account) end
  redis.call('DEL', book)
end
for token in pairs(removed) do
  redis.call('HDEL', book, token)
  redis.call('SREM', 'holders:' .. token, account)
end
for i = 5 + removals, #ARGV, 2 do
  redis.call('HSET', book, ARGV[i], ARGV[i + 1])
  redis.call('SADD', 'holders:' .. ARGV[i], account)
end
redis.call('SET', 'uploaded:' .. account, '1')
return redis.call('HLEN', book)
"""

_DELETE: Final = """
for _, token in ipairs(redis.call('HKEYS', KEYS[1])) do redis.call('SREM', 'holders:' .. token, ARGV[1]) end
redis.call('DEL', KEYS[1])
if ARGV[2] == '1' then redis.call('SET', 'uploaded:' .. ARGV[1], '1') else redis.call('DEL', 'uploaded:' .. ARGV[1]) end
"""


_NOBODY: Final = "0" * 22


class ContactStore:
    """Redis behind address books. Raises ``redis.exceptions.RedisError`` when it does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._change = redis.register_script(_CHANGE)
        self._delete = redis.register_script(_DELETE)
        self._uploaded: Gather[str, bool] = Gather(self._have_uploaded)

    async def change(self, account: str, add: Mapping[str, str], remove: Iterable[str], *, reset: bool, limit: int) -> int | None:
        """Apply changes, removals first. Returns the number of entries afterwards; None (and no change) when it would pass ``limit``."""
        removals = list(remove)
        arguments: list[Any] = [account, limit, "1" if reset else "0", len(removals), *removals]
        for token, entry in add.items():
            arguments += (token, entry)
        count = int(await self._change(keys=[f"book:{account}"], args=arguments))
        return None if count < 0 else count

    async def get(self, account: str) -> dict[str, str]:
        """The whole book: token to ciphertext."""
        book: Any = await self._redis.hgetall(f"book:{account}")
        return {token.decode(): entry.decode() for token, entry in book.items()}

    async def has_book(self, account: str) -> bool:
        """Whether the store holds any entry of a user."""
        return bool(await self._redis.exists(f"book:{account}"))

    async def delete(self, account: str, *, known: bool) -> None:
        """Empty a book at once. ``known`` remembers that it is empty by the user's will, not by loss."""
        await self._delete(keys=[f"book:{account}"], args=[account, "1" if known else "0"])
        # once more with nobody's book, so that the server's stack does not hold the name of this one; then its interpreter's strings
        await self._delete(keys=[f"book:{_NOBODY}"], args=[_NOBODY, "0"])
        await scrub_memory(self._redis)

    async def ping(self) -> None:
        """Whether the store answers."""
        await self._redis.ping()

    async def accounts(self) -> AsyncIterator[str]:
        """Every account of which this store holds anything, some of them more than once."""
        for prefix in ("book:", "uploaded:"):
            async for key in self._redis.scan_iter(match=f"{prefix}*", count=500):
                yield (key.decode() if isinstance(key, bytes) else str(key)).removeprefix(prefix)

    async def uploaded(self, account: str) -> bool:
        """Whether this live store has seen the user's book; False after the store was lost."""
        return bool(await self._uploaded.get(account))

    async def _have_uploaded(self, accounts: list[str]) -> dict[str, bool]:
        answers: Any = await self._redis.mget([f"uploaded:{account}" for account in accounts])
        return {account: answer is not None for account, answer in zip(accounts, answers, strict=True)}

    async def holds(self, account: str, token: str) -> bool:
        """Whether a user's book holds a token."""
        return bool(await self._redis.hexists(f"book:{account}", token))

    async def hold(self, questions: Iterable[tuple[str, str]]) -> list[bool]:
        """For each (account, token): whether that user's book holds that token."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for account, token in questions:
                pipe.hexists(f"book:{account}", token)
            return [bool(held) for held in await pipe.execute()]

    async def held(self, account: str, tokens: Sequence[str]) -> frozenset[str]:
        """Those of the tokens that a user's book holds."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for token in tokens:
                pipe.hexists(f"book:{account}", token)
            answers = await pipe.execute() if tokens else []
        return frozenset(token for token, held in zip(tokens, answers, strict=True) if held)

    async def holders_among(self, token: str, accounts: Sequence[str]) -> frozenset[str]:
        """Those of the accounts whose book holds a token."""
        answers: Any = await self._redis.smismember(f"holders:{token}", list(accounts)) if accounts else []
        return frozenset(account for account, holds in zip(accounts, answers, strict=True) if holds)

    async def holders(self, token: str) -> frozenset[str]:
        """Accounts whose book holds a token."""
        members: Any = await self._redis.smembers(f"holders:{token}")
        return frozenset(member.decode() for member in members)
