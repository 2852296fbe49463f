"""A Python client calls a browser, and a browser calls a Python client: each hears the other's tone."""

import asyncio

import pytest

from signaling.client.client import Client
from signaling.client.media import Listener, ToneTrack
from signaling.wire.messages import Reason, Stage
from signaling.wire.rest import Channel
from tests.browser.browsers import BROWSERS
from tests.browser.person import Person
from tests.browser.service import Service

pytestmark = pytest.mark.browser

ROBOT, ROBOT_HZ = "+4930901899", 620


@pytest.mark.parametrize("browser", ["chromium", "firefox"])
async def test_python_and_a_browser_call_each_other(browser: str, service: Service) -> None:
    async def code(_channel: Channel, to: str) -> str:
        return await service.code(to)

    async with BROWSERS[browser](service.url) as page, Client(service.url) as robot:
        bob = Person("Bob", "+442079460018", page, service)
        await bob.register()
        await robot.register(phone=ROBOT, email="robot@example.org", code=code, device_name="Robot")
        await robot.allow_phonebook()
        matches = await robot.find({bob.phone: "Bob"})
        await bob.bring_contacts("The Robot, +49 30 901899")

        heard = Listener()
        call = await robot.call(matches[bob.phone], track=ToneTrack(ROBOT_HZ), heard=heard)
        await page.sees("is calling you")
        await page.click("button", "Accept")
        await call.reach(Stage.CONNECTED)
        await asyncio.gather(page.hears(ROBOT_HZ), heard.hears(page.hz))
        assert await bob.safety_number() == call.safety_number()
        await call.hangup()
        await page.sees("Call ended")
        await page.close_call()

        await page.click("button", "Call The Robot")
        async with asyncio.timeout(10):
            incoming = await robot.incoming.get()
        heard = Listener()
        await incoming.accept(track=ToneTrack(ROBOT_HZ), heard=heard)
        await incoming.reach(Stage.CONNECTED)
        await asyncio.gather(page.hears(ROBOT_HZ), heard.hears(page.hz))
        await page.click("button", "Hang up")
        await incoming.reach(Stage.ENDED)
        assert incoming.reason is Reason.HANGUP
        assert robot.notices == []
        assert page.console == []
