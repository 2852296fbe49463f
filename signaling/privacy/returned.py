"""Nobody who was deleted comes back from a backup (P23): whose deletion lies after the backup is known as a hash, and deleted again.

The hashes are in Redis, so that they outlive the loss of the database that the backup makes up for. An account's id is 128 random bits that are
never used again; its hash says nothing about anybody, and cannot be turned back.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from sqlalchemy import select

from signaling.privacy.owed import Owed
from signaling.storage.redis import AnyRedis
from signaling.storage.sql import Database
from signaling.storage.tables import accounts
from signaling.wire import base64url

log = logging.getLogger(__name__)

BACKUP_DAYS: Final = 90
"""Days that a deletion is remembered: no backup may be kept for longer."""
_KEY: Final = "erased"


def hash_of(account: str) -> str:
    """What stands for a deleted account: 128 bits of SHA-256, base64url (pure)."""
    return base64url.encode(hashlib.sha256(b"kloudtalk/v1 erased " + account.encode()).digest()[:16])


def among(deleted: frozenset[str], found: Iterable[str]) -> list[str]:
    """Accounts that are there and were deleted (pure)."""
    return [account for account in found if hash_of(account) in deleted]


class Returned:
    """Remembers deletions, and finds those whom a restored backup brought back.

    Args:
        erase: deletes an account for good.
    """

    def __init__(
        self,
        *,
        redis: AnyRedis,
        database: Database,
        erase: Callable[[str], Awaitable[None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._redis: Any = redis
        self._database = database
        self._erase = erase
        self._clock = clock
        self._looked = False

    async def remember(self, note: Owed) -> None:
        """Note a deletion. Raises ``RedisError``."""
        await self._redis.zadd(_KEY, {hash_of(note.account): int(self._clock())})

    async def sweep(self) -> None:
        """Forget deletions that no backup can undo; and once in the life of a hub, as it must have started since a restore, look who is back.

        Raises ``RedisError`` and ``SQLAlchemyError``.
        """
        await self._redis.zremrangebyscore(_KEY, "-inf", self._clock() - BACKUP_DAYS * 86_400)
        if self._looked:
            return
        deleted = frozenset(member.decode() for member in await self._redis.zrange(_KEY, 0, -1))
        if deleted:
            found = [row.id for row in await self._database.fetch(select(accounts.c.id))]
            back = await asyncio.to_thread(among, deleted, found)
            for account in back:
                await self._erase(account)
            if back:
                log.warning("%d accounts that were deleted had come back with a backup: deleted again", len(back))
        self._looked = True
