"""The key-holder: a process of its own that alone has the discovery key. It evaluates blinded points and sees no number (P08).

HTTP over a unix socket (or a host and port in a private network): ``POST /evaluate`` with ``{"account", "elements"}``, authenticated by
a secret shared with the hubs. Each user's number has a budget (a token bucket), so that a stolen account cannot try every number there is.
"""

import asyncio
import hmac
import logging
import os
import secrets
import signal
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from signaling.contacts import oprf
from signaling.gateway.rate import TokenBucket
from signaling.telemetry.counting import FAST, Histogram
from signaling.wire import base64url
from signaling.wire.ids import Element
from signaling.wire.rest import MAX_EVALUATIONS

log = logging.getLogger(__name__)

_ACCOUNTS: Final = 200_000
"""Budgets remembered; the one used longest ago is forgotten first, and any that is full again."""
_DAY: Final = 86_400.0


class EvaluateRequest(Struct, frozen=True):
    """What a hub asks. ``holder`` names a budget: a keyed hash of the asking user's number. It is empty for the hub's own evaluation of a
    registrant's proven number, which costs none.
    """

    holder: Annotated[str, Meta(max_length=22)]
    elements: Annotated[list[Element], Meta(min_length=1, max_length=MAX_EVALUATIONS)]


class EvaluateAnswer(Struct, frozen=True):
    """Evaluated elements, or the seconds until the budget has refilled enough."""

    elements: list[str]
    remaining: int
    retry_after: float = 0.0


@dataclass(slots=True)
class KeyHolderCounts:
    """Since the start."""

    evaluated: int = 0
    """Elements."""
    refused: int = 0
    """Requests over a budget."""
    unauthenticated: int = 0
    """Requests without the secret."""
    invalid: int = 0
    """Requests that cannot be read."""
    seconds: Histogram = field(default_factory=lambda: Histogram(FAST))
    """Of each request that was evaluated."""


class KeyHolder:
    """Evaluates under a budget. Pure but for the injected clock."""

    def __init__(self, key: bytes, *, budget: int, refill_per_day: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = key
        self._budget = budget
        self._rate = refill_per_day / _DAY
        self._clock = clock
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self.counts = KeyHolderCounts()

    def evaluate(self, request: EvaluateRequest) -> EvaluateAnswer:
        """Evaluate, or say when the budget allows it. Raises ``oprf.InvalidElement``; what is refused costs nothing."""
        elements = [base64url.decode(element) for element in request.elements]
        remaining = self._budget
        if request.holder:
            now = self._clock()
            bucket = self._buckets.get(request.holder)
            if bucket is None:
                self._forget(now)
                bucket = self._buckets[request.holder] = TokenBucket.full(self._budget, self._rate, now)
            else:
                self._buckets.move_to_end(request.holder)
            wait = bucket.take(now, len(elements))
            remaining = int(bucket.level)
            if wait:
                self.counts.refused += 1
                return EvaluateAnswer([], remaining, wait)
        began = self._clock()
        evaluated = [base64url.encode(oprf.blind_evaluate(self._key, e)) for e in elements]
        self.counts.evaluated += len(evaluated)
        self.counts.seconds.observe(self._clock() - began)
        return EvaluateAnswer(evaluated, remaining)

    def _forget(self, now: float) -> None:
        """Forget budgets that have refilled: they are as one that was never used, so none is remembered for longer than it says anything."""
        while self._buckets:
            holder, oldest = next(iter(self._buckets.items()))
            refilled = oldest.level + (now - oldest.at) * self._rate >= self._budget
            if not refilled and len(self._buckets) < _ACCOUNTS:
                break
            del self._buckets[holder]


def load_or_make_key(path: Path) -> bytes:
    """The discovery key: 32 bytes in a file that only its owner may read; made at the first start.

    Losing it makes every discovery token void (users' clients upload again, accounts' tokens must be computed anew); who has it and
    the hub's data can test numbers against tokens. Raises ``ValueError`` when the file is not a key or is readable by others.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            raise ValueError("the discovery key's file is readable by others: chmod 600 it") from None
        key = path.read_bytes()
        if len(key) != oprf.SCALAR_BYTES or not 0 < int.from_bytes(key, "little") < oprf.ORDER:
            raise ValueError("the discovery key's file does not hold a key") from None
        return key
    key = oprf.derive_key(secrets.token_bytes(32), b"kloudtalk/v1 discovery")
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    return key


def application(holder: KeyHolder, secret: str) -> web.Application:
    """The key-holder's HTTP interface."""
    expected = f"Bearer {secret}".encode()
    decoder = msgspec.json.Decoder(EvaluateRequest)

    async def evaluate(request: web.Request) -> web.Response:
        if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), expected):
            holder.counts.unauthenticated += 1
            return web.Response(status=401)
        try:
            answer = holder.evaluate(decoder.decode(await request.read()))
        except (msgspec.DecodeError, oprf.InvalidElement, ValueError):
            holder.counts.invalid += 1
            return web.Response(status=422)
        return web.Response(
            body=msgspec.json.encode(answer), content_type="application/json", status=429 if answer.retry_after else 200
        )

    async def health(_request: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application(client_max_size=256 * 1024)
    app.router.add_post("/evaluate", evaluate)
    app.router.add_get("/health", health)
    return app


@asynccontextmanager
async def _unobserved(_holder: KeyHolder) -> AsyncIterator[None]:
    yield


async def run_keyholder(
    *,
    url: str,
    secret: str,
    key_file: Path,
    budget: int,
    refill_per_day: int,
    observe: Callable[[KeyHolder], AbstractAsyncContextManager[None]] = _unobserved,
) -> None:
    """Serve until SIGTERM or SIGINT. ``url``: ``unix:/path`` or ``http://host:port``; ``observe``: what goes on beside it."""
    holder = KeyHolder(load_or_make_key(key_file), budget=budget, refill_per_day=refill_per_day)
    runner = web.AppRunner(application(holder, secret), access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    path: Path | None = None
    site: web.BaseSite
    if url.startswith("unix:"):
        path = Path(url.removeprefix("unix:"))
        path.unlink(missing_ok=True)
        site = web.UnixSite(runner, str(path))
    else:
        parts = urlsplit(url)
        site = web.TCPSite(runner, parts.hostname, parts.port)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    before = os.umask(0o177)  # the socket is the owner's only
    try:
        await site.start()
    finally:
        os.umask(before)
    log.info("key-holder ready")
    async with observe(holder):
        await stop.wait()
    await runner.cleanup()
    if path is not None:
        path.unlink(missing_ok=True)
