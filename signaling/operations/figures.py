"""Keeps the figures of calls (``tally.py``): each hub counts those that it ended, every few seconds, in Redis; any hub reads all.

- ``call_figures:SPAN``: counters of the calls that ended within five minutes
- ``call_countries:HOUR``: calls by calling code, of callers who do not object to statistics (P23)
- ``call_callers:HOUR:CODE``: how many people stand behind them: a HyperLogLog, out of which nobody can be read
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from signaling.calls.machine import Call
from signaling.operations.tally import SPAN, Ended, by_span, ended, span_of
from signaling.storage.redis import AnyRedis
from signaling.storage.sql import Database
from signaling.storage.tables import objections
from signaling.tasks import end_tasks, steady
from signaling.wire.rest import Interest

log = logging.getLogger(__name__)

EVERY: Final = 5.0
"""Seconds between two writes."""
LIFETIME: Final = 25 * 3600
"""Seconds that figures are kept: a day is shown."""
_LATE: Final = 60
"""Seconds after the end of a span until every hub has written what belongs to it."""
_CHUNK: Final = 500
"""Calls counted without letting others run."""
_MOST: Final = 100_000
"""Calls that wait to be counted while Redis is away; more are not counted."""


class FigureKeeper:
    """``start`` before use, ``close`` after."""

    def __init__(self, *, redis: AnyRedis, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._database = database
        self._clock = clock
        self._waiting: list[Call] = []
        self._final: dict[int, dict[str, int]] = {}
        self._task: asyncio.Task[None] | None = None

    def take(self, call: Call) -> None:
        """A call has ended. On the hot path: it is counted later."""
        if len(self._waiting) < _MOST:
            self._waiting.append(call)

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.get_running_loop().create_task(steady("figures", self._run))

    async def close(self) -> None:
        """Write what waits, and stop."""
        if self._task is not None:
            await end_tasks(self._task)
        await self._try()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await self._try()

    async def _try(self) -> None:
        try:
            await self.write()
        except (RedisError, SQLAlchemyError, OSError, TimeoutError) as error:
            log.warning("figures: a store does not answer (%s)", type(error).__name__)

    async def write(self) -> None:
        """Count what has ended. Raises the stores' errors; what was not counted waits on."""
        while self._waiting:
            some, self._waiting = self._waiting[:_CHUNK], self._waiting[_CHUNK:]
            try:
                await self._count([ended(call) for call in some])
            except BaseException:
                self._waiting = some + self._waiting
                raise

    async def _count(self, calls: Sequence[Ended]) -> None:
        callers = {call.caller for call in calls}
        query = select(objections.c.account).where(objections.c.account.in_(callers), objections.c.interest == Interest.STATISTICS)
        objecting = {row.account for row in await self._database.fetch(query)}
        async with self._redis.pipeline(transaction=False) as pipe:
            for span, counters in by_span(calls).items():
                _add(pipe, f"call_figures:{span}", counters)
            countries: dict[int, Counter[str]] = {}
            people: dict[tuple[int, str], set[str]] = {}
            for call in calls:
                if call.caller in objecting or not call.taken or not call.code:
                    continue  # a test call shows no number, and says nothing of a country
                hour = int(call.at // 3600)
                countries.setdefault(hour, Counter())[f"{call.code}:{'connected' if call.connected else 'not_connected'}"] += 1
                people.setdefault((hour, call.code), set()).add(call.caller)
            for hour, counters in countries.items():
                _add(pipe, f"call_countries:{hour}", counters)
            for (hour, code), who in people.items():
                key = f"call_callers:{hour}:{code}"
                pipe.pfadd(key, *who)
                pipe.expire(key, LIFETIME)
            await pipe.execute()

    async def spans(self, hours: int) -> list[tuple[int, dict[str, int]]]:
        """Counters of the five-minute spans of the last hours, by their number, oldest first. Raises ``RedisError``."""
        now = self._clock()
        wanted = range(span_of(now - hours * 3600) + 1, span_of(now) + 1)
        missing = [span for span in wanted if span not in self._final]
        async with self._redis.pipeline(transaction=False) as pipe:
            for span in missing:
                pipe.hgetall(f"call_figures:{span}")
            found: list[Any] = await pipe.execute()
        read = {span: _counters(raw) for span, raw in zip(missing, found, strict=True)}
        spans = [(span, self._final[span] if span in self._final else read[span]) for span in wanted]
        # what is over does not change any more
        self._final = {span: counters for span, counters in spans if (span + 1) * SPAN + _LATE < now} | {
            span: counters for span, counters in self._final.items() if span > span_of(now - 24 * 3600)
        }
        return spans

    async def countries(self, hours: int) -> list[tuple[str, int, int, int]]:
        """Calling code, people who called, calls that connected and that did not, of whole hours. Raises ``RedisError``."""
        now = int(self._clock() // 3600)
        wanted = range(now - hours, now + 1)
        total: Counter[str] = Counter()
        async with self._redis.pipeline(transaction=False) as pipe:
            for hour in wanted:
                pipe.hgetall(f"call_countries:{hour}")
            for raw in await pipe.execute():
                total.update(_counters(raw))
        codes = sorted({name.partition(":")[0] for name in total})
        people: list[int] = []
        for code in codes:
            people.append(await self._people([f"call_callers:{hour}:{code}" for hour in wanted]))
        return [
            (code, many, total[f"{code}:connected"], total[f"{code}:not_connected"])
            for code, many in zip(codes, people, strict=True)
        ]

    async def _people(self, keys: list[str]) -> int:
        """How many different people: the hour with the most of them. A union would need all keys on one node of a cluster."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.execute_command("PFCOUNT", key)  # redis-py refuses `pfcount` here on a cluster, as if there were several keys
            counts: list[Any] = await pipe.execute()
        return max(map(int, counts), default=0)


def _add(pipe: Any, key: str, counters: Counter[str]) -> None:
    for name, number in counters.items():
        pipe.hincrby(key, name, number)
    pipe.expire(key, LIFETIME)


def _counters(raw: dict[bytes, bytes]) -> dict[str, int]:
    return {name.decode(): int(number) for name, number in raw.items()}
