"""Profile and settings by clicking: what one writes is what friends see; a new address; device details only after a yes (P03, P15, P18, P21)."""

import asyncio
import contextlib
from pathlib import Path

import pytest
from PIL import Image

from tests.browser.browsers import chromium, firefox
from tests.browser.person import Person
from tests.browser.service import Service
from tests.browser.test_accessibility import check

pytestmark = pytest.mark.browser


async def test_a_profile_is_filled_in_and_seen_by_a_friend(service: Service, artifacts: Path, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first, second = await asyncio.gather(
            stack.enter_async_context(chromium(service.url, width=360, height=740)), stack.enter_async_context(firefox(service.url))
        )
        alice = Person("Alice", "+4930901820", first, service)
        bob = Person("Bob", "+442079460018", second, service)
        await alice.register()
        await alice.bring_contacts("Bob Miller, +44 20 7946 0018")
        await bob.register()
        await bob.bring_contacts("Alice Smith, +49 30 901820")

        await first.click("link", "Settings", exact=True)
        await first.fill("Name", "Alice Liddell")
        await first.fill("About", "Down the rabbit hole")
        await first.click("button", "Save")
        await first.find("button", "Saved")
        photo = tmp_path / "photo.png"
        Image.effect_mandelbrot((900, 700), (-2, -1.2, 1, 1.2), 60).convert("RGB").save(photo)
        await first.choose_file("Choose a picture", photo)
        await first.find("button", "Another picture")
        await first.until("document.querySelector('.avatar.big img')?.complete", "the own picture")
        await second.click("button", "About Alice Smith")
        await second.sees("Down the rabbit hole")
        await second.sees("Calls themselves “Alice Liddell”")
        await second.until("document.querySelector('dialog[open] .avatar img')?.naturalWidth === 512", "Alice's picture")
        await second.click("button", "Close", exact=True)

        await first.click("button", "Change the e-mail address")
        await check(first, "change-address", artifacts)
        await first.fill("New e-mail address", "alice@wonder.example.org")
        await first.click("button", "Send the codes")
        await first.fill("Code sent to alice@wonder.example.org", await service.code("alice@wonder.example.org"))
        await first.fill("Code sent to +4930901820", await service.code(alice.phone))
        await first.click("button", "Change it")
        await first.sees("alice@wonder.example.org")

        await first.click("checkbox", "Keep what my devices tell")
        await first.sees("so that I recognise them")
        await check(first, "device-consent", artifacts)
        await first.click("button", "No, thanks")
        assert "127.0.0.0/24" not in await first.js("() => document.body.innerText")
        await first.click("checkbox", "Keep what my devices tell")
        await first.click("button", "Allow", exact=True)
        await first.sees("127.0.0.0/24")
        await first.sees("Chrome")
        await check(first, "profile", artifacts)
        await first.click("checkbox", "Keep what my devices tell")  # one click takes it back
        await first.until("!document.body.innerText.includes('127.0.0.0/24')", "the details to be gone")
        assert first.console == second.console == []


async def test_a_view_that_cannot_be_drawn_does_not_take_the_page_with_it(service: Service) -> None:
    async with chromium(service.url) as page:
        await Person("Alice", "+4930901820", page, service).register()
        broken = (
            "function (locale, options) { if (options?.dateStyle) throw new Error('a defect'); return new Real(locale, options); }"
        )
        await page.js(f"() => {{ const Real = Intl.DateTimeFormat; Intl.DateTimeFormat = {broken}; }}")
        await page.click("link", "Settings", exact=True)
        await page.sees("Something went wrong on this page.")
        await page.click("link", "Contacts", exact=True)
        await page.sees("Your phonebook")
        await page.sees("Connected")
