"""Handlers of the operators' API on users' accounts."""

from msgspec import Struct

from signaling.gateway.admin_request import AdminHandlers, AdminRequest
from signaling.operators.accounts import AccountDesk


def handlers(desk: AccountDesk) -> AdminHandlers:
    """Look up, see, reveal, block."""

    async def look_up(request: AdminRequest) -> Struct:
        return await desk.look_up(request.operator, request.body)

    async def blocked(request: AdminRequest) -> Struct:
        return await desk.blocked(request.query.get("before"))

    async def get(request: AdminRequest) -> Struct:
        return await desk.get(request.path["pseudonym"])

    async def reveal(request: AdminRequest) -> Struct:
        return await desk.reveal(request.operator, request.path["pseudonym"], request.body.reason)

    async def block(request: AdminRequest) -> Struct:
        body = request.body
        return await desk.block(request.operator, request.path["pseudonym"], body.blocked_for, body.reason)

    async def unblock(request: AdminRequest) -> Struct:
        return await desk.block(request.operator, request.path["pseudonym"], None, request.body.reason)

    return {
        "accounts.look_up": look_up,
        "accounts.blocked": blocked,
        "accounts.get": get,
        "accounts.reveal": reveal,
        "accounts.block": block,
        "accounts.unblock": unblock,
    }
