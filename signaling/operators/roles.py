"""Which role may do what: the only table (pure)."""

from collections.abc import Iterable
from typing import Final

from signaling.wire.admin.frame import Permission, Role

_P = Permission

_VIEWER: Final = frozenset({_P.OPERATIONS_READ, _P.ACCOUNTS_READ})
_SUPPORT: Final = _VIEWER | {
    _P.CALLS_END, _P.ACCOUNTS_LOOK_UP, _P.ACCOUNTS_REVEAL, _P.ACCOUNTS_BLOCK, _P.TICKETS, _P.ANNOUNCEMENTS, _P.REQUESTS, _P.AGGREGATES,
}  # fmt: skip

PERMISSIONS: Final[dict[Role, frozenset[Permission]]] = {
    Role.VIEWER: _VIEWER,
    Role.SUPPORT: _SUPPORT,
    Role.ADMIN: frozenset(Permission),
}
"""Each role may do what the one before may, and more."""

PEOPLE_ONLY: Final = frozenset({_P.OPERATORS, _P.TOKENS})
"""What no token may do: a token that leaks must not make others, or operators."""


def allowed(role: Role, scopes: Iterable[Permission] | None = None) -> frozenset[Permission]:
    """What somebody of this role may do; by a token, what its scopes leave of it. A role that loses a permission takes it from its tokens."""
    if scopes is None:
        return PERMISSIONS[role]
    return PERMISSIONS[role] & frozenset(scopes) - PEOPLE_ONLY


def parse_role(text: str) -> tuple[str, Role]:
    """``VALUE=ROLE``. Raises ``ValueError``."""
    value, _, role = text.rpartition("=")
    if not value or role not in list(Role):
        raise ValueError(f"each is VALUE=ROLE, with a role of {', '.join(Role)}")
    return value, Role(role)
