"""What plan an account has (pure)."""

from msgspec import Struct

from signaling.wire.rest import PlanKind

DAY: int = 86_400_000
"""Milliseconds."""


class Product(Struct, frozen=True):
    """What can be bought: days of the plan. ``amount`` in the currency's smallest unit (ISO 4217)."""

    id: str
    days: int
    amount: int
    currency: str


class Standing(Struct, frozen=True):
    """What is stored of an account's plan. Times in milliseconds; None: never."""

    trial_until: int | None = None
    paid_until: int | None = None


def current(standing: Standing, now: int) -> tuple[PlanKind, int | None]:
    """The plan at a time, and until when it lasts."""
    if standing.paid_until is not None and standing.paid_until > now:
        return PlanKind.PURCHASED, standing.paid_until
    if standing.trial_until is not None and standing.trial_until > now:
        return PlanKind.TRIAL, standing.trial_until
    return PlanKind.FREE, None


def bought(standing: Standing, product: Product, now: int) -> int:
    """Until when the plan lasts after a purchase: time that was paid for already is not lost."""
    return max(now, standing.paid_until or 0) + product.days * DAY


def parse_product(text: str) -> Product:
    """A product as it stands in the settings: ``plus-month:30:299:EUR``. Raises ``ValueError``."""
    parts = text.split(":")
    if len(parts) != 4:
        raise ValueError("a product is name:days:amount:currency, as plus-month:30:299:EUR")
    name, days, amount, currency = parts
    if not (1 <= len(name) <= 32 and name.replace("-", "").isalnum() and name.isascii()):
        raise ValueError("a product's name has up to 32 letters, digits and dashes")
    if not (days.isdecimal() and 1 <= int(days) <= 3660 and amount.isdecimal() and int(amount) <= 10**9):
        raise ValueError("a product has 1 to 3660 days and an amount in the currency's smallest unit")
    if not (len(currency) == 3 and currency.isalpha() and currency.isupper() and currency.isascii()):
        raise ValueError("a product's currency is three letters (ISO 4217)")
    return Product(name, int(days), int(amount), currency)
