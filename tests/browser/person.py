"""What a person does on the demo's pages."""

from tests.browser.browsers import Page
from tests.browser.service import Service


class Person:
    """Somebody with a number, an address and a browser."""

    def __init__(self, name: str, phone: str, page: Page, service: Service) -> None:
        self.name = name
        self.phone = phone
        self.email = f"{name.lower()}@example.org"
        self.page = page
        self.service = service

    async def register(self) -> None:
        """From the first page to the contacts."""
        page = self.page
        await page.click("link", "Create an account")
        await page.find("heading", "Create an account")
        await page.fill("Phone number", self.phone)
        await page.fill("E-mail address", self.email)
        await page.click("checkbox", "I have read the privacy policy")
        await page.click("button", "Send the codes")
        await page.fill("Code from the text message", await self.service.code(self.phone))
        await page.click("button", "Confirm phone number")
        await page.sees("Phone number confirmed")
        await page.fill("Code from the e-mail", await self.service.code(self.email))
        await page.click("button", "Confirm e-mail address")
        await page.click("button", "Finish")
        await page.sees("Your phonebook")
        await page.sees("Connected")

    async def bring_contacts(self, lines: str, *, allowed: bool = False) -> None:
        """Give the consent, unless the account has given it before, and import a phonebook by pasting it."""
        page = self.page
        await (page.click("link", "Import contacts") if allowed else page.click("button", "Allow"))
        await page.fill("Paste names and numbers", lines)
        await page.click("button", "Check", exact=True)
        await page.click("button", "Find ")
        await page.sees("added")
        await page.click("link", "Contacts", exact=True)
        await page.find("heading", "On KloudTalk")

    async def link(self, page: Page) -> None:
        """Another browser becomes a device of the account."""
        await self.page.click("link", "Settings", exact=True)
        await self.page.click("link", "Add a device")
        code: str = await self.page.until("document.querySelector('[data-testid=link-code]')?.innerText || null", "a code")
        await page.click("link", "Add this device to my account")
        await page.fill("Code", code)
        await page.fill("Device name", "Laptop")
        await page.click("button", "Link this device")
        await self.page.click("button", "Approve")
        await page.sees("Connected")
        await self.page.click("link", "Contacts", exact=True)

    async def safety_number(self) -> str:
        """Open the safety number of the call, and read it."""
        await self.page.click("button", "Safety number")
        digits: str = await self.page.until(
            "(() => { const all = [...document.querySelectorAll('dialog[open] .digits')].at(-1); "
            "return all && all.checkVisibility() ? all.innerText.replace(/\\s+/g, ' ').trim() : null; })()",
            "the safety number",
        )
        return digits
