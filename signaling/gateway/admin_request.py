"""What a handler of the operators' API gets: a request whose sender may make it, with everything in it validated; and what it can answer."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from msgspec import Struct

from signaling.operators.operator import Operator
from signaling.operators.sessions import SignedIn


class AdminRequest(Struct, frozen=True):
    """One request. ``body`` is the endpoint's Struct (or None), ``path`` and ``query`` hold validated strings."""

    body: Any
    path: Mapping[str, str]
    query: Mapping[str, str]
    cookies: Mapping[str, str]
    address: str
    """What limits count by: the client's IP address or network. Never logged."""
    agent: str
    """The ``User-Agent`` header."""
    origin: str
    """Where the operators' page is, ``https://host[:port]``: as the settings say, else as the browser says."""
    _signed_in: SignedIn | None = None

    @property
    def signed_in(self) -> SignedIn:
        """Who asks; every endpoint but the public ones has one."""
        if self._signed_in is None:
            raise LookupError("this endpoint is public")
        return self._signed_in

    @property
    def operator(self) -> Operator:
        """Who asks: for services, which write the name to the audit trail."""
        return self.signed_in.operator

    @property
    def host(self) -> str:
        """The host of ``origin``, without its port."""
        return urlsplit(self.origin).hostname or ""


class Cookie(Struct, frozen=True):
    """A cookie to be set: not for scripts, not for other sites, ``Secure`` when the page came by TLS."""

    name: str
    value: str
    """Empty: to be removed."""
    path: str
    max_age: int | None = None
    """Seconds; None: until the browser ends."""
    lax: bool = False
    """Also sent when another site leads here (a single sign-on's way back)."""


class WithCookies(Struct, frozen=True):
    """An answer that also sets cookies."""

    answer: Struct | None
    cookies: tuple[Cookie, ...]


class Redirect(Struct, frozen=True):
    """To another address."""

    location: str
    cookies: tuple[Cookie, ...] = ()


AdminHandler = Callable[[AdminRequest], Awaitable[Struct | None]]
"""Does one operation. Raises ``Refused`` or ``OperatorError`` to say no."""

AdminHandlers = dict[str, AdminHandler]
"""Handlers by the endpoint's id; each subject makes one such dict, ``app.py`` joins them."""


class Notes(Protocol):
    """Writes to the audit trail (``operators/audit.py``)."""

    async def note(self, operator: Operator | None, action: str, subject: str = "", reason: str = "") -> None:
        """Append one entry."""
