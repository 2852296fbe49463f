"""Debian's redis-server in the two forms that grow: a cluster of three masters, and a master with a replica under three Sentinels."""

import asyncio
import contextlib
import random
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError


def free_port(*, below: int = 50_000) -> int:
    """A free port of 127.0.0.1; a cluster's nodes take the port 10,000 above theirs, too."""
    while True:
        with socket.socket() as probe, socket.socket() as other:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            if port < below:
                with contextlib.suppress(OSError):
                    other.bind(("127.0.0.1", port + 10_000))
                    return port


def quiet_port(count: int = 1) -> int:
    """The first of so many free ports below those that the system gives to clients: who connects to one of those before anybody listens there
    may get a connection to itself.
    """
    while True:
        first = random.randrange(20_000, 32_000)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first


def start(
    folder: Path, port: int, *options: str, command: str = "redis-server", config: str | None = None
) -> subprocess.Popen[bytes]:
    """One server, in a folder of its own."""
    binary = shutil.which(command)
    if binary is None:
        pytest.skip(f"{command} is not installed (scripts/test installs it)")
    folder.mkdir()
    arguments = [binary]
    if config is not None:
        (folder / "conf").write_text(config)
        arguments.append(str(folder / "conf"))
    arguments += ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), *options]
    return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def until(condition: Callable, timeout: float = 30.0) -> None:
    """Wait until an awaited condition is true, whatever it raises until then."""
    async with asyncio.timeout(timeout):
        while True:
            with contextlib.suppress(RedisError, OSError):
                if await condition():
                    return
            await asyncio.sleep(0.1)


@contextlib.contextmanager
def ended(processes: list[subprocess.Popen[bytes]]):
    """End them all, by pid."""
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


@contextlib.asynccontextmanager
async def redis_cluster(folder: Path) -> AsyncIterator[str]:
    """Three masters that share the slots; the URL."""
    ports = [free_port() for _ in range(3)]
    processes = [
        start(
            folder / f"node{port}",
            port,
            "--cluster-enabled",
            "yes",
            "--save",
            "",
            "--appendonly",
            "no",
            "--cluster-node-timeout",
            "20000",  # nobody dies here: a node that got no processor for a while shall not count as dead
        )
        for port in ports
    ]
    with ended(processes):
        clients = [Redis(port=port) for port in ports]
        try:
            for client in clients:
                await until(client.ping)
            step = 16_384 // 3 + 1
            for number, client in enumerate(clients):
                await client.execute_command("CLUSTER", "ADDSLOTSRANGE", number * step, min(16_383, (number + 1) * step - 1))
                await client.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0])

            async def whole() -> bool:
                infos = [await client.execute_command("CLUSTER", "INFO") for client in clients]
                return all(b"cluster_state:ok" in info and b"cluster_known_nodes:3" in info for info in infos)

            await until(whole)
            yield "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports)
        finally:
            for client in clients:
                await client.aclose()


@contextlib.asynccontextmanager
async def redis_sentinel(folder: Path) -> AsyncIterator[tuple[str, subprocess.Popen[bytes]]]:
    """A master and a replica under three Sentinels: the URL, and the master's process."""
    master, replica = free_port(), free_port()
    processes = [
        start(folder / "master", master, "--save", "", "--appendonly", "no"),
        start(folder / "replica", replica, "--save", "", "--appendonly", "no", "--replicaof", "127.0.0.1", str(master)),
    ]
    sentinels = [free_port() for _ in range(3)]
    config = f"sentinel monitor hubs 127.0.0.1 {master} 2\nsentinel down-after-milliseconds hubs 1500\nsentinel failover-timeout hubs 5000\n"
    with ended(processes):
        client = Redis(port=replica)

        async def replicates() -> bool:
            return (await client.info("replication"))["master_link_status"] == "up"

        try:
            await until(replicates)
            processes += [start(folder / f"sentinel{port}", port, "--sentinel", config=config) for port in sentinels]

            async def watched() -> bool:
                watcher = Redis(port=sentinels[0])
                try:
                    state = await watcher.execute_command("SENTINEL", "MASTER", "hubs")
                finally:
                    await watcher.aclose()
                state = state if isinstance(state, dict) else dict(zip(state[::2], state[1::2], strict=True))
                values = {_text(key): _text(value) for key, value in state.items()}
                return values["num-other-sentinels"] == "2" and values["num-slaves"] == "1"

            await until(watched)
            yield "redis+sentinel://" + ",".join(f"127.0.0.1:{port}" for port in sentinels) + "/hubs", processes[0]
        finally:
            await client.aclose()


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
