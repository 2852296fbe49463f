"""Accounts as operators see them: under pseudonyms. Who one is, is revealed for a reason, which goes on the audit trail."""

from typing import Any, Final

from msgspec import UNSET
from sqlalchemy import func, select

from signaling.accounts import rules
from signaling.accounts.blocking import Blocking
from signaling.accounts.profile_rules import country_of
from signaling.operators.audit import Action, AuditTrail
from signaling.operators.limits import OperatorLimits
from signaling.operators.operator import NoSuchThing, Operator
from signaling.operators.pseudonyms import Pseudonyms
from signaling.operators.reasons import checked_reason
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, devices
from signaling.wire.admin.people import AccountInfo, BlockedAccounts, LookUp, RevealedAccount
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.rest import BlockedFor

_PAGE: Final = 100


class AccountDesk:
    """Looks up, reveals, blocks. Every method raises ``NoSuchThing`` when there is no such account."""

    def __init__(
        self, *, database: Database, audit: AuditTrail, pseudonyms: Pseudonyms, limits: OperatorLimits, blocking: Blocking
    ) -> None:
        self._database = database
        self._audit = audit
        self._pseudonyms = pseudonyms
        self._limits = limits
        self._blocking = blocking

    async def get(self, pseudonym: str) -> AccountInfo:
        """One account."""
        rows = await self._database.fetch(_query().where(accounts.c.id == self._account(pseudonym)))
        if not rows:
            raise NoSuchThing("there is no such account")
        return self._info(rows[0])

    async def look_up(self, operator: Operator, body: LookUp) -> AccountInfo:
        """The account of a number or an address that somebody told. Raises ``Refused`` (``invalid``, ``rate_limited``) besides."""
        if (body.phone is UNSET) == (body.email is UNSET):
            raise Refused(ErrorCode.INVALID, "say `phone` or `email`, one of the two")
        if body.phone is not UNSET:
            condition = accounts.c.phone == rules.normalise_phone(body.phone)
        else:
            condition = accounts.c.email == rules.normalise_email(str(body.email))
        await self._limits.count_look_up(operator.name)
        rows = await self._database.fetch(_query().where(condition))
        info = self._info(rows[0]) if rows else None
        if info is None:
            await self._audit.note(operator, Action.NOTHING_FOUND)
            raise NoSuchThing("no account has this number or address")
        await self._audit.note(operator, Action.ACCOUNT_LOOKED_UP, info.account)
        return info

    async def reveal(self, operator: Operator, pseudonym: str, reason: str) -> RevealedAccount:
        """Who an account is. Raises ``Refused`` (``invalid``, ``rate_limited``) besides."""
        account, why = self._account(pseudonym), checked_reason(reason)
        await self._limits.count_look_up(operator.name)
        query = select(accounts.c.id, accounts.c.phone, accounts.c.email, accounts.c.name).where(accounts.c.id == account)
        async with self._database.begin() as connection:  # it is on the trail, or it is not revealed
            row = (await connection.execute(query)).first()
            if row is None:
                raise NoSuchThing("there is no such account")
            await self._audit.write(connection, operator, Action.ACCOUNT_REVEALED, pseudonym, why)
        return RevealedAccount(row.id, row.phone, row.email, UNSET if row.name is None else row.name)

    async def block(self, operator: Operator, pseudonym: str, blocked_for: BlockedFor | None, reason: str) -> AccountInfo:
        """Block, or unblock with None. Raises ``Refused`` (``invalid``) besides."""
        if not await self._blocking.set(operator, self._account(pseudonym), pseudonym, blocked_for, checked_reason(reason)):
            raise NoSuchThing("there is no such account")
        return await self.get(pseudonym)

    async def blocked(self, before: str | None) -> BlockedAccounts:
        """Accounts that are blocked, the last one first. ``before``: ``next`` of the page before."""
        query = _query().where(accounts.c.blocked_at.is_not(None))
        if before is not None:
            at, _, pseudonym = before.partition(".")
            same = (accounts.c.blocked_at == int(at)) & (accounts.c.id < self._account(pseudonym))
            query = query.where((accounts.c.blocked_at < int(at)) | same)
        rows = await self._database.fetch(query.order_by(accounts.c.blocked_at.desc(), accounts.c.id.desc()).limit(_PAGE))
        found = [self._info(row) for row in rows]
        return BlockedAccounts(found, f"{found[-1].blocked_at}.{found[-1].account}" if len(found) == _PAGE else UNSET)

    def _account(self, pseudonym: str) -> str:
        account = self._pseudonyms.account(pseudonym)
        if account is None:
            raise NoSuchThing("there is no such account")
        return account

    def _info(self, row: Any) -> AccountInfo:
        return AccountInfo(
            account=self._pseudonyms.of(row.id),
            created_at=row.created_at,
            country=country_of(row.phone),
            devices=row.devices,
            business=row.business,
            restricted_at=UNSET if row.restricted_at is None else row.restricted_at,
            blocked_at=UNSET if row.blocked_at is None else row.blocked_at,
            blocked_for=UNSET if row.blocked_for is None else BlockedFor(row.blocked_for),
        )


def _query() -> Any:
    a = accounts.c
    count = select(func.count()).where(devices.c.account == a.id).scalar_subquery()
    return select(a.id, a.phone, a.created_at, a.business, a.restricted_at, a.blocked_at, a.blocked_for, count.label("devices"))
