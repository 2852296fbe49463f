"""Thousands of clients in one process, for ``bench.stampede``: sockets and epoll(7) and little else, so that the hub is what is measured, and
not the load. ``python -m bench.crowd`` takes one JSON object on its first line of input (``Orders``), then words, a line each; at the end of each round it says what the clients met with (``Seen``).

Every client does as the SDK does (``web/sdk/src/socket.ts``): it opens a socket, says hello once it stands, gives an attempt 20 s, opens again after a back-off
with jitter, and waits for as long as it is told to.
"""

import base64
import contextlib
import heapq
import itertools
import os
import random
import secrets
import select
import socket
import struct
import sys
import time
from collections import Counter
from enum import Enum, auto
from typing import Final

import msgspec

from bench.load import Head, address_of

_PATIENCE: Final = 20.0
"""Seconds from opening to ``sync``, then a client begins anew."""
_EVENTS: Final = 512
"""Sockets looked at in one turn."""
_READ: Final = 65_536
_BIND_ADDRESS_NO_PORT: Final = 24
"""``IP_BIND_ADDRESS_NO_PORT`` (ip(7)): the port is picked at connect(2), else looking for a free one takes longer than all else."""

_decode: Final = msgspec.json.Decoder(Head).decode


class Orders(msgspec.Struct):
    """What a process is to do."""

    port: int
    tokens: list[str]
    """Session tokens, one for each client."""
    first: int
    """Number of the first client: each has a loopback address of its own."""
    pace: float
    """Clients that connect in a second, at first."""


class Seen(msgspec.Struct):
    """What a process' clients met with."""

    errors: dict[str, int]
    codes: dict[str, int]
    """Codes of the hub's errors."""
    waits: int
    """Attempts that were told to come again later."""
    hellos: list[float]
    """Seconds from opening to ``sync``."""
    returns: list[float]
    """Seconds from the cut until a client was back."""


def backoff(attempt: int, rng: random.Random) -> float:
    """Seconds before the ``attempt``-th try (from 0), as the SDK's."""
    return min(15.0, 0.25 * 2.0 ** min(attempt, 10)) * (0.5 + rng.random() / 2)


class Stage(Enum):
    """How far a client is."""

    WAITING = auto()
    OPENING = auto()
    UPGRADING = auto()
    GREETING = auto()
    ONLINE = auto()


class Client:
    """One device that stays connected."""

    __slots__ = ("attempt", "began", "buffer", "hello", "home", "plan", "socket", "source", "stage", "told")

    def __init__(self, token: str, number: int) -> None:
        self.hello = _frame(0x81, b'{"type":"hello","id":0,"token":"%s"}' % token.encode())
        self.source = address_of(number)
        self.socket: socket.socket | None = None
        self.buffer = b""
        self.stage = Stage.WAITING
        self.attempt = 0
        self.plan = 0
        """Which of its timers counts: what was planned before is out of date."""
        self.began = self.told = 0.0
        self.home = False
        """Whether it has been back in this round."""


class Crowd:
    """All clients of this process. A round ends when each has been back: then what they met with is reported."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._rng = random.Random(orders.first)
        self._poll = select.epoll()
        self._clients = [Client(token, orders.first + number) for number, token in enumerate(orders.tokens)]
        self._by_socket: dict[int, Client] = {}
        self._timers: list[tuple[float, int, Client]] = []
        self._plans = itertools.count(1)
        self._request = (
            f"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1:{orders.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(secrets.token_bytes(16)).decode()}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: kloudtalk.v1\r\n\r\n"
        ).encode()
        self._begin()

    def run(self) -> None:
        """Connect everyone, then live until the input ends. ``cut`` cuts every socket, ``begin`` only begins a round."""
        for number, client in enumerate(self._clients):
            self._plan(client, number / self._orders.pace)
        words = sys.stdin.fileno()
        self._poll.register(words, select.EPOLLIN)
        while True:
            now = time.perf_counter()
            while self._timers and self._timers[0][0] <= now:
                _, plan, client = heapq.heappop(self._timers)
                if client.plan == plan:
                    self._due(client)
            wait = max(0.0, self._timers[0][0] - now) if self._timers else None
            for handle, events in self._poll.poll(wait, _EVENTS):
                if handle == words:
                    word = os.read(words, _READ)
                    if not word:
                        return
                    self._begin()
                    if word == b"cut\n":
                        for client in self._clients:
                            self._drop(client)
                            client.attempt = 0
                            self._later(client)
                elif handle in self._by_socket:
                    self._ready(self._by_socket[handle], events)

    def _begin(self) -> None:
        self._seen = Seen(Counter(), Counter(), 0, [], [])
        self._began = time.perf_counter()
        self._away = len(self._clients)
        for client in self._clients:
            client.home = False

    def _plan(self, client: Client, seconds: float) -> None:
        client.plan = next(self._plans)
        heapq.heappush(self._timers, (time.perf_counter() + seconds, client.plan, client))

    def _due(self, client: Client) -> None:
        """It is time for an attempt, or an attempt has had its time."""
        if client.stage is Stage.WAITING:
            self._open(client)
        else:
            self._lost(client, "no sync in time")

    def _open(self, client: Client) -> None:
        client.began, client.told, client.buffer, client.stage = time.perf_counter(), 0.0, b"", Stage.OPENING
        client.socket = one = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        one.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.bind((client.source, 0))
        self._by_socket[one.fileno()] = client
        one.connect_ex(("127.0.0.1", self._orders.port))
        self._poll.register(one.fileno(), select.EPOLLIN | select.EPOLLOUT)
        self._plan(client, _PATIENCE)

    def _ready(self, client: Client, events: int) -> None:
        one = client.socket
        if one is None:
            return
        try:
            if client.stage is Stage.OPENING:
                error = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    raise OSError(error, os.strerror(error))
                client.stage = Stage.UPGRADING
                self._poll.modify(one.fileno(), select.EPOLLIN)
                one.send(self._request)
            elif events & ~select.EPOLLOUT:
                data = one.recv(_READ)
                if data:
                    self._take(client, data)
                else:
                    self._lost(client, "closed")
        except OSError as error:
            # a hub that was killed resets what it had not read
            early = client.stage in (Stage.OPENING, Stage.UPGRADING)
            nobody = isinstance(error, ConnectionRefusedError) or (early and isinstance(error, ConnectionResetError))
            self._lost(client, "no hub listens" if nobody else error.strerror or type(error).__name__)

    def _take(self, client: Client, data: bytes) -> None:
        buffer = client.buffer + data
        if client.stage is Stage.UPGRADING:
            head, end, buffer = buffer.partition(b"\r\n\r\n")
            if not end:
                client.buffer = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                client.told = _retry_after(head)
                self._lost(client, head.partition(b"\r\n")[0].decode(errors="replace"))
                return
            client.stage = Stage.GREETING
            self._send(client, client.hello)
        while (cut := _first(buffer)) is not None:
            kind, payload, buffer = cut
            if kind == 0x81:
                self._heard(client, _decode(payload))
            elif kind == 0x89:
                self._send(client, _frame(0x8A, payload))
            elif kind == 0x88:
                self._lost(client, f"closed with {int.from_bytes(payload[:2], 'big')}")
                return
        client.buffer = buffer

    def _heard(self, client: Client, message: Head) -> None:
        if message.type == "error":
            client.told = message.retry_after
            self._seen.codes[message.code] += 1
        elif message.type == "sync" and client.stage is Stage.GREETING:
            now = time.perf_counter()
            client.stage, client.attempt = Stage.ONLINE, 0
            client.plan = 0  # it has come in time
            self._seen.hellos.append(now - client.began)
            if not client.home:
                client.home = True
                self._seen.returns.append(now - self._began)
                self._away -= 1
                if not self._away:
                    sys.stdout.buffer.write(msgspec.json.encode(self._seen) + b"\n")
                    sys.stdout.buffer.flush()

    def _send(self, client: Client, data: bytes) -> None:
        if client.socket is not None:
            client.socket.send(data)  # some bytes on a socket that has hardly sent any: they fit

    def _drop(self, client: Client) -> None:
        """Let go of a socket at once, as when the network is gone."""
        if client.socket is not None:
            del self._by_socket[client.socket.fileno()]
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close(2) resets it
            client.socket.close()
        client.socket, client.stage = None, Stage.WAITING

    def _lost(self, client: Client, why: str) -> None:
        """An attempt failed, or a socket that stood is gone. Whoever was told to wait has met with no error."""
        if client.stage is not Stage.ONLINE:
            if client.told:
                self._seen.waits += 1
            else:
                self._seen.errors[why] += 1
        self._drop(client)
        self._later(client)

    def _later(self, client: Client) -> None:
        self._plan(client, max(backoff(client.attempt, self._rng), client.told))
        client.attempt += 1


def _frame(kind: int, payload: bytes) -> bytes:
    """A short frame of a client's, masked with zeros (RFC 6455, section 5.3)."""
    return struct.pack("!BBI", kind, 0x80 | len(payload), 0) + payload


def _first(buffer: bytes) -> tuple[int, bytes, bytes] | None:
    """The first frame of a server's: its kind, its payload, and what comes after it. None when it is not there as a whole."""
    if len(buffer) < 2:
        return None
    length, start = buffer[1], 2
    if length == 126:
        length, start = int.from_bytes(buffer[2:4], "big"), 4
    elif length == 127:
        length, start = int.from_bytes(buffer[2:10], "big"), 10
    if len(buffer) < start + length:
        return None
    return buffer[0], buffer[start : start + length], buffer[start + length :]


def _retry_after(head: bytes) -> float:
    """Seconds that a refused upgrade says to wait (RFC 9110, section 10.2.3)."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"retry-after":
            with contextlib.suppress(ValueError):
                return float(value)
    return 0.0


if __name__ == "__main__":
    Crowd(msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)).run()
