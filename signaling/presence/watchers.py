"""Who watches whom at this hub, and what they are told.

One worker takes what happened in the order it happened: it asks the stores, and tells at once what they said. So what a device was told last is
never older than what it was told before, and a change of rules that was heard before a change of status holds for it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from signaling.presence.bus import Hint
from signaling.presence.relations import Relations
from signaling.presence.rules import MINUTE, Seen, Sight, view
from signaling.presence.store import PresenceStore
from signaling.tasks import end_tasks, steady
from signaling.wire.messages import Presence, PresenceChanged

log = logging.getLogger(__name__)

_AT_ONCE: Final = 8
"""Relations read at the same time."""
_RETRY: Final = 1.0

Send = Callable[[str, PresenceChanged], object]
"""Hands a message to a device; nothing happens when it has no socket here."""


class _Watch(Struct):
    """A device's list."""

    account: str
    owners: frozenset[str]


class Watchers:
    """All watching devices of this hub.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, *, store: PresenceStore, relations: Relations, send: Send, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._relations = relations
        self._send = send
        self._clock = clock
        self._watching: dict[str, _Watch] = {}
        self._devices_of: dict[str, set[str]] = {}
        self._watchers: dict[str, dict[str, Sight]] = {}
        """By owner, what each watching device may see."""
        self._snapshots: set[str] = set()
        self._rules: set[str] = set()
        self._status: set[str] = set()
        self._held_back: set[str] = set()
        """Owners that were seen in this minute: who may not see online is told when it is over."""
        self._over: set[str] = set()
        self._all = False
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self._minute: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to work."""
        self._task = asyncio.get_running_loop().create_task(steady("presence: watchers", self._round_after_round))

    async def close(self) -> None:
        """Stop."""
        if self._minute is not None:
            self._minute.cancel()
        if self._task is not None:
            await end_tasks(self._task)

    def __len__(self) -> int:
        """Devices that watch somebody."""
        return len(self._watching)

    def watch(self, account: str, device: str, owners: Iterable[str]) -> None:
        """From now on a device watches these accounts and no others; it is told all of them."""
        self.leave(device)
        watched = frozenset(owners)
        if not watched:
            return
        self._watching[device] = _Watch(account, watched)
        self._devices_of.setdefault(account, set()).add(device)
        for owner in watched:
            self._watchers.setdefault(owner, {})[device] = Sight.NOTHING
        self._snapshots.add(device)
        self._call()

    def leave(self, device: str) -> None:
        """A device watches nobody any more."""
        watch = self._watching.pop(device, None)
        if watch is None:
            return
        self._snapshots.discard(device)
        own = self._devices_of[watch.account]
        own.discard(device)
        if not own:
            del self._devices_of[watch.account]
        for owner in watch.owners:
            watchers = self._watchers[owner]
            del watchers[device]
            if not watchers:
                del self._watchers[owner]

    def heard(self, hint: Hint) -> None:
        """Something changed, here or at another hub."""
        self._status.update(account for account in hint.status if account in self._watchers)
        self._rules.update(account for account in hint.rules if account in self._watchers or account in self._devices_of)
        if self._status or self._rules:
            self._call()

    def look_again(self) -> None:
        """Hints may have been missed."""
        self._all = True
        self._call()

    def minute_over(self) -> None:
        """Tell what was held back until its minute was over. The worker's own timer calls it; tests with a clock of their own do too."""
        self._over |= self._held_back
        self._held_back = set()
        if self._over:
            self._call()

    async def settled(self) -> None:
        """Wait until everything heard so far was told; for tests and for measuring."""
        await self._idle.wait()

    def _call(self) -> None:
        self._idle.clear()
        self._wake.set()

    async def _round_after_round(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._round()
            except Exception as error:
                self._wake.set()
                if not isinstance(error, RedisError | OSError | SQLAlchemyError | TimeoutError):
                    raise
                log.error("presence: a store does not answer (%s); trying again", type(error).__name__)
                await asyncio.sleep(_RETRY)
            if not self._wake.is_set():
                self._idle.set()

    async def _round(self) -> None:
        """Take everything that happened so far. When a store does not answer it is put back, and until then nobody sees what is in doubt."""
        rules, status, over, snapshots = self._rules, self._status, self._over, self._snapshots
        if self._all:
            snapshots = set(self._watching)
        self._rules, self._status, self._over, self._snapshots, everything = set(), set(), set(), set(), self._all
        self._all = False
        # by device, the owners that it is told of
        tell: dict[str, set[str]] = {}
        try:
            await self._judge(rules, snapshots, tell)
            for device in snapshots:
                if (watch := self._watching.get(device)) is not None:
                    tell.setdefault(device, set()).update(watch.owners)
            owners = {owner for owners in tell.values() for owner in owners} | ((status | over) & self._watchers.keys())
            seen = await self._store.read(owners)
        except BaseException:
            self._rules |= rules
            self._status |= status
            self._over |= over
            self._snapshots |= snapshots & self._watching.keys() | (tell.keys() & self._watching.keys())
            self._all = self._all or everything
            raise
        for owner in status | over:
            for device, may in self._watchers.get(owner, {}).items():
                if (may & Sight.ONLINE and owner in status) or (may == Sight.LAST_SEEN and owner in over):
                    tell.setdefault(device, set()).add(owner)
                elif may == Sight.LAST_SEEN:
                    self._hold_back(owner)
        now = self._clock()
        for device, wanted in tell.items():
            watch = self._watching.get(device)
            if watch is not None and device not in self._snapshots:  # else its list is new, and it is told all of it soon
                shown = [self._view(device, owner, seen[owner], now) for owner in wanted if owner in watch.owners and owner in seen]
                if shown:
                    self._send(device, PresenceChanged(shown))

    def _view(self, device: str, owner: str, seen: Seen, now: float) -> Presence:
        may = self._watchers[owner][device]
        if may == Sight.LAST_SEEN and seen.last_seen is not None and now * 1000 < seen.last_seen + MINUTE:
            self._hold_back(owner)
        return view(owner, seen, may, now)

    def _hold_back(self, owner: str) -> None:
        self._held_back.add(owner)
        if self._minute is None or self._minute.when() <= asyncio.get_running_loop().time():
            self._minute = asyncio.get_running_loop().call_later(60.0 - self._clock() % 60.0 + 0.05, self.minute_over)

    async def _judge(self, rules: set[str], snapshots: set[str], tell: dict[str, set[str]]) -> None:
        """Find out anew who may see what, of accounts whose rules changed and of devices that are new."""
        # account -> the accounts that it must be held against
        pairs: dict[str, set[str]] = {}
        for account in rules:
            others = {self._watching[device].account for device in self._watchers.get(account, {})}
            for device in self._devices_of.get(account, ()):
                others |= self._watching[device].owners
            if others:
                pairs[account] = others
        for device in snapshots:
            if (watch := self._watching.get(device)) is not None:
                pairs.setdefault(watch.account, set()).update(watch.owners)
        limit = asyncio.Semaphore(_AT_ONCE)

        async def read(account: str, others: set[str]) -> None:
            try:
                async with limit:
                    sights = await self._relations.sights(account, others)
            except BaseException:
                self._apply(account, dict.fromkeys(others, (Sight.NOTHING, Sight.NOTHING)), tell)
                raise
            self._apply(account, sights, tell)

        results = await asyncio.gather(*(read(account, others) for account, others in pairs.items()), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def _apply(self, account: str, sights: dict[str, tuple[Sight, Sight]], tell: dict[str, set[str]]) -> None:
        """Set what devices may see; those that may see something else than before are to be told."""

        def put(device: str, owner: str, may: Sight) -> None:
            watchers = self._watchers.get(owner)
            if watchers is not None and device in watchers and watchers[device] != may:
                watchers[device] = may
                tell.setdefault(device, set()).add(owner)

        for other, (sees, shows) in sights.items():
            for device in self._devices_of.get(account, ()):
                put(device, other, sees)
            for device in self._devices_of.get(other, ()):
                put(device, account, shows)
