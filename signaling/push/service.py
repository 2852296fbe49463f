"""Wakes devices that a ringing call does not reach; keeps where they are woken."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import UNSET
from sqlalchemy.exc import SQLAlchemyError

from signaling.gateway.rate import TokenBuckets
from signaling.gateway.request import Session
from signaling.push.encryption import check_key
from signaling.push.rules import Result, check_endpoint, next_try
from signaling.push.sender import Sender, Wake
from signaling.push.store import PushStore, Subscription
from signaling.tasks import end_tasks
from signaling.telemetry.counting import count
from signaling.wire import base64url
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.rest import PushKind, PushState, SetPush

log = logging.getLogger(__name__)

_AT_ONCE: Final = 64
"""Pushes on their way at a time; the others wait."""
_WAITING: Final = 5_000
"""Calls whose pushes may wait; more are dropped: who floods must not fill the memory."""
_BURST: Final = 6.0
_RATE: Final = 1 / 20
"""Pushes to one device: at once, and a second. Enough for a person who calls again and again."""
_DEVICES: Final = 50_000
"""Devices whose rate is remembered."""


class PushService:
    """Pushes of this hub.

    Args:
        senders: by kind; a kind that is missing is not offered.
        vapid_key: for browsers, if web push is offered.
        hosts: push services that browsers may name (``rules.check_endpoint``).
    """

    def __init__(
        self,
        *,
        store: PushStore,
        senders: Mapping[PushKind, Sender],
        vapid_key: str | None = None,
        hosts: Sequence[str] = ("*",),
        allow_private: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._senders = dict(senders)
        self._vapid_key = vapid_key
        self._hosts, self._allow_private = tuple(hosts), allow_private
        self._clock = clock
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._buckets = TokenBuckets(_BURST, _RATE, _DEVICES)
        self._tasks: set[asyncio.Task[None]] = set()
        self.counts: dict[tuple[str, str], int] = {}
        """What became of pushes, by kind and result: that of the last try, ``late`` when its time was over, ``limited``."""

    # --- a device's subscription -----------------------------------------------------------------------------------------------

    async def state(self, session: Session) -> PushState:
        """What is offered, and what this device has."""
        found = await self._store.of([session.device])
        return PushState(
            kinds=sorted(self._senders),
            vapid_key=UNSET if self._vapid_key is None or PushKind.WEB not in self._senders else self._vapid_key,
            subscribed=found[0].kind if found else UNSET,
        )

    async def subscribe(self, session: Session, body: SetPush) -> PushState:
        """Keep where this device is woken, in the place of what was kept before."""
        if body.kind not in self._senders:
            raise Refused(ErrorCode.INVALID, f"kind: this server does not send by {body.kind}")
        p256dh = auth = None
        if body.kind is PushKind.WEB:
            check_endpoint(body.endpoint, hosts=self._hosts, allow_private=self._allow_private)
            p256dh, auth = _keys(body)
        elif not body.endpoint.isascii() or not body.endpoint.replace("-", "").replace("_", "").replace(":", "").isalnum():
            raise Refused(ErrorCode.INVALID, "endpoint: not a device token")
        await self._store.put(
            session.account, Subscription(session.device, body.kind, body.endpoint, p256dh, auth), int(time.time() * 1000)
        )
        return await self.state(session)

    async def unsubscribe(self, session: Session) -> None:
        """Forget where this device is woken."""
        await self._store.remove(session.device)

    # --- waking ----------------------------------------------------------------------------------------------------------------

    def wake(self, devices: Sequence[str], ttl: float, wake: Wake = Wake.CALL) -> None:
        """Wake those of some devices that can be woken; returns at once. ``ttl``: seconds for which it is of use."""
        if not devices or not self._senders:
            return
        if len(self._tasks) >= _WAITING:
            log.warning("push: too many calls wait for their pushes; one more has none")
            return
        task = asyncio.get_running_loop().create_task(self._wake(tuple(devices), self._clock() + ttl, wake))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wake(self, devices: Sequence[str], until: float, wake: Wake) -> None:
        try:
            found = await self._store.of(devices)
        except (SQLAlchemyError, OSError) as error:
            log.error("push: the database does not answer (%s)", type(error).__name__)
            return
        await asyncio.gather(*(self._push(to, until, wake) for to in found if self._may(to)))

    async def _push(self, to: Subscription, until: float, wake: Wake) -> None:
        sender = self._senders.get(to.kind)
        if sender is None:
            return  # of a time when this kind was configured
        tries = 0
        while True:
            async with self._slots:
                left = until - self._clock()
                if left <= 0:
                    count(self.counts, (to.kind, "late"))
                    return
                outcome = await sender.send(to, left, wake)
            tries += 1
            if outcome.result is Result.SENT:
                count(self.counts, (to.kind, outcome.result))
                return
            if outcome.result is Result.GONE:
                count(self.counts, (to.kind, outcome.result))
                await self._forget(to)
                return
            wait = next_try(tries, outcome, until - self._clock())
            if wait is None:
                count(self.counts, (to.kind, outcome.result))
                log.warning("push: %s was not taken: %s %s", to.kind, outcome.result, outcome.why)
                return
            await asyncio.sleep(wait)

    async def _forget(self, to: Subscription) -> None:
        try:
            await self._store.remove(to.device, to.endpoint)
        except (SQLAlchemyError, OSError) as error:
            log.error("push: the database does not answer (%s)", type(error).__name__)

    def _may(self, to: Subscription) -> bool:
        may = self._buckets.take(to.device, self._clock()) == 0
        if not may:
            count(self.counts, (to.kind, "limited"))
        return may

    async def close(self) -> None:
        """Drop what waits, close connections."""
        tasks = tuple(self._tasks)
        await end_tasks(*tasks)
        for sender in self._senders.values():
            await sender.close()


def _keys(body: SetPush) -> tuple[str, str]:
    if body.p256dh is UNSET or body.auth is UNSET:
        raise Refused(ErrorCode.INVALID, "p256dh and auth are needed for web push")
    try:
        check_key(base64url.decode(body.p256dh))
        base64url.decode(body.auth)
    except ValueError:
        raise Refused(ErrorCode.INVALID, "p256dh or auth: not a key") from None
    return body.p256dh, body.auth
