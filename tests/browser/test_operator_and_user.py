"""What an operator sees and does, and what the user sees of it: how a call is heard, with the user's consent; and being blocked, in plain words."""

import asyncio
import contextlib
import re
from pathlib import Path

import pytest

from tests.browser.browsers import Page, chromium, firefox
from tests.browser.person import Person
from tests.browser.service import Service
from tests.browser.test_accessibility import check
from tests.browser.test_operator import take_invitation
from tests.browser.test_rights import operator

pytestmark = pytest.mark.browser


async def sign_in(page: Page, service: Service) -> None:
    """An operator who was invited on the machine takes the invitation in the page."""
    folder = str(service._folder)
    said = await operator(service, "create", "ada", "--role", "support", "--invite", "--data-dir", folder)
    await take_invitation(page, "ada", said.split()[0])


async def test_a_call_is_watched_by_consent_and_a_blocked_user_is_told_why(service: Service, artifacts: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first, second, desk = await asyncio.gather(
            stack.enter_async_context(chromium(service.url)),
            stack.enter_async_context(firefox(service.url)),
            stack.enter_async_context(chromium(service.url + "/operator/", width=1280, height=900)),
        )
        alice = Person("Alice", "+4930901820", first, service)
        bob = Person("Bob", "+442079460018", second, service)
        await alice.register()
        await bob.register()
        await alice.bring_contacts("Bob Miller, +44 20 7946 0018")
        await bob.bring_contacts("Alice Smith, +49 30 901820")
        await first.click("link", "Settings", exact=True)
        await first.click("checkbox", "Keep how well my calls worked")
        await first.sees("every ten seconds while it goes on")
        await first.click("button", "Allow")
        await first.sees("Keep how well my calls worked (allowed")
        await first.click("link", "Contacts", exact=True)
        await sign_in(desk, service)

        await first.click("button", "Call Bob Miller")
        await second.sees("is calling you")
        await second.click("button", "Accept")
        await asyncio.gather(first.find("button", "Mute"), second.find("button", "Mute"))
        await asyncio.gather(first.hears(second.hz), second.hears(first.hz))
        await desk.click("link", "Calls", exact=True)
        await desk.sees("Connected")
        await desk.until("document.querySelector('.spark')?.innerText || null", "how the call is heard, beside the live call", 60.0)
        await check(desk, "operator-heard-live", artifacts)
        await desk.click("link", await desk.until("document.querySelector('table a[href^=\"#/calls/\"]')?.innerText", "the call"))
        await desk.sees("Quality as it is heard")
        assert not await desk.has("heading", "Quality at the relay")
        text = await desk.text()
        assert "From the callee" in text
        await check(desk, "operator-heard", artifacts)

        # she consented, and he did not: nothing of what he hears is there
        caller, callee = await desk.until(
            "(() => { const all = [...document.querySelectorAll('.legend span')].map((one) => one.innerText.trim()); "
            "const of = (who) => all.find((one) => one.startsWith(who)); "
            "return of('From the callee') ? [of('From the caller'), of('From the callee')] : null; })()",
            "both ways",
        )
        assert not re.search(r"\d", caller)
        assert re.search(r"\d", callee)

        await desk.click("link", await desk.until("document.querySelector('dd a[href^=\"#/accounts/\"]')?.innerText", "the caller"))
        await desk.click("button", "Block")
        await desk.js(
            "() => { const one = document.querySelector('dialog[open] select'); one.value = 'spam'; "
            "one.dispatchEvent(new Event('change', { bubbles: true })); return true; }"
        )
        await desk.fill("Reason", "reported by many")
        await desk.click("button", "Block the account")
        await desk.sees("Blocked since")
        await first.find("heading", "Account blocked")
        await first.sees("Who runs this server has blocked your account, since")
        await first.sees("For spam. If you think that this is wrong, ask support.")
        assert "reported by many" not in await first.text()
        await first.find("button", "Download my data")
        await first.find("button", "Delete my account")
        await check(first, "blocked", artifacts)
        over = "![...document.querySelectorAll('button')].some((one) => one.innerText.trim() === 'Hang up')"
        await asyncio.gather(*(page.until(over, "the call to be over") for page in (first, second)))
