"""Who may see what of whose presence (P16). Pure: no I/O, no clock.

Presence is shown when four things hold. The viewer has the owner in its address book (nobody else can ask about an account). Neither has
blocked the other. The owner's setting includes the viewer. And it is reciprocal: the viewer's own setting includes the owner, so who hides
theirs, from everyone or from this one person, does not see theirs either.
"""

from enum import IntFlag
from typing import Final

from msgspec import UNSET, Struct

from signaling.wire.messages import Presence
from signaling.wire.rest import LastSeenTo, OnlineTo

MINUTE: Final = 60_000
"""Milliseconds: what last seen is rounded down to, before it is stored."""


class Toward(Struct, frozen=True):
    """How one account stands towards another: everything that its settings, its address book and its blocks say."""

    last_seen: LastSeenTo
    online: OnlineTo
    has: bool
    """The other's number is in its address book."""
    blocked: bool = False
    """It has blocked the other."""
    last_seen_excepted: bool = False
    """The other is on its list of exceptions for last seen."""
    online_excepted: bool = False
    """The other is on its list of exceptions for online."""


class Sight(IntFlag):
    """What a viewer may see of an owner."""

    NOTHING = 0
    ONLINE = 1
    LAST_SEEN = 2


class Seen(Struct, frozen=True):
    """An account as the stores have it."""

    online: bool
    last_seen: int | None = None
    """Milliseconds since 1970, a whole minute; None when it is not recorded."""
    before: int | None = None
    """The minute that was recorded before ``last_seen``."""


def _includes(to: str, *, has: bool, excepted: bool) -> bool:
    match to:
        case LastSeenTo.EVERYONE:
            return True
        case LastSeenTo.CONTACTS:
            return has
        case LastSeenTo.CONTACTS_EXCEPT:
            return has and not excepted
        case _:
            return False


def shows_last_seen(side: Toward) -> bool:
    """Whether an account's setting includes the other for last seen."""
    return _includes(side.last_seen, has=side.has, excepted=side.last_seen_excepted)


def shows_online(side: Toward) -> bool:
    """Whether an account's setting includes the other for online."""
    if side.online is OnlineTo.SAME_AS_LAST_SEEN:
        return shows_last_seen(side)
    return _includes(side.online, has=side.has, excepted=side.online_excepted)


def sight(owner: Toward, viewer: Toward) -> Sight:
    """What the viewer may see of the owner: ``owner`` is how the owner stands towards the viewer, ``viewer`` the other way round."""
    if not viewer.has or owner.blocked or viewer.blocked:
        return Sight.NOTHING
    seen = Sight.NOTHING
    if shows_online(owner) and shows_online(viewer):
        seen |= Sight.ONLINE
    if shows_last_seen(owner) and shows_last_seen(viewer):
        seen |= Sight.LAST_SEEN
    return seen


def records_last_seen(to: LastSeenTo) -> bool:
    """Whether last seen may be stored at all: for ``nobody`` it is not, and what was stored goes."""
    return to is not LastSeenTo.NOBODY


def minute(seconds: float) -> int:
    """A time in seconds since 1970, as milliseconds, rounded down to the minute."""
    return int(seconds // 60) * MINUTE


def view(account: str, seen: Seen, may: Sight, now: float) -> Presence:
    """An account as a viewer sees it at ``now`` (seconds).

    Who may see last seen but not online is not shown a minute before it is over: to watch the value change would tell the second.
    """
    online = seen.online if may & Sight.ONLINE else UNSET
    last_seen = seen.last_seen
    if not may & Sight.ONLINE and last_seen is not None and last_seen >= minute(now):
        last_seen = seen.before
    shown = may & Sight.LAST_SEEN and online is not True and last_seen is not None
    return Presence(account=account, online=online, last_seen=last_seen if shown and last_seen is not None else UNSET)
