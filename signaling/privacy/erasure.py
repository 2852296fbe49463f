"""Deletion (P23): the account's rows, and then every store, cache and queue, until all of it is done, whatever fails in between.

1. One transaction deletes the account with everything that hangs on it in SQL, and notes what the other stores still owe.
2. Caches forget, sockets close, calls end.
3. Every step below runs; when all have, the note goes, and files and memory are cleared of what was deleted.

What a store cannot do now is tried again by every hub until it is done, and after a restart too.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

from redis.exceptions import RedisError
from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from signaling.defects import frames_only
from signaling.privacy.owed import Owed, OwedErasures, What
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, devices
from signaling.tasks import steady

log = logging.getLogger(__name__)

STORE_ERRORS: Final = (RedisError, SQLAlchemyError, OSError, TimeoutError)
"""What a store raises that does not answer."""

_PATIENCE: Final = 5.0
"""Seconds that a request waits for every store; after that it is owed."""
_POLL: Final = 5.0
"""Seconds between looks for notes of other processes."""
_LAST_RETRY: Final = 30.0
"""Seconds between tries at most; the first is made after one."""


class ErasureEvents(Protocol):
    """What the hub must hear; each method returns at once."""

    def devices_removed(self, account: str, devices: Sequence[str]) -> None:
        """Sessions of these devices are void: close their sockets, end their calls."""

    def account_erased(self, account: str) -> None:
        """An account's rows are gone: nothing that is remembered of it holds any more."""


Step = Callable[[Owed], Awaitable[None]]
"""Erases one store's part. Run again after a failure: doing it twice must be doing it once. Raises a store's errors."""


class Erasure:
    """Erases accounts and address books.

    Args:
        handles: keyed hashes under which the number's and the address's registrations are known (``RegistrationStore.handles``).
        steps: for each kind of note, what the stores beside SQL must do.
        books_answer: raises when the address books' store does not answer.
        restrict: freezes or unfreezes an account.
        scrub: clears files and memory of what was deleted; the address book's own step does so itself.
    """

    def __init__(
        self,
        *,
        database: Database,
        owed: OwedErasures,
        events: ErasureEvents,
        handles: Callable[[str, str], Sequence[str]],
        steps: Mapping[What, Sequence[Step]],
        books_answer: Callable[[], Awaitable[None]],
        restrict: Callable[[str, bool], Awaitable[object]],
        scrub: Callable[[], Awaitable[None]],
    ) -> None:
        self._database = database
        self._owed = owed
        self._events = events
        self._handles = handles
        self._steps = steps
        self._books_answer = books_answer
        self._restrict = restrict
        self._scrub = scrub
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._under_way: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to make up for what is owed."""
        self._task = asyncio.get_running_loop().create_task(steady("erasure", self._run))

    async def close(self) -> None:
        """Stop; what is owed is done by another hub, or at the next start."""
        self._closing = True
        self._wake.set()
        tasks = [*self._under_way, *([self._task] if self._task is not None else [])]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_PATIENCE)
            for task in late:
                task.cancel()

    async def erase_account(self, account: str) -> None:
        """Delete an account. Done when this returns; what a store could not do within 5 s is owed. Raises ``SQLAlchemyError``."""
        await self._owed.note(account, What.ACCOUNT, known=False)
        await self._soon(account, What.ACCOUNT)

    async def erase_address_book(self, account: str) -> None:
        """Delete an address book whose consent was withdrawn or whose key is lost. As ``erase_account``."""
        await self._owed.note(account, What.ADDRESS_BOOK, known=True)
        await self._soon(account, What.ADDRESS_BOOK)

    async def settle(self, account: str, what: What) -> None:
        """Do what is owed of an account, if anything is. Raises a store's errors; it stays owed then."""
        if what is What.ADDRESS_BOOK:
            await self._books_answer()  # before the note is locked: a store that hangs must not hold the database up
            await self._owed.settle(account, what, self._steps_of)
            return
        if what in (What.FREEZE, What.UNFREEZE):
            await self._restrict(account, what is What.FREEZE)
            await self._owed.strike(account, what)
            return
        await self._erase_rows(account)
        note = await self._owed.get(account, what)
        if note is not None:
            # unlocked: an account's id is never used again, so nothing newer can be hit
            await self._steps_of(note)
            await self._owed.strike(account, what)
            await self._scrub()

    async def settle_all(self) -> bool:
        """Do everything that is owed; False when some of it must be tried again."""
        well = True
        for note in await self._owed.refresh():
            try:
                await self.settle(note.account, note.what)
            except STORE_ERRORS as error:
                log.error("erasure: a store does not answer (%s); it stays owed", type(error).__name__)
                well = False
            except Exception as error:  # the other notes must not wait for this one
                log.error("erasure: defect %s; it stays owed", type(error).__name__, exc_info=frames_only(error))
                well = False
        return well

    async def _soon(self, account: str, what: What) -> None:
        async def work() -> None:
            try:
                await self.settle(account, what)
            except STORE_ERRORS as error:
                log.error("erasure: a store does not answer (%s); it stays owed", type(error).__name__)
                self._wake.set()

        task = asyncio.get_running_loop().create_task(work())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        await asyncio.wait([task], timeout=_PATIENCE)

    async def _steps_of(self, note: Owed) -> None:
        for step in self._steps[note.what]:
            await step(note)

    async def _erase_rows(self, account: str) -> None:
        async with self._database.begin() as connection:
            row = (
                await connection.execute(
                    select(accounts.c.phone, accounts.c.email, accounts.c.discovery_token).where(accounts.c.id == account)
                )
            ).first()
            if row is None:
                return
            removed = await connection.execute(delete(devices).where(devices.c.account == account).returning(devices.c.id))
            ids = [device.id for device in removed]
            await connection.execute(delete(accounts).where(accounts.c.id == account))
            await self._owed.complete(
                connection, account, discovery_token=row.discovery_token, handles=self._handles(row.phone, row.email)
            )
        self._events.devices_removed(account, ids)
        self._events.account_erased(account)

    async def _run(self) -> None:
        failures = 0
        while not self._closing:
            self._wake.clear()
            try:
                well = await self.settle_all()
            except STORE_ERRORS as error:
                log.error("erasure: the database does not answer (%s)", type(error).__name__)
                well = False
            failures = 0 if well else failures + 1
            if self._closing:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_POLL if well else min(_LAST_RETRY, 2.0 ** (failures - 1))):
                    await self._wake.wait()
