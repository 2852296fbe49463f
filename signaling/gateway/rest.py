"""REST plumbing: one aiohttp route per endpoint of ``wire/rest.py``; validation, authentication, limits, error -> status mapping.

The order is: rate, origin, bearer, size, body. Nothing is parsed for a request that an earlier step refuses.
"""

import logging
import re
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec
from aiohttp import web
from msgspec import UNSET, Struct
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from signaling.accounts.sessions import Sessions
from signaling.defects import frames_only
from signaling.gateway.body import read_body
from signaling.gateway.counts import RestCounts
from signaling.gateway.origin import Network, client_address, limit_key, origin_allowed
from signaling.gateway.rate import TokenBuckets
from signaling.gateway.request import Download, Handlers, RestRequest, Session
from signaling.limits.rules import REQUESTS_FROM_ADDRESS, REQUESTS_OF_ACCOUNT, REQUESTS_OF_DEVICE, Charge
from signaling.limits.service import Limits
from signaling.telemetry.context import new_request
from signaling.telemetry.counting import count
from signaling.wire.admin.frame import AdminEndpoint
from signaling.wire.codec import describe, holds_nul
from signaling.wire.errors import ERRORS, ErrorCode, Refused
from signaling.wire.ids import ID_PATTERN
from signaling.wire.rest import ENDPOINTS, MAX_BODY, Auth, Endpoint, ErrorBody, Interest, Purpose

log = logging.getLogger(__name__)

PATH_PATTERNS: Final = {
    "account": ID_PATTERN,
    "device": ID_PATTERN,
    "link": ID_PATTERN,
    "call": ID_PATTERN,
    "ticket": ID_PATTERN,
    "attachment": ID_PATTERN,
    "interest": "^(" + "|".join(Interest) + r")\Z",
    "purpose": "^(" + "|".join(Purpose) + r")\Z",
}
"""What each path parameter must look like; anything else is ``not_found``."""

_BEARER: Final = re.compile(r"^Bearer ([A-Za-z0-9_-]{43})\Z", re.IGNORECASE)
_ADDRESSES: Final = 50_000
"""Addresses whose rate is remembered."""
_BURST: Final = float(REQUESTS_FROM_ADDRESS.at_once)
_RATE: Final = 1 / REQUESTS_FROM_ADDRESS.every
"""Requests of one address: at once, and a second."""


class AddressLimiter:
    """A token bucket per client address, bounded in number: what one hub takes before it asks what the others have seen (``limits/``)."""

    def __init__(self, scale: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._buckets = TokenBuckets(_BURST * scale, _RATE * scale, _ADDRESSES)
        self._clock = clock

    def take(self, address: str) -> float:
        """Count one request; ``address`` is a ``limit_key``. Returns 0, or the seconds to wait."""
        return self._buckets.take(address, self._clock())


def error_response(refused: Refused) -> web.Response:
    """A refusal as an HTTP answer (RFC 9110; ``Retry-After`` in whole seconds)."""
    body = ErrorBody(
        code=refused.code,
        message=refused.message,
        retry_after=UNSET if refused.retry_after is None else refused.retry_after,
        tries_left=UNSET if refused.tries_left is None else refused.tries_left,
        devices=UNSET if refused.devices is None else refused.devices,
    )
    headers = {"Cache-Control": "no-store"}
    if refused.retry_after is not None:
        headers["Retry-After"] = str(int(refused.retry_after) + 1)
    if refused.code is ErrorCode.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(
        status=ERRORS[refused.code].status, body=msgspec.json.encode(body), content_type="application/json", headers=headers
    )


E = TypeVar("E", Endpoint, AdminEndpoint)
"""Endpoints of one API."""


class Inputs(Struct, frozen=True):
    """A request, read and validated. ``asker``: who asks, as the gateway knows them; ``address``: what limits count by."""

    asker: Any
    body: Any
    path: Mapping[str, str]
    query: Mapping[str, str]
    address: str


class Gateway(Generic[E]):
    """What every REST gateway does; who may ask is for the class that is made of it (``_asker``).

    Raises ``ValueError`` when an endpoint has no handler, or a handler no endpoint.
    """

    def __init__(
        self,
        endpoints: Sequence[E],
        handlers: Collection[str],
        *,
        prefix: str,
        path_patterns: Mapping[str, str],
        limits: Limits,
        limiter: AddressLimiter,
        counts: RestCounts,
        origins: Iterable[str] = (),
        proxies: Iterable[Network] = (),
    ) -> None:
        ids = {endpoint.id for endpoint in endpoints}
        if ids != set(handlers) or len(ids) != len(endpoints):
            raise ValueError(f"endpoints and handlers differ: {sorted(ids ^ set(handlers))}")
        self._endpoints: tuple[E, ...] = tuple(endpoints)
        self._prefix = prefix
        self._path_patterns = path_patterns
        self.origins = frozenset(origins)
        self.proxies = tuple(proxies)
        self._limits = limits
        self.limiter = limiter
        self.counts = counts

    def counted(self, endpoint: str, outcome: str) -> None:
        """One request more, by the id of its endpoint and ``ok`` or an error code."""
        count(self.counts.requests, (endpoint, outcome))

    def routes(self) -> list[web.AbstractRouteDef]:
        """One route per endpoint, CORS preflight included; unknown paths and methods under the prefix get error bodies."""
        routes: list[web.AbstractRouteDef] = [
            web.route(endpoint.method, endpoint.path, self._route(endpoint)) for endpoint in self._endpoints
        ]
        routes.append(web.route("*", self._prefix + "{rest:.*}", self._unknown))
        return routes

    def address(self, request: web.Request) -> str:
        """The client's address."""
        forwarded = request.headers.getall("X-Forwarded-For", [])
        return client_address(request.remote or "", ",".join(forwarded) or None, self.proxies)

    def check_origin(self, request: web.Request) -> str | None:
        """The request's origin if it is a page's. Raises ``Refused(forbidden_origin)``."""
        origin = request.headers.get("Origin")
        own = (f"http://{request.host}", f"https://{request.host}")
        if not origin_allowed(origin, scheme_host=own, allowed=self.origins):
            raise Refused(ErrorCode.FORBIDDEN_ORIGIN)
        return origin

    def _answer(self, endpoint: E) -> Callable[[web.Request, Inputs], Awaitable[Struct | None]]:
        """What does one endpoint's work, once its inputs are read: who asks is checked before."""
        raise NotImplementedError

    async def _asker(self, endpoint: E, request: web.Request) -> Any:
        """Who asks. Raises ``Refused`` before anything of the request is read."""
        raise NotImplementedError

    def _route(self, endpoint: E) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        read = self._reader(endpoint)
        work = self._answer(endpoint)

        async def answer(request: web.Request) -> Struct | None:
            return await work(request, await read(request, await self._asker(endpoint, request)))

        async def route(request: web.Request) -> web.StreamResponse:
            return await self._guard(request, answer, endpoint)

        return route

    def _reader(self, endpoint: E) -> Callable[[web.Request, Any], Awaitable[Inputs]]:
        decoder = None if endpoint.body is None else msgspec.json.Decoder(endpoint.body)
        query_patterns = {query.name: re.compile(query.pattern) for query in endpoint.query}
        path_patterns = {name: re.compile(self._path_patterns[name]) for name in re.findall(r"\{(\w+)\}", endpoint.path)}

        async def read(request: web.Request, asker: Any) -> Inputs:
            address = limit_key(self.address(request))
            await self._count(address, asker)
            for name, pattern in path_patterns.items():
                if not pattern.match(request.match_info[name]):
                    raise Refused(ErrorCode.NOT_FOUND)
            query = dict(request.query)
            for name, value in query.items():
                if name not in query_patterns or not query_patterns[name].match(value):
                    raise Refused(ErrorCode.INVALID, "a query parameter is unknown or has a value that is not allowed")
            body = None
            if decoder is not None:
                raw = await read_body(request, MAX_BODY)
                try:
                    body = decoder.decode(raw)
                    if holds_nul(raw, body):
                        raise Refused(ErrorCode.INVALID, "a text holds the character U+0000")
                except msgspec.ValidationError as error:
                    raise Refused(ErrorCode.INVALID, describe(error)) from None
                except (msgspec.DecodeError, UnicodeError, RecursionError):
                    raise Refused(ErrorCode.MALFORMED) from None
            return Inputs(asker, body, dict(request.match_info), query, address)

        return read

    def _charges(self, asker: Any) -> list[Charge]:
        """What a request is charged to besides its address."""
        return []

    async def _count(self, address: str, asker: Any) -> None:
        """Charge a request in common with the other hubs. Raises ``Refused(rate_limited)``."""
        wait = await self._limits.take(self._limits.charge(REQUESTS_FROM_ADDRESS, address), *self._charges(asker))
        if wait:
            raise Refused(ErrorCode.RATE_LIMITED, retry_after=wait)

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        methods = {endpoint.method for endpoint in self._endpoints if _matches(endpoint.path, request.path)}

        async def answer(_request: web.Request) -> None:
            if request.method == "OPTIONS" and methods:
                return
            raise Refused(ErrorCode.METHOD_NOT_ALLOWED if methods else ErrorCode.NOT_FOUND)

        response = await self._guard(request, answer, None)
        if methods:
            response.headers["Allow"] = ", ".join(sorted(methods))
            if request.method == "OPTIONS" and response.status == 204:
                response.headers["Access-Control-Allow-Methods"] = ", ".join(sorted(methods))
                response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
                response.headers["Access-Control-Max-Age"] = "86400"
        return response

    async def _guard(
        self, request: web.Request, answer: Callable[[web.Request], Awaitable[Struct | None]], endpoint: E | None
    ) -> web.StreamResponse:
        """Run one request; every way that it can fail becomes an answer of the protocol."""
        origin, name, began = None, "unknown" if endpoint is None else endpoint.id, time.monotonic()
        outcome, request_id = "ok", new_request()
        try:
            wait = self.limiter.take(limit_key(self.address(request)))
            if wait:
                raise Refused(ErrorCode.RATE_LIMITED, retry_after=wait)
            origin = self.check_origin(request)
            response = self._respond(await answer(request), endpoint)
        except Refused as refused:
            outcome = refused.code
            response = error_response(refused)
        except (RedisError, SQLAlchemyError, OSError, TimeoutError) as error:
            log.error("%s: a store does not answer (%s)", name, type(error).__name__)
            outcome = ErrorCode.UNAVAILABLE
            response = error_response(Refused(outcome, retry_after=1.0))
        except Exception as error:
            # the traceback's frames, without the exception's text: that could repeat what a user sent
            log.error("%s: defect %s", name, type(error).__name__, exc_info=frames_only(error))
            outcome = ErrorCode.INTERNAL
            response = error_response(Refused(outcome))
        response.headers["X-Request-Id"] = request_id
        self.counted(name, outcome)
        self.counts.seconds.observe(time.monotonic() - began)
        if origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = "Retry-After, X-Request-Id"
            response.headers["Vary"] = "Origin"
        return response

    def _respond(self, result: Struct | None, endpoint: E | None) -> web.Response:
        """A handler's answer as an HTTP answer."""
        if result is None:
            return web.Response(status=204, headers={"Cache-Control": "no-store"})
        if isinstance(result, Download) and endpoint is not None:
            return web.Response(
                body=result.content,
                content_type=endpoint.download or "application/octet-stream",
                headers={
                    "Cache-Control": "no-store",
                    "Content-Disposition": f'attachment; filename="{result.filename}"',
                    "X-Content-Type-Options": "nosniff",
                },
            )
        return web.Response(
            status=200 if endpoint is None else endpoint.status,
            body=msgspec.json.encode(result),
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )


class RestGateway(Gateway[Endpoint]):
    """The users' API: the asker is a device, or who holds a token of one step."""

    def __init__(
        self,
        *,
        handlers: Handlers,
        sessions: Sessions,
        limits: Limits,
        limiter: AddressLimiter,
        origins: Iterable[str] = (),
        proxies: Iterable[Network] = (),
    ) -> None:
        super().__init__(
            ENDPOINTS,
            handlers,
            prefix="/v1/",
            path_patterns=PATH_PATTERNS,
            limits=limits,
            limiter=limiter,
            counts=RestCounts(),
            origins=origins,
            proxies=proxies,
        )
        self._handlers = handlers
        self._sessions = sessions

    def _charges(self, asker: str | Session) -> list[Charge]:
        if isinstance(asker, str):
            return []
        charge = self._limits.charge
        return [charge(REQUESTS_OF_ACCOUNT, asker.account), charge(REQUESTS_OF_DEVICE, asker.device)]

    async def _asker(self, endpoint: Endpoint, request: web.Request) -> str | Session:
        """The device's session; else the bearer token, for whose it is; empty where none is needed."""
        if endpoint.auth is Auth.NONE:
            return ""
        found = _BEARER.match(request.headers.get("Authorization", ""))
        if found is None:
            raise Refused(ErrorCode.UNAUTHENTICATED)
        if endpoint.auth is not Auth.SESSION:
            return found[1]
        session = await self._sessions.authenticate(found[1])
        if session is None:
            raise Refused(ErrorCode.UNAUTHENTICATED)
        if session.blocked and not (endpoint.when_restricted or endpoint.when_blocked):
            raise Refused(ErrorCode.BLOCKED)
        if session.restricted and not endpoint.when_restricted:
            raise Refused(ErrorCode.RESTRICTED)
        if not session.acknowledged and not endpoint.when_unacknowledged:
            raise Refused(ErrorCode.POLICY_NOT_ACKNOWLEDGED)
        return session

    def _answer(self, endpoint: Endpoint) -> Callable[[web.Request, Inputs], Awaitable[Struct | None]]:
        handler = self._handlers[endpoint.id]

        async def answer(_request: web.Request, inputs: Inputs) -> Struct | None:
            signed_in = isinstance(inputs.asker, Session)
            return await handler(
                RestRequest(
                    body=inputs.body,
                    path=inputs.path,
                    query=inputs.query,
                    bearer="" if signed_in else inputs.asker,
                    address=inputs.address,
                    _session=inputs.asker if signed_in else None,
                )
            )

        return answer


def _matches(template: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path) is not None
