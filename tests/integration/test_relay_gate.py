"""The source gate, attacked before, during and after set-up by somebody who knows where the relay is and what goes through it."""

import asyncio
import contextlib
import socket
import struct

import pytest
from aioice import stun

import media.agent
from media.relay import WAIT, WAIT_FOR_ONE, Relay
from tests.conftest import Clock, eventually
from tests.relay_client import DTLS, RTP, Device, devices, planes, relay

plane = planes()

ALERT = bytes.fromhex("15fefd00000000000000010002") + b"\x02\x28"
CLIENT_HELLO = bytes.fromhex("16fefd0000000000000000") + b"\x00\x04\x01\x00\x00\x00"
RTCP_BYE = bytes.fromhex("81cb000112345678") + bytes(4)


def stun_header(kind: int, body: bytes, cookie: int = 0x2112A442) -> bytes:
    return struct.pack("!HHI12s", kind, len(body), cookie, b"transaction!") + body


def attribute(number: int, value: bytes) -> bytes:
    return struct.pack("!HH", number, len(value)) + value + bytes(-len(value) % 4)


MALFORMED = (
    b"\x00",
    b"\x00\x01\x00\x00",
    stun_header(0x0001, b"")[:19],
    stun_header(0x0001, b"", cookie=0),
    stun_header(0x0001, b"") + b"more",
    struct.pack("!HHI12s", 1, 3, 0x2112A442, b"transaction!") + bytes(3),
)
UNREADABLE = (
    stun_header(0x0001, attribute(0x0024, b"\x01")),  # PRIORITY of one byte: struct.error in aioice
    stun_header(0x0001, attribute(0x8029, b"\x01\x02")),
    stun_header(0x0101, attribute(0x0009, b"\x00")),
    stun_header(0x0101, attribute(0x0020, b"\x00\x07" + bytes(6))),
    stun_header(0x0001, attribute(0x0006, b"\xff\xfe")),
    stun_header(0x03EF, b""),
    stun_header(0x0001, attribute(0x8028, bytes(4))),
)
NOISE = (b"", *MALFORMED, *UNREADABLE, CLIENT_HELLO, ALERT, RTP, RTCP_BYE, b"\x05what", b"\xffever" * 300, b"\x40" + bytes(100))


class Stranger:
    """Somebody with a socket of their own."""

    def __init__(self, running: Relay) -> None:
        self.running = running
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)

    def send(self, *datagrams: bytes) -> None:
        for data in datagrams:
            self._socket.sendto(data, self.running.public[0])

    def answers(self) -> list[bytes]:
        """What the relay sent to us."""
        got = []
        with contextlib.suppress(BlockingIOError):
            while True:
                got.append(self._socket.recv(2048))
        return got

    def close(self) -> None:
        self._socket.close()


@contextlib.asynccontextmanager
async def attacked():
    async with relay() as running:
        stranger = Stranger(running)
        yield running, stranger
        stranger.close()


async def test_before_during_and_after_set_up_nothing_of_a_stranger_disturbs_a_call_and_all_is_counted():
    async with attacked() as (running, stranger):
        one, other = Device(), Device()
        legs = [await running.leg("pair", side, device.credentials) for side, device in enumerate((one, other))]
        stranger.send(*NOISE)

        async def go_on() -> None:
            while True:
                stranger.send(*NOISE)
                await asyncio.sleep(0.001)

        attack = asyncio.create_task(go_on())
        await asyncio.gather(one.connect(legs[0]), other.connect(legs[1]))
        await eventually(lambda: running.connected("pair") == (True, True))
        for number in range(50):
            await one.send(RTP + bytes([number]))
            await other.send(DTLS + bytes([number]))
        assert [await other.receive() for _ in range(50)] == [RTP + bytes([number]) for number in range(50)]
        assert [await one.receive() for _ in range(50)] == [DTLS + bytes([number]) for number in range(50)]
        attack.cancel()
        await asyncio.wait([attack])
        assert stranger.answers() == []
        counts = running.counts()
        assert counts.forwarded == 100
        for name in ("empty", "malformed", "stun_malformed", "unverified"):
            assert getattr(counts, name) > 0, name
        assert counts.stun_excess == counts.held == 0
        await asyncio.gather(one.close(), other.close())


@pytest.mark.parametrize(
    ("data", "counter"),
    [
        (b"", "empty"),
        *((data, "malformed") for data in MALFORMED),
        *((data, "stun_malformed") for data in UNREADABLE),
        (stun_header(0x0001, attribute(0x0006, b"nobody:me")), "stun_stranger"),
        (stun_header(0x0101, b""), "stun_unexpected"),
        (CLIENT_HELLO, "unverified"),
        (ALERT, "unverified"),
        (RTP, "unverified"),
        (RTCP_BYE, "unverified"),
    ],
)
async def test_each_kind_is_counted_under_its_name_and_answered_with_silence(data, counter):
    async with attacked() as (running, stranger):
        stranger.send(data)
        await eventually(lambda: getattr(running.counts(), counter) == 1)
        counted = {name for name, number in running.counts().as_dict().items() if number}
        assert counted <= {counter, "stun"}
        assert stranger.answers() == []


@pytest.mark.parametrize(
    ("data", "counter"), [(b"\x05what", "unknown"), (b"\xffever", "unknown"), (RTP + bytes(1500), "oversize"), (b"", "empty")]
)
async def test_a_device_too_can_only_send_what_webrtc_sends(data, counter):
    async with relay() as running, devices(running) as (one, other):
        one.pair.protocol.transport.sendto(data, running.public[0]) if data else empty_from(one, running)
        await eventually(lambda: getattr(running.counts(), counter) == 1)
        await one.send(RTP)
        assert await other.receive() == RTP


def empty_from(device: Device, running: Relay) -> None:
    """asyncio sends no empty datagrams."""
    device.pair.protocol.transport.get_extra_info("socket")._sock.sendto(b"", running.public[0])


def request(leg, device: Device, *, password: str | None = None, username: str | None = None, **attributes) -> bytes:
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes["USERNAME"] = username or f"{leg.ufrag}:{device.credentials[0]}"
    message.attributes |= {"PRIORITY": 1, "ICE-CONTROLLING": 2**63} | attributes
    message.attributes = {name: value for name, value in message.attributes.items() if value is not ...}
    message.add_message_integrity((password or leg.pwd).encode())
    return bytes(message)


async def test_a_stranger_who_knows_the_user_name_but_not_the_password_is_nobody():
    async with attacked() as (running, stranger):
        device = Device()
        leg = await running.leg("pair", 0, device.credentials)
        stranger.send(request(leg, device, password="p" * 32), request(leg, device, username=f"{leg.ufrag}:another"))
        await eventually(lambda: running.counts().stun_forged == 2)
        stranger.send(request(leg, device, PRIORITY=...))
        await eventually(lambda: running.counts().stun_malformed == 1)
        assert stranger.answers() == []
        await device.connect(leg)
        await device.close()


async def test_an_address_that_only_claims_the_credentials_gets_no_media_and_may_send_none():
    """A device (or who stole its credentials) names an address that is not its own: it never sees our check, and cannot answer it."""
    async with attacked() as (running, stranger), devices(running) as (one, other):
        leg = await running.leg("pair", 0, one.credentials)
        stranger.send(request(leg, one, **{"USE-CANDIDATE": None}))
        stranger.send(RTP)
        await eventually(lambda: running.counts().unverified == 1)
        await other.send(DTLS)
        assert await one.receive() == DTLS
        kinds = {data[0] for data in stranger.answers()}
        assert kinds <= {0, 1}, "STUN only"


async def test_a_device_cannot_take_another_one_s_address():
    async with attacked() as (running, _), devices(running) as (one, other):
        leg = await running.leg("another call", 0, ("ufrag", "p" * 22))
        # as if it came from the address of `one`, whose agent does not know these credentials
        agent = running._shared.agents[leg.ufrag]
        message = stun.parse_message(request(leg, one, username=f"{leg.ufrag}:ufrag", **{"USE-CANDIDATE": None}))
        agent.request_received(message, one.address, agent.protocol(0))
        await one.send(RTP)
        assert await other.receive() == RTP
        assert agent.addresses == set()


async def test_one_device_s_requests_and_addresses_are_bounded():
    async with relay(clock=Clock()) as running:
        device = Device()
        leg = await running.leg("pair", 0, device.credentials)
        agent = running._shared.agents[leg.ufrag]
        for number in range(300):
            message = stun.parse_message(request(leg, device))
            agent.request_received(message, ("127.0.0.1", 20_000 + number), agent.protocol(0))
        await eventually(lambda: agent._early_checks_done)
        assert len(agent._check_list) == media.agent.MAX_PAIRS
        assert running.counts().stun_excess == 300 - media.agent.MAX_PAIRS


async def test_a_device_that_answers_every_check_with_a_role_conflict_is_given_up(monkeypatch):
    async with relay() as running:
        device = Device()
        leg = await running.leg("pair", 0, device.credentials)
        asked = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hostile:
            hostile.bind(("127.0.0.1", 0))
            hostile.setblocking(False)
            hostile.sendto(request(leg, device), running.public[0])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    while True:
                        data, _ = await asyncio.get_running_loop().sock_recvfrom(hostile, 2048)
                        message = stun.parse_message(data)
                        if message.message_class is not stun.Class.REQUEST:
                            continue
                        asked.append(message)
                        no = stun.Message(stun.Method.BINDING, stun.Class.ERROR, transaction_id=message.transaction_id)
                        no.attributes["ERROR-CODE"] = (487, "Role Conflict")
                        no.add_message_integrity(device.credentials[1].encode())
                        hostile.sendto(bytes(no), running.public[0])
        assert len(asked) == media.agent.MAX_CHECKS
        assert running.connected("pair") == (False, False)


async def test_a_handshake_that_comes_before_the_other_device_reaches_it():
    async with relay() as running:
        one, other = Device(), Device()
        legs = [await running.leg("pair", side, device.credentials) for side, device in enumerate((one, other))]
        await one.connect(legs[0])
        await eventually(lambda: running.connected("pair")[0])
        await one.send(CLIENT_HELLO)
        await one.send(RTP)
        await eventually(lambda: running.counts().undeliverable == 2)
        await other.connect(legs[1])
        assert await other.receive() == CLIENT_HELLO
        assert running.counts().held == 1
        await asyncio.gather(one.close(), other.close())


async def test_who_stops_to_answer_gets_nothing_more(monkeypatch):
    monkeypatch.setattr(media.agent, "CONSENT_INTERVAL", 0.05)
    monkeypatch.setattr(media.agent, "CONSENT_LIFETIME", 0.5)
    monkeypatch.setattr(stun, "RETRY_RTO", 0.05)
    async with relay() as running, devices(running) as (one, other):
        await eventually(lambda: all(direction.rtt is not None for direction in running.quality("pair")))
        one.ice.request_received = lambda *_: None  # it is there, but consents no more
        await eventually(lambda: running.connected("pair") == (False, True))
        await other.send(RTP)
        await one.send(RTP)
        await eventually(lambda: running.counts().undeliverable == 1 and running.counts().unverified == 1)


async def test_a_pair_that_nobody_uses_expires():
    clock = Clock()
    async with relay(clock=clock) as running:
        await running.leg("pair", 0, ("ufrag", "p" * 22))
        clock.advance(WAIT - 1)
        await running.expire()
        assert len(running) == 1
        clock.advance(2)
        await running.expire()
        assert len(running) == 0


async def test_a_pair_with_one_device_waits_longer_for_the_other():
    clock = Clock()
    async with relay(clock=clock) as running:
        await running.leg("pair", 0, ("ufrag", "p" * 22))
        await running.leg("pair", 1, ("ufrag", "p" * 22))
        for left in (True, False):
            clock.advance(WAIT_FOR_ONE / 2 + 1)
            running._pairs["pair"].legs[0].heard()
            await running.expire()
            assert len(running) == left


async def test_two_thousand_failed_calls_leave_nothing_behind():
    async with relay(capacity=2) as running:
        for number in range(2_000):
            await running.leg(f"call {number}", 0, ("ufrag", "p" * 22))
            await running.release(f"call {number}")
        shared = running._shared
        assert (len(shared.agents), len(shared.owners), len(running._legs), len(running)) == (0, 0, 0, 0)
        assert len(asyncio.all_tasks()) <= 3
        assert len(running._free) == 2
