"""Tickets (P27): a user asks, with what they choose to attach; an operator answers. Part of the export, gone with the account.

A ticket that is closed is deleted after 180 days, by the user at any time.
"""

import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from msgspec import UNSET, Struct
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from signaling.operators.audit import Action, AuditTrail
from signaling.operators.operator import NoSuchThing, Operator, OperatorError
from signaling.operators.references import new_reference
from signaling.storage.sql import Database
from signaling.storage.tables import ticket_attachments, ticket_messages, tickets
from signaling.wire import base64url
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.rest import (
    AddTicketMessage,
    Attachment,
    AttachmentContent,
    AttachmentInfo,
    OpenTicket,
    Ticket,
    TicketMessage,
    Tickets,
    TicketState,
)

MAX_OPEN: Final = 10
"""Tickets of one account that are not closed."""
MAX_MESSAGES: Final = 100
"""Messages of one ticket."""


class TicketLine(Struct, frozen=True):
    """A ticket in an operator's list."""

    ticket: str
    account: str
    state: TicketState
    subject: str
    changed_at: int


class TicketService:
    """Tickets of all users.

    Args:
        on_changed: called with account, ticket, and whether there is an answer to tell the user of.
    """

    def __init__(
        self,
        *,
        database: Database,
        audit: AuditTrail,
        on_changed: Callable[[str, str, bool], None] = lambda _account, _ticket, _answered: None,
        clock: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database = database
        self._audit = audit
        self._on_changed = on_changed
        self._clock = clock
        self._token_bytes = token_bytes

    # --- the user ------------------------------------------------------------------------------------------------------------

    async def open(self, account: str, body: OpenTicket) -> Ticket:
        """Open a ticket. Raises ``Refused`` (``too_many_tickets``, ``invalid``)."""
        ticket, now = new_reference(self._token_bytes), self._now()
        async with self._database.begin() as connection:
            is_open = (tickets.c.account == account, tickets.c.state != TicketState.CLOSED)
            if (await connection.execute(select(func.count()).where(*is_open))).scalar_one() >= MAX_OPEN:
                raise Refused(ErrorCode.TOO_MANY_TICKETS)
            values = {"id": ticket, "account": account, "subject": body.subject, "state": TicketState.OPEN}
            await connection.execute(insert(tickets).values(opened_at=now, changed_at=now, **values))
            await self._add(connection, ticket, account, body.text, body.attachments)
        return await self.get(account, ticket)

    async def of_account(self, account: str) -> Tickets:
        """The user's tickets, newest first, without what was said in them."""
        query = select(tickets).where(tickets.c.account == account).order_by(tickets.c.opened_at.desc(), tickets.c.id)
        async with self._database.begin() as connection:
            return Tickets([_ticket(row) for row in await connection.execute(query)])

    async def get(self, account: str, ticket: str) -> Ticket:
        """One ticket of the user with its messages; an answer in it counts as read from now on."""
        async with self._database.begin() as connection:
            row = await self._row(connection, ticket, account)
            if _unread(row):
                await connection.execute(update(tickets).where(tickets.c.id == ticket).values(read_at=self._now()))
            found = await self._read(connection, row)
        if found.unread:
            self._on_changed(account, ticket, False)
        return found

    async def add(self, account: str, ticket: str, body: AddTicketMessage) -> Ticket:
        """Say more; a closed ticket is opened again. Raises ``Refused`` (``not_found``, ``too_many_tickets``, ``invalid``)."""
        async with self._database.begin() as connection:
            await self._row(connection, ticket, account)
            said = select(func.count()).where(ticket_messages.c.ticket == ticket)
            if (await connection.execute(said)).scalar_one() >= MAX_MESSAGES:
                raise Refused(ErrorCode.TOO_MANY_TICKETS, "this ticket is as long as it may be: open another")
            await self._add(connection, ticket, account, body.text, body.attachments)
            await self._change(connection, ticket, TicketState.OPEN)
        return await self.get(account, ticket)

    async def attachment(self, account: str, ticket: str, attachment: str) -> AttachmentContent:
        """One attachment of the user."""
        async with self._database.begin() as connection:
            await self._row(connection, ticket, account)
            row = await self._attachment(connection, ticket, attachment)
        if row is None:
            raise Refused(ErrorCode.NOT_FOUND)
        return _content(row)

    async def delete(self, account: str, ticket: str) -> None:
        """Delete a ticket with everything in it, at once."""
        async with self._database.begin() as connection:
            await self._row(connection, ticket, account)
            await connection.execute(delete(tickets).where(tickets.c.id == ticket))

    # --- the operator ----------------------------------------------------------------------------------------------------------

    async def queue(self) -> list[TicketLine]:
        """Tickets that are not closed, the one that waits longest first."""
        query = select(tickets).where(tickets.c.state != TicketState.CLOSED).order_by(tickets.c.changed_at)
        async with self._database.begin() as connection:
            rows = await connection.execute(query)
            return [TicketLine(row.id, row.account, TicketState(row.state), row.subject, row.changed_at) for row in rows]

    async def whose(self, ticket: str) -> str:
        """The account that opened a ticket. Raises ``OperatorError``."""
        async with self._database.begin() as connection:
            account: str = (await self._operators_row(connection, ticket)).account
        return account

    async def read(self, operator: Operator, ticket: str) -> Ticket:
        """A ticket, for an operator; that it was read is on the audit trail. Raises ``OperatorError``."""
        async with self._database.begin() as connection:
            row = await self._operators_row(connection, ticket)
            await self._audit.write(connection, operator, Action.TICKET_READ, ticket)
            return await self._read(connection, row)

    async def read_attachment(self, operator: Operator, ticket: str, attachment: str) -> AttachmentContent:
        """An attachment, for an operator; that it was read is on the audit trail. Raises ``OperatorError``."""
        async with self._database.begin() as connection:
            await self._operators_row(connection, ticket)
            row = await self._attachment(connection, ticket, attachment)
            if row is None:
                raise NoSuchThing("there is no such attachment")
            await self._audit.write(connection, operator, Action.TICKET_READ, ticket)
        return _content(row)

    async def answer(self, operator: Operator, ticket: str, text: str) -> None:
        """Answer; the user sees it as the service's. Raises ``OperatorError``."""
        if not 1 <= len(text) <= 4000:
            raise OperatorError("an answer has 1 to 4,000 characters")
        async with self._database.begin() as connection:
            row = await self._operators_row(connection, ticket)
            await self._add(connection, ticket, row.account, text, [], from_operator=True)
            await self._change(connection, ticket, TicketState.ANSWERED)
            await self._audit.write(connection, operator, Action.TICKET_ANSWERED, ticket)
        self._on_changed(row.account, ticket, True)

    async def close(self, operator: Operator, ticket: str) -> None:
        """Close; the user can open it again by answering. Raises ``OperatorError``."""
        async with self._database.begin() as connection:
            row = await self._operators_row(connection, ticket)
            await self._change(connection, ticket, TicketState.CLOSED)
            await self._audit.write(connection, operator, Action.TICKET_CLOSED, ticket)
        self._on_changed(row.account, ticket, False)

    # --- inside ------------------------------------------------------------------------------------------------------------------

    async def _row(self, connection: AsyncConnection, ticket: str, account: str) -> Any:
        query = select(tickets).where(tickets.c.id == ticket, tickets.c.account == account).with_for_update()
        row = (await connection.execute(query)).first()
        if row is None:
            raise Refused(ErrorCode.NOT_FOUND)
        return row

    async def _operators_row(self, connection: AsyncConnection, ticket: str) -> Any:
        row = (await connection.execute(select(tickets).where(tickets.c.id == ticket).with_for_update())).first()
        if row is None:
            raise NoSuchThing("there is no such ticket")
        return row

    async def _attachment(self, connection: AsyncConnection, ticket: str, attachment: str) -> Any:
        where = (ticket_attachments.c.ticket == ticket, ticket_attachments.c.id == attachment)
        return (await connection.execute(select(ticket_attachments).where(*where))).first()

    async def _add(
        self,
        connection: AsyncConnection,
        ticket: str,
        account: str,
        text: str,
        attachments: list[Attachment],
        *,
        from_operator: bool = False,
    ) -> None:
        message = new_reference(self._token_bytes)
        values = {"id": message, "ticket": ticket, "account": account, "from_operator": from_operator, "text": text}
        position = (await connection.execute(select(func.count()).where(ticket_messages.c.ticket == ticket))).scalar_one()
        await connection.execute(insert(ticket_messages).values(position=position, at=self._now(), **values))
        for attachment in attachments:
            try:
                content = base64url.decode(attachment.content)
            except ValueError:
                raise Refused(ErrorCode.INVALID, "an attachment's `content` is not base64url") from None
            await connection.execute(
                insert(ticket_attachments).values(
                    id=new_reference(self._token_bytes),
                    ticket=ticket,
                    account=account,
                    message=message,
                    name=attachment.name,
                    media_type=attachment.media_type,
                    content=content,
                )
            )

    async def _change(self, connection: AsyncConnection, ticket: str, state: TicketState) -> None:
        now = self._now()
        closed = now if state is TicketState.CLOSED else None
        await connection.execute(
            update(tickets).where(tickets.c.id == ticket).values(state=state, changed_at=now, closed_at=closed)
        )

    async def _read(self, connection: AsyncConnection, row: Any) -> Ticket:
        said = await connection.execute(
            select(ticket_messages).where(ticket_messages.c.ticket == row.id).order_by(ticket_messages.c.position)
        )
        columns = ticket_attachments.c
        files = await connection.execute(
            select(columns.id, columns.message, columns.name, columns.media_type, func.length(columns.content).label("bytes"))
            .where(columns.ticket == row.id)
            .order_by(columns.name)
        )
        by_message: dict[str, list[AttachmentInfo]] = {}
        for file in files:
            by_message.setdefault(file.message, []).append(AttachmentInfo(file.id, file.name, file.media_type, file.bytes))
        return _ticket(row, [TicketMessage(m.from_operator, m.text, m.at, by_message.get(m.id, [])) for m in said])

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _content(row: Any) -> AttachmentContent:
    return AttachmentContent(name=row.name, media_type=row.media_type, content=base64url.encode(row.content))


def _ticket(row: Any, messages: list[TicketMessage] | None = None) -> Ticket:
    return Ticket(
        ticket=row.id,
        subject=row.subject,
        state=TicketState(row.state),
        opened_at=row.opened_at,
        changed_at=row.changed_at,
        messages=UNSET if messages is None else messages,
        unread=_unread(row),
    )


def _unread(row: Any) -> bool:
    return row.state == TicketState.ANSWERED and (row.read_at is None or row.read_at < row.changed_at)
