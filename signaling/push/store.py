"""Push subscriptions in SQL: one of each device at most, gone with the device."""

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import delete, insert, select

from signaling.storage.sql import Database
from signaling.storage.tables import push_subscriptions
from signaling.wire.rest import PushKind


class Subscription(Struct, frozen=True):
    """Where one device is woken."""

    device: str
    kind: PushKind
    endpoint: str
    """Web push: the URL. APNs, FCM: the device token."""
    p256dh: str | None = None
    auth: str | None = None
    """Web push: the browser's key (65 bytes) and secret (16 bytes), base64url."""


class PushStore:
    """SQL behind pushes. Raises ``SQLAlchemyError`` or ``OSError`` when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, account: str, subscription: Subscription, now: int) -> None:
        """Keep a device's subscription in the place of the one before. ``now``: milliseconds since 1970."""
        async with self._database.begin() as connection:
            await connection.execute(delete(push_subscriptions).where(push_subscriptions.c.device == subscription.device))
            await connection.execute(
                insert(push_subscriptions).values(
                    device=subscription.device,
                    account=account,
                    kind=subscription.kind,
                    endpoint=subscription.endpoint,
                    p256dh=subscription.p256dh,
                    auth=subscription.auth,
                    created_at=now,
                )
            )

    async def of(self, devices: Sequence[str]) -> list[Subscription]:
        """The subscriptions of some devices."""
        async with self._database.begin() as connection:
            rows = await connection.execute(select(push_subscriptions).where(push_subscriptions.c.device.in_(devices)))
            return [Subscription(row.device, PushKind(row.kind), row.endpoint, row.p256dh, row.auth) for row in rows]

    async def remove(self, device: str, endpoint: str | None = None) -> None:
        """Forget a device's subscription; with ``endpoint`` only if it still is that one."""
        condition = push_subscriptions.c.device == device
        if endpoint is not None:
            condition &= push_subscriptions.c.endpoint == endpoint
        async with self._database.begin() as connection:
            await connection.execute(delete(push_subscriptions).where(condition))
