"""The operators' page in Chromium (a laptop's window) and Firefox (a phone's): from the invitation to a call that is ended, in light and dark."""

import asyncio
import contextlib
import re
from pathlib import Path

import pyotp
import pytest

from media.control import RelayControl
from signaling.storage.redis import redis_client
from signaling.wire.admin.frame import Role
from tests.browser.browsers import Page, chromium, firefox
from tests.browser.test_accessibility import check, violations
from tests.integration.hub_fixture import RunningHub, beside, hub
from tests.integration.test_call_traces import connected, phones
from tests.operators import PASSWORD
from tests.phones import Phone
from tests.relay_client import relay

__all__ = ["hub"]

pytestmark = pytest.mark.browser


async def enrol(page: Page, running: RunningHub, name: str) -> None:
    """Invite an operator, who takes the invitation in the page."""
    invitation = await running.hub.operators.operators.add(None, name, Role.ADMIN)
    await take_invitation(page, name, invitation.code)


async def take_invitation(page: Page, name: str, code: str) -> None:
    """Set an operator's password and second factor up, in the page."""
    await page.click("link", "Set up your access")
    await page.fill("Name", name)
    await page.fill("Invitation", code)
    await page.click("button", "Go on")
    await page.find("heading", "Password and second factor")
    secret = re.search(r"\b[A-Z2-7]{32}\b", await page.text())
    assert secret is not None
    await page.fill("Code", pyotp.TOTP(secret[0]).now())
    await page.fill("Password", PASSWORD)
    await page.click("button", "Finish")
    await page.find("heading", "Overview")


async def some_calls(alice: Phone, bob: Phone) -> str:
    """Calls that ended in different ways, and one that goes on."""
    for _ in range(3):
        call = await connected(alice, bob)
        await bob.ask("call.hangup", call=call)
    call = await alice.invite(bob.account)
    await bob.rings()
    await bob.ask("call.decline", call=call)
    call = await bob.invite(alice.account)
    await alice.rings()
    await alice.accept(call)
    await bob.reaches(call, "connecting")
    await bob.ask("call.failed", call=call)
    call = await connected(alice, bob)
    await alice.ask("call.moved", call=call, rung="relay")
    return call


async def test_an_operator_sees_what_goes_on_and_acts(hub: RunningHub, artifacts: Path) -> None:
    url = hub.url.replace("127.0.0.1", "localhost") + "/operator/"
    async with contextlib.AsyncExitStack() as stack:
        other = await stack.enter_async_context(beside(hub))
        carrier = RelayControl(redis_client(hub.stores[0]), await stack.enter_async_context(relay()))
        await carrier.start()
        stack.push_async_callback(carrier.close)
        alice, bob = await phones(hub, stack, hub.url, other.url)
        laptop, phone = await asyncio.gather(
            stack.enter_async_context(chromium(url, width=1280, height=860)),
            stack.enter_async_context(firefox(url, width=412, height=860)),
        )
        call = await some_calls(alice, bob)
        for running in (hub, other):
            await running.hub.operations.written()
        await check(laptop, "operator-sign-in", artifacts)
        # as the hub sends a browser back that the single sign-on did not let in
        await laptop.goto("about:blank")
        await laptop.goto(url + "#refused=sign_in_failed")
        await laptop.sees("The single sign-on did not let you in.")
        await enrol(laptop, hub, "ada")
        await laptop.sees("Media failed")
        await laptop.sees("Live")
        await check(laptop, "operator-overview", artifacts)
        await enrol(phone, hub, "ben")
        await phone.sees("Live")
        await phone.shot(artifacts / "operator-overview-phone.png")

        # a call that goes on, found by its id, and ended with a reason
        for page, where in ((laptop, "laptop"), (phone, "phone")):
            await page.click("link", "Calls", exact=True)
            await page.find("link", call[:8])
            await page.sees("Declined")
            await page.shot(artifacts / f"operator-calls-{where}.png")
            assert await page.js("() => document.documentElement.scrollWidth <= innerWidth"), where
            await page.fill("Find a call by its id", call)
            await page.press("Enter")
            await page.sees("Caller: media flows again, relay")
        text = await laptop.text()
        for account in (alice.account.id, bob.account.id):
            assert account not in text
            assert hub.hub.pseudonyms.of(account)[:8] in text
        await phone.shot(artifacts / "operator-call-phone.png")
        assert await violations(phone) == []
        await laptop.click("button", "End this call")
        await laptop.fill("Reason", "asked for in ticket 7")
        await laptop.click("button", "End the call")
        for device in (alice, bob):
            assert await device.reaches(call, "ended:unavailable")
        for page in (laptop, phone):
            await page.sees("Ended: ended by operator")  # told by the stream

        # who is behind a pseudonym: with a reason, which the trail keeps
        await laptop.click("link", hub.hub.pseudonyms.of(alice.account.id)[:8])
        await laptop.click("button", "Reveal")
        await laptop.fill("Reason", "asked for in ticket 7")
        await laptop.click("button", "Show who this is")
        await laptop.sees("+49300000000")
        await laptop.click("button", "Block")
        await laptop.fill("Reason", "sends spam")
        await laptop.click("button", "Block the account")
        await laptop.sees("Blocked since")
        await check(laptop, "operator-account", artifacts)

        # a hub is drained
        ended = asyncio.Event()
        other.hub.events.drain = ended.set
        await laptop.click("link", "Hubs and relays")
        await check(laptop, "operator-fleet", artifacts)
        await laptop.click("button", f"Drain hub {other.hub.cluster.node[:4]}")
        await laptop.fill("Reason", "update")
        await laptop.click("button", "Drain the hub")
        async with asyncio.timeout(10):
            await ended.wait()

        for view, sight in (("Desk", "Written requests"), ("Audit", "account revealed"), ("Operators", "Tokens for programs")):
            await laptop.click("link", view, exact=True)
            await laptop.sees(sight)
            await check(laptop, f"operator-{view.lower()}", artifacts)
        assert [e.action for e in await hub.hub.audit.read()][-4:] == [
            "call_ended", "account_revealed", "account_blocked", "hub_drained",
        ]  # fmt: skip
        await laptop.click("link", "ada", exact=True)
        await laptop.sees("this one")
        await check(laptop, "operator-me", artifacts)
        await laptop.virtual_authenticator()
        await laptop.fill("Name of the passkey", "my laptop")
        await laptop.fill("Your password", PASSWORD)
        await laptop.click("button", "Add a passkey")
        await laptop.find("button", "Remove my laptop")
        await laptop.click("button", "Sign out")
        await laptop.click("button", "Use a passkey")
        await laptop.find("button", "Sign out")
        for page in (laptop, phone):
            assert [line for line in page.console if "401" not in line] == []  # browsers say that nobody was signed in yet
