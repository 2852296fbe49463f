"""A phonebook comes from a vCard file, or from the phone's own picker."""

from pathlib import Path

import pytest

from tests.browser.browsers import BROWSERS
from tests.browser.person import Person
from tests.browser.service import Service

pytestmark = pytest.mark.browser

# as phones export it: versions 2.1 to 4.0 mixed, a folded line, quoted-printable, several numbers, a picture, one card without any
VCARDS = """BEGIN:VCARD
VERSION:3.0
N:Miller;Bob;;;
FN:Bob Mi
 ller
TEL;TYPE=CELL:+44 20 7946 0018
TEL;TYPE=WORK:(020) 7946-0019
PHOTO;ENCODING=b;TYPE=JPEG:/9j/4AAQ0123456789
END:VCARD
BEGIN:VCARD
VERSION:2.1
N;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:J=C3=BCrgen;Anna;;;
TEL;CELL:030 901821
END:VCARD
BEGIN:VCARD
VERSION:4.0
FN:Carol
item1.TEL;VALUE=uri:tel:+1-212-555-0123
END:VCARD
BEGIN:VCARD
VERSION:4.0
FN:Nobody
EMAIL:nobody@example.org
END:VCARD
"""

# desktop browsers have no Contact Picker (w3c.github.io/contact-picker): what Chrome on Android gives to a page, given to this page
PICKER = """(people) => {
  Object.defineProperty(navigator, "contacts", { configurable: true, value: {
    asked: [],
    async select(properties, options) { this.asked.push([properties, options]); return people; },
  } });
  return null;
}"""


@pytest.mark.parametrize("browser", ["chromium", "firefox"])
async def test_a_vcard_file_becomes_contacts(browser: str, service: Service, tmp_path: Path) -> None:
    async with BROWSERS[browser](service.url) as page:
        alice = Person("Alice", "+4930901820", page, service)
        await alice.register()
        await page.click("button", "Allow")
        file = tmp_path / "contacts.vcf"
        file.write_text(VCARDS.replace("\n", "\r\n"), encoding="utf-8")
        await page.choose_file("Choose a file", file)
        await page.sees("4 numbers found")
        await page.sees("1 line left out")
        await page.click("button", "Find 4 contacts")
        await page.sees("4 numbers added")
        # the same file once more: each number is there already
        await page.choose_file("Choose a file", file)
        await page.click("button", "Find 4 contacts")
        await page.sees("No new numbers")
        await page.click("link", "Contacts", exact=True)
        for name, number in (("Bob Miller", "+442079460018"), ("Anna Jürgen", "+4930901821"), ("Carol", "+12125550123")):
            await page.sees(name)
            await page.sees(number)
        assert page.console == []


@pytest.mark.parametrize("browser", ["chromium", "firefox"])
async def test_the_phones_own_picker_is_offered_where_there_is_one(browser: str, service: Service) -> None:
    async with BROWSERS[browser](service.url) as page:
        alice = Person("Alice", "+4930901820", page, service)
        await alice.register()
        await page.click("button", "Allow")
        await page.find("button", "Choose a file")
        assert not await page.has("button", "From this phone")
        await page.js(PICKER, [])
        await page.click("link", "Back")
        await page.click("link", "Import contacts")
        await page.click("button", "From this phone")  # and closed without a choice
        await page.until("navigator.contacts.asked.length === 1", "the picker")
        assert await page.js("() => navigator.contacts.asked[0]") == [["name", "tel"], {"multiple": True}]
        assert "found" not in await page.text()
        people = [
            {"name": ["Bob, 2nd; Miller"], "tel": ["+44 20 7946 0018", "+442079460018"]},
            {"name": [], "tel": ["030 901821"]},
            {"name": ["No Number"], "tel": []},
        ]
        await page.js(PICKER, people)
        await page.click("link", "Back")
        await page.click("link", "Import contacts")
        await page.click("button", "From this phone")
        await page.sees("2 numbers found. 1 of them more than once.")
        await page.click("button", "Find 2 contacts")
        await page.sees("2 numbers added")
        assert page.console == []
