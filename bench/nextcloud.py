"""A peer of the set-up benchmark: Debian's nextcloud-spreed-signaling, which passes messages between sessions. It relays the same frames between the same
number of sockets; it keeps no call, asks for no policy and stores nothing.

Its clients are "internal" ones, which prove a shared secret and need no Nextcloud behind it; messages between its sessions go over its built-in stand-in
for NATS, in memory.
"""

import asyncio
import hashlib
import hmac
import itertools
import math
import os
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.load import Socket, address_of
from bench.processes import cpu_seconds, family, free_port, running, say, wait_for_port

_SECRET: Final = "a secret of the internal clients of the bench"
_CONFIG: Final = """[http]
listen = 127.0.0.1:{port}
[app]
debug = false
[sessions]
hashkey = {hash_key}
blockkey = {block_key}
[clients]
internalsecret = {secret}
[backend]
allowall = true
secret = {secret}
[nats]
url = :loopback:
[mcu]
[turn]
[geoip]
[stats]
"""


class _Hello(msgspec.Struct):
    sessionid: str


class _Data(msgspec.Struct):
    kind: str
    call: str = ""
    p: str = ""


class _Relayed(msgspec.Struct):
    data: _Data


class _Message(msgspec.Struct):
    type: str
    hello: _Hello | None = None
    message: _Relayed | None = None
    error: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Message).decode


class Session(Socket):
    """One socket at the peer. ``heard`` gets what another session sent."""

    path = "/spreed"
    subprotocol = ""

    def __init__(self, host: str, port: int, heard: "Callable[[Session, _Data], None]") -> None:
        super().__init__(host, port)
        self._heard = heard
        self._numbers = itertools.count(2)
        self.id = b""

    def opened(self) -> None:
        """Prove the secret."""
        random = secrets.token_hex(32)
        token = hmac.digest(_SECRET.encode(), random.encode(), hashlib.sha256).hex()
        params = {"random": random, "token": token, "backend": f"http://{self._host}"}
        hello = {"version": "1.0", "auth": {"type": "internal", "params": params}}
        self.send(msgspec.json.encode({"id": "1", "type": "hello", "hello": hello}))

    def text(self, payload: bytes) -> None:
        """Hand a message on."""
        message = _decode(payload)
        if message.type == "hello" and message.hello is not None:
            self.id = message.hello.sessionid.encode()
            self.ready.set_result(None)
        elif message.type == "error" and not self.ready.done():
            self._fail(str(message.error))
        elif message.type == "message" and message.message is not None:
            self._heard(self, message.message.data)

    def relay(self, to: bytes, data: bytes) -> None:
        """Have a JSON object passed on to another session."""
        self.send(
            b'{"id":"%d","type":"message","message":{"recipient":{"type":"session","sessionid":"%s"},"data":%s}}'
            % (next(self._numbers), to, data)
        )


class Couple:
    """Two sessions that go through the frames of a call again and again."""

    def __init__(self, done: "asyncio.Queue[Couple]", offer: bytes, candidates: bytes) -> None:
        self.sessions: list[Session] = []
        self._done, self._offer, self._candidates = done, offer, candidates
        self.calls = 0
        self._left = self._batches = self._ups = 0
        self._call = b""

    def start(self, calls: int, batches: int) -> None:
        """Run ``calls`` calls; each side sends ``batches`` batches of candidates in each."""
        self._left, self._batches = calls, batches
        self._next()

    def _next(self) -> None:
        if self._left == 0:
            self._done.put_nowait(self)
            return
        self._left -= 1
        self._ups = 0
        self._call = secrets.token_urlsafe(16).encode()
        self._send(self.sessions[0], b"invite", self._offer)

    def _send(self, one: Session, kind: bytes, payload: bytes = b"") -> None:
        other = self.sessions[1 - self.sessions.index(one)]
        one.relay(other.id, b'{"kind":"%s","call":"%s","p":"%s"}' % (kind, self._call, payload))

    def heard(self, at: Session, data: _Data) -> None:
        """The frames of one call: invite, ringing, accept, connected twice, hang-up."""
        if data.call.encode() != self._call:
            return
        if data.kind == "invite":
            self._send(at, b"ringing")
            self._send(at, b"accept", self._offer)
            self._trickle(at)
        elif data.kind == "accept":
            self._trickle(at)
            self._send(at, b"connected")
            self._send(self.sessions[1], b"connected")
        elif data.kind == "connected":
            self._ups += 1
            if self._ups == 2:
                self._send(self.sessions[0], b"hangup")
        elif data.kind == "hangup":
            self.calls += 1
            self._next()

    def _trickle(self, one: Session) -> None:
        for _ in range(self._batches):
            self._send(one, b"signal", self._candidates)


FRAMES: Final = 6
"""Frames of one call that are relayed, without candidates."""


async def measure(folder: Path, *, calls: int, pairs: int, offer: bytes, candidates: bytes, batches: int) -> dict[str, Any]:
    """CPU per call of the peer, in milliseconds, and per relayed frame of candidates.

    Raises:
        RuntimeError: the server is missing, does not start, or refuses its clients.
    """
    server = shutil.which("nextcloud-spreed-signaling-server")
    if server is None:
        raise RuntimeError("the peer needs Debian's package nextcloud-spreed-signaling")
    folder.mkdir(parents=True, exist_ok=True)
    port, config, log = free_port(), folder / "server.conf", folder / "server.log"
    keys = {"hash_key": secrets.token_hex(16), "block_key": secrets.token_hex(16), "secret": _SECRET}
    config.write_text(_CONFIG.format(port=port, **keys))
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    done: asyncio.Queue[Couple] = asyncio.Queue()
    couples = [Couple(done, offer, candidates) for _ in range(pairs)]
    try:
        with running([server, "-config", str(config)], log, cores={min(cores)}, env={"GOMAXPROCS": "1"}) as process:
            await asyncio.to_thread(wait_for_port, port, process, log)
            pids = family(process.pid)
            loop = asyncio.get_running_loop()
            for number, couple in enumerate(couples):
                for side in range(2):
                    _, session = await loop.create_connection(
                        lambda couple=couple: Session("127.0.0.1", port, couple.heard), "127.0.0.1", port,  # type: ignore[misc]
                        local_addr=(address_of(2 * number + side), 0),
                    )  # fmt: skip
                    try:
                        async with asyncio.timeout(20):
                            await session.ready
                    except (TimeoutError, ConnectionError) as error:
                        said = log.read_text(errors="replace")[-1500:]
                        raise RuntimeError(f"the peer does not let its clients in ({error}):\n{said}") from error
                    couple.sessions.append(session)
            each = max(1, math.ceil(calls / pairs))
            await _run(couples, done, pids, max(1, each // 5), 0)
            plain = await _run(couples, done, pids, each, 0)
            trickling = await _run(couples, done, pids, each, batches)
            for couple in couples:
                for session in couple.sessions:
                    if session.transport is not None:
                        session.transport.close()
    finally:
        os.sched_setaffinity(0, cores)
    say(f"nextcloud: {plain['calls']} calls, {plain['cpu_ms']} ms of CPU each")
    per_frame = (trickling["cpu_ms"] - plain["cpu_ms"]) / (2 * batches)
    return plain | {"frames": FRAMES, "cpu_us_per_frame": round(1000 * plain["cpu_ms"] / FRAMES, 1),
                    "cpu_us_per_batch_of_candidates": round(1000 * per_frame, 1), "with_candidates": trickling}  # fmt: skip


async def _run(couples: list[Couple], done: "asyncio.Queue[Couple]", pids: list[int], each: int, batches: int) -> dict[str, Any]:
    for couple in couples:
        couple.calls = 0
    used, began = cpu_seconds(pids), time.perf_counter()
    for couple in couples:
        couple.start(each, batches)
    try:
        async with asyncio.timeout(120):
            for _ in couples:
                await done.get()
    except TimeoutError:
        raise RuntimeError("calls at the peer do not end") from None
    used, seconds = cpu_seconds(pids) - used, time.perf_counter() - began
    total = sum(couple.calls for couple in couples)
    return {"cpu_ms": round(used / total * 1000, 4), "calls": total, "seconds": round(seconds, 2), "cpu_s": round(used, 2)}
