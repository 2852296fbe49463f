"""The demo with axe-core, by keyboard alone, at the width of a small phone, in light and in dark."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.browser.browsers import Page, chromium, firefox
from tests.browser.person import Person
from tests.browser.service import ROOT, Service

pytestmark = pytest.mark.browser

AXE = ROOT / "web/node_modules/axe-core/axe.min.js"

_FOCUSED = """
() => {
  const element = document.activeElement;
  const label = element.labels && element.labels.length ? element.labels[0].textContent : "";
  return (element.getAttribute("aria-label") ?? (label || element.textContent)).replace(/\\s+/g, " ").trim();
}
"""


async def violations(page: Page) -> list[dict[str, Any]]:
    """What axe-core finds on the page as it is now, short."""
    if not await page.js("() => typeof window.axe === 'object'"):
        await page.js(f"() => {{ {AXE.read_text()}\n; return null; }}")
    found: list[dict[str, Any]] = await page.js(
        """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations.map((v) => ({
            id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)),
        }))"""
    )
    return found


async def check(page: Page, view: str, artifacts: Path) -> None:
    """No violation in light or dark, nothing wider than the screen; one picture of each."""
    for scheme in ("light", "dark"):
        await page.scheme(scheme)  # type: ignore[arg-type]
        await page.shot(artifacts / f"{view}-{scheme}.png")
        found = await violations(page)
        assert found == [], f"{view}, {scheme}: {json.dumps(found, indent=1)}"
        assert await page.js("() => document.documentElement.scrollWidth <= innerWidth"), f"{view} is wider than the screen"


async def tab_to(page: Page, name: str) -> None:
    """Press Tab until the element with a name has the focus, as somebody without a mouse does."""
    seen = []
    for _ in range(60):
        await page.press("Tab")
        seen.append(await page.js(_FOCUSED))
        if seen[-1].lower().startswith(name.lower()):
            return
    raise AssertionError(f"Tab never reached {name!r}: {seen}")


async def test_every_view_is_clean(service: Service, artifacts: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first, second = await asyncio.gather(
            stack.enter_async_context(chromium(service.url, width=360, height=740)),
            stack.enter_async_context(firefox(service.url)),
        )
        alice = Person("Alice", "+4930901820", first, service)
        bob = Person("Bob", "+442079460018", second, service)
        await check(first, "welcome", artifacts)
        await first.click("link", "Create an account")
        await first.sees("Privacy policy")
        await first.find("checkbox", "I have read")
        await check(first, "register", artifacts)
        await first.goto(service.url + "/#/")
        await alice.register()
        await check(first, "consent", artifacts)
        await alice.bring_contacts("Bob Miller, +44 20 7946 0018\nCarol, +1 212 555 0123")
        await check(first, "contacts", artifacts)
        await bob.register()
        await bob.bring_contacts("Alice Smith, +49 30 901820")
        await first.click("button", "About Bob Miller")
        await first.sees("Mark as verified")
        await check(first, "contact", artifacts)
        await first.click("button", "Close")
        await first.click("button", "Call Bob Miller")
        await second.click("button", "Accept")
        await first.find("button", "Mute")
        await first.sees("connection")
        await alice.safety_number()
        await check(first, "call", artifacts)
        await first.click("button", "Hang up")
        await check(first, "ended", artifacts)
        await first.close_call()
        await second.close_call()
        await second.click("button", "Call Alice Smith")
        await first.find("button", "Accept")
        await check(first, "incoming", artifacts)
        await first.press("Escape")
        await second.sees("Declined")
        await first.close_call()
        for view, heading in (("Calls", "Calls"), ("Settings", "Settings")):
            await first.click("link", view, exact=True)
            await first.find("heading", heading)
            await check(first, view.lower(), artifacts)
        await first.click("link", "Add a device")
        await first.sees("Show it to nobody")
        await check(first, "add-device", artifacts)
        assert first.console == []


async def test_registration_by_keyboard_alone(service: Service) -> None:
    async with chromium(service.url) as page:
        await page.find("link", "Create an account")
        await tab_to(page, "Create an account")
        await page.press("Enter")
        await page.find("heading", "Create an account")
        await tab_to(page, "Phone number")
        await page.keys("+4930901821")
        await tab_to(page, "E-mail address")
        await page.keys("kim@example.org")
        await page.find("checkbox", "I have read")
        await tab_to(page, "I have read")
        await page.press("Space")
        await tab_to(page, "Send the codes")
        await page.press("Enter")
        for field, button, recipient in (
            ("Code from the text message", "Confirm phone number", "+4930901821"),
            ("Code from the e-mail", "Confirm e-mail address", "kim@example.org"),
        ):
            code = await service.code(recipient)
            await page.find("textbox", field)
            await tab_to(page, field)
            await page.keys(code)
            await page.press("Enter")
            await page.until(f"!document.body.innerText.includes({json.dumps(button)})", f"{button!r} to be done")
        await page.find("button", "Finish")
        await tab_to(page, "Device name")
        await page.press("Enter")
        await page.find("button", "Allow")
        await tab_to(page, "Allow")
        await page.press("Enter")
        await page.find("heading", "Import contacts")
        await tab_to(page, "Paste names")
        await page.keys("Lee, +44 20 7946 0099")
        await tab_to(page, "Check")
        await page.press("Enter")
        await page.sees("1 number found")
        await tab_to(page, "Find 1 contact")
        await page.press("Enter")
        await page.sees("1 number added")
        assert page.console == []
