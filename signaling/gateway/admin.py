"""The operators' API: the plumbing of ``rest.py``, and who may ask.

People have a session in a cookie (HttpOnly, SameSite=Strict, for ``/v1/admin`` only); what they change needs the session's
``X-CSRF-Token`` besides, and a page's ``Origin`` must be this server's own: pages that users' clients may come from have no say here.
Programs have a token in a header. Then the endpoint's permission is looked for among what the role, or the token's scopes, allow.
"""

import hmac
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from aiohttp import web
from msgspec import Struct

from signaling.gateway.admin_request import AdminHandlers, AdminRequest, Cookie, Notes, Redirect, WithCookies
from signaling.gateway.counts import RestCounts
from signaling.gateway.origin import Network, trusted
from signaling.gateway.rest import AddressLimiter, Gateway, Inputs
from signaling.limits.service import Limits
from signaling.operators.operator import OperatorError
from signaling.operators.reasons import checked_reason
from signaling.operators.sessions import TOKEN_PREFIX, OperatorSessions, OperatorTokens, SignedIn
from signaling.wire.admin.access import CSRF_HEADER, SESSION_COOKIE
from signaling.wire.admin.endpoints import ADMIN_ENDPOINTS
from signaling.wire.admin.frame import ADMIN_PATHS, Access, AdminEndpoint, Permission
from signaling.wire.errors import ErrorCode, Refused

PREFIX: Final = "/v1/admin"
_TOKEN: Final = re.compile(rf"^Bearer ({TOKEN_PREFIX}[A-Za-z0-9_-]{{43}})\Z", re.IGNORECASE)
_SESSION: Final = re.compile(r"^[A-Za-z0-9_-]{43}\Z")
_SAFE: Final = ("GET", "HEAD", "OPTIONS")


class AdminGateway(Gateway[AdminEndpoint]):
    """Makes the routes. ``admin_url``: where the operators' page is, when the settings say so."""

    def __init__(
        self,
        *,
        handlers: AdminHandlers,
        sessions: OperatorSessions,
        tokens: OperatorTokens,
        audit: Notes,
        limits: Limits,
        limiter: AddressLimiter,
        counts: RestCounts,
        admin_url: str | None = None,
        proxies: Iterable[Network] = (),
    ) -> None:
        own = () if admin_url is None else (admin_url,)
        super().__init__(
            ADMIN_ENDPOINTS,
            handlers,
            prefix=PREFIX + "/",
            path_patterns=ADMIN_PATHS,
            limits=limits,
            limiter=limiter,
            counts=counts,
            origins=own,
            proxies=proxies,
        )
        self._handlers = handlers
        self._sessions = sessions
        self._tokens = tokens
        self._audit = audit
        self._admin_url = admin_url

    async def authenticate(self, request: web.Request, permission: Permission) -> SignedIn:
        """Who asks, when they may: for handlers that are no endpoints, such as streams. Raises ``Refused``."""
        signed_in = await self._who(request)
        if permission not in signed_in.operator.permissions:
            raise Refused(ErrorCode.FORBIDDEN)
        return signed_in

    async def _who(self, request: web.Request) -> SignedIn:
        """By token or cookie. A request that changes something, by a cookie, needs the CSRF token."""
        header = request.headers.get("Authorization")
        if header is not None:
            found = _TOKEN.match(header)
            signed_in = None if found is None else await self._tokens.find(found[1])
        else:
            cookie = request.cookies.get(SESSION_COOKIE, "")
            signed_in = await self._sessions.find(cookie) if _SESSION.match(cookie) else None
        if signed_in is None:
            raise Refused(ErrorCode.UNAUTHENTICATED, "sign in, or send a token")
        if signed_in.session and request.method not in _SAFE:
            given = request.headers.get(CSRF_HEADER, "")
            if not hmac.compare_digest(given.encode(), signed_in.csrf.encode()):
                raise Refused(ErrorCode.CSRF_TOKEN_WRONG)
        return signed_in

    async def _asker(self, endpoint: AdminEndpoint, request: web.Request) -> SignedIn | None:
        if endpoint.access is Access.PUBLIC:
            return None
        if isinstance(endpoint.access, Permission):
            return await self.authenticate(request, endpoint.access)
        signed_in = await self._who(request)
        if not signed_in.session:
            raise Refused(ErrorCode.FORBIDDEN, "this is for people: a token cannot do it")
        return signed_in

    def _answer(self, endpoint: AdminEndpoint) -> Callable[[web.Request, Inputs], Awaitable[Struct | None]]:
        handler = self._handlers[endpoint.id]

        async def answer(request: web.Request, inputs: Inputs) -> Struct | None:
            asked = AdminRequest(
                body=inputs.body,
                path=inputs.path,
                query=inputs.query,
                cookies=request.cookies,
                address=inputs.address,
                agent=request.headers.get("User-Agent", ""),
                origin=self._page_origin(request),
                _signed_in=inputs.asker,
            )
            if endpoint.audit is not None:
                subject = "" if endpoint.subject is None else inputs.path[endpoint.subject]
                reason = getattr(inputs.body, "reason", None)
                await self._audit.note(asked.operator, endpoint.audit, subject, "" if reason is None else checked_reason(reason))
            try:
                result = await handler(asked)
            except OperatorError as error:
                raise Refused(error.code, str(error)) from None
            if isinstance(result, WithCookies | Redirect):
                return _Finished(result, secure=asked.origin.startswith("https:"))
            return result

        return answer

    def _page_origin(self, request: web.Request) -> str:
        """The browser's word counts, which ``check_origin`` has held against the host; on a plain link it says none."""
        if self._admin_url is not None:
            return self._admin_url
        origin = request.headers.get("Origin")
        if origin is not None:
            return origin
        by_proxy = trusted(request.remote or "", self.proxies) and request.headers.get("X-Forwarded-Proto") == "https"
        return f"{'https' if by_proxy else request.scheme}://{request.host}"

    def _respond(self, result: Struct | None, endpoint: AdminEndpoint | None) -> web.Response:
        if not isinstance(result, _Finished):
            return super()._respond(result, endpoint)
        what = result.what
        if isinstance(what, Redirect):
            response = web.Response(status=302, headers={"Location": what.location, "Cache-Control": "no-store"})
        else:
            response = super()._respond(what.answer, endpoint)
        for cookie in what.cookies:
            _set_cookie(response, cookie, secure=result.secure)
        return response


class _Finished(Struct, frozen=True):
    what: WithCookies | Redirect
    secure: bool


def _set_cookie(response: web.Response, cookie: Cookie, *, secure: bool) -> None:
    response.set_cookie(
        cookie.name,
        cookie.value,
        path=cookie.path,
        max_age=cookie.max_age if cookie.value else 0,
        httponly=True,
        secure=secure,
        samesite="Lax" if cookie.lax else "Strict",
    )
