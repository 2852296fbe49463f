"""How operators get in: enrolment, sign-in with password and authenticator, with a passkey, through the single sign-on.

A password and a code are asked for together, and a refusal is the same whatever was wrong: nobody can try passwords without the second
factor, or learn who is an operator. Wrong tries are limited (``limits.py``); what succeeds, and what locks, is on the audit trail.
"""

import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import insert, select, update

from signaling.operators import totp
from signaling.operators.audit import Action, AuditTrail
from signaling.operators.limits import Counter, OperatorLimits
from signaling.operators.operator import Operator
from signaling.operators.passkeys import Passkeys
from signaling.operators.passwords import Passwords, check_password
from signaling.operators.roles import allowed
from signaling.operators.sealing import Sealer
from signaling.operators.service import hash_code
from signaling.operators.sessions import NewSession, OperatorSessions, active
from signaling.storage.sql import Database
from signaling.storage.tables import operators
from signaling.wire.admin.access import ChangePassword, Enrolment, FinishEnrolment, Login
from signaling.wire.admin.frame import Role
from signaling.wire.errors import ErrorCode, Refused


class SignIns:
    """Begins sessions for who proves to be an operator. Raises ``Refused``; ``RedisError`` when tries cannot be counted."""

    def __init__(
        self,
        *,
        database: Database,
        audit: AuditTrail,
        sessions: OperatorSessions,
        limits: OperatorLimits,
        passwords: Passwords,
        passkeys: Passkeys,
        sealer: Sealer,
        server_name: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._audit = audit
        self._sessions = sessions
        self._limits = limits
        self._passwords = passwords
        self._passkeys = passkeys
        self._sealer = sealer
        self._server_name = server_name
        self._clock = clock

    # --- enrolment ---------------------------------------------------------------------------------------------------------------

    async def enrol(self, name: str, code: str, address: str) -> Enrolment:
        """A new second factor for who has the invitation."""
        counters = [Counter("operator_address", address, 30)]
        await self._limits.take(counters)
        secret = totp.new_secret()
        async with self._database.begin() as connection:
            row = await self._invited(connection, name, code)
            if row is not None:
                sealed = self._sealer.seal(secret.encode(), name)
                await connection.execute(update(operators).where(operators.c.name == name).values(totp_secret=sealed, totp_step=0))
        if row is None:
            raise Refused(ErrorCode.ENROLMENT_INVALID)
        await self._limits.succeeded(counters)
        uri = totp.uri(secret, name, self._server_name)
        return Enrolment(name, Role(row.role), secret, uri, totp.picture(uri))

    async def finish_enrolment(self, body: FinishEnrolment, address: str, agent: str) -> NewSession:
        """The invitation is used up: from now on the operator signs in with what they chose."""
        counters = [Counter("operator_address", address, 30)]
        await self._limits.take(counters)
        check_password(body.password, body.operator)
        hashed = await self._passwords.hash(body.password)
        async with self._database.begin() as connection:
            row = await self._invited(connection, body.operator, body.code)
            step = None if row is None else self._step(row, body.totp_code)
            if row is not None and step is not None:
                await connection.execute(
                    update(operators)
                    .where(operators.c.name == body.operator)
                    .values(password_hash=hashed, totp_step=step, enrolment_hash=None, enrolment_until=None)
                )
                operator = _operator(row)
                await self._audit.write(connection, operator, Action.OPERATOR_ENROLLED, operator.name)
                session = await self._sessions.begin(connection, operator, method="password", agent=agent)
        if row is not None and step is not None:
            await self._limits.succeeded(counters)
            return session
        raise Refused(ErrorCode.ENROLMENT_INVALID if row is None else ErrorCode.CODE_WRONG, None if row is None else _CLOCK)

    async def _invited(self, connection: Any, name: str, code: str) -> Any:
        query = select(operators).where(operators.c.name == name, *active()).with_for_update()
        row = (await connection.execute(query)).first()
        stored = bytes(32) if row is None or row.enrolment_hash is None else row.enrolment_hash
        good = hmac.compare_digest(stored, hash_code(code)) and row.enrolment_until > self._clock() * 1000
        return row if good else None

    # --- sign-in -----------------------------------------------------------------------------------------------------------------

    async def with_password(self, body: Login, *, address: str, mark: str, agent: str) -> NewSession:
        """Password and authenticator together."""
        name = body.operator.strip().lower()
        counters = self._limits.sign_in(name, address, mark)
        full = await self._limits.take(counters)
        operator = await self._proven(name, body.password, body.code)
        if operator is None:
            if full:
                await self._note_lock(name)
            raise Refused(ErrorCode.SIGN_IN_FAILED)
        await self._limits.succeeded(counters)
        async with self._database.begin() as connection:
            return await self._sessions.begin(connection, operator, method="password", agent=agent)

    async def with_passkey(self, credential: dict[str, Any], *, host: str, origin: str, agent: str) -> NewSession:
        """A passkey alone: it holds two factors."""
        name = await self._passkeys.verify(credential, host=host, origin=origin)
        async with self._database.begin() as connection:
            row = (await connection.execute(select(operators).where(operators.c.name == name, *active()))).first()
            if row is None:
                raise Refused(ErrorCode.SIGN_IN_FAILED)
            return await self._sessions.begin(connection, _operator(row), method="passkey", agent=agent)

    async def with_single_sign_on(self, *, issuer: str, subject: str, name: str, role: Role, agent: str) -> NewSession:
        """Who the identity provider says it is. An operator is made at the first time; the role is the provider's every time."""
        digest = hashlib.sha256(f"{issuer}\0{subject}".encode()).hexdigest()
        async with self._database.begin() as connection:
            row = (await connection.execute(select(operators).where(operators.c.oidc_subject == digest).with_for_update())).first()
            if row is not None and row.disabled_at is not None:
                raise Refused(ErrorCode.SIGN_IN_FAILED)
            operator = Operator(name if row is None else row.name, role, allowed(role))
            if row is None:
                await self._add_from_single_sign_on(connection, operator, digest)
            elif row.role != role:
                await connection.execute(update(operators).where(operators.c.name == row.name).values(role=role))
                await self._audit.write(connection, operator, Action.OPERATOR_CHANGED, row.name, f"role {role}, by single sign-on")
            return await self._sessions.begin(connection, operator, method="oidc", agent=agent)

    async def _add_from_single_sign_on(self, connection: Any, operator: Operator, digest: str) -> None:
        values = {"name": operator.name, "role": operator.role, "created_at": int(self._clock() * 1000), "oidc_subject": digest}
        taken = (await connection.execute(select(operators.c.name).where(operators.c.name == operator.name))).first()
        if taken is not None:  # never taken over: whose name it is may be somebody else
            raise Refused(
                ErrorCode.SIGN_IN_FAILED, "there is, or was, another operator of this name: an administrator must see to it"
            )
        await connection.execute(insert(operators).values(**values))
        await self._audit.write(connection, operator, Action.OPERATOR_ADDED, operator.name, f"{operator.role}, by single sign-on")

    # --- one's own account -------------------------------------------------------------------------------------------------------

    async def change_password(self, operator: Operator, session: str, body: ChangePassword) -> None:
        """A new password; every other session ends."""
        check_password(body.new_password, operator.name)
        counters = [Counter("operator_session", operator.name, 10)]
        await self._limits.take(counters)
        if await self._proven(operator.name, body.password, body.code) is None:
            raise Refused(ErrorCode.SIGN_IN_FAILED)
        await self._limits.succeeded(counters)
        hashed = await self._passwords.hash(body.new_password)
        async with self._database.begin() as connection:
            await connection.execute(update(operators).where(operators.c.name == operator.name).values(password_hash=hashed))
            await self._sessions.end_all(connection, operator.name, but=session)
            await self._audit.write(connection, operator, Action.PASSWORD_CHANGED, operator.name)

    async def prove_password(self, operator: Operator, password: str) -> None:
        """The password alone, by who has signed in already. Raises ``Refused`` (``sign_in_failed``)."""
        counters = [Counter("operator_session", operator.name, 10)]
        await self._limits.take(counters)
        rows = await self._database.fetch(select(operators.c.password_hash).where(operators.c.name == operator.name))
        if not await self._passwords.verify(rows[0].password_hash if rows else None, password):
            raise Refused(ErrorCode.SIGN_IN_FAILED)
        await self._limits.succeeded(counters)

    async def has_password(self, name: str) -> bool:
        """Whether an operator signs in with a password."""
        rows = await self._database.fetch(select(operators.c.password_hash).where(operators.c.name == name))
        return bool(rows) and rows[0].password_hash is not None

    # --- inside ------------------------------------------------------------------------------------------------------------------

    async def _proven(self, name: str, password: str, code: str) -> Operator | None:
        """Who it is, when both factors are right; the code is used up by it."""
        query = select(operators).where(operators.c.name == name, *active())
        rows = await self._database.fetch(query)
        if not await self._passwords.verify(rows[0].password_hash if rows else None, password):
            return None
        async with self._database.begin() as connection:  # two who try the same code at once: one finds it used
            row = (await connection.execute(query.with_for_update())).first()
            step = None if row is None else self._step(row, code)
            if row is None or step is None:
                return None
            await connection.execute(update(operators).where(operators.c.name == name).values(totp_step=step))
        return _operator(row)

    def _step(self, row: Any, code: str) -> int | None:
        secret = None if row.totp_secret is None else self._sealer.open(row.totp_secret, row.name)
        return None if secret is None else totp.matching_step(secret.decode(), code, self._clock(), row.totp_step)

    async def _note_lock(self, name: str) -> None:
        """Once for each lock, and for operators that exist: who guesses names fills no trail."""
        rows = await self._database.fetch(select(operators).where(operators.c.name == name, operators.c.removed_at.is_(None)))
        if rows:
            await self._audit.note(_operator(rows[0]), Action.LOCKED_OUT, name)


_CLOCK: Final = "the code does not match: is the clock of the device right?"


def _operator(row: Any) -> Operator:
    role = Role(row.role)
    return Operator(row.name, role, allowed(role))
