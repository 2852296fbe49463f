"""Written requests (P24): an operator opens one, the person's identity is checked, another operator confirms, and it is done.

Every step is on the audit trail in the same transaction. A request that is over names no account any more. The operators' API
uses this; an operator's page can use it as it is.
"""

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from msgspec import Struct
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from signaling.accounts import rules as account_rules
from signaling.accounts.delivery import Delivery, DeliveryError
from signaling.operators.audit import Action, AuditTrail
from signaling.operators.operator import NoSuchThing, Operator, OperatorError
from signaling.operators.references import new_reference
from signaling.privacy import request_rules as rules
from signaling.privacy.owed import OwedErasures, What
from signaling.privacy.request_rules import Evidence, Kind, Request, RuleBroken, State
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, rights_requests
from signaling.wire.errors import Refused
from signaling.wire.rest import Channel

_WORK: Final = {
    Kind.ERASURE: (What.ACCOUNT, False),
    Kind.RESTRICTION: (What.FREEZE, True),
    Kind.RELEASE: (What.UNFREEZE, True),
}
"""What a running hub must do, and whether the account goes on to exist."""


class Exports(Protocol):
    """Makes archives (``privacy/export.py``)."""

    async def archive(self, account: str) -> bytes:
        """The ZIP archive of one account."""


class RequestView(Struct, frozen=True):
    """A request as operators see it: never the person's data. Times in milliseconds."""

    id: str
    kind: Kind
    state: State
    opened_by: str
    opened_at: int
    verified_by: str | None
    evidence: Evidence | None
    confirmed_by: str | None
    closed_at: int | None


class RequestService:
    """Runs written requests. Every method raises ``OperatorError`` when a step is not possible, with a message for the operator."""

    def __init__(
        self,
        *,
        database: Database,
        audit: AuditTrail,
        owed: OwedErasures,
        exporter: Exports,
        delivery: dict[Channel, Delivery],
        pepper: bytes,
        clock: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database = database
        self._audit = audit
        self._owed = owed
        self._exporter = exporter
        self._delivery = delivery
        self._pepper = pepper
        self._clock = clock
        self._token_bytes = token_bytes

    async def open(self, operator: Operator, kind: Kind, *, phone: str = "", email: str = "") -> RequestView:
        """Open a request about the account with a number or an address."""
        try:
            if phone:
                condition = accounts.c.phone == account_rules.normalise_phone(phone)
            else:
                condition = accounts.c.email == account_rules.normalise_email(email)
        except Refused as refused:
            raise OperatorError(refused.message) from None
        request = new_reference(self._token_bytes)
        async with self._database.begin() as connection:
            account = (await connection.execute(select(accounts.c.id).where(condition))).scalar_one_or_none()
            if account is not None:
                values = {"id": request, "kind": kind, "account": account, "state": State.OPENED, "opened_by": operator.name}
                await connection.execute(insert(rights_requests).values(opened_at=self._now(), **values))
            action = Action.NOTHING_FOUND if account is None else Action.REQUEST_OPENED
            await self._audit.write(connection, operator, action, "" if account is None else request)
        if account is None:
            raise NoSuchThing("no account has this number or address: nothing is stored about this person under it")
        return await self.get(request)

    async def send_code(self, operator: Operator, request: str, channel: Channel) -> None:
        """Send a code to the account's number or address, for the person to tell the operator. It works for ten minutes."""
        async with self._database.begin() as connection:
            row = await self._row(connection, request)
            self._allowed(rules.may_verify, row)
            wait = (row.code_sent_at or 0) / 1000 + account_rules.RESEND_AFTER - self._clock()
            if wait > 0:
                raise OperatorError(f"a code was sent a moment ago; another can be sent in {wait:.0f} s")
            contact = (await connection.execute(select(accounts).where(accounts.c.id == row.account))).one()
            code = account_rules.code_from_random(self._token_bytes(8))
            digest = account_rules.code_digest(self._pepper, request, "request", code)
            values = {"code_digest": digest, "code_sent_at": self._now(), "code_tries": 0}
            await self._change(connection, request, **values)
            await self._audit.write(connection, operator, Action.CODE_SENT, request)
        try:
            await self._delivery[channel].send(contact.phone if channel is Channel.PHONE else contact.email, code)
        except DeliveryError as error:
            raise OperatorError(f"the code could not be sent: {error}") from None

    async def verify_code(self, operator: Operator, request: str, code: str) -> RequestView:
        """The person told the code that was sent to the account."""
        wrong: str | None = None
        async with self._database.begin() as connection:
            row = await self._row(connection, request)
            self._allowed(rules.may_verify, row)
            if row.code_digest is None:
                raise OperatorError("no code was sent yet")
            tries = row.code_tries + 1
            given = account_rules.code_digest(self._pepper, request, "request", code.strip())
            try:
                account_rules.check_code(
                    stored=row.code_digest, given=given, sent_at=row.code_sent_at / 1000, tries=tries, now=self._clock()
                )
            except Refused as refused:
                wrong = refused.message
                await self._change(connection, request, code_tries=tries)
                await self._audit.write(connection, operator, Action.CODE_WRONG, request)
            else:
                await self._verified(connection, operator, request, Evidence.CODE)
        if wrong is not None:
            raise OperatorError(wrong)
        return await self.get(request)

    async def verify_document(self, operator: Operator, request: str, evidence: Evidence) -> RequestView:
        """The operator has seen who the person is. What was seen is not stored, only of which kind it was."""
        if evidence is Evidence.CODE:
            raise OperatorError("a code is checked, not seen")
        async with self._database.begin() as connection:
            self._allowed(rules.may_verify, await self._row(connection, request))
            await self._verified(connection, operator, request, evidence)
        return await self.get(request)

    async def confirm(self, operator: Operator, request: str) -> RequestView:
        """The second pair of eyes."""
        async with self._database.begin() as connection:
            row = await self._row(connection, request)
            self._allowed(lambda seen: rules.may_confirm(seen, operator.name), row)
            await self._change(connection, request, state=State.CONFIRMED, confirmed_by=operator.name)
            await self._audit.write(connection, operator, Action.CONFIRMED, request)
        return await self.get(request)

    async def fulfil(self, operator: Operator, request: str, hand_over: Callable[[bytes], Awaitable[object]]) -> RequestView:
        """Do what was asked. Access: ``hand_over`` gets the archive, which holds once this returns. All else is noted, and done by a running hub within seconds."""
        async with self._database.begin() as connection:
            row = await self._row(connection, request)
            self._allowed(rules.may_fulfil, row)
        kind = Kind(row.kind)
        if kind is Kind.ACCESS:
            await hand_over(await self._exporter.archive(row.account))
        await self._close(operator, request, State.FULFILLED, Action.FULFILLED, rules.may_fulfil, work=_WORK.get(kind))
        return await self.get(request)

    async def reject(self, operator: Operator, request: str) -> RequestView:
        """The request ends without being done."""
        await self._close(operator, request, State.REJECTED, Action.REJECTED, rules.may_reject)
        return await self.get(request)

    async def get(self, request: str) -> RequestView:
        """One request."""
        async with self._database.begin() as connection:
            return _view(await self._row(connection, request, gone=True))

    async def list(self) -> list[RequestView]:
        """Every request, newest first."""
        async with self._database.begin() as connection:
            rows = (await connection.execute(select(rights_requests).order_by(rights_requests.c.opened_at.desc()))).all()
        return [_view(row) for row in rows]

    async def _verified(self, connection: AsyncConnection, operator: Operator, request: str, evidence: Evidence) -> None:
        values = {"state": State.VERIFIED, "verified_by": operator.name, "evidence": evidence, "code_digest": None}
        await self._change(connection, request, **values)
        action = Action.VERIFIED_BY_CODE if evidence is Evidence.CODE else Action.VERIFIED_BY_DOCUMENT
        await self._audit.write(connection, operator, action, request)

    async def _close(
        self,
        operator: Operator,
        request: str,
        state: State,
        action: Action,
        rule: Callable[[Request], None],
        *,
        work: tuple[What, bool] | None = None,
    ) -> None:
        async with self._database.begin() as connection:
            row = await self._row(connection, request, gone=True)
            self._allowed(rule, row)  # here, with the row locked: of two who close it at once, one does
            if work is not None and row.account is not None:
                # with the end of the request: neither is there without the other
                await self._owed.note_with(connection, row.account, work[0], known=work[1])
            await self._change(connection, request, state=state, closed_at=self._now(), account=None, code_digest=None)
            await self._audit.write(connection, operator, action, request)

    async def _change(self, connection: AsyncConnection, request: str, **values: Any) -> None:
        await connection.execute(update(rights_requests).where(rights_requests.c.id == request).values(**values))

    async def _row(self, connection: AsyncConnection, request: str, *, gone: bool = False) -> Any:
        """The request, locked; ``gone``: also when its account was deleted meanwhile."""
        row = (await connection.execute(select(rights_requests).where(rights_requests.c.id == request).with_for_update())).first()
        if row is None:
            raise NoSuchThing("there is no such request")
        if row.account is None and not gone and row.state not in (State.FULFILLED, State.REJECTED):
            raise OperatorError("the account is gone: reject the request")
        return row

    def _allowed(self, rule: Callable[[Request], None], row: Any) -> None:
        try:
            rule(Request(State(row.state), row.opened_by, row.verified_by, row.confirmed_by))
        except RuleBroken as broken:
            raise OperatorError(str(broken)) from None

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _view(row: Any) -> RequestView:
    return RequestView(
        id=row.id,
        kind=Kind(row.kind),
        state=State(row.state),
        opened_by=row.opened_by,
        opened_at=row.opened_at,
        verified_by=row.verified_by,
        evidence=None if row.evidence is None else Evidence(row.evidence),
        confirmed_by=row.confirmed_by,
        closed_at=row.closed_at,
    )
