"""Test calls, at a real hub: everyone reaches the echo, hears the greeting and then themselves, and is told how loud they were."""

import asyncio
import signal
from array import array
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import select, update

import signaling.client.echo
from media.levels import FLOOR
from signaling.accounts.services import ECHO, service_token
from signaling.client.client import Call, Client
from signaling.client.echo import Echo, EchoState, Outcome
from signaling.client.media import Listener, ToneTrack
from signaling.client.profile import Profile
from signaling.client.rest import ClientError
from signaling.storage.tables import accounts, call_records
from signaling.wire.errors import ErrorCode
from signaling.wire.messages import Reason, Stage
from signaling.wire.rest import ChangeSettings, EnrolEcho, WhoCanCall
from tests.integration.hub_fixture import _SECRET, RunningHub, beside, register
from tests.integration.test_client_calls import ALICE, BOB, history_of
from tests.integration.test_relay_api import announced
from tests.integration.test_serve import kloudtalk
from tests.relay_client import relay

__all__ = ["announced"]

TOKEN = service_token(_SECRET, ECHO)


async def answering(hub: RunningHub, stack: AsyncExitStack, *, calls: int = 4, seconds: float = 60.0) -> tuple[Client, Echo]:
    """An echo at a hub; its greeting is a short beep, since nobody listens to it."""
    client = Client(hub.url, max_calls=calls)
    await client.open()
    stack.push_async_callback(client.close)
    await client.enrol_as_echo(TOKEN)
    echo = Echo(client, seconds=seconds)
    echo._greeting = [array("h", [3_000, -3_000] * 480).tobytes()] * 5
    running = asyncio.create_task(echo.run())
    stack.callback(running.cancel)
    return client, echo


async def person(hub: RunningHub, stack: AsyncExitStack, phone: str = ALICE) -> Client:
    """Somebody without any contact."""
    client = await register(hub, phone)
    stack.push_async_callback(client.close)
    return client


def reports(client: Client) -> asyncio.Queue:
    """What the echo reports to this client."""
    queue: asyncio.Queue = asyncio.Queue()
    opened = client._security.open

    def spy(*arguments, **more):
        content = opened(*arguments, **more)
        if content is not None and content.kind == "levels":
            queue.put_nowait(content.body)
        return content

    client._security.open = spy
    return queue


@pytest.mark.parametrize("hides", [False, True])
async def test_everyone_calls_it_hears_themselves_and_is_told_how_loud_they_are_also_over_a_relay_only(hub, announced, hides):
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(relay())
        await stack.enter_async_context(announced(running))
        echo, answers = await answering(hub, stack)
        alice = await person(hub, stack)
        alice.always_relay = hides
        told = reports(alice)
        shown = await alice._ask("echo.get")
        assert shown.online
        heard = Listener()
        call = await alice.call(shown.account, track=ToneTrack(440), heard=heard)
        await call.reach(Stage.CONNECTED)
        assert call.peer.identity_key == shown.identity_key
        await heard.hears(440)
        assert call.over_relay is hides
        async with asyncio.timeout(10):
            report = await told.get()
            while report["rms"] == FLOOR:
                report = await told.get()
        assert -20 < report["rms"] < report["peak"] < 0
        assert report["clipped"] == 0
        assert report["packets"] > 10
        assert report["lost"] == 0
        await call.hangup()
        await history_of(alice, call.id)

        # nothing of it is left at the echo, and none of it was ever told to it
        async with asyncio.timeout(10):
            while len(answers):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert echo._security.pins == {}
        assert answers._counts.ended == {Outcome.HEARD: 1, Outcome.LEFT: 0, Outcome.FAILED: 0}
        assert sum(answers._counts.audio.counts) == 1
        async with hub.hub.database.begin() as connection:
            owners = (await connection.execute(select(call_records.c.account))).scalars().all()
        assert owners == [alice.profile.account]
        assert alice.notices == []


@pytest.mark.parametrize("outcome", [Outcome.LEFT, Outcome.FAILED])
async def test_a_test_call_without_sound_is_counted_by_why(hub, monkeypatch, outcome):
    async def accept(call: Call, **_: object) -> None:
        if outcome is Outcome.FAILED:
            raise ClientError(ErrorCode.UNAVAILABLE, "no answer")
        await call.reach(Stage.CONNECTED)

    monkeypatch.setattr(Call, "accept", accept)
    async with AsyncExitStack() as stack:
        echo, answers = await answering(hub, stack)
        alice = await person(hub, stack)
        call = await alice.call(echo.profile.account, track=ToneTrack(440))
        async with asyncio.timeout(10):
            while outcome is Outcome.LEFT and not len(answers):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            if outcome is Outcome.LEFT:
                await call.hangup()
            while not answers._counts.ended[outcome]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert sum(answers._counts.ended.values()) == 1
        assert sum(answers._counts.audio.counts) == 0


async def test_it_is_ready_while_a_hub_is_connected(hub):
    async with AsyncExitStack() as stack:
        state = EchoState(4)
        assert (state.online, state.calls) == (False, 0)
        state.client, state.echo = await answering(hub, stack)
        assert state.online
        await state.client.close()
        assert not state.online


async def test_the_echo_is_not_told_the_number_of_who_calls(hub):
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(hub.url))
        await client.enrol_as_echo(TOKEN)
        alice = await person(hub, stack)
        await alice.call(client.profile.account, track=ToneTrack(440))
        async with asyncio.timeout(10):
            assert (await client.incoming.get()).phone is None


async def test_as_many_as_like_to_may_call_it_one_after_the_other(hub):
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(hub.url))
        await client.enrol_as_echo(TOKEN)
        for phone in (ALICE, BOB):
            caller = await person(hub, stack, phone)
            for _ in range(5):  # ten of strangers in a row: a person's phone would not ring for all of them
                call = await caller.call(client.profile.account, track=ToneTrack(440))
                async with asyncio.timeout(10):
                    assert (await client.incoming.get()).id == call.id
                await call.hangup()


async def test_when_all_lines_are_taken_it_is_busy_and_it_hangs_up_after_its_time(hub):
    async with AsyncExitStack() as stack:
        await answering(hub, stack, calls=1, seconds=2.0)
        alice, bob = await person(hub, stack), await person(hub, stack, BOB)
        account = (await alice._ask("echo.get")).account
        first = await alice.call(account, track=ToneTrack(440))
        await first.reach(Stage.CONNECTED)
        second = await bob.call(account, track=ToneTrack(440))
        await second.reach(Stage.ENDED)
        assert second.reason is Reason.BUSY
        await first.reach(Stage.ENDED, timeout=10)
        assert first.reason is Reason.HANGUP


async def test_it_calls_nobody_and_obeys_who_can_call(hub):
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(hub.url))
        await client.enrol_as_echo(TOKEN)
        alice = await person(hub, stack)
        await alice.change_settings(ChangeSettings(who_can_call="everyone"))
        with pytest.raises(ClientError) as refused:
            await client.devices_of(alice.profile.account)
        assert refused.value.code is ErrorCode.NOT_FOUND
        facts = await hub.hub.events.relations.load(client.profile.account, alice.profile.account)
        assert facts.relation.caller_is_service
        async with hub.hub.database.begin() as connection:
            await connection.execute(update(accounts).where(accounts.c.service == ECHO).values(who_can_call=WhoCanCall.NOBODY))
        hub.hub.events.settings_changed(client.profile.account)
        call = await alice.call(client.profile.account, track=ToneTrack(440))
        await call.reach(Stage.INVITING)
        assert client.incoming.empty()
        await call.hangup()


async def test_only_who_knows_the_secret_becomes_the_echo_and_one_does_not_push_out_another(hub, tmp_path):
    async with AsyncExitStack() as stack:
        alice = await person(hub, stack)
        for token in ("A" * 43, alice.profile.token):
            with pytest.raises(ClientError) as refused:
                await alice._ask("echo.enrol", EnrolEcho(alice.profile.certificate), token=token)
            assert refused.value.code is ErrorCode.UNAUTHENTICATED
        with pytest.raises(ClientError) as refused:
            await alice._ask("echo.get")
        assert refused.value.code is ErrorCode.NOT_FOUND

        first = Client(hub.url)
        await first.open()
        await first.enrol_as_echo(TOKEN)
        other = await stack.enter_async_context(Client(hub.url))
        with pytest.raises(PermissionError):
            await other.enrol_as_echo(TOKEN)
        with pytest.raises(ClientError) as refused:  # another account's
            await other._ask("echo.enrol", EnrolEcho(alice.profile.certificate), token=TOKEN)
        assert refused.value.code is ErrorCode.CERTIFICATE_INVALID

        # the same again, after its session was lost, keeps account and keys; one that has lost its keys gets new ones
        first.profile.save(tmp_path / "echo.json")
        await first.close()
        again = await stack.enter_async_context(Client(hub.url))
        again.profile = Profile.load(tmp_path / "echo.json")
        await again.enrol_as_echo(TOKEN)
        assert again.profile.certificate == first.profile.certificate
        await again.close()
        async with hub.hub.database.begin() as connection:
            assert len((await connection.execute(select(accounts.c.id).where(accounts.c.service == ECHO))).all()) == 1


async def test_the_command_answers_over_any_hub_and_keeps_nothing_but_its_keys(hub, tmp_path):
    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(beside(hub))
        environment = {
            "KLOUDTALK_ECHO_HUB_URL": second.url,
            "KLOUDTALK_ECHO_SECRET": _SECRET,
            "KLOUDTALK_DATA_DIR": str(tmp_path / "e"),
        }
        process = await stack.enter_async_context(kloudtalk("echo", **environment))
        async with asyncio.timeout(60):
            while b"answering" not in (line := await process.stdout.readline()):
                assert line, "it ended before it was ready"
        alice, heard = await person(hub, stack), Listener()
        call = await alice.call((await alice._ask("echo.get")).account, track=ToneTrack(440), heard=heard)
        await call.reach(Stage.CONNECTED)
        await heard.hears(440, timeout=30)
        process.send_signal(signal.SIGTERM)
        await call.reach(Stage.ENDED, timeout=20)
        async with asyncio.timeout(20):
            rest, _ = await process.communicate()
        assert process.returncode == 0, rest
        (kept,) = (tmp_path / "e").iterdir()
        assert kept.name == "echo.json"
        assert kept.stat().st_mode & 0o077 == 0
        assert Profile.load(kept).pins == {}
        assert ALICE.encode() not in kept.read_bytes() + rest
        assert alice.profile.account.encode() not in kept.read_bytes() + rest
    assert signaling.client.echo._REPORT_EVERY >= 1.0  # what is sealed is kept for `sync`, and there is room for 64 in a call
