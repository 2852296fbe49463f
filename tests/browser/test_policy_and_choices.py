"""A new policy is read before one goes on (P04); nothing is stored in a browser before somebody says so, and choices are kept after (P20)."""

import contextlib
import sqlite3
from pathlib import Path

import aiohttp
import pytest

from tests.browser.browsers import BROWSERS, Page, chromium
from tests.browser.person import Person
from tests.browser.service import serve
from tests.browser.test_accessibility import check
from tests.browser.test_presence import choose

pytestmark = pytest.mark.browser

_STORED = """
async () => ({
  cookies: document.cookie, local: Object.keys(localStorage), session: Object.keys(sessionStorage), caches: await caches.keys(),
  databases: (await indexedDB.databases()).map((one) => one.name),
})
"""


async def stored(page: Page) -> dict[str, object]:
    """Everything that the page has stored in the browser."""
    found: dict[str, object] = await page.js(_STORED)
    return found


async def again(page: Page, url: str, theme: str = "Theme") -> None:
    """Leave, and open the settings anew; ``theme``: what the list of themes is called."""
    await page.goto("about:blank")
    await page.goto(url + "/#/settings")
    await page.find("combobox", theme)


NOTHING = {"cookies": "", "local": [], "session": [], "caches": [], "databases": ["kloudtalk"]}
"""But for the database of keys, which is strictly needed."""


@pytest.mark.parametrize("browser", ["chromium", "firefox"])
async def test_nothing_is_stored_before_a_yes_and_language_and_theme_are_remembered_after(
    browser: str, service, artifacts: Path
) -> None:
    async with BROWSERS[browser](service.url) as page:
        await page.find("link", "Create an account")
        assert await stored(page) == NOTHING
        await choose(page, "Language", "العربية")
        await page.find("link", "إنشاء حساب")
        assert await page.js("() => [document.documentElement.lang, document.documentElement.dir]") == ["ar", "rtl"]
        if browser == "chromium":
            await check(page, "arabic", artifacts)
        await choose(page, "اللغة", "Deutsch")
        await page.click("link", "Konto anlegen")
        await page.find("heading", "Konto anlegen")
        await page.sees("Dieser Server verbindet Sprachanrufe")  # the policy, too
        await page.fill("E-Mail-Adresse", "kept@example.org")
        await choose(page, "Sprache", "English")
        await page.find("heading", "Create an account")
        assert await page.js("() => document.querySelector('input[type=email]').value") == "kept@example.org"
        await page.click("link", "Back")
        assert await stored(page) == NOTHING
        person = Person("Alice", "+4930901820", page, service)
        await person.register()
        assert await stored(page) == NOTHING
        await page.click("link", "Settings", exact=True)
        await choose(page, "Theme", "Dark")
        await page.until("getComputedStyle(document.body).backgroundColor === 'rgb(18, 22, 26)'", "the dark theme")
        assert await stored(page) == NOTHING
        await again(page, service.url)
        assert await page.js("() => document.documentElement.dataset.theme ?? null") is None
        await choose(page, "Theme", "Dark")
        await page.click("checkbox", "Remember this on this device")
        await choose(page, "Language", "Deutsch")
        await page.find("heading", "Einstellungen")
        assert (await stored(page))["local"] == ["kloudtalk.choices"]
        await again(page, service.url, "Farben")
        assert await page.js("() => document.documentElement.dataset.theme") == "dark"
        if browser == "chromium":
            await check(page, "dark-theme", artifacts)
        await page.click("checkbox", "Auf diesem Gerät merken")
        assert await stored(page) == NOTHING
        await page.click("link", "Kontakte", exact=True)
        await page.sees("KloudTalk darf mein Telefonbuch verwenden")  # what is asked, too
        assert page.console == []


async def test_no_answer_of_the_server_sets_a_cookie(service) -> None:
    async with aiohttp.ClientSession() as http:
        for path in ("/", "/icon.svg", "/v1/server", "/v1/policy", "/v1/account", "/v1/nothing"):
            async with http.get(service.url + path) as answer:
                assert "Set-Cookie" not in answer.headers, path


async def test_a_new_policy_is_read_before_one_goes_on(tmp_path: Path, artifacts: Path) -> None:
    data, policy = tmp_path / "data", tmp_path / "policy.md"
    policy.write_text("# Privacy policy\n\nVersion 2030-1\n\n## What is new\nNew words in a new policy.\n")
    newer = {"KLOUDTALK_POLICY_VERSION": "2030-1", "KLOUDTALK_POLICY_FILE": str(policy)}
    async with serve(data) as service, chromium(service.url, width=360, height=740) as page:
        alice = Person("Alice", "+4930901820", page, service)
        await alice.register()
        await alice.bring_contacts("Carol, +1 212 555 0123")
        await service.stop()
        with contextlib.closing(sqlite3.connect(data / "kloudtalk.db")) as database, database:
            database.execute("UPDATE consents SET text_sha256 = ?", ["0" * 64])  # as given to words of an older release
        await service.start(**newer)
        await page.sees("The privacy policy has changed", timeout=40)
        await page.sees("New words in a new policy")
        await check(page, "policy-changed", artifacts)
        await page.click("link", "Settings", exact=True)
        await page.find("button", "Delete my account")
        await page.click("link", "Contacts", exact=True)
        await page.click("checkbox", "I have read the new privacy policy")
        await page.click("button", "Go on")
        await page.find("heading", "Not on KloudTalk yet", timeout=30)
        await page.find("heading", "A question has changed")
        await check(page, "question-changed", artifacts)
        await page.click("button", "Allow", exact=True)
        await page.until("!document.body.innerText.includes('A question has changed')", "the answer to be on record")
        await page.click("link", "Settings", exact=True)
        await page.click("link", "Privacy policy", exact=True)
        await page.sees("You acknowledged version 2030-1")
