"""From Accept to the first packet of audio at both ends: ``python -m bench.call [--calls 100]``, as root.

Two real Chromiums, each behind a cone NAT of its own in a lab of network namespaces; half of the calls direct, half over the relay. The last line
is one JSON object: seconds, the 50th and 95th percentile of the slower end.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from tests.network.lab import lab
from tests.network.servers import make_authority, service, turn_server
from tests.network.talk import call, end, people

GOALS: Final = {"direct": 0.3, "relay": 0.5}
"""Seconds, of the 95th percentile."""


async def run(calls: int) -> dict[str, Any]:
    """Make the calls."""
    times: dict[str, list[float]] = {"direct": [], "relay": []}
    with lab() as network, tempfile.TemporaryDirectory(prefix="kt-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        authority = make_authority(folder / "ca")
        async with (
            turn_server(network, folder / "turn", authority),
            # whoever calls one person so often is told to wait otherwise
            service(network, folder / "data", turn=True, relay=True, KLOUDTALK_LIMITS_SCALE="1000") as running,
            people(network, running, authority, {"Alice": ("alice", "chromium"), "Bob": ("bob", "chromium")}) as both,
        ):
            alice, bob = both["Alice"], both["Bob"]
            for way, seen in times.items():
                await alice.always_relay(way == "relay")
                for number in range(calls):
                    outcome = await call(alice, bob, settle=0.1)
                    assert None not in outcome.heard, f"call {number} over {way} did not connect"
                    seen.append(max(time for time in outcome.heard if time is not None))
                    await end(alice, bob)
                    if number % 20 == 19:
                        print(f"{way}: {number + 1} of {calls}", flush=True)
                print(f"{way}: {calls} calls, p50 {statistics.median(seen):.3f} s, p95 {percentile(seen, 95):.3f} s", flush=True)
    result = {
        "metric": "accept to first audio, p95 of the slower end",
        "unit": "s",
        "ours": percentile(times["direct"], 95),
        "peer": None,
        "ratio": None,
        "goal": GOALS["direct"],
        "calls": calls,
    }
    for way, seen in times.items():
        result[way] = {"p50": statistics.median(seen), "p95": percentile(seen, 95), "goal_p95": GOALS[way]}
    return result


def percentile(values: list[float], percent: int) -> float:
    """The value below which so many per cent lie."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100, help="calls of each kind (default: 100)")
    began = time.monotonic()
    result = asyncio.run(run(parser.parse_args().calls))
    print(f"took {time.monotonic() - began:.0f} s")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
