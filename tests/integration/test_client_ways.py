"""The Python client's media move: to a relay and back, under one DTLS session, with real ICE and a real relay."""

import asyncio
import contextlib
from contextlib import AsyncExitStack

import pytest

from signaling.client.client import Call, Client
from signaling.client.ladder import Network, Via, Wished
from signaling.client.media import Listener, ToneTrack
from signaling.client.sdp import ice_of
from signaling.wire.messages import Stage
from tests.integration.test_client_calls import acquainted, rung
from tests.integration.test_relay_api import announced
from tests.relay_client import relay

__all__ = ["announced"]


@contextlib.asynccontextmanager
async def talking(hub, stack: AsyncExitStack, *, hides: str = ""):
    """A call between two clients who hear each other; the name of one that hides its address can be given."""
    alice, bob = await acquainted(hub, stack)
    alice.always_relay, bob.always_relay = hides == "alice", hides == "bob"
    ears = Listener(), Listener()
    outgoing = await alice.call(bob.profile.account, track=ToneTrack(440), heard=ears[0])
    incoming = await rung(bob)
    await incoming.accept(track=ToneTrack(620), heard=ears[1])
    await asyncio.gather(outgoing.reach(Stage.CONNECTED), incoming.reach(Stage.CONNECTED))
    await asyncio.gather(ears[0].hears(620), ears[1].hears(440))
    yield outgoing, incoming
    await outgoing.hangup()
    await incoming.reach(Stage.ENDED)
    assert alice.notices == bob.notices == []


async def still_heard(*calls: Call) -> None:
    """Each hears more packets than it has heard so far."""
    before = [call._media.packets for call in calls]
    async with asyncio.timeout(10):
        while any(call._media.packets < count + 5 for call, count in zip(calls, before, strict=True)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("who", ["alice", "bob"])
async def test_with_one_who_hides_the_call_goes_over_the_relay_and_no_address_is_told(hub, announced, who, monkeypatch):
    told = []
    signal = Client._signal

    async def spy(self, call, kind, body):
        told.append((self, kind, body))
        await signal(self, call, kind, body)

    monkeypatch.setattr(Client, "_signal", spy)
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(relay())
        await stack.enter_async_context(announced(running))
        async with talking(hub, stack, hides=who) as (outgoing, incoming):
            await asyncio.gather(outgoing.carried(over_relay=True), incoming.carried(over_relay=True))
            assert len(running) == 1
            hiding = outgoing if who == "alice" else incoming
            other = incoming if who == "alice" else outgoing
            heard_of_it = [other._offer] if who == "alice" else []
            assert all(ice_of(sdp).candidates == () for sdp in heard_of_it)
            assert ice_of(hiding._media._described()).candidates == ()
            assert "c=IN IP4 0.0.0.0" in hiding._media._described()
            assert [kind for client, kind, _ in told if client is hiding._client and kind == "candidates"] == []


async def test_a_call_moves_to_the_relay_back_and_to_another_relay_while_both_are_heard(hub, announced):
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(relay())
        leaving = await stack.enter_async_context(announced(running))
        async with talking(hub, stack) as (outgoing, incoming):
            assert not outgoing.over_relay
            # the callee is the one that hears nothing: it wishes, the caller moves
            await incoming._client._signal(incoming, "wish", {"epoch": 0, "via": "relay"})
            await asyncio.gather(outgoing.carried(over_relay=True), incoming.carried(over_relay=True))
            await still_heard(outgoing, incoming)

            outgoing._route._take(Wished(outgoing._route.epoch, Via.DIRECT))
            await incoming.carried()
            async with asyncio.timeout(10):
                while outgoing.over_relay or incoming.over_relay or not outgoing._route.carried:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert outgoing._route.epoch == incoming._route.epoch == 2
            await still_heard(outgoing, incoming)

            outgoing._route._take(Network())  # an address has changed: the same way anew
            async with asyncio.timeout(10):
                while incoming._route.epoch != 3 or not incoming._route.carried or not outgoing._route.carried:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            await still_heard(outgoing, incoming)

            outgoing._route._take(Wished(3, Via.RELAY))
            await asyncio.gather(outgoing.carried(over_relay=True), incoming.carried(over_relay=True))
            async with AsyncExitStack() as second:
                other = await second.enter_async_context(relay())
                await second.enter_async_context(announced(other))
                await leaving.leave()  # the hub tells both
                async with asyncio.timeout(10):
                    while len(other) != 1 or incoming._route.epoch < 5 or not incoming.over_relay:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                await asyncio.gather(outgoing.carried(over_relay=True), incoming.carried(over_relay=True))
                await still_heard(outgoing, incoming)


async def test_when_the_direct_way_dies_the_call_goes_on_over_the_relay(hub, announced):
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(relay())
        await stack.enter_async_context(announced(running))
        async with talking(hub, stack) as (outgoing, incoming):
            for call in (outgoing, incoming):
                # as when a firewall begins to drop: nothing is said, nothing comes
                for protocol in call._media._path._used._protocols:
                    protocol.transport.sendto = lambda *_: None
            await asyncio.gather(outgoing.carried(over_relay=True), incoming.carried(over_relay=True))
            await still_heard(outgoing, incoming)


async def test_a_leg_that_is_asked_for_twice_at_once_is_that_of_the_newer_way(hub, announced):
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(relay())
        await stack.enter_async_context(announced(running))
        async with talking(hub, stack) as (outgoing, incoming):
            for call in (outgoing, incoming):
                ask = call._route._leg

                async def slower(ufrag, pwd, ask=ask, late=[0.3, 0.0]):  # noqa: B006 - the first of the two gets stuck on the way
                    await asyncio.sleep(late.pop(0) if late else 0.0)
                    return await ask(ufrag, pwd)

                call._route._leg = slower
            for _ in range(2):
                outgoing._route._take(Wished(outgoing._route.epoch, Via.RELAY))
            await asyncio.gather(outgoing.carried(over_relay=True), incoming.carried(over_relay=True))
            assert outgoing._route.epoch == incoming._route.epoch == 2
            await still_heard(outgoing, incoming)
