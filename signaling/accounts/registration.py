"""Registration: a number and an address, each proven by a six-digit code, become an account with its first device (P01).

Answers are the same whether or not a number or an address has an account; only who has proven to hold one learns that it is taken.
Both proven for the same account is a registration anew: the account stays, every device of it is replaced.
"""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from signaling.accounts import rules
from signaling.accounts.certificates import CertificateInvalid, verify_chain
from signaling.accounts.delivery import Delivery, DeliveryError
from signaling.accounts.events import AccountEvents
from signaling.accounts.registration_store import RegistrationStore
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, devices
from signaling.wire import base64url
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.rest import Channel, CreateAccount, Registration, SignedIn, StartRegistration, WhoCanCall

LIMITS: Final = {"ip": 30, "phone": 5, "email": 5}
"""Codes an hour: sent to one number, to one address, and asked for from one IP address."""


class Tokens(Protocol):
    """Where discovery tokens come from (``contacts/discovery.py``)."""

    async def token_of(self, e164: str) -> str:
        """The token of one number. Raises ``Refused(unavailable)``."""


class RegistrationService:
    """Runs registrations.

    Args:
        policy_version: the version that must be acknowledged (P04).
        delivery: by channel.
        tokens: computes discovery tokens.
        book_lost: an account was registered anew: the key of its address book is lost with the old devices, so the book must go.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: RegistrationStore,
        delivery: dict[Channel, Delivery],
        tokens: Tokens,
        events: AccountEvents,
        policy_version: str,
        pepper: bytes,
        book_lost: Callable[[str], Awaitable[None]],
        clock: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database = database
        self._store = store
        self._delivery = delivery
        self._tokens = tokens
        self._events = events
        self._policy_version = policy_version
        self._pepper = pepper
        self._book_lost = book_lost
        self._clock = clock
        self._token_bytes = token_bytes

    async def start(self, body: StartRegistration, ip: str) -> Registration:
        """Begin, and send both codes."""
        phone = rules.normalise_phone(body.phone)
        email = rules.normalise_email(body.email)
        if body.policy_version != self._policy_version:
            raise Refused(ErrorCode.POLICY_NOT_ACKNOWLEDGED)
        await self._limit(ip=ip, phone=phone, email=email)
        token = base64url.encode(self._token_bytes(32))
        codes = {channel: rules.code_from_random(self._token_bytes(8)) for channel in Channel}
        now = self._clock()
        record = {"phone": phone, "email": email, "account": base64url.encode(self._token_bytes(16))}
        for channel, code in codes.items():
            record |= {
                f"{channel}_code": rules.code_digest(self._pepper, token, channel, code),
                f"{channel}_sent": repr(now),
                f"{channel}_tries": "0",
            }
        await self._store.create(token, record)
        try:
            await asyncio.gather(*(self._deliver(channel, record[channel], code) for channel, code in codes.items()))
        except Refused:
            await self._store.delete(token)
            raise
        return self._view(token, record)

    async def send_code(self, token: str, channel: Channel, ip: str) -> Registration:
        """Send a new code; the one before ceases to work."""
        record = await self._load(token)
        if f"{channel}_verified" in record:
            return self._view(token, record)
        wait = float(record[f"{channel}_sent"]) + rules.RESEND_AFTER - self._clock()
        if wait > 0:
            raise Refused(ErrorCode.RATE_LIMITED, retry_after=wait)
        await self._limit(ip=ip, **{channel.value: record[channel]})
        code = rules.code_from_random(self._token_bytes(8))
        fresh = {
            f"{channel}_code": rules.code_digest(self._pepper, token, channel, code),
            f"{channel}_sent": repr(self._clock()),
            f"{channel}_tries": "0",
        }
        await self._write(token, fresh)
        try:
            await self._deliver(channel, record[channel], code)
        except Refused:
            # nothing was sent, so the next try need not wait
            await self._store.update(token, {f"{channel}_sent": record[f"{channel}_sent"]})
            raise
        return self._view(token, record | fresh)

    async def verify(self, token: str, channel: Channel, code: str) -> Registration:
        """Prove possession of a channel with its code."""
        record = await self._load(token)
        if f"{channel}_verified" not in record:
            tries = await self._store.count_try(token, channel)
            if not tries:
                raise Refused(ErrorCode.UNAUTHENTICATED)  # it expired a moment ago
            given = rules.code_digest(self._pepper, token, channel, code)
            sent_at = float(record[f"{channel}_sent"])
            rules.check_code(stored=record[f"{channel}_code"], given=given, sent_at=sent_at, tries=tries, now=self._clock())
            record[f"{channel}_verified"] = "1"
            await self._write(token, {f"{channel}_verified": "1"})
        existing = await self._existing(record, channel)
        if existing is not None and record["account"] != existing:
            record["account"] = existing
            await self._write(token, {"account": existing})
        return self._view(token, record)

    async def _existing(self, record: dict[str, str], channel: Channel | None = None) -> str | None:
        """The account that holds the number and the address; refuses when only the proven one of them is held."""
        query = select(accounts.c.id, accounts.c.phone, accounts.c.email)
        async with self._database.begin() as connection:
            rows = (
                await connection.execute(query.where((accounts.c.phone == record["phone"]) | (accounts.c.email == record["email"])))
            ).all()
        for row in rows:
            if row.phone == record["phone"] and row.email == record["email"]:
                return str(row.id)
        for row in rows:
            if row.phone == record["phone"] and channel in (Channel.PHONE, None):
                raise Refused(ErrorCode.PHONE_TAKEN)
            if row.email == record["email"] and channel in (Channel.EMAIL, None):
                raise Refused(ErrorCode.EMAIL_TAKEN)
        return None

    async def finish(self, token: str, body: CreateAccount) -> SignedIn:
        """Create the account, or replace the devices of the one that was proven to be the user's."""
        record = await self._load(token)
        if "phone_verified" not in record or "email_verified" not in record:
            raise Refused(ErrorCode.NOT_VERIFIED)
        existing = await self._existing(record)
        account = existing or record["account"]
        certificate = body.certificate
        if certificate.account != account or len(certificate.chain) != 1:
            raise Refused(ErrorCode.CERTIFICATE_INVALID)
        try:
            await asyncio.to_thread(verify_chain, certificate)
        except CertificateInvalid:
            raise Refused(ErrorCode.CERTIFICATE_INVALID) from None
        discovery_token = await self._tokens.token_of(record["phone"])
        session_token = base64url.encode(self._token_bytes(32))
        now = int(self._clock() * 1000)
        removed: list[str] = []
        values = {"identity_key": certificate.identity_key, "policy_version": self._policy_version}
        try:
            async with self._database.begin() as connection:
                if existing is None:
                    await connection.execute(
                        insert(accounts).values(
                            id=account,
                            phone=record["phone"],
                            email=record["email"],
                            discovery_token=discovery_token,
                            who_can_call=WhoCanCall.CONTACTS,
                            created_at=now,
                            **values,
                        )
                    )
                else:
                    await connection.execute(update(accounts).where(accounts.c.id == account).values(**values))
                    old = await connection.execute(delete(devices).where(devices.c.account == account).returning(devices.c.id))
                    removed = [row.id for row in old]
                await connection.execute(
                    insert(devices).values(
                        id=certificate.device,
                        account=account,
                        name=body.device_name,
                        certificate=msgspec.json.encode(certificate).decode(),
                        token_hash=hashlib.sha256(session_token.encode()).digest(),
                        created_at=now,
                    )
                )
        except IntegrityError:
            await self._existing(record)  # someone was faster with the number or the address
            raise Refused(ErrorCode.DEVICE_EXISTS) from None
        if existing is None:
            self._events.account_created(account, discovery_token)
        else:
            self._events.devices_removed(account, removed)
            await self._book_lost(account)  # before the user can upload a new one
            self._events.devices_changed(account)
        await self._store.delete(token)
        return SignedIn(account=account, device=certificate.device, token=session_token)

    async def _load(self, token: str) -> dict[str, str]:
        record = await self._store.load(token)
        if "phone" not in record:
            raise Refused(ErrorCode.UNAUTHENTICATED)
        return record

    async def _write(self, token: str, fields: dict[str, str]) -> None:
        if not await self._store.update(token, fields):
            raise Refused(ErrorCode.UNAUTHENTICATED)  # it expired a moment ago

    async def _limit(self, **values: str) -> None:
        for kind, value in values.items():
            used, left = await self._store.count(kind, value)
            if used > LIMITS[kind]:
                raise Refused(ErrorCode.RATE_LIMITED, retry_after=float(left))

    async def _deliver(self, channel: Channel, to: str, code: str) -> None:
        try:
            await self._delivery[channel].send(to, code)
        except DeliveryError:
            raise Refused(ErrorCode.DELIVERY_FAILED) from None

    def _view(self, token: str, record: dict[str, str]) -> Registration:
        now = self._clock()
        open_channels = [channel for channel in Channel if f"{channel}_verified" not in record]
        sent = [float(record[f"{channel}_sent"]) for channel in open_channels]
        return Registration(
            token=token,
            phone=record["phone"],
            email=record["email"],
            phone_verified=Channel.PHONE not in open_channels,
            email_verified=Channel.EMAIL not in open_channels,
            expires_in=max(0.0, min(sent) + rules.CODE_LIFETIME - now) if sent else 0.0,
            resend_in={c: max(0.0, float(record[f"{c}_sent"]) + rules.RESEND_AFTER - now) for c in open_channels},
            account=msgspec.UNSET if open_channels else record["account"],
        )
