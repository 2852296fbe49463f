"""REST operations of contacts, discovery and blocks."""

from msgspec import Struct

from signaling.contacts.service import ContactService
from signaling.gateway.request import Handlers, RestRequest


def handlers(service: ContactService) -> Handlers:
    """Handlers by endpoint id."""

    async def evaluate(r: RestRequest) -> Struct:
        return await service.evaluate(r.session.account, r.session.phone, r.body.blinded)

    async def change(r: RestRequest) -> Struct:
        return await service.change(r.session.account, r.body)

    async def get(r: RestRequest) -> Struct:
        return await service.get(r.session.account)

    async def delete(r: RestRequest) -> None:
        await service.delete(r.session.account)

    async def list_blocks(r: RestRequest) -> Struct:
        return await service.blocked(r.session.account)

    async def block(r: RestRequest) -> None:
        await service.block(r.session.account, r.path["account"])

    async def unblock(r: RestRequest) -> None:
        await service.unblock(r.session.account, r.path["account"])

    return {
        "discovery.evaluate": evaluate,
        "contacts.change": change,
        "contacts.get": get,
        "contacts.delete": delete,
        "blocks.list": list_blocks,
        "blocks.add": block,
        "blocks.remove": unblock,
    }
