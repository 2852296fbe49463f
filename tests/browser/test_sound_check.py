"""The sound check: a real test call from each browser, through the echo that ``serve`` runs; and what it says when something is wrong."""

import asyncio
from pathlib import Path

import pytest

from tests.browser.browsers import BROWSERS, Page
from tests.browser.person import Person
from tests.browser.service import serve

pytestmark = pytest.mark.browser

SILENT = """() => {
  navigator.mediaDevices.getUserMedia = async () => {
    const context = new AudioContext();
    await context.resume();
    const [nothing, out] = [context.createGain(), context.createMediaStreamDestination()];
    nothing.gain.value = 0;
    const source = context.createOscillator();
    source.connect(nothing).connect(out);
    source.start();
    return out.stream;
  };
}"""
DENIED = """() => { window.real = navigator.mediaDevices.getUserMedia; navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("no", "NotAllowedError"); }; }"""
WALLED_IN = """() => {
  // as behind a firewall that lets no UDP through: no address of this device is of any use
  const { createOffer } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.createOffer = function (options) {
    this.setConfiguration({ ...this.getConfiguration(), iceTransportPolicy: "relay" });
    return createOffer.call(this, options);
  };
}"""


async def check(page: Page, button: str) -> None:
    await page.click("button", button)


async def test_the_sound_check_finds_what_is_wrong_and_what_is_well(tmp_path: Path, artifacts: Path) -> None:
    environment = {"KLOUDTALK_ECHO": "true", "KLOUDTALK_RELAY": "false", "KLOUDTALK_ECHO_SECONDS": "40"}
    async with (
        serve(tmp_path / "data", **environment) as service,
        BROWSERS["chromium"](service.url) as chromium,
        BROWSERS["firefox"](service.url) as firefox,
    ):
        pages = (chromium, firefox)
        people = (("Ada", "+442079460018"), ("Finn", "+442079460019"))
        for (name, phone), page in zip(people, pages, strict=True):
            await Person(name, phone, page, service).register()
            await page.click("link", "Settings", exact=True)
            await page.click("checkbox", "Keep how well my calls worked")
            await page.click("button", "Allow", exact=True)
            await page.sees("(allowed")
            await page.click("link", "Check my sound")
            await page.find("heading", "Sound check")
        await chromium.until(
            "fetch('/v1/echo').then((answer) => answer.ok && answer.json()).then((echo) => echo && echo.online)", "the echo"
        )

        await asyncio.gather(*(check(page, "Check my sound") for page in pages))
        await asyncio.gather(*(page.sees("All is well", timeout=40) for page in pages))
        await asyncio.gather(*(page.hears(page.hz) for page in pages))
        await asyncio.gather(*(page.sees("Lost on the way back") for page in pages))
        for page in pages:
            await page.shot(artifacts / f"sound-check-{page.name.lower()}.png")
        for page in pages:
            await page.click("button", "Stop")
            await page.find("button", "Check again")
            await page.sees("All is well")

        # the page knows the account in the history: the call is not one with a stranger
        await chromium.click("link", "Calls", exact=True)
        await chromium.sees("Sound check")
        await chromium.sees("Good connection · 4.4 of 4.4 (MOS)")  # kept, as she allowed it
        await chromium.shot(artifacts / "history-quality.png")
        await chromium.click("link", "Settings", exact=True)
        await chromium.click("link", "Check my sound")

        await chromium.js(DENIED)
        await check(chromium, "Check my sound")
        await chromium.sees("The microphone may not be used")
        await chromium.js("() => { navigator.mediaDevices.getUserMedia = window.real; }")
        await chromium.js(WALLED_IN)
        await firefox.js(SILENT)
        await asyncio.gather(check(chromium, "Check my sound"), check(firefox, "Check again"))
        await asyncio.gather(
            chromium.sees("No sound gets through", timeout=40), firefox.sees("Your microphone is silent", timeout=40)
        )
        await chromium.sees("Directly: nothing came through")
        await chromium.shot(artifacts / "sound-check-nothing.png")
        await firefox.shot(artifacts / "sound-check-silent.png")
        assert chromium.console == []
