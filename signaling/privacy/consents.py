"""Consents: each yes and each no is on record with its time, the policy version and the very text that was shown (P05, P21)."""

import time
from collections.abc import Awaitable, Callable

from msgspec import UNSET
from sqlalchemy import insert, select

from signaling.privacy.purposes import text_hash
from signaling.storage.sql import Database
from signaling.storage.tables import consents
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.rest import ChangeConsent, Consent, Consents, Purpose


class ConsentService:
    """The record of consents.

    Args:
        on_withdrawn: called with account and purpose after a withdrawal is on record; deletes what was collected.
    """

    def __init__(
        self,
        *,
        database: Database,
        policy_version: str,
        on_withdrawn: Callable[[str, str], Awaitable[None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._policy_version = policy_version
        self._on_withdrawn = on_withdrawn
        self._clock = clock

    async def granted(self, account: str, purpose: Purpose) -> bool:
        """True only after an explicit yes that was not withdrawn."""
        return (await self._current(account, purpose)).granted

    async def list(self, account: str) -> Consents:
        """Where every purpose stands."""
        return Consents([await self._current(account, purpose) for purpose in Purpose])

    async def change(self, account: str, purpose: Purpose, body: ChangeConsent) -> Consent:
        """Record a yes or a no. A yes must refer to the text as it is now; a no is never refused."""
        if body.granted and body.sha256 != text_hash(purpose):
            raise Refused(ErrorCode.INVALID, "`sha256` is not that of the text that is asked now; show it again")
        now = int(self._clock() * 1000)
        async with self._database.begin() as connection:
            await connection.execute(
                insert(consents).values(
                    account=account,
                    purpose=purpose,
                    granted=body.granted,
                    policy_version=self._policy_version,
                    text_sha256=text_hash(purpose),
                    at=now,
                )
            )
        if not body.granted:
            await self._on_withdrawn(account, purpose)
        return Consent(purpose=purpose, granted=body.granted, at=now, policy_version=self._policy_version)

    async def _current(self, account: str, purpose: Purpose) -> Consent:
        query = (
            select(consents.c.granted, consents.c.at, consents.c.policy_version)
            .where(consents.c.account == account, consents.c.purpose == purpose)
            .order_by(consents.c.id.desc())
            .limit(1)
        )
        async with self._database.begin() as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            return Consent(purpose=purpose, granted=False, at=UNSET, policy_version=UNSET)
        return Consent(purpose=purpose, granted=row.granted, at=row.at, policy_version=row.policy_version)
