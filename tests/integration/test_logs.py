"""Logs of what goes well hold no personal data (P17); those of bad input are read in test_bad_input.py."""

import asyncio
import logging
from contextlib import AsyncExitStack

from signaling.client.media import ToneTrack
from signaling.wire.messages import Stage
from tests.everything import NAMES, TEXTS, use_everything
from tests.integration.hub_fixture import register
from tests.integration.test_client_calls import ALICE, BOB, acquainted, rung
from tests.integration.test_erasure_bytes import Codes
from tests.integration.test_erasure_bytes import register as register_at
from tests.integration.test_serve import kloudtalk, ready
from tests.log_scanner import findings
from tests.personal_data import Person, suspicious


async def test_everything_that_goes_well_leaves_no_personal_data_in_the_log(hub, caplog):
    caplog.set_level(logging.DEBUG, logger="signaling")
    caplog.set_level(logging.WARNING)
    async with AsyncExitStack() as stack:
        alice, bob = await register(hub, ALICE), await register(hub, BOB)
        for client in (alice, bob):
            stack.push_async_callback(client.close)
        second = await use_everything(alice, bob, hub.url, stack)
        people = [Person.of(alice, *NAMES, *TEXTS, second.profile.device, second.profile.token), Person.of(bob)]
        await alice.export()
        await alice.restrict()
        await alice.restrict(False)
        await alice.delete_account()
    assert suspicious(caplog.text) == []
    assert [person.traces(caplog.text.encode()) for person in people] == [[], []]


async def test_a_call_that_goes_well_leaves_no_personal_data_in_the_log(hub, caplog):
    caplog.set_level(logging.DEBUG, logger="signaling")
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        outgoing = await alice.call(bob.profile.account, track=ToneTrack(440))
        incoming = await rung(bob)
        await incoming.accept(track=ToneTrack(620))
        await asyncio.gather(outgoing.reach(Stage.CONNECTED), incoming.reach(Stage.CONNECTED))
        await outgoing.hangup()
        await incoming.reach(Stage.ENDED)
        people = [Person.of(alice), Person.of(bob)]
    assert suspicious(caplog.text) == []
    assert [person.traces(caplog.text.encode()) for person in people] == [[], []]


async def test_the_service_at_debug_prints_codes_and_nothing_else_about_people(tmp_path):
    folder = str(tmp_path / "d")
    async with (
        kloudtalk("serve", "--port", "0", "--data-dir", folder, KLOUDTALK_LOG_LEVEL="debug") as process,
        AsyncExitStack() as stack,
    ):
        url = await ready(process)
        codes = Codes(process)
        anne, bert = await register_at(url, ALICE, codes, stack), await register_at(url, BOB, codes, stack)
        await use_everything(anne, bert, url, stack)
        await anne.delete_account()
        process.terminate()
        async with asyncio.timeout(20):
            await process.wait()
        # the demo prints codes on its terminal, where the operator is the user (docs/settings.md)
        log = "".join(line for line in codes.log if not line.startswith("code "))
        assert [found for line in log.splitlines() for found in findings(line)] == []
        assert '"event":"call"' in log.replace(" ", "")  # debug it was
        assert [Person.of(client).traces(log.encode()) for client in (anne, bert)] == [[], []]
