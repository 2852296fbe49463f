"""Two Python clients at a real hub: found by number, called, heard; a second device is linked."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from signaling.client.client import Call, Client
from signaling.client.media import Listener, ToneTrack
from signaling.client.profile import Profile
from signaling.client.rest import ClientError
from signaling.wire.errors import ErrorCode
from signaling.wire.messages import CloseCode, Reason, Stage
from tests.conftest import eventually
from tests.integration.hub_fixture import RunningHub, register

ALICE, BOB = "+4915112345678", "+4915187654321"


async def acquainted(hub: RunningHub, stack: AsyncExitStack, alices_url: str | None = None) -> tuple[Client, Client]:
    """Two connected clients with each other in their address books."""
    alice, bob = await register(hub, ALICE, url=alices_url), await register(hub, BOB)
    for client, name, number in ((alice, "Bob", BOB), (bob, "Alice", ALICE)):
        stack.push_async_callback(client.close)
        await client.allow_phonebook()
        await client.find({number: name})
    return alice, bob


async def rung(client: Client) -> Call:
    """The next call that rings."""
    async with asyncio.timeout(10):
        return await client.incoming.get()


async def history_of(client: Client, call: str) -> Reason:
    """The reason in the history, which is written behind the call."""
    async with asyncio.timeout(10):
        while True:
            for record in await client.history():
                if record.call == call:
                    return record.reason


async def test_two_clients_find_each_other_call_and_hear_each_others_tone(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        assert await alice.address_book() == {BOB: "Bob"}
        at_alice, at_bob = Listener(), Listener()
        account = await alice.joined(BOB)
        outgoing = await alice.call(account, track=ToneTrack(440), heard=at_alice)
        incoming = await rung(bob)
        assert incoming.phone == ALICE
        await outgoing.reach(Stage.RINGING)
        await incoming.accept(track=ToneTrack(620), heard=at_bob)
        await asyncio.gather(outgoing.reach(Stage.CONNECTED), incoming.reach(Stage.CONNECTED))
        await asyncio.gather(at_alice.hears(620), at_bob.hears(440))
        assert outgoing.safety_number() == incoming.safety_number()

        await outgoing.send_state(muted=True)
        await outgoing.hangup()
        await incoming.reach(Stage.ENDED)
        assert incoming.reason is Reason.HANGUP
        assert incoming.peer_muted
        assert alice.notices == bob.notices == []
        assert await history_of(alice, outgoing.id) is await history_of(bob, outgoing.id) is Reason.HANGUP


async def test_who_joins_later_appears_by_itself(hub):
    async with AsyncExitStack() as stack:
        alice = await register(hub, ALICE)
        stack.push_async_callback(alice.close)
        await alice.allow_phonebook()
        assert await alice.find({BOB: "Bob"}) == {}
        bob = await register(hub, BOB)
        stack.push_async_callback(bob.close)
        assert await alice.joined(BOB) == bob.profile.account


async def test_a_declined_call_ends_as_declined_at_the_caller(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        outgoing = await alice.call(bob.profile.account, track=ToneTrack(440))
        await (await rung(bob)).decline()
        await outgoing.reach(Stage.ENDED)
        assert outgoing.reason is Reason.DECLINED


async def test_a_caller_who_gives_up_is_a_cancelled_call_at_the_callee(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        outgoing = await alice.call(bob.profile.account, track=ToneTrack(440))
        incoming = await rung(bob)
        await outgoing.hangup()
        await incoming.reach(Stage.ENDED)
        assert incoming.reason is outgoing.reason is Reason.CANCELLED


async def test_a_linked_device_reads_the_address_book_and_takes_calls(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        code = await bob.open_link()
        laptop = await stack.enter_async_context(Client(hub.url))
        claiming = asyncio.create_task(laptop.claim_link(code.lower(), "Bob's laptop"))
        assert await bob.approve_link() == "Bob's laptop"
        await claiming
        assert await laptop.address_book() == {ALICE: "Alice"}

        outgoing = await alice.call(bob.profile.account, track=ToneTrack(440))
        first = await rung(bob)
        await (await rung(laptop)).accept(track=ToneTrack(620))
        await outgoing.reach(Stage.CONNECTED)
        await first.reach(Stage.ENDED)
        assert first.reason is Reason.ANSWERED_ELSEWHERE
        assert outgoing.peer.device == laptop.profile.device
        assert alice.safety_number(bob.profile.account) == laptop.safety_number(alice.profile.account)


async def linked(old: Client, url: str, stack: AsyncExitStack) -> Client:
    """One more device of a client's account."""
    laptop = await stack.enter_async_context(Client(url))
    claiming = asyncio.create_task(laptop.claim_link(await old.open_link(), "a laptop"))
    await old.approve_link()
    await claiming
    return laptop


async def test_a_call_moves_to_another_device_and_back_and_is_heard(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        laptop = await linked(bob, hub.url, stack)
        at_alice, at_laptop, at_bob = Listener(), Listener(), Listener()
        outgoing = await alice.call(bob.profile.account, track=ToneTrack(440), heard=at_alice)
        first = await rung(bob)
        await first.accept(track=ToneTrack(620))
        await asyncio.gather(outgoing.reach(Stage.CONNECTED), at_alice.hears(620))
        await eventually(lambda: outgoing.id in laptop.elsewhere)
        assert laptop.elsewhere[outgoing.id].device == bob.profile.device
        there = await laptop.take_over(outgoing.id, track=ToneTrack(880), heard=at_laptop)
        await asyncio.gather(at_alice.hears(880), at_laptop.hears(440), there.reach(Stage.CONNECTED), first.reach(Stage.ENDED))
        assert (first.reason, outgoing.peer.device) == (Reason.MOVED, laptop.profile.device)
        await eventually(lambda: outgoing.id in bob.elsewhere)
        back = await bob.take_over(outgoing.id, track=ToneTrack(620), heard=at_bob)
        await asyncio.gather(at_alice.hears(620), at_bob.hears(440), back.reach(Stage.CONNECTED))
        await outgoing.hangup()
        await back.reach(Stage.ENDED)
        assert (back.reason, there.reason) == (Reason.HANGUP, Reason.MOVED)
        await eventually(lambda: not laptop.elsewhere)
        assert alice.notices == bob.notices == laptop.notices == []


async def test_a_caller_who_did_not_know_of_a_new_device_asks_again_and_calls_it_too(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        known = await alice.devices_of(bob.profile.account)
        laptop = await stack.enter_async_context(Client(hub.url))
        claiming = asyncio.create_task(laptop.claim_link(await bob.open_link(), "Bob's laptop"))
        await bob.approve_link()
        await claiming
        asked, ask = [], alice.devices_of

        async def late(account):
            asked.append(account)
            return known if len(asked) == 1 else await ask(account)

        alice.devices_of = late
        outgoing = await alice.call(bob.profile.account, track=ToneTrack(440))
        assert len(asked) >= 2  # the news of the device may have had it ask besides
        assert len(outgoing.devices) == 2
        assert {(await rung(bob)).id, (await rung(laptop)).id} == {outgoing.id}
        await outgoing.hangup()


async def test_a_claim_by_who_does_not_know_the_code_is_refused(hub):
    async with AsyncExitStack() as stack:
        alice, _ = await acquainted(hub, stack)
        code = await alice.open_link()
        stranger = await stack.enter_async_context(Client(hub.url))
        claiming = asyncio.create_task(stranger.claim_link(code[:4] + "0" * 12, "a stranger's"))
        with pytest.raises(PermissionError):
            await alice.approve_link()
        with pytest.raises(ClientError) as refused:
            await claiming
        assert refused.value.code is ErrorCode.LINK_STATE


async def test_a_saved_profile_signs_in_again_and_a_revoked_one_is_told(hub, tmp_path):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        file = tmp_path / "alice.json"
        await alice.devices_of(bob.profile.account)
        alice.profile.save(file)
        assert file.stat().st_mode & 0o077 == 0
        await alice.close()
        again = await stack.enter_async_context(Client(hub.url, Profile.load(file)))
        assert again.safety_number(bob.profile.account)
        hub.hub.events.devices_removed(again.profile.account, [again.profile.device])
        assert not again.revoked.is_set()  # the socket was closed, but the row is still there: it may come back
        await again.delete_account()
        async with asyncio.timeout(15):
            await again.revoked.wait()


async def test_who_was_away_when_a_call_ended_learns_how_and_what_one_asked_for_meanwhile_is_done(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        outgoing = await alice.call(await alice.joined(BOB), track=ToneTrack(440))
        incoming = await rung(bob)
        await incoming.accept(track=ToneTrack(620))
        await asyncio.gather(outgoing.reach(Stage.CONNECTED), incoming.reach(Stage.CONNECTED))
        for client in (alice, bob):
            hub.hub.sockets.end(client.profile.device, CloseCode.GOING_AWAY)
        await outgoing.hangup()
        await incoming.reach(Stage.ENDED)
        assert incoming.reason is Reason.HANGUP
