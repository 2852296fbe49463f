"""What an idle connection costs the hub in memory, beside a bare aiohttp server: ``python -m bench.memory``.

A connection is authenticated, has its session, its place in every table of the hub, its rate and its `sync`. The peer is `bench/echo.py`: the same
library, with nothing of that.
"""

import argparse
import asyncio
import resource
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.load import Device, Head, connect
from bench.processes import cpu_seconds, end_on_signals, report, rss_bytes, running, say
from bench.service import seed, serving


def _ignore(_device: Device, _message: Head) -> None:
    pass


async def _fill(host: str, port: int, tokens: list[str], pid: int, first: int) -> dict[str, Any]:
    """Connect some first, so that what a first connection brings into memory does not count; then all, and see the growth."""
    warm = max(50, len(tokens) // 20)
    devices = [await connect(host, port, token, _ignore, first + i) for i, token in enumerate(tokens[:warm])]
    before, used = rss_bytes(pid), cpu_seconds([pid])
    for i, token in enumerate(tokens[warm:], start=warm):
        devices.append(await connect(host, port, token, _ignore, first + i))
        if len(devices) % 1000 == 0:
            say(f"  {len(devices)} connected")
    after, used = rss_bytes(pid), cpu_seconds([pid]) - used
    for device in devices:
        if device.transport is not None:
            device.transport.close()
    counted = len(tokens) - warm
    return {
        "kb": round((after - before) / counted / 1000, 2),
        "connections": len(tokens),
        "connect_cpu_ms": round(used / counted * 1000, 2),
        "rss_mb": round(after / 1e6, 1),
    }


async def measure(folder: Path, connections: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Ours and the peer's, in kilobytes (1,000 bytes) per connection."""
    say(f"seeding {connections} accounts")
    data = folder / "data"
    people = await seed(data, connections)
    async with serving(data) as service:
        say("kloudtalk")
        ours = await _fill(service.host, service.port, [person.token for person in people], service.hub, 0)
    log = folder / "echo.log"
    with running([sys.executable, "-m", "bench.echo"], log) as process:
        async with asyncio.timeout(20):
            while "listening on " not in log.read_text():
                await asyncio.sleep(0.05)
        say("bare aiohttp")
        peer = await _fill("127.0.0.1", int(log.read_text().split()[-1]), ["t" * 43] * connections, process.pid, connections)
    return ours, peer


def main() -> int:
    """Run both in one go."""
    parser = argparse.ArgumentParser(
        description="Memory per idle authenticated connection, beside a bare aiohttp server in the same run."
    )
    parser.add_argument("--connections", type=int, default=5_000, help="connections (default: %(default)s)")
    options = parser.parse_args()
    end_on_signals()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = options.connections + 500
    if soft < wanted:
        if hard < wanted:
            say(f"bench.memory: {options.connections} connections need `ulimit -n {wanted}`, and {hard} is the most")
            return 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    folder = Path(tempfile.mkdtemp(prefix="kloudtalk-bench-"))
    try:
        ours, peer = asyncio.run(measure(folder, options.connections))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report(
        {
            "metric": "rss_per_idle_connection",
            "ours": ours["kb"],
            "peer": peer["kb"],
            "ratio": round(ours["kb"] / peer["kb"], 2),
            "unit": "kB",
            "goal": 16,
            "hub": ours,
            "bare_aiohttp": peer,
        }
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
