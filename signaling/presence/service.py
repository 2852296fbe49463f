"""Presence (P16): who is connected is kept, and told to those who may see it, at once."""

import time
from collections.abc import Callable
from typing import Final, Protocol

from signaling.gateway.rate import TokenBucket
from signaling.gateway.request import Session
from signaling.presence.bus import Bus, Hint
from signaling.presence.connected import GRACE, Connected
from signaling.presence.relations import Contacts, Relations
from signaling.presence.rules import Sight, view
from signaling.presence.store import PresenceStore
from signaling.presence.watchers import Send, Watchers
from signaling.storage.sql import Database
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.messages import MAX_WATCHED, Ok, Presence, PresenceWatch, ServerMessage

_BURST: Final = 4.0 * MAX_WATCHED
_RATE: Final = MAX_WATCHED / 20.0
"""Accounts that one device may ask to watch: at once, and a second. A change of the list counts as its length, and one."""


class Reply(Protocol):
    """Answers a request."""

    def __call__(self, message: ServerMessage, /) -> object:
        """Send the answer."""


class PresenceService:
    """Presence at one hub of one or many.

    Args:
        send: hands a message to a device's socket here.
        clock: seconds since 1970.
        grace: seconds that an account stays online without a socket.
    """

    def __init__(
        self,
        *,
        store: PresenceStore,
        database: Database,
        contacts: Contacts,
        bus: Bus,
        send: Send,
        clock: Callable[[], float] = time.time,
        grace: float = GRACE,
    ) -> None:
        self._store = store
        self._relations = Relations(database, contacts)
        self._bus = bus
        self._clock = clock
        self.connected = Connected(store=store, relations=self._relations, bus=bus, clock=clock, grace=grace)
        self.watchers = Watchers(store=store, relations=self._relations, send=send, clock=clock)
        self._rates: dict[str, TokenBucket] = {}

    async def start(self) -> None:
        """Begin. Raises ``RedisError`` or ``OSError``."""
        await self._bus.start(self.watchers.heard, self.watchers.look_again)
        self.watchers.start()
        await self.connected.start()

    async def close(self) -> None:
        """Everyone here goes offline."""
        await self.connected.close()
        await self.watchers.close()
        await self._bus.close()

    # --- what the gateway tells --------------------------------------------------------------------------------------------

    def attached(self, session: Session) -> None:
        """A device has a socket."""
        self.connected.attached(session.account, session.device)

    def detached(self, session: Session) -> None:
        """A device lost its socket; it watches nobody any more."""
        self._rates.pop(session.device, None)
        self.watchers.leave(session.device)
        self.connected.detached(session.account, session.device)

    def submit(self, session: Session, message: PresenceWatch, reply: Reply) -> None:
        """``presence.watch``. Raises ``Refused`` (``rate_limited``)."""
        now = time.monotonic()
        rate = self._rates.setdefault(session.device, TokenBucket.full(_BURST, _RATE, now))
        wait = rate.take(now, 1 + len(message.accounts))
        if wait:
            raise Refused(ErrorCode.RATE_LIMITED, retry_after=wait)
        reply(Ok(re=message.id))
        self.watchers.watch(session.account, session.device, message.accounts)

    # --- REST --------------------------------------------------------------------------------------------------------------

    async def get(self, session: Session, account: str) -> Presence:
        """What one account may see of another. Who may not be seen and who does not exist look alike."""
        may, _ = (await self._relations.sights(session.account, [account]))[account]
        if may == Sight.NOTHING:
            return Presence(account=account)
        seen = (await self._store.read([account]))[account]
        return view(account, seen, may, self._clock())

    # --- what other features tell --------------------------------------------------------------------------------------------

    async def rules_changed(self, account: str) -> None:
        """Blocks, address book or number of an account changed: it holds for those who watch now.

        Raises ``RedisError`` or ``OSError``; to be repeated then.
        """
        await self._bus.publish(Hint(rules=[account]))

    async def settings_changed(self, account: str) -> None:
        """As ``rules_changed``, and what may not be kept any more is deleted. Raises ``SQLAlchemyError`` too."""
        await self.rules_changed(account)
        if not await self._relations.recording([account]):
            await self._store.forget([account])

    async def forget_account(self, account: str) -> None:
        """An account was deleted: nothing of it is kept, and who watched it is told. Raises as ``rules_changed``."""
        await self._store.erase(account)
        await self.rules_changed(account)

    async def sweep(self) -> int:
        """Delete what must not be here: last seen of accounts that are gone or do not allow it. Answers how many."""
        recorded = await self._store.recorded()
        gone = frozenset(recorded) - await self._relations.recording(recorded)
        await self._store.forget(gone)
        return len(gone)
