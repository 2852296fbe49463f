"""What the rest of the hub must hear from contacts. ``app.py`` implements it; every method returns at once."""

from collections.abc import Sequence
from typing import Protocol

from signaling.wire.messages import ContactMatch


class ContactEvents(Protocol):
    """Notices after the fact."""

    def matches_added(self, account: str, matches: Sequence[ContactMatch]) -> None:
        """Entries of this user's address book became accounts (P08)."""

    def matches_removed(self, account: str, accounts: Sequence[str]) -> None:
        """Entries of this user's address book are accounts no longer."""

    def book_changed(self, account: str) -> None:
        """The user changed or deleted the address book."""

    def blocks_changed(self, account: str) -> None:
        """The user blocked or unblocked someone."""
