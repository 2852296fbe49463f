"""What devices tell about themselves (P18): kept with the owner's consent, shown to the owner only."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import UNSET
from sqlalchemy import update

from signaling.accounts.location import Locator
from signaling.accounts.profile_rules import clean, network_of
from signaling.gateway.request import Session
from signaling.storage.sql import Database
from signaling.storage.tables import devices
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.rest import DeviceDetails, DeviceInfo


class DeviceDetailsService:
    """Details of devices.

    Args:
        consents: whether an account allows it (the consent ``device_details``).
    """

    def __init__(self, *, database: Database, locator: Locator, consents: Callable[[str], Awaitable[bool]]) -> None:
        self._database = database
        self._locator = locator
        self._consents = consents

    async def describe(self, session: Session, info: DeviceInfo, address: str) -> None:
        """Keep what the device tells, in place of what it told before. Raises ``Refused(consent_required)``."""
        if not await self._consents(session.account):
            raise Refused(ErrorCode.CONSENT_REQUIRED)
        told: dict[str, Any] = {
            name: clean(value) if isinstance(value, str) else value for name, value in msgspec.structs.asdict(info).items()
        }
        place = self._locator.place(address)
        details = DeviceDetails(
            info=DeviceInfo(**{name: value for name, value in told.items() if value != ""}),
            network=network_of(address),
            country=place.country or UNSET,
            region=place.region or UNSET,
        )
        text = msgspec.json.encode(details).decode()
        async with self._database.begin() as connection:
            await connection.execute(update(devices).where(devices.c.id == session.device).values(details=text))
        # withdrawn while we wrote? Then what was written goes, whichever of the two came last
        if not await self._consents(session.account):
            await self.forget(session.account)
            raise Refused(ErrorCode.CONSENT_REQUIRED)

    async def forget(self, account: str) -> None:
        """Delete the details of every device of an account."""
        async with self._database.begin() as connection:
            await connection.execute(update(devices).where(devices.c.account == account).values(details=None))
