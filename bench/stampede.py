"""Thousands of clients that lose their sockets at once and come back as fast as the protocol lets them: ``python -m bench.stampede``.

Twice: all their sockets are cut (a router fails), and the hub is killed and started again. Every client does as the SDK does: it opens again
after a back-off with jitter, gives an attempt 8 s, and waits for as long as it is told to. Meanwhile some pairs of devices, which are not cut, go on
calling each other. Each client has an address of its own, as on the internet.
"""

import argparse
import asyncio
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

from bench.fleet import Fleet, fleet
from bench.load import Device, Head, address_of
from bench.processes import cpu_seconds, end_on_signals, report, say
from bench.service import Account, seed
from bench.signaling import Pair
from signaling.contacts.store import ContactStore

_PATIENCE: Final = 8.0
"""Seconds from opening to ``sync``, then the SDK begins anew (``web/sdk/src/socket.ts``)."""
_LIVE: Final = 20
"""Pairs that go on calling."""
_PAUSE: Final = 0.5
"""Seconds between the calls of a pair."""
_LIMIT: Final = 300.0
"""Seconds after which the run has failed."""


def backoff(attempt: int, rng: random.Random) -> float:
    """Seconds before the ``attempt``-th try (from 0), as the SDK's."""
    return min(15.0, 0.25 * 2.0 ** min(attempt, 10)) * (0.5 + rng.random() / 2)


class Client:
    """One device that stays connected."""

    def __init__(self, account: Account, number: int, crowd: "Crowd") -> None:
        self.account, self._number, self._crowd = account, number, crowd
        self.online = False
        self._device: Device | None = None
        self._ended = asyncio.Event()
        self._told = 0.0

    def heard(self, _device: Device, message: Head) -> None:
        """What the hub says of this client's attempt."""
        if message.type == "error":
            self._told = message.retry_after
            self._crowd.said[message.code] += 1

    def cut(self) -> None:
        """Lose the socket at once."""
        if self._device is not None and self._device.transport is not None:
            self._device.transport.abort()

    async def live(self) -> None:
        """Connect, wait for the end of it, connect again."""
        crowd, loop, attempt = self._crowd, asyncio.get_running_loop(), 0
        while True:
            began, self._told, self._device = time.perf_counter(), 0.0, None
            try:
                async with asyncio.timeout(_PATIENCE):
                    port = crowd.ports[0]
                    _, self._device = await loop.create_connection(
                        lambda port=port: Device("127.0.0.1", port, self.account.token, self.heard),
                        "127.0.0.1", port, local_addr=(address_of(self._number), 0),
                    )  # fmt: skip
                    await self._device.ready
            except TimeoutError:
                crowd.failures["no sync in time"] += 1
                self.cut()
            except ConnectionRefusedError:
                crowd.failures["no hub listens"] += 1
            except OSError as error:
                if self._told:
                    crowd.waits += 1
                else:
                    crowd.failures[str(error)[:40]] += 1
            else:
                crowd.back(time.perf_counter() - began)
                attempt, self.online = 0, True
                await self._device.ended.wait()
                self.online = False
                crowd.gone()
            await asyncio.sleep(max(backoff(attempt, crowd.rng), self._told))
            attempt += 1


class Crowd:
    """All clients and what they met with."""

    def __init__(self, accounts: list[Account], ports: dict[int, int]) -> None:
        self.rng = random.Random(20261125)
        self.ports = ports
        self.clients = [Client(account, number, self) for number, account in enumerate(accounts)]
        self.online = 0
        self.everyone = asyncio.Event()
        self.clear()

    def clear(self) -> None:
        """Forget what was counted."""
        self.failures: Counter[str] = Counter()
        self.said: Counter[str] = Counter()
        self.hellos: list[float] = []
        self.returns: list[float] = []
        self.waits = 0
        self.began = time.perf_counter()

    def back(self, seconds: float) -> None:
        """A client is connected; it took so long from opening to ``sync``."""
        self.hellos.append(seconds)
        self.returns.append(time.perf_counter() - self.began)
        self.online += 1
        if self.online == len(self.clients):
            self.everyone.set()

    def gone(self) -> None:
        """A client lost its socket."""
        self.online -= 1
        self.everyone.clear()


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
    crowd.clear()
    crowd.everyone.clear()
    if kill:
        ships.signal_hub(0, signal.SIGKILL)
        ships.hubs[0].wait()
        await asyncio.to_thread(ships.start_hub, 0)
        used = cpu_seconds([ships.hubs[0].pid])  # what the start takes does not count
    else:
        used = cpu_seconds([ships.hubs[0].pid])
        for client in crowd.clients:
            client.cut()
    stored = cpu_seconds(valkeys)
    up = time.perf_counter()
    async with asyncio.timeout(_LIMIT):
        await crowd.everyone.wait()
    used, stored = cpu_seconds([ships.hubs[0].pid]) - used, cpu_seconds(valkeys) - stored
    busy = callers.take() if callers is not None else []
    count = len(crowd.clients)
    result = {
        "clients": count,
        "seconds": round(time.perf_counter() - crowd.began, 2),
        "seconds_since_the_hub_listens": round(time.perf_counter() - up, 2),
        "told_to_wait": crowd.waits,
        "errors": dict(crowd.failures),
        "codes": dict(crowd.said),
        "hello_p50_ms": at(crowd.hellos, 0.5),
        "hello_p99_ms": at(crowd.hellos, 0.99),
        "back_p50_s": round(sorted(crowd.returns)[count // 2], 2),
        "back_p99_s": round(sorted(crowd.returns)[count * 99 // 100], 2),
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
        crowd, callers = Crowd(people[:clients], ships.ports), Callers(couples)
        tasks: list[asyncio.Task[None]] = []
        try:
            for number, client in enumerate(crowd.clients):
                tasks.append(asyncio.get_running_loop().create_task(client.live()))
                if number % 50 == 49:
                    await asyncio.sleep(0.05)
            async with asyncio.timeout(_LIMIT):
                await crowd.everyone.wait()
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
            for task in tasks:
                task.cancel()
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
