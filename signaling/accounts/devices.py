"""Devices of an account: list them, remove them, sign out everywhere; certificates of those one may call."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from msgspec import UNSET
from sqlalchemy import delete, select

from signaling.accounts.directory import Directory
from signaling.accounts.events import AccountEvents
from signaling.gateway.request import Session
from signaling.storage.sql import Database
from signaling.storage.tables import devices
from signaling.wire.certificate import DeviceCertificate
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.rest import AccountDevices, Device, DeviceDetails, Devices


class DeviceService:
    """One user's devices.

    Args:
        connected: which of some devices have a socket now.
        may_see: whether a user may see the devices of an account: a contact match, or the other side of a live call.
    """

    def __init__(
        self,
        *,
        database: Database,
        directory: Directory,
        events: AccountEvents,
        connected: Callable[[Sequence[str]], Awaitable[frozenset[str]]],
        may_see: Callable[[Session, str], Awaitable[bool]],
    ) -> None:
        self._database = database
        self._directory = directory
        self._events = events
        self._connected = connected
        self._may_see = may_see

    async def list(self, session: Session) -> Devices:
        """The user's own devices, oldest first."""
        query = select(devices).where(devices.c.account == session.account).order_by(devices.c.created_at, devices.c.id)
        async with self._database.begin() as connection:
            rows = (await connection.execute(query)).all()
        connected = await self._connected([row.id for row in rows])
        return Devices(
            [
                Device(
                    device=row.id,
                    name=row.name,
                    created_at=row.created_at,
                    current=row.id == session.device,
                    online=row.id in connected,
                    certificate=msgspec.json.decode(row.certificate, type=DeviceCertificate),
                    details=UNSET if row.details is None else msgspec.json.decode(row.details, type=DeviceDetails),
                )
                for row in rows
            ]
        )

    async def revoke(self, session: Session, device: str) -> None:
        """Remove one device of the user; its session ends at once."""
        if not await self._remove(session.account, devices.c.id == device):
            raise Refused(ErrorCode.NOT_FOUND)

    async def sign_out(self, session: Session, *, keep_current: bool) -> None:
        """Remove every device of the user, but for the one that asks if so wished."""
        await self._remove(session.account, (devices.c.id != session.device) if keep_current else devices.c.id.is_not(None))

    async def _remove(self, account: str, condition: object) -> bool:
        async with self._database.begin() as connection:
            rows = await connection.execute(
                delete(devices).where(devices.c.account == account, condition).returning(devices.c.id)  # type: ignore[arg-type]
            )
            removed = [row.id for row in rows]
        if removed:
            self._events.devices_removed(account, removed)
            self._events.devices_changed(account)
        return bool(removed)

    async def of_account(self, session: Session, account: str) -> AccountDevices:
        """Certificates of an account that the user may call. Who may not see it and who does not exist look alike."""
        if account != session.account and not await self._may_see(session, account):
            raise Refused(ErrorCode.NOT_FOUND)
        facts = await self._directory.get(account)
        if facts is None:
            raise Refused(ErrorCode.NOT_FOUND)
        return AccountDevices(account=account, certificates=list(facts.devices), business=facts.business)
