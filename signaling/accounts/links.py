"""Linking a further device: the old one shows a code, the new one claims it, the old one vouches for the new one's keys.

The code's secret part never reaches the hub. Both devices check each other by MACs under it, so a hub in between is noticed (P10).
"""

import asyncio
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Collection
from typing import Final

import msgspec
from msgspec import UNSET
from redis.exceptions import RedisError
from sqlalchemy import delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from signaling.accounts.certificates import CertificateInvalid, verify_chain
from signaling.accounts.events import AccountEvents
from signaling.accounts.link_store import APPROVING, LINK_LIFETIME, LinkStore
from signaling.gateway.request import Session
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, devices
from signaling.wire import base64url
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.ids import MAX_DEVICES
from signaling.wire.rest import ApproveLink, ClaimedLink, ClaimLink, DeviceLink, LinkOutcome, LinkState, LinkStatus, SignedIn

log = logging.getLogger(__name__)

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base32: no I, L, O, U."""

_WAIT: Final = 25.0
"""Seconds that ``outcome`` waits for a change."""
_POLL: Final = 2.0
"""Seconds between looks at the store while waiting, for changes made through another hub."""


class LinkService:
    """Links devices."""

    def __init__(
        self,
        *,
        database: Database,
        store: LinkStore,
        events: AccountEvents,
        clock: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database = database
        self._store = store
        self._events = events
        self._clock = clock
        self._token_bytes = token_bytes
        self._changed: dict[str, asyncio.Event] = {}

    async def open(self, session: Session) -> DeviceLink:
        """Open a link, for the device that asks."""
        if await self._count(session.account) >= MAX_DEVICES:
            raise Refused(ErrorCode.TOO_MANY_DEVICES)
        link = base64url.encode(self._token_bytes(16))
        for _ in range(8):
            lookup = "".join(ALPHABET[byte % 32] for byte in self._token_bytes(4))
            if await self._store.open(link, lookup, session.account, session.device):
                return DeviceLink(link=link, lookup=lookup, expires_in=float(LINK_LIFETIME))
        raise Refused(ErrorCode.UNAVAILABLE)  # a million codes, eight of them taken: far too many links are open

    async def claim(self, body: ClaimLink) -> ClaimedLink:
        """Claim a link, from the new device."""
        link = await self._store.by_lookup(body.lookup)
        if link is None:
            raise Refused(ErrorCode.NOT_FOUND)
        async with self._database.begin() as connection:
            if (await connection.execute(select(devices.c.id).where(devices.c.id == body.device))).first():
                raise Refused(ErrorCode.DEVICE_EXISTS)
        token = base64url.encode(self._token_bytes(32))
        session_hash = hashlib.sha256(_session_token(token).encode()).hexdigest()
        if not await self._store.claim(link, msgspec.json.encode(body).decode(), session_hash, token):
            raise Refused(ErrorCode.LINK_STATE)
        fields, left = await self._store.load(link)
        if "device" in fields:
            self._events.link_claimed(fields["device"], link)
        return ClaimedLink(token=token, expires_in=left)

    async def status(self, session: Session, link: str) -> LinkStatus:
        """Where a link stands, for the account that opened it."""
        fields, left = await self._load(session, link)
        claim = msgspec.json.decode(fields["claim"], type=ClaimLink) if "claim" in fields else UNSET
        return LinkStatus(link=link, state=await self._state(fields), expires_in=left, claim=claim)

    async def approve(self, session: Session, link: str, body: ApproveLink) -> LinkStatus:
        """Vouch for the new device: its row is made, and it is signed in. What a store's failure cuts off can be asked for again."""
        fields, _ = await self._load(session, link)
        if await self._state(fields) is not LinkState.CLAIMED:
            raise Refused(ErrorCode.LINK_STATE)
        claim = msgspec.json.decode(fields["claim"], type=ClaimLink)
        certificate, own = body.certificate, session.certificate
        leaf = certificate.leaf
        if (
            certificate.account != session.account
            or certificate.identity_key != own.identity_key
            or certificate.chain[:-1] != own.chain
            or (leaf.device, leaf.signing_key, leaf.sealing_key) != (claim.device, claim.signing_key, claim.sealing_key)
        ):
            raise Refused(ErrorCode.CERTIFICATE_INVALID)
        try:
            await asyncio.to_thread(verify_chain, certificate)
        except CertificateInvalid:
            raise Refused(ErrorCode.CERTIFICATE_INVALID) from None
        # first, so that no transaction waits for Redis: a link that is being approved without a row still counts as claimed
        if not await self._store.move(link, fields["state"], APPROVING, msgspec.json.encode(body).decode()):
            raise Refused(ErrorCode.LINK_STATE)  # someone refused it meanwhile
        try:
            async with self._database.begin() as connection:
                # one approval, registration or deletion of an account at a time: two at once could both count the last free place
                await connection.execute(select(accounts.c.id).where(accounts.c.id == session.account).with_for_update())
                count = await connection.execute(
                    select(func.count()).select_from(devices).where(devices.c.account == session.account)
                )
                if count.scalar_one() >= MAX_DEVICES:
                    raise Refused(ErrorCode.TOO_MANY_DEVICES)
                voucher = await connection.execute(select(devices.c.id).where(devices.c.id == session.device))
                if voucher.first() is None:
                    raise Refused(ErrorCode.UNAUTHENTICATED)  # revoked a moment ago: it may not vouch any more
                await connection.execute(
                    insert(devices).values(
                        id=claim.device,
                        account=session.account,
                        name=claim.device_name,
                        certificate=msgspec.json.encode(certificate).decode(),
                        token_hash=bytes.fromhex(fields["session"]),
                        created_at=int(self._clock() * 1000),
                    )
                )
        except IntegrityError:
            raise Refused(ErrorCode.DEVICE_EXISTS) from None
        try:
            approved = await self._store.move(link, APPROVING, LinkState.APPROVED)
        except (RedisError, OSError) as error:
            log.error("link: Redis does not answer (%s); the device's row stands", type(error).__name__)
        else:
            if not approved:  # refused while the row was written
                async with self._database.begin() as connection:
                    await connection.execute(delete(devices).where(devices.c.id == claim.device))
                raise Refused(ErrorCode.LINK_STATE)
        self._wake(link)
        self._events.devices_changed(session.account)
        return await self.status(session, link)

    async def refuse(self, session: Session, link: str) -> None:
        """Refuse the new device, or close a link that nobody claimed."""
        fields, _ = await self._load(session, link)
        before = fields["state"] if await self._state(fields) is LinkState.CLAIMED else LinkState.CLAIMED
        if await self._store.move(link, before, LinkState.REFUSED):
            self._wake(link)
        elif fields["state"] == LinkState.WAITING:
            await self._store.delete(link, fields["lookup"])

    async def outcome(self, token: str) -> LinkOutcome:
        """For the new device: waits up to 25 s until the old one has decided."""
        link = await self._store.by_claim(token)
        if link is None:
            raise Refused(ErrorCode.UNAUTHENTICATED)
        changed = self._changed.setdefault(link, asyncio.Event())
        until = time.monotonic() + _WAIT
        try:
            while True:
                fields, left = await self._store.load(link)
                if not fields:
                    raise Refused(ErrorCode.UNAUTHENTICATED)
                state = await self._state(fields)
                remaining = until - time.monotonic()
                if state != LinkState.CLAIMED or remaining <= 0:
                    break
                try:
                    async with asyncio.timeout(min(_POLL, remaining)):
                        await changed.wait()
                except TimeoutError:
                    pass
        finally:
            self._changed.pop(link, None)
        if state != LinkState.APPROVED:
            return LinkOutcome(state=state, expires_in=left)
        approval = msgspec.json.decode(fields["approval"], type=ApproveLink)
        session = SignedIn(account=fields["account"], device=approval.certificate.device, token=_session_token(token))
        return LinkOutcome(state=state, expires_in=left, approval=approval, session=session)

    def _wake(self, link: str) -> None:
        changed = self._changed.pop(link, None)
        if changed is not None:
            changed.set()

    async def _load(self, session: Session, link: str) -> tuple[dict[str, str], float]:
        fields, left = await self._store.load(link)
        if fields.get("account") != session.account or fields.get("device") != session.device:
            raise Refused(ErrorCode.NOT_FOUND)
        return fields, left

    async def _state(self, fields: dict[str, str]) -> LinkState:
        if fields["state"] != APPROVING:
            return LinkState(fields["state"])
        device = msgspec.json.decode(fields["claim"], type=ClaimLink).device
        token_hash = bytes.fromhex(fields["session"])
        async with self._database.begin() as connection:
            row = await connection.execute(select(devices.c.id).where(devices.c.id == device, devices.c.token_hash == token_hash))
        return LinkState.CLAIMED if row.first() is None else LinkState.APPROVED

    async def forget(self, account: str, opened_by: Collection[str]) -> None:
        """Links that removed devices had opened go at once, and with an account all of its links (P23)."""
        await self._store.forget(account, opened_by)

    async def _count(self, account: str) -> int:
        async with self._database.begin() as connection:
            count = await connection.execute(select(func.count()).select_from(devices).where(devices.c.account == account))
            return int(count.scalar_one())


def _session_token(claim_token: str) -> str:
    """The new device's session token, made from its claim token: so the hub stores neither, and an answer lost on the way can be
    asked for again.
    """
    return base64url.encode(hmac.digest(claim_token.encode(), b"kloudtalk/v1 session of a linked device", hashlib.sha256))
