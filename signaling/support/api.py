"""REST operations of support and announcements."""

from msgspec import Struct

from signaling.gateway.request import Handlers, RestRequest
from signaling.support.announcements import AnnouncementService
from signaling.support.tickets import TicketService


def handlers(tickets: TicketService, announcements: AnnouncementService) -> Handlers:
    """Handlers by endpoint id."""

    async def open_ticket(r: RestRequest) -> Struct:
        return await tickets.open(r.session.account, r.body)

    async def list_tickets(r: RestRequest) -> Struct:
        return await tickets.of_account(r.session.account)

    async def get_ticket(r: RestRequest) -> Struct:
        return await tickets.get(r.session.account, r.path["ticket"])

    async def add_message(r: RestRequest) -> Struct:
        return await tickets.add(r.session.account, r.path["ticket"], r.body)

    async def get_attachment(r: RestRequest) -> Struct:
        return await tickets.attachment(r.session.account, r.path["ticket"], r.path["attachment"])

    async def delete_ticket(r: RestRequest) -> None:
        await tickets.delete(r.session.account, r.path["ticket"])

    async def list_announcements(r: RestRequest) -> Struct:
        return await announcements.for_account(r.session.account)

    return {
        "tickets.open": open_ticket,
        "tickets.list": list_tickets,
        "tickets.get": get_ticket,
        "tickets.add_message": add_message,
        "tickets.attachment": get_attachment,
        "tickets.delete": delete_ticket,
        "announcements.list": list_announcements,
    }
