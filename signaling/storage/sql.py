"""The SQL engine: SQLite (WAL, secure_delete) by default, PostgreSQL (asyncpg) for more than one hub machine."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import Engine, Row, Select, create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from signaling.settings import Settings
from signaling.storage.latency import Latency

_CONNECT_TIMEOUT: Final = 5.0
_COMMAND_TIMEOUT: Final = 20.0
"""Seconds for a connection to PostgreSQL, and for one statement: ``TimeoutError`` then, as for any store that does not answer."""


class Database:
    """One engine, and transactions on it. Create with a SQLAlchemy URL; ``close`` when done."""

    def __init__(self, url: str) -> None:
        """``url``: ``sqlite+aiosqlite:///PATH`` or ``postgresql+asyncpg://…``."""
        self._url = url
        self.engine: AsyncEngine = create_async_engine(url, connect_args=_timeouts(url, _COMMAND_TIMEOUT))
        self.latency = Latency()
        """Of statements, as those who wait for them see it."""
        event.listen(self.engine.sync_engine, "before_cursor_execute", self._before)
        event.listen(self.engine.sync_engine, "after_cursor_execute", self._after)
        event.listen(self.engine.sync_engine, "handle_error", self._error)
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine.sync_engine, "connect", _sqlite_pragmas)
            event.listen(self.engine.sync_engine, "begin", _sqlite_begin)
        self._patient: AsyncEngine | None = None
        self._reader: Engine | None = None
        self._thread: ThreadPoolExecutor | None = None

    @property
    def patient(self) -> AsyncEngine:
        """For what may take long and nobody waits for: migrations, retention, giving space back. Its statements have no end of time."""
        if self.engine.dialect.name == "sqlite":
            return self.engine
        if self._patient is None:
            self._patient = create_async_engine(self._url, poolclass=NullPool, connect_args=_timeouts(self._url, None))
        return self._patient

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed at the end of the block, rolled back when the block raises."""
        async with self.engine.begin() as connection:
            yield connection

    async def fetch(self, query: Select[Any]) -> Sequence[Row[Any]]:
        """The rows of one query that stands alone, without a transaction around it.

        For SQLite the whole of it is one step in one thread: through ``begin`` the same query changes threads some ten times, which costs
        more than all else, and takes the lock of the writers.
        """
        if self.engine.dialect.name != "sqlite":
            async with self.engine.connect() as connection:
                found: Sequence[Row[Any]] = (await connection.execute(query)).all()
                return found
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-reader")
            self._reader = create_engine(self._url.replace("+aiosqlite", ""), connect_args={"check_same_thread": False})
            event.listen(self._reader, "connect", _sqlite_pragmas)
        began = time.perf_counter()
        rows: Sequence[Row[Any]] = await asyncio.get_running_loop().run_in_executor(self._thread, self._fetch, query)
        self.latency.seconds.observe(time.perf_counter() - began)
        return rows

    def _fetch(self, query: Select[Any]) -> Sequence[Row[Any]]:
        assert self._reader is not None  # noqa: S101
        with self._reader.connect() as connection:
            return connection.execute(query).all()

    def _before(self, _connection: Any, _cursor: Any, _statement: Any, _parameters: Any, context: Any, _many: Any) -> None:
        if context is not None:
            context.began = time.perf_counter()

    def _after(self, _connection: Any, _cursor: Any, _statement: Any, _parameters: Any, context: Any, _many: Any) -> None:
        if context is not None:
            self.latency.seconds.observe(time.perf_counter() - context.began)

    def _error(self, context: Any) -> None:
        if context.is_disconnect or isinstance(context.sqlalchemy_exception, OperationalError):
            self.latency.failed += 1

    async def ping(self) -> None:
        """Reach the database; raises ``sqlalchemy.exc.SQLAlchemyError`` or ``OSError`` when it does not answer."""
        async with self.engine.connect() as connection:
            await connection.exec_driver_sql("SELECT 1")

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
        if self._patient is not None:
            await self._patient.dispose()
        if self._reader is not None:
            self._reader.dispose()
        if self._thread is not None:
            self._thread.shutdown(wait=False)


def _timeouts(url: str, command: float | None) -> dict[str, Any]:
    """A PostgreSQL that is cut off, or whose tables somebody has locked, must hold nobody up for ever; SQLite has its ``busy_timeout``."""
    return {"timeout": _CONNECT_TIMEOUT, "command_timeout": command} if url.startswith("postgresql") else {}


def configured_database(settings: Settings) -> Database:
    """The database that the settings name; none named: SQLite in the data folder."""
    return Database(settings.database_url or f"sqlite+aiosqlite:///{settings.data_dir.absolute()}/kloudtalk.db")


def _sqlite_pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun below, so that a read-then-write cannot fail half-way
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "secure_delete=ON",  # deleted rows are overwritten with zeros, not left in free pages (P23)
        "busy_timeout=20000",  # several hubs of one machine may write, and a checkpoint waits for all of them
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: Any) -> None:
    # IMMEDIATE: take the write lock at once. A deferred transaction that reads first is refused, not queued, when
    # another writer commits in between.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
