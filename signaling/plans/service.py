"""Plans and orders (P29). An order keeps what was bought, for how much and when. Who bought it is a reference that goes with the account;
the provider's name for the payment too: what stays is a line of the books that names nobody.
"""

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec import UNSET
from sqlalchemy import func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from signaling.plans.payments import Payment, PaymentProvider
from signaling.plans.rules import DAY, Product, Standing, bought, current
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, order_references, orders, plans
from signaling.wire import base64url
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.rest import Order, Orders, OrderState, PlaceOrder, Plan, PlanProduct

log = logging.getLogger(__name__)

MAX_PENDING: Final = 5
"""Orders of one account that are not paid yet."""


class PlanService:
    """Plans of all users.

    Args:
        trial_days: length of the free trial; 0: there is none.
        provider: None: nothing can be bought.
    """

    def __init__(
        self,
        *,
        database: Database,
        products: Sequence[Product],
        trial_days: int,
        provider: PaymentProvider | None,
        clock: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database = database
        self._products = {product.id: product for product in products} if provider is not None else {}
        self._trial_days = trial_days
        self._provider = provider
        self._clock = clock
        self._token_bytes = token_bytes

    async def get(self, account: str) -> Plan:
        """The account's plan, and what it could have instead."""
        async with self._database.begin() as connection:
            standing = await self._standing(connection, account)
        kind, until = current(standing, self._now())
        return Plan(
            plan=kind,
            until=UNSET if until is None else until,
            trial_days=self._trial_days if standing.trial_until is None and standing.paid_until is None else 0,
            products=[PlanProduct(p.id, p.days, p.amount, p.currency) for p in self._products.values()],
        )

    async def start_trial(self, account: str) -> Plan:
        """Begin the free trial, once. It ends by itself, and costs nothing then either. Raises ``Refused(trial_used)``."""
        async with self._database.begin() as connection:
            standing = await self._standing(connection, account, lock=True)
            if not self._trial_days or standing.trial_until is not None or standing.paid_until is not None:
                raise Refused(ErrorCode.TRIAL_USED)
            await self._store(connection, account, trial_until=self._now() + self._trial_days * DAY)
        return await self.get(account)

    async def order(self, account: str, body: PlaceOrder) -> Order:
        """Order a product; the answer says where to pay. Raises ``Refused`` (``not_found``, ``too_many_orders``)."""
        product = self._products.get(body.product)
        if product is None or self._provider is None:
            raise Refused(ErrorCode.NOT_FOUND)
        order, now = base64url.encode(self._token_bytes(16)), self._now()
        async with self._database.begin() as connection:
            mine = (order_references.c.account == account, orders.c.state == OrderState.PENDING)
            joined = select(func.count()).select_from(orders.join(order_references)).where(*mine)
            if (await connection.execute(joined)).scalar_one() >= MAX_PENDING:
                raise Refused(ErrorCode.TOO_MANY_ORDERS)
            values = {"id": order, "product": product.id, "days": product.days, "state": OrderState.PENDING}
            await connection.execute(
                insert(orders).values(amount=product.amount, currency=product.currency, ordered_at=now, unpaid_since=now, **values)
            )
            await connection.execute(insert(order_references).values(order=order, account=account))
        return next(o for o in (await self.orders(account)).orders if o.order == order)

    async def orders(self, account: str) -> Orders:
        """The account's orders, newest first."""
        query = (
            select(orders).join(order_references).where(order_references.c.account == account).order_by(orders.c.ordered_at.desc())
        )
        async with self._database.begin() as connection:
            return Orders([self._order(row) for row in await connection.execute(query)])

    async def webhook(self, headers: Mapping[str, str], body: bytes) -> None:
        """What the provider tells. The same told twice counts once. Raises ``WebhookInvalid``, and ``LookupError`` without a provider."""
        if self._provider is None:
            raise LookupError("no provider")
        payment = self._provider.payment(headers, body, self._clock())
        if payment is not None:
            await self._paid(payment)

    async def _paid(self, payment: Payment) -> None:
        now = self._now()
        async with self._database.begin() as connection:
            row = (await connection.execute(select(orders).where(orders.c.id == payment.order).with_for_update())).first()
            if row is None or row.state == OrderState.PAID:
                return
            where = orders.c.id == payment.order
            if not payment.paid:
                await connection.execute(update(orders).where(where).values(state=OrderState.FAILED))
                return
            if (payment.amount, payment.currency) != (row.amount, row.currency):
                log.error("payment: amount or currency is not the order's; the order stays unpaid")
                return
            await connection.execute(update(orders).where(where).values(state=OrderState.PAID, paid_at=now, unpaid_since=None))
            mine = order_references.c.order == payment.order
            account = (await connection.execute(select(order_references.c.account).where(mine))).scalar_one_or_none()
            if account is None:
                return  # the account is gone: the books keep the payment
            await connection.execute(update(order_references).where(mine).values(reference=payment.reference))
            standing = await self._standing(connection, account, lock=True)
            product = Product(row.product, row.days, row.amount, row.currency)
            await self._store(connection, account, paid_until=bought(standing, product, now))

    async def _standing(self, connection: AsyncConnection, account: str, *, lock: bool = False) -> Standing:
        if lock:  # the account, not the plan: there may be no row of it yet
            await connection.execute(select(accounts.c.id).where(accounts.c.id == account).with_for_update())
        row = (await connection.execute(select(plans).where(plans.c.account == account))).first()
        return Standing() if row is None else Standing(row.trial_until, row.paid_until)

    async def _store(self, connection: AsyncConnection, account: str, **values: int) -> None:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        statement = dialect.insert(plans).values(account=account, **values)
        await connection.execute(statement.on_conflict_do_update(index_elements=["account"], set_=dict[Any, Any](values)))

    def _order(self, row: Any) -> Order:
        pay = row.state == OrderState.PENDING and self._provider is not None
        return Order(
            order=row.id,
            product=row.product,
            amount=row.amount,
            currency=row.currency,
            state=OrderState(row.state),
            ordered_at=row.ordered_at,
            paid_at=UNSET if row.paid_at is None else row.paid_at,
            checkout_url=self._provider.checkout_url(row.id, row.amount, row.currency) if pay and self._provider else UNSET,
        )

    def _now(self) -> int:
        return int(self._clock() * 1000)
