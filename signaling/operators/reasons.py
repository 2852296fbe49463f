"""Reasons that operators give are kept for years: they may name nobody (pure)."""

import re
from typing import Final

from signaling.wire.errors import ErrorCode, Refused

_ADDRESS: Final = re.compile(r"[^\s@]@[^\s@]")
_HARMLESS: Final = re.compile(r"\b\d{4}-\d{2}-\d{2}\b|(?<![\w-])(?=[\w-]*[A-Za-z_])[\w-]{22}(?![\w-])", re.ASCII)
"""A date, or the id of a ticket or a request."""
_NUMBER: Final = re.compile(r"\+?(?:\d[\s./()-]*){7,}")


def checked_reason(text: str) -> str:
    """The reason on one line. Raises ``Refused`` when it seems to hold a number or an address of somebody."""
    reason = " ".join(text.split())
    if len(reason) < 3 or not reason.isprintable():
        raise Refused(ErrorCode.INVALID, "`reason`: say in a few words why")
    if _ADDRESS.search(reason) or _NUMBER.search(_HARMLESS.sub("", reason)):
        raise Refused(
            ErrorCode.INVALID, "`reason`: it is kept for years, so it names no number and no address; a ticket's id is fine"
        )
    return reason
