"""Firefox that always uses a relay, where the relay cannot be reached or does not answer: TURN stands in, and nobody learns where it is."""

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.browser.browsers import CHROMIUM_HZ, FIREFOX_HZ
from tests.network.capture import Packet, capture
from tests.network.lab import HUB, PUBLIC, RELAY, SECOND, TURN, lab
from tests.network.servers import RELAY_PORTS, make_authority, service, turn_server
from tests.network.talk import Talker, call, end, people, rung

pytestmark = pytest.mark.network

HERS = {PUBLIC["alice"], SECOND, "10.1.0.2", "10.3.0.2"}
NOBODY = {"0.0.0.0", HUB, RELAY, TURN}
"""What may stand where an address of hers would."""


def addresses(line: str) -> list[str]:
    """Every address in a candidate, related ones too (RFC 8839, section 5.1), or in a line with connection data."""
    words = line.removeprefix("a=").split()
    if line.startswith("c="):
        return [words[-1]]
    if "typ" not in words:
        return []  # m=audio: a port
    return [words[4], *(word for before, word in itertools.pairwise(words) if before == "raddr")]


async def unseen(bob: Talker, packets: Sequence[Packet]) -> None:
    """Nothing that Bob's browser was given and no packet that he got says where Alice is."""
    told: list[str] = await bob.page.js("() => lab.candidates.filter((line) => line !== '')")
    shown = [address for line in told for address in addresses(line)]
    assert shown
    assert set(shown) <= NOBODY, told
    assert {packet.source for packet in packets} & HERS == set()
    assert {packet.target for packet in packets} & HERS == set()


async def test_who_hides_is_heard_through_turn_where_no_relay_can_be_reached(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o755)
    with lab() as network:
        authority = make_authority(tmp_path / "ca")
        async with (
            turn_server(network, tmp_path / "turn", authority),
            service(network, tmp_path / "data", turn=True, relay=True) as running,
            people(network, running, authority, {"Alice": ("alice", "firefox"), "Bob": ("bob", "chromium")}) as both,
        ):
            alice, bob = both["Alice"], both["Bob"]
            await asyncio.gather(alice.ready(), bob.ready())
            await alice.always_relay(True)

            async def heard() -> None:
                await asyncio.gather(alice.page.hears(CHROMIUM_HZ, seconds=25), bob.page.hears(FIREFOX_HZ, seconds=25))

            async def calls(caller: Talker, callee: Talker, what: str) -> str:
                with capture(network, "bob") as packets:
                    outcome = await call(caller, callee)
                    assert outcome.connected, (what, await caller.page.text())
                    await heard()
                    await end(caller, callee)
                await unseen(bob, packets)
                with capsys.disabled():
                    print(f"\n{caller.name} calls, {what}: {outcome.rung}, {outcome.heard}", end="")
                return outcome.rung

            # her network lets no UDP through: to the relay by way of TURN, over TCP
            network.firewall("alice", "no_udp")
            await calls(alice, bob, "UDP blocked")
            network.firewall("alice", "open")

            # the relay answers nobody
            network.shut(RELAY_PORTS)
            assert (await calls(alice, bob, "no relay answers")).startswith("turn")
            assert (await calls(bob, alice, "no relay answers")).startswith("turn")

            # and it stops under a call
            network.shut(None)
            with capture(network, "bob") as packets:
                outcome = await call(alice, bob)
                assert outcome.rung == "relay"
                gap = asyncio.create_task(bob.page.js("(ms) => lab.gap(ms)", 20_000))
                network.shut(RELAY_PORTS)
                silent = await gap
                await heard()
                carried = rung(await alice.stats()) or "nothing"
                assert carried.startswith("turn")
                await end(alice, bob)
            await unseen(bob, packets)
            with capsys.disabled():
                print(f"\nthe relay stops under the call: {carried}, {silent / 1000:.1f} s without audio", end="")
