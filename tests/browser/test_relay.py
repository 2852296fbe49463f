"""Real browsers through the relay: DTLS end to end, each hears the other, and an ICE restart in the middle of the call."""

import asyncio
import contextlib

import pytest

from tests.browser.browsers import BROWSERS
from tests.browser.relay_page import connect, page_server
from tests.relay_client import relay

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("calling", BROWSERS)
@pytest.mark.parametrize("called", BROWSERS)
async def test_two_browsers_talk_through_the_relay(calling: str, called: str, record_property) -> None:
    async with contextlib.AsyncExitStack() as stack:
        running = await stack.enter_async_context(relay(addresses=()))
        url = await stack.enter_async_context(page_server())
        one, other = await asyncio.gather(*(stack.enter_async_context(BROWSERS[name](url)) for name in (calling, called)))
        await asyncio.gather(one.js("() => call.start()"), other.js("() => call.start()"))
        record_property("connected_ms", await connect(running, one, other))
        await asyncio.gather(one.hears(other.hz), other.hears(one.hz))

        gap = asyncio.create_task(other.js("(ms) => call.gap(ms)", 2000))
        record_property("restarted_ms", await connect(running, one, other, restart=True))
        record_property("gap_ms", await gap)
        await asyncio.gather(one.hears(other.hz), other.hears(one.hz))
        for page in (one, other):
            stats = await page.js("() => call.stats()")
            assert stats["state"] == "connected"
            assert stats["remote"]["port"] in {port for _, port in running.public}, "the call goes over the relay"
        for direction in running.quality("call"):
            assert direction.expected > 50
            assert direction.mos > 4
        assert one.console == other.console == []
