"""What an endpoint of the operators' API is: to add one, write its Structs and one ``AdminEndpoint``, and a handler under the same id.

Who may use it is said by ``access``: anybody (``Access.PUBLIC``), every operator for themselves (``Access.SELF``), or who has a
permission. Which role has which permissions is said once, in ``operators/roles.py``.
"""

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

from signaling.wire.errors import ErrorCode
from signaling.wire.ids import ID_PATTERN
from signaling.wire.rest import Query


class Role(StrEnum):
    """What an operator is there for."""

    VIEWER = "viewer"
    """Sees how the service does."""
    SUPPORT = "support"
    """Helps users, acts on written requests, blocks accounts."""
    ADMIN = "admin"
    """All of it, and the operators themselves."""


class Permission(StrEnum):
    """What somebody may do. A machine's token has some of them as its scopes."""

    OPERATIONS_READ = "operations.read"
    CALLS_END = "calls.end"
    HUBS_DRAIN = "hubs.drain"
    ACCOUNTS_READ = "accounts.read"
    ACCOUNTS_LOOK_UP = "accounts.look_up"
    ACCOUNTS_REVEAL = "accounts.reveal"
    ACCOUNTS_BLOCK = "accounts.block"
    TICKETS = "tickets"
    ANNOUNCEMENTS = "announcements"
    REQUESTS = "requests"
    AGGREGATES = "aggregates"
    AUDIT_READ = "audit.read"
    OPERATORS = "operators"
    TOKENS = "tokens"


class Access(StrEnum):
    """Endpoints that need no permission."""

    PUBLIC = "public"
    """Anybody: signing in."""
    SELF = "self"
    """A person who is signed in, for themselves; no token."""


class AdminEndpoint(Struct, frozen=True, kw_only=True):
    """One operation of the operators' API: the route and the OpenAPI operation are both made from it."""

    id: str
    """Operation id; the handler is registered under it."""
    method: str
    path: str
    summary: str
    access: Permission | Access
    body: type[Struct] | None = None
    answer: type[Struct] | None = None
    """None: 204, no content."""
    status: int = 200
    """302: the answer is a redirect, for a browser on its way through a sign-in elsewhere."""
    errors: tuple[ErrorCode, ...] = ()
    """Codes beside those that any request may get."""
    query: tuple[Query, ...] = ()
    download: str | None = None
    """Media type, when the answer is a file rather than a Struct."""
    audit: str | None = None
    """An action that the gateway writes to the audit trail before the handler runs: for what is not done in SQL. What is, writes its own
    entry in its own transaction (``AuditTrail.write``)."""
    subject: str | None = None
    """The path parameter that the entry names."""


class AdminEvents(Struct, frozen=True, kw_only=True):
    """Live updates of the operators' API, as server-sent events (WHATWG HTML, section 9.2). ``gateway/admin_stream.py`` serves them."""

    id: str
    """Operation id."""
    path: str
    summary: str
    access: Permission
    events: dict[str, type[Struct]]
    """What each event's data is, by the event's name. Where it cannot be told now, the data is ``{"refused": CODE}``."""
    query: tuple[Query, ...] = ()


ADMIN_PATHS: Final = {
    "operator": r"^[a-z][a-z0-9.-]{0,31}\Z",
    "session": ID_PATTERN,
    "token": ID_PATTERN,
    "passkey": ID_PATTERN,
    "pseudonym": r"^[0-9A-Za-z]{22}\Z",
    "ticket": ID_PATTERN,
    "attachment": ID_PATTERN,
    "announcement": ID_PATTERN,
    "request": ID_PATTERN,
    "call": ID_PATTERN,
    "hub": r"^[0-9a-f]{16}\Z",
    "relay": r"^[A-Za-z0-9_-]{12}\Z",
}
"""What each path parameter must look like; anything else is ``not_found``."""

OperatorName = Annotated[str, Meta(pattern=ADMIN_PATHS["operator"], description="an operator's name")]
Pseudonym = Annotated[
    str, Meta(pattern=ADMIN_PATHS["pseudonym"], description="an account, under a name that only this service can undo")
]
Reason = Annotated[str, Meta(min_length=3, max_length=200, description="why; it is kept on the audit trail, so it names nobody")]
