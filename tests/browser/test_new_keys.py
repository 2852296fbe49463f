"""A contact registers anew and so has new keys: it is shown before the next call, and there is none before it was accepted (P10)."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from tests.browser.browsers import chromium, firefox
from tests.browser.person import Person
from tests.browser.service import Service

pytestmark = pytest.mark.browser


async def test_new_keys_are_shown_before_the_next_call_and_a_call_needs_a_yes(service: Service, artifacts: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        opened = (stack.enter_async_context(browser(service.url)) for browser in (chromium, chromium, firefox))
        first, second, third = await asyncio.gather(*opened)
        alice = Person("Alice", "+4930901820", first, service)
        bob = Person("Bob", "+442079460018", second, service)
        await alice.register()
        await bob.register()
        await alice.bring_contacts("Bob Miller, +44 20 7946 0018")
        await bob.bring_contacts("Alice Smith, +49 30 901820")

        # the first call pins Bob's identity key; its end is read, and goes away by itself
        await first.click("button", "Call Bob Miller")
        await second.click("button", "Accept")
        await first.find("button", "Mute")
        before = await alice.safety_number()
        await first.click("button", "Hang up")
        await first.sees("Call ended")
        await first.until("!document.querySelector('dialog[open]')", "the ended call to go away by itself")
        assert await first.js("() => document.activeElement.getAttribute('aria-label')") == "Call Bob Miller"

        # Bob signs up again in another browser
        anew = Person("Bob", "+442079460018", third, service)
        await anew.register()
        await second.sees("signed out by your account")
        await first.sees("Bob Miller has new keys")
        await first.sees("New keys")
        await first.shot(artifacts / "new-keys.png")

        # nothing is sealed for the new keys before Alice has said yes
        await first.click("button", "Call Bob Miller")
        await first.sees("keys have changed")
        assert not await first.has("button", "Cancel")

        # a call from there shows it too, and cannot be taken
        await anew.bring_contacts("Alice Smith, +49 30 901820", allowed=True)
        await third.click("button", "Call Alice Smith")
        await first.sees("is calling you")
        await first.sees("new keys since you last talked")
        assert (await first.find("button", "Accept", exact=True))["disabled"]
        after = await first.until(
            "document.querySelector('dialog[open] .digits')?.innerText.replace(/\\s+/g, ' ').trim()", "the number"
        )
        assert after != before
        await first.shot(artifacts / "new-keys-incoming.png")
        await first.click("button", "Accept the new keys")
        await first.click("button", "Accept", exact=True)
        await asyncio.gather(first.find("button", "Mute"), third.find("button", "Mute"))
        assert await anew.safety_number() == after
        await first.click("button", "Hang up")
        await first.close_call()
        await third.close_call()
        assert "new keys" not in (await first.text()).lower()

        # and from now on as before
        await first.click("button", "Call Bob Miller")
        await third.click("button", "Accept")
        await first.find("button", "Mute")
        await third.click("button", "Hang up")
        for page in (first, second, third):
            assert page.console == []
