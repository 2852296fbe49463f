"""What a call set-up costs the hub, beside Kamailio in the same run: ``python -m bench.signaling``; with ``--peer nextcloud``, beside Debian's
nextcloud-spreed-signaling, which relays the same frames.

Everything is on: sessions, rate limits, policy (blocks, who may call, both address books), call state committed to Valkey before anyone
is told, history written to SQLite. A call is invite, ringing, accept, connected on both sides and hang-up, with an answer to each of these
6 requests and 7 events to the two devices. ``docs/benchmarks.md`` says what is measured and what is not.
"""

import argparse
import asyncio
import json
import math
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.kamailio import measure as measure_kamailio
from bench.load import Device, Head, connect
from bench.nextcloud import measure as measure_nextcloud
from bench.processes import cpu_seconds, end_on_signals, report, say
from bench.service import Account, Service, acquaint, another_hub, seed, serving
from signaling.wire import base64url

OFFER: Final = base64url.encode(secrets.token_bytes(1_400)).encode()
"""A sealed offer or answer as a browser's: 1.9 kB on the wire for some 1.3 kB of SDP, padded and sealed."""
CANDIDATES: Final = base64url.encode(secrets.token_bytes(624)).encode()
"""A sealed batch of candidates: 0.8 kB on the wire."""
GOAL_MS: Final = 0.16
"""The goal of the design, section 7."""
ACROSS: Final = 1.5
"""What a call across hubs may cost at most, in calls on one hub: all hubs together."""
BATCHES: Final = 2
"""Batches of candidates from each side, where there are any."""
FEW: Final = 20
"""Pairs that call at the same time when the hub has little to do and few requests share a transaction."""


class Pair:
    """Two devices that call each other again and again; the caller changes after each call."""

    def __init__(self, one: Account, other: Account, done: "asyncio.Queue[Pair]", errors: list[str]) -> None:
        self.accounts = (one, other)
        self.devices: list[Device] = []
        self.errors = errors
        self.latencies: list[float] = []
        self._left = 0
        self._until = math.inf
        self._batches = 0
        self._ups = 0
        self._ends = 0
        self._caller = 0
        self._call = b""
        self._started = 0.0
        self._done = done

    def start(self, calls: int, until: float, batches: int) -> None:
        """Run ``calls`` calls, one after the other, none begun later than ``until`` (``time.perf_counter``); each device sends
        ``batches`` batches of candidates in each.
        """
        self._left, self._until, self._batches = calls, until, batches
        self._next()

    def _next(self) -> None:
        self._started = time.perf_counter()
        if self._left == 0 or self._started >= self._until:
            self._call = b""
            self._done.put_nowait(self)
            return
        self._left -= 1
        self._ups = self._ends = 0
        self._caller = 1 - self._caller
        self._call = base64url.encode(secrets.token_bytes(16)).encode()
        callee = self.accounts[1 - self._caller]
        more = b',"to":"%s","payloads":{"%s":"%s"}' % (callee.id.encode(), callee.device.encode(), OFFER)
        self.devices[self._caller].request(b"invite", self._call, more)

    def heard(self, _device: Device, message: Head) -> None:
        """The protocol of one call, on both sides."""
        if message.type == "error":
            self.errors.append(message.code)
            self._done.put_nowait(self)  # so that the run ends at once
            return
        if not message.call or message.call.encode() != self._call:
            return
        caller, callee = self.devices[self._caller], self.devices[1 - self._caller]
        match message.type:
            case "call.incoming":
                callee.request(b"ringing", self._call)
                callee.request(b"accept", self._call, b',"payload":"%s"' % OFFER)
                self._candidates(callee, self.accounts[self._caller])
            case "call.answered":
                self._candidates(caller, self.accounts[1 - self._caller])
                caller.request(b"connected", self._call)
                callee.request(b"connected", self._call)
            case "call.up":
                self._ups += 1
                if self._ups == 2:
                    self.latencies.append(time.perf_counter() - self._started)
                    caller.request(b"hangup", self._call)
            case "call.ended":
                self._ends += 1
                if self._ends == 2:
                    self._next()

    def _candidates(self, device: Device, to: Account) -> None:
        for _ in range(self._batches):
            device.request(b"signal", self._call, b',"to":"%s","payload":"%s"' % (to.device.encode(), CANDIDATES))


@dataclass(frozen=True, slots=True)
class Bench:
    """Connected pairs and the service that they call on."""

    service: Service
    hubs: list[int]
    """Pids."""
    pairs: list[Pair]
    done: "asyncio.Queue[Pair]"
    errors: list[str]

    async def run(
        self, name: str, *, each: int | None = None, seconds: float = math.inf, batches: int = 0, at_once: int | None = None
    ) -> dict[str, Any]:
        """Calls by all pairs: ``each`` per pair, or for ``seconds``; all at the same time, or taking turns so that ``at_once`` call.

        Raises:
            RuntimeError: the hub refused a request, closed a socket or stood still.
        """
        service = self.service
        for pair in self.pairs:
            pair.latencies.clear()
        before, stores, begin = cpu_seconds(self.hubs), cpu_seconds(service.valkeys), time.perf_counter()
        until = begin + seconds
        if at_once is None:
            left = len(self.pairs)
            for pair in self.pairs:
                pair.start(-1 if each is None else each, until, batches)
        else:
            left = at_once if each is None else each * len(self.pairs)
            waiting = deque(self.pairs)
            for _ in range(at_once):
                waiting.popleft().start(1, until, batches)
        while left:
            try:
                async with asyncio.timeout(60 if math.isinf(seconds) else seconds + 60):
                    pair = await self.done.get()
            except TimeoutError:
                raise RuntimeError("calls do not end: the hub stands still, or lost a socket") from None
            if self.errors:
                raise RuntimeError(f"the hub refused a request: {self.errors}")
            if at_once is not None:
                waiting.append(pair)
                if time.perf_counter() < until if each is None else left > at_once:
                    waiting.popleft().start(1, until, batches)
                    left -= each is not None
                    continue
            left -= 1
        elapsed = time.perf_counter() - begin
        used, stored = cpu_seconds(self.hubs) - before, cpu_seconds(service.valkeys) - stores
        latencies = sorted(latency for pair in self.pairs for latency in pair.latencies)
        total = len(latencies)
        result = {
            "cpu_ms": round(used / total * 1000, 4),
            "valkey_cpu_ms": round(stored / total * 1000, 4),
            "setups_per_core_s": round(total / used),
            "setups_s_reached": round(total / elapsed),
            "p50_ms": round(latencies[total // 2] * 1000, 1),
            "p95_ms": round(latencies[total * 95 // 100] * 1000, 1),
            "calls": total,
            "at_once": len(self.pairs) if at_once is None else at_once,
            "seconds": round(elapsed, 2),
            "cpu_s": round(used, 2),
        }
        say(
            f"kloudtalk: {name}: {total} calls, {result['cpu_ms']} ms of CPU each at the hub, {result['valkey_cpu_ms']} ms at Valkey"
        )
        return result


async def measure_hub(
    folder: Path, *, calls: int, seconds: float | None, pairs: int, profile: Path | None, profile_first: bool
) -> dict[str, Any]:
    """CPU per set-up of the hub, in milliseconds: in the steady state, and in three harder ones.

    Raises:
        RuntimeError: the service did not start, or calls failed.
    """
    say(f"kloudtalk: seeding {2 * pairs} accounts")
    data = folder / "data"
    people = await seed(data, 2 * pairs)
    couples = [(people[2 * i], people[2 * i + 1]) for i in range(pairs)]
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})  # ours and, as they inherit it, Valkey's and the key-holder's
    env: dict[str, str] = {}
    if profile is not None:
        path = [str(Path(__file__).parent / "profiler"), *filter(None, [os.environ.get("PYTHONPATH")])]
        env = {"BENCH_PROFILE": str(profile.absolute()), "PYTHONPATH": os.pathsep.join(path)}
    try:
        async with serving(data, cores={min(cores)}, env=env) as service:
            await acquaint(data, couples)
            done, errors = asyncio.Queue[Pair](), list[str]()
            bench = Bench(service, [service.hub], [Pair(one, other, done, errors) for one, other in couples], done, errors)
            for i, pair in enumerate(bench.pairs):
                for j, account in enumerate(pair.accounts):
                    pair.devices.append(await connect(service.host, service.port, account.token, pair.heard, 2 * i + j))

            def some(share: float) -> dict[str, Any]:
                """A share of what was asked for."""
                return {"seconds": seconds * share} if seconds is not None else {"each": max(1, round(calls * share / pairs))}

            if profile is not None and profile_first:
                os.kill(service.hub, signal.SIGUSR2)  # bench/profiler: from here on
            # each pair in each direction: the hub has to look up how they stand to each other
            first = await bench.run("first calls", each=2, at_once=min(FEW, pairs))
            if profile is not None and profile_first:
                return first
            await bench.run("warming up", each=2)
            if profile is not None:
                os.kill(service.hub, signal.SIGUSR2)
            result = await bench.run("steady", **some(1))
            if profile is None:
                result["first_calls"] = first
                result["with_candidates"] = await bench.run("with two batches of candidates a side", **some(0.5), batches=BATCHES)
                candidates = result["with_candidates"]["cpu_ms"] - result["cpu_ms"]
                result["cpu_us_per_batch_of_candidates"] = round(1000 * candidates / (2 * BATCHES), 1)
                few = min(FEW, pairs)
                result["few_at_once"] = await bench.run(f"{few} at once", **some(0.25), at_once=few)
                async with another_hub(data, cores={min(cores)}) as (port, pid):
                    bench.hubs.append(pid)
                    result["two_hubs"] = await two_hubs(bench, port, some(0.5))
                    bench.hubs.remove(pid)
            for pair in bench.pairs:
                for device in pair.devices:
                    if device.transport is not None:
                        device.transport.close()
    finally:
        os.sched_setaffinity(0, cores)
    return result


async def two_hubs(bench: Bench, port: int, some: dict[str, Any]) -> dict[str, Any]:
    """The same calls with a second hub beside: first with both devices of each pair on the first, then with one on each."""
    await bench.run("two hubs, both devices on one: warming up", each=2)
    same = await bench.run("two hubs, both devices on one", **some)
    for i, pair in enumerate(bench.pairs):
        before = pair.devices[1]
        pair.devices[1] = await connect(bench.service.host, port, pair.accounts[1].token, pair.heard, 2 * i + 1)
        await before.ended.wait()  # the first hub has let go of it
    await bench.run("two hubs, one device on each: warming up", each=2)
    across = await bench.run("two hubs, one device on each", **some)
    return {"same_hub": same, "across": across, "ratio": round(across["cpu_ms"] / same["cpu_ms"], 2), "goal": ACROSS}


def show_profile(profile: Path) -> None:
    """The top of a profile on stderr, in shares of the hub's CPU time."""
    taken = json.loads(profile.read_text())
    samples = max(1, taken["samples"])
    for title, key, rows in (("itself", "own", 30), ("with what it calls", "all", 60)):
        say(f"profile: {samples} samples; share of each function, {title}")
        for name, count in taken[key][:rows]:
            say(f"  {100 * count / samples:5.1f} %  {name}")


def main() -> int:
    """Run both in one go."""
    parser = argparse.ArgumentParser(description="CPU per call set-up at the hub, beside Kamailio in the same run.")
    parser.add_argument("--calls", type=int, default=20_000, metavar="N", help="calls to measure (default: %(default)s)")
    parser.add_argument("--seconds", type=float, metavar="S", help="measure the hub for so long instead of by number of calls")
    parser.add_argument("--pairs", type=int, default=400, help="pairs that call at the same time (default: %(default)s)")
    parser.add_argument("--rate", type=int, default=1_000, help="calls a second offered to Kamailio (default: %(default)s)")
    parser.add_argument("--peer", choices=("kamailio", "nextcloud"), default="kamailio", help="beside what (default: %(default)s)")
    parser.add_argument("--no-peer", action="store_true", help="leave the peer out")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="only sample where the hub's CPU time goes; JSON in FILE")
    parser.add_argument("--first", action="store_true", help="with --profile: of first calls, instead of the steady state")
    options = parser.parse_args()
    if options.calls < options.pairs or options.pairs < 1 or (options.seconds is not None and options.seconds <= 0):
        parser.error("at least one pair, one call for each, and more than no time")
    end_on_signals()
    folder = Path(tempfile.mkdtemp(prefix="kloudtalk-bench-"))
    peer = digest = None
    try:
        if options.peer == "nextcloud" and not options.no_peer and options.profile is None:
            few = min(options.pairs, 100)
            peer = asyncio.run(
                measure_nextcloud(
                    folder / "peer", calls=options.calls, pairs=few, offer=OFFER, candidates=CANDIDATES, batches=BATCHES
                )
            )
        elif not options.no_peer and options.profile is None:
            offered = options.calls if options.seconds is None else round(options.rate * options.seconds)
            peer = measure_kamailio(folder / "peer", calls=offered, rate=options.rate)
            say(f"kamailio: {peer['cpu_ms']} ms of CPU per set-up")
            digest = measure_kamailio(folder / "digest", calls=max(1, offered // 2), rate=options.rate, digest=True)
            say(f"kamailio, invites authenticated: {digest['cpu_ms']} ms of CPU per set-up")
        ours = asyncio.run(
            measure_hub(
                folder,
                calls=options.calls,
                seconds=options.seconds,
                pairs=options.pairs,
                profile=options.profile,
                profile_first=options.first,
            )
        )
        if options.profile is not None:
            show_profile(options.profile)
    except (RuntimeError, OSError, TimeoutError) as error:
        say(f"bench.signaling: {error or type(error).__name__}")
        log = folder / "serve.log"
        if log.exists():
            say(log.read_text(errors="replace")[-2000:])
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report(
        {
            "metric": "hub_cpu_per_call_setup",
            "ours": ours["cpu_ms"],
            "peer": None if peer is None else peer["cpu_ms"],
            "ratio": None if peer is None else round(ours["cpu_ms"] / peer["cpu_ms"], 2),
            "unit": "ms",
            "goal": GOAL_MS,
            "setups_per_core_s": ours["setups_per_core_s"],
            "profiled": options.profile is not None,
            "hub": ours,
            options.peer: peer,
            **({} if digest is None else {"kamailio_digest": digest}),
        }
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
