"""Accounts of the operator's own services, which have no number: the one that answers test calls (``echo``).

Such an account is as any other to clients: an identity key, a device with keys, sealed calls. Everyone may call it, it calls nobody, and it has no
call history. Who has the service's token, which the hub and the service derive from one secret, is its one device.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from signaling.accounts.certificates import CertificateInvalid, verify_chain
from signaling.accounts.events import AccountEvents
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, devices
from signaling.wire import base64url
from signaling.wire.certificate import DeviceCertificate
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.rest import EchoAccount, SignedIn, WhoCanCall

ECHO: Final = "echo"
"""The service that answers test calls."""


def service_token(secret: str, service: str) -> str:
    """What a service shows to become its account's device: derived from a secret that it shares with the hub (pure)."""
    return base64url.encode(hmac.digest(secret.encode(), b"kloudtalk/v1 service " + service.encode(), hashlib.sha256))


class EchoAccountService:
    """The echo's account.

    Args:
        token: what the process that answers shows.
        connected: which of some devices have a socket now.
    """

    def __init__(
        self,
        *,
        database: Database,
        events: AccountEvents,
        token: str,
        policy_version: str,
        connected: Callable[[Sequence[str]], Awaitable[frozenset[str]]],
        clock: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database = database
        self._events = events
        self._token = token
        self._policy_version = policy_version
        self._connected = connected
        self._clock = clock
        self._token_bytes = token_bytes

    async def get(self) -> EchoAccount:
        """The account. Raises ``Refused(not_found)`` when no echo was ever here."""
        query = (
            select(accounts.c.id, accounts.c.identity_key, devices.c.id.label("device"))
            .select_from(accounts.outerjoin(devices, devices.c.account == accounts.c.id))
            .where(accounts.c.service == ECHO)
        )
        rows = await self._database.fetch(query)
        if not rows:
            raise Refused(ErrorCode.NOT_FOUND)
        found = [row.device for row in rows if row.device is not None]
        return EchoAccount(rows[0].id, rows[0].identity_key, bool(found and await self._connected(found)))

    async def enrol(self, token: str, certificate: DeviceCertificate) -> SignedIn:
        """Make this the echo's one device. Raises ``Refused``: ``unauthenticated``, ``certificate_invalid``, ``device_exists``."""
        if not hmac.compare_digest(token, self._token):
            raise Refused(ErrorCode.UNAUTHENTICATED)
        try:
            if len(certificate.chain) != 1:
                raise CertificateInvalid("vouched for by a device")
            await asyncio.to_thread(verify_chain, certificate)
        except CertificateInvalid:
            raise Refused(ErrorCode.CERTIFICATE_INVALID) from None
        account, session_token = certificate.account, base64url.encode(self._token_bytes(32))
        now = int(self._clock() * 1000)
        values = {"identity_key": certificate.identity_key, "policy_version": self._policy_version}
        removed: list[str] = []
        try:
            async with self._database.begin() as connection:
                existing = (await connection.execute(select(accounts.c.id).where(accounts.c.service == ECHO))).scalar_one_or_none()
                if existing is None:
                    # no number and no address, but columns that want some: these can be nobody's, and no number leads to the token
                    await connection.execute(
                        insert(accounts).values(
                            id=account,
                            phone=f"service:{ECHO}",
                            email=f"service:{ECHO}",
                            discovery_token=base64url.encode(self._token_bytes(64)),
                            who_can_call=WhoCanCall.EVERYONE,
                            last_seen_to="nobody",
                            created_at=now,
                            service=ECHO,
                            **values,
                        )
                    )
                elif existing != account:
                    raise Refused(ErrorCode.CERTIFICATE_INVALID)
                else:
                    await connection.execute(update(accounts).where(accounts.c.id == account).values(**values))
                    old = await connection.execute(delete(devices).where(devices.c.account == account).returning(devices.c.id))
                    removed = [row.id for row in old]
                await connection.execute(
                    insert(devices).values(
                        id=certificate.device,
                        account=account,
                        name=ECHO,
                        certificate=msgspec.json.encode(certificate).decode(),
                        token_hash=hashlib.sha256(session_token.encode()).digest(),
                        created_at=now,
                    )
                )
        except IntegrityError:
            raise Refused(ErrorCode.DEVICE_EXISTS) from None
        self._events.devices_removed(account, removed)
        self._events.devices_changed(account)
        return SignedIn(account=account, device=certificate.device, token=session_token)
