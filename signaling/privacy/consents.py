"""Consents: each yes and each no is on record with its time, the policy version and the very text that was shown (P05, P21)."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec import UNSET
from sqlalchemy import Row, func, insert, select

from signaling.privacy.purposes import is_current, text_hash
from signaling.storage.gather import Gather
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
        self._answers: Gather[tuple[str, str], Consent] = Gather(self._read)

    async def granted(self, account: str, purpose: Purpose) -> bool:
        """True only after an explicit yes, to the words that are asked now, that was not withdrawn: nothing new is collected without."""
        return (await self._current(account, purpose)).granted

    async def withdrawn(self, account: str, purpose: Purpose) -> bool:
        """Whether nothing that was collected may stay: there was no yes, or a no came after it.

        What was collected under words that have changed since stays until the user answers the new ones.
        """
        current = await self._current(account, purpose)
        return not (current.granted or current.changed)

    async def list(self, account: str) -> Consents:
        """Where every purpose stands."""
        return Consents([await self._current(account, purpose) for purpose in Purpose])

    async def change(self, account: str, purpose: Purpose, body: ChangeConsent) -> Consent:
        """Record a yes or a no. A yes must refer to the text as it is now, in any language; a no is never refused."""
        shown = is_current(purpose, body.sha256)
        if body.granted and not shown:
            raise Refused(ErrorCode.INVALID, "`sha256` is not that of the text that is asked now; show it again")
        now = int(self._clock() * 1000)
        async with self._database.begin() as connection:
            await connection.execute(
                insert(consents).values(
                    account=account,
                    purpose=purpose,
                    granted=body.granted,
                    policy_version=self._policy_version,
                    text_sha256=body.sha256 if shown else text_hash(purpose),
                    at=now,
                )
            )
        if not body.granted:
            await self._on_withdrawn(account, purpose)
        return Consent(purpose=purpose, granted=body.granted, at=now, policy_version=self._policy_version)

    async def _current(self, account: str, purpose: Purpose) -> Consent:
        answer = await self._answers.get((account, purpose))
        return Consent(purpose=purpose, granted=False, at=UNSET, policy_version=UNSET) if answer is None else answer

    async def _read(self, asked: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Consent]:
        """The last answer to each, in one statement: everyone who connects may come by here."""
        people, purposes = {account for account, _ in asked}, {purpose for _, purpose in asked}
        last = (
            select(func.max(consents.c.id))
            .where(consents.c.account.in_(people), consents.c.purpose.in_(purposes))
            .group_by(consents.c.account, consents.c.purpose)
        )
        # not in a transaction: that would wait for whoever writes
        rows = await self._database.fetch(select(consents).where(consents.c.id.in_(last)))
        return {(row.account, row.purpose): _consent(row) for row in rows}


def _consent(row: Row[Any]) -> Consent:
    """What stands, by the last answer: a yes to words that are asked no more is none, until the new ones are answered."""
    purpose = Purpose(row.purpose)
    current = is_current(purpose, row.text_sha256)
    return Consent(
        purpose=purpose,
        granted=row.granted and current,
        at=row.at,
        policy_version=row.policy_version,
        changed=row.granted and not current,
    )
