"""REST operations of pushes."""

from msgspec import Struct

from signaling.gateway.request import Handlers, RestRequest
from signaling.push.service import PushService


def handlers(push: PushService) -> Handlers:
    """Handlers by endpoint id."""

    async def state(r: RestRequest) -> Struct:
        return await push.state(r.session)

    async def subscribe(r: RestRequest) -> Struct:
        return await push.subscribe(r.session, r.body)

    async def unsubscribe(r: RestRequest) -> None:
        await push.unsubscribe(r.session)

    return {"push.get": state, "push.set": subscribe, "push.remove": unsubscribe}
