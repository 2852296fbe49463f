"""What a call set-up costs the hub, beside Kamailio: ``python -m bench.signaling``.

Everything is on: sessions, rate limits, policy (blocks, who may call, both address books), call state committed to Valkey before anyone is told,
history written to SQLite. A call is invite, ringing, accept, two sealed payloads each way, connected on both sides, hang-up: 10 requests, 21 messages
of the hub. Kamailio is a registrar and stateful proxy without authentication, policy or stored calls: INVITE, 180, 200, ACK, BYE, 200.
"""

import argparse
import asyncio
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.kamailio import measure as measure_kamailio
from bench.load import Device, Head, connect
from bench.processes import cpu_seconds, report, say
from bench.service import Account, acquaint, seed, serving
from signaling.wire import base64url

OFFER = base64url.encode(secrets.token_bytes(1_400)).encode()
"""A sealed offer or answer of a browser: some 1.3 kB of SDP, padded and sealed."""
CANDIDATES = base64url.encode(secrets.token_bytes(624)).encode()
"""A sealed batch of candidates."""


class Pair:
    """Two devices that call each other again and again; the caller changes after each call."""

    def __init__(self, one: Account, other: Account, done: asyncio.Semaphore, errors: list[str]) -> None:
        self.accounts = (one, other)
        self.devices: list[Device] = []
        self.errors = errors
        self.left = 0
        self.ups = 0
        self.ends = 0
        self.caller = 0
        self.call = b""
        self.started = 0.0
        self.latencies: list[float] = []
        self._done = done

    def start(self, calls: int) -> None:
        """Run ``calls`` calls, one after the other."""
        self.left = calls
        self._next()

    def _next(self) -> None:
        if self.left == 0:
            self._done.release()
            return
        self.left -= 1
        self.ups = self.ends = 0
        self.caller = 1 - self.caller
        self.call = base64url.encode(secrets.token_bytes(16)).encode()
        callee = self.accounts[1 - self.caller]
        more = b',"to":"%s","payloads":{"%s":"%s"}' % (callee.id.encode(), callee.device.encode(), OFFER)
        self.started = time.perf_counter()
        self.devices[self.caller].request(b"invite", self.call, more)

    def heard(self, device: Device, message: Head) -> None:
        """The protocol of one call, on both sides."""
        if message.type == "error":
            self.errors.append(message.code)
            self.left = 0
            self._done.release()  # the run is lost: let it end
            return
        if not message.call or message.call.encode() != self.call:
            return
        caller, callee = self.devices[self.caller], self.devices[1 - self.caller]
        match message.type:
            case "call.incoming":
                callee.request(b"ringing", self.call)
                callee.request(b"accept", self.call, b',"payload":"%s"' % OFFER)
                self._signal(callee, self.accounts[self.caller])
                self._signal(callee, self.accounts[self.caller])
            case "call.answered":
                self._signal(caller, self.accounts[1 - self.caller])
                self._signal(caller, self.accounts[1 - self.caller])
                caller.request(b"connected", self.call)
                callee.request(b"connected", self.call)
            case "call.up":
                self.ups += 1
                if self.ups == 2:
                    self.latencies.append(time.perf_counter() - self.started)
                    caller.request(b"hangup", self.call)
            case "call.ended":
                self.ends += 1
                if self.ends == 2:
                    self._next()

    def _signal(self, device: Device, to: Account) -> None:
        device.request(b"signal", self.call, b',"to":"%s","payload":"%s"' % (to.device.encode(), CANDIDATES))


async def measure_hub(folder: Path, *, calls: int, pairs: int) -> dict[str, Any]:
    """CPU per set-up of the hub, in milliseconds."""
    say(f"kloudtalk: seeding {2 * pairs} accounts")
    data = folder / "data"
    people = await seed(data, 2 * pairs)
    couples = [(people[2 * i], people[2 * i + 1]) for i in range(pairs)]
    cores = os.sched_getaffinity(0)
    own = {max(cores)}
    if len(cores) > 1:
        os.sched_setaffinity(0, own)
    async with serving(data, cores={min(cores)}) as service:
        await acquaint(data, couples)
        done, errors = asyncio.Semaphore(0), list[str]()
        table = [Pair(one, other, done, errors) for one, other in couples]
        for i, pair in enumerate(table):
            for j, account in enumerate(pair.accounts):
                device = await connect(service.host, service.port, account.token, pair.heard, 2 * i + j)
                pair.devices.append(device)

        async def run(each: int) -> None:
            for pair in table:
                pair.start(each)
            async with asyncio.timeout(600):
                for _ in table:
                    await done.acquire()

        say(f"kloudtalk: {pairs} pairs connected; warming up")
        await run(2)
        for pair in table:
            pair.latencies.clear()
        each = max(1, calls // pairs)
        say(f"kloudtalk: {each * pairs} calls")
        before, stores, begin = cpu_seconds([service.hub]), cpu_seconds(service.valkeys), time.perf_counter()
        await run(each)
        seconds = time.perf_counter() - begin
        used, stored = cpu_seconds([service.hub]) - before, cpu_seconds(service.valkeys) - stores
        if errors:
            raise RuntimeError(f"{len(errors)} requests were refused: {sorted(set(errors))}")
        latencies = sorted(latency for pair in table for latency in pair.latencies)
        for pair in table:
            for device in pair.devices:
                if device.transport is not None:
                    device.transport.close()
    total = each * pairs
    os.sched_setaffinity(0, cores)
    return {
        "cpu_ms": round(used / total * 1000, 4),
        "valkey_cpu_ms": round(stored / total * 1000, 4),
        "setups_per_core_s": round(total / used),
        "setups_s_reached": round(total / seconds),
        "p50_ms": round(latencies[len(latencies) // 2] * 1000, 1),
        "calls": total,
        "pairs": pairs,
        "seconds": round(seconds, 2),
        "cpu_s": round(used, 2),
    }


def main() -> int:
    """Run both in one go."""
    parser = argparse.ArgumentParser(description="CPU per call set-up at the hub, beside Kamailio in the same run.")
    parser.add_argument("--calls", type=int, default=20_000, help="calls to measure (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=400, help="pairs that call at the same time (default: %(default)s)")
    parser.add_argument("--rate", type=int, default=1_500, help="calls a second offered to Kamailio (default: %(default)s)")
    parser.add_argument("--no-peer", action="store_true", help="leave Kamailio out")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))  # so that what was started is ended
    folder = Path(tempfile.mkdtemp(prefix="kloudtalk-bench-"))
    try:
        peer = None if options.no_peer else measure_kamailio(folder, calls=options.calls, rate=options.rate)
        if peer is not None:
            say(f"kamailio: {peer['cpu_ms']} ms of CPU per set-up")
        ours = asyncio.run(measure_hub(folder, calls=options.calls, pairs=options.pairs))
        say(f"kloudtalk: {ours['cpu_ms']} ms of CPU per set-up at the hub, {ours['valkey_cpu_ms']} ms at Valkey")
    except RuntimeError as error:
        say(f"bench.signaling: {error}")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report(
        {
            "metric": "hub CPU per call set-up",
            "ours": ours["cpu_ms"],
            "peer": None if peer is None else peer["cpu_ms"],
            "ratio": None if peer is None else round(ours["cpu_ms"] / peer["cpu_ms"], 2),
            "unit": "ms",
            "goal": 0.16,
            "hub": ours,
            "kamailio": peer,
        }
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
