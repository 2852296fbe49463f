"""CPU per packet of the relay, beside coturn and rtpengine in the same run: 172-byte RTP packets (Opus at 64 kbit/s, 20 ms) of many calls,
both ways.

All are set up as in earnest: our devices come by the hub's way (Redis) and through ICE; coturn's allocate with credentials and bind a channel;
rtpengine's are offered and answered by its NG protocol, as a SIP proxy does, and forwarded in userspace.
Server on one core, load on the other. The last line of stdout is the result.
"""

import argparse
import asyncio
import contextlib
import ctypes
import functools
import hashlib
import os
import re
import resource
import secrets
import select
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from aioice import stun
from redis.asyncio import Redis

from bench.processes import end_on_signals, free_port, report, running, say
from hatch_build import compile_plane
from media.control import RelayDirectory
from media.framing import framed
from media.native import available
from signaling.storage.embedded import EmbeddedValkey
from tests.coturn_files import own_files
from turn_config.coturn import coturn_configuration
from turn_config.credentials import make_credential

SIZE: Final = 172
"""Bytes of one packet: RTP header and 160 bytes."""
SERVER_CORE: Final = 0
LOAD_CORE: Final = 1
BUCKETS: Final = 100_000
"""Microseconds of delay that are told apart."""
CHANNEL: Final = 0x4001


class Side(ctypes.Structure):
    """As in ``relay_load.c``."""

    _fields_ = [("fd", ctypes.c_int), ("prefix", ctypes.c_int), ("channel", ctypes.c_uint16)]


class Result(ctypes.Structure):
    """As in ``relay_load.c``."""

    _fields_ = [
        ("sent", ctypes.c_uint64),
        ("received", ctypes.c_uint64),
        ("refused", ctypes.c_uint64),
        ("seconds", ctypes.c_double),
    ]


def cpu_nanoseconds(pid: int) -> int:
    """Time that a process' threads ran so far (``/proc/PID/task/*/schedstat``, in nanoseconds: finer than ``stat``'s ticks)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total


def udp(address: tuple[str, int] | None = None) -> socket.socket:
    """A socket of one device."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    made.bind(("127.0.0.1", 0))
    if address is not None:
        made.connect(address)
    made.setblocking(False)
    return made


def readable(fds: list[int], seconds: float) -> list[int]:
    """Which of these can be read, after so many seconds at most."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(1000 * seconds)]


# --- our relay ------------------------------------------------------------------------------------------------------------------------


def check(device: tuple[str, str], leg: Any) -> bytes:
    """A check of a controlling device that nominates at once."""
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes |= {"USERNAME": f"{leg.ufrag}:{device[0]}", "PRIORITY": 1, "ICE-CONTROLLING": 1, "USE-CANDIDATE": None}
    message.add_message_integrity(leg.pwd.encode())
    return bytes(message)


def answer(device: tuple[str, str], request: stun.Message, source: tuple[str, int]) -> bytes:
    """The answer to the relay's check."""
    message = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, transaction_id=request.transaction_id)
    message.attributes["XOR-MAPPED-ADDRESS"] = source
    message.add_message_integrity(device[1].encode())
    return bytes(message)


class Stream:
    """A device that comes by TCP: its packets after their lengths (RFC 4571)."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, packet: bytes) -> None:
        """Send one."""
        self.socket.sendall(framed(packet))

    def recv(self, _most: int) -> bytes:
        """The next one, whole."""
        return self._exactly(int.from_bytes(self._exactly(2), "big"))

    def _exactly(self, size: int) -> bytes:
        got = self.socket.recv(size, socket.MSG_WAITALL)
        if len(got) < size:
            raise RuntimeError("the relay closed a connection")
        return got


async def connected(url: str, calls: int, *, tcp: bool) -> list[socket.socket]:
    """Sockets of devices that are connected through the relay, the two of a call beside each other. ``tcp``: the first of them comes by TCP."""
    redis = Redis.from_url(url)
    directory = RelayDirectory(redis, lambda _pairs: None)
    directory.start()
    async with asyncio.timeout(20):
        while not (relays := await directory.relays()):
            await asyncio.sleep(0.1)
    sockets: list[socket.socket] = []
    made: socket.socket | Stream
    waiting: dict[int, tuple[socket.socket | Stream, tuple[str, str], bytes]] = {}
    for call in range(calls):
        for side in (0, 1):
            device = secrets.token_hex(4), secrets.token_hex(16)
            leg = await directory.leg(relays[0].id, pair=f"call {call}", side=side, remote=device)
            if leg is None:
                raise RuntimeError("the relay is full")
            by = "tcp" if tcp and side == 0 else "udp"
            fields = next(fields for fields in map(str.split, leg.candidates) if fields[2] == by)
            address = fields[4], int(fields[5])
            made = Stream(address) if by == "tcp" else udp(address)
            sockets.append(made.socket if isinstance(made, Stream) else made)
            waiting[sockets[-1].fileno()] = made, device, check(device, leg)
            if isinstance(made, Stream):
                made.send(check(device, leg))
    await directory.close()
    await redis.aclose()
    until, resend = time.monotonic() + 30, 0.0
    while waiting:
        if time.monotonic() > until:
            raise RuntimeError(f"{len(waiting)} of {2 * calls} devices did not connect")
        if time.monotonic() > resend:
            resend = time.monotonic() + 1.0
            for made, _, request in waiting.values():
                made.send(request)
                await asyncio.sleep(0.0002)
        for fd in readable(list(waiting), 0.1):
            made, device, _ = waiting[fd]
            message = stun.parse_message(made.recv(2048))
            if message.message_class is stun.Class.REQUEST:
                made.send(answer(device, message, ("127.0.0.1", 9)))
                del waiting[fd]
    await asyncio.sleep(0.5)
    for one in sockets:
        one.setblocking(False)
    return sockets


@contextlib.contextmanager
def our_relay(folder: Path, calls: int, plane: str, *, tcp: bool = False) -> Iterator[tuple[int, list[socket.socket], list[Side]]]:
    """The relay with its calls connected: pid, sockets, sides."""
    valkey = EmbeddedValkey(folder / "valkey", persistent=False)
    valkey.start()
    environment = {
        "KLOUDTALK_REDIS_URL": valkey.url,
        "KLOUDTALK_RELAY_ADDRESSES": "127.0.0.1",
        "KLOUDTALK_RELAY_PORTS": "0",
        "KLOUDTALK_RELAY_CAPACITY": str(calls + 10),
        "KLOUDTALK_RELAY_BANDWIDTH": "10000000",
        "KLOUDTALK_RELAY_PLANE": plane,
        "KLOUDTALK_RELAY_TCP_PORT": "same" if tcp else "off",
    }
    try:
        with running(
            [sys.executable, "-m", "signaling", "relay"], folder / "relay.log", cores={SERVER_CORE}, env=environment
        ) as process:
            sockets = asyncio.run(connected(valkey.url, calls, tcp=tcp))
            yield process.pid, sockets, [_side(made) for made in sockets]
            for made in sockets:
                made.close()
    finally:
        valkey.stop()


def _side(made: socket.socket) -> Side:
    return Side(made.fileno(), 2, SIZE) if made.type == socket.SOCK_STREAM else Side(made.fileno(), 0, 0)


# --- coturn ---------------------------------------------------------------------------------------------------------------------------


class Allocation:
    """One allocation of coturn's, with a channel to a peer (RFC 8656)."""

    def __init__(self, port: int, secret: str) -> None:
        self.socket = udp(("127.0.0.1", port))
        made = make_credential(secret, user=secrets.token_hex(8), expires_at=int(time.time()) + 600)
        self._username, self._password = made.username, made.password
        self._nonce: bytes | None = None
        self._key = b""
        self._realm = ""

    def _ask(self, method: stun.Method, **attributes: Any) -> stun.Message:
        for _ in range(3):
            message = stun.Message(method, stun.Class.REQUEST)
            message.attributes |= {name.replace("_", "-"): value for name, value in attributes.items()}
            if self._nonce is not None:
                message.attributes |= {"USERNAME": self._username, "NONCE": self._nonce, "REALM": self._realm}
                message.add_message_integrity(self._key)
            self.socket.send(bytes(message))
            if not readable([self.socket.fileno()], 5):
                raise RuntimeError("coturn does not answer")
            answered = stun.parse_message(self.socket.recv(2048))
            if answered.message_class is stun.Class.RESPONSE:
                return answered
            if answered.error_code not in (401, 438):
                raise RuntimeError(f"coturn refuses: {answered.error_code}")
            self._nonce, self._realm = answered.attributes["NONCE"], answered.attributes.get("REALM", self._realm)
            self._key = hashlib.md5(f"{self._username}:{self._realm}:{self._password}".encode()).digest()
        raise RuntimeError("coturn refuses the credential")

    def open(self, peer: socket.socket) -> None:
        """Allocate, bind the channel, and connect the peer to the relayed address."""
        relayed = self._ask(stun.Method.ALLOCATE, LIFETIME=600, REQUESTED_TRANSPORT=0x11000000).attributes["XOR-RELAYED-ADDRESS"]
        self._ask(stun.Method.CHANNEL_BIND, CHANNEL_NUMBER=CHANNEL, XOR_PEER_ADDRESS=peer.getsockname())
        peer.connect(relayed)


@contextlib.contextmanager
def coturn(folder: Path, calls: int, _plane: str) -> Iterator[tuple[int, list[socket.socket], list[Side]]]:
    """Coturn with its calls allocated: one device by a channel, the other at the relayed address."""
    secret, port = secrets.token_urlsafe(32), free_port(socket.SOCK_DGRAM)
    file = folder / "turnserver.conf"
    file.write_text(
        coturn_configuration(
            secret=secret,
            realm="bench.example",
            listening=["127.0.0.1"],
            port=port,
            user_quota=10,
            total_quota=calls + 10,
            max_bps=10_000_000,
            loopback_peers=True,
        )
    )
    program = shutil.which("turnserver")
    if program is None:
        raise RuntimeError("the peer is coturn: apt-get install coturn")
    command = [program, "-c", str(file), *own_files(folder)]
    with running(command, folder / "coturn.log", cores={SERVER_CORE}) as process:
        time.sleep(2)
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {SERVER_CORE})
        sockets: list[socket.socket] = []
        sides: list[Side] = []
        for _ in range(calls):
            allocation, peer = Allocation(port, secret), udp()
            allocation.open(peer)
            sockets += [allocation.socket, peer]
            sides += [Side(allocation.socket.fileno(), 4, CHANNEL), Side(peer.fileno(), 0, 0)]
        yield process.pid, sockets, sides
        for made in sockets:
            made.close()


# --- rtpengine ------------------------------------------------------------------------------------------------------------------------


def bencode(value: object) -> bytes:
    """Text and dictionaries of it, in bencode."""
    if isinstance(value, dict):
        return b"d" + b"".join(bencode(key) + bencode(of) for key, of in sorted(value.items())) + b"e"
    text = str(value).encode()
    return b"%d:%s" % (len(text), text)


class NgClient:
    """Asks rtpengine by its NG protocol: a cookie and a bencoded dictionary in a datagram."""

    def __init__(self, port: int) -> None:
        self._socket = udp(("127.0.0.1", port))

    def ask(self, **request: str) -> bytes:
        """The answer, undecoded; what it says of descriptions stands in it as it is. Raises ``RuntimeError``."""
        cookie = secrets.token_hex(8).encode()
        self._socket.send(cookie + b" " + bencode({name.replace("_", "-"): value for name, value in request.items()}))
        if not readable([self._socket.fileno()], 5):
            raise RuntimeError("rtpengine does not answer")
        answered = self._socket.recv(65_536)
        if not answered.startswith(cookie) or b"6:result2:ok" not in answered:
            raise RuntimeError(f"rtpengine refuses: {answered[:200]!r}")
        return answered

    def described(self, port: int, **request: str) -> int:
        """Send the description of one side, which receives at a port; the port that the other side is told."""
        sdp = f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 111\r\na=rtpmap:111 opus/48000/2\r\n"
        found = re.search(rb"m=audio (\d+) RTP/AVP", self.ask(**request, sdp=sdp))
        if found is None:
            raise RuntimeError("rtpengine answers without a port")
        return int(found[1])


@contextlib.contextmanager
def rtpengine(folder: Path, calls: int, _plane: str) -> Iterator[tuple[int, list[socket.socket], list[Side]]]:
    """Rtpengine in userspace (no kernel table), with its calls offered and answered."""
    program = shutil.which("rtpengine")
    if program is None:
        raise RuntimeError("the peer is rtpengine: apt-get install rtpengine-daemon")
    port = free_port(socket.SOCK_DGRAM)
    command = [
        program,
        "--config-file=none",
        "--foreground",
        "--log-stderr",
        "--log-level=4",
        "--table=-1",
        "--interface=127.0.0.1",
        f"--listen-ng=127.0.0.1:{port}",
        "--port-min=10000",
        "--port-max=29999",
        "--num-threads=1",
        f"--pidfile={folder / 'pid'}",
    ]
    with running(command, folder / "rtpengine.log", cores={SERVER_CORE}) as process:
        time.sleep(2)
        client = NgClient(port)
        sockets: list[socket.socket] = []
        for number in range(calls):
            one, other = udp(), udp()
            call = {"call_id": f"call {number}", "from_tag": "one"}
            other.connect(("127.0.0.1", client.described(one.getsockname()[1], command="offer", **call)))
            one.connect(("127.0.0.1", client.described(other.getsockname()[1], command="answer", to_tag="other", **call)))
            sockets += [one, other]
        yield process.pid, sockets, [Side(made.fileno(), 0, 0) for made in sockets]
        for made in sockets:
            made.close()


# --- the measurement --------------------------------------------------------------------------------------------------------------------

SERVERS: Final = {
    "relay": (our_relay, "native"),
    "relay_python": (our_relay, "python"),
    "coturn": (coturn, ""),
    "rtpengine": (rtpengine, ""),
    "relay_tcp": (functools.partial(our_relay, tcp=True), "native"),
}


def measure(load: Any, folder: Path, name: str, *, rate: int, calls: int, seconds: float) -> dict[str, Any]:
    """One server at one load."""
    make, plane = SERVERS[name]
    folder.mkdir()
    with make(folder, calls, plane) as (pid, _sockets, sides):
        array = (Side * len(sides))(*sides)
        for warming in (True, False):
            buckets, result = (ctypes.c_uint64 * BUCKETS)(), Result()
            before = cpu_nanoseconds(pid)
            if load.load_run(
                array,
                calls,
                ctypes.c_double(rate),
                ctypes.c_double(1.0 if warming else seconds),
                SIZE,
                buckets,
                BUCKETS,
                ctypes.byref(result),
            ):
                raise RuntimeError("the load cannot run")
            used = cpu_nanoseconds(pid) - before
    figures = {
        "server": name,
        "calls": calls,
        "offered_per_s": rate,
        "sent_per_s": round(result.sent / seconds),
        "us_per_packet": round(used / 1000 / max(1, result.sent), 3),
        "loss": round(1 - result.received / max(1, result.sent), 6),
        "p50_us": percentile(buckets, 0.5),
        "p99_us": percentile(buckets, 0.99),
    }
    say("  ".join(f"{key}={value}" for key, value in figures.items()))
    return figures


def percentile(buckets: Any, share: float) -> int:
    """Microseconds below which so many arrived."""
    counts = list(buckets)
    wanted, seen = share * sum(counts), 0
    for microseconds, count in enumerate(counts):
        seen += count
        if count and seen >= wanted:
            return microseconds
    return 0


def main() -> int:
    """Measure all, one after the other at each load."""
    parser = argparse.ArgumentParser(description="CPU per packet of the relay beside coturn and rtpengine.")
    parser.add_argument("--rates", type=int, nargs="+", default=[20_000, 60_000], help="packets a second of all calls together")
    parser.add_argument("--calls", type=int, nargs="+", default=[50, 500])
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each measurement")
    options = parser.parse_args()
    end_on_signals()
    if (os.cpu_count() or 1) < 2:
        say("bench.relay: two cores are needed, one for the server and one for the load")
        return 1
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    folder = Path(tempfile.mkdtemp(prefix="kt-bench-"))
    runs: list[dict[str, Any]] = []
    try:
        why_not = compile_plane(Path(__file__).with_name("relay_load.c"), folder / "load.so")
        if why_not is not None or not available():
            say(f"bench.relay: load and data plane are in C: {why_not or 'the data plane was not built'}")
            return 1
        load = ctypes.CDLL(str(folder / "load.so"))
        everywhere = os.sched_getaffinity(0)
        for calls in options.calls:
            for rate in options.rates:
                for name in SERVERS:
                    if name == "relay_tcp" and (calls, rate) != (min(options.calls), min(options.rates)):
                        continue  # one core has no more to give
                    os.sched_setaffinity(0, everywhere)  # what is started now inherits it
                    os.sched_setaffinity(0, {LOAD_CORE})
                    runs.append(measure(load, folder / str(len(runs)), name, rate=rate, calls=calls, seconds=options.seconds))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    worst = {
        name: max(run["us_per_packet"] for run in runs if run["server"] == name and run["offered_per_s"] == max(options.rates))
        for name in SERVERS
        if name != "relay_tcp"
    }
    report(
        {
            "metric": "relay_cpu_per_packet",
            "ours": worst["relay"],
            "peer": worst["coturn"],
            "ratio": round(worst["relay"] / worst["coturn"], 2),
            "unit": "us",
            "ours_python": worst["relay_python"],
            "rtpengine": worst["rtpengine"],
            "ours_tcp": next(run["us_per_packet"] for run in runs if run["server"] == "relay_tcp"),
            "bytes": SIZE,
            "runs": runs,
        }
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
