"""ICE over TCP (RFC 6544) for clients whose network lets no UDP through: connections to a relay, passed on to its data plane.

A connection is nothing until its first packet is an authentic ICE check for one of the relay's legs; then it gets a UDP socket on the
loopback, connected to one of the data plane's. To the plane, and to ICE, that socket is the client: gate, bandwidth, quality, consent
and forwarding are the same as for a client that speaks UDP, and a leg does not know the difference. The plane's socket for them is on the
loopback only, so nobody outside this machine can send to it but through here.
"""

import asyncio
import contextlib
import ipaddress
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol, cast

from media.framing import Deframer, FrameError, framed
from media.gate import GateCounts
from media.plane import MAX_DATAGRAM, Address

PATIENCE: Final = 5.0
"""Seconds that a new connection has to send an authentic check."""

SETTLING: Final = 10.0
"""Seconds that it has then until ICE has verified it, which takes one round trip."""

PENDING: Final = 256
"""Connections that have not sent an authentic check yet; the oldest of them has to go when there are more."""

PENDING_PER_ADDRESS: Final = 32
PER_ADDRESS: Final = 512
"""Connections from one IPv4 address, or one IPv6 network of 64 bits: an office whose calls all come from one."""

QUEUE: Final = 32
"""Packets that wait for a client that reads slowly: 0.6 s of voice. When there are more, the oldest are dropped, as a network would."""

_UNSENT: Final = 4_096
"""Bytes that the kernel holds of what it has not sent (tcp(7)); anything more would arrive too late."""
_INSIDE_BUFFER: Final = 65_536
"""Bytes of the loopback socket's buffer."""
_PER_PACKET: Final = 48
"""Bytes that a packet counts for beside its own, in how fast a client may send: short ones cost as much as long ones."""
_AT_ONCE: Final = 64
"""Packets taken from a loopback socket in one turn of the event loop."""


class Relay(Protocol):
    """The relay, as its connections see it."""

    def welcome(self, packet: bytes) -> bool:
        """Whether a packet is an authentic check for one of the legs; what is not is counted."""

    def holds(self, address: Address) -> bool:
        """Whether a leg's client is verified at this address of the loopback."""

    def gone(self, address: Address) -> None:
        """The client at this address of the loopback is not there any more."""


class Front:
    """All connections of a relay.

    Args:
        listeners: bound TCP sockets; closed by ``close``.
        inside: the data plane's socket on the loopback.
        relay: whose legs they are for.
        counts: gets what was refused.
        rate: bytes a second that one connection is read at; what comes faster waits at the sender.
        total: connections at a time.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        inside: Address,
        relay: Relay,
        counts: GateCounts,
        *,
        rate: float,
        total: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.inside = inside
        self.addresses: dict[Address, Address] = {}
        """On the loopback, of the connections that are open and have proved themselves; where their clients are on the network."""
        self.relay = relay
        self.counts = counts
        self.rate = rate
        self.clock = clock
        self._total = total
        self._listeners = list(listeners)
        self._servers: list[asyncio.Server] = []
        self._open: set[_Connection] = set()
        self._pending: dict[_Connection, None] = {}
        self._by_address: Counter[str] = Counter()
        self._pending_by_address: Counter[str] = Counter()

    async def open(self) -> None:
        """Start to accept."""
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            self._servers.append(await loop.create_server(lambda: _Connection(self), sock=listener, backlog=256))

    async def close(self) -> None:
        """End everything."""
        for server in self._servers:
            server.close()
        for listener in self._listeners[len(self._servers) :]:
            listener.close()
        for connection in tuple(self._open):
            connection.end()
        for server in self._servers:
            await server.wait_closed()
        await asyncio.sleep(0)  # transports close in the loop's next turn

    def __len__(self) -> int:
        """Connections, those that are to prove themselves too."""
        return len(self._open)

    def sweep(self) -> None:
        """End the connections that no leg holds any more, or in time."""
        for connection in tuple(self._open):
            connection.look()

    # --- what connections tell -----------------------------------------------------------------------------------------------

    def came(self, connection: "_Connection") -> bool:
        """Whether there is room for it."""
        key = connection.key
        if (
            len(self._open) >= self._total
            or self._by_address[key] >= PER_ADDRESS
            or self._pending_by_address[key] >= PENDING_PER_ADDRESS
        ):
            self.counts.tcp_refused += 1
            return False
        if len(self._pending) >= PENDING:
            self.counts.tcp_refused += 1
            next(iter(self._pending)).end()
        self._open.add(connection)
        self._by_address[key] += 1
        self._pending[connection] = None
        self._pending_by_address[key] += 1
        return True

    def proved(self, connection: "_Connection") -> None:
        """It sent an authentic check."""
        if connection in self._pending:
            del self._pending[connection]
            _less(self._pending_by_address, connection.key)

    def went(self, connection: "_Connection") -> None:
        """It has ended."""
        if connection in self._open:
            self.proved(connection)
            self._open.discard(connection)
            _less(self._by_address, connection.key)


class _Connection(asyncio.BufferedProtocol):
    """One connection."""

    key: str
    """Whose it is, for what one address may have."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._deframer = Deframer(MAX_DATAGRAM)
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None
        self._inside: socket.socket | None = None
        self._address: Address = ("", 0)
        """Of ``_inside``."""
        self._outside: Address = ("", 0)
        """The client's."""
        self._proved_at = 0.0
        self._held = False
        """Whether a leg has held it."""
        self._paused = False
        self._waiting: deque[bytes] = deque(maxlen=QUEUE)
        self._tokens, self._refilled = front.rate, front.clock()
        self._resume: asyncio.TimerHandle | None = None
        self._ended = False

    # --- from the client -------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuse it, or give it a moment to prove itself."""
        self._transport = cast("asyncio.Transport", transport)  # it is TCP's; uvloop's have no common class
        peer = transport.get_extra_info("peername")
        self.key = _key(peer[0]) if peer else ""
        if not peer or not self._front.came(self):
            self._ended = True
            self._transport.abort()
            return
        self._outside = (str(_address(peer[0])), peer[1])
        plain = transport.get_extra_info("socket")
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(AttributeError, OSError):  # Linux has it
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
        self._transport.set_write_buffer_limits(high=0)
        self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._late)

    def get_buffer(self, _sizehint: int) -> bytearray:
        """See ``asyncio.BufferedProtocol``."""
        return self._deframer.chunk

    def buffer_updated(self, nbytes: int) -> None:
        """Pass the packets on that are whole."""
        packets = 0
        try:
            for packet in self._deframer.take(nbytes):
                if self._ended:
                    return
                packets += 1
                self._take(packet)
        except FrameError:
            self._front.counts.tcp_garbled += 1
            self.end()
        self._pace(nbytes + packets * _PER_PACKET)

    def _take(self, packet: bytes) -> None:
        inside = self._inside
        if inside is None:
            inside = self._enter() if self._front.relay.welcome(packet) else None
            if inside is None:
                self.end()
                return
        if not packet:
            self._front.counts.empty += 1
            return
        with contextlib.suppress(OSError):  # a full buffer: as if the network had lost it
            inside.send(packet)

    def _enter(self) -> socket.socket | None:
        """Get an address on the loopback, if there is a descriptor left."""
        family = socket.AF_INET6 if ":" in self._front.inside[0] else socket.AF_INET
        try:
            inside = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError:
            self._front.counts.tcp_refused += 1
            return None
        try:
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                inside.setsockopt(socket.SOL_SOCKET, option, _INSIDE_BUFFER)
            inside.connect(self._front.inside)
            host, port, *_ = inside.getsockname()
            asyncio.get_running_loop().add_reader(inside.fileno(), self._readable)
        except OSError:
            inside.close()
            self._front.counts.tcp_refused += 1
            return None
        self._inside, self._address = inside, (host, port)
        self._front.addresses[self._address] = self._outside
        self._proved_at = self._front.clock()
        self._front.proved(self)
        if self._timer is not None:
            self._timer.cancel()
        return inside

    def _pace(self, size: int) -> None:
        """Read no faster than a call needs: what TCP holds back costs nothing here."""
        if self._ended:
            return
        now, rate = self._front.clock(), self._front.rate
        self._tokens = min(rate, self._tokens + (now - self._refilled) * rate) - size
        self._refilled = now
        if self._tokens < 0 and self._resume is None:
            self._transport.pause_reading()
            self._resume = asyncio.get_running_loop().call_later(-self._tokens / rate, self._read_on)

    def _read_on(self) -> None:
        self._resume = None
        if not self._ended:
            self._transport.resume_reading()

    # --- to the client -----------------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        for _ in range(_AT_ONCE):
            if self._inside is None:
                return
            try:
                packet = self._inside.recv(MAX_DATAGRAM)
            except OSError:
                return
            if self._paused:
                self._front.counts.tcp_slow += len(self._waiting) == QUEUE
                self._waiting.append(packet)
            else:
                self._transport.write(framed(packet))

    def pause_writing(self) -> None:
        """The kernel takes no more."""
        self._paused = True

    def resume_writing(self) -> None:
        """Send what has waited, as far as the kernel takes it."""
        self._paused = False
        while self._waiting and not self._paused:
            self._transport.write(framed(self._waiting.popleft()))

    # --- the end -------------------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """End when no leg holds it: none has in time, or none does any more."""
        if self._inside is None:
            return
        if self._front.relay.holds(self._address):
            self._held = True
        elif self._held or self._front.clock() - self._proved_at > SETTLING:
            self.end()

    def _late(self) -> None:
        self._front.counts.tcp_late += 1
        self.end()

    def end(self) -> None:
        """End it now, without sending what waits."""
        self._leave()
        self._transport.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        """The client has closed it, or its network has."""
        self._leave()

    def _leave(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._front.went(self)
        for timer in (self._timer, self._resume):
            if timer is not None:
                timer.cancel()
        self._waiting.clear()
        if self._inside is not None:
            # first: the port may be another connection's next
            self._front.addresses.pop(self._address, None)
            self._front.relay.gone(self._address)
            asyncio.get_running_loop().remove_reader(self._inside.fileno())
            self._inside.close()
            self._inside = None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Without its zone; of IPv4 also where the socket is one of IPv6."""
    address = ipaddress.ip_address(host.partition("%")[0])
    return (address.version == 6 and address.ipv4_mapped) or address


def _key(host: str) -> str:
    address = _address(host)
    return str(address) if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))


def _less(counter: "Counter[str]", key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
