"""Limits on what operators, and who claims to be one, may try: counters in Redis, shared by all hubs, that expire by themselves.

Sign-ins with a password: ``FAILURES`` wrong tries within ``WINDOW``, then none is looked at until it is over. Counted per operator and per
address; but a browser in which the operator has signed in before carries a mark, and is counted by that alone. So who guesses from
elsewhere locks out other guessers, not the operator in their own browser; and never passkeys, the single sign-on, or the machine's own
command line.
"""

import hashlib
import hmac
import secrets
from typing import Any, Final, NamedTuple

from signaling.storage.redis import AnyRedis, run_script
from signaling.wire import base64url
from signaling.wire.errors import ErrorCode, Refused

FAILURES: Final = 10
"""Wrong tries of one operator, or of one browser that is known."""
ADDRESS_FAILURES: Final = 30
"""Wrong tries from one address, whoever they are for."""
WINDOW: Final = 900
"""Seconds in which they count."""
LOOK_UPS: Final = 60
"""Accounts that one operator may look up or reveal in an hour."""

# counts, unless the counter is full, and answers (the count with this one, or one more than may be; seconds left)
_TAKE: Final = """
local n = tonumber(redis.call('GET', KEYS[1]) or '0')
if n >= tonumber(ARGV[1]) then return {n + 1, redis.call('TTL', KEYS[1])} end
n = redis.call('INCR', KEYS[1])
if n == 1 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return {n, redis.call('TTL', KEYS[1])}
"""
# takes one back of those that still count
_GIVE_BACK: Final = """
local n = tonumber(redis.call('GET', KEYS[1]) or '0')
if n == 1 then redis.call('DEL', KEYS[1]) elseif n > 1 then redis.call('DECR', KEYS[1]) end
"""
# counts, and sets the life of the counter in one step; answers (count, seconds left)
_COUNT: Final = """
local n = redis.call('INCR', KEYS[1])
if n == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return {n, redis.call('TTL', KEYS[1])}
"""


class Counter(NamedTuple):
    """One thing that is counted."""

    kind: str
    value: str
    most: int


class OperatorLimits:
    """Raises ``redis.exceptions.RedisError`` when Redis does not answer: then nobody signs in by password."""

    def __init__(self, redis: AnyRedis, pepper: bytes) -> None:
        self._redis = redis
        self._pepper = pepper

    def sign_in(self, operator: str, address: str, mark: str) -> list[Counter]:
        """What counts a try to sign in. ``mark``: what the browser's cookie says, or nothing."""
        known = self._marked(operator, mark)
        if known is not None:
            return [Counter("operator_browser", known, FAILURES)]
        return [Counter("operator", operator, FAILURES), Counter("operator_address", address, ADDRESS_FAILURES)]

    async def take(self, counters: list[Counter]) -> bool:
        """Count a try before it is looked at, so that tries at the same time cannot be more than there may be: it counts as wrong until
        ``succeeded``.

        Returns whether a counter became full by it. Raises ``Refused`` (``rate_limited``), and counts nothing, when one of them was full.
        """
        full = False
        for position, counter in enumerate(counters):
            used, left = await run_script(self._redis, _TAKE, [self._key(counter)], [counter.most, WINDOW])
            if int(used) > counter.most:
                for taken in counters[:position]:
                    await self._give_back(taken)
            self._refuse(int(used) > counter.most, int(left))
            full = full or int(used) == counter.most
        return full

    async def succeeded(self, counters: list[Counter]) -> None:
        """A try was right: tries of this operator before it do not count any more; those from the address do."""
        for counter in counters:
            if counter.kind == "operator_address":
                await self._give_back(counter)
            else:
                await self._redis.delete(self._key(counter))

    async def _give_back(self, counter: Counter) -> None:
        await run_script(self._redis, _GIVE_BACK, [self._key(counter)], [])

    async def unlock(self, operator: str) -> None:
        """Forget wrong tries for an operator."""
        await self._redis.delete(self._key(Counter("operator", operator, FAILURES)))

    async def count_look_up(self, operator: str) -> None:
        """Raises ``Refused`` (``rate_limited``) beyond ``LOOK_UPS`` in an hour: nobody walks through the accounts."""
        used, left = await run_script(self._redis, _COUNT, [self._key(Counter("operator_look_up", operator, LOOK_UPS))], [3600])
        self._refuse(int(used) > LOOK_UPS, int(left))

    async def once(self, kind: str, value: str, seconds: int) -> bool:
        """Whether this is the first time that something is used."""
        return bool(await self._redis.set(self._key(Counter(kind, value, 1)), "1", nx=True, ex=seconds))

    def new_mark(self, operator: str) -> str:
        """For the cookie of a browser in which the operator has signed in."""
        number = base64url.encode(secrets.token_bytes(16))
        return f"{number}.{self._mac(operator, number)}"

    def _marked(self, operator: str, mark: str) -> str | None:
        number, _, mac = mark.partition(".")
        right = hmac.compare_digest(mac.encode(), self._mac(operator, number).encode())
        return number if number and right else None

    def _mac(self, operator: str, number: str) -> str:
        return base64url.encode(hmac.digest(self._pepper, f"mark of {operator}: {number}".encode(), hashlib.sha256))

    def _key(self, counter: Counter) -> str:
        digest = hmac.digest(self._pepper, f"{counter.kind}:{counter.value}".encode(), hashlib.sha256)
        return f"limit:{counter.kind}:{digest.hex()}"

    def _refuse(self, full: bool, left: Any) -> None:
        if full:
            raise Refused(
                ErrorCode.RATE_LIMITED, "too many tries; wait, or use another way to sign in", retry_after=float(max(1, left))
            )
