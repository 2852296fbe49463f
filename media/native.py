"""The data plane in C (``_plane.c``), behind the interface of ``plane.py``. It is there when the package was built where a C compiler is;
``available`` says so. A plain shared library by ctypes: calls into it are a few a second, so that nothing of Python's C API is needed.
"""

import asyncio
import ctypes
import ipaddress
import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from struct import Struct
from typing import Any, Final

from media.gate import GateCounts
from media.plane import Address, OnEarly, OnStun, Traffic
from media.quality import StreamQuality

LIBRARY: Final = Path(__file__).with_name("_plane.so")

_VERSION: Final = 1
_PAUSE: Final = 250
"""Microseconds that datagrams may gather after a batch: one system call then takes several. Far below what anyone hears."""
_QUEUE: Final = 1 << 20
"""Bytes of STUN that may wait for Python; what is more is dropped and counted."""
_READ: Final = 64
"""STUN messages taken in one turn of the event loop."""
_UP: Final = Struct("=BB2si16s")
_COUNTERS: Final = (
    "forwarded", "stun", "empty", "malformed", "unknown", "oversize", "unverified", "undeliverable", "capped", "unsent", "flooded",
)  # fmt: skip


class _Traffic(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("packets", "bytes", "capped", "received", "expected")),
        ("last_heard", ctypes.c_double),
        ("jitter", ctypes.c_double),
    ]


@cache
def load(path: Path = LIBRARY) -> ctypes.CDLL:
    """The library, its functions typed. Raises ``OSError`` when it is not there, or is of another version."""
    library = ctypes.CDLL(str(path))
    number, pointer, real, text = ctypes.c_int, ctypes.c_void_p, ctypes.c_double, ctypes.c_char_p
    u16, i32, u64, size = ctypes.c_uint16, ctypes.c_int32, ctypes.c_uint64, ctypes.c_size_t
    for name, result, arguments in (
        ("version", number, []),
        ("new", pointer, [pointer, number, number, i32, real, u64, i32]),
        ("start", number, [pointer]),
        ("delete", None, [pointer]),
        ("join", None, [pointer, i32, i32, real]),
        ("free", None, [pointer, i32]),
        ("admit", None, [pointer, i32, number, text, u16]),
        ("dismiss", None, [pointer, number, text, u16]),
        ("aim", None, [pointer, i32, number, text, u16]),
        ("traffic", None, [pointer, i32, pointer]),
        ("counts", None, [pointer, pointer]),
        ("decide", number, [pointer, number, text, u16, text, size, real]),
    ):
        function = getattr(library, f"plane_{name}")
        function.restype, function.argtypes = result, arguments
    if library.plane_version() != _VERSION:
        raise OSError(f"{path} is of another version: build the package again")
    return library


def available() -> bool:
    """Whether the library is there and fits."""
    try:
        load()
    except (OSError, AttributeError):
        return False
    return True


def packed(host: str) -> bytes:
    """An address as 16 bytes, IPv4 as ``::ffff:a.b.c.d``."""
    address = ipaddress.ip_address(host)
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def unpacked(ip: bytes) -> str:
    """The address again, in its canonical text form."""
    if ip.startswith(bytes(10) + b"\xff\xff"):
        return str(ipaddress.IPv4Address(ip[12:]))
    return str(ipaddress.IPv6Address(ip))


class NativePlane:
    """The data plane in C. Arguments as ``PythonPlane``'s. Raises ``OSError`` when there is no library."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        *,
        slots: int,
        bandwidth: float,
        on_stun: OnStun,
        on_early: OnEarly,
        clock: Callable[[], float] = time.monotonic,
        library: Path = LIBRARY,
    ) -> None:
        self.slots = slots
        self._library = load(library)
        self._sockets = list(sockets)
        self._on_stun = on_stun
        self._on_early = on_early
        self._clock = clock
        self._up, up = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._other_end = up
        up.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _QUEUE)
        fds = (ctypes.c_int * len(sockets))(*(bound.fileno() for bound in sockets))
        self._plane: Any = self._library.plane_new(
            fds, len(sockets), up.fileno(), slots, float(bandwidth), secrets.randbits(64), _PAUSE
        )
        if not self._plane:
            raise OSError("the data plane cannot be made: too little memory, or too many addresses")

    async def open(self) -> None:
        """Start to receive."""
        asyncio.get_running_loop().add_reader(self._up.fileno(), self._read)
        error = self._library.plane_start(self._plane)
        if error:
            raise OSError(error, os.strerror(error))

    async def close(self) -> None:
        """End the thread and close the sockets."""
        if self._plane is None:
            return
        plane, self._plane = self._plane, None
        asyncio.get_running_loop().remove_reader(self._up.fileno())
        self._library.plane_delete(plane)
        for one in (*self._sockets, self._up, self._other_end):
            one.close()

    def join(self, one: int, other: int) -> None:
        """See ``Plane``."""
        self._library.plane_join(self._plane, one, other, self._clock())

    def free(self, slot: int) -> None:
        """See ``Plane``."""
        self._library.plane_free(self._plane, slot)

    def admit(self, slot: int, number: int, address: Address) -> None:
        """See ``Plane``."""
        self._library.plane_admit(self._plane, slot, number, packed(address[0]), address[1])

    def dismiss(self, number: int, address: Address) -> None:
        """See ``Plane``."""
        self._library.plane_dismiss(self._plane, number, packed(address[0]), address[1])

    def aim(self, slot: int, number: int, address: Address | None) -> None:
        """See ``Plane``."""
        host, port = address or ("::", 0)
        self._library.plane_aim(self._plane, slot, -1 if address is None else number, packed(host), port)

    def send(self, number: int, data: bytes, address: Address) -> None:
        """See ``Plane``."""
        if self._plane is None:
            return
        try:
            self._sockets[number].sendto(data, address)
        except OSError:  # a full buffer or no route: ICE asks again
            return

    def traffic(self, slot: int) -> Traffic:
        """See ``Plane``."""
        t = _Traffic()
        self._library.plane_traffic(self._plane, slot, ctypes.byref(t))
        quality = StreamQuality(received=t.received, expected=t.expected, jitter=t.jitter)
        return Traffic(t.packets, t.bytes, t.last_heard, t.capped, quality)

    def counts(self) -> GateCounts:
        """See ``Plane``."""
        counts = (ctypes.c_uint64 * len(_COUNTERS))()
        self._library.plane_counts(self._plane, counts)
        return GateCounts(**dict(zip(_COUNTERS, counts, strict=True)))

    def receive(self, number: int, data: bytes, source: Address) -> int:
        """What would be done with one datagram, counted as if it had come: 0 drop, 1 forward, 2 up to ICE, 3 a handshake to keep."""
        verdict: int = self._library.plane_decide(self._plane, number, packed(source[0]), source[1], data, len(data), self._clock())
        return verdict

    def _read(self) -> None:
        for _ in range(_READ):
            try:
                datagram = self._up.recv(4096)
            except BlockingIOError:
                return
            early, number, port, slot, ip = _UP.unpack_from(datagram)
            data = datagram[_UP.size :]
            if early:
                self._on_early(slot, data)
            else:
                self._on_stun(number, data, (unpacked(ip), int.from_bytes(port, "big")))
