"""The operators' endpoints about what goes on."""

from msgspec import Struct

from signaling.gateway.admin_request import AdminHandlers, AdminRequest
from signaling.operations.actions import OperationsActions
from signaling.operations.view import OperationsView

_HOURS = "1"


def handlers(view: OperationsView, actions: OperationsActions) -> AdminHandlers:
    """Handlers by endpoint id."""

    async def overview(_r: AdminRequest) -> Struct:
        return await view.overview()

    async def figures(r: AdminRequest) -> Struct:
        return await view.call_figures(int(r.query.get("hours", _HOURS)))

    async def live(_r: AdminRequest) -> Struct:
        return await view.live()

    async def ended(r: AdminRequest) -> Struct:
        before = r.query.get("before")
        return await view.ended(
            before=None if before is None else int(before), reason=r.query.get("reason"), account=r.query.get("account")
        )

    async def call(r: AdminRequest) -> Struct:
        return await view.call(r.path["call"])

    async def end_call(r: AdminRequest) -> None:
        await actions.end_call(r.path["call"])

    async def drain_hub(r: AdminRequest) -> None:
        await actions.drain_hub(r.path["hub"])

    async def drain_relay(r: AdminRequest) -> None:
        await actions.drain_relay(r.path["relay"])

    return {
        "operations.overview": overview,
        "operations.figures": figures,
        "operations.live": live,
        "operations.ended": ended,
        "operations.call": call,
        "operations.end_call": end_call,
        "operations.drain_hub": drain_hub,
        "operations.drain_relay": drain_relay,
    }
