"""The demo against a hub that lies: the user sees it, and nothing is sent to whom it must not go (P10)."""

import asyncio
import contextlib
from typing import Any

import pytest

from tests.browser.browsers import chromium
from tests.browser.person import Person
from tests.browser.service import Service
from tests.lying_hub import lying_hub

pytestmark = pytest.mark.browser


def flip(payload: str) -> str:
    """Change one character in the middle of a sealed payload: a fingerprint or anything else."""
    at = len(payload) // 2
    return payload[:at] + ("A" if payload[at] != "A" else "B") + payload[at + 1 :]


async def test_every_lie_is_shown(service: Service) -> None:
    async with contextlib.AsyncExitStack() as stack:
        liar = await stack.enter_async_context(lying_hub(service.url))
        first, second = await asyncio.gather(
            stack.enter_async_context(chromium(liar.url)), stack.enter_async_context(chromium(service.url))
        )
        alice = Person("Alice", "+4930901820", first, service)
        bob = Person("Bob", "+442079460018", second, service)
        await alice.register()
        await bob.register()
        await alice.bring_contacts("Bob Miller, +44 20 7946 0018")
        await bob.bring_contacts("Alice Smith, +49 30 901820")
        certificates: list[dict[str, Any]] = []

        # a true call first: Bob's identity key is pinned, and there is a certificate to lie with
        def remember(path: str, body: Any) -> Any:
            if path.endswith("/devices") and "certificates" in body:
                certificates[:] = body["certificates"]
            return body

        liar.rest = remember
        await first.click("button", "Call Bob Miller")
        await second.click("button", "Accept")
        await first.find("button", "Mute")

        # a payload of this call comes a second time
        again: list[dict[str, Any]] = []

        def repeat(message: dict[str, Any]) -> list[dict[str, Any]]:
            if message["type"] == "call.signalled" and not again:
                again.append(message)
                return [message, message]
            return [message]

        liar.down = repeat
        await second.click("button", "Mute")
        await first.sees("sent a second time")
        await first.sees("Their microphone is off")  # the first time it counted

        # a payload that was changed on the way
        liar.down = lambda m: [m | {"payload": flip(m["payload"])}] if m["type"] == "call.signalled" else [m]
        await second.click("button", "Mute")
        await first.sees("could not be opened")
        assert "Their microphone is off" in await first.text()  # it was ignored
        liar.down = lambda message: [message]
        await first.click("button", "Hang up")
        await first.click("button", "Close")
        await second.click("button", "Close")

        # a device that Bob did not add
        ghost = certificates[0] | {"chain": [certificates[0]["chain"][0] | {"device": "G" * 22}]}
        liar.rest = lambda path, body: (
            body | {"certificates": [*body["certificates"], ghost]}
            if path.endswith("/devices") and "certificates" in body
            else body
        )
        liar.told.clear()
        await first.click("button", "Call Bob Miller")
        await first.sees("a device that this person did not add")
        assert "call.invite" not in liar.told

        # a key of Bob's device is swapped
        swapped = certificates[0] | {"chain": [certificates[0]["chain"][0] | {"sealing_key": certificates[0]["identity_key"]}]}
        liar.rest = lambda path, body: (
            body | {"certificates": [swapped]} if path.endswith("/devices") and "certificates" in body else body
        )
        await first.click("button", "I have read this")
        await first.click("button", "Call Bob Miller")
        await first.sees("could not be made secure")
        assert "call.invite" not in liar.told
        liar.rest = lambda _path, body: body

        # the answer, with the fingerprint in it, is changed: the call does not come about, and says why
        liar.down = lambda m: [m | {"payload": flip(m["payload"])}] if m["type"] == "call.answered" else [m]
        await first.click("button", "Call Bob Miller")
        await second.click("button", "Accept")
        await first.sees("could not be opened")
        await first.sees("could not be connected")
        await second.sees("could not be connected")
