"""A wall between one hub and Redis: network namespaces (root), or a proxy that stops to copy. Both keep clients out of it."""

import asyncio
import contextlib
import os
import shutil
import subprocess
from typing import Final, Protocol

from bench.processes import stop

_TOOLS: Final = ("ip", "nft", "socat")


class Wall(Protocol):
    """What stands between a hub and Redis."""

    kind: str
    """For the report: how it is done."""
    host: str
    """Address on which the hub behind it listens for clients."""
    prefix: list[str]
    """What the hub's command begins with."""

    @property
    def redis_url(self) -> str:
        """Where that hub finds Redis."""

    async def start(self) -> None:
        """Set it up, open."""

    async def shut(self) -> None:
        """Let nothing through, in either direction. Nobody is told: packets vanish."""

    async def open(self) -> None:
        """Let everything through again."""

    async def close(self) -> None:
        """Take everything away that was set up."""


class Namespace:
    """The hub in a network namespace of its own, with two pairs of virtual interfaces: one for clients, one for Redis, on which nftables
    drop every packet while the wall is shut. Redis's end is a TCP port in front of its unix socket.
    """

    kind = "network namespace"

    def __init__(self, path: str) -> None:
        self._path = path
        number = os.getpid()
        self._name = f"kloudtalk-chaos-{number}"
        self._clients, self._redis = f"ktc{number}", f"ktr{number}"
        net = f"198.18.{number % 256}"  # RFC 2544: for benchmarks
        self._addresses = {self._clients: (f"{net}.1/30", f"{net}.2/30"), self._redis: (f"{net}.5/30", f"{net}.6/30")}
        self.host = f"{net}.2"
        self._door = f"{net}.5"
        self.prefix = ["ip", "netns", "exec", self._name]
        self._socat: subprocess.Popen[bytes] | None = None

    @property
    def redis_url(self) -> str:
        """Where that hub finds Redis."""
        return f"redis://{self._door}:6379"

    async def start(self) -> None:
        """Needs root, iproute2, nftables and socat. Raises ``RuntimeError`` with what the kernel says."""
        await _run("ip", "netns", "add", self._name)
        await _run(*self.prefix, "ip", "link", "set", "lo", "up")
        for outside, (here, there) in self._addresses.items():
            await _run("ip", "link", "add", outside, "type", "veth", "peer", "name", outside, "netns", self._name)
            await _run("ip", "address", "add", here, "dev", outside)
            await _run("ip", "link", "set", outside, "up")
            await _run(*self.prefix, "ip", "address", "add", there, "dev", outside)
            await _run(*self.prefix, "ip", "link", "set", outside, "up")
        self._socat = subprocess.Popen(  # noqa: ASYNC220 - it only starts
            ["socat", f"TCP-LISTEN:6379,bind={self._door},reuseaddr,fork,nodelay,backlog=256", f"UNIX-CONNECT:{self._path}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    async def shut(self) -> None:
        """Drop what arrives at either end of Redis's pair."""
        rules = f"table netdev {self._redis} {{ chain in {{ type filter hook ingress device {self._redis} priority 0; policy drop; }}; }}"
        for prefix in ([], self.prefix):
            await _run(*prefix, "nft", rules)

    async def open(self) -> None:
        """Drop nothing any more."""
        for prefix in ([], self.prefix):
            with contextlib.suppress(RuntimeError):  # it is open
                await _run(*prefix, "nft", f"delete table netdev {self._redis}")

    async def close(self) -> None:
        """Remove the namespace, and with it the interfaces."""
        await self.open()
        if self._socat is not None:
            stop(self._socat)
        with contextlib.suppress(RuntimeError):  # never set up
            await _run("ip", "netns", "delete", self._name)


class Gate:
    """A proxy that can stop: what is sent meanwhile waits, as in a network that drops packets. For those who are not root."""

    kind = "proxy that stops"
    host = "127.0.0.1"
    prefix: list[str] = []

    def __init__(self, path: str) -> None:
        self._path = path
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._port = 0

    @property
    def redis_url(self) -> str:
        """Where that hub finds Redis."""
        return f"redis://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Listen on a port of 127.0.0.1."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Let nothing through, in either direction."""
        self._open.clear()

    async def open(self) -> None:
        """Let everything through again."""
        self._open.set()

    async def close(self) -> None:
        """End it."""
        self._open.set()
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        try:
            inner_reader, inner_writer = await asyncio.open_unix_connection(self._path)
            with contextlib.suppress(OSError):
                await asyncio.gather(self._copy(reader, inner_writer), self._copy(inner_reader, writer))
        except (OSError, asyncio.CancelledError):  # cancelled by `close`: asyncio's streams complain of it otherwise
            writer.close()
        finally:
            if task is not None:
                self._tasks.discard(task)

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                await self._open.wait()
                sink.write(data)
                await sink.drain()
        finally:
            sink.close()


async def a_wall(path: str) -> Wall:
    """A wall in front of the Redis at this unix socket, open: a network namespace where that can be, else a proxy."""
    if os.geteuid() == 0 and all(map(shutil.which, _TOOLS)):
        namespace = Namespace(path)
        try:
            await namespace.start()
            await namespace.shut()  # whether this kernel can
            await namespace.open()
        except RuntimeError:
            await namespace.close()
        else:
            return namespace
    gate = Gate(path)
    await gate.start()
    return gate


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[:6])}: {said.decode(errors='replace').strip()}")
