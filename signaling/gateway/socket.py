"""WebSocket sessions: one per device. ``hello`` first, then requests, each held against the rate, decoded, and handed on."""

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Protocol

from aiohttp import WSCloseCode, web
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from signaling.accounts.sessions import Sessions
from signaling.defects import frames_only
from signaling.gateway.admission import Admission
from signaling.gateway.connection import Connection, error_message
from signaling.gateway.counts import SocketCounts
from signaling.gateway.heartbeat import Heartbeat
from signaling.gateway.origin import limit_key
from signaling.gateway.policy import check_acknowledged
from signaling.gateway.request import Session
from signaling.gateway.rest import RestGateway, error_response
from signaling.gateway.upgrade import hand_over
from signaling.limits.rules import HELLOS_OF_DEVICE, REQUESTS_FROM_ADDRESS
from signaling.limits.service import Limits
from signaling.telemetry.counting import count
from signaling.wire.codec import BadFrame, decode_client, encode
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.messages import (
    HELLO_TIMEOUT,
    MAX_FRAME,
    SUBPROTOCOL,
    CallElsewhere,
    CallRelay,
    CallView,
    ClientMessage,
    CloseCode,
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

_STORES: Final = (RedisError, SQLAlchemyError, OSError, TimeoutError)
"""What a store that does not answer raises."""
_RETRY: Final = 1.0
"""Seconds until the next try to say that a device left, when Redis did not answer."""
_CLOSES: Final = {
    ErrorCode.RESTRICTED: CloseCode.RESTRICTED,
    ErrorCode.BLOCKED: CloseCode.BLOCKED,
    ErrorCode.RATE_LIMITED: CloseCode.RATE_LIMITED,
}
"""How a socket is closed whose ``hello`` was refused; else as not authenticated."""
_AT_ONCE: Final = 64
"""Clients that are let in at the same time, the others wait their turn: a stampede must not take the stores from those who are in."""
_OTHERS: Final = frozenset({Hello, Ping, PresenceWatch, CallRelay})
"""Messages that are not for calls: looked at last, as hardly any is one of them."""
_MANY: Final = 500
"""Devices whose leaving is said at a time."""
_LEAVING: Final = 10.0
"""Seconds that a device has to be gone after it was told to leave."""
_GOODBYE: Final = 3.0
"""Seconds that clients have to take their leave when the hub ends."""


class Calls(Protocol):
    """What the gateway needs of calls (``calls/service.py``)."""

    def submit(self, session: Session, message: ClientMessage, reply: Callable[[ServerMessage], object], address: str) -> None:
        """Do one request from an address, for limits; ``reply`` is called exactly once, in order. Raises ``Refused``."""

    async def attach(self, session: Session) -> tuple[list[CallView], list[CallElsewhere]]:
        """The device has a socket: its live calls, and those that its account has at other devices."""

    def leaving(self, session: Session) -> None:
        """The device has lost its socket; ``moved`` or ``detach`` follows."""

    def moved(self, session: Session) -> None:
        """The device has another socket, here or on another hub."""

    def detach(self, session: Session) -> None:
        """The device has no socket anywhere."""


class Presence(Protocol):
    """What the gateway needs of presence (``presence/service.py``)."""

    def attached(self, session: Session) -> None:
        """A device has a socket."""

    def detached(self, session: Session) -> None:
        """A device lost its socket."""

    def submit(self, session: Session, message: PresenceWatch, reply: Callable[[ServerMessage], object]) -> None:
        """Do one request; ``reply`` is called with its answer. Raises ``Refused``."""


class Relays(Protocol):
    """What the gateway needs of relays (``calls/relays.py``)."""

    def submit(self, session: Session, message: CallRelay, reply: Callable[[ServerMessage], object]) -> None:
        """Find the device's leg; ``reply`` is called with it, later. Raises ``Refused``."""


class Routes(Protocol):
    """Which hub a device is on (``cluster/service.py``)."""

    def time(self) -> float:
        """Seconds since 1970, the same on every hub."""

    async def claim(self, device: str, account: str, since: float) -> str:
        """It is on this hub, since that time. Returns the hub it was on, '' for none, or ``!`` when another has a newer socket of it."""

    async def release(self, device: str) -> bool:
        """It left. False when another hub has it."""


class SocketGateway:
    """All sockets of this hub.

    Args:
        contacts_wanted: whether a user's address book was lost (for ``sync``).
        replaced: called with a device and the hub that it was connected to until now.
    """

    def __init__(
        self,
        *,
        sessions: Sessions,
        calls: Calls,
        presence: Presence,
        relays: Relays,
        rest: RestGateway,
        routes: Routes,
        limits: Limits,
        contacts_wanted: Callable[[str], Awaitable[bool]],
        replaced: Callable[[str, str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sessions = sessions
        self._calls = calls
        self._presence = presence
        self._relays = relays
        self._rest = rest
        self._routes = routes
        self._limits = limits
        self._contacts_wanted = contacts_wanted
        self._replaced = replaced
        self._clock = clock
        self._connections: dict[str, Connection] = {}
        self._accounts: dict[str, tuple[str, ...]] = {}
        self._heartbeat: Heartbeat[Connection] = Heartbeat()
        self._beating: asyncio.TimerHandle | None = None
        self._gone: dict[str, tuple[Session, int]] = {}
        self._departures = itertools.count()
        self._releasing: asyncio.Task[None] | None = None
        self._door = asyncio.Semaphore(_AT_ONCE)
        self._admission = Admission()
        self.capacity = 1_000_000
        """Sockets that may be open; more are refused before they cost anything."""
        self._writing: list[Connection] = []
        self._empty = asyncio.Event()
        self._empty.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False
        self.counts = SocketCounts()

    # --- what services use ---------------------------------------------------------------------------------------------

    def send(self, device: str, message: ServerMessage) -> bool:
        """Send to a device; False when it has no socket here."""
        return self.send_text(device, encode(message))

    def send_text(self, device: str, text: bytes) -> bool:
        """Send an encoded message to a device; False when it has no socket here."""
        connection = self._connections.get(device)
        return connection is not None and connection.send_text(text)

    def send_to_account(self, account: str, text: bytes, but: str = "") -> None:
        """Send an encoded message to every device of an account that is connected here, except one."""
        for device in self._accounts.get(account, ()):
            if device != but:
                self.send_text(device, text)

    def online(self, device: str) -> bool:
        """Whether a device has a socket here."""
        return device in self._connections

    def session(self, device: str) -> Session | None:
        """Whose socket it is; None when the device has none here."""
        connection = self._connections.get(device)
        return None if connection is None else connection.session

    def here(self) -> dict[str, tuple[str, float]]:
        """Devices that are connected here, each with its account and since when."""
        return {device: (c.session.account, c.since) for device, c in self._connections.items() if c.session is not None}

    def __len__(self) -> int:
        """Authenticated sockets."""
        return len(self._connections)

    @property
    def sockets(self) -> int:
        """All of them, those that have not said `hello` yet included."""
        return len(self._heartbeat)

    @property
    def draining(self) -> bool:
        """Whether the hub is about to end, and takes no more clients."""
        return self._draining

    def end(self, device: str, code: int = CloseCode.UNAUTHENTICATED) -> None:
        """Close the socket of a device: its session is void, its account frozen, or it is connected elsewhere; with ``going_away`` it
        comes back with a session read anew.
        """
        connection = self._connections.get(device)
        if connection is not None:
            connection.close(code)

    def resync(self, device: str) -> None:
        """Send a device that is here a new ``sync``: what it knows may be old."""
        connection = self._connections.get(device)
        if connection is None:
            return
        if connection.early is None:
            self._spawn(self._resync(connection))
        else:
            connection.stale = True  # its first one is on its way, and may be old already

    async def gone(self, account: str) -> None:
        """Wait until no device of an account is connected here and none is said to be: after they were told to leave.

        Raises ``TimeoutError`` when that takes longer than any client has for it.
        """
        async with asyncio.timeout(_LEAVING):
            while account in self._accounts or any(session.account == account for session, _ in self._gone.values()):  # noqa: ASYNC110 - bounded, and nothing waits on it in a hurry
                await asyncio.sleep(0.02)

    async def close(self, over: float = 0.0) -> None:
        """Close every socket: the hub goes away. Spread over ``over`` seconds, so that not all clients come to another hub at once."""
        self._draining = True
        connections = list(self._heartbeat)
        for number, connection in enumerate(connections):
            if over and number % max(1, len(connections) // 50) == 0:
                await asyncio.sleep(over / 50)
            connection.close(CloseCode.GOING_AWAY)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                await self._empty.wait()
        for connection in self._heartbeat:
            connection.abort()
        if self._beating is not None:
            self._beating.cancel()
        while self._releasing is not None and not self._releasing.done():
            await asyncio.wait([self._releasing], timeout=_GOODBYE)
            self._gone.clear()
        for task in tuple(self._tasks):
            task.cancel()

    # --- the way of a frame ----------------------------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The aiohttp handler of ``/v1/ws``."""
        try:
            address = limit_key(self._rest.address(request))
            wait = self._rest.limiter.take(address)
            if wait:
                raise Refused(ErrorCode.RATE_LIMITED, retry_after=wait)
            self._rest.check_origin(request)
            if self._draining or len(self._heartbeat) >= self.capacity:
                raise Refused(ErrorCode.UNAVAILABLE, retry_after=1.0 if self._draining else 5.0)
            offered = {p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",")}
            if request.headers.get("Upgrade", "").lower() != "websocket" or SUBPROTOCOL not in offered:
                raise Refused(ErrorCode.MALFORMED, f"a WebSocket with the subprotocol {SUBPROTOCOL} is expected here")
            connection = Connection(self, asyncio.get_running_loop(), self._clock, address)
            # no compression: sealed payloads do not compress, and zlib's memory per connection is many times the rest
            return hand_over(request, connection, subprotocol=SUBPROTOCOL, max_frame=MAX_FRAME)
        except Refused as refused:
            self._rest.counted("websocket", refused.code)
            return error_response(refused)
        except UnicodeEncodeError:
            return error_response(Refused(ErrorCode.MALFORMED))
        except ConnectionError:
            return error_response(Refused(ErrorCode.UNAVAILABLE))

    def opened(self, connection: Connection) -> None:
        """A socket stands. It has a moment for ``hello``."""
        loop = asyncio.get_running_loop()
        self.counts.opened += 1
        self._heartbeat.add(connection)
        self._empty.clear()
        if self._beating is None:
            self._beating = loop.call_later(1.0, self._beat)
        connection.timer = loop.call_later(HELLO_TIMEOUT, connection.close, CloseCode.UNAUTHENTICATED, b"no hello in time")

    def received(self, connection: Connection, message: memoryview | bytes) -> None:
        """One text message: the first is ``hello``; those that come while it is looked at wait."""
        session = connection.session
        if connection.early is not None:
            connection.keep(message)
        elif session is None:
            if connection.timer is not None:
                connection.timer.cancel()
                connection.timer = None
            connection.since = self._routes.time()
            connection.hold()
            wait = self._admission.arrive(self._clock())
            if wait:
                self._refuse(connection, Refused(ErrorCode.UNAVAILABLE, "too many clients come at once", retry_after=wait), None)
                connection.close(WSCloseCode.TRY_AGAIN_LATER)
            else:
                self._spawn(self._hello(connection, bytes(message)))
        else:
            self._request(connection, session, message)

    def lost(self, connection: Connection) -> None:
        """A socket is gone."""
        self._heartbeat.discard(connection)
        if not len(self._heartbeat):
            self._empty.set()
        session = connection.session
        if session is not None and self._connections.get(session.device) is connection:
            del self._connections[session.device]
            rest = tuple(device for device in self._accounts.get(session.account, ()) if device != session.device)
            if rest:
                self._accounts[session.account] = rest
            else:
                self._accounts.pop(session.account, None)
            self._presence.detached(session)
            self._calls.leaving(session)
            self._gone[session.device] = (session, next(self._departures))
            if self._releasing is None or self._releasing.done():
                self._releasing = asyncio.get_running_loop().create_task(self._release())

    def writing(self, connection: Connection) -> None:
        """A socket has something to send: all that have are served together, at the end of this turn of the event loop."""
        if not self._writing:
            asyncio.get_running_loop().call_soon(self._write)
        self._writing.append(connection)

    def _write(self) -> None:
        writing, self._writing = self._writing, []
        for connection in writing:
            connection.flush()

    def _request(self, connection: Connection, session: Session, frame: memoryview | bytes) -> None:
        message = decode_client(frame)
        if isinstance(message, BadFrame):
            self._refuse(connection, message.refused, message.re)
            return
        received = self.counts.received
        kind = type(message)
        received[kind] = received.get(kind, 0) + 1
        try:
            check_acknowledged(session, message)
            if kind not in _OTHERS:
                self._calls.submit(session, message, connection.send, connection.address)
            elif isinstance(message, PresenceWatch):
                self._presence.submit(session, message, connection.send)
            elif isinstance(message, CallRelay):
                self._relays.submit(session, message, connection.send)
            elif isinstance(message, Ping):
                connection.send(Ok(re=message.id))
            else:
                raise Refused(ErrorCode.WRONG_STAGE, "this connection said `hello` already")
        except Refused as refused:
            self._refuse(connection, refused, message.id)
        except Exception as error:
            log.error("submit: defect %s", type(error).__name__, exc_info=frames_only(error))
            self._refuse(connection, Refused(ErrorCode.INTERNAL), message.id)

    def _refuse(self, connection: Connection, refused: Refused, re: int | None) -> None:
        count(self.counts.refused, refused.code)
        connection.send(error_message(refused, re))

    async def _hello(self, connection: Connection, frame: bytes) -> None:
        try:
            async with self._door:
                if not connection.closing:
                    await self._let_in(connection, frame)
        except Exception as error:
            log.error("hello: defect %s", type(error).__name__, exc_info=frames_only(error))
            connection.close(WSCloseCode.TRY_AGAIN_LATER)
        finally:
            self._admission.leave(self._clock())

    async def _let_in(self, connection: Connection, frame: bytes) -> None:
        """Authenticate, put the device on the map, send ``sync``; then do what came meanwhile."""
        began = self._clock()
        re: int | None = None
        try:
            message = decode_client(frame)
            if isinstance(message, BadFrame):
                re = message.re
                raise message.refused
            re = message.id
            if not isinstance(message, Hello):
                raise Refused(ErrorCode.UNAUTHENTICATED, "the first message must be `hello`")
            seen = self._sessions.generation
            session = await self._admit(message.token)
            charge = self._limits.charge
            wait = await self._limits.take(
                charge(HELLOS_OF_DEVICE, session.device), charge(REQUESTS_FROM_ADDRESS, connection.address)
            )
            if wait:
                raise Refused(ErrorCode.RATE_LIMITED, retry_after=wait)
        except Refused as refused:
            self._refuse(connection, refused, re)
            connection.close(_CLOSES.get(refused.code, CloseCode.UNAUTHENTICATED))
            return
        except _STORES:
            log.error("hello: a store does not answer")
            self._refuse(connection, Refused(ErrorCode.UNAVAILABLE, retry_after=1.0), re)
            connection.close(WSCloseCode.TRY_AGAIN_LATER)
            return
        if not connection.send(Ok(re=re)):
            return
        newer = self._connections.get(session.device)
        if newer is not None and newer.since > connection.since:
            # it was overtaken while it was looked at: the client has long been on another socket
            connection.close(CloseCode.REPLACED)
            return
        self._enter(connection, session)
        try:
            if self._sessions.generation != seen and not await self._still(connection, message.token, session):
                return
            node = await self._routes.claim(session.device, session.account, connection.since)
            if node == "!":
                connection.close(CloseCode.REPLACED)
                return
            if node:
                self._replaced(session.device, node)
            sync = await self._sync(session)
        except (*_STORES, Refused) as error:
            log.error("sync: a store does not answer (%s)", type(error).__name__)
            connection.close(WSCloseCode.TRY_AGAIN_LATER)
            return
        connection.send(sync)
        count(self.counts.received, Hello)
        self.counts.hello.observe(self._clock() - began)
        if connection.stale:
            self._spawn(self._resync(connection))
        for waiting in connection.release():
            self._request(connection, session, waiting)

    async def _admit(self, token: str) -> Session:
        """The device, when it may come in. Raises ``Refused``, or what a store raises."""
        session = await self._sessions.authenticate(token)
        if session is None:
            raise Refused(ErrorCode.UNAUTHENTICATED)
        if session.blocked:
            raise Refused(ErrorCode.BLOCKED)
        if session.restricted:
            raise Refused(ErrorCode.RESTRICTED)
        return session

    async def _still(self, connection: Connection, token: str, session: Session) -> bool:
        """Whether the device may stay that was let in while somebody's session became void: if it was its own, nobody found its socket to
        close it. From now on ``end`` does. Raises what a store raises.
        """
        try:
            code = None if await self._admit(token) == session else CloseCode.GOING_AWAY
        except Refused as refused:
            code = _CLOSES.get(refused.code, CloseCode.UNAUTHENTICATED)
        if code is not None:
            connection.close(code)
        return code is None

    def _enter(self, connection: Connection, session: Session) -> None:
        connection.session = session
        before = self._connections.get(session.device)
        self._connections[session.device] = connection
        if before is not None:
            before.close(CloseCode.REPLACED)
        devices = self._accounts.get(session.account, ())
        if session.device not in devices:
            self._accounts[session.account] = (*devices, session.device)
        if self._gone.pop(session.device, None) is not None:
            self._calls.moved(session)
        if before is None:
            self._presence.attached(session)

    async def _sync(self, session: Session) -> Sync:
        wanted = await self._contacts_wanted(session.account)
        calls, elsewhere = await self._calls.attach(session)
        return Sync(
            account=session.account,
            device=session.device,
            calls=calls,
            contacts_wanted=wanted,
            elsewhere=elsewhere,
            policy_wanted=not session.acknowledged,
        )

    async def _resync(self, connection: Connection) -> None:
        session = connection.session
        if session is None:
            return
        try:
            async with self._door:
                connection.send(await self._sync(session))
        except (*_STORES, Refused):
            connection.close(WSCloseCode.TRY_AGAIN_LATER)  # it gets `sync` when it comes back

    async def _release(self) -> None:
        """Say of devices that left that they did, unless they are back."""
        while self._gone:
            some = list(self._gone.items())[:_MANY]
            answers = await asyncio.gather(*(self._routes.release(device) for device, _ in some), return_exceptions=True)
            for (device, departure), ours in zip(some, answers, strict=True):
                if isinstance(ours, BaseException) or self._gone.get(device) != departure:
                    continue  # not done, or it came back while we asked, and has claimed its route anew
                del self._gone[device]
                if ours:
                    self._calls.detach(departure[0])
                else:
                    self._calls.moved(departure[0])
            if any(isinstance(ours, BaseException) for ours in answers):
                await asyncio.sleep(_RETRY)

    def _beat(self) -> None:
        self._beating = asyncio.get_running_loop().call_later(1.0, self._beat)  # first: whatever one look raises, there is a next
        self._heartbeat.tick()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
