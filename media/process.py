"""The relay as a process: ``kloudtalk relay``."""

import asyncio
import contextlib
import ipaddress
import logging
import resource
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import ifaddr

from media.control import AnyRedis, RelayControl
from media.native import NativePlane, available
from media.options import RelayOptions, parse_address
from media.plane import RECEIVE_BUFFER, Address, PythonPlane, open_socket
from media.relay import Relay
from media.tcp import PENDING, Front

log = logging.getLogger(__name__)

DRAIN: Final = 10.0
"""Seconds that calls have to move to another relay when this one ends."""

_SUMMARY: Final = 300.0
"""Seconds between two lines of the log that say what the gate did."""


def machine_addresses() -> list[str]:
    """This machine's addresses that another machine may reach; its loopback when there is none."""
    found: list[str] = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            text = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            address = ipaddress.ip_address(text)
            if not (address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified):
                found.append(str(address))
    return list(dict.fromkeys(found)) or ["127.0.0.1"]


def open_sockets(addresses: Sequence[str], ports: tuple[int, int]) -> tuple[list[socket.socket], list[Address]]:
    """Bound sockets and where clients reach them. Raises ``OSError`` when there is none; addresses that are not there are said in the
    log.
    """
    sockets: list[socket.socket] = []
    public: list[Address] = []
    for text in addresses or machine_addresses():
        listening, reached = parse_address(text)
        try:
            bound = open_socket(listening, range(ports[0], ports[1] + 1))
        except OSError as error:
            if addresses:
                for one in sockets:
                    one.close()
                raise
            log.warning("relay: one of this machine's addresses cannot be used (%s)", error.strerror or "no free port")
            continue
        sockets.append(bound)
        public.append((reached, bound.getsockname()[1]))
    if not sockets:
        raise OSError("no address to listen on")
    if any(one.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < RECEIVE_BUFFER for one in sockets):
        log.warning(
            "relay: the system allows a small receive buffer only; packets may be lost: sysctl net.core.rmem_max=%d",
            RECEIVE_BUFFER,
        )
    return sockets, public


def open_listeners(
    sockets: Sequence[socket.socket], public: Sequence[Address], ports: tuple[int, int], *, or_any: bool = False
) -> tuple[list[socket.socket], list[Address]]:
    """For each UDP socket a TCP socket on its address, bound and not listening yet, and where clients reach it.

    Raises ``OSError`` when a port that was asked for is not free; where UDP's number is not, the log says that there is no TCP.

    Args:
        sockets: as from ``open_sockets``.
        public: as from ``open_sockets``.
        ports: as ``RelayOptions.tcp``.
        or_any: where UDP's number is not free, another one will do.
    """
    listeners: list[socket.socket] = []
    reached: list[Address] = []
    for udp, (host, _) in zip(sockets, public, strict=True):
        name = udp.getsockname()
        listener = socket.socket(udp.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if udp.family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                listener.bind((name[0], ports[0] or name[1]))
            except OSError:
                if ports[0] or not or_any:
                    raise
                listener.bind((name[0], 0))
        except OSError as error:
            listener.close()
            if ports[0]:
                for one in listeners:
                    one.close()
                raise OSError(error.errno, f"TCP port {ports[0]} for the relay: {error.strerror}") from None
            log.warning("relay: no TCP at one of the addresses: port %d is not free (%s)", name[1], error.strerror)
            continue
        listeners.append(listener)
        reached.append((host, ports[1] or listener.getsockname()[1]))
    return listeners, reached


def connection_limit(capacity: int) -> int:
    """TCP connections that a relay takes: twice what the legs of all its calls need, and no more than half of its file descriptors can
    hold, of which each takes two.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * capacity + PENDING
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft // 4))


def _allow_files() -> None:
    """Have as many file descriptors as the system lets us."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def open_relay(options: RelayOptions, clock: Callable[[], float] = time.monotonic) -> Relay:
    """A started relay. Raises ``OSError``."""
    native = options.plane == "native" or (options.plane == "auto" and available())
    sockets, public = open_sockets(options.addresses, options.ports)
    listeners: list[socket.socket] = []
    tcp: list[Address] = []
    front: Front | None = None
    try:
        if options.tcp is not None:
            listeners, tcp = open_listeners(sockets, public, options.tcp, or_any=options.ports == (0, 0))
        relay = Relay(public=public, tcp=tcp, clock=clock)
        if listeners:
            sockets.append(_inside())
            name = sockets[-1].getsockname()
            front = Front(
                listeners,
                (name[0], name[1]),
                relay,
                relay.own_counts,
                rate=2.0 * options.bandwidth,
                total=connection_limit(options.capacity),
            )
        plane = (NativePlane if native else PythonPlane)(
            sockets, slots=2 * options.capacity, bandwidth=options.bandwidth, on_stun=relay.on_stun, on_early=relay.on_early
        )
        await plane.open()
    except BaseException:
        for bound in (*sockets, *listeners):
            bound.close()
        raise
    try:
        await relay.start(plane, front)
    except BaseException:
        await relay.close()
        raise
    return relay


def _inside() -> socket.socket:
    """A UDP socket that this machine alone can send to."""
    try:
        return open_socket("127.0.0.1", (0,))
    except OSError:
        return open_socket("::1", (0,))


@contextlib.asynccontextmanager
async def _unobserved(_relay: Relay, _control: RelayControl) -> AsyncIterator[None]:
    yield


async def run_relay(
    options: RelayOptions,
    redis: AnyRedis,
    observe: Callable[[Relay, RelayControl], contextlib.AbstractAsyncContextManager[None]] = _unobserved,
) -> None:
    """Run one relay until SIGTERM or SIGINT; then give its calls time to move. A second signal ends it at once.

    Args:
        options: how.
        redis: hubs find the relay over it; closed at the end.
        observe: what goes on beside the relay while it runs.
    """
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: hurry.set() if stop.is_set() else stop.set())
    _allow_files()
    relay = await open_relay(options)
    if options.plane == "auto" and not available():
        log.warning(
            "relay: the data plane in C was not built (it needs a C compiler at installation); the one in Python costs more"
        )
    control = RelayControl(redis, relay, drain=stop.set)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(relay.close)
        stack.push_async_callback(control.close)
        await control.start()
        await stack.enter_async_context(observe(relay, control))
        print(f"relaying up to {options.capacity} calls", flush=True)
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _SUMMARY)
            log.info("relay: %d calls; %s", len(relay), " ".join(f"{k}={v}" for k, v in relay.counts().as_dict().items() if v))
        drain = asyncio.create_task(relay.drain(DRAIN))  # before hubs are told: from then on no new pair is taken
        if not await control.leave():
            drain.cancel()
            return
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait([drain, hurried], return_when=asyncio.FIRST_COMPLETED)
        for task in (drain, hurried):
            task.cancel()
