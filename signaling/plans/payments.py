"""The provider who takes payments: an interface, and an adapter for any that speaks Standard Webhooks (standardwebhooks.com, version 1).

The service never sees a card or a bank account. It sends the user to the provider's page with a signed order, and hears of the payment by a
signed webhook. What a provider does beyond that is its own; a small bridge of the operator's can stand in between.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final, Protocol
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

TOLERANCE: Final = 300
"""Seconds that a webhook's time may differ from ours."""


class WebhookInvalid(Exception):  # noqa: N818 - what it is
    """Not from the provider, or too old; the message says which, and nothing of its content."""


class Payment(Struct, frozen=True):
    """What a webhook says. ``amount`` in the currency's smallest unit; ``reference`` is the provider's name for the payment."""

    order: str
    reference: str
    amount: int
    currency: str
    paid: bool


class PaymentProvider(Protocol):
    """Where users pay."""

    def checkout_url(self, order: str, amount: int, currency: str) -> str:
        """Where the user's browser goes to pay."""

    def payment(self, headers: Mapping[str, str], body: bytes, now: float) -> Payment | None:
        """What a webhook says; None for an event that does not concern us. Raises ``WebhookInvalid``. ``now``: seconds."""


class _Data(Struct, frozen=True):
    order: str
    reference: str
    amount: int
    currency: str


class _Event(Struct, frozen=True):
    type: str
    data: msgspec.Raw


class StandardWebhooks:
    """Standard Webhooks: ``webhook-signature`` is ``v1,`` and the HMAC-SHA-256 of ``id.timestamp.body`` under the shared secret.

    Events: ``payment.succeeded`` and ``payment.failed`` with ``{"order", "reference", "amount", "currency"}`` as their data. The checkout page
    gets ``order``, ``amount``, ``currency`` and ``signature``, the HMAC-SHA-256 of ``order.amount.currency`` in hexadecimal.

    Args:
        secret: ``whsec_`` and base64, as the specification writes it. Raises ``ValueError`` when it is not.
    """

    def __init__(self, *, checkout: str, secret: str) -> None:
        self._checkout = checkout
        try:
            self._secret = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            raise ValueError("payment_secret: `whsec_` and base64") from None
        if not secret.startswith("whsec_") or len(self._secret) < 24:
            raise ValueError("payment_secret: `whsec_` and base64 of 24 bytes or more")

    def checkout_url(self, order: str, amount: int, currency: str) -> str:
        """The checkout page with the order, which nobody in between can change."""
        signature = hmac.digest(self._secret, f"{order}.{amount}.{currency}".encode(), hashlib.sha256).hex()
        query = urlencode({"order": order, "amount": amount, "currency": currency, "signature": signature})
        return f"{self._checkout}{'&' if '?' in self._checkout else '?'}{query}"

    def payment(self, headers: Mapping[str, str], body: bytes, now: float) -> Payment | None:
        """Verify and read a webhook."""
        name, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        if not (name and at.isdecimal() and len(at) <= 12):
            raise WebhookInvalid("webhook-id or webhook-timestamp is missing")
        if abs(now - int(at)) > TOLERANCE:
            raise WebhookInvalid("webhook-timestamp is too far from now")
        expected = base64.b64encode(hmac.digest(self._secret, f"{name}.{at}.".encode() + body, hashlib.sha256))
        given = [s.partition(",")[2] for s in headers.get("webhook-signature", "").split() if s.startswith("v1,")]
        if not any(hmac.compare_digest(expected, signature.encode()) for signature in given):
            raise WebhookInvalid("webhook-signature does not fit")
        try:
            event = msgspec.json.decode(body, type=_Event)
            if event.type not in ("payment.succeeded", "payment.failed"):
                return None
            data = msgspec.json.decode(event.data, type=_Data)
        except (msgspec.DecodeError, UnicodeError):
            raise WebhookInvalid("the body is not a payment event") from None
        return Payment(data.order, data.reference[:128], data.amount, data.currency, event.type == "payment.succeeded")
