"""What is limited, by how much, and the rule that counts (pure).

The rule is the generic cell rate algorithm (ITU-T I.371): one number for each sender, the time at which it has nothing left to make up for.
Whoever is not limited has no number at all, so what is kept goes by itself.
"""

from typing import Final

from msgspec import Struct


class Limit(Struct, frozen=True):
    """``at_once`` uses, and then one every ``every`` seconds."""

    name: str
    at_once: int
    every: float


INVITES_OF_DEVICE: Final = Limit("invites_device", 20, 3.0)
INVITES_OF_ACCOUNT: Final = Limit("invites_account", 40, 2.0)
INVITES_FROM_ADDRESS: Final = Limit("invites_address", 200, 0.2)
"""Calls placed. Nobody dials faster by hand; an address may be a whole office's, or a thousand phones' behind one NAT."""

INVITES_TO_ACCOUNT: Final = Limit("invites_to", 6, 20.0)
"""Calls of one account to one other: who calls, cancels and calls again is told to wait after the sixth time."""

RINGS_BY_CONTACTS: Final = Limit("rings_contacts", 20, 5.0)
RINGS_BY_STRANGERS: Final = Limit("rings_strangers", 8, 30.0)
"""Calls that ring at one account, whoever places them: by those in its address book, and by all others. What is beyond does not ring; it looks to
the caller like nobody at home, and stands in the callee's history. Two counts, so that no crowd of strangers keeps friends away.
"""

MOVES_OF_DEVICE: Final = Limit("moves_device", 6, 10.0)
MOVES_OF_ACCOUNT: Final = Limit("moves_account", 12, 5.0)
"""Calls taken over by another device of the account: from one to another and back as somebody walks about, and not as a way to have the other side
connect all the time.
"""

REQUESTS_FROM_ADDRESS: Final = Limit("requests_address", 240, 0.05)
REQUESTS_OF_ACCOUNT: Final = Limit("requests_account", 300, 0.1)
REQUESTS_OF_DEVICE: Final = Limit("requests_device", 240, 0.2)
"""REST requests, and new sockets: a household behind one address stays far below."""

HELLOS_OF_DEVICE: Final = Limit("hellos_device", 30, 2.0)
"""Sockets of one device: far more than a client needs that changes networks all the time, and each costs what a hundred frames do."""

RELAY_LEGS_OF_DEVICE: Final = Limit("relay_legs_device", 10, 2.0)
"""Legs of relays: each change of networks takes one."""

LIMITS: Final = (
    INVITES_OF_DEVICE, INVITES_OF_ACCOUNT, INVITES_FROM_ADDRESS, INVITES_TO_ACCOUNT, RINGS_BY_CONTACTS, RINGS_BY_STRANGERS,
    MOVES_OF_DEVICE, MOVES_OF_ACCOUNT, REQUESTS_FROM_ADDRESS, REQUESTS_OF_ACCOUNT, REQUESTS_OF_DEVICE, HELLOS_OF_DEVICE, RELAY_LEGS_OF_DEVICE,
)  # fmt: skip
"""All of them."""


class Charge(Struct, frozen=True, array_like=True):
    """One use of one thing that is limited, as Redis gets it. Times are microseconds: whole numbers, which Lua keeps."""

    key: str
    """Where the number of whoever uses it is."""
    every: int
    slack: int
    """How far the number may lie ahead of now: ``at_once`` uses but one."""


def charge(limit: Limit, key: str, scale: float = 1.0) -> Charge:
    """One use. ``scale`` multiplies what is allowed, at once and in the long run."""
    every = max(1, round(limit.every * 1e6 / scale))
    return Charge(key, every, round((limit.at_once * scale - 1) * every) if limit.at_once * scale > 1 else 0)


def use(at: int | None, one: Charge, now: int) -> tuple[int | None, int]:
    """Count a use: the rule. Times are microseconds since 1970; ``script.py`` says the same in Lua.

    Returns:
        (the sender's new number, or the old one when it is refused; microseconds to wait, 0 when it is not).
    """
    since = now if at is None else max(at, now)
    if since - now > one.slack:
        return at, since - now - one.slack
    return since + one.every, 0
