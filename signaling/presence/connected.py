"""Who is connected at this hub, kept in Redis: this node's lease, its accounts, and when they were seen.

Changes of one moment are written together. The lease is renewed every few seconds; nodes whose lease ran out are cleared by whoever sees it.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Collection
from typing import Final

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from signaling.presence.bus import Bus, Hint
from signaling.presence.relations import Relations
from signaling.presence.rules import minute
from signaling.presence.store import LEASE, PresenceStore
from signaling.tasks import end_tasks, steady

log = logging.getLogger(__name__)

BEAT: Final = 5.0
"""Seconds between signs of life; with ``LEASE`` it bounds for how long a dead hub's accounts look online: 20 s and the clearing."""
GRACE: Final = 3.0
"""Seconds that an account stays online without a socket: a page that is loaded again, a network that changes."""
_GATHER: Final = 0.02
"""Seconds for which changes are gathered before they are written."""
_CHUNK: Final = 1_000
"""Accounts written at once."""


class Connected:
    """This hub as a node.

    Args:
        clock: seconds since 1970.
        grace: see ``GRACE``.
    """

    def __init__(
        self,
        *,
        store: PresenceStore,
        relations: Relations,
        bus: Bus,
        clock: Callable[[], float] = time.time,
        grace: float = GRACE,
        beat: float = BEAT,
    ) -> None:
        self._store = store
        self._relations = relations
        self._bus = bus
        self._clock = clock
        self._grace = grace
        self._beat = beat
        self._node = ""
        self._devices: dict[str, set[str]] = {}
        self._written: set[str] = set()
        """Accounts that Redis has at this node."""
        self._changed: set[str] = set()
        self._lingering: dict[str, asyncio.TimerHandle] = {}
        self._writing = asyncio.Lock()
        """Held while Redis is written: the node's name does not change meanwhile."""
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin the lease. Raises ``RedisError`` or ``OSError``."""
        dead = await self._begin()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(steady("presence: lease", self._live)),
            loop.create_task(steady("presence: who is here", self._write)),
        ]
        await self._clear(dead)

    async def close(self) -> None:
        """Everyone here goes offline; the lease ends."""
        await end_tasks(*self._tasks)
        for timer in self._lingering.values():
            timer.cancel()
        self._devices.clear()
        with contextlib.suppress(RedisError, OSError, SQLAlchemyError):  # the lease runs out, and another hub does it
            await self._clear({self._node: 0.0})

    def attached(self, account: str, device: str) -> None:
        """A device has a socket here."""
        timer = self._lingering.pop(account, None)
        if timer is not None:
            timer.cancel()
        devices = self._devices.setdefault(account, set())
        devices.add(device)
        if len(devices) == 1:
            self._note(account)

    def detached(self, account: str, device: str) -> None:
        """A device lost its socket."""
        devices = self._devices.get(account)
        if devices is None:
            return
        devices.discard(device)
        if not devices:
            del self._devices[account]
            self._lingering[account] = asyncio.get_running_loop().call_later(self._grace, self._left, account)

    def _left(self, account: str) -> None:
        self._lingering.pop(account, None)
        self._note(account)

    def _note(self, account: str) -> None:
        self._changed.add(account)
        self._idle.clear()
        self._wake.set()

    async def settled(self) -> None:
        """Wait until Redis has what is here (and nobody lingers); for tests and for measuring."""
        while self._lingering or self._changed or not self._idle.is_set():
            if not self._lingering and not self._changed:
                await self._idle.wait()
            else:
                await asyncio.sleep(_GATHER)

    # --- writing ---------------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(_GATHER)
            self._wake.clear()
            changed, self._changed = self._changed, set()
            try:
                async with self._writing:
                    await self._settle(list(changed))
            except Exception as error:
                self._changed |= changed
                if not isinstance(error, RedisError | OSError | SQLAlchemyError | TimeoutError):
                    self._wake.set()
                    raise
                log.error("presence: a store does not answer (%s); trying again", type(error).__name__)
                await asyncio.sleep(1.0)
                self._wake.set()
                continue
            if not self._changed:
                self._idle.set()

    async def _settle(self, accounts: list[str]) -> None:
        """Bring Redis to what is here."""
        for start in range(0, len(accounts), _CHUNK):
            some = accounts[start : start + _CHUNK]
            joined = [account for account in some if account in self._devices and account not in self._written]
            left = [account for account in some if account not in self._devices and account in self._written]
            # first when, then that: whoever is told of a change finds the time with it
            await self._seen([*joined, *left], self._clock())
            if joined:
                await self._store.join(self._node, joined)
                self._written.update(joined)
            if left:
                await self._store.leave(self._node, left)
                self._written.difference_update(left)
            if joined or left:
                await self._bus.publish(Hint(status=[*joined, *left]))

    async def _seen(self, accounts: Collection[str], at: float) -> None:
        """Record that accounts were seen, of those who allow it."""
        allowed = await self._relations.recording(accounts, now=True)
        if not allowed:
            return
        await self._store.record(dict.fromkeys(allowed, minute(at)))
        # switched off, or deleted, while we wrote? Then what was written goes, whichever of the two came last
        await self._store.forget(allowed - await self._relations.recording(allowed))

    # --- the lease -------------------------------------------------------------------------------------------------------

    async def _begin(self) -> dict[str, float]:
        self._node = secrets.token_urlsafe(9)
        self._written.clear()
        _, dead = await self._store.beat(self._node, begin=True)
        return dead

    async def _live(self) -> None:
        while True:
            await asyncio.sleep(self._beat)
            try:
                await self.beat()
            except (RedisError, OSError, SQLAlchemyError, TimeoutError) as error:
                log.error("presence: no sign of life given (%s)", type(error).__name__)

    async def beat(self) -> None:
        """Renew the lease, and clear nodes that are dead. A lease that ran out is not revived: others took us for dead, we begin anew."""
        holds, dead = await self._store.beat(self._node, begin=False)
        if not holds:
            async with self._writing:
                before = self._node
                dead |= await self._begin()
            dead[before] = 0.0
            for account in self._devices:
                self._note(account)
        dead.pop(self._node, None)
        await self._clear(dead)

    async def _clear(self, dead: dict[str, float]) -> None:
        """Take the accounts of dead nodes offline; their last sign of life is when they were seen."""
        for node, ago in dead.items():
            since = self._clock() - ago - (LEASE if ago else 0.0)
            while some := await self._store.at(node, _CHUNK):
                await self._seen(some, since)
                await self._store.leave(node, some)
                await self._bus.publish(Hint(status=some))
            await self._store.end(node)
