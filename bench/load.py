"""A load generator's WebSocket client: real frames on real sockets, as little Python around them as possible, so that the hub is the one
that is measured. Frames are masked with a key of zeros, which RFC 6455 allows a client and which spares the exclusive-or.
"""

import asyncio
import base64
import itertools
import secrets
import struct
from collections.abc import Callable
from typing import Final

import msgspec

_DATA: Final = 0x81
_PING, _PONG, _CLOSE = 0x89, 0x8A, 0x88


class Head(msgspec.Struct):
    """What the load needs to know of a message of the hub."""

    type: str
    call: str = ""
    code: str = ""
    retry_after: float = 0.0


_decode = msgspec.json.Decoder(Head).decode


class Socket(asyncio.Protocol):
    """A client's WebSocket.

    Args:
        path: what is asked for; ``subprotocol`` is offered if there is one.
    """

    path = "/v1/ws"
    subprotocol = "kloudtalk.v1"

    def __init__(self, host: str, port: int) -> None:
        self._host = f"{host}:{port}"
        self._buffer = bytearray()
        self._open = False
        self.transport: asyncio.Transport | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()

    def opened(self) -> None:
        """The handshake is done."""

    def text(self, payload: bytes) -> None:
        """A text message came."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade (RFC 6455, section 4.1)."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        offered = f"Sec-WebSocket-Protocol: {self.subprotocol}\r\n" if self.subprotocol else ""
        transport.write(
            f"GET {self.path} HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            f"Sec-WebSocket-Version: 13\r\n{offered}\r\n".encode()
        )

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is gone."""
        self.ended.set()
        if not self.ready.done():
            self._fail("the server closed the socket too early")

    def data_received(self, data: bytes) -> None:
        """Take what came apart into frames. The servers do not fragment."""
        buffer = self._buffer
        buffer += data
        if not self._open:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if not buffer.startswith(b"HTTP/1.1 101"):
                if not self.ready.done():
                    self._fail(bytes(buffer[:200]).decode(errors="replace"))
                return
            del buffer[: end + 4]
            self._open = True
            self.opened()
        at = 0
        while len(buffer) - at >= 2:
            length, start = buffer[at + 1] & 127, at + 2
            if length == 126:
                if len(buffer) - at < 4:
                    break
                length, start = int.from_bytes(buffer[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                if len(buffer) - at < 10:
                    break
                length, start = int.from_bytes(buffer[at + 2 : at + 10], "big"), at + 10
            if len(buffer) < start + length:
                break
            kind, payload = buffer[at], bytes(buffer[start : start + length])
            at = start + length
            if kind == _DATA:
                self.text(payload)
            elif kind == _PING:
                self._frame(_PONG, payload)
            elif kind == _CLOSE and self.transport is not None:
                self._frame(_CLOSE, payload[:2])
                self.transport.close()
        del buffer[:at]

    def _fail(self, why: str) -> None:
        self.ready.set_exception(ConnectionError(why))
        self.ready.exception()  # whoever has given up need not hear

    def send(self, text: bytes) -> None:
        """Send one text frame."""
        self._frame(_DATA, text)

    def _frame(self, kind: int, payload: bytes) -> None:
        length = len(payload)
        if length < 126:
            head = struct.pack("!BBI", kind, 0x80 | length, 0)
        elif length < 65_536:
            head = struct.pack("!BBHI", kind, 0xFE, length, 0)
        else:
            head = struct.pack("!BBQI", kind, 0xFF, length, 0)
        if self.transport is not None:
            self.transport.write(head + payload)


class Device(Socket):
    """One device's socket at a hub.

    Args:
        token: session token.
        heard: gets every message.
    """

    def __init__(self, host: str, port: int, token: str, heard: "Callable[[Device, Head], None]") -> None:
        super().__init__(host, port)
        self._token = token
        self._heard = heard
        self._numbers = itertools.count(1)

    def opened(self) -> None:
        """Say who this is."""
        self.send(b'{"type":"hello","id":0,"token":"%s"}' % self._token.encode())

    def text(self, payload: bytes) -> None:
        """Hand a message on."""
        message = _decode(payload)
        if message.type == "sync" and not self.ready.done():
            self.ready.set_result(None)
        self._heard(self, message)

    def request(self, kind: bytes, call: bytes, more: bytes = b"") -> None:
        """Send one request about a call; ``more`` are further members of the JSON object, each after a comma."""
        self.send(b'{"type":"call.%s","id":%d,"call":"%s"%s}' % (kind, next(self._numbers), call, more))


def address_of(source: int) -> str:
    """A loopback address for each source."""
    return f"127.{64 + source // 62_500 % 64}.{source // 250 % 250}.{1 + source % 250}"


async def connect(host: str, port: int, token: str, heard: Callable[[Device, Head], None], source: int) -> Device:
    """Connect and wait for ``sync``. ``source`` picks the loopback address, so that each device has its own, as on the internet."""
    loop = asyncio.get_running_loop()
    _, device = await loop.create_connection(
        lambda: Device(host, port, token, heard), host, port, local_addr=(address_of(source), 0)
    )
    await device.ready
    return device
