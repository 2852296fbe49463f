"""Hours of work in minutes, and what is left of it: ``python -m bench.soak --minutes 10``.

People connect, call, decline, give up, ask for relay legs that nobody uses, and leave, again and again, some without a word. Meanwhile the
memory, file descriptors, tasks, sockets and keys of the service are read. At the end everyone has left, and each must be back where it was
after the warm-up; slopes say what grew in the second half of the work. There is no peer: what leaks, leaks.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from redis.asyncio import Redis

from bench.load import Device, Head, connect
from bench.processes import end_on_signals, family, free_port, report, rss_bytes, say
from bench.service import Account, Service, acquaint, seed, serving
from signaling.wire import base64url

_PAYLOAD: Final = base64url.encode(secrets.token_bytes(900)).encode()
_PATIENCE: Final = 20.0
"""Seconds within which the hub must answer."""
_SETTLE: Final = 120.0
"""Seconds that what is left may take to go: legs that nobody came to expire, leases run out."""
_KEPT: Final = 3600
"""Seconds: keys that live longer are records with a lifetime of their own (docs/data.md), not what a call needs."""
_GROWTH: Final = 1.25
"""By how much memory may be above the baseline at the end: allocators keep pages, and Python looks for cycles only now and then. The slope of the
second half says whether it would have gone on.
"""
_POOL: Final = 10
"""Ports and tasks by which a process may be above the baseline: connections of HTTP that are kept for the next request."""
_STORES: Final = 64
"""The same for connections to stores: they are made when many commands wait at once, kept, and so many at most (``storage/redis.py``)."""


@dataclass
class Totals:
    """What has been done."""

    done: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)


class Person:
    """One device that comes and goes."""

    def __init__(self, account: Account, source: int) -> None:
        self.account, self._source = account, source
        self.device: Device | None = None
        self._inbox: asyncio.Queue[Head] = asyncio.Queue()

    async def join(self, service: Service) -> None:
        """Connect."""
        self._inbox = asyncio.Queue()
        async with asyncio.timeout(_PATIENCE):
            self.device = await connect(service.host, service.port, self.account.token, self._heard, self._source)

    def _heard(self, _device: Device, message: Head) -> None:
        self._inbox.put_nowait(message)

    async def leave(self, *, rudely: bool) -> None:
        """Go, by closing the socket or by cutting it."""
        device, self.device = self.device, None
        if device is None or device.transport is None:
            return
        if rudely:
            device.transport.abort()
        else:
            device.transport.close()
        await device.ended.wait()

    def ask(self, kind: bytes, call: bytes, more: bytes = b"") -> None:
        """Send a request about a call."""
        assert self.device is not None
        self.device.request(kind, call, more)

    async def until(self, kind: str, call: bytes) -> Head:
        """The next message of a kind about a call. Raises ``RuntimeError`` on a refusal, ``TimeoutError``."""
        async with asyncio.timeout(_PATIENCE):
            while True:
                message = await self._inbox.get()
                if message.type == "error":
                    raise RuntimeError(message.code)
                if message.type == kind and message.call.encode() == call:
                    return message


class Couple:
    """Two people who know each other."""

    def __init__(self, one: Person, other: Person, service: Service, http: aiohttp.ClientSession, totals: Totals) -> None:
        self._people, self._service, self._http, self._totals = (one, other), service, http, totals
        self._rng = random.Random()
        self._left: bytes | None = None
        """A call that both walked off from."""

    async def live(self, until: float) -> None:
        """Come, call and go until the time is over."""
        self._left = None
        while time.monotonic() < until:
            try:
                for person in self._people:
                    await person.join(self._service)
                await self._end_what_was_left()
                for _ in range(self._rng.randint(2, 6)):
                    await self._rng.choice((self._talk, self._talk, self._talk, self._decline, self._give_up, self._with_relay))()
                if self._rng.random() < 0.2:
                    await self._walk_off()
            except (RuntimeError, TimeoutError, ConnectionError) as error:
                self._totals.errors[str(error) or type(error).__name__] += 1
            finally:
                for person in self._people:
                    await person.leave(rudely=self._rng.random() < 0.5)
            self._totals.done["visits"] += 1

    async def _invite(self) -> tuple[Person, Person, bytes]:
        caller, callee = self._rng.sample(self._people, 2)
        call = base64url.encode(secrets.token_bytes(16)).encode()
        to, device = callee.account.id.encode(), callee.account.device.encode()
        caller.ask(b"invite", call, b',"to":"%s","payloads":{"%s":"%s"}' % (to, device, _PAYLOAD))
        await callee.until("call.incoming", call)
        callee.ask(b"ringing", call)
        return caller, callee, call

    async def up(self) -> tuple[Person, Person, bytes]:
        """A call in which media flow; caller, callee and its id. Raises ``RuntimeError`` on a refusal, ``TimeoutError``."""
        caller, callee, call = await self._invite()
        callee.ask(b"accept", call, b',"payload":"%s"' % _PAYLOAD)
        await caller.until("call.answered", call)
        for person in (caller, callee):
            person.ask(b"connected", call)
        for person in (caller, callee):
            await person.until("call.up", call)
        return caller, callee, call

    async def _talk(self) -> None:
        caller, callee, call = await self.up()
        self._rng.choice((caller, callee)).ask(b"hangup", call)
        await self._both_end(caller, callee, call, "talked")

    async def _decline(self) -> None:
        caller, callee, call = await self._invite()
        callee.ask(b"decline", call)
        await self._both_end(caller, callee, call, "declined")

    async def _give_up(self) -> None:
        caller, callee, call = await self._invite()
        caller.ask(b"hangup", call)
        await self._both_end(caller, callee, call, "given up")

    async def _with_relay(self) -> None:
        caller, callee, call = await self.up()
        for person in (caller, callee):
            async with self._http.post(
                f"{self._service.url}/v1/calls/{call.decode()}/relay",
                json={"ufrag": secrets.token_hex(4), "pwd": secrets.token_hex(16)},
                headers={"Authorization": f"Bearer {person.account.token}"},
            ) as answer:
                if answer.status == 503:
                    self._totals.done["told that the relay is full"] += 1  # calls that end at once are gone from it a moment later
                elif answer.status != 200:
                    self._totals.errors[f"relay {answer.status}"] += 1
        if self._rng.random() < 0.5:
            caller.ask(b"hangup", call)
            await self._both_end(caller, callee, call, "with a relay")
        else:
            caller.ask(b"failed", call)
            await self._both_end(caller, callee, call, "failed at a relay")

    async def _walk_off(self) -> None:
        """Both are gone in the middle of a call, and nobody hangs up: until they are back, or for good."""
        _, _, self._left = await self.up()
        self._totals.done["walked off"] += 1

    async def _end_what_was_left(self) -> None:
        call, self._left = self._left, None
        if call is not None:
            one, other = self._people
            one.ask(b"hangup", call)
            await self._both_end(one, other, call, "ended when back")

    async def _both_end(self, caller: Person, callee: Person, call: bytes, how: str) -> None:
        for person in (caller, callee):
            await person.until("call.ended", call)
        self._totals.done[how] += 1


class Gauges:
    """Reads what must not grow."""

    def __init__(self, service: Service, folder: Path, metrics_port: int) -> None:
        self._service, self._metrics_port = service, metrics_port
        commands = {pid: Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") for pid in family(service.supervisor)}
        self._pids = {
            role: pid for role in ("hub", "relay", "keyholder") for pid, text in commands.items() if f"signaling {role}" in text
        }
        self._stores = {name: Redis.from_url(f"unix://{(folder / name / 's').absolute()}") for name in ("valkey", "address-book")}

    async def close(self) -> None:
        """Close the connections to the stores."""
        for store in self._stores.values():
            await store.aclose()

    async def read(self, http: aiohttp.ClientSession) -> dict[str, float]:
        """All of them, by name. Memory in megabytes (1,000,000 bytes)."""
        found: dict[str, float] = {}
        for place, role in enumerate(("keyholder", "relay", "hub")):
            pid = self._pids[role]
            descriptors = _descriptors(pid)
            found[f"{role} memory MB"] = rss_bytes(pid) / 1e6
            sockets = {text for text in descriptors if text.startswith("socket:")}
            ports = sockets & _network_sockets(pid)
            found[f"{role} ports"] = len(ports)
            found[f"{role} connections to stores"] = len(sockets - ports)
            found[f"{role} other descriptors"] = len(descriptors) - len(sockets)
            found[f"{role} threads"] = len(list(Path(f"/proc/{pid}/task").iterdir()))
            async with http.get(f"http://127.0.0.1:{self._metrics_port + place}/metrics") as answer:
                for line in (await answer.text()).splitlines():
                    name, _, value = line.rpartition(" ")
                    if name.startswith(
                        ("kloudtalk_event_loop_tasks", "kloudtalk_relay_calls", "kloudtalk_calls{", "kloudtalk_devices_connected")
                    ):
                        found[f"{role} {name.removeprefix('kloudtalk_')}"] = float(value)
        for name, store in self._stores.items():
            lasting = 0
            keys = [key async for key in store.scan_iter(count=1000)]
            pipe = store.pipeline(transaction=False)
            for key in keys:
                pipe.ttl(key)
            lasting = sum(left > _KEPT for left in await pipe.execute()) if keys else 0
            found[f"{name} keys"] = len(keys) - lasting
            found[f"{name} records"] = lasting
            found[f"{name} memory MB"] = (await store.info("memory"))["used_memory"] / 1e6
        return found


def _descriptors(pid: int) -> list[str]:
    """What a process has open, of what is still open when it is looked at."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.append(os.readlink(entry))
    return found


def _network_sockets(pid: int) -> set[str]:
    """Sockets of TCP and UDP in a process's network, as its descriptors name them. What else there is are the stores' Unix sockets, mostly."""
    found = set()
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        with contextlib.suppress(FileNotFoundError):  # a machine without IPv6
            lines = Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]
            found |= {f"socket:[{line.split()[9]}]" for line in lines}
    return found


def slope(points: list[tuple[float, float]]) -> float:
    """Least squares: growth per second of ``(seconds, value)``."""
    if len(points) < 2:
        return 0.0
    middle = sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)
    spread = sum((x - middle[0]) ** 2 for x, _ in points)
    return sum((x - middle[0]) * (y - middle[1]) for x, y in points) / spread if spread else 0.0


def too_much(name: str, baseline: float, end: float) -> bool:
    """Whether a gauge did not come back (pure). Records have lifetimes of their own; threads of pools start when they are needed."""
    if name.endswith("memory MB"):
        return name.startswith(("hub", "relay", "keyholder")) and end > baseline * _GROWTH
    if name.endswith(("records", "threads")):
        return False
    if name.endswith("connections to stores"):
        return end > baseline + _STORES
    return end > baseline + (_POOL if name.endswith(("descriptors", "ports")) or "tasks" in name else 0)


def _grown(name: str, samples: list[tuple[float, dict[str, float]]]) -> float:
    """By how much a gauge was higher at the end than at the beginning."""
    return samples[-1][1].get(name, 0.0) - samples[0][1].get(name, 0.0) if samples else 0.0


async def _settled(read: Callable[[], Awaitable[dict[str, float]]], baseline: dict[str, float] | None) -> dict[str, float]:
    """Wait until nothing is connected and, if there is a baseline, all is back at it; what is there then, or when patience is over."""
    deadline = time.monotonic() + _SETTLE
    while True:
        found = await read()
        busy = sum(
            value for name, value in found.items() if name.startswith(("hub calls{", "hub devices_connected", "relay relay_calls"))
        )
        back = baseline is None or not any(too_much(name, baseline.get(name, 0.0), value) for name, value in found.items())
        if (busy == 0 and back) or time.monotonic() > deadline:
            return found
        await asyncio.sleep(2.0)


async def soak(folder: Path, minutes: float, couples: int) -> dict[str, Any]:
    """The whole run; the report."""
    say(f"seeding {2 * couples} accounts")
    data = folder / "data"
    people = await seed(data, 2 * couples)
    pairs = [(people[2 * i], people[2 * i + 1]) for i in range(couples)]
    port = free_port()
    async with serving(data, env={"KLOUDTALK_METRICS_PORT": str(port), "KLOUDTALK_RELAY_PORTS": "0"}) as service:
        await acquaint(data, pairs)
        totals, samples = Totals(), list[tuple[float, dict[str, float]]]()
        gauges = Gauges(service, data, port)
        async with contextlib.AsyncExitStack() as stack:
            http = await stack.enter_async_context(aiohttp.ClientSession())
            stack.push_async_callback(gauges.close)
            numbers = itertools.count()
            lives = [
                Couple(Person(one, next(numbers)), Person(other, next(numbers)), service, http, totals) for one, other in pairs
            ]
            warm = max(20.0, minutes * 60 * 0.25)
            say(f"warming up for {warm:.0f} s")
            await asyncio.gather(*(couple.live(time.monotonic() + warm) for couple in lives))
            baseline = await _settled(lambda: gauges.read(http), None)
            say(f"errors while warming up: {dict(totals.errors)}")
            say(f"baseline: the hub has {baseline['hub memory MB']:.1f} MB, {baseline['hub ports']:.0f} ports")
            begin = time.monotonic()
            work = asyncio.gather(*(couple.live(begin + minutes * 60) for couple in lives))
            while not work.done():
                await asyncio.wait([work], timeout=max(2.0, minutes))
                samples.append((time.monotonic() - begin, await gauges.read(http)))
                say(
                    f"{samples[-1][0]:5.0f} s: {totals.done.total()} visits and calls, {totals.errors.total()} errors, "
                    f"hub {samples[-1][1]['hub memory MB']:.1f} MB, relay {samples[-1][1]['relay memory MB']:.1f} MB"
                )
            await work
            end = await _settled(lambda: gauges.read(http), baseline)
    steady = [sample for sample in samples if sample[0] > minutes * 30] or samples
    left = {name: [baseline.get(name, 0.0), end[name]] for name in end if too_much(name, baseline.get(name, 0.0), end[name])}
    return {
        "metric": "what did not return to its baseline after a soak",
        "ours": len(left),
        "peer": None,
        "ratio": None,
        "unit": "gauges",
        "minutes": minutes,
        "done": dict(totals.done),
        "errors": dict(totals.errors),
        "left": left,
        "gauges": {
            name: {
                "baseline": round(baseline.get(name, 0.0), 2),
                "end": round(end[name], 2),
                # memory that levels off grows less in the second half than in the first
                "grown": [round(_grown(name, part), 2) for part in (samples[: len(samples) // 2], samples[len(samples) // 2 :])],
                "slope_per_hour": round(slope([(at, found.get(name, 0.0)) for at, found in steady]) * 3600, 2),
            }
            for name in sorted(end)
        },
    }


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description="Steady calls, joins and leaves; then all must be back at the baseline.")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the steady part lasts (default: %(default)s)")
    parser.add_argument(
        "--couples", type=int, default=30, help="pairs that call each other at the same time (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, help="also write the report there, indented")
    options = parser.parse_args()
    end_on_signals()
    folder = Path(tempfile.mkdtemp(prefix="kloudtalk-soak-"))
    try:
        result = asyncio.run(soak(folder, options.minutes, options.couples))
    except (RuntimeError, OSError, KeyboardInterrupt) as error:
        say(f"bench.soak: {str(error) or type(error).__name__}")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name, gauge in result["gauges"].items():
        mark = "  LEFT" if name in result["left"] else ""
        halves = " ".join(f"{part:+}" for part in gauge["grown"]) if name.endswith("memory MB") else ""
        say(f"  {name:<55} {gauge['baseline']:>9} -> {gauge['end']:>9}   {gauge['slope_per_hour']:>+10}/h  {halves}{mark}")
    if options.output:
        options.output.write_text(json.dumps(result, indent=2))
    report(result)
    return 1 if result["left"] or result["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
