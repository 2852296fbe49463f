"""The data plane: sockets, the source gate, forwarding, the bandwidth cap, counting. ``Plane`` is the interface, ``PythonPlane`` the one
that runs everywhere; ``native.py`` has the fast one.

The gate: STUN goes up to ICE (``on_stun``) and never across. All else passes only from an address that ICE has verified for a slot
(``admit``), and only to the address that ICE has chosen for the slot's peer (``aim``). What does not pass is counted and forgotten.
"""

import asyncio
import contextlib
import ipaddress
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from media.gate import GateCounts
from media.quality import StreamQuality
from media.rtp import Kind, classify, rtp_header

Address = tuple[str, int]
"""IP address in its canonical text form, UDP port."""

OnStun = Callable[[int, bytes, Address], None]
"""Gets a STUN message: number of the socket it came to, bytes, source."""

OnEarly = Callable[[int, bytes], None]
"""Gets a slot and a DTLS handshake message of its client, which the slot's peer cannot be sent yet."""

MAX_DATAGRAM: Final = 1_500
"""Bytes; WebRTC keeps to 1,200."""

RECEIVE_BUFFER: Final = 16 << 20
"""Bytes that the kernel may hold for one socket, on which all calls arrive: at 60,000 packets/s about half a second's (it counts some
1,300 bytes for a small one, and doubles what is asked for: socket(7))."""

HANDSHAKE: Final = 22
"""DTLS' content type (RFC 9147, section 4; RFC 6347, section 4.1)."""

BURST: Final = 1.0
"""Seconds of its bandwidth that a leg may send at once."""


@dataclass(slots=True)
class Traffic:
    """What one slot's client sent."""

    packets: int
    """Forwarded RTP, RTCP and DTLS datagrams."""
    bytes: int
    last_heard: float
    """When the last of them came, on the clock of ``time.monotonic``; 0 for never."""
    capped: int
    """Datagrams dropped because the leg was over its bandwidth."""
    quality: StreamQuality
    """Of the RTP among them."""


class Plane(Protocol):
    """Slots are numbers from 0 to ``slots`` - 1; two of them are the two legs of one call."""

    slots: int

    def join(self, one: int, other: int) -> None:
        """Make two free slots each other's peers, with nothing counted and no address known."""

    def free(self, slot: int) -> None:
        """Nothing goes to or from this slot any more. Its addresses must have been dismissed."""

    def admit(self, slot: int, number: int, address: Address) -> None:
        """Let media from an address, coming to socket ``number``, pass as the slot's."""

    def dismiss(self, number: int, address: Address) -> None:
        """Let nothing pass from there any more."""

    def aim(self, slot: int, number: int, address: Address | None) -> None:
        """Where the slot's client is, and from which socket it is reached. None: nowhere."""

    def send(self, number: int, data: bytes, address: Address) -> None:
        """Send a STUN message."""

    def traffic(self, slot: int) -> Traffic:
        """What was counted of a slot."""

    def counts(self) -> GateCounts:
        """What the gate did so far; the ``stun_`` counters, which are ICE's, are 0."""

    async def close(self) -> None:
        """Close the sockets."""


def open_socket(host: str, ports: Sequence[int]) -> socket.socket:
    """A UDP socket on the first port of ``ports`` that is free. Raises ``OSError`` when none is."""
    family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    for port in ports:
        chosen = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            if family == socket.AF_INET6:
                chosen.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                chosen.setsockopt(socket.SOL_SOCKET, option, RECEIVE_BUFFER)
            for force in (33, 32):  # SO_RCVBUFFORCE, SO_SNDBUFFORCE (Linux): past the system's limit, when we may
                with contextlib.suppress(OSError):
                    chosen.setsockopt(socket.SOL_SOCKET, force, RECEIVE_BUFFER)
            chosen.bind((host, port))
            return chosen
        except OSError:
            chosen.close()
    raise OSError(f"no free UDP port among {ports[0]} to {ports[-1]} on {host}")


@dataclass(slots=True)
class _Slot:
    index: int = -1
    peer: "_Slot | None" = None
    number: int = 0
    address: Address | None = None
    tokens: float = 0.0
    refilled: float = 0.0
    packets: int = 0
    bytes: int = 0
    last_heard: float = 0.0
    capped: int = 0
    quality: StreamQuality = field(default_factory=StreamQuality)


class PythonPlane:
    """The data plane on asyncio.

    Args:
        sockets: bound UDP sockets; closed by ``close``.
        slots: legs at a time.
        bandwidth: bytes a second that one leg may send.
        on_stun: gets STUN messages.
        on_early: gets DTLS handshakes that come early.
        clock: seconds, only going forward.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        *,
        slots: int,
        bandwidth: float,
        on_stun: OnStun,
        on_early: OnEarly,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.slots = slots
        self._sockets = list(sockets)
        self._bandwidth = bandwidth
        self._on_stun = on_stun
        self._on_early = on_early
        self._clock = clock
        self._slots = [_Slot() for _ in range(slots)]
        self._sources: list[dict[Address, _Slot]] = [{} for _ in sockets]
        self._transports: list[asyncio.DatagramTransport] = []
        self._counts = GateCounts()

    async def open(self) -> None:
        """Start to receive."""
        loop = asyncio.get_running_loop()
        for number, bound in enumerate(self._sockets):
            transport, _ = await loop.create_datagram_endpoint(lambda number=number: _Receiver(self, number), sock=bound)  # type: ignore[misc]
            self._transports.append(transport)

    async def close(self) -> None:
        """Close the sockets."""
        for transport in self._transports:
            transport.close()
        for bound in self._sockets[len(self._transports) :]:
            bound.close()
        self._transports.clear()
        self._sockets.clear()
        await asyncio.sleep(0)  # transports close in the loop's next turn

    def join(self, one: int, other: int) -> None:
        """See ``Plane``."""
        now = self._clock()
        a, b = (_Slot(index, tokens=self._bandwidth * BURST, refilled=now) for index in (one, other))
        a.peer, b.peer = b, a
        self._slots[one], self._slots[other] = a, b

    def free(self, slot: int) -> None:
        """See ``Plane``."""
        gone = self._slots[slot]
        if gone.peer is not None:
            gone.peer.peer = None
        self._slots[slot] = _Slot()

    def admit(self, slot: int, number: int, address: Address) -> None:
        """See ``Plane``."""
        self._sources[number][address] = self._slots[slot]

    def dismiss(self, number: int, address: Address) -> None:
        """See ``Plane``."""
        self._sources[number].pop(address, None)

    def aim(self, slot: int, number: int, address: Address | None) -> None:
        """See ``Plane``."""
        self._slots[slot].number, self._slots[slot].address = number, address

    def send(self, number: int, data: bytes, address: Address) -> None:
        """See ``Plane``."""
        if number < len(self._transports):
            self._transports[number].sendto(data, address)

    def traffic(self, slot: int) -> Traffic:
        """See ``Plane``."""
        s = self._slots[slot]
        return Traffic(s.packets, s.bytes, s.last_heard, s.capped, s.quality)

    def counts(self) -> GateCounts:
        """See ``Plane``."""
        return self._counts

    def receive(self, number: int, data: bytes, source: Address) -> None:
        """Take one datagram. Never raises, whatever it holds."""
        counts = self._counts
        kind = classify(data)
        if kind is Kind.STUN:
            if len(data) > MAX_DATAGRAM:
                counts.oversize += 1
                return
            counts.stun += 1
            self._on_stun(number, data, source)
            return
        if kind is Kind.EMPTY:
            counts.empty += 1
        elif kind is Kind.MALFORMED:
            counts.malformed += 1
        elif (slot := self._sources[number].get(source)) is None:
            counts.unverified += 1
        elif kind is Kind.UNKNOWN:
            counts.unknown += 1
        elif len(data) > MAX_DATAGRAM:
            counts.oversize += 1
        else:
            self._forward(slot, kind, data)

    def _forward(self, slot: _Slot, kind: Kind, data: bytes) -> None:
        now, size, peer = self._clock(), len(data), slot.peer
        slot.tokens = min(self._bandwidth * BURST, slot.tokens + (now - slot.refilled) * self._bandwidth)
        slot.refilled = now
        if slot.tokens < size:
            slot.capped += 1
            self._counts.capped += 1
            return
        slot.tokens -= size
        slot.last_heard = now
        if kind is Kind.RTP:
            slot.quality.take(rtp_header(data), now)
        if peer is None or peer.address is None:
            self._counts.undeliverable += 1
            if data[0] == HANDSHAKE:
                self._on_early(slot.index, data)
            return
        slot.packets += 1
        slot.bytes += size
        self._counts.forwarded += 1
        self.send(peer.number, data, peer.address)


class _Receiver(asyncio.DatagramProtocol):
    """One socket's datagrams."""

    def __init__(self, plane: PythonPlane, number: int) -> None:
        self._plane = plane
        self._number = number

    def datagram_received(self, data: bytes, addr: tuple[str, int] | tuple[str, int, int, int]) -> None:
        """An IPv6 source has four parts; the last two say nothing that a global address needs."""
        self._plane.receive(self._number, data, (addr[0], addr[1]))

    def error_received(self, exc: Exception) -> None:
        """ICMP said that something did not arrive: ICE's consent finds out by itself. Anyone can forge it."""
