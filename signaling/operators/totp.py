"""Time-based one-time passwords (RFC 6238) by pyotp: 6 digits, 30 seconds, SHA-1, as every authenticator app has them (pure but for the secret)."""

import hmac
from typing import Final

import pyotp
import segno

STEP: Final = 30
"""Seconds of one code."""
_WINDOW: Final = 1
"""Steps before and after that are taken too: clocks differ (RFC 6238, section 5.2)."""


def new_secret() -> str:
    """160 random bits in base32 (RFC 4226, section 4)."""
    return pyotp.random_base32()


def uri(secret: str, operator: str, server_name: str) -> str:
    """``otpauth://totp/…`` for an authenticator."""
    return pyotp.TOTP(secret, interval=STEP).provisioning_uri(name=operator, issuer_name=server_name)


def picture(text: str) -> str:
    """The URI as a QR code: a data URI of an SVG."""
    return str(segno.make(text, error="m").svg_data_uri(scale=5, border=3))


def drawn(text: str) -> str:
    """The same for a terminal, in half blocks."""
    rows = [bytes(row) for row in segno.make(text, error="l").matrix_iter(border=2)]
    rows += [bytes(len(rows[0]))] * (len(rows) % 2)
    return "\n".join(
        "".join(" ▄▀█"[(not above) * 2 + (not below)] for above, below in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    )


def matching_step(secret: str, code: str, now: float, used: int) -> int | None:
    """The step whose code this is, newer than ``used``; None when there is none. A code that was used is not taken again."""
    generator = pyotp.TOTP(secret, interval=STEP)
    current = int(now) // STEP
    for step in range(current - _WINDOW, current + _WINDOW + 1):
        if step > used and hmac.compare_digest(generator.generate_otp(step), code):
            return step
    return None
