"""Firefox that always uses a relay, on an installation as it comes: with a relay, and without STUN or TURN servers."""

import asyncio

import pytest

from signaling.client.client import Client
from signaling.client.media import Listener, ToneTrack
from signaling.wire.messages import Stage
from signaling.wire.rest import Channel
from tests.browser.browsers import BROWSERS
from tests.browser.person import Person
from tests.browser.service import Service

pytestmark = pytest.mark.browser

ROBOT, ROBOT_HZ = "+4930901900", 620


async def test_who_always_uses_a_relay_hears_and_is_heard(service: Service) -> None:
    """Firefox sends nothing on a connection that once had no candidates. Chromium does, and is in ``test_moving.py``."""

    async def code(_channel: Channel, to: str) -> str:
        return await service.code(to)

    async with BROWSERS["firefox"](service.url) as page, Client(service.url) as robot:
        ada = Person("Ada", "+442079460031", page, service)
        await ada.register()
        await page.click("link", "Settings", exact=True)
        await page.click("checkbox", "Always use a relay")
        await page.click("link", "Contacts", exact=True)
        await robot.register(phone=ROBOT, email="relayed@example.org", code=code, device_name="Robot")
        await robot.allow_phonebook()
        matches = await robot.find({ada.phone: "Ada"})
        await ada.bring_contacts("The Robot, +49 30 901900")

        await page.click("button", "Call The Robot")
        async with asyncio.timeout(10):
            call = await robot.incoming.get()
        heard = Listener()
        await call.accept(track=ToneTrack(ROBOT_HZ), heard=heard)
        await call.reach(Stage.CONNECTED)
        await asyncio.gather(page.hears(ROBOT_HZ), heard.hears(page.hz))
        await call.hangup()
        await page.sees("Call ended")
        await page.close_call()

        heard = Listener()
        call = await robot.call(matches[ada.phone], track=ToneTrack(ROBOT_HZ), heard=heard)
        await page.sees("is calling you")
        await page.click("button", "Accept")
        await call.reach(Stage.CONNECTED)
        await asyncio.gather(page.hears(ROBOT_HZ), heard.hears(page.hz))
        await call.hangup()
        await page.sees("Call ended")
        assert page.console == []
