"""A relay that an operator ends hands its calls to another one, in real browsers: they are heard on, and it ends cleanly."""

import asyncio
import contextlib
import signal
import socket
from pathlib import Path

import pytest

from tests.browser.browsers import BROWSERS
from tests.browser.person import Person
from tests.browser.service import serve
from tests.integration.test_serve import kloudtalk
from tests.network.talk import PRELOAD

pytestmark = pytest.mark.browser

UNHEARD = 1_000
"""Milliseconds without a packet, of which Opus' pauses for silence take 400."""


@contextlib.asynccontextmanager
async def relay(redis_url: str):
    """A relay as `kloudtalk relay` runs it; gives its process and its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("0.0.0.0", 0))
        port = free.getsockname()[1]
    options = {"KLOUDTALK_RELAY_PORTS": str(port), "KLOUDTALK_REDIS_URL": redis_url}
    async with kloudtalk("relay", **options) as running:
        async with asyncio.timeout(60):
            while b"relaying up to" not in (line := await running.stdout.readline()):
                assert line, "it ended before it was ready"
        yield running, port


@pytest.mark.parametrize(("hers", "his"), [("chromium", "firefox"), ("firefox", "chromium")])
async def test_when_a_relay_is_ended_its_calls_go_on_over_another(hers: str, his: str, state_url: str, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        service = await stack.enter_async_context(serve(tmp_path / "data", KLOUDTALK_RELAY="false", KLOUDTALK_REDIS_URL=state_url))
        leaving, port = await stack.enter_async_context(relay(state_url))
        pages = await asyncio.gather(
            *(stack.enter_async_context(BROWSERS[name](service.url, preload=PRELOAD)) for name in (hers, his))
        )
        alice, bob = Person("Alice", "+4930901870", pages[0], service), Person("Bob", "+4930901871", pages[1], service)
        await asyncio.gather(alice.register(), bob.register())
        await alice.bring_contacts(f"Bob, {bob.phone}")
        await bob.bring_contacts(f"Alice, {alice.phone}")
        await alice.page.click("link", "Settings", exact=True)
        await alice.page.click("checkbox", "Always use a relay")
        await alice.page.click("link", "Contacts", exact=True)
        await alice.page.click("button", "Call Bob", exact=True)
        await bob.page.click("button", "Accept")

        async def carried(by: int) -> None:
            await asyncio.gather(*(page.until(f"(await lab.stats()).port === {by}", f"the relay at {by}") for page in pages))
            await asyncio.gather(pages[0].hears(pages[1].hz), pages[1].hears(pages[0].hz))

        await carried(port)
        _, other = await stack.enter_async_context(relay(state_url))
        gaps = [asyncio.create_task(page.js("(ms) => lab.gap(ms)", 6_000)) for page in pages]
        leaving.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            await leaving.wait()  # it waits for its calls, and no longer
        assert leaving.returncode == 0
        await carried(other)
        silent = await asyncio.gather(*gaps)
        print(f"{hers} ↔ {his}: {silent} ms without a packet")
        assert min(silent) >= 0
        assert max(silent) < UNHEARD
        await alice.page.click("button", "Hang up")
        await bob.page.sees("Call ended")
        assert pages[0].console == pages[1].console == []
