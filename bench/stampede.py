"""Thousands of clients that lose their sockets at once and come back as fast as the protocol lets them: ``python -m bench.stampede``.

Twice: all their sockets are cut (a router fails), and the hub is killed and started again. Every client does as the SDK does (``bench/crowd.py``).
Meanwhile some pairs of devices, which are not cut, go on calling each other. Each client has an address of its own, as on the internet.
"""

import argparse
import asyncio
import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from bench.crowd import Orders, Seen
from bench.fleet import Fleet, fleet
from bench.load import Device, address_of
from bench.processes import cpu_seconds, end_on_signals, report, say
from bench.service import Account, seed
from bench.signaling import Pair
from signaling.contacts.store import ContactStore

_PROCESSES: Final = 2
"""Processes of clients."""
_PACE: Final = 1_000.0
"""Clients that connect in a second, before there is any stampede."""
_LINE: Final = 16 * 1024 * 1024
"""Bytes of a report, at most."""
_LIVE: Final = 20
"""Pairs that go on calling."""
_PAUSE: Final = 0.5
"""Seconds between the calls of a pair."""
_LIMIT: Final = 300.0
"""Seconds after which the run has failed."""


class Crowd:
    """All clients, in processes of their own (``bench/crowd.py``): one that has the calls to make too would be late for both."""

    def __init__(self, accounts: list[Account], port: int) -> None:
        self.accounts, self._port = accounts, port
        self._processes: list[asyncio.subprocess.Process] = []

    async def start(self) -> None:
        """Begin to connect; ``home`` says when all are."""
        tokens = [account.token for account in self.accounts]
        share = -(-len(tokens) // _PROCESSES)
        for first in range(0, len(tokens), share):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bench.crowd", stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=_LINE
            )
            self._processes.append(process)
            orders = Orders(self._port, tokens[first : first + share], first, _PACE / _PROCESSES)
            self._write(process, msgspec.json.encode(orders))

    def say(self, word: bytes) -> None:
        """Begin a round."""
        for process in self._processes:
            self._write(process, word)

    async def home(self) -> Seen:
        """Wait until everyone has been back since the round began; what they met with."""
        seen = Seen(Counter(), Counter(), 0, [], [])
        for process in self._processes:
            assert process.stdout is not None
            line = await process.stdout.readline()
            if not line:
                raise RuntimeError("a process of clients ended")
            one = msgspec.json.decode(line, type=Seen)
            seen.errors, seen.codes = Counter(seen.errors) + Counter(one.errors), Counter(seen.codes) + Counter(one.codes)
            seen.waits += one.waits
            seen.hellos += one.hellos
            seen.returns += one.returns
        return seen

    async def stop(self) -> None:
        """End the processes."""
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _write(self, process: asyncio.subprocess.Process, line: bytes) -> None:
        assert process.stdin is not None
        process.stdin.write(line + b"\n")


class Callers:
    """Pairs that call each other now and then, all the time."""

    def __init__(self, couples: list[tuple[Account, Account]]) -> None:
        self._done: asyncio.Queue[Pair] = asyncio.Queue()
        self.errors: list[str] = []
        self.pairs = [Pair(one, other, self._done, self.errors) for one, other in couples]
        self._task: asyncio.Task[None] | None = None

    async def start(self, port: int) -> None:
        """Connect and begin."""
        loop = asyncio.get_running_loop()
        for number, pair in enumerate(self.pairs):
            for side, account in enumerate(pair.accounts):
                _, device = await loop.create_connection(
                    lambda account=account, pair=pair: Device("127.0.0.1", port, account.token, pair.heard), "127.0.0.1", port,  # type: ignore[misc]
                    local_addr=(address_of(50_000 + 2 * number + side), 0),
                )  # fmt: skip
                await device.ready
                pair.devices.append(device)
            pair.start(1, float("inf"), 0)
        self._task = loop.create_task(self._go_on())

    async def _go_on(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.errors:
            pair = await self._done.get()
            loop.call_later(_PAUSE, pair.start, 1, float("inf"), 0)

    def take(self) -> list[float]:
        """Seconds from invite to both sides up, of the calls since the last look."""
        taken = sorted(latency for pair in self.pairs for latency in pair.latencies)
        for pair in self.pairs:
            pair.latencies.clear()
        return taken

    async def stop(self) -> None:
        """End it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for pair in self.pairs:
            for device in pair.devices:
                if device.transport is not None:
                    device.transport.close()


def at(values: list[float], share: float) -> float | None:
    """The value that ``share`` of them do not exceed, in milliseconds."""
    ranked = sorted(values)
    return round(1000 * ranked[min(len(ranked) - 1, int(share * len(ranked)))], 1) if ranked else None


async def stampede(ships: Fleet, crowd: Crowd, callers: Callers | None, *, kill: bool) -> dict[str, Any]:
    """Cut everyone off at once; what it takes until all are back."""
    calm = callers.take() if callers is not None else []
    valkeys = [store.process.pid for store in (ships.valkey, ships.book) if store.process is not None]
    began = time.perf_counter()
    if kill:
        crowd.say(b"begin")
        ships.signal_hub(0, signal.SIGKILL)
        ships.hubs[0].wait()
        await asyncio.to_thread(ships.start_hub, 0)
        used = cpu_seconds([ships.hubs[0].pid])  # what the start takes does not count
    else:
        used = cpu_seconds([ships.hubs[0].pid])
        crowd.say(b"cut")
    stored = cpu_seconds(valkeys)
    up = time.perf_counter()
    async with asyncio.timeout(_LIMIT):
        seen = await crowd.home()
    used, stored = cpu_seconds([ships.hubs[0].pid]) - used, cpu_seconds(valkeys) - stored
    busy = callers.take() if callers is not None else []
    count = len(crowd.accounts)
    result = {
        "clients": count,
        "seconds": round(time.perf_counter() - began, 2),
        "seconds_since_the_hub_listens": round(time.perf_counter() - up, 2),
        "told_to_wait": seen.waits,
        "errors": dict(seen.errors),
        "codes": dict(seen.codes),
        "hello_p50_ms": at(seen.hellos, 0.5),
        "hello_p99_ms": at(seen.hellos, 0.99),
        "back_p50_s": round(sorted(seen.returns)[count // 2], 2),
        "back_p99_s": round(sorted(seen.returns)[count * 99 // 100], 2),
        "hub_cpu_ms_per_hello": round(1000 * used / count, 3),
        "valkey_cpu_ms_per_hello": round(1000 * stored / count, 3),
    }
    if callers is not None:
        result["calls"] = {
            "before": {"calls": len(calm), "p50_ms": at(calm, 0.5), "p99_ms": at(calm, 0.99)},
            "meanwhile": {"calls": len(busy), "p50_ms": at(busy, 0.5), "p99_ms": at(busy, 0.99)},
        }
    say(f"{'killed' if kill else 'cut'}: {result}")
    return result


async def run(folder: Path, clients: int, *, quiet: float = 5.0) -> dict[str, Any]:
    """Both stampedes, on one hub."""
    say(f"seeding {clients + 2 * _LIVE} accounts")
    people = await seed(folder / "data", clients + 2 * _LIVE)
    couples = list(zip(people[clients::2], people[clients + 1 :: 2], strict=True))
    cores = os.sched_getaffinity(0)
    async with fleet(folder, 0) as ships:
        # the hub has a core of its own, as the load, Valkey and the key-holder have
        os.sched_setaffinity(0, {min(cores)})
        await asyncio.to_thread(ships.start_hub, 0)
        os.sched_setaffinity(0, {max(cores)})
        redis = Redis.from_url(ships.book.url)
        store = ContactStore(redis)
        for one, other in couples:
            await store.change(one.id, {other.discovery: "x"}, [], reset=False, limit=100)
            await store.change(other.id, {one.discovery: "x"}, [], reset=False, limit=100)
        await redis.aclose()
        crowd, callers = Crowd(people[:clients], ships.ports[0]), Callers(couples)
        try:
            await crowd.start()
            async with asyncio.timeout(_LIMIT):
                await crowd.home()
            say(f"{clients} clients are connected")
            await callers.start(ships.ports[0])
            await asyncio.sleep(quiet)
            cut = await stampede(ships, crowd, callers, kill=False)
            await callers.stop()
            killed = await stampede(ships, crowd, None, kill=True)
            if callers.errors:
                raise RuntimeError(f"calls failed meanwhile: {callers.errors}")
            return {"cut": cut, "killed": killed}
        finally:
            await crowd.stop()
            os.sched_setaffinity(0, cores)
            for line in ships.log(0).splitlines():
                if "listening" not in line:
                    say(f"  hub: {line}")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Clients that all come back at once.")
    parser.add_argument("--clients", type=int, default=10_000, help="how many (default: %(default)s)")
    options = parser.parse_args()
    end_on_signals()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * options.clients + 500
    if soft < wanted:
        if hard < options.clients + 500:
            say(f"bench.stampede: {options.clients} clients need `ulimit -n {options.clients + 500}`, and {hard} is the most")
            return 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, wanted), hard))
    folder = Path(tempfile.mkdtemp(prefix="kloudtalk-stampede-"))
    try:
        results = asyncio.run(run(folder, options.clients))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    failures = sum(sum(one["errors"].values()) for one in (results["cut"],))
    report(
        {
            "metric": "stampede_until_all_are_back", "ours": results["cut"]["seconds"], "peer": None, "ratio": None, "unit": "s",
            "errors": failures, **results,
        }
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
