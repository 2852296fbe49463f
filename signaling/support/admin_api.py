"""Handlers of the operators' API on tickets and announcements."""

from msgspec import Struct

from signaling.gateway.admin_request import AdminHandlers, AdminRequest
from signaling.operators.pseudonyms import Pseudonyms
from signaling.support.announcements import AnnouncementService
from signaling.support.tickets import TicketService
from signaling.wire.admin.people import CurrentAnnouncements, OperatorTicket, TicketLine, TicketQueue


def handlers(tickets: TicketService, announcements: AnnouncementService, pseudonyms: Pseudonyms) -> AdminHandlers:
    """Answer users, and tell them news."""

    async def queue(_request: AdminRequest) -> Struct:
        return TicketQueue(
            [
                TicketLine(line.ticket, pseudonyms.of(line.account), line.state, line.subject, line.changed_at)
                for line in await tickets.queue()
            ]
        )

    async def ticket(request: AdminRequest) -> Struct:
        whose = pseudonyms.of(await tickets.whose(request.path["ticket"]))
        read = await tickets.read(request.operator, request.path["ticket"])
        return OperatorTicket(
            ticket=read.ticket,
            account=whose,
            state=read.state,
            subject=read.subject,
            opened_at=read.opened_at,
            changed_at=read.changed_at,
            messages=read.messages or [],
        )

    async def attachment(request: AdminRequest) -> Struct:
        return await tickets.read_attachment(request.operator, request.path["ticket"], request.path["attachment"])

    async def answer(request: AdminRequest) -> None:
        await tickets.answer(request.operator, request.path["ticket"], request.body.text)

    async def close(request: AdminRequest) -> None:
        await tickets.close(request.operator, request.path["ticket"])

    async def current(_request: AdminRequest) -> Struct:
        return CurrentAnnouncements(await announcements.current())

    async def announce(request: AdminRequest) -> Struct:
        return await announcements.add(request.operator, request.body.title, request.body.text)

    async def withdraw(request: AdminRequest) -> None:
        await announcements.withdraw(request.operator, request.path["announcement"])

    return {
        "desk.queue": queue,
        "desk.ticket": ticket,
        "desk.attachment": attachment,
        "desk.answer": answer,
        "desk.close": close,
        "news.list": current,
        "news.add": announce,
        "news.withdraw": withdraw,
    }
