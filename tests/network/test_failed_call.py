"""A call that nothing gets through ends with plain words on both sides: what was tried, and why it did not work."""

import asyncio
from pathlib import Path

import pytest

from tests.network.lab import lab
from tests.network.servers import make_authority, service
from tests.network.talk import Talker, people

pytestmark = pytest.mark.network

DIRECT = "Directly: nothing came through"
NO_TURN = "Through a TURN server: there is none here"
TURN_AWAY = "Through a TURN server: it could not be reached from your network"
NO_RELAY = "Through the server's relay: there is none at the moment"


async def fails(caller: Talker, callee: Talker, *said: str) -> None:
    """A call that comes to nothing; each of these is said to both, and waits to be read."""
    await asyncio.gather(caller.ready(), callee.ready())
    await caller.page.click("button", f"Call {callee.name}", exact=True)
    await callee.page.click("button", "Accept")
    for one in (caller, callee):
        await one.page.sees("What was tried:", timeout=40)
        text = await one.page.text()
        assert [line for line in said if line not in text] == [], text
        await one.page.js("() => { lab.told = performance.now(); return null; }")
    for one in (caller, callee):
        # longer than the screen of an ended call stays by itself
        await one.page.until("performance.now() - lab.told > 6500", "seven seconds")
        await one.page.sees("What was tried:")
        await one.page.click("button", "Close", exact=True)


async def test_who_could_not_be_connected_is_told_what_was_tried(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with lab() as network:
        authority = make_authority(tmp_path / "ca")
        wanted = {"Alice": ("alice", "chromium"), "Bob": ("bob", "firefox")}
        async with (
            service(network, tmp_path / "data", turn=False, relay=False) as running,
            people(network, running, authority, wanted) as both,  # type: ignore[arg-type]
        ):
            await fails(both["Alice"], both["Bob"], DIRECT, NO_TURN, NO_RELAY)
        # TURN servers that nobody runs
        async with (
            service(network, tmp_path / "more", turn=True, relay=False) as running,
            people(network, running, authority, wanted) as both,  # type: ignore[arg-type]
        ):
            await fails(both["Bob"], both["Alice"], DIRECT, TURN_AWAY, NO_RELAY)
