"""REST operations of plans and orders, and the payment provider's webhook."""

import logging
from typing import Final

from aiohttp import web
from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError

from signaling.gateway.body import read_body
from signaling.gateway.request import Handlers, RestRequest
from signaling.plans.payments import WebhookInvalid
from signaling.plans.service import PlanService
from signaling.wire.errors import ERRORS, Refused

log = logging.getLogger(__name__)

WEBHOOK_PATH: Final = "/webhooks/payments"
"""Where the payment provider tells of payments. Not part of the protocol of clients."""
_MAX_WEBHOOK: Final = 65_536


def handlers(plans: PlanService) -> Handlers:
    """Handlers by endpoint id."""

    async def get(r: RestRequest) -> Struct:
        return await plans.get(r.session.account)

    async def start_trial(r: RestRequest) -> Struct:
        return await plans.start_trial(r.session.account)

    async def list_orders(r: RestRequest) -> Struct:
        return await plans.orders(r.session.account)

    async def place(r: RestRequest) -> Struct:
        return await plans.order(r.session.account, r.body)

    return {"plan.get": get, "plan.start_trial": start_trial, "orders.list": list_orders, "orders.place": place}


class Webhook:
    """The aiohttp handler of the provider's webhook: 204 taken, 400 not from the provider, 413, 404 without a provider, 503 try again."""

    def __init__(self, plans: PlanService) -> None:
        self._plans = plans

    async def handle(self, request: web.Request) -> web.Response:
        """One webhook."""
        try:
            body = await read_body(request, _MAX_WEBHOOK)
        except Refused as refused:
            return web.Response(status=ERRORS[refused.code].status)
        try:
            await self._plans.webhook({name.lower(): value for name, value in request.headers.items()}, body)
        except WebhookInvalid as invalid:
            log.warning("payment webhook refused: %s", invalid)
            return web.Response(status=400)
        except LookupError:
            return web.Response(status=404)
        except (SQLAlchemyError, OSError) as error:
            log.error("payment webhook: the database does not answer (%s)", type(error).__name__)
            return web.Response(status=503, headers={"Retry-After": "30"})
        return web.Response(status=204)
