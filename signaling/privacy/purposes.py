"""The registry of purposes that need a consent (P21): what the user is asked, word for word, and what obeys the answer. Pure data.

A purpose without an operation that refuses when the consent is missing does not belong here; ``tests/integration/test_purposes.py`` holds each to it.
"""

import hashlib
from typing import Final

from msgspec import Struct

from signaling.wire.rest import Purpose, PurposeText


class Entry(Struct, frozen=True):
    """One purpose."""

    text: str
    """What the user is asked. A consent refers to its hash: another text is another question."""
    promises: tuple[str, ...]
    needs: tuple[str, ...]
    """Ids of the operations (``wire/rest.py``) that are refused with ``consent_required`` without it."""


PURPOSES: Final[dict[Purpose, Entry]] = {
    Purpose.PHONEBOOK: Entry(
        text=(
            "KloudTalk may use my phonebook to show which of my contacts use KloudTalk. Names and numbers are encrypted on my device "
            "before they are uploaded; the server cannot read them. I can withdraw this in the settings at any time, and what was "
            "uploaded is then deleted at once. Without it I can do everything else."
        ),
        promises=("P05", "P06", "P08"),
        needs=("discovery.evaluate", "contacts.change"),
    ),
    Purpose.DEVICE_DETAILS: Entry(
        text=(
            "KloudTalk may keep what my devices tell about themselves (model, system, browser, version of the app, operator, language, "
            "time zone, battery, signal) and the network and region that they connect from, so that I recognise them in my list of "
            "devices and notice one that is not mine. Only I see it. I can withdraw this in the settings at any time, and it is then "
            "deleted at once. Without it the list shows names only."
        ),
        promises=("P18", "P19"),
        needs=("devices.describe",),
    ),
}
"""Every purpose."""


def purposes() -> list[PurposeText]:
    """Every purpose with its text and the text's hash."""
    return [PurposeText(purpose, entry.text, text_hash(purpose)) for purpose, entry in PURPOSES.items()]


def text_hash(purpose: Purpose) -> str:
    """Hex SHA-256 of a purpose's text."""
    return hashlib.sha256(PURPOSES[purpose].text.encode()).hexdigest()
