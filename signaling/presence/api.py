"""REST operations of presence."""

from msgspec import Struct

from signaling.gateway.request import Handlers, RestRequest
from signaling.presence.service import PresenceService


def handlers(service: PresenceService) -> Handlers:
    """Handlers by endpoint id."""

    async def get(r: RestRequest) -> Struct:
        return await service.get(r.session, r.path["account"])

    return {"presence.get": get}
