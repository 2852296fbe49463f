"""Presence in two browsers: seen when a friend is here, hidden at once when the friend says so (P16)."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from tests.browser.browsers import Page, chromium, firefox
from tests.browser.person import Person
from tests.browser.service import Service
from tests.browser.test_accessibility import check

pytestmark = pytest.mark.browser

_CHOOSE = """
(label, option) => {
  const select = [...document.querySelectorAll("select")].find((one) => one.ariaLabel === label || [...one.labels].some((text) => text.textContent === label));
  select.value = [...select.options].find((one) => one.textContent === option).value;
  select.dispatchEvent(new Event("change", { bubbles: true }));
  return null;
}
"""


async def choose(page: Page, label: str, option: str) -> None:
    """Choose from a list, as the keyboard does."""
    await page.find("combobox", label)
    await page.js(_CHOOSE, label, option)


async def test_a_friend_is_seen_online_and_hides(service: Service, artifacts: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first, second = await asyncio.gather(
            stack.enter_async_context(chromium(service.url)), stack.enter_async_context(firefox(service.url))
        )
        alice = Person("Alice", "+4930901820", first, service)
        bob = Person("Bob", "+442079460018", second, service)
        await alice.register()
        await alice.bring_contacts("Bob Miller, +44 20 7946 0018")
        await bob.register()
        await first.find("button", "Call Bob Miller")
        assert "Online" not in await first.text()  # Alice is not in Bob's address book yet
        await bob.bring_contacts("Alice Smith, +49 30 901820")
        await asyncio.gather(first.sees("Online"), second.sees("Online"))
        await first.shot(artifacts / "online.png")

        await second.click("link", "Settings", exact=True)
        await choose(second, "When I was last seen", "My contacts, except…")
        await second.click("checkbox", "Alice Smith")
        await first.until("!document.body.innerText.includes('Online')", "Bob to be hidden")
        await check(first, "hidden", artifacts)
        await choose(second, "Whether I am online", "My contacts")
        await first.sees("Online")
        await choose(second, "When I was last seen", "Nobody")
        await second.sees("not recorded at all")
        assert first.console == second.console == []
