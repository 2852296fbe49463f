"""What a deletion leaves behind in files and memory, and how it is made to go (P07, P23).

A row or key that is deleted is not yet gone from the disk: SQLite keeps older pages in its write-ahead log, Redis keeps every command in its
append-only file, and an allocator keeps freed memory as it was. ``docs/security.md`` says what each of these functions reaches.
"""

import asyncio
import logging
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from signaling.storage.redis import AnyRedis
from signaling.storage.sql import Database
from signaling.storage.tables import metadata

log = logging.getLogger(__name__)

_POLL: Final = 0.02
"""Seconds between looks at a rewrite that goes on."""
_LET_GO: Final = 75.0
"""Seconds after which no hub knows of a deleted account any more: the inbox of one that died is kept for 60."""
_LOCK: Final = 0x6B745F76
"""Advisory lock of the hub that vacuums: any number that nothing else in the database uses."""


class AppendOnlyFile:
    """The append-only file of the live Redis. Whoever deletes something asks for a rewrite; those who ask at once share one."""

    def __init__(self, redis: AnyRedis) -> None:
        self._redis = redis
        self._lock = asyncio.Lock()
        self._asked = 0
        self._done = 0
        self._refused = False
        self._again: asyncio.TimerHandle | None = None
        self._late: asyncio.Task[None] | None = None

    def rewrite_again(self) -> None:
        """Once more in a while: other hubs let go of a deleted account a little later, and what they say of it is in the file then.

        A hub that ends before that leaves it to the next round of retention, of any hub.
        """
        if self._again is not None:
            self._again.cancel()
        self._again = asyncio.get_running_loop().call_later(_LET_GO, self._begin_late)

    def _begin_late(self) -> None:
        async def work() -> None:
            try:
                await self.rewrite()
            except (RedisError, OSError) as error:
                log.error("the append-only file is not rewritten (%s); again within the hour", type(error).__name__)

        self._late = asyncio.get_running_loop().create_task(work())

    async def close(self) -> None:
        """Leave what was to be done later to others."""
        if self._again is not None:
            self._again.cancel()
        if self._late is not None:
            await asyncio.wait([self._late], timeout=2)

    async def rewrite(self) -> None:
        """Write the file anew, with what is there now and nothing else; returns when that is done.

        Does nothing without such a file, or on a server that does not let us (said once in the log). Raises ``RedisError`` or ``OSError``.
        """
        self._asked += 1
        mine = self._asked
        async with self._lock:
            if self._done >= mine:
                return  # a rewrite that began after we asked is over
            covered = self._asked
            try:
                await self._rewrite()
            except ResponseError as error:
                if not self._refused:
                    self._refused = True
                    log.warning(
                        "Redis does not let us rewrite its append-only file (%s): see docs/security.md", type(error).__name__
                    )
            self._done = covered

    async def _rewrite(self) -> None:
        if not isinstance(self._redis, RedisCluster):
            await _rewrite_on(self._redis)
            return
        await self._redis.initialize()  # what nodes there are now, replicas among them: each has a file of its own
        await asyncio.gather(*map(_rewrite_on, self._redis.get_nodes()))


async def _rewrite_on(server: Redis | ClusterNode) -> None:
    if (await _persistence(server))["aof_enabled"] == 0:
        return
    while not await _begin(server):  # noqa: ASYNC110 - Redis tells nobody when a rewrite ends
        await asyncio.sleep(_POLL)
    while True:
        state = await _persistence(server)
        if not state["aof_rewrite_in_progress"] and not state["aof_rewrite_scheduled"]:
            return
        await asyncio.sleep(_POLL)


async def _begin(server: Redis | ClusterNode) -> bool:
    """False while another rewrite, begun before ours was asked for, still goes on."""
    try:
        await server.execute_command("BGREWRITEAOF")
    except ResponseError as error:
        if "already in progress" in str(error):
            return False
        raise
    return True


async def _persistence(server: Redis | ClusterNode) -> dict[str, Any]:
    state: dict[str, Any] = await server.execute_command("INFO", "persistence")
    return state


async def scrub_sql(database: Database) -> None:
    """SQLite: move the write-ahead log into the database, where deleted rows are zeros, and empty it. PostgreSQL: see ``vacuum``, ``rewrite_sql``."""
    if database.engine.dialect.name != "sqlite":
        return
    for _ in range(100):
        async with database.engine.connect() as connection:
            raw = (await connection.get_raw_connection()).driver_connection
            assert raw is not None  # noqa: S101
            cursor = await raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            busy, _, _ = await cursor.fetchone()
            await cursor.close()
        if not busy:
            return
        await asyncio.sleep(_POLL)  # a reader holds the log; it is done in a moment
    raise OSError("SQLite's write-ahead log is in use")


async def vacuum(database: Database) -> None:
    """PostgreSQL: give the space of deleted rows to new ones, without keeping anyone waiting. Their bytes go when it is used, or by ``rewrite_sql``.

    One hub at a time does it; the others find it being done. Raises ``SQLAlchemyError`` or ``OSError``.
    """
    if database.engine.dialect.name != "postgresql":
        return
    async with database.patient.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        if not (await connection.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _LOCK})).scalar_one():
            return
        try:
            await connection.execute(text(f"VACUUM (SKIP_LOCKED) {_tables()}"))
        finally:
            await connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _LOCK})


async def rewrite_sql(database: Database) -> list[str]:
    """Write every table anew, with what is there now and nothing else: no file of the database holds a deleted row after that.

    Whoever uses a table meanwhile waits. Answers what could not be done, in a sentence each. Raises ``SQLAlchemyError`` or ``OSError``.
    """
    if database.engine.dialect.name == "sqlite":
        async with database.engine.connect() as connection:
            raw = (await connection.get_raw_connection()).driver_connection
            assert raw is not None  # noqa: S101
            await (await raw.execute("VACUUM")).close()
        await scrub_sql(database)
        return []
    async with database.patient.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(text(f"VACUUM (FULL, ANALYZE) {_tables()}"))
        left = []
        for statement, what in (
            # what the planner remembers of columns are values of rows; the rows of that table are deleted like any others
            (
                "VACUUM (FULL) pg_catalog.pg_statistic",
                "the planner's statistics may hold values of deleted rows: needs the database's owner",
            ),
            ("SELECT pg_switch_wal()", "the write-ahead log's current file stays in use: needs pg_switch_wal()"),
            ("CHECKPOINT", "the write-ahead log is cleared at the next checkpoint only: needs pg_checkpoint"),
        ):
            try:
                await connection.execute(text(statement))
            except ProgrammingError:
                left.append(what)
        recycled = (await connection.execute(text("SHOW wal_recycle"))).scalar_one()
        if recycled == "on":
            left.append("files of the write-ahead log are used again as they are: set wal_recycle = off")
        return left


def _tables() -> str:
    return ", ".join(f'"{table.name}"' for table in metadata.sorted_tables)


async def scrub_memory(redis: Redis) -> None:
    """Have the address books' store let go of what its interpreter and connections still hold of values that were deleted.

    The embedded Valkey overwrites what it frees (``EmbeddedValkey``). Scripts are loaded again by who uses them.
    """
    try:
        await redis.script_flush("SYNC")
    except ResponseError as error:
        log.warning("the address books' Redis does not let us flush scripts (%s): see docs/security.md", type(error).__name__)
    await redis.connection_pool.disconnect(inuse_connections=False)
