"""The stores: reachable, of the right kind, with the right schema."""

from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from signaling.doctor.finding import Trouble, concern
from signaling.settings import Settings
from signaling.storage.migrate import current_revision, revisions
from signaling.storage.persistence import PersistentStoreError, check_not_persistent
from signaling.storage.redis import any_redis_client, redis_client
from signaling.storage.sql import Database
from signaling.telemetry.health import CheckError, check_skew, redis_clock

_OLDEST: Final = (6, 2)
"""LMOVE and GETRANGE with what the scripts need came with Redis 6.2."""


async def redis(settings: Settings) -> str:
    """The Redis for live state."""
    client = any_redis_client(settings.redis_url or "")
    try:
        await _answers(client, "redis_url")
        if not isinstance(client, Redis):
            return "a cluster answers"
        return await _kind(client, "live state")
    finally:
        await client.aclose()


async def address_book(settings: Settings) -> str:
    """The Redis for address books, which must forget (P07)."""
    client = redis_client(settings.address_book_redis_url or "")
    try:
        await _answers(client, "address_book_redis_url")
        try:
            await check_not_persistent(client)
        except PersistentStoreError:
            raise Trouble(
                "it writes address books to disk, which promise P07 forbids; hubs refuse to start on it",
                'set `save ""` and `appendonly no` on it, delete its dump.rdb and appendonlydir, and look for copies in backups',
            ) from None
        replication: dict[str, Any] = await client.info("replication")
        if replication.get("connected_slaves", 0):
            raise concern(
                "it has a replica, which is a copy of every address book",
                "detach the replica, or make sure that it does not persist either: P07 promises that there is no backup",
            )
        return await _kind(client, "address books") + "; does not persist"
    finally:
        await client.aclose()


async def clock(settings: Settings) -> str:
    """This machine's clock, beside Redis's."""
    client = any_redis_client(settings.redis_url or "")
    try:
        return check_skew(await redis_clock(client))
    except CheckError as error:
        raise Trouble(
            str(error).partition(":")[0],
            "run an NTP client (systemd-timesyncd, chrony) on every machine: relays are not found and TURN credentials expire early otherwise",
        ) from None
    except (RedisError, OSError):
        raise concern("not known: Redis does not answer", "see redis") from None
    finally:
        await client.aclose()


async def database(settings: Settings) -> str:
    """SQL, and whether its schema is the one of this release."""
    path = settings.data_dir / "kloudtalk.db"
    if settings.database_url is None and not path.exists():
        return "SQLite; made at the first start"
    found = Database(settings.database_url or f"sqlite+aiosqlite:///{path.absolute()}")
    try:
        await found.ping()
        at = await current_revision(found)
    except (SQLAlchemyError, OSError) as error:
        raise Trouble(
            f"does not answer ({type(error).__name__})",
            "is the server up, and do user, password, host and name of database_url hold?"
            if settings.database_url
            else f"is {path} readable and writable for this user, and its disk not full?",
        ) from None
    finally:
        await found.close()
    known = revisions()
    name = found.engine.dialect.name
    if at == known[-1]:
        if name == "sqlite" and settings.workers > 4:
            raise concern(f"SQLite for {settings.workers} workers", "writers wait for each other: use PostgreSQL (database_url)")
        return f"{name} answers; schema {at}, the newest"
    if at not in known and at is not None:
        raise concern(
            f"{name} answers; its schema {at} is of a newer release",
            "finish the upgrade: start this release's successor everywhere",
        )
    raise concern(
        f"{name} answers; its schema is {at or 'empty'}, this release's is {known[-1]}",
        "the next hub that starts brings it there; `kloudtalk migrate` does it now. Make a backup first",
    )


async def _answers(client: Any, setting: str) -> None:
    try:
        await client.ping()
    except (RedisError, OSError) as error:
        why = type(error).__name__
        if why == "AuthenticationError":
            raise Trouble("refuses the password", f"put the right user and password into {setting}") from None
        raise Trouble(
            f"does not answer ({why})", f"is it up, and does {setting} name it? On this machine: is the service running?"
        ) from None


async def _kind(client: Redis, what: str) -> str:
    server: dict[str, Any] = await client.info("server")
    memory: dict[str, Any] = await client.info("memory")
    version = str(server.get("valkey_version") or server.get("redis_version") or "0")
    name = "Valkey" if "valkey_version" in server else "Redis"
    if name == "Redis" and tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < _OLDEST:
        raise Trouble(f"{name} {version}", "Redis 6.2 or Valkey 7.2 are the oldest that do: upgrade it")
    policy = memory.get("maxmemory_policy", "noeviction")
    if int(memory.get("maxmemory", 0)) and policy != "noeviction":
        raise concern(
            f"{name} {version} drops {what} when its memory is full (maxmemory-policy {policy})",
            "set `maxmemory-policy noeviction` and give it the memory that it needs: calls or books vanish otherwise",
        )
    return f"{name} {version} answers, uses {int(memory.get('used_memory', 0)) >> 20} MiB"
