"""A call goes on at another device of the account: a button there, a plain notice here, and both sides are heard, over the relay too."""

import asyncio
import contextlib

import pytest

from tests.browser.browsers import chromium, firefox
from tests.browser.person import Person
from tests.browser.service import Service

pytestmark = pytest.mark.browser


async def test_a_call_continues_on_another_device_and_comes_back(service: Service) -> None:
    async with contextlib.AsyncExitStack() as stack:
        phone, laptop, theirs = await asyncio.gather(
            *(stack.enter_async_context(open_(service.url)) for open_ in (chromium, chromium, firefox))
        )
        alice = Person("Alice", "+4930901820", phone, service)
        bob = Person("Bob", "+442079460018", theirs, service)
        await asyncio.gather(alice.register(), bob.register())
        await alice.bring_contacts("Bob Miller, +44 20 7946 0018")
        await bob.bring_contacts("Alice Smith, +49 30 901820")
        await alice.link(laptop)
        # over the relay, so that its leg has to follow the call
        await phone.click("link", "Settings", exact=True)
        await phone.click("checkbox", "Always use a relay for calls")
        await phone.click("link", "Contacts", exact=True)

        await phone.click("button", "Call Bob Miller")
        await theirs.click("button", "Accept")
        await asyncio.gather(phone.find("button", "Mute"), theirs.find("button", "Mute"))
        await asyncio.gather(phone.hears(theirs.hz), theirs.hears(phone.hz))

        await laptop.click("button", "Continue here")
        await phone.sees("The call goes on at another of your devices")
        await laptop.find("button", "Mute")
        await asyncio.gather(laptop.hears(theirs.hz), theirs.hears(laptop.hz))
        await asyncio.gather(laptop.sees("connection"), theirs.sees("connection"))
        for page in (laptop, theirs):
            await page.until("document.body.textContent.includes('through the server\\'s relay')", "the relay")
        assert await phone.js("() => document.querySelector('audio').srcObject === null")

        # and back: the phone was in this call before
        await phone.close_call()
        await phone.click("button", "Continue here")
        await phone.find("button", "Mute")
        await asyncio.gather(phone.hears(theirs.hz), theirs.hears(phone.hz))
        await theirs.click("button", "Hang up")
        await asyncio.gather(
            phone.sees("Call ended"), laptop.until("!document.body.innerText.includes('Continue here')", "no call")
        )
        assert phone.console == laptop.console == theirs.console == []
