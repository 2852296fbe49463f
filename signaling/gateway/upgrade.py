"""The hand-over of a connection from aiohttp to picows, once a request has been found fit to become a WebSocket.

aiohttp has the port, the routes and the checks; picows has RFC 6455. A WebSocket of aiohttp keeps its request, its parser and two tasks
for as long as it lives, most of what an idle connection weighs; after the hand-over none of that is left (docs/decisions/0009).
"""

import logging
from typing import Any, Final

from aiohttp import web
from picows import WSAutoPingStrategy, WSListener, WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]

_READ_BUFFER: Final = 2_048
"""Bytes that a connection has for reading; it grows while a longer frame comes in."""
_HEADERS: Final = ("Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version")
"""Headers of the request that the opening handshake is made of (RFC 6455, section 4.2.1)."""

_log: Final = logging.LoggerAdapter(logging.getLogger("picows"))
# what clients do wrong is told to them, not to the operator's log
logging.getLogger("picows").setLevel(logging.CRITICAL)


class _HandedOver(web.Response):
    """What aiohttp gets for a request whose connection is not its own any more: nothing is to be written."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write no head."""

    async def write_eof(self, data: Any = b"") -> None:
        """Write no body."""


def hand_over(request: web.Request, listener: WSListener, *, subprotocol: str, max_frame: int) -> web.StreamResponse:
    """Answer the handshake and give the connection to ``listener``. Returns what the aiohttp handler must return.

    A handshake that is not right (version, key) is answered with 400 by picows, and the connection closed.

    Args:
        request: the upgrade request, found fit.
        listener: gets the socket's events.
        subprotocol: the one that was chosen.
        max_frame: bytes; a longer frame closes the connection with 1009 before it is buffered.

    Raises:
        ConnectionError: the client is gone already.
        UnicodeEncodeError: a header of the handshake is not ASCII.
    """
    transport, http = request.transport, request.protocol
    if transport is None or transport.is_closing():
        raise ConnectionError("the client is gone")

    def accept(_request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        response = WSUpgradeResponse.create_101_response({"Sec-WebSocket-Protocol": subprotocol})
        return WSUpgradeResponseWithListener(response, listener)

    websocket: Any = WSProtocol(
        None, None, False, accept, _log, True, None, False, 0, 0, WSAutoPingStrategy.PING_WHEN_IDLE, False, max_frame, None, _READ_BUFFER
    )  # fmt: skip
    head = [f"{name}: {request.headers[name]}" for name in _HEADERS if name in request.headers]
    raw = "\r\n".join(["GET / HTTP/1.1", *head, "", ""]).encode("ascii")
    transport.pause_reading()
    # for aiohttp the connection ends here; without its transport it closes nothing
    http.transport = None
    http.connection_lost(None)
    transport.set_protocol(websocket)
    websocket.connection_made(transport)
    while raw:
        buffer = websocket.get_buffer(len(raw))
        size = min(len(buffer), len(raw))
        buffer[:size] = raw[:size]
        websocket.buffer_updated(size)
        raw = raw[size:]
    if not transport.is_closing():
        transport.resume_reading()
    return _HandedOver()
