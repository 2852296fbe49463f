"""The user's own account: look at it, change its settings. Deleting it is ``privacy/erasure.py``."""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import UNSET
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from signaling.accounts.events import AccountEvents
from signaling.accounts.profile_rules import country_of
from signaling.gateway.request import Session
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, devices, pictures, presence_exceptions
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.rest import Account, BlockedFor, ChangeSettings, LastSeenRule, LastSeenTo, OnlineRule, OnlineTo, WhoCanCall


class ProfileService:
    """One user's own account.

    Args:
        policy_version: the version in force.
        presence_changed: called after who may see online or last seen was changed; the answer waits for it.
    """

    def __init__(
        self, *, database: Database, events: AccountEvents, policy_version: str, presence_changed: Callable[[str], Awaitable[None]]
    ) -> None:
        self._database = database
        self._events = events
        self._policy_version = policy_version
        self._presence_changed = presence_changed

    async def get(self, session: Session) -> Account:
        """The account."""
        async with self._database.begin() as connection:
            query = select(accounts, pictures.c.changed_at.label("picture_changed_at")).outerjoin(pictures)
            row = (await connection.execute(query.where(accounts.c.id == session.account))).first()
            exceptions = await _exceptions(connection, session.account)
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
            last_seen=LastSeenRule(LastSeenTo(row.last_seen_to), exceptions["last_seen"]),
            online=OnlineRule(OnlineTo(row.online_to), exceptions["online"]),
            always_relay=row.always_relay,
            business=row.business,
            restricted_at=UNSET if row.restricted_at is None else row.restricted_at,
            blocked_at=UNSET if row.blocked_at is None else row.blocked_at,
            blocked_for=UNSET if row.blocked_for is None else BlockedFor(row.blocked_for),
            country=country_of(row.phone),
            name=UNSET if row.name is None else row.name,
            about=UNSET if row.about is None else row.about,
            about_changed_at=UNSET if row.about_changed_at is None else row.about_changed_at,
            picture_changed_at=UNSET if row.picture_changed_at is None else row.picture_changed_at,
        )

    async def acknowledge_policy(self, session: Session, version: str) -> Account:
        """The user acknowledges the policy in force (P04); every device of the account goes on. Another version is refused."""
        if version != self._policy_version:
            raise Refused(ErrorCode.POLICY_NOT_ACKNOWLEDGED)
        async with self._database.begin() as connection:
            mine = accounts.c.id == session.account
            changed = await connection.execute(
                update(accounts).where(mine, accounts.c.policy_version != version).values(policy_version=version)
            )
            rows = await connection.execute(select(devices.c.id).where(devices.c.account == session.account))
            ids = [row.id for row in rows]
        if changed.rowcount:
            self._events.sessions_changed(ids)
        return await self.get(session)

    async def change_settings(self, session: Session, body: ChangeSettings) -> Account:
        """Change settings; they hold at once."""
        values: dict[str, Any] = {}
        excepted: dict[str, list[str]] = {}
        if body.who_can_call is not UNSET:
            values["who_can_call"] = body.who_can_call
        if body.always_relay is not UNSET:
            values["always_relay"] = body.always_relay
        if body.business is not UNSET:
            values["business"] = body.business
        if body.last_seen is not UNSET:
            values["last_seen_to"] = body.last_seen.to
            if body.last_seen.excepted is not UNSET:
                excepted["last_seen"] = body.last_seen.excepted
        if body.online is not UNSET:
            values["online_to"] = body.online.to
            if body.online.excepted is not UNSET:
                excepted["online"] = body.online.excepted
        if values:
            async with self._database.begin() as connection:
                await connection.execute(update(accounts).where(accounts.c.id == session.account).values(**values))
                for setting, others in excepted.items():
                    await _except(connection, session.account, setting, others)
            self._events.settings_changed(session.account)
            if body.last_seen is not UNSET or body.online is not UNSET:
                await self._presence_changed(session.account)
        return await self.get(session)


async def _exceptions(connection: AsyncConnection, account: str) -> dict[str, list[str]]:
    """Lists of exceptions by setting."""
    columns = presence_exceptions.c
    query = select(columns.setting, columns.excepted).where(columns.account == account).order_by(columns.excepted)
    found: dict[str, list[str]] = {"last_seen": [], "online": []}
    for row in await connection.execute(query):
        found[row.setting].append(row.excepted)
    return found


async def _except(connection: AsyncConnection, account: str, setting: str, others: list[str]) -> None:
    """Replace a list. Accounts that do not exist (any more) are left out."""
    columns = presence_exceptions.c
    await connection.execute(delete(presence_exceptions).where(columns.account == account, columns.setting == setting))
    existing = await connection.execute(select(accounts.c.id).where(accounts.c.id.in_(others), accounts.c.id != account))
    rows = [{"account": account, "setting": setting, "excepted": row.id} for row in existing]
    if rows:
        await connection.execute(insert(presence_exceptions), rows)
