"""How well calls work (P17): what a device counted and what the relay saw, once for each call, for who has allowed it; no content, no address.
And what devices hear while a call goes on (``samples.py``).

What is kept of a call stays 30 days (``privacy/retention.py``), is shown to its owner in the call history, and goes with the line there, the consent or the account.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import UNSET
from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from media.quality import mos
from signaling.calls.samples import HeardSample, HeardSamples
from signaling.gateway.request import Session
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, call_quality, call_records
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.rest import HeardNow, KeptQuality, MeasuredQuality, RelayQuality


def score(measured: MeasuredQuality) -> int | None:
    """Mean opinion score of what was heard over a whole call, in hundredths (pure); None when nothing came."""
    way = measured.received
    sent = way.packets + way.lost
    if not sent:
        return None
    rtt = 0.0 if measured.rtt is UNSET else measured.rtt
    return round(100 * mos(loss=way.lost / sent, jitter=way.jitter, rtt=rtt))


def kept(row: Any) -> KeptQuality:
    """A row of ``call_quality`` as its owner sees it (pure)."""
    return KeptQuality(
        mos=UNSET if row.mos is None else row.mos / 100,
        measured=UNSET if row.measured is None else msgspec.json.decode(row.measured, type=MeasuredQuality),
        relayed=UNSET if row.relayed is None else msgspec.json.decode(row.relayed, type=RelayQuality),
    )


class QualityService:
    """Keeps quality with the calls.

    Args:
        consents: whether an account allows it (the consent ``quality``).
        write_history: brings history lines that are on their way to SQL there.
        party: which side of a live call a device is; None: none.
        samples: where it is kept what devices hear while a call goes on.
    """

    def __init__(
        self,
        *,
        database: Database,
        consents: Callable[[str], Awaitable[bool]],
        write_history: Callable[[], Awaitable[object]],
        party: Callable[[Session, str], Awaitable[int | None]],
        samples: HeardSamples,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._consents = consents
        self._write_history = write_history
        self._party = party
        self._samples = samples
        self._clock = clock

    async def tell(self, session: Session, call: str, measured: MeasuredQuality) -> None:
        """Keep what a device counted in one of its account's calls. Raises ``Refused``: ``consent_required``, ``unknown_call``."""
        if not await self._consents(session.account):
            raise Refused(ErrorCode.CONSENT_REQUIRED)
        if await self._party(session, call) is None and not await self._was(session.account, call):
            raise Refused(ErrorCode.UNKNOWN_CALL)
        if not await self._keep(session.account, call, mos=score(measured), measured=msgspec.json.encode(measured).decode()):
            raise Refused(ErrorCode.CONSENT_REQUIRED)

    async def heard(self, session: Session, call: str, now: HeardNow) -> None:
        """Keep how a call that goes on is heard at a device. Raises ``Refused``: ``consent_required``, ``unknown_call``."""
        account = session.account
        if not await self._consents(account):
            raise Refused(ErrorCode.CONSENT_REQUIRED)
        side = await self._party(session, call)
        if side is None:
            raise Refused(ErrorCode.UNKNOWN_CALL)
        rtt = None if now.rtt is UNSET else now.rtt
        opinion = round(mos(loss=now.loss, jitter=now.jitter, rtt=rtt or 0.0), 2)
        sample = HeardSample(round(self._clock(), 1), round(now.loss, 4), round(now.jitter, 4), rtt, opinion)
        await self._samples.add(account, call, side, sample)
        if not await self._consents(account):  # withdrawn while we wrote
            await self._samples.forget(account)
            raise Refused(ErrorCode.CONSENT_REQUIRED)

    async def wanted(self, account: str) -> bool:
        """Whether what a relay saw is kept for an account."""
        return await self._consents(account)

    async def relayed(self, account: str, call: str, quality: RelayQuality) -> None:
        """Keep what a relay saw of a call that has ended."""
        await self._keep(account, call, relayed=msgspec.json.encode(quality).decode())

    async def forget(self, account: str) -> None:
        """The consent was withdrawn: delete all of it."""
        async with self._database.begin() as connection:
            await connection.execute(delete(call_quality).where(call_quality.c.account == account))
        await self._samples.forget(account)

    async def forget_call(self, account: str, call: str) -> None:
        """The account's line of the call was deleted: what its devices heard goes, too."""
        await self._samples.forget(account, call)

    async def forget_heard(self, account: str) -> None:
        """The same for all lines."""
        await self._samples.forget(account)

    async def _was(self, account: str, call: str) -> bool:
        """Whether a call in which both talked is in the account's history."""
        await self._write_history()
        mine = (call_records.c.account == account) & (call_records.c.call == call) & call_records.c.connected_at.is_not(None)
        return bool(await self._database.fetch(select(call_records.c.call).where(mine)))

    async def _keep(self, account: str, call: str, **values: Any) -> bool:
        """Write one part of a row; False when the account is gone, or has withdrawn meanwhile."""
        async with self._database.begin() as connection:
            # a service has nothing kept, and an account may have been deleted since
            person = select(accounts.c.id).where(accounts.c.id == account, accounts.c.service.is_(None))
            if (await connection.execute(person)).first() is None:
                return False
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            row = dialect.insert(call_quality).values(account=account, call=call, at=int(self._clock() * 1000), **values)
            await connection.execute(row.on_conflict_do_update(index_elements=["account", "call"], set_=values))
        # withdrawn while we wrote? Then what was written goes, whichever of the two came last
        if await self._consents(account):
            return True
        await self.forget(account)
        return False
