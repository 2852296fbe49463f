"""One client's socket: frames in, messages out. picows does RFC 6455; what a frame may cost and how a socket closes is decided here."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final, Protocol

from msgspec import UNSET, Struct
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from signaling.gateway.counts import SocketCounts
from signaling.gateway.frames import text_frame
from signaling.gateway.rate import TokenBucket
from signaling.gateway.request import Session
from signaling.telemetry.counting import count
from signaling.wire.codec import encode
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.messages import MAX_FRAME, CloseCode, Error

_BURST: Final = 200.0
_RATE: Final = 50.0
"""Frames of one connection: at once, and a second."""
_PATIENCE: Final = 100
"""Refused frames after which a client that does not slow down is closed with 4429."""
_QUEUE: Final = 512 * 1024
"""Bytes that may wait for a client that does not read; more closes it with 4410."""
_EARLY: Final = 256
"""Frames that may wait while the client's ``hello`` is looked at: those that came with it. More are not read from the socket until then."""
_FAREWELL: Final = 2.0
"""Seconds that a client has to answer a close."""

_TEXT: Final = WSMsgType.TEXT
_CONTINUATION: Final = WSMsgType.CONTINUATION
_BINARY: Final = WSMsgType.BINARY
_CLOSE: Final = WSMsgType.CLOSE
_PING: Final = WSMsgType.PING
_PONG: Final = WSMsgType.PONG


class Owner(Protocol):
    """What a connection reports to (``gateway/socket.py``)."""

    counts: SocketCounts

    def opened(self, connection: "Connection") -> None:
        """The handshake is done."""

    def received(self, connection: "Connection", message: memoryview | bytes) -> None:
        """A text message. The memory is valid during the call only."""

    def lost(self, connection: "Connection") -> None:
        """The socket is gone."""

    def writing(self, connection: "Connection") -> None:
        """Something waits to be sent: call ``flush`` before the event loop waits again."""


def error_message(refused: Refused, re: int | None) -> Error:
    """A refusal as a message."""
    return Error(
        code=refused.code,
        message=refused.message,
        re=UNSET if re is None else re,
        retry_after=UNSET if refused.retry_after is None else refused.retry_after,
        devices=UNSET if refused.devices is None else refused.devices,
    )


class Connection(WSListener):
    """One socket. Messages leave in the order of ``send``; those of one tick of the event loop leave in one system call."""

    __slots__ = (
        "_bucket", "_clock", "_closer", "_closing", "_loop", "_out", "_owner", "_parts", "_refusals", "_transport", "_waiting", "address", "asked", "early", "heard",
        "session", "since", "slot", "stale", "timer",
    )  # fmt: skip

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop, clock: Callable[[], float], address: str) -> None:
        # kept: on Python 3.11 every get_running_loop() is a system call
        self._owner, self._loop, self._clock = owner, loop, clock
        self._bucket = TokenBucket.full(_BURST, _RATE, clock())
        self._refusals = 0
        self._parts: bytearray | None = None
        self._closing = False
        self._closer: asyncio.TimerHandle | None = None
        self._transport: WSTransport | None = None
        self._out: Any = None
        self._waiting: list[bytes] = []
        self.address = address
        """What limits per address count it by (``gateway/origin.py``: ``limit_key``)."""
        self.session: Session | None = None
        """The device, once ``hello`` was accepted."""
        self.early: list[bytes] | None = None
        """Frames that wait while ``hello`` is looked at."""
        self.since = 0.0
        """When ``hello`` came: seconds since 1970, by the hubs' common clock."""
        self.stale = False
        """Whether the first ``sync`` is to be followed by another."""
        self.timer: asyncio.TimerHandle | None = None
        """Ends the wait for ``hello``."""
        self.slot = 0
        self.heard = True
        self.asked = False
        """For ``gateway/heartbeat.py``: its slot; whether anything came since the last look; whether a ping is out."""

    # --- what picows calls ---------------------------------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The handshake is done."""
        self._transport, self._out = transport, transport.underlying_transport
        self._owner.opened(self)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is gone."""
        self._closing = True
        for timer in (self._closer, self.timer):
            if timer is not None:
                timer.cancel()
        self._owner.lost(self)

    def pause_writing(self) -> None:
        """Nothing: ``send`` bounds what waits."""

    def resume_writing(self) -> None:
        """Nothing."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """One frame, of any kind: each counts against the rate before anything else is done with it."""
        self.heard = True
        kind = frame.msg_type
        if kind == _CLOSE:
            self._closing = True
            if not transport.is_close_frame_sent:
                transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
            return
        if self._closing:
            return
        wait = self._bucket.take(self._clock())
        if wait:
            self._refuse(wait)
            return
        self._refusals = 0
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self.close(CloseCode.PROTOCOL_ERROR)  # no extension was agreed on (RFC 6455, section 5.2)
        elif kind == _TEXT and frame.fin and self._parts is None:
            self._owner.received(self, frame.get_payload_as_memoryview())
        elif kind == _PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind != _PONG:
            self._fragment(kind, frame)

    def _refuse(self, wait: float) -> None:
        # without reading the frame: a flood must not buy our time. `re` is left out, the frame is named by its order
        self._refusals += 1
        count(self._owner.counts.refused, ErrorCode.RATE_LIMITED)
        if self._refusals > _PATIENCE:
            self.close(CloseCode.RATE_LIMITED)
        else:
            self.send(error_message(Refused(ErrorCode.RATE_LIMITED, retry_after=wait), None))

    def _fragment(self, kind: WSMsgType, frame: WSFrame) -> None:
        """A message in several frames (RFC 6455, section 5.4), or one that is no text."""
        if (kind == _CONTINUATION) != (self._parts is not None):
            self.close(CloseCode.PROTOCOL_ERROR)
        elif kind == _BINARY:
            self.refuse_binary()
        else:
            parts = self._parts = self._parts if self._parts is not None else bytearray()
            parts += frame.get_payload_as_memoryview()
            if len(parts) > MAX_FRAME:
                self.close(CloseCode.TOO_LARGE)
            elif frame.fin:
                self._parts = None
                self._owner.received(self, bytes(parts))

    # --- what the gateway calls ------------------------------------------------------------------------------------------------------------

    @property
    def closing(self) -> bool:
        """Whether nothing more is sent."""
        return self._closing

    def refuse_binary(self) -> None:
        """A frame that is no text: before ``hello`` it ends the connection."""
        if self.session is None and self.early is None:
            self.close(CloseCode.UNAUTHENTICATED)
        else:
            self.send(error_message(Refused(ErrorCode.MALFORMED, "frames are text"), None))

    def hold(self) -> None:
        """Keep the frames that are there already, and read no more, until ``release``."""
        self.early = []
        self._out.pause_reading()

    def keep(self, message: memoryview | bytes) -> None:
        """Keep a frame that came with ``hello``."""
        if self.early is None or len(self.early) >= _EARLY:
            self.close(CloseCode.RATE_LIMITED)
        else:
            self.early.append(bytes(message))

    def release(self) -> list[bytes]:
        """Read on, if ``hold`` has stopped that. Returns what was kept."""
        early, self.early = self.early, None
        if early is None:
            return []
        if not self._out.is_closing():
            self._out.resume_reading()
        return early

    def send(self, message: Struct) -> bool:
        """Queue one message. False when the socket is closing."""
        return self.send_text(encode(message))

    def send_text(self, text: bytes) -> bool:
        """Queue one message that is encoded already. False when the socket is closing."""
        if self._closing:
            return False
        if not self._waiting:
            self._owner.writing(self)
        self._waiting.append(text_frame(text))
        return True

    def flush(self) -> None:
        """Write what waits, at once: each write is a system call."""
        waiting = self._waiting
        if waiting:
            self._waiting = []
            self._owner.counts.sent += len(waiting)
            try:
                self._out.write(waiting[0] if len(waiting) == 1 else b"".join(waiting))
            except RuntimeError:
                self._closing = True  # closed a moment ago; we are just about to be told
                return
            if self._out.get_write_buffer_size() > _QUEUE:
                count(self._owner.counts.closed, CloseCode.SLOW)
                self.abort()  # it does not read: a close frame would only wait behind the rest

    def ping(self) -> None:
        """Ask whether the client is still there."""
        if self._transport is not None and not self._closing:
            with contextlib.suppress(RuntimeError):  # closed a moment ago
                self._transport.send_ping()

    def close(self, code: int, reason: bytes = b"") -> None:
        """Close the socket, after what is queued was sent."""
        if self._closing or self._transport is None:
            return
        self.flush()
        self._closing = True
        count(self._owner.counts.closed, int(code))
        with contextlib.suppress(RuntimeError):  # closed a moment ago
            self._transport.send_close(code, reason)  # type: ignore[arg-type]  # the application's codes are not in the enum
        self.release()  # what was kept is not done any more; the client's answer to the close must be read
        self._closer = self._loop.call_later(_FAREWELL, self.abort)

    def abort(self) -> None:
        """End the connection at once."""
        self._closing = True
        if self._transport is not None:
            with contextlib.suppress(RuntimeError):
                self._transport.underlying_transport.abort()
