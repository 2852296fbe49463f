"""Live updates for the operators' page: server-sent events (WHATWG HTML, section 9.2) at ``GET /v1/admin/stream``.

Every two seconds the events that ``app.py`` names (``overview``, ``calls``, and ``call`` for the one that ``?call=`` names), each as the endpoint
answers that shows the same; only what has changed. Bounded: so many streams, and for so long; who may look is asked again and again.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web
from msgspec import Struct
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from signaling.gateway.admin import AdminGateway
from signaling.gateway.origin import limit_key
from signaling.gateway.rest import error_response
from signaling.wire.admin.operations import OPERATIONS_EVENTS
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.ids import ID_PATTERN

log = logging.getLogger(__name__)

PATH: Final = OPERATIONS_EVENTS.path
EVERY: Final = 2.0
"""Seconds between two looks."""
STREAMS: Final = 32
"""Streams of one hub."""
CHECK: Final = 15.0
"""Seconds between two looks at whether the operator may still see this."""
_LONGEST: Final = 1_800.0
"""Seconds that a stream lasts; the page opens another."""
_SLOW: Final = 10.0
"""Seconds for which somebody may not read what is sent."""
_STORES: Final = (RedisError, SQLAlchemyError, OSError, TimeoutError)
"""What a store that does not answer raises."""
_CALL: Final = re.compile(ID_PATTERN)


Reads = dict[str, Callable[[], Awaitable[Struct]]]
"""Events by name, and what reads each."""


class AdminStream:
    """Serves the streams of one hub.

    Args:
        door: says who may look.
        reads: what to send to who looks at a call, or at none.
    """

    def __init__(self, door: AdminGateway, reads: Callable[[str | None], Reads]) -> None:
        self.every = EVERY
        self.checked_every = CHECK
        self._door = door
        self._reads = reads
        self._open: set[asyncio.Task[Any]] = set()
        self._closing = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One stream."""
        try:
            wait = self._door.limiter.take(limit_key(self._door.address(request)))
            if wait:
                raise Refused(ErrorCode.RATE_LIMITED, retry_after=wait)
            self._door.check_origin(request)
            await self._door.authenticate(request, OPERATIONS_EVENTS.access)
            call = request.query.get("call")
            if set(request.query) - {"call"} or (call is not None and not _CALL.match(call)):
                raise Refused(ErrorCode.INVALID, "`call`: the id of a call; nothing else")
            if self._closing:
                raise Refused(ErrorCode.UNAVAILABLE, retry_after=1.0)
            if len(self._open) >= STREAMS:
                raise Refused(ErrorCode.RATE_LIMITED, "too many operators look at once", retry_after=10.0)
        except Refused as refused:
            return error_response(refused)
        except _STORES:
            return error_response(Refused(ErrorCode.UNAVAILABLE, retry_after=2.0))
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a handler runs in one
        self._open.add(task)
        try:
            await response.prepare(request)
            async with asyncio.timeout(_LONGEST):
                await self._send(request, response, call)
        except (*_STORES, Refused):  # a client that is gone is an OSError, too
            pass  # the page opens another, or hears there why not
        finally:
            self._open.discard(task)
        return response

    async def close(self) -> None:
        """End all streams, and begin no more: a hub that ends does not wait for them."""
        self._closing = True
        for task in tuple(self._open):
            task.cancel()

    async def _send(self, request: web.Request, response: web.StreamResponse, call: str | None) -> None:
        reads = self._reads(call)
        loop = asyncio.get_running_loop()
        sent: dict[str, bytes] = {}
        checked = loop.time()
        while True:
            for name, read in reads.items():
                try:
                    data = msgspec.json.encode(await read())
                except Refused as refused:
                    data = msgspec.json.encode({"refused": refused.code})
                except _STORES as error:
                    log.warning("stream: a store does not answer (%s)", type(error).__name__)
                    data = msgspec.json.encode({"refused": ErrorCode.UNAVAILABLE})
                if sent.get(name) != data:
                    sent[name] = data
                    async with asyncio.timeout(_SLOW):
                        await response.write(b"event: %s\ndata: %s\n\n" % (name.encode(), data))
            async with asyncio.timeout(_SLOW):
                await response.write(b": still here\n\n")
            await asyncio.sleep(self.every)
            if loop.time() - checked > self.checked_every:
                checked = loop.time()
                await self._door.authenticate(request, OPERATIONS_EVENTS.access)
