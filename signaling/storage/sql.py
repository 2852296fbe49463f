"""The SQL engine: SQLite (WAL, secure_delete) by default, PostgreSQL (asyncpg) for more than one hub machine."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine


class Database:
    """One engine, and transactions on it. Create with a SQLAlchemy URL; ``close`` when done."""

    def __init__(self, url: str) -> None:
        """``url``: ``sqlite+aiosqlite:///PATH`` or ``postgresql+asyncpg://…``."""
        self.engine: AsyncEngine = create_async_engine(url)
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine.sync_engine, "connect", _sqlite_pragmas)
            event.listen(self.engine.sync_engine, "begin", _sqlite_begin)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed at the end of the block, rolled back when the block raises."""
        async with self.engine.begin() as connection:
            yield connection

    async def ping(self) -> None:
        """Reach the database; raises ``sqlalchemy.exc.SQLAlchemyError`` or ``OSError`` when it does not answer."""
        async with self.engine.connect() as connection:
            await connection.exec_driver_sql("SELECT 1")

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def _sqlite_pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun below, so that a read-then-write cannot fail half-way
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "secure_delete=ON",  # deleted rows are overwritten with zeros, not left in free pages (P23)
        "busy_timeout=5000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: Any) -> None:
    # IMMEDIATE: take the write lock at once. A deferred transaction that reads first is refused, not queued, when
    # another writer commits in between.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
