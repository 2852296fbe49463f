"""Nothing is lost and nothing repeated when the hub is restarted, a socket breaks, or the network goes: seen by two people (P09)."""

import asyncio
import contextlib

import pytest

from tests.browser.browsers import BROWSERS, Page, chromium, firefox
from tests.browser.person import Person
from tests.browser.service import Service
from tests.lying_hub import lying_hub

pytestmark = pytest.mark.browser


async def acquainted(service: Service, first: Page, second: Page) -> tuple[Person, Person]:
    """Alice and Bob, each in the other's phonebook."""
    alice, bob = Person("Alice", "+4930901820", first, service), Person("Bob", "+442079460018", second, service)
    await asyncio.gather(alice.register(), bob.register())
    await alice.bring_contacts("Bob Miller, +44 20 7946 0018")
    await bob.bring_contacts("Alice Smith, +49 30 901820")
    return alice, bob


async def talking(first: Page, second: Page) -> None:
    """Both hear each other, and what one says about itself arrives."""
    await asyncio.gather(first.hears(second.hz), second.hears(first.hz))
    await first.click("button", "Mute")
    await second.sees("Their microphone is off")
    await first.click("button", "Mute")
    await second.until("!document.body.innerText.includes('Their microphone is off')", "the microphone to be on again")


async def quiet(*pages: Page) -> None:
    """No error but that the server could not be reached, which browsers log by themselves, and no warning to the user."""
    for page in pages:
        odd = [
            line for line in page.console if "WebSocket" not in line and "ERR_" not in line and "establish a connection" not in line
        ]
        assert odd == []
        assert not await page.js("() => document.querySelector('[aria-label=Warnings]') !== null")


@pytest.mark.parametrize(("calling", "called"), [("chromium", "firefox")])
async def test_a_hub_that_is_restarted_loses_no_call(calling: str, called: str, service: Service) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first, second = await asyncio.gather(
            *(stack.enter_async_context(BROWSERS[name](service.url)) for name in (calling, called))
        )
        await acquainted(service, first, second)

        # while it rings: it rings on, and can be taken
        await first.click("button", "Call Bob Miller")
        await second.find("button", "Accept")
        await first.sees("Ringing")
        await service.stop()
        await asyncio.gather(first.sees("Reconnecting"), second.sees("Reconnecting"))
        await service.start()
        await asyncio.gather(first.sees("Ringing"), second.sees("is calling you"))
        await second.click("button", "Accept")
        await asyncio.gather(first.find("button", "Mute"), second.find("button", "Mute"))

        # while they talk, this time by a power cut: they talk on
        await talking(first, second)
        await asyncio.sleep(1.5)  # what the embedded Valkey is told reaches the disk within a second
        await service.kill()
        await asyncio.gather(first.sees("You can go on talking"), second.sees("You can go on talking"))
        await asyncio.gather(first.hears(second.hz), second.hears(first.hz))
        await service.start()
        for page in (first, second):
            await page.until("!document.body.innerText.includes('You can go on talking')", "the server to be reached again")
        await talking(first, second)

        # who hangs up meanwhile has hung up
        await service.stop()
        await first.click("button", "Hang up")
        await first.close_call()
        await service.start()
        await second.sees("Call ended", timeout=30)
        await second.close_call()
        for page, other in ((first, "Bob Miller"), (second, "Alice Smith")):
            await page.sees("Connected")
            await page.click("link", "Calls", exact=True)
            await page.sees(other)
            assert (await page.text()).count(other) == 1
        await quiet(first, second)


async def test_sockets_that_break_and_networks_that_go_lose_nothing_and_repeat_nothing(service: Service) -> None:
    async with contextlib.AsyncExitStack() as stack:
        hers, his = [await stack.enter_async_context(lying_hub(service.url)) for _ in range(2)]  # their ways to the hub
        first, second = await asyncio.gather(
            stack.enter_async_context(chromium(hers.url)), stack.enter_async_context(firefox(his.url))
        )
        await acquainted(service, first, second)

        # both sockets break, while it rings and again and again while they talk
        await first.click("button", "Call Bob Miller")
        await second.find("button", "Accept")
        hers.cut()
        his.cut()
        await first.sees("Ringing")
        await second.click("button", "Accept")
        await asyncio.gather(first.find("button", "Mute"), second.find("button", "Mute"))
        for _ in range(2):
            hers.cut()
            his.cut()
            await talking(first, second)
        assert hers.told.count("call.invite") == his.told.count("call.accept") == 1
        await second.click("button", "Hang up")
        await first.sees("Call ended")
        await first.close_call()
        await second.close_call()

        # Bob calls; Alice's network is gone; Bob gives up; Alice's phone does not ring for ever
        await second.click("button", "Call Alice Smith")
        await first.find("button", "Accept")
        hers.swallow()
        await second.click("button", "Cancel")
        await first.sees("Reconnecting", timeout=30)  # found out by asking: nobody told
        hers.pass_on()
        await first.sees("Missed call", timeout=30)
        await first.close_call()
        await second.close_call()

        # Alice takes the call while her network is gone: it is taken when it is back
        await second.click("button", "Call Alice Smith")
        await first.find("button", "Accept")
        hers.swallow()
        await first.click("button", "Accept")
        await first.sees("Reconnecting", timeout=30)
        hers.pass_on()
        await asyncio.gather(first.find("button", "Mute", timeout=40), second.find("button", "Mute", timeout=40))
        await talking(first, second)

        # the browser says that the network is back: it is used at once, and media take it
        hers.swallow()
        await first.offline(True)
        await first.sees("No network", timeout=30)
        hers.pass_on()
        hers.told.clear()
        await first.js("""() => { addEventListener("online", () => { window.back = performance.now(); }); return null; }""")
        await first.offline(False)
        took = await first.until(
            "window.back && document.querySelector('.pill.good') ? performance.now() - window.back : null", "the connection", 10
        )
        print(f"connected {took:.0f} ms after the network came back")
        assert "hello" in hers.told
        async with asyncio.timeout(10):
            while "call.signal" not in hers.told:  # noqa: ASYNC110 - the restart of ICE, or the wish for one
                await asyncio.sleep(0.02)
        await talking(first, second)
        await first.click("button", "Hang up")
        await second.sees("Call ended")
        await second.close_call()
        await first.close_call()

        # what the hub did although its answer was lost is not done twice
        hers.down = lambda message: [] if message["type"] == "ok" else [message]
        await first.click("button", "Call Bob Miller")
        await second.find("button", "Accept")
        hers.cut()
        hers.pass_on()
        await second.click("button", "Accept")
        await asyncio.gather(first.find("button", "Mute"), second.find("button", "Mute"))
        await talking(first, second)
        await second.click("button", "Hang up")
        await first.sees("Call ended")
        await quiet(first, second)
