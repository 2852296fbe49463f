"""Every network, every pair of browsers, every set of servers: ``python -m tests.network.matrix [--write docs/networks.md]``.

Takes about ten minutes, and needs root and what ``scripts/test`` installs. Exits with 1 when a call that could be connected was not, or
when audio was late: when a call was set up, or after what happened under it.

One call at a time is measured. Only calls that nothing can connect are made two at once, between other browsers: there is no time to measure.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.network.lab import PUBLIC, TURN, Firewall, Lab, Nat, lab
from tests.network.servers import Authority, make_authority, relay_processes, service, turn_server
from tests.network.talk import Outcome, Talker, call, end, people, rung

BROWSERS: Final = ("chromium", "firefox")
BACK_WITHIN: Final = 3.0
"""Seconds within which people hear each other again, whatever has happened to the network or a server."""
STARVED: Final = 5.0
"""The same on a machine whose processors were busy all the time with something else."""
SET_UP_WITHIN: Final = 6.0
"""Seconds from Accept to audio at both ends: 4 s in which a direct way may come, and what a relay takes then."""
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Network:
    """What stands between: NATs on both sides, a firewall at Alice's, and whether Alice hides her address."""

    name: str
    nat: Nat = "cone"
    firewall: Firewall = "open"
    hidden: bool = False

    def possible(self, *, turn: bool, relay: bool) -> bool:
        """Whether anything could connect it with these servers. The relay speaks TCP, too, at 443; STUN comes with TURN's server."""
        return turn or relay


NETWORKS: Final = (
    Network("cone NATs"),
    Network("symmetric NATs", nat="symmetric"),
    Network("UDP blocked at one side", firewall="no_udp"),
    Network("only TCP 443 at one side", firewall="tcp443"),
    Network("one side hides (always relay)", hidden=True),
)


def title(turn: bool, relay: bool) -> str:
    """Servers, in words."""
    return {(True, True): "TURN and relay", (True, False): "TURN", (False, True): "relay", (False, False): "neither"}[turn, relay]


async def cells(network: Lab, folder: Path, authority: Authority, report: Report) -> tuple[list[str], list[str]]:
    """Run all; the lines of the table, and those that failed though they could connect, or were late."""
    lines: list[str] = []
    failed: list[str] = []
    wanted = {f"{home.title()}{browser.title()}": (home, browser) for home in ("alice", "bob") for browser in BROWSERS}
    servers = list(itertools.product((True, False), repeat=2))
    count = len(servers) * len(NETWORKS) * len(BROWSERS) ** 2
    async with contextlib.AsyncExitStack() as stack:
        async with service(network, folder / "data", turn=False, relay=True) as running:
            # people stay in their browsers while servers come and go
            talkers = await stack.enter_async_context(people(network, running, authority, wanted))  # type: ignore[arg-type]

        async def between_two(one: str, other: str, between: Network, turn: bool, relay: bool) -> str:
            could = between.possible(turn=turn, relay=relay)
            alice, bob = talkers[f"Alice{one.title()}"], talkers[f"Bob{other.title()}"]
            before = idle()
            outcome = await cell(alice, bob, between, seconds=14.0 if could else 7.0)
            times = " / ".join("no audio" if time is None else f"{time:.2f}" for time in outcome.heard)
            shown = outcome.rung if outcome.connected else "**not connected**" if could else "not connected"
            line = f"| {title(turn, relay)} | {between.name} | {one} → {other} | {shown} | {times} |"
            allowed = limit(before, SET_UP_WITHIN, 2 * SET_UP_WITHIN)
            if could and not (outcome.connected and max(filter(None, outcome.heard)) <= allowed):
                failed.append(line)
            return line

        for turn, relay in servers:
            async with contextlib.AsyncExitStack() as up:
                if turn:
                    await up.enter_async_context(turn_server(network, folder / "turn", authority))
                await up.enter_async_context(service(network, folder / "data", turn=turn, relay=relay))
                for between in NETWORKS:
                    for home in ("alice", "bob"):
                        network.nat(home, between.nat)
                    network.firewall("alice", between.firewall)
                    # one at a time where times count; else two at once, in which everybody has a part
                    pairs = list(itertools.product(BROWSERS, repeat=2))
                    measured = between.possible(turn=turn, relay=relay)
                    at_once = [[pair] for pair in pairs] if measured else [[pairs[0], pairs[3]], [pairs[1], pairs[2]]]
                    found: dict[tuple[str, str], str] = {}
                    for together in at_once:
                        made = await asyncio.gather(*(between_two(*pair, between, turn, relay) for pair in together))
                        for pair, line in zip(together, made, strict=True):
                            found[pair] = line
                            report(f"{len(lines) + len(found):2}/{count} {line}")
                    lines += [found[pair] for pair in pairs]
                network.firewall("alice", "open")
    return lines, failed


async def cell(alice: Talker, bob: Talker, between: Network, seconds: float) -> Outcome:
    """One call of Alice to Bob."""
    await asyncio.gather(alice.ready(), bob.ready())
    await alice.always_relay(between.hidden)
    outcome = await call(alice, bob, seconds=seconds)
    await end(alice, bob)
    return outcome


def idle() -> tuple[float, float]:
    """Seconds that this machine's processors had nothing to do, and all their seconds (proc_stat(5))."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return float(ticks[3] + ticks[4]), float(sum(ticks))


def limit(before: tuple[float, float], ours: float, starved: float) -> float:
    """``ours``, or ``starved`` where the machine had nothing left to give since ``before`` (``idle``)."""
    free, all_ = (now - then for now, then in zip(idle(), before, strict=True))
    return starved if free < 0.05 * all_ else ours


async def changes(
    network: Lab,
    folder: Path,
    authority: Authority,
    report: Report,
    pairs: Sequence[tuple[str, str]] = tuple((browser, browser) for browser in BROWSERS),
    within: float = BACK_WITHIN,
) -> tuple[list[str], list[str]]:
    """What happens under a call; seconds without audio at either side. Too long is more than ``within``, or ``STARVED`` where the machine
    had nothing left to give meanwhile.
    """
    lines, failed = [], []
    for browser, other in pairs:
        async with (
            turn_server(network, folder / f"turn-{browser}", authority) as turn,
            service(network, folder / browser[0], turn=True, relay=True) as running,
            people(network, running, authority, {"Alice": ("alice", browser), "Bob": ("bob", other)}) as both,
        ):
            alice, bob = both["Alice"], both["Bob"]

            async def up(nat: Nat, *, alice: Talker = alice, bob: Talker = bob) -> None:
                for home in ("alice", "bob"):
                    network.nat(home, nat)
                    network.block(home, ())
                await asyncio.gather(alice.ready(), bob.ready())
                outcome = await call(alice, bob)
                assert outcome.connected, "the call that was to be disturbed did not come about"

            async def during(
                what: str,
                change: Callable[[], object],
                *,
                alice: Talker = alice,
                bob: Talker = bob,
                between: str = f"{browser} ↔ {other}",
            ) -> None:
                gaps = [asyncio.create_task(one.page.js("(ms) => lab.gap(ms)", 15_000)) for one in (alice, bob)]
                await asyncio.sleep(0.5)
                before = idle()
                change()
                longest = await asyncio.gather(*gaps)
                allowed = limit(before, within, STARVED)
                after = rung(await alice.stats()) or "none"
                shown = " / ".join("no audio" if gap < 0 else f"{gap / 1000:.1f}" for gap in longest)
                lines.append(f"| {what} | {between} | {after} | {shown} |")
                report(lines[-1])
                if min(longest) < 0 or max(longest) > 1000 * allowed:
                    failed.append(lines[-1])

            await up("cone")
            await during("the direct path dies", lambda: network.block("alice", (PUBLIC["bob"], TURN)))
            network.block("alice", ())
            await during("the relay is killed, a direct path is there", lambda: _kill(network))
            await end(alice, bob)
            await up("cone")
            await during("Alice changes to another network", network.switch_network)
            await asyncio.sleep(3)
            await during("and back", network.switch_back)
            await end(alice, bob)
            await up("symmetric")
            await during("the TURN server is killed", turn.kill)
            await during("the relay is killed, and started again by `serve`", lambda: _kill(network))
            await end(alice, bob)
    return lines, failed


def _kill(network: Lab) -> None:
    for pid in relay_processes(network):
        os.kill(pid, signal.SIGKILL)


async def run(
    part: Callable[[Lab, Path, Authority, Report], Awaitable[tuple[list[str], list[str]]]],
) -> tuple[list[str], list[str]]:
    """A part in a lab of its own; says with each line how long it has taken."""
    began = time.monotonic()

    def report(line: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - began), 60)
        print(f"{minutes:2}:{seconds:02} {line}", flush=True)

    with lab() as network, tempfile.TemporaryDirectory(prefix="kt-matrix-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        return await part(network, folder, make_authority(folder / "ca"), report)


_HEAD: Final = """# Calls on hostile networks

Written by `python -m tests.network.matrix --write docs/networks.md` (root; about ten minutes): real Chromium and Firefox in network namespaces, each
behind a NAT of its own, with the service and coturn as an operator runs them. A part of it runs with `scripts/test`. Times are seconds from the
click on Accept to the first packet of audio, at the caller and at the callee, on a machine of two cores that runs everything.

"""


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE", help="where the tables go, as Markdown")
    arguments = parser.parse_args()
    table, failed = asyncio.run(run(cells))
    under, slow = asyncio.run(run(changes))
    text = _HEAD + "\n".join(
        [
            "## Setting up",
            "| Servers | Between | Caller → callee | Carried by | Accept to audio, s |",
            "|---|---|---|---|---|",
            *table,
            "",
            "## Under a call",
            "Nobody calls again; the longest time without audio at the caller and at the callee.",
            "",
            "| What happens | Browsers | Carried by, then | Without audio, s |",
            "|---|---|---|---|",
            *under,
            "",
        ]
    )
    if arguments.write is not None:
        arguments.write.write_text(text)
    print(
        f"{len(table)} calls, {len(failed)} of them late, or not connected though they could be; {len(slow)} changes took too long"
    )
    for line in (*failed, *slow):
        print("  ", line)
    return 1 if failed or slow else 0


if __name__ == "__main__":
    sys.exit(main())
