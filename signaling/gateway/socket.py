"""WebSocket sessions: one per device. ``hello`` first, then requests, each decoded, held against the rate, and handed on."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from aiohttp import WSCloseCode, WSMsgType, web
from msgspec import UNSET, Struct
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from signaling.accounts.sessions import Sessions
from signaling.gateway.policy import check_acknowledged
from signaling.gateway.rate import TokenBucket
from signaling.gateway.request import Session
from signaling.gateway.rest import RestGateway, error_response, frames_only
from signaling.wire.codec import BadFrame, decode_client, encode
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.messages import (
    HELLO_TIMEOUT,
    MAX_FRAME,
    SUBPROTOCOL,
    CallView,
    ClientMessage,
    CloseCode,
    Error,
    Hello,
    Ok,
    Ping,
    PresenceWatch,
    ServerMessage,
    Sync,
)

log = logging.getLogger(__name__)

PATH: Final = "/v1/ws"
"""Where the WebSocket is."""

_BURST: Final = 200.0
_RATE: Final = 50.0
"""Frames of one connection: at once, and a second."""
_PATIENCE: Final = 100
"""Refused frames after which a client that does not slow down is closed with 4429."""
_QUEUE: Final = 512 * 1024
"""Bytes that may wait for a client that does not read; more closes it with 4410."""
_HEARTBEAT: Final = 30.0
"""Seconds between pings; who does not answer within half of it is gone."""


class Calls(Protocol):
    """What the gateway needs of calls (``calls/service.py``)."""

    def submit(self, session: Session, message: ClientMessage, reply: Callable[[ServerMessage], object]) -> None:
        """Do one request; ``reply`` is called exactly once, in order."""

    async def attach(self, session: Session) -> list[CallView]:
        """The device has a socket: its live calls."""

    def detach(self, session: Session) -> None:
        """The device has lost its socket."""


class Presence(Protocol):
    """What the gateway needs of presence (``presence/service.py``)."""

    def attached(self, session: Session) -> None:
        """A device has a socket."""

    def detached(self, session: Session) -> None:
        """A device lost its socket."""

    def submit(self, session: Session, message: PresenceWatch, reply: Callable[[ServerMessage], object]) -> None:
        """Do one request; ``reply`` is called with its answer. Raises ``Refused``."""


def error_message(refused: Refused, re: int | None) -> Error:
    """A refusal as a message."""
    return Error(
        code=refused.code,
        message=refused.message,
        re=UNSET if re is None else re,
        retry_after=UNSET if refused.retry_after is None else refused.retry_after,
        devices=UNSET if refused.devices is None else refused.devices,
    )


class Connection:
    """One device's socket. Messages leave in the order of ``send``; those of one tick of the event loop leave together."""

    __slots__ = ("_closing", "_loop", "_scheduled", "_transport", "_waiting", "session", "ws")

    def __init__(self, ws: web.WebSocketResponse, session: Session, transport: asyncio.Transport | None) -> None:
        self.ws = ws
        self.session = session
        self._transport = transport
        # kept: on Python 3.11 every get_running_loop() is a system call
        self._loop = asyncio.get_running_loop()
        self._waiting: list[str] = []
        self._scheduled: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[bool] | None = None

    def send(self, message: Struct) -> bool:
        """Queue one message. False when the socket is closing."""
        if self.ws.closed or self._closing is not None:
            return False
        if self._transport is not None and self._transport.get_write_buffer_size() > _QUEUE:
            self.close(CloseCode.SLOW)
            return False
        self._waiting.append(encode(message))
        if self._scheduled is None:
            self._scheduled = self._loop.create_task(self._flush())
        return True

    async def _flush(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                for text in waiting:
                    await self.ws.send_str(text)
        except (ConnectionError, RuntimeError):
            self._waiting.clear()  # the socket is gone; its reader sees it too
        finally:
            self._scheduled = None

    def close(self, code: int) -> None:
        """Close the socket, after what is queued was sent."""
        if self._closing is None:
            self._closing = self._loop.create_task(self._close(code))

    async def finished(self) -> None:
        """Wait until what is queued was sent and the close, if one was asked for, is done: when the handler returns, aiohttp closes
        with 1000 and drops what waits.
        """
        waiting = [task for task in (self._scheduled, self._closing) if task is not None]
        if waiting:
            await asyncio.wait(waiting)

    async def _close(self, code: int) -> bool:
        with contextlib.suppress(TimeoutError, ConnectionError, RuntimeError):
            async with asyncio.timeout(2):
                if self._scheduled is not None:
                    await asyncio.wait([self._scheduled])
        if code == CloseCode.SLOW and self._transport is not None:
            self._transport.abort()
            return True
        with contextlib.suppress(ConnectionError, RuntimeError):
            return await self.ws.close(code=code, drain=False)
        return False


class SocketGateway:
    """All sockets of this hub.

    Args:
        contacts_wanted: whether a user's address book was lost (for ``sync``).
    """

    def __init__(
        self,
        *,
        sessions: Sessions,
        calls: Calls,
        presence: Presence,
        rest: RestGateway,
        contacts_wanted: Callable[[str], Awaitable[bool]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sessions = sessions
        self._calls = calls
        self._presence = presence
        self._rest = rest
        self._contacts_wanted = contacts_wanted
        self._clock = clock
        self._connections: dict[str, Connection] = {}
        self._accounts: dict[str, set[str]] = {}
        self._unauthenticated: set[web.WebSocketResponse] = set()
        self._draining = False

    # --- what services use ---------------------------------------------------------------------------------------------

    def send(self, device: str, message: ServerMessage) -> bool:
        """Send to a device; False when it has no socket here."""
        connection = self._connections.get(device)
        return connection is not None and connection.send(message)

    def send_to_account(self, account: str, message: ServerMessage) -> None:
        """Send to every connected device of an account."""
        for device in tuple(self._accounts.get(account, ())):
            self.send(device, message)

    def online(self, device: str) -> bool:
        """Whether a device has a socket here."""
        return device in self._connections

    def __len__(self) -> int:
        """Authenticated sockets."""
        return len(self._connections)

    def end(self, device: str, code: int = CloseCode.UNAUTHENTICATED) -> None:
        """Close the socket of a device whose session is void, or whose account was frozen; with ``going_away`` it comes back with a
        session read anew.
        """
        connection = self._connections.get(device)
        if connection is not None:
            connection.close(code)

    async def close(self) -> None:
        """Close every socket: the hub goes away."""
        self._draining = True
        for connection in tuple(self._connections.values()):
            connection.close(CloseCode.GOING_AWAY)
        for ws in tuple(self._unauthenticated):
            with contextlib.suppress(ConnectionError, RuntimeError):
                await ws.close(code=CloseCode.GOING_AWAY, drain=False)

    # --- the way of a frame ----------------------------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The aiohttp handler of ``/v1/ws``."""
        try:
            wait = self._rest.limiter.take(self._rest.address(request))
            if wait:
                raise Refused(ErrorCode.RATE_LIMITED, retry_after=wait)
            self._rest.check_origin(request)
            if self._draining:
                raise Refused(ErrorCode.UNAVAILABLE, retry_after=1.0)
            offered = {p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",")}
            if request.headers.get("Upgrade", "").lower() != "websocket" or SUBPROTOCOL not in offered:
                raise Refused(ErrorCode.MALFORMED, f"a WebSocket with the subprotocol {SUBPROTOCOL} is expected here")
        except Refused as refused:
            return error_response(refused)
        # no compression: sealed payloads do not compress, and zlib's memory per connection is many times the rest
        ws = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,), max_msg_size=MAX_FRAME, heartbeat=_HEARTBEAT, compress=False, writer_limit=_QUEUE
        )
        await ws.prepare(request)
        self._unauthenticated.add(ws)
        try:
            session = await self._hello(ws)
        finally:
            self._unauthenticated.discard(ws)
        if session is not None:
            await self._serve(Connection(ws, session, request.transport), ws)
        return ws

    async def _hello(self, ws: web.WebSocketResponse) -> Session | None:
        """Wait for ``hello`` and authenticate it; closes the socket and returns None when that fails."""
        re: int | None = None
        try:
            async with asyncio.timeout(HELLO_TIMEOUT):
                frame = await ws.receive()
            if frame.type is not WSMsgType.TEXT:
                if not ws.closed:
                    await ws.close(code=CloseCode.UNAUTHENTICATED)
                return None
            message = decode_client(frame.data)
            if isinstance(message, BadFrame):
                re = message.re
                raise message.refused
            re = message.id
            if not isinstance(message, Hello):
                raise Refused(ErrorCode.UNAUTHENTICATED, "the first message must be `hello`")
            session = await self._sessions.authenticate(message.token)
            if session is None:
                raise Refused(ErrorCode.UNAUTHENTICATED)
            if session.restricted:
                raise Refused(ErrorCode.RESTRICTED)
            await ws.send_str(encode(Ok(re=re)))
            return session
        except TimeoutError:
            await ws.close(code=CloseCode.UNAUTHENTICATED, message=b"no hello in time")
        except Refused as refused:
            with contextlib.suppress(ConnectionError):
                await ws.send_str(encode(error_message(refused, re)))
                frozen = refused.code is ErrorCode.RESTRICTED
                await ws.close(code=CloseCode.RESTRICTED if frozen else CloseCode.UNAUTHENTICATED)
        except (SQLAlchemyError, OSError):
            log.error("hello: a store does not answer")
            with contextlib.suppress(ConnectionError):
                await ws.send_str(encode(error_message(Refused(ErrorCode.UNAVAILABLE, retry_after=1.0), re)))
                await ws.close(code=WSCloseCode.TRY_AGAIN_LATER)
        return None

    async def _serve(self, connection: Connection, ws: web.WebSocketResponse) -> None:
        session = connection.session
        before = self._connections.get(session.device)
        self._connections[session.device] = connection
        self._accounts.setdefault(session.account, set()).add(session.device)
        if before is not None:
            before.close(CloseCode.REPLACED)
        try:
            self._presence.attached(session)
            if await self._sync(connection):
                await self._receive(connection, ws)
            await connection.finished()
        finally:
            if self._connections.get(session.device) is connection:
                del self._connections[session.device]
                own = self._accounts.get(session.account)
                if own is not None:
                    own.discard(session.device)
                    if not own:
                        del self._accounts[session.account]
                self._calls.detach(session)
                self._presence.detached(session)

    async def _sync(self, connection: Connection) -> bool:
        session = connection.session
        try:
            wanted = await self._contacts_wanted(session.account)
            # revoked while we were waiting? `end` may have come before this connection was known
            calls = await self._calls.attach(session)
        except (RedisError, SQLAlchemyError, OSError, TimeoutError):
            log.error("sync: a store does not answer")
            connection.close(WSCloseCode.TRY_AGAIN_LATER)
            return False
        except Refused:
            connection.close(WSCloseCode.TRY_AGAIN_LATER)
            return False
        return connection.send(
            Sync(
                account=session.account,
                device=session.device,
                calls=calls,
                contacts_wanted=wanted,
                policy_wanted=not session.acknowledged,
            )
        )

    async def _receive(self, connection: Connection, ws: web.WebSocketResponse) -> None:
        session, send, submit, clock = connection.session, connection.send, self._calls.submit, self._clock
        bucket = TokenBucket.full(_BURST, _RATE, clock())
        refusals = 0
        async for frame in ws:
            wait = bucket.take(clock())
            if wait:
                refusals += 1
                if refusals > _PATIENCE:
                    connection.close(CloseCode.RATE_LIMITED)
                    return
                # without reading the frame: a flood must not buy our time. `re` is left out, the frame is named by its order
                send(error_message(Refused(ErrorCode.RATE_LIMITED, retry_after=wait), None))
                continue
            refusals = 0
            if frame.type is not WSMsgType.TEXT:
                send(error_message(Refused(ErrorCode.MALFORMED, "frames are text"), None))
                continue
            message = decode_client(frame.data)
            if isinstance(message, BadFrame):
                send(error_message(message.refused, message.re))
            elif isinstance(message, Hello):
                send(error_message(Refused(ErrorCode.WRONG_STAGE, "this connection said `hello` already"), message.id))
            elif isinstance(message, Ping):
                send(Ok(re=message.id))
            else:
                try:
                    check_acknowledged(session, message)
                    if isinstance(message, PresenceWatch):
                        self._presence.submit(session, message, send)
                    else:
                        submit(session, message, send)
                except Refused as refused:
                    send(error_message(refused, message.id))
                except Exception as error:
                    log.error("submit: defect %s", type(error).__name__, exc_info=frames_only(error))
                    send(error_message(Refused(ErrorCode.INTERNAL), message.id))
