"""Devices ask the hub for their legs; the hub finds relays over a real Redis."""

import asyncio
import contextlib
import time
from contextlib import AsyncExitStack

import msgspec
import pytest

from media.control import LEASE, RelayControl, RelayDirectory
from media.relay import Relay
from signaling.app import redis_client
from signaling.client.media import ToneTrack
from signaling.client.rest import ClientError
from signaling.limits.service import Limits
from signaling.wire.errors import ErrorCode
from signaling.wire.messages import CallRelay, CallRelayEnding, RelayLeg, Stage
from signaling.wire.rest import JoinRelay
from tests.conftest import eventually
from tests.integration.test_client_calls import BOB, acquainted, rung
from tests.relay_client import RTP, Device, parameters, relay

CREDENTIALS = JoinRelay(ufrag="ufrag", pwd="p" * 22)


@pytest.fixture
def announced(_valkeys):
    """Makes a relay one that hubs find."""

    @contextlib.asynccontextmanager
    async def announce(running: Relay):
        control = RelayControl(redis_client(_valkeys[0].url), running)
        await control.start()
        looking = redis_client(_valkeys[0].url)
        async with asyncio.timeout(10):
            while not await looking.hexists("relays", control.id):  # noqa: ASYNC110 - Redis tells nobody
                await asyncio.sleep(0.01)
        await looking.aclose()
        yield control
        await control.leave()
        await control.close()

    return announce


async def in_call(hub, stack: AsyncExitStack):
    """Two clients in a call, and its id."""
    alice, bob = await acquainted(hub, stack)
    outgoing = await alice.call(await alice.joined(BOB), track=ToneTrack(440))
    incoming = await rung(bob)
    await incoming.accept(track=ToneTrack(620))
    await asyncio.gather(outgoing.reach(Stage.CONNECTED), incoming.reach(Stage.CONNECTED))
    return alice, bob, outgoing


async def ask(client, call: str, body: JoinRelay = CREDENTIALS) -> RelayLeg:
    return await client._ask("calls.relay", body, session=True, call=call)


async def over_the_socket(client, call: str, ufrag: str = "ufrag") -> RelayLeg:
    """``call.relay``."""
    answer = await client._socket.request(CallRelay, call=call, ufrag=ufrag, pwd="p" * 22)
    return answer.leg


async def refused(code: ErrorCode, awaitable) -> None:
    with pytest.raises(ClientError) as raised:
        await awaitable
    assert raised.value.code is code


async def test_without_a_relay_calls_work_and_the_api_says_so(hub):
    async with AsyncExitStack() as stack:
        alice, _bob, call = await in_call(hub, stack)
        assert not (await alice._ask("ice.servers", session=True)).relay
        await refused(ErrorCode.NO_RELAY, ask(alice, call.id))
        await refused(ErrorCode.NO_RELAY, alice._ask("calls.relay_quality", session=True, call=call.id))


async def test_both_devices_of_a_call_meet_at_one_pair(hub, announced):
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(relay())
        await stack.enter_async_context(announced(running))
        alice, bob, call = await in_call(hub, stack)
        assert (await alice._ask("ice.servers", session=True)).relay
        one, other = Device(), Device()
        legs = await asyncio.gather(
            *(ask(client, call.id, JoinRelay(*device.credentials)) for client, device in ((alice, one), (bob, other)))
        )
        assert len(running) == 1
        await asyncio.gather(one.connect(parameters(legs[0])), other.connect(parameters(legs[1])))
        await eventually(lambda: running.connected(running.pairs()[0]) == (True, True))
        await one.send(RTP)
        assert await other.receive() == RTP

        quality = await bob._ask("calls.relay_quality", session=True, call=call.id)
        assert quality.received.expected == 1
        assert quality.received.lost == 0
        assert quality.received.mos > 4
        assert quality.sent.expected == 0

        await call.hangup()
        await call.reach(Stage.ENDED)
        await refused(ErrorCode.UNKNOWN_CALL, ask(alice, call.id))
        await hub.hub.relays.release_ended()
        await eventually(lambda: not len(running))
        await asyncio.gather(one.close(), other.close())


async def test_only_the_two_devices_of_a_live_call_get_a_leg(hub, announced):
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(relay())
        await stack.enter_async_context(announced(running))
        alice, bob = await acquainted(hub, stack)
        call = await alice.call(await alice.joined(BOB), track=ToneTrack(440))
        ringing = await rung(bob)
        await refused(ErrorCode.UNKNOWN_CALL, ask(bob, call.id))  # not before it took the call
        await ask(alice, call.id)
        await refused(ErrorCode.UNKNOWN_CALL, ask(alice, "A" * 22))
        await ringing.accept(track=ToneTrack(620))
        await ask(bob, call.id)
        await refused(ErrorCode.NOT_FOUND, ask(alice, "not-an-id"))


@pytest.mark.parametrize("body", [JoinRelay("abc", "p" * 22), JoinRelay("ufrag", "p" * 21), JoinRelay("uf rag", "p" * 22),
                                  JoinRelay("ufrag\n", "p" * 22), JoinRelay("u" * 257, "p" * 22)])  # fmt: skip
async def test_credentials_that_ice_does_not_know_are_refused(hub, body):
    async with AsyncExitStack() as stack:
        alice, _ = await acquainted(hub, stack)
        await refused(ErrorCode.INVALID, ask(alice, "A" * 22, body))


async def test_when_every_relay_is_full_the_api_says_so(hub, announced):
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(relay(capacity=1))
        await running.leg("another call", 0, ("ufrag", "p" * 22))
        await stack.enter_async_context(announced(running))
        alice, _bob, call = await in_call(hub, stack)
        await refused(ErrorCode.NO_RELAY_FREE, ask(alice, call.id))
        assert not (await alice._ask("ice.servers", session=True)).relay


async def test_the_less_loaded_relay_gets_the_call(hub, announced):
    async with AsyncExitStack() as stack:
        busy = await stack.enter_async_context(relay(capacity=4))
        idle = await stack.enter_async_context(relay(capacity=2))
        await busy.leg("another call", 0, ("ufrag", "p" * 22))
        for one in (busy, idle):
            await stack.enter_async_context(announced(one))
        alice, _bob, call = await in_call(hub, stack)
        await ask(alice, call.id)
        assert len(idle) == len(busy) == 1


async def test_calls_of_a_relay_that_ends_are_told_and_move_to_another(hub, announced):
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(relay())
        control = await stack.enter_async_context(announced(first))
        alice, bob, call = await in_call(hub, stack)
        for client in (alice, bob):
            await ask(client, call.id)
        second = await stack.enter_async_context(relay())
        await stack.enter_async_context(announced(second))
        told = []
        send = hub.hub.relays._send
        hub.hub.relays._send = lambda device, message: told.append((device, message)) or send(device, message)
        assert await control.leave()
        await eventually(lambda: len(told) == 2)
        assert sorted(told, key=lambda t: t[0]) == sorted(
            ((client.profile.keys.device, CallRelayEnding(call=call.id)) for client in (alice, bob)), key=lambda t: t[0]
        )
        for client in (alice, bob):
            await ask(client, call.id)
        assert len(second) == 1


async def test_calls_of_a_relay_that_died_move_to_another(hub, announced):
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(relay())
        alice, bob, call = await in_call(hub, stack)
        async with announced(first) as control:
            await ask(alice, call.id)
            # killed: it answers no more, and its lease is still there
            control._lease.cancel()
            await control._subscriber.close()
            second = await stack.enter_async_context(relay())
            await stack.enter_async_context(announced(second))
            await ask(bob, call.id)
            await ask(alice, call.id)
            assert len(second) == 1


async def test_calls_of_a_relay_that_died_are_told_at_once_and_wait_for_the_next_one(hub, announced, redis):
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(relay())
        alice, bob, call = await in_call(hub, stack)
        async with announced(first) as control:
            for client in (alice, bob):
                await ask(client, call.id)
            told: list[str] = []
            send = hub.hub.relays._send
            hub.hub.relays._send = lambda device, message: told.append(device) or send(device, message)
            control._lease.cancel()
            await control._subscriber.close()  # as when it is killed: Redis knows at once
            await eventually(lambda: sorted(told) == sorted(client.profile.keys.device for client in (alice, bob)))
            assert not await redis.hexists("relays", control.id)
            # they ask at once, before another one is there
            asking = asyncio.gather(*(over_the_socket(client, call.id) for client in (alice, bob)))
            second = await stack.enter_async_context(relay())
            await stack.enter_async_context(announced(second))
            assert all(leg.candidates for leg in await asking)
            assert len(second) == 1


async def test_over_the_socket_a_leg_is_the_same_and_refused_alike(hub, announced):
    async with AsyncExitStack() as stack:
        alice, _bob, call = await in_call(hub, stack)
        await refused(ErrorCode.NO_RELAY, over_the_socket(alice, call.id))
        running = await stack.enter_async_context(relay())
        await stack.enter_async_context(announced(running))
        assert await over_the_socket(alice, call.id) == await ask(alice, call.id)
        await refused(ErrorCode.UNKNOWN_CALL, over_the_socket(alice, "A" * 22))
        await refused(ErrorCode.INVALID, over_the_socket(alice, call.id, ufrag="uf rag"))


async def test_a_lease_that_is_not_renewed_ends(announced, redis):
    async with relay() as running, announced(running) as control:
        directory = RelayDirectory(redis, lambda _pairs: None)
        assert [state.id for state in await directory.relays()] == [control.id]
        assert 0 < await redis.ttl("relays") <= 60
        control._lease.cancel()
        await asyncio.wait([control._lease])
        state = (await directory.relays())[0]
        assert 0 < state.until - time.time() <= LEASE
        await redis.hset("relays", control.id, msgspec.json.encode(msgspec.structs.replace(state, until=time.time() - 1)))
        assert await directory.relays() == []


async def test_a_device_that_asks_too_often_waits(hub, announced):
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(relay())
        await stack.enter_async_context(announced(running))
        alice, _bob, call = await in_call(hub, stack)
        hub.hub.relays._limits = Limits(hub.hub.redis, b"pepper")
        for _ in range(10):
            await ask(alice, call.id)
        await refused(ErrorCode.RATE_LIMITED, ask(alice, call.id))
        await refused(ErrorCode.RATE_LIMITED, over_the_socket(alice, call.id))
