"""Call history: each side's own lines. Calls put them into a Redis list with the script that ends them; a writer moves them to SQL in bulk,
so that no call waits for SQL. What a hub is about to write lies in a list of its own, which another hub takes over if it dies.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct
from redis.exceptions import RedisError
from sqlalchemy import Dialect, and_, bindparam, delete, exists, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from signaling.calls.quality import kept
from signaling.storage.redis import AnyRedis, run_script
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, call_quality, call_records
from signaling.tasks import steady
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.messages import Reason
from signaling.wire.rest import CallHistory, CallRecord

log = logging.getLogger(__name__)

_QUEUE: Final = "call_history"


def queue_key(shard: int, node: str = "") -> str:
    """Redis list of lines that are not yet in SQL; with a node, of those that this hub is writing."""
    return f"{{c{shard}}}:{_QUEUE}:{node}" if node else f"{{c{shard}}}:{_QUEUE}"


# KEYS: from, to; ARGV: how many. Moves lines and answers all that are in the second list then.
_TAKE: Final = """
for _ = 1, ARGV[1] do
  if not redis.call('LMOVE', KEYS[1], KEYS[2], 'LEFT', 'RIGHT') then break end
end
return redis.call('LRANGE', KEYS[2], 0, -1)
"""

_BATCH: Final = 500
_GATHERED: Final = 0.5
"""Seconds for which lines gather before they are written: a transaction costs the hub as much as some dozens of lines. Who asks for a history
does not wait for it.
"""
_CLOSE: Final = 5.0
"""Seconds that the writer has to end."""
_RETRY: Final = 2.0
"""Seconds until the next try when a store does not answer."""


class Line(Struct, frozen=True, array_like=True):
    """One line of one account's history, its fields as the columns of the table. Times in milliseconds."""

    account: str
    call: str
    peer: str
    outgoing: bool
    reason: Reason
    started_at: int
    connected_at: int | None
    ended_at: int


_lines: Final = msgspec.msgpack.Decoder(Line)
encode_line: Final = msgspec.msgpack.Encoder().encode
"""A line as it is queued."""


@lru_cache(maxsize=1)
def _insertion(dialect: Dialect) -> tuple[str, Callable[[Line], tuple[Any, ...]]]:
    """The statement that writes a line, unless it is written already, its account is deleted, or is a service: which keeps no record of
    who calls it. And what takes the statement's values out of a line. It is given to the driver as it stands: SQLAlchemy would take longer
    over the values of many lines than the database does.
    """
    kind = postgresql if dialect.name == "postgresql" else sqlite
    values = [bindparam(f"line_{column.name}", type_=column.type) for column in call_records.c]
    person = select(accounts.c.id).where(accounts.c.id == bindparam("line_account"), accounts.c.service.is_(None))
    written = kind.insert(call_records).from_select(list(call_records.c), select(*values).where(exists(person)))
    compiled = written.on_conflict_do_nothing().compile(dialect=dialect)
    return str(compiled), attrgetter(*(name.removeprefix("line_") for name in compiled.positiontup or ()))


class History:
    """Reads and deletes a user's history, and writes what calls have queued."""

    def __init__(self, *, database: Database, redis: AnyRedis, node: str = "hub", shards: int = 1) -> None:
        self._database = database
        self._redis = redis
        self._node = node
        self._shards = shards
        self._writing = asyncio.Lock()
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write what is queued, that of a former hub included."""
        self._wake.set()
        self._task = asyncio.get_running_loop().create_task(steady("call history", self._run))

    async def close(self) -> None:
        """Stop writing; what is still queued is written by the next hub."""
        if self._task is not None:
            # no cancel in the middle of a transaction: the writer ends after the batch that it is at
            self._closing.set()
            self._wake.set()
            await asyncio.wait([self._task], timeout=_CLOSE)
            self._task.cancel()

    def wake(self) -> None:
        """Something was queued."""
        self._wake.set()

    async def _run(self) -> None:
        while not self._closing.is_set():
            await self._wake.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GATHERED):
                    await self._closing.wait()
            self._wake.clear()
            try:
                while not self._closing.is_set() and await self.write_queued():
                    pass
            except (RedisError, SQLAlchemyError, OSError) as error:
                log.error("call history: a store does not answer (%s)", type(error).__name__)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_RETRY):
                        await self._wake.wait()
                self._wake.set()

    async def write_queued(self) -> int:
        """Move one batch to SQL; returns how many lines. Lines of deleted accounts are dropped, a line written twice counts once."""
        async with self._writing:
            return sum([await self._write(shard) for shard in range(self._shards)])

    async def _write(self, shard: int) -> int:
        queue, own = queue_key(shard), queue_key(shard, self._node)
        raw: Any = await run_script(self._redis, _TAKE, [queue, own], [_BATCH])
        if not raw:
            return 0
        lines = [_lines.decode(item) for item in raw]
        async with self._database.begin() as connection:
            statement, values = _insertion(connection.dialect)
            await connection.exec_driver_sql(statement, [values(line) for line in lines])
        await self._redis.ltrim(own, len(raw), -1)
        return len(raw)

    async def write_all(self) -> None:
        """Move everything that is queued to SQL."""
        while await self.write_queued():
            pass

    async def take_over(self, nodes: Iterable[str]) -> None:
        """Hubs are gone: what they were writing is to be written by this one."""
        for node in nodes:
            for shard in range(self._shards):
                while await self._redis.lmove(queue_key(shard, node), queue_key(shard), "LEFT", "RIGHT"):
                    pass
        self.wake()

    async def page(self, account: str, *, before: str | None, limit: int) -> CallHistory:
        """One page, newest first. ``before`` is ``next`` of the page before."""
        await self.write_queued()  # one's own last call is there when one looks
        same = (call_quality.c.account == call_records.c.account) & (call_quality.c.call == call_records.c.call)
        columns = (call_quality.c.mos, call_quality.c.measured, call_quality.c.relayed, call_quality.c.at.label("measured_at"))
        query = select(call_records, *columns).select_from(call_records.outerjoin(call_quality, same))
        query = query.where(call_records.c.account == account)
        if before is not None:
            at, _, call = before.partition(".")
            started = int(at)
            query = query.where(
                or_(
                    call_records.c.started_at < started,
                    and_(call_records.c.started_at == started, call_records.c.call < call),
                )
            )
        query = query.order_by(call_records.c.started_at.desc(), call_records.c.call.desc()).limit(limit + 1)
        async with self._database.begin() as connection:
            rows = (await connection.execute(query)).all()
            peers = {row.peer for row in rows}
            found = await connection.execute(select(accounts.c.id).where(accounts.c.id.in_(peers), accounts.c.business))
            businesses = {row.id for row in found}
        records = [
            CallRecord(
                call=row.call,
                peer=row.peer,
                outgoing=row.outgoing,
                reason=Reason(row.reason),
                started_at=row.started_at,
                ended_at=row.ended_at,
                connected_at=UNSET if row.connected_at is None else row.connected_at,
                business=row.peer in businesses,
                quality=UNSET if row.measured_at is None else kept(row),
            )
            for row in rows[:limit]
        ]
        more = len(rows) > limit
        return CallHistory(calls=records, next=f"{records[-1].started_at}.{records[-1].call}" if more else UNSET)

    async def forget(self, account: str, call: str) -> None:
        """Delete one line of the user's own history."""
        await self.write_queued()
        async with self._database.begin() as connection:
            gone = await connection.execute(
                delete(call_records).where(call_records.c.account == account, call_records.c.call == call)
            )
            await connection.execute(delete(call_quality).where(call_quality.c.account == account, call_quality.c.call == call))
        if not gone.rowcount:
            raise Refused(ErrorCode.NOT_FOUND)

    async def forget_all(self, account: str) -> None:
        """Delete the user's whole history; the other sides keep their own."""
        await self.write_all()
        async with self._database.begin() as connection:
            await connection.execute(delete(call_records).where(call_records.c.account == account))
            await connection.execute(delete(call_quality).where(call_quality.c.account == account))
