"""REST operations of the call history."""

from msgspec import Struct

from signaling.calls.history import History
from signaling.calls.quality import QualityService
from signaling.gateway.request import Handlers, RestRequest

_PAGE = "50"


def handlers(history: History, qualities: QualityService) -> Handlers:
    """Handlers by endpoint id."""

    async def page(r: RestRequest) -> Struct:
        return await history.page(r.session.account, before=r.query.get("before"), limit=int(r.query.get("limit", _PAGE)))

    async def forget(r: RestRequest) -> None:
        await history.forget(r.session.account, r.path["call"])
        await qualities.forget_call(r.session.account, r.path["call"])

    async def forget_all(r: RestRequest) -> None:
        await history.forget_all(r.session.account)
        await qualities.forget_heard(r.session.account)

    async def quality(r: RestRequest) -> None:
        await qualities.tell(r.session, r.path["call"], r.body)

    async def heard(r: RestRequest) -> None:
        await qualities.heard(r.session, r.path["call"], r.body)

    return {
        "calls.quality": quality,
        "calls.heard": heard,
        "calls.history": page,
        "calls.forget": forget,
        "calls.forget_all": forget_all,
    }
