"""Real browsers through the relay, while somebody attacks it: DTLS end to end, each hears the other, and an ICE restart in the middle."""

import asyncio
import contextlib
import socket

import pytest

from media.process import machine_addresses
from tests.browser.browsers import BROWSERS
from tests.browser.relay_page import connect, page_server
from tests.integration.test_relay_gate import NOISE
from tests.relay_client import relay

pytestmark = pytest.mark.browser


async def noise(addresses: list[tuple[str, int]]) -> None:
    """Somebody who sends the relay what could end a call: spoofed alerts and handshakes, media, empty datagrams, broken STUN."""
    with contextlib.ExitStack() as stack:
        sockets = []
        for host, port in addresses:
            made = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM))
            made.connect((host, port))
            sockets.append(made)
        while True:
            for made in sockets:
                for data in NOISE:
                    made.send(data)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("calling", BROWSERS)
@pytest.mark.parametrize("called", BROWSERS)
async def test_two_browsers_talk_through_the_relay(calling: str, called: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        running = await stack.enter_async_context(relay(addresses=()))
        url = await stack.enter_async_context(page_server())
        one, other = await asyncio.gather(*(stack.enter_async_context(BROWSERS[name](url)) for name in (calling, called)))
        await asyncio.gather(one.js("() => call.start()"), other.js("() => call.start()"))
        attack = asyncio.create_task(noise(running.public))
        stack.callback(attack.cancel)
        connected = await connect(running, one, other)
        await asyncio.gather(one.hears(other.hz), other.hears(one.hz))

        gap = asyncio.create_task(other.js("(ms) => call.gap(ms)", 2000))
        restarted = await connect(running, one, other, restart=True)
        print(
            f"{calling} -> {called}: {connected:.0f} ms; ICE restart: {restarted:.0f} ms, without a packet for {await gap:.0f} ms"
        )
        await asyncio.gather(one.hears(other.hz), other.hears(one.hz))
        for page in (one, other):
            stats = await page.js("() => call.stats()")
            assert stats["state"] == "connected"
            assert stats["remote"]["port"] in {port for _, port in running.public}, "the call goes over the relay"
        for direction in running.quality("call"):
            assert direction.expected > 50
            assert direction.lost < direction.expected / 10  # the machine may be busy
            assert 3 < direction.mos < 4.5
        assert one.console == other.console == []
        counts = running.counts()
        assert counts.stun_excess == counts.capped == counts.flooded == 0
        assert min(counts.empty, counts.malformed, counts.stun_malformed) > 100


@pytest.mark.parametrize("calling", BROWSERS)
@pytest.mark.parametrize("called", BROWSERS)
async def test_a_browser_that_speaks_tcp_talks_to_one_that_speaks_either(calling: str, called: str) -> None:
    """Two of a kind get their legs' TCP candidates only; of two kinds only the caller does. An ICE restart is another connection."""
    async with contextlib.AsyncExitStack() as stack:
        # Chromium looks addresses of TCP up as names, of which only the loopback's are known here; Firefox uses it only where there is nothing else
        running = await stack.enter_async_context(relay(addresses=(*machine_addresses(), "127.0.0.1")))
        url = await stack.enter_async_context(page_server())
        one, other = await asyncio.gather(*(stack.enter_async_context(BROWSERS[name](url)) for name in (calling, called)))
        await asyncio.gather(one.js("() => call.start()"), other.js("() => call.start()"))
        transports = (("tcp",), ("tcp",) if calling == called else ("udp",))
        for restart in (False, True):
            connected = await connect(running, one, other, restart=restart, transports=transports)
            await asyncio.gather(one.hears(other.hz), other.hears(one.hz))
            print(f"{calling} -> {called}, {' and '.join(t for (t,) in transports)}: {connected:.0f} ms")
            for page, (transport,) in zip((one, other), transports, strict=True):
                await page.until(f"(await call.stats()).remote?.protocol === {transport!r}", f"{transport} in use")
            assert running.connections > 0
        assert one.console == other.console == []
        counts = running.counts()
        assert counts.tcp_refused == counts.tcp_late == counts.tcp_garbled == counts.tcp_slow == 0
