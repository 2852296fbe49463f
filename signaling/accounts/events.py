"""What the rest of the hub must hear from accounts. ``app.py`` implements it; every method returns at once."""

from collections.abc import Sequence
from typing import Protocol


class AccountEvents(Protocol):
    """Notices after the fact: what they tell is committed already."""

    def devices_removed(self, account: str, devices: Sequence[str]) -> None:
        """Sessions of these devices are void: close their sockets, end their calls."""

    def devices_changed(self, account: str) -> None:
        """Devices or identity key of an account changed: its own devices and those who have it as a contact are told."""

    def account_created(self, account: str, discovery_token: str) -> None:
        """Someone joined: who waits for this number sees the match (P08)."""

    def settings_changed(self, account: str) -> None:
        """Settings changed; ``who_can_call`` may be among them."""

    def sessions_changed(self, devices: Sequence[str]) -> None:
        """What the hub remembers of these devices' sessions is old: they come back and are read anew."""

    def profile_changed(self, account: str) -> None:
        """Name, about text or picture changed: those who may see them are told."""

    def number_changed(self, account: str, devices: Sequence[str], old_token: str, new_token: str) -> None:
        """The account has another number, and another discovery token."""

    def link_claimed(self, device: str, link: str) -> None:
        """A new device claimed the link that ``device`` shows."""
