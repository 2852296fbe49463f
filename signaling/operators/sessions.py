"""Operators' sessions (people, by a cookie) and tokens (programs, by a header). Both are looked up in SQL with every request: operators are
few, and what is ended, disabled or revoked must be over on every hub at once.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from msgspec import UNSET, Struct
from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from signaling.operators.audit import Action, AuditTrail
from signaling.operators.operator import NoSuchThing, Operator, OperatorError
from signaling.operators.references import new_reference
from signaling.operators.roles import PEOPLE_ONLY, allowed
from signaling.storage.sql import Database
from signaling.storage.tables import operator_sessions, operator_tokens, operators
from signaling.wire import base64url
from signaling.wire.admin.access import AddToken, NewToken, OperatorSession, TokenInfo
from signaling.wire.admin.frame import Permission, Role

TOKEN_PREFIX: Final = "kta_"  # noqa: S105 - no token
"""So that scanners for secrets find a token that lies where it should not."""
_MINUTE: Final = 60_000
_AGENT: Final = 120
_MAX_SESSIONS: Final = 20
"""Sessions of one operator; beyond that the one that was used longest ago ends."""
MAX_TOKENS: Final = 50
"""Tokens of one operator."""


class SignedIn(Struct, frozen=True):
    """Somebody who is signed in, by a session or a token."""

    operator: Operator
    session: str
    """The session's id; empty with a token."""
    csrf: str
    """What must come with every request that changes something; empty with a token."""
    method: str
    expires_at: int
    """Milliseconds."""


class NewSession(Struct, frozen=True):
    """A session just begun. ``token`` goes into the cookie and is kept nowhere."""

    token: str
    signed_in: SignedIn


class OperatorSessions:
    """Begins, finds and ends sessions. ``idle`` and ``longest``: seconds that one lasts unused, and at all."""

    def __init__(
        self,
        *,
        database: Database,
        audit: AuditTrail,
        idle: float,
        longest: float,
        clock: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database = database
        self._audit = audit
        self._idle = int(idle * 1000)
        self._longest = int(longest * 1000)
        self._clock = clock
        self._token_bytes = token_bytes

    async def begin(self, connection: AsyncConnection, operator: Operator, *, method: str, agent: str) -> NewSession:
        """A new session, in the transaction of the sign-in."""
        token, session, now = base64url.encode(self._token_bytes(32)), new_reference(self._token_bytes), self._now()
        mine = operator_sessions.c.operator == operator.name
        await connection.execute(delete(operator_sessions).where(mine, self._over(now)))
        kept = select(operator_sessions.c.id).where(mine).order_by(operator_sessions.c.seen_at.desc()).limit(_MAX_SESSIONS - 1)
        newest = [row.id for row in await connection.execute(kept)]
        await connection.execute(delete(operator_sessions).where(mine, operator_sessions.c.id.not_in(newest)))
        shown = "".join(c for c in agent if c.isprintable())[:_AGENT]
        await connection.execute(
            insert(operator_sessions).values(
                id=session, operator=operator.name, token_hash=_hash(token), method=method, agent=shown, created_at=now, seen_at=now
            )
        )
        await self._audit.write(connection, operator, Action.SIGNED_IN, operator.name, method)
        return NewSession(token, SignedIn(operator, session, csrf_of(token), method, now + self._longest))

    async def find(self, token: str) -> SignedIn | None:
        """Who has this session; None when it is over, or its operator disabled."""
        now, columns = self._now(), operator_sessions.c
        query = (
            select(columns.id, columns.method, columns.created_at, columns.seen_at, operators.c.name, operators.c.role)
            .join(operators, operators.c.name == columns.operator)
            .where(columns.token_hash == _hash(token), ~self._over(now), *active())
        )
        rows = await self._database.fetch(query)
        if not rows:
            return None
        row = rows[0]
        if now - row.seen_at >= _MINUTE:
            async with self._database.begin() as connection:
                await connection.execute(update(operator_sessions).where(columns.id == row.id).values(seen_at=now))
        role = Role(row.role)
        operator = Operator(row.name, role, allowed(role))
        return SignedIn(operator, row.id, csrf_of(token), row.method, row.created_at + self._longest)

    async def list(self, name: str, current: str) -> list[OperatorSession]:
        """Sessions of one operator, newest first."""
        columns = operator_sessions.c
        query = (
            select(operator_sessions).where(columns.operator == name, ~self._over(self._now())).order_by(columns.created_at.desc())
        )
        return [
            OperatorSession(
                session=row.id,
                operator=row.operator,
                method=row.method,
                agent=row.agent,
                created_at=row.created_at,
                seen_at=row.seen_at,
                current=row.id == current,
            )
            for row in await self._database.fetch(query)
        ]

    async def end(self, operator: Operator, session: str) -> None:
        """End a session of the operator's own. Raises ``NoSuchThing``."""
        async with self._database.begin() as connection:
            gone = await connection.execute(
                delete(operator_sessions).where(operator_sessions.c.id == session, operator_sessions.c.operator == operator.name)
            )
            if not gone.rowcount:
                raise NoSuchThing("there is no such session")
            await self._audit.write(connection, operator, Action.SIGNED_OUT, operator.name)

    async def end_all(self, connection: AsyncConnection, name: str, *, but: str = "") -> None:
        """End every session of an operator, in somebody's transaction."""
        await connection.execute(
            delete(operator_sessions).where(operator_sessions.c.operator == name, operator_sessions.c.id != but)
        )

    def _over(self, now: int) -> Any:
        return (operator_sessions.c.created_at <= now - self._longest) | (operator_sessions.c.seen_at <= now - self._idle)

    def _now(self) -> int:
        return int(self._clock() * 1000)


class OperatorTokens:
    """Makes, finds and revokes tokens."""

    def __init__(
        self,
        *,
        database: Database,
        audit: AuditTrail,
        clock: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._token_bytes = token_bytes

    async def add(self, operator: Operator, body: AddToken) -> NewToken:
        """A token of the operator's own. Raises ``OperatorError``."""
        refused = sorted({*body.scopes} & PEOPLE_ONLY)
        if refused:
            raise OperatorError(f"no token may do this: {', '.join(refused)}")
        scopes = [permission for permission in Permission if permission in body.scopes]
        token, name, now = TOKEN_PREFIX + base64url.encode(self._token_bytes(32)), new_reference(self._token_bytes), self._now()
        async with self._database.begin() as connection:
            mine = select(operator_tokens.c.id).where(
                operator_tokens.c.operator == operator.name, operator_tokens.c.expires_at > now
            )
            if len((await connection.execute(mine)).all()) >= MAX_TOKENS:
                raise OperatorError(f"you have {MAX_TOKENS} tokens: revoke one first")
            values = {"id": name, "operator": operator.name, "name": body.name, "scopes": " ".join(scopes), "created_at": now}
            until = now + body.days * 86_400_000
            await connection.execute(insert(operator_tokens).values(token_hash=_hash(token), expires_at=until, **values))
            await self._audit.write(connection, operator, Action.TOKEN_ADDED, name)
        return NewToken(token, TokenInfo(name, body.name, operator.name, scopes, now, until))

    async def find(self, token: str) -> SignedIn | None:
        """Who may do what with this token; None when it does not hold, or its owner is disabled."""
        now, columns = self._now(), operator_tokens.c
        query = (
            select(columns.id, columns.scopes, columns.used_at, columns.expires_at, operators.c.name, operators.c.role)
            .join(operators, operators.c.name == columns.operator)
            .where(columns.token_hash == _hash(token), columns.expires_at > now, *active())
        )
        rows = await self._database.fetch(query)
        if not rows:
            return None
        row = rows[0]
        if row.used_at is None or now - row.used_at >= _MINUTE:
            async with self._database.begin() as connection:
                await connection.execute(update(operator_tokens).where(columns.id == row.id).values(used_at=now))
        role = Role(row.role)
        scopes = [Permission(scope) for scope in row.scopes.split() if scope in _KNOWN]
        return SignedIn(Operator(row.name, role, allowed(role, scopes), row.id), "", "", "token", row.expires_at)

    async def list(self) -> list[TokenInfo]:
        """Tokens that hold, of all operators, newest first."""
        query: Select[Any] = (
            select(operator_tokens)
            .where(operator_tokens.c.expires_at > self._now())
            .order_by(operator_tokens.c.created_at.desc(), operator_tokens.c.id)
        )
        return [
            TokenInfo(
                id=row.id,
                name=row.name,
                operator=row.operator,
                scopes=[Permission(scope) for scope in row.scopes.split() if scope in _KNOWN],
                created_at=row.created_at,
                expires_at=row.expires_at,
                used_at=UNSET if row.used_at is None else row.used_at,
            )
            for row in await self._database.fetch(query)
        ]

    async def revoke(self, operator: Operator, token: str) -> None:
        """Raises ``NoSuchThing``."""
        async with self._database.begin() as connection:
            gone = await connection.execute(delete(operator_tokens).where(operator_tokens.c.id == token))
            if not gone.rowcount:
                raise NoSuchThing("there is no such token")
            await self._audit.write(connection, operator, Action.TOKEN_REVOKED, token)

    def _now(self) -> int:
        return int(self._clock() * 1000)


_KNOWN: Final = {permission.value for permission in Permission}


def active() -> tuple[Any, ...]:
    """Conditions for an operator who may act."""
    return operators.c.removed_at.is_(None), operators.c.disabled_at.is_(None)


def csrf_of(token: str) -> str:
    """The token against forged requests that belongs to a session: who has the cookie's value has it, a foreign page has neither."""
    return base64url.encode(hmac.digest(token.encode(), b"kloudtalk/v1 csrf", hashlib.sha256))


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
