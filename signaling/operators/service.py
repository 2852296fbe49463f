"""The operators there are: added by an invitation, enrolled with password and authenticator, changed, disabled, removed.

A name is used once, so that the trail means one person for ever. Nobody changes, disables
or removes themselves: so who acts here is an administrator who stays.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from msgspec import UNSET
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from signaling.operators.audit import Action, AuditTrail
from signaling.operators.operator import LOCAL, NoSuchThing, Operator, OperatorError
from signaling.operators.sessions import OperatorSessions
from signaling.storage.sql import Database
from signaling.storage.tables import operator_passkeys, operator_tokens, operators
from signaling.wire.admin.access import ChangeOperator, Invitation, OperatorInfo
from signaling.wire.admin.frame import ADMIN_PATHS, Role

_NAME: Final = re.compile(ADMIN_PATHS["operator"])
INVITATION: Final = 3 * 86_400
"""Seconds for which an invitation is good."""
_VOID: Final[dict[str, Any]] = {"password_hash": None, "totp_secret": None, "enrolment_hash": None, "enrolment_until": None}


class Operators:
    """Adds, lists, changes and removes operators. ``by`` None: who administers the machine, on its command line."""

    def __init__(
        self,
        *,
        database: Database,
        audit: AuditTrail,
        sessions: OperatorSessions,
        clock: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database = database
        self._audit = audit
        self._sessions = sessions
        self._clock = clock
        self._token_bytes = token_bytes

    async def add(self, by: Operator | None, name: str, role: Role) -> Invitation:
        """Add an operator, who enrols with the invitation. Raises ``OperatorError``."""
        check_name(name)
        code, until = self._code()
        values = {"name": name, "role": role, "created_at": self._now()}
        try:
            async with self._database.begin() as connection:
                await connection.execute(insert(operators).values(enrolment_hash=hash_code(code), enrolment_until=until, **values))
                await self._audit.write(connection, by, Action.OPERATOR_ADDED, name, role)
        except IntegrityError:
            raise OperatorError("there is, or was, an operator of this name: names are not used twice") from None
        return Invitation(name, code, until)

    async def invite(self, by: Operator | None, name: str) -> Invitation:
        """Invite anew: what the operator signed in with until now is void. Raises ``OperatorError``."""
        code, until = self._code()
        async with self._database.begin() as connection:
            row = await self._row(connection, name)
            if row.oidc_subject is not None:
                raise OperatorError("this operator comes from the single sign-on, and has no password here")
            if by is not None and by.name == name:
                raise OperatorError("another administrator invites you anew; change your own password instead")
            await self._void(connection, name)
            await connection.execute(
                update(operators).where(operators.c.name == name).values(enrolment_hash=hash_code(code), enrolment_until=until)
            )
            await self._audit.write(connection, by, Action.OPERATOR_INVITED, name)
        return Invitation(name, code, until)

    async def change(self, by: Operator | None, name: str, body: ChangeOperator) -> OperatorInfo:
        """Change the role, disable or enable. Raises ``OperatorError``."""
        values: dict[str, Any] = {}
        async with self._database.begin() as connection:
            row = await self._row(connection, name)
            if by is not None and by.name == name:
                raise OperatorError("another administrator changes what you may do")
            if body.role is not UNSET and body.role != row.role:
                values["role"] = body.role
            if body.disabled is not UNSET and body.disabled != (row.disabled_at is not None):
                values["disabled_at"] = self._now() if body.disabled else None
            if values:
                await connection.execute(update(operators).where(operators.c.name == name).values(**values))
                if values.get("disabled_at") is not None:
                    await self._sessions.end_all(connection, name)
                told = [f"role {body.role}"] if "role" in values else []
                told += [("disabled" if body.disabled else "enabled")] if "disabled_at" in values else []
                await self._audit.write(connection, by, Action.OPERATOR_CHANGED, name, ", ".join(told))
        return await self.get(name)

    async def remove(self, by: Operator | None, name: str) -> None:
        """An operator may do nothing any more, for good. Raises ``OperatorError``."""
        async with self._database.begin() as connection:
            await self._row(connection, name)
            if by is not None and by.name == name:
                raise OperatorError("another administrator removes you")
            await self._void(connection, name)
            await connection.execute(
                update(operators).where(operators.c.name == name).values(removed_at=self._now(), oidc_subject=None)
            )
            await self._audit.write(connection, by, Action.OPERATOR_REMOVED, name)

    async def end_sessions(self, by: Operator | None, name: str) -> None:
        """End every session of an operator. Raises ``NoSuchThing``."""
        async with self._database.begin() as connection:
            await self._row(connection, name)
            await self._sessions.end_all(connection, name)
            await self._audit.write(connection, by, Action.SESSIONS_ENDED, name)

    async def get(self, name: str) -> OperatorInfo:
        """One operator. Raises ``NoSuchThing``."""
        found = [info for info in await self.list() if info.operator == name]
        if not found:
            raise NoSuchThing("there is no such operator")
        return found[0]

    async def list(self) -> list[OperatorInfo]:
        """Operators who are not removed, by name."""
        passkeys = select(func.count()).where(operator_passkeys.c.operator == operators.c.name).scalar_subquery()
        query = select(operators, passkeys.label("passkeys")).where(operators.c.removed_at.is_(None)).order_by(operators.c.name)
        return [
            OperatorInfo(
                operator=row.name,
                role=Role(row.role),
                created_at=row.created_at,
                enrolled=row.password_hash is not None or row.oidc_subject is not None,
                single_sign_on=row.oidc_subject is not None,
                passkeys=row.passkeys,
                disabled_at=UNSET if row.disabled_at is None else row.disabled_at,
            )
            for row in await self._database.fetch(query)
        ]

    async def _row(self, connection: AsyncConnection, name: str) -> Any:
        query = select(operators).where(operators.c.name == name, operators.c.removed_at.is_(None)).with_for_update()
        row = (await connection.execute(query)).first()
        if row is None:
            raise NoSuchThing("there is no such operator")
        return row

    async def _void(self, connection: AsyncConnection, name: str) -> None:
        """Nothing that the operator has opens anything any more."""
        await connection.execute(update(operators).where(operators.c.name == name).values(**_VOID))
        await connection.execute(delete(operator_passkeys).where(operator_passkeys.c.operator == name))
        await connection.execute(delete(operator_tokens).where(operator_tokens.c.operator == name))
        await self._sessions.end_all(connection, name)

    def _code(self) -> tuple[str, int]:
        return self._token_bytes(32).hex(), self._now() + INVITATION * 1000

    def _now(self) -> int:
        return int(self._clock() * 1000)


def check_name(name: str) -> None:
    """Raises ``OperatorError`` when nobody can have this name."""
    if not _NAME.match(name) or name == LOCAL:
        raise OperatorError("a name has up to 32 small letters, digits, dots and dashes, and begins with a letter")


def hash_code(code: str) -> bytes:
    """What is stored of an invitation's code."""
    return hashlib.sha256(code.strip().encode()).digest()
