"""The rights of a signed-in user (P22, P23), each proven to be asked for by the device itself, not by who found its token."""

import time
from collections.abc import Callable
from typing import Final

from signaling.gateway.rate import TokenBucket
from signaling.gateway.request import Download, Session
from signaling.privacy import proof
from signaling.privacy.erasure import Erasure
from signaling.privacy.export import Exporter
from signaling.privacy.restriction import Restriction
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.rest import ChangeRestriction, Proof

_EXPORTS: Final = 3.0
_EXPORT_EVERY: Final = 600.0
"""Exports that one account may have at once, and seconds until it may have one more: an export reads everything."""
_REMEMBERED: Final = 10_000


class Rights:
    """Export, erasure and restriction of one's own account."""

    def __init__(
        self,
        *,
        exporter: Exporter,
        erasure: Erasure,
        restriction: Restriction,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._exporter = exporter
        self._erasure = erasure
        self._restriction = restriction
        self._clock = clock
        self._buckets: dict[str, TokenBucket] = {}

    async def export(self, session: Session, body: Proof) -> Download:
        """The archive. Raises ``Refused`` (``proof_invalid``, ``rate_limited``)."""
        proof.check(body, proof.EXPORT, session.certificate, self._clock())
        self._limit(session.account)
        try:
            content = await self._exporter.archive(session.account)
        except LookupError:
            raise Refused(ErrorCode.UNAUTHENTICATED) from None  # deleted a moment ago
        return Download(content, "kloudtalk-export.zip")

    async def delete(self, session: Session, body: Proof) -> None:
        """Delete the account. Two deletions at once are one."""
        proof.check(body, proof.DELETE, session.certificate, self._clock())
        await self._erasure.erase_account(session.account)

    async def restrict(self, session: Session, body: ChangeRestriction) -> None:
        """Freeze or unfreeze the account."""
        act = proof.RESTRICT if body.restricted else proof.UNRESTRICT
        proof.check(body.proof, act, session.certificate, self._clock())
        if not await self._restriction.set(session.account, restricted=body.restricted):
            raise Refused(ErrorCode.UNAUTHENTICATED)

    def _limit(self, account: str) -> None:
        now = self._clock()
        bucket = self._buckets.pop(account, None) or TokenBucket.full(_EXPORTS, 1 / _EXPORT_EVERY, now)
        self._buckets[account] = bucket
        if len(self._buckets) > _REMEMBERED:
            del self._buckets[next(iter(self._buckets))]
        wait = bucket.take(now)
        if wait:
            raise Refused(ErrorCode.RATE_LIMITED, retry_after=wait)
