"""The user's own account: look at it, change its settings, delete it."""

from msgspec import UNSET
from sqlalchemy import delete, select, update

from signaling.accounts.events import AccountEvents
from signaling.gateway.request import Session
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, devices
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.rest import Account, ChangeSettings, WhoCanCall


class ProfileService:
    """One user's own account."""

    def __init__(self, *, database: Database, events: AccountEvents) -> None:
        self._database = database
        self._events = events

    async def get(self, session: Session) -> Account:
        """The account."""
        async with self._database.begin() as connection:
            row = (await connection.execute(select(accounts).where(accounts.c.id == session.account))).first()
        if row is None:
            raise Refused(ErrorCode.UNAUTHENTICATED)
        return Account(
            account=row.id,
            phone=row.phone,
            email=row.email,
            identity_key=row.identity_key,
            created_at=row.created_at,
            policy_version=row.policy_version,
            who_can_call=WhoCanCall(row.who_can_call),
        )

    async def change_settings(self, session: Session, body: ChangeSettings) -> Account:
        """Change settings; they hold at once."""
        if body.who_can_call is not UNSET:
            async with self._database.begin() as connection:
                await connection.execute(
                    update(accounts).where(accounts.c.id == session.account).values(who_can_call=body.who_can_call)
                )
            self._events.settings_changed(session.account)
        return await self.get(session)

    async def delete(self, session: Session) -> None:
        """Delete the account with everything that belongs to it (P23). Other people's own call history keeps its opaque id."""
        async with self._database.begin() as connection:
            # a device that is being linked comes before this, and is removed with the others, or after it, and is refused
            await connection.execute(select(accounts.c.id).where(accounts.c.id == session.account).with_for_update())
            removed = await connection.execute(select(devices.c.id).where(devices.c.account == session.account))
            ids = [row.id for row in removed]
            await connection.execute(delete(devices).where(devices.c.account == session.account))
            gone = await connection.execute(
                delete(accounts).where(accounts.c.id == session.account).returning(accounts.c.discovery_token)
            )
            token = gone.scalar()
        if token is not None:
            self._events.devices_removed(session.account, ids)
            self._events.account_deleted(session.account, token)
