"""The network goes and comes, media and all, while it rings and while people talk; and they move to another one (P09)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.network.lab import Lab, lab
from tests.network.servers import make_authority, service
from tests.network.talk import Talker, end, people

pytestmark = pytest.mark.network

CONNECTED = "document.querySelector('.pill.good') !== null"


@contextlib.asynccontextmanager
async def world(folder: Path, hers: str, his: str) -> AsyncIterator[tuple[Lab, Talker, Talker]]:
    """Alice and Bob at home, and a service with a relay."""
    folder.chmod(0o755)
    with lab() as network:
        authority = make_authority(folder / "ca")
        async with (
            service(network, folder / "data", turn=False, relay=True) as running,
            people(network, running, authority, {"Alice": ("alice", hers), "Bob": ("bob", his)}) as both,
        ):
            yield network, both["Alice"], both["Bob"]


async def both_hear(alice: Talker, bob: Talker) -> None:
    await asyncio.gather(alice.page.hears(bob.page.hz, seconds=25), bob.page.hears(alice.page.hz, seconds=25))


async def back_within(alice: Talker, plug) -> float:
    """Give the network back; milliseconds from the moment the browser tells the page until the hub has told what is live."""
    await alice.page.js(
        "() => { window.returned = null; addEventListener('online', () => { window.returned ??= performance.now(); }, { once: true }); return null; }"
    )
    plug()
    took: float = await alice.page.until(
        f"window.returned !== null && {CONNECTED} ? performance.now() - window.returned : null", "the hub to be reached", 25
    )
    return took


@pytest.mark.parametrize(("hers", "his"), [("chromium", "firefox")])
async def test_the_network_goes_and_comes_while_it_rings_and_while_they_talk(hers: str, his: str, tmp_path: Path) -> None:
    async with world(tmp_path, hers, his) as (network, alice, bob):
        await asyncio.gather(alice.ready(), bob.ready())

        # Alice's network goes while it rings, and is back before the time is over: it rings on, and can be taken
        await bob.page.click("button", "Call Alice", exact=True)
        await alice.page.find("button", "Accept")
        network.unplug()
        await alice.page.sees("No network", timeout=30)
        print(f"ringing: {await back_within(alice, network.plug):.0f} ms")
        await alice.page.sees("is calling you")
        await alice.page.click("button", "Accept")
        await asyncio.gather(*(one.page.find("button", "Mute", timeout=25) for one in (alice, bob)))
        await both_hear(alice, bob)

        # it goes while they talk: both are told, and nobody has to call again
        network.unplug()
        await alice.page.sees("No network", timeout=30)
        await bob.page.sees("interrupted", timeout=30)
        print(f"talking: {await back_within(alice, network.plug):.0f} ms")
        await both_hear(alice, bob)

        # she takes the call along to another network, with another address
        network.switch_network()
        await asyncio.sleep(1.0)  # what was on its way still arrives
        await both_hear(alice, bob)
        await alice.page.until(CONNECTED, "the hub to be reached", 25)

        # what is said after all that arrives, and the end of the call too
        await alice.page.click("button", "Mute")
        await bob.page.sees("Their microphone is off")
        await alice.page.click("button", "Hang up")
        await bob.page.sees("Call ended", timeout=30)
        await end(alice, bob)
        for one in (alice, bob):
            await one.page.click("link", "Calls", exact=True)
            other = bob.name if one is alice else alice.name
            await one.page.until(f"document.body.innerText.includes({other!r})", "the call in the history")
            assert (await one.page.text()).count(other) == 1
