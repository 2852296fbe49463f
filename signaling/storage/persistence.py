"""Whether a Redis keeps on a disk what it holds; the one for address books must not (P07)."""

from typing import Any

from redis.asyncio import Redis


class PersistentStoreError(RuntimeError):
    """The Redis for address books writes to disk. It must not (P07): the hub refuses to start."""


async def check_not_persistent(redis: Redis) -> None:
    """Raise ``PersistentStoreError`` unless the server has ``save ""`` and ``appendonly no``."""
    save: Any = await redis.config_get("save")
    append: Any = await redis.config_get("appendonly")
    values = {_text(k): _text(v) for k, v in {**save, **append}.items()}
    if values.get("save", "?") != "" or values.get("appendonly", "?") != "no":
        raise PersistentStoreError(
            'the Redis for address books persists (save or appendonly is set). Promise P07 forbids that: set `save ""` and '
            "`appendonly no` on it, or leave address_book_redis_url unset to use the embedded one"
        )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
