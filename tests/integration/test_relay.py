"""The relay, with real sockets and real ICE at both ends."""

import asyncio

import pytest

import media.leg
from media.relay import RelayFullError
from tests.conftest import Clock, eventually
from tests.relay_client import DTLS, RTP, Device, devices, planes, relay

plane = planes()


async def test_what_one_device_sends_the_other_gets_untouched():
    async with relay() as running, devices(running) as (one, other):
        for data in (RTP, DTLS, bytes([0x80, 200]) + bytes(10)):
            await one.send(data)
            assert await other.receive() == data
            await other.send(data)
            assert await one.receive() == data
        assert running.connected("pair") == (True, True)
        for direction in running.quality("pair"):
            assert (direction.expected, direction.lost, direction.packets) == (1, 0, 3)
            assert 0 < direction.rtt < 0.5


async def test_it_relays_ipv6():
    async with relay(addresses=("::1",)) as running, devices(running) as (one, other):
        await one.send(RTP)
        assert await other.receive() == RTP


async def test_a_device_with_ipv4_talks_to_one_with_ipv6():
    async with relay(addresses=("127.0.0.1", "::1")) as running:
        one, other = Device(), Device()
        four = await running.leg("pair", 0, one.credentials)
        six = await running.leg("pair", 1, other.credentials)
        assert [candidate.split()[4] for candidate in four.candidates] == ["127.0.0.1", "::1"] * 2, "UDP, then TCP"
        await one.connect(type(four)(four.ufrag, four.pwd, four.candidates[:1]))
        await other.connect(type(six)(six.ufrag, six.pwd, six.candidates[1:2]))
        await one.send(RTP)
        assert await other.receive() == RTP
        await asyncio.gather(one.close(), other.close())


async def test_behind_a_nat_clients_are_told_the_public_address():
    async with relay(addresses=("127.0.0.1=198.51.100.7",)) as running:
        leg = await running.leg("pair", 0, ("ufrag", "p" * 22))
        assert [candidate.split()[4] for candidate in leg.candidates] == ["198.51.100.7"] * 2


async def test_a_device_that_is_controlled_is_made_to_control():
    async with relay() as running:
        one = Device(controlling=False)
        await one.connect(await running.leg("pair", 0, one.credentials))
        assert one.ice.ice_controlling
        await one.close()


async def test_an_ice_restart_moves_a_leg_and_nothing_is_lost_on_the_old_way(monkeypatch):
    monkeypatch.setattr(media.leg, "GRACE", 0.3)
    clock = Clock()  # the old way goes when the test says so, however slow the machine is
    async with relay(clock) as running, devices(running) as (one, other):
        again = Device()
        leg = await running.leg("pair", 0, again.credentials)
        await one.send(RTP)
        assert await other.receive() == RTP
        await again.connect(leg)
        await eventually(lambda: sum(agent.retired_at is not None for agent in running._shared.agents.values()) == 1)
        await again.send(DTLS)
        assert await other.receive() == DTLS
        await one.send(RTP)  # it may not know yet
        assert await other.receive() == RTP
        await other.send(RTP)
        assert await again.receive() == RTP
        assert running.counts().unverified == 0
        assert len(running._shared.agents) == 3
        clock.advance(1)
        await eventually(lambda: len(running._shared.agents) == 2)
        await one.send(RTP)  # now the old address is verified no more
        await again.send(DTLS)
        assert await other.receive() == DTLS
        assert running.counts().unverified == 1
        assert running.connected("pair") == (True, True)
        await again.close()


async def test_a_device_that_stays_with_its_old_way_keeps_it_for_as_long_as_it_checks_it(monkeypatch):
    monkeypatch.setattr(media.leg, "GRACE", 0.3)
    async with relay() as running, devices(running) as (one, other):
        again = Device()
        await again.connect(await running.leg("pair", 0, again.credentials))
        await eventually(lambda: sum(agent.retired_at is not None for agent in running._shared.agents.values()) == 1)
        until = asyncio.get_running_loop().time() + 0.9
        while asyncio.get_running_loop().time() < until:
            check = one.ice.build_request(one.pair, nominate=False)
            await one.pair.protocol.request(check, one.pair.remote_addr, integrity_key=one.ice.remote_password.encode())
            await one.send(RTP)
            assert await other.receive() == RTP
            await asyncio.sleep(0.1)
        assert running.counts().unverified == 0
        await eventually(lambda: len(running._shared.agents) == 2)  # it checks no more
        await again.close()


async def test_restarts_that_never_connect_leave_the_call_as_it_is():
    async with relay() as running, devices(running) as (one, other):
        for number in range(20):
            await running.leg("pair", 0, (f"ufrag{number}", "p" * 22))
        await one.send(RTP)
        assert await other.receive() == RTP
        assert len(running._shared.agents) == 3  # the two in use, and the last that was asked for


async def test_the_same_credentials_give_the_same_leg():
    async with relay() as running:
        device = Device()
        assert await running.leg("pair", 0, device.credentials) == await running.leg("pair", 0, device.credentials)
        assert await running.leg("pair", 1, device.credentials) != await running.leg("pair", 0, device.credentials)


async def test_a_full_relay_says_so_and_a_released_pair_is_free_again():
    async with relay(capacity=1) as running:
        await running.leg("one", 0, ("ufrag", "p" * 22))
        with pytest.raises(RelayFullError):
            await running.leg("two", 0, ("ufrag", "p" * 22))
        await running.release("one")
        await running.leg("two", 0, ("ufrag", "p" * 22))
        assert running.pairs() == ["two"]


async def test_what_a_device_sends_after_the_release_goes_nowhere():
    async with relay() as running, devices(running) as (one, _other):
        await running.release("pair")
        forwarded = running.counts().forwarded
        await one.send(RTP)
        await eventually(lambda: running.counts().unverified)
        assert running.counts().forwarded == forwarded


async def test_more_than_its_bandwidth_is_dropped():
    async with relay(bandwidth=8_000) as running, devices(running) as (one, other):
        big = RTP + bytes(988)
        for _ in range(60):
            await one.send(big)
        await eventually(lambda: running.counts().capped + running.counts().forwarded == 60)
        assert running.counts().forwarded >= 7
        assert running.counts().capped > 10  # were the machine so slow that 42 kB take 5 s, this would not be seen
        assert [await other.receive() for _ in range(running.counts().forwarded)] == [big] * running.counts().forwarded
