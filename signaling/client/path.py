"""The way under one DTLS session: generations of ICE that replace one another (RFC 8445, section 9), which aiortc and aioice do not know.

aiortc makes one aioice ``Connection`` for a transport and keeps it. ``Path`` stands in its place: DTLS and SRTP go on above it, as in browsers,
while ICE starts anew below, towards the other side or towards the leg of a relay.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

from aioice import Candidate, Connection, ConnectionClosed
from aiortc import RTCIceTransport

from signaling.client.sdp import Ice

_LINGER: Final = 2.0
"""Seconds that a replaced generation goes on to be heard: the other side may still send there."""
_QUEUE: Final = 256
"""Datagrams that wait for DTLS; more are lost, as on a network."""


class Path:
    """Generations of ICE, of which the newest that connected is used to send and every open one to receive.

    Args:
        first: aiortc's own connection, for epoch 0.
        lost: told when ICE of the newest generation failed or its consent is over (RFC 7675).
    """

    def __init__(self, first: Connection, lost: Callable[[], None]) -> None:
        self.packets = 0
        """RTP packets that came."""
        self.epoch = 0
        """Of the newest generation."""
        self._first = self._newest = first
        self._used: Connection | None = None
        self._lost = lost
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(_QUEUE)
        self._up = asyncio.Event()
        self._closed = asyncio.Event()
        self._open = {first}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        """The newest generation is the one in use."""
        return self._used is self._newest and not self._closed.is_set()

    @property
    def turned(self) -> bool:
        """The pair of candidates in use has a relayed one (RFC 8656), of whichever side."""
        pair = None if self._used is None else self._used._nominated.get(1)
        return pair is not None and "relay" in (pair.local_candidate.type, pair.remote_candidate.type)

    def insert(self, transport: RTCIceTransport) -> None:
        """Take the place of the connection in aiortc's transport."""
        transport._connection = transport.iceGatherer._connection = self
        transport._recv, transport._send = self.recv, self.send

    # --- generations ------------------------------------------------------------------------------------------------------

    async def begin(self, epoch: int, connection: Connection) -> Ice:
        """A new generation; answers our parameters for it, candidates included. What was not connected yet is given up."""
        old, self._newest, self.epoch = self._newest, connection, epoch
        self._open.add(connection)
        if old is not self._used:
            self._spawn(self._end(old))
        await connection.gather_candidates()
        candidates = tuple(f"candidate:{candidate.to_sdp()}" for candidate in connection.local_candidates)
        return Ice(connection.local_username, connection.local_password, candidates)

    async def go(self, epoch: int, remote: Ice, *, all_known: bool = False) -> None:
        """Connect the generation of this epoch, unless there is a newer one. ``all_known``: no more candidates will come."""
        connection = self._newest
        if epoch != self.epoch or connection.remote_username is not None or self._closed.is_set():
            return
        connection.remote_username, connection.remote_password = remote.ufrag, remote.pwd
        connection.remote_is_lite = remote.lite
        await self.add(epoch, remote.candidates)
        if all_known and connection is self._newest:
            await connection.add_remote_candidate(None)
        self._spawn(self._establish(connection))

    async def add(self, epoch: int, candidates: tuple[str, ...]) -> None:
        """More candidates of the other side (``candidate:…``); what cannot be used is left out."""
        for text in candidates:
            if epoch != self.epoch:
                return
            with contextlib.suppress(ValueError, IndexError, AssertionError):
                candidate = Candidate.from_sdp(text.removeprefix("candidate:"))
                if candidate.transport.lower() == "udp":  # aioice has no other
                    await self._newest.add_remote_candidate(candidate)

    async def _establish(self, connection: Connection) -> None:
        try:
            await connection.connect()
        except ConnectionError:
            if connection is self._newest:
                self._lost()
            return
        if connection is not self._newest or self._closed.is_set():
            return
        old, self._used = self._used, connection
        if old is not None:
            asyncio.get_running_loop().call_later(_LINGER, lambda: self._spawn(self._end(old)))
        self._up.set()
        await self._pump(connection)

    async def _pump(self, connection: Connection) -> None:
        while True:
            try:
                data = await connection.recv()
            except ConnectionError:
                break
            if is_rtp(data):
                self.packets += 1
            with contextlib.suppress(asyncio.QueueFull):
                self._queue.put_nowait(data)
        if connection is self._newest and not self._closed.is_set():
            self._lost()

    async def _end(self, connection: Connection) -> None:
        self._open.discard(connection)
        await connection.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- what aiortc asks of a connection -----------------------------------------------------------------------------------

    @property
    def ice_controlling(self) -> bool:
        """The role in epoch 0."""
        return bool(self._first.ice_controlling)

    @ice_controlling.setter
    def ice_controlling(self, value: bool) -> None:
        self._first.ice_controlling = value

    @property
    def local_candidates(self) -> list[Candidate]:
        """Ours, of epoch 0."""
        return list(self._first.local_candidates)

    @property
    def remote_candidates(self) -> list[Candidate]:
        """The other side's, of epoch 0."""
        return list(self._first.remote_candidates)

    @property
    def local_username(self) -> str:
        """Ours, of epoch 0."""
        return str(self._first.local_username)

    @property
    def local_password(self) -> str:
        """Ours, of epoch 0."""
        return str(self._first.local_password)

    remote_is_lite: bool = False
    remote_username: str = ""
    remote_password: str = ""

    async def gather_candidates(self) -> None:
        """Gather those of epoch 0."""
        await self._first.gather_candidates()

    async def add_remote_candidate(self, candidate: Candidate | None) -> None:
        """One more of epoch 0; None: no more will come."""
        if self._newest is self._first:
            await self._first.add_remote_candidate(candidate)

    async def connect(self) -> None:
        """Connect epoch 0, and wait until it or a later one is connected. Raises ``ConnectionError`` when closed before."""
        await self.go(0, Ice(self.remote_username, self.remote_password, (), self.remote_is_lite))
        await self._up.wait()
        if self._closed.is_set():
            raise ConnectionError("closed before it was connected")

    async def get_event(self) -> ConnectionClosed:
        """Wait until it is closed: generations come and go unnoticed."""
        await self._closed.wait()
        return ConnectionClosed()

    async def recv(self) -> bytes:
        """The next datagram. Raises ``ConnectionError`` when closed."""
        data = None if self._closed.is_set() else await self._queue.get()
        if data is None:
            raise ConnectionError("closed")
        return data

    async def send(self, data: bytes) -> None:
        """Send a datagram; while no way carries it is lost, as on a network. Raises ``ConnectionError`` when closed."""
        if self._closed.is_set():
            raise ConnectionError("closed")
        if self._used is not None:
            with contextlib.suppress(ConnectionError, OSError):
                await self._used.send(data)

    async def close(self) -> None:
        """End every generation."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._up.set()
        for connection in tuple(self._open):
            await self._end(connection)
        while self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(None)
        if self._tasks:
            await asyncio.wait(self._tasks)


def is_rtp(data: bytes) -> bool:
    """RTP, and neither RTCP nor DTLS nor STUN (RFC 7983; RFC 5761, section 4)."""
    return len(data) >= 12 and 128 <= data[0] <= 191 and not 192 <= data[1] <= 223
