"""Sessions: an opaque token per device, of which the hub keeps a SHA-256. Looked up once, then remembered until forgotten."""

import hashlib
from collections import OrderedDict
from typing import Any, Final

import msgspec
from sqlalchemy import Row, select

from signaling.gateway.request import Session
from signaling.storage.gather import Gather
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, devices
from signaling.wire.certificate import DeviceCertificate

_CACHE: Final = 20_000
"""Sessions remembered."""

_certificate: Final = msgspec.json.Decoder(DeviceCertificate)


def hash_token(token: str) -> bytes:
    """What is stored for a session token of 256 random bits."""
    return hashlib.sha256(token.encode()).digest()


class Sessions:
    """Authenticates tokens. ``forget`` must be called when a device is removed, or its account frozen or unfrozen."""

    def __init__(self, database: Database, policy_version: str | None = None) -> None:
        self._database = database
        self._policy_version = policy_version
        self._cache: OrderedDict[bytes, Session] = OrderedDict()
        self._by_device: dict[str, bytes] = {}
        self._generation = 0
        self._rows: Gather[bytes, Session] = Gather(self._read)

    @property
    def generation(self) -> int:
        """Another number whenever what was answered before may not hold any more."""
        return self._generation

    async def authenticate(self, token: str) -> Session | None:
        """The device that this token belongs to; None when the token is unknown or revoked."""
        digest = hash_token(token)
        session = self._cache.get(digest)
        if session is not None:
            self._cache.move_to_end(digest)
            return session
        generation = self._generation
        session = await self._rows.get(digest)
        # a device removed while we were reading must not come back by the cache; and who has not acknowledged the policy is not
        # remembered: when they have, every hub must know at once
        if session is not None and generation == self._generation and session.acknowledged:
            self._cache[digest] = session
            self._by_device[session.device] = digest
            if len(self._cache) > _CACHE:
                _, old = self._cache.popitem(last=False)
                self._by_device.pop(old.device, None)
        return session

    async def _read(self, digests: list[bytes]) -> dict[bytes, Session]:
        query = (
            select(
                devices.c.token_hash,
                devices.c.id,
                devices.c.account,
                devices.c.certificate,
                accounts.c.phone,
                accounts.c.restricted_at,
                accounts.c.blocked_at,
                accounts.c.policy_version,
                accounts.c.service,
            )
            .join(accounts, accounts.c.id == devices.c.account)
            .where(devices.c.token_hash.in_(digests))
        )
        return {row.token_hash: self._session(row) for row in await self._database.fetch(query)}

    def _session(self, row: Row[Any]) -> Session:
        return Session(
            account=row.account,
            device=row.id,
            phone=row.phone,
            certificate=_certificate.decode(row.certificate),
            restricted=row.restricted_at is not None,
            blocked=row.blocked_at is not None,
            # nobody reads a policy for a service
            acknowledged=row.service is not None or self._policy_version in (None, row.policy_version),
        )

    def forget(self, device: str) -> None:
        """A device was removed: its token is asked for in the database again."""
        self._generation += 1
        digest = self._by_device.pop(device, None)
        if digest is not None:
            self._cache.pop(digest, None)

    def forget_all(self) -> None:
        """Removals may have been missed: ask for every token again."""
        self._generation += 1
        self._by_device.clear()
        self._cache.clear()
