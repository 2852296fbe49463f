"""Plans, trials, orders, and what the payment provider tells (P29)."""

import base64
import hashlib
import hmac
import time
from urllib.parse import parse_qs, urlsplit

import aiohttp
import msgspec
import pytest
from aiohttp import web
from sqlalchemy import select

from signaling.plans.api import Webhook
from signaling.plans.payments import StandardWebhooks
from signaling.plans.rules import DAY, parse_product
from signaling.plans.service import MAX_PENDING, PlanService
from signaling.storage.tables import order_references, orders
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.rest import OrderState, PlaceOrder, PlanKind
from tests.integration.hub_fixture import register
from tests.integration.test_client_calls import ALICE
from tests.integration.test_retention import account

ANN = "A" * 22
KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
CHECKOUT = "https://pay.example/checkout?shop=7"


@pytest.fixture
async def plans(database, clock) -> PlanService:
    await account(database, ANN)
    return PlanService(
        database=database,
        products=[parse_product("plus-month:30:299:EUR"), parse_product("plus-year:365:2900:EUR")],
        trial_days=14,
        provider=StandardWebhooks(checkout=CHECKOUT, secret=SECRET),
        clock=clock,
    )


def event(order, /, *, kind="payment.succeeded", now: float, key: bytes = KEY, **other) -> tuple[dict[str, str], bytes]:
    """A webhook as Standard Webhooks says."""
    data = {"order": order.order, "reference": "pay_123", "amount": order.amount, "currency": order.currency} | other
    body, at = msgspec.json.encode({"type": kind, "timestamp": "x", "data": data}), str(int(now))
    signature = base64.b64encode(hmac.digest(key, f"msg_1.{at}.".encode() + body, hashlib.sha256)).decode()
    return {"webhook-id": "msg_1", "webhook-timestamp": at, "webhook-signature": f"v1a,zzz v1,{signature}"}, body


async def refusal(work) -> ErrorCode:
    with pytest.raises(Refused) as refused:
        await work
    return refused.value.code


async def test_a_trial_is_had_once_and_ends_by_itself(plans, clock):
    assert (await plans.get(ANN)).plan is PlanKind.FREE
    assert (await plans.get(ANN)).trial_days == 14
    trial = await plans.start_trial(ANN)
    assert (trial.plan, trial.until, trial.trial_days) == (PlanKind.TRIAL, int(clock() * 1000) + 14 * DAY, 0)
    clock.advance(14 * 86_400)
    assert (await plans.get(ANN)).plan is PlanKind.FREE
    assert await refusal(plans.start_trial(ANN)) is ErrorCode.TRIAL_USED


async def test_what_is_paid_is_had_and_a_second_purchase_adds_to_it(plans, clock):
    first = await plans.order(ANN, PlaceOrder("plus-month"))
    assert first.state is OrderState.PENDING
    query = {name: value[0] for name, value in parse_qs(urlsplit(first.checkout_url).query).items()}
    signed = hmac.digest(KEY, f"{first.order}.299.EUR".encode(), hashlib.sha256).hex()
    assert query == {"shop": "7", "order": first.order, "amount": "299", "currency": "EUR", "signature": signed}
    assert (await plans.get(ANN)).plan is PlanKind.FREE
    told = event(first, now=clock())
    for _ in range(3):  # a provider tells until it is heard
        await plans.webhook(*told)
    until = int(clock() * 1000) + 30 * DAY
    have = await plans.get(ANN)
    assert (have.plan, have.until) == (PlanKind.PURCHASED, until)
    (kept,) = (await plans.orders(ANN)).orders
    assert (kept.state, kept.paid_at) == (OrderState.PAID, int(clock() * 1000))
    clock.advance(86_400)
    await plans.webhook(*event(await plans.order(ANN, PlaceOrder("plus-year")), now=clock()))
    assert (await plans.get(ANN)).until == until + 365 * DAY
    assert await refusal(plans.start_trial(ANN)) is ErrorCode.TRIAL_USED


async def test_another_amount_a_failure_or_an_unknown_order_gives_no_plan(plans, clock):
    order = await plans.order(ANN, PlaceOrder("plus-month"))
    for told in (
        event(order, now=clock(), amount=1),
        event(order, now=clock(), currency="XXX"),
        event(order, now=clock(), order="Z" * 22),
        event(order, now=clock(), kind="customer.created"),
        event(order, now=clock(), kind="payment.failed"),
    ):
        await plans.webhook(*told)
        assert (await plans.get(ANN)).plan is PlanKind.FREE
    assert (await plans.orders(ANN)).orders[0].state is OrderState.FAILED


async def test_unpaid_orders_are_limited_and_products_are_those_of_the_settings(plans):
    assert await refusal(plans.order(ANN, PlaceOrder("gold"))) is ErrorCode.NOT_FOUND
    for _ in range(MAX_PENDING):
        await plans.order(ANN, PlaceOrder("plus-month"))
    assert await refusal(plans.order(ANN, PlaceOrder("plus-month"))) is ErrorCode.TOO_MANY_ORDERS


async def test_who_is_not_the_provider_is_refused_over_http(plans, clock):
    app = web.Application()
    app.router.add_post("/w", Webhook(plans).handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/w"
    order = await plans.order(ANN, PlaceOrder("plus-month"))
    headers, body = event(order, now=clock())
    forged, _ = event(order, now=clock(), key=bytes(32))
    old, old_body = event(order, now=clock() - 400)
    async with aiohttp.ClientSession() as http:
        for head, content, status in (
            ({}, body, 400),
            (forged, body, 400),
            (headers, body + b" ", 400),
            (old, old_body, 400),
            ({**headers, "webhook-timestamp": "9" * 400}, body, 400),
            (headers, bytes(70_000), 413),
            (headers, body, 204),
        ):
            async with http.post(url, headers=head, data=content) as answer:
                assert answer.status == status
    await runner.cleanup()
    assert (await plans.get(ANN)).plan is PlanKind.PURCHASED


async def test_an_order_outlives_its_account_and_names_nobody(hub):
    provider = StandardWebhooks(checkout=CHECKOUT, secret=SECRET)
    plans = hub.hub.plans
    plans._provider, plans._products = provider, {"plus-month": parse_product("plus-month:30:299:EUR")}
    async with await register(hub, ALICE) as alice:
        assert (await alice._ask("plan.start_trial", session=True)).plan is PlanKind.TRIAL
        order = await alice._ask("orders.place", PlaceOrder("plus-month"), session=True)
        await plans.webhook(*event(order, now=time.time()))
        assert (await alice._ask("plan.get", session=True)).plan is PlanKind.PURCHASED
        assert [o.state for o in (await alice._ask("orders.list", session=True)).orders] == [OrderState.PAID]
        other = await alice._ask("orders.place", PlaceOrder("plus-month"), session=True)
        await alice.delete_account()
    await plans.webhook(*event(other, now=time.time()))  # paid while the account was deleted
    async with hub.hub.database.begin() as connection:
        assert (await connection.execute(select(order_references))).all() == []
        kept = (await connection.execute(select(orders))).mappings().all()
    assert [row["state"] for row in kept] == ["paid", "paid"]
    assert "pay_123" not in repr(kept)
    assert alice.profile.account not in repr(kept)
