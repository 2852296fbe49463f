"""A call reaches somebody whose page is closed: web push in a real Firefox, over a stand-in of Mozilla's push service (RFC 8030, 8291, 8292)."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from tests.browser.browsers import chromium, firefox
from tests.browser.person import Person
from tests.browser.service import Service, serve
from tests.conftest import eventually
from tests.lying_hub import lying_hub
from tests.push_services import Authority, mozilla

pytestmark = pytest.mark.browser


async def test_a_closed_page_is_woken_and_rings_when_it_is_opened(tmp_path: Path, artifacts: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        authority = Authority(tmp_path)
        push = await stack.enter_async_context(mozilla(authority))
        # as an operator allows it for a push service of their own
        environment = {
            "KLOUDTALK_PUSH_HOSTS": "localhost",
            "KLOUDTALK_PUSH_ALLOW_PRIVATE": "true",
            "SSL_CERT_FILE": str(authority.file),
        }
        service = await stack.enter_async_context(serve(tmp_path / "data", **environment))
        preferences = {
            "dom.push.serverURL": push.url,
            "dom.push.connection.enabled": True,
            "dom.push.testing.allowInsecureServerURL": True,
            "permissions.default.desktop-notification": 1,
        }
        first, second = await asyncio.gather(
            stack.enter_async_context(chromium(service.url)),
            stack.enter_async_context(firefox(service.url, preferences=preferences)),
        )
        alice, bob = Person("Alice", "+4930901820", first, service), Person("Bob", "+442079460018", second, service)
        await asyncio.gather(alice.register(), bob.register())
        await alice.bring_contacts("Bob Miller, +44 20 7946 0018")
        await bob.bring_contacts("Alice Smith, +49 30 901820")

        # Bob asks for it; nothing was asked of him before
        await second.click("link", "Settings", exact=True)
        assert not (
            await second.js(
                "() => [...document.querySelectorAll('input')].find((i) => i.labels[0]?.innerText.startsWith('Wake')).checked"
            )
        )
        await second.click("checkbox", "Wake this browser")
        await second.until(
            "[...document.querySelectorAll('input')].find((i) => i.labels[0]?.innerText.startsWith('Wake')).checked", "the switch"
        )
        await second.shot(artifacts / "push-settings.png")

        # his page is closed; Alice calls; his browser is woken, and the page rings when he opens it
        await second.goto("about:blank")
        await first.click("button", "Call Bob Miller")
        async with asyncio.timeout(20):
            assert (await push.taken.get()).endswith(" 100")  # a service worker has taken it, decrypted
        await second.goto(service.url)
        await second.sees("Alice Smith")
        await second.click("button", "Accept", exact=True)
        await asyncio.gather(first.find("button", "Mute"), second.find("button", "Mute"))
        await second.until(
            "navigator.serviceWorker.ready.then((r) => r.getNotifications({ tag: 'call' })).then((all) => all.length === 0)",
            "no notification",
        )
        await first.click("button", "Hang up")
        await second.sees("Call ended")
        await second.close_call()

        # with the page open there is nothing to wake; switched off, nothing is sent
        await first.close_call()
        await first.click("button", "Call Bob Miller")
        await second.find("button", "Accept", exact=True)
        await first.click("button", "Cancel")
        await second.close_call()
        await second.click("link", "Settings", exact=True)
        await second.click("checkbox", "Wake this browser")
        await second.until(
            "navigator.serviceWorker.ready.then((r) => r.pushManager.getSubscription()).then((s) => s === null)", "no subscription"
        )
        await second.goto("about:blank")
        await first.close_call()
        await first.click("button", "Call Bob Miller")
        await first.sees("Calling")
        await first.click("button", "Cancel")
        await first.sees("Cancelled")
        assert len(push.service.got) == 1
        assert first.console == []


async def test_a_push_while_the_page_has_lost_the_hub_brings_it_back_and_the_notification_goes_when_it_rings(
    service: Service,
) -> None:
    """Chromium's push service is not to be had here: its worker is handed what the browser would have decrypted."""
    async with contextlib.AsyncExitStack() as stack:
        his = await stack.enter_async_context(lying_hub(service.url))
        first, second = await asyncio.gather(
            stack.enter_async_context(firefox(service.url)), stack.enter_async_context(chromium(his.url))
        )
        alice, bob = Person("Alice", "+4930901820", first, service), Person("Bob", "+442079460018", second, service)
        await asyncio.gather(alice.register(), bob.register())
        await alice.bring_contacts("Bob Miller, +44 20 7946 0018")
        await bob.bring_contacts("Alice Smith, +49 30 901820")
        await second.until("navigator.serviceWorker.ready.then(() => true)", "the service worker")

        his.swallow()
        his.cut()
        await first.click("button", "Call Bob Miller")
        await first.sees("Calling")
        await second.deliver_push('{"wake":"call"}')
        shown = "navigator.serviceWorker.ready.then((r) => r.getNotifications({ tag: 'call' })).then((all) => all.map((n) => n.title + n.body))"
        assert await second.until(f"{shown}.then((all) => all.length === 1 && all)", "the notification") == [
            "Somebody is calling you" + "Open KloudTalk to answer."  # nobody and nothing is named
        ]
        his.pass_on()
        await second.sees("is calling you", timeout=40)
        await second.until(f"{shown}.then((all) => all.length === 0)", "the notification to go")
        await first.click("button", "Cancel")
        await second.sees("Missed call")
        await second.close_call()
        await first.close_call()

        # asleep in the background it has no connection, so that the hub would wake it; awake it rings. (Headless browsers do not put pages to
        # sleep: the page is told of it as a phone's browser would.)
        before = his.told.count("hello")
        await second.js("() => { document.dispatchEvent(new Event('freeze')); return null; }")
        await eventually(lambda: his.sockets == 0)
        await first.click("button", "Call Bob Miller")
        await first.sees("Calling")
        await second.js("() => { document.dispatchEvent(new Event('resume')); return null; }")
        await second.sees("is calling you")
        assert his.told.count("hello") == before + 1
        await first.sees("Ringing")
        await first.click("button", "Cancel")
