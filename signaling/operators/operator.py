"""Somebody who acts as an operator, and how services say no to them."""

from typing import Final

from msgspec import Struct

from signaling.wire.admin.frame import Permission, Role
from signaling.wire.errors import ErrorCode

LOCAL: Final = "local"
"""On the audit trail: who administers the machine, on its command line. No operator has this name."""


class OperatorError(Exception):
    """What an operator asked for cannot be done; the message says why, for the operator, and names no user."""

    code: ErrorCode = ErrorCode.NOT_POSSIBLE


class NoSuchThing(OperatorError):  # noqa: N818 - what it is
    """What an operator named does not exist."""

    code = ErrorCode.NOT_FOUND


class Operator(Struct, frozen=True):
    """Somebody who has proven to be an operator. Services take this, not a name."""

    name: str
    role: Role = Role.SUPPORT
    permissions: frozenset[Permission] = frozenset()
    """What the role allows, or, with a token, what its scopes leave of that."""
    via: str = ""
    """The token that is used, if one is."""
