"""Two people in two browsers: from registration to hang-up, by clicking, and each hears the other."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from tests.browser.browsers import BROWSERS
from tests.browser.person import Person
from tests.browser.service import Service

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("calling", "called"), [("chromium", "firefox"), ("firefox", "chromium")])
async def test_two_people_talk(calling: str, called: str, service: Service, artifacts: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first, second = await asyncio.gather(
            *(stack.enter_async_context(BROWSERS[name](service.url)) for name in (calling, called))
        )
        alice = Person("Alice", "+4930901820", first, service)
        bob = Person("Bob", "+442079460018", second, service)
        await first.shot(artifacts / f"{calling}-welcome.png")
        await alice.register()
        # Alice brings Bob's number before Bob has an account: he appears by himself when he joins (P08)
        await alice.bring_contacts("Bob Miller, +44 20 7946 0018\nCarol, +1 212 555 0123")
        assert not await first.has("button", "Call Bob Miller")
        await bob.register()
        await first.find("button", "Call Bob Miller")
        await bob.bring_contacts("Alice Smith, +49 30 901820")
        await first.shot(artifacts / f"{calling}-contacts.png")

        await first.click("button", "Call Bob Miller")
        await second.find("button", "Accept")
        await second.sees("Alice Smith")
        await second.sees("is calling you")
        await first.sees("Ringing")
        await second.shot(artifacts / f"{called}-incoming.png")
        await second.click("button", "Accept")

        await asyncio.gather(first.find("button", "Mute"), second.find("button", "Mute"))
        await asyncio.gather(first.hears(second.hz), second.hears(first.hz))
        await asyncio.gather(first.sees("connection"), second.sees("connection"))

        numbers = await asyncio.gather(alice.safety_number(), bob.safety_number())
        assert numbers[0] == numbers[1]
        assert len(numbers[0].replace(" ", "")) == 60
        await first.shot(artifacts / f"{calling}-call.png")

        await first.click("button", "Mute")
        await second.sees("Their microphone is off")
        await first.click("button", "Mute")
        await second.hears(first.hz)

        await second.click("button", "Hang up")
        await first.sees("Call ended")
        await asyncio.gather(first.close_call(), second.close_call())
        for person, other in ((alice, "Bob Miller"), (bob, "Alice Smith")):
            await person.page.click("link", "Calls", exact=True)
            await person.page.sees(other)
            await person.page.shot(artifacts / f"{person.page.name.lower()}-history.png")
        assert first.console == []
        assert second.console == []
    for line in service.log:
        assert "code " in line or "@" not in line, line
