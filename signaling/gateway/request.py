"""What a REST handler gets: a request whose body, path, query and bearer are validated already."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import Struct

from signaling.wire.certificate import DeviceCertificate


class Session(Struct, frozen=True):
    """An authenticated device."""

    account: str
    device: str
    phone: str
    """The account's verified number, E.164."""
    certificate: DeviceCertificate
    restricted: bool = False
    """The account is frozen: see ``privacy/restriction.py``."""
    blocked: bool = False
    """An operator blocked the account: see ``accounts/blocking.py``."""
    acknowledged: bool = True
    """The account has acknowledged the policy in force (P04)."""


class RestRequest(Struct, frozen=True):
    """One REST request. ``body`` is the endpoint's Struct (or None), ``path`` and ``query`` hold validated strings."""

    body: Any
    path: Mapping[str, str]
    query: Mapping[str, str]
    bearer: str
    """The bearer token, for endpoints whose token is not a session's; else empty."""
    address: str
    """The client's IP address (from the proxy's header when the proxy is trusted). Never logged."""
    _session: Session | None = None

    @property
    def session(self) -> Session:
        """The authenticated device. Only endpoints with ``Auth.SESSION`` have one; the gateway has checked it."""
        if self._session is None:
            raise LookupError("this endpoint has no session")
        return self._session


class Download(Struct, frozen=True):
    """A file as an answer; its media type is the endpoint's ``download``."""

    content: bytes
    filename: str


Handler = Callable[[RestRequest], Awaitable[Struct | None]]
"""Does one operation. Raises ``Refused`` to say no."""

Handlers = dict[str, Handler]
"""Handlers by the endpoint's id; each feature's ``api.py`` makes one such dict, ``app.py`` joins them."""
