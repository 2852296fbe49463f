"""A new number or a new address for an account (P03), proven by two codes: one to the new, and one to the other, which stays.

With one code alone, who gets hold of a session could take the account over: change the address, then the number.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from signaling.accounts import rules
from signaling.accounts.delivery import Delivery, DeliveryError
from signaling.accounts.events import AccountEvents
from signaling.accounts.registration import LIMITS, Tokens
from signaling.accounts.registration_store import RegistrationStore
from signaling.gateway.request import Session
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, devices
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.rest import Channel, ContactChange, StartChange, VerifyChange

CHANGES_AN_HOUR: Final = 5
"""Changes that one account may begin in an hour."""
_OTHER: Final = {Channel.PHONE: Channel.EMAIL, Channel.EMAIL: Channel.PHONE}


class ContactChangeService:
    """Changes of numbers and addresses.

    Args:
        delivery: by channel.
        tokens: computes discovery tokens.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: RegistrationStore,
        delivery: dict[Channel, Delivery],
        tokens: Tokens,
        events: AccountEvents,
        pepper: bytes,
        clock: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database = database
        self._store = store
        self._delivery = delivery
        self._tokens = tokens
        self._events = events
        self._pepper = pepper
        self._clock = clock
        self._token_bytes = token_bytes

    async def start(self, session: Session, body: StartChange, ip: str) -> ContactChange:
        """Begin, and send both codes; a change of the same channel that was begun before is forgotten."""
        channel, other = body.channel, _OTHER[body.channel]
        to = rules.normalise_phone(body.to) if channel is Channel.PHONE else rules.normalise_email(body.to)
        name, now = _name(session.account, channel), self._clock()
        before = await self._store.load(name)
        wait = float(before["sent"]) + rules.RESEND_AFTER - now if before else 0.0
        if wait > 0:
            raise Refused(ErrorCode.RATE_LIMITED, retry_after=wait)
        await self._limit(session.account, {"ip": ip, channel.value: to})
        async with self._database.begin() as connection:
            query = select(accounts.c.phone, accounts.c.email).where(accounts.c.id == session.account)
            row = (await connection.execute(query)).first()
        if row is None:
            raise Refused(ErrorCode.UNAUTHENTICATED)
        stays = row.email if channel is Channel.PHONE else row.phone
        code, confirmation = (rules.code_from_random(self._token_bytes(8)) for _ in range(2))
        record = {
            "phone": row.phone,
            "email": row.email,
            channel.value: to,
            "sent": repr(now),
            "new_code": rules.code_digest(self._pepper, name, "new", code),
            "stays_code": rules.code_digest(self._pepper, name, "stays", confirmation),
            "new_tries": "0",
            "stays_tries": "0",
        }
        if before:
            await self._store.delete(name)  # also under the number or address that it was for
        await self._store.create(name, record)
        try:
            await asyncio.gather(self._delivery[channel].send(to, code), self._delivery[other].send(stays, confirmation))
        except DeliveryError:
            await self._store.delete(name)
            raise Refused(ErrorCode.DELIVERY_FAILED) from None
        return ContactChange(channel, to, expires_in=float(rules.CODE_LIFETIME), resend_in=float(rules.RESEND_AFTER))

    async def finish(self, session: Session, body: VerifyChange) -> None:
        """Make the change, when both codes hold. Who has the old number in the address book loses the match; who has the new one finds it."""
        channel = body.channel
        name = _name(session.account, channel)
        record = await self._store.load(name)
        if "new_code" not in record:
            raise Refused(ErrorCode.NO_CHANGE_PENDING)
        for part, given in (("new", body.code), ("stays", body.confirmation)):
            tries = await self._store.count_try(name, part)
            if not tries:
                raise Refused(ErrorCode.NO_CHANGE_PENDING)  # it expired a moment ago
            digest = rules.code_digest(self._pepper, name, part, given)
            rules.check_code(
                stored=record[f"{part}_code"], given=digest, sent_at=float(record["sent"]), tries=tries, now=self._clock()
            )
        to = record[channel.value]
        values: dict[str, str] = {channel.value: to}
        if channel is Channel.PHONE:
            values["discovery_token"] = await self._tokens.token_of(to)
        await self._store.delete(name)  # before: two answers with the same codes change it once
        mine = accounts.c.id == session.account
        try:
            async with self._database.begin() as connection:
                before = (await connection.execute(select(accounts.c.discovery_token).where(mine))).scalar_one_or_none()
                if before is None:
                    raise Refused(ErrorCode.UNAUTHENTICATED)
                await connection.execute(update(accounts).where(mine).values(**values))
                rows = await connection.execute(select(devices.c.id).where(devices.c.account == session.account))
                ids = [row.id for row in rows]
        except IntegrityError:
            raise Refused(ErrorCode.PHONE_TAKEN if channel is Channel.PHONE else ErrorCode.EMAIL_TAKEN) from None
        if channel is Channel.PHONE:
            self._events.number_changed(session.account, ids, before, values["discovery_token"])

    async def _limit(self, account: str, values: dict[str, str]) -> None:
        limits = {**LIMITS, "change": CHANGES_AN_HOUR}
        for kind, value in {**values, "change": account}.items():
            used, left = await self._store.count(kind, value)
            if used > limits[kind]:
                raise Refused(ErrorCode.RATE_LIMITED, retry_after=float(left))


def _name(account: str, channel: Channel) -> str:
    """What a change is stored under; the store makes an HMAC of it."""
    return f"change:{account}:{channel}"
