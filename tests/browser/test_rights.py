"""Rights, support, plan and news by clicking, in both browsers (P22, P23, P27, P28, P29)."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.browser.browsers import chromium, firefox
from tests.browser.person import Person
from tests.browser.service import ROOT, Service
from tests.browser.test_accessibility import check

pytestmark = pytest.mark.browser


async def operator(service: Service, *arguments: str, typed: str = "") -> str:
    """A command of an operator beside the running service; answers what it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "signaling", "admin", *arguments, cwd=ROOT,
        env=os.environ | {"XDG_CONFIG_HOME": str(service._folder), "KLOUDTALK_ADMIN_URL": service.url},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        said, wrong = await process.communicate(typed.encode())
    assert process.returncode == 0, wrong.decode()
    return said.decode()


@pytest.mark.parametrize("browser", [chromium, firefox])
async def test_one_sees_to_one_s_own_rights(browser, service: Service, artifacts: Path) -> None:
    name = f"ada{browser.__name__[0]}"
    code = (await operator(service, "create", name, "--role", "support", "--invite", "--data-dir", str(service._folder))).split()[0]
    await operator(service, "enrol", name, typed=f"{code}\na horse, a battery & 3 staples\n")
    async with browser(service.url) as page:
        person = Person(f"Rita{browser.__name__}", "+4930901820" if browser is chromium else "+442079460018", page, service)
        await person.register()
        await page.click("link", "Settings", exact=True)

        # the archive comes into the page as a file; what the browser does with it is the browser's
        await page.js(
            "() => { window.saved = []; const make = URL.createObjectURL; "
            "URL.createObjectURL = (blob) => { window.saved.push(blob); return make.call(URL, blob); }; return true; }"
        )
        await page.click("button", "Download my data")
        await page.until("window.saved?.[0]?.size > 500", "the archive")
        kind = await page.js("async () => [window.saved[0].type, (await window.saved[0].slice(0, 2).text())]")
        assert kind == ["application/zip", "PK"]

        await page.click("checkbox", "Count me in statistics")
        await page.until(
            "[...document.querySelectorAll('label.check')].some((label) => label.innerText.includes('Count me in statistics') "
            "&& !label.querySelector('input').checked && !label.querySelector('input').disabled)",
            "the objection",
        )
        await page.click("button", "Try it free for 30 days")
        await page.sees("Free trial, until")
        if browser is chromium:
            await check(page, "rights", artifacts)

        await page.click("button", "Freeze my account")
        await page.click("button", "Freeze account")
        await page.sees("Your account is frozen since")
        await page.goto(service.url + "/?again=1#/settings")  # another page of the same browser
        await page.sees("Your account is frozen since")
        await page.find("button", "Download my data")
        await page.find("button", "Delete my account")
        if browser is chromium:
            await check(page, "frozen", artifacts)
        await page.click("button", "Unfreeze my account")
        await page.until("!document.body.innerText.includes('is frozen since')", "the account to be unfrozen")
        await page.sees("Connected")

        await page.click("link", "Ask support")
        await page.fill("Subject", "Echo")
        await page.fill("What is it about?", "I hear myself.")
        await page.click("button", "Send", exact=True)
        await page.click("button", "Read “Echo”")
        await page.sees("I hear myself.")
        if browser is chromium:
            await check(page, "support", artifacts)
        ticket = (await operator(service, "ticket", "list")).split()[0]
        assert "I hear myself." in await operator(service, "ticket", "show", ticket)
        await operator(service, "ticket", "answer", ticket, "Use headphones.")
        await operator(service, "announcement", "add", "Groups", "You can now talk with several people.")
        await page.goto(service.url + "/?again=2#/contacts")
        await page.sees("Support has answered you.")
        await page.sees("You can now talk with several people.")
        await page.click("link", "Read the answer")
        await page.sees("New answer")
        await page.click("button", "Got it")
        await page.click("button", "Read “Echo”")
        await page.sees("Use headphones.")
        await page.until("!document.body.innerText.includes('New answer')", "the answer to be read")
        await page.click("button", "Delete this question")
        await page.click("button", "Delete question", exact=True)
        await page.until("!document.body.innerText.includes('I hear myself.')", "the question to be gone")
        # while the account is frozen the server says no to what the page asks besides
        assert [line for line in page.console if not any(said in line for said in ("403", "WebSocket"))] == []
