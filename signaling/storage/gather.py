"""Looks many things up in one go: what is asked for while one look is under way waits for the next. For when thousands of clients come at once."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

_MOST: Final = 200
"""Things looked up at a time: far below the number of parameters that a database takes."""


class Gather(Generic[K, V]):
    """``load`` gets keys, each once, and answers those that it found; what it raises, everyone gets who waits."""

    def __init__(self, load: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._load = load
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V | None:
        """One of them; None when there is no such thing."""
        asked = self._waiting.get(key)
        if asked is None:
            loop = asyncio.get_running_loop()
            asked = self._waiting[key] = loop.create_future()
            if self._task is None:
                self._task = loop.create_task(self._run())
        return await asyncio.shield(asked)  # others may wait for it too

    async def _run(self) -> None:
        while self._waiting:
            some = dict(list(self._waiting.items())[:_MOST])
            for key in some:
                del self._waiting[key]
            try:
                found = await self._load(list(some))
            except Exception as error:
                for asked in some.values():
                    asked.set_exception(error)
                    asked.exception()  # whoever is gone need not hear
            else:
                for key, asked in some.items():
                    asked.set_result(found.get(key))
        self._task = None
