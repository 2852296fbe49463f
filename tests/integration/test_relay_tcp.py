"""Clients that reach their leg by TCP only, as a browser does where no UDP gets through; and others who try it."""

import asyncio
import contextlib
import secrets
import socket

import pytest
from aioice import Candidate, stun

import media.tcp
from media.framing import framed
from media.relay import LegParameters, Relay
from tests.conftest import eventually
from tests.integration.test_relay_gate import NOISE, request
from tests.relay_client import DTLS, RTP, Device, planes, relay

plane = planes()


class TcpDevice:
    """A controlling ICE agent with one active candidate, as small as it can be: it checks, answers checks, and nominates at once."""

    def __init__(self) -> None:
        self.credentials = secrets.token_hex(4), secrets.token_hex(16)
        self.received: asyncio.Queue[bytes] = asyncio.Queue()
        self.ended = asyncio.Event()
        self.connected = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def open(self, address: tuple[str, int]) -> None:
        """A connection, and nothing on it yet."""
        self.reader, self.writer = await asyncio.open_connection(*address)
        self._reading = asyncio.create_task(self._read())

    async def connect(self, leg: LegParameters) -> None:
        """Connect to the leg."""
        self.leg = leg
        await self.open(tcp_addresses(leg)[0])
        self.check()
        async with asyncio.timeout(5):
            await self.connected.wait()

    def check(self) -> None:
        """A check that nominates."""
        self.write(request(self.leg, self, **{"USE-CANDIDATE": None}))

    async def send(self, data: bytes) -> None:
        """Send media or DTLS."""
        self.write(data)

    def write(self, *packets: bytes) -> None:
        """Write anything that fits."""
        self.writer.write(b"".join(map(framed, packets)))

    async def receive(self) -> bytes:
        """The next that comes and is not ICE's."""
        async with asyncio.timeout(5):
            return await self.received.get()

    async def _read(self) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                packet = await self.reader.readexactly(int.from_bytes(await self.reader.readexactly(2), "big"))
                if packet[0] < 2:
                    self._ice(stun.parse_message(packet))
                else:
                    self.received.put_nowait(packet)
        self.ended.set()

    def _ice(self, message: stun.Message) -> None:
        if message.message_class is stun.Class.REQUEST:
            assert message.check_message_integrity(self.credentials[1].encode())
            answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, transaction_id=message.transaction_id)
            answer.attributes["XOR-MAPPED-ADDRESS"] = self.writer.get_extra_info("sockname")[:2]
            answer.add_message_integrity(self.credentials[1].encode())
            self.write(bytes(answer))
        elif message.message_class is stun.Class.RESPONSE:
            assert message.check_message_integrity(self.leg.pwd.encode())
            # where we are on the network: Firefox takes no answer that names a loopback
            assert message.attributes["XOR-MAPPED-ADDRESS"] == self.writer.get_extra_info("sockname")[:2]
            self.connected.set()

    async def close(self) -> None:
        """Close the connection."""
        if self._reading is not None:
            self.writer.transport.abort()
            await self._reading


def tcp_addresses(leg: LegParameters) -> list[tuple[str, int]]:
    """Where the leg takes connections."""
    candidates = [Candidate.from_sdp(text.removeprefix("candidate:")) for text in leg.candidates]
    return [(c.host, c.port) for c in candidates if c.transport == "tcp"]


@contextlib.asynccontextmanager
async def joined(*devices, name: str = "pair", **more):
    """A relay, and a call of two devices."""
    async with relay(**more) as running:
        legs = [await running.leg(name, side, device.credentials) for side, device in enumerate(devices)]
        await asyncio.gather(*(device.connect(leg) for device, leg in zip(devices, legs, strict=True)))
        await eventually(lambda: running.connected(name) == (True, True))
        yield running
        for device in devices:
            await device.close()


def counted(running: Relay) -> dict[str, int]:
    return {name: number for name, number in running.counts().as_dict().items() if number}


async def test_a_leg_offers_a_passive_tcp_candidate_below_its_udp_one():
    async with relay() as running:
        leg = await running.leg("pair", 0, ("ufrag", "p" * 22))
        udp, tcp = (Candidate.from_sdp(text.removeprefix("candidate:")) for text in leg.candidates)
        assert (udp.transport, udp.host, udp.port) == ("udp", *running.public[0])
        assert (tcp.transport, tcp.type, tcp.tcptype) == ("tcp", "host", "passive")
        assert (tcp.host, tcp.port) == running.tcp[0]
        assert tcp.priority < udp.priority
        assert tcp.foundation != udp.foundation


async def test_without_tcp_nothing_listens():
    async with relay(tcp=None) as running:
        leg = await running.leg("pair", 0, ("ufrag", "p" * 22))
        assert tcp_addresses(leg) == []
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*running.public[0])


@pytest.mark.parametrize("other", [Device, TcpDevice])
async def test_who_speaks_tcp_is_joined_with_who_speaks_either(other):
    one, two = TcpDevice(), other()
    async with joined(one, two) as running:
        for number in range(50):
            await one.send(RTP + bytes([number]))
            await two.send(DTLS + bytes([number]))
        assert [await two.receive() for _ in range(50)] == [RTP + bytes([number]) for number in range(50)]
        assert [await one.receive() for _ in range(50)] == [DTLS + bytes([number]) for number in range(50)]
        assert counted(running).keys() == {"forwarded", "stun"}
        first, second = running.quality("pair")
        assert (first.packets, first.bytes, second.packets) == (50, 50 * (len(RTP) + 1), 50)
        assert first.expected == 1, "one sequence number"
        assert first.rtt is not None


async def test_many_packets_and_pieces_of_packets_in_one_read_are_the_same():
    one, two = TcpDevice(), Device()
    async with joined(one, two):
        stream = b"".join(framed(RTP + bytes([number])) for number in range(40))
        for at in range(0, len(stream), 31):
            one.writer.write(stream[at : at + 31])
            await one.writer.drain()
            if at % 5 == 0:
                await asyncio.sleep(0)
        assert [await two.receive() for _ in range(40)] == [RTP + bytes([number]) for number in range(40)]


@pytest.mark.parametrize(
    "first", [packet for packet in NOISE if len(packet) <= 1500], ids=lambda packet: packet[:4].hex() or "empty"
)
async def test_a_connection_that_begins_with_anything_else_is_closed_without_a_word(first):
    async with relay() as running:
        stranger = TcpDevice()
        await stranger.open(running.tcp[0])
        stranger.write(first, RTP)
        async with asyncio.timeout(4):
            await stranger.ended.wait()
        assert stranger.received.empty()
        await eventually(lambda: running.connections == 0)
        assert sum(counted(running).values()) == 1
        assert "stun" not in counted(running), "nothing got as far as the data plane"
        await stranger.close()


@pytest.mark.parametrize(
    ("wrong", "counter"),
    [
        ({"username": "nobody:me"}, "stun_stranger"),
        ({"password": "p" * 32}, "stun_forged"),
    ],
)
async def test_a_check_with_wrong_credentials_closes_the_connection(wrong, counter):
    async with relay() as running:
        device = TcpDevice()
        leg = await running.leg("pair", 0, device.credentials)
        await device.open(running.tcp[0])
        device.write(request(leg, device, **wrong))
        async with asyncio.timeout(4):
            await device.ended.wait()
        assert counted(running) == {counter: 1}
        await device.close()


async def test_only_what_ice_has_verified_passes_the_gate_on_a_connection_too():
    """Who stole credentials of a leg and not those of its client gets no further than with UDP."""
    async with relay() as running:
        device = TcpDevice()
        leg = await running.leg("pair", 0, device.credentials)
        device.leg, thief = leg, TcpDevice()
        thief._ice = lambda _message: None  # it cannot answer
        await thief.open(running.tcp[0])
        thief.write(request(leg, device), RTP)
        await eventually(lambda: running.counts().unverified == 1)
        assert running.connected("pair") == (False, False)
        await thief.close()


async def test_a_connection_that_says_nothing_or_half_a_check_has_a_moment(monkeypatch):
    monkeypatch.setattr(media.tcp, "PATIENCE", 0.1)
    async with relay() as running:
        device = TcpDevice()
        leg = await running.leg("pair", 0, device.credentials)
        silent, half = TcpDevice(), TcpDevice()
        await silent.open(running.tcp[0])
        await half.open(running.tcp[0])
        half.writer.write(framed(request(leg, device))[:-1])
        async with asyncio.timeout(4):
            await silent.ended.wait()
            await half.ended.wait()
        assert counted(running) == {"tcp_late": 2}
        assert running.connections == 0
        for one in (silent, half):
            await one.close()


async def test_a_packet_longer_than_any_of_a_call_ends_the_connection_and_its_place_in_the_call():
    one, two = TcpDevice(), Device()
    async with joined(one, two) as running:
        one.writer.write((1501).to_bytes(2, "big"))
        async with asyncio.timeout(4):
            await one.ended.wait()
        await eventually(lambda: running.connected("pair") == (False, True))
        assert running.counts().tcp_garbled == 1
        await two.send(RTP)
        await eventually(lambda: running.counts().undeliverable == 1)


async def test_a_client_whose_connection_ended_comes_back_by_another_in_the_same_generation():
    one, two = TcpDevice(), Device()
    async with joined(one, two) as running:
        await one.close()
        await eventually(lambda: running.connected("pair") == (False, True))
        assert running._shared.owners.keys() == {(0, two.address)}
        one.connected.clear()
        await one.connect(one.leg)
        await eventually(lambda: running.connected("pair") == (True, True))
        await two.send(DTLS)
        assert await one.receive() == DTLS
        one.write(RTP)
        assert await two.receive() == RTP


async def test_who_sends_to_the_loopback_by_itself_is_nobody_though_it_has_credentials():
    async with relay() as running:
        device = Device()
        leg = await running.leg("pair", 0, device.credentials)
        inside = running._front.inside
        straight = LegParameters(leg.ufrag, leg.pwd, (f"candidate:1 1 udp 1 {inside[0]} {inside[1]} typ host",))
        await device.connect(straight)
        await device.send(RTP)
        await eventually(lambda: running.counts().unverified == 1)
        assert running.connected("pair") == (False, False)
        await device.close()


async def test_a_check_that_is_answered_as_the_connection_ends_opens_no_gate():
    one, two = TcpDevice(), Device()
    async with joined(one, two) as running:
        agent = running._pairs["pair"].legs[0]._selected
        (pair,) = [pair for pair in agent._check_list if pair.nominated]
        await one.close()
        await eventually(lambda: running.connected("pair") == (False, True))
        agent.check_complete(pair)
        assert running.connected("pair") == (False, True)
        assert running._shared.owners.keys() == {(0, two.address)}


async def test_a_connection_lives_as_long_as_its_leg():
    one, two = TcpDevice(), Device()
    async with joined(one, two) as running:
        running._front.sweep()
        assert running.connections == 1
        await running.release("pair")
        running._front.sweep()
        async with asyncio.timeout(4):
            await one.ended.wait()
        assert running.connections == 0


async def test_a_connection_that_ice_did_not_verify_in_time_is_closed(monkeypatch):
    monkeypatch.setattr(media.tcp, "SETTLING", 0.0)
    async with relay() as running:
        device = TcpDevice()
        leg = await running.leg("pair", 0, None)
        device.leg = leg
        await device.open(running.tcp[0])
        device.write(request(leg, device))
        await eventually(lambda: running.counts().stun == 1)
        running._front.sweep()
        async with asyncio.timeout(4):
            await device.ended.wait()
        await device.close()


async def test_a_client_that_reads_slowly_loses_the_oldest_and_costs_no_memory():
    one, two = TcpDevice(), Device()
    async with joined(one, two, bandwidth=50_000_000) as running:
        one.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        one.writer.transport.pause_reading()
        packet = RTP + bytes(1_000)
        last = b""
        for number in range(40_000):
            last = packet + number.to_bytes(4, "big")
            await two.send(last)
            if number % 50 == 0:
                await asyncio.sleep(0.001)
            if running.counts().tcp_slow > 200:
                break
        assert running.counts().tcp_slow > 200
        (connection,) = running._front._open
        assert len(connection._waiting) == media.tcp.QUEUE
        assert connection._transport.get_write_buffer_size() <= 2 * 1_502
        one.writer.transport.resume_reading()
        await two.send(DTLS)
        while await one.receive() != DTLS:
            pass
        assert running.connected("pair") == (True, True)


async def test_who_sends_faster_than_a_call_needs_is_read_slowly_and_others_go_on():
    one, two = TcpDevice(), Device()
    async with joined(one, two, bandwidth=8_000) as running:
        flood = framed(b"\x05" * 1_000) * 64
        (connection,) = running._front._open
        for _ in range(4_000):
            one.writer.write(flood)
            await asyncio.sleep(0)
            if connection._resume is not None and one.writer.transport.get_write_buffer_size() > 1_000_000:
                break
        assert one.writer.transport.get_write_buffer_size() > 1_000_000, "it waits at the sender"
        assert running.counts().unknown < 100
        await two.send(DTLS)
        assert await one.receive() == DTLS


async def test_connections_of_one_address_and_of_all_are_bounded(monkeypatch):
    monkeypatch.setattr(media.tcp, "PENDING_PER_ADDRESS", 3)
    async with relay() as running:
        strangers = [TcpDevice() for _ in range(6)]
        for one in strangers:
            await one.open(running.tcp[0])
        await eventually(lambda: running.counts().tcp_refused == 3)
        assert running.connections == 3
        monkeypatch.setattr(media.tcp, "PENDING_PER_ADDRESS", 30)
        monkeypatch.setattr(media.tcp, "PENDING", 3)
        newer = TcpDevice()
        leg = await running.leg("pair", 0, newer.credentials)
        await newer.connect(leg)  # the oldest that has proved nothing makes room
        assert running.connections == 3
        running._front._total = 3
        last = TcpDevice()
        await last.open(running.tcp[0])
        async with asyncio.timeout(4):
            await last.ended.wait()
        assert running.connections == 3
        for one in (*strangers, newer, last):
            await one.close()
        await eventually(lambda: running.connections == 0)
        assert not running._front._by_address
        assert not running._front._pending_by_address


async def test_addresses_of_one_ipv6_network_count_as_one():
    assert media.tcp._key("2001:db8::1") == media.tcp._key("2001:db8::2:3") != media.tcp._key("2001:db8:0:1::1")
    assert media.tcp._key("fe80::1%eth0") == "fe80::/64"
    assert media.tcp._key("192.0.2.1") != media.tcp._key("192.0.2.2")


async def test_an_ice_restart_moves_a_client_from_tcp_to_udp():
    one, two = TcpDevice(), Device()
    async with joined(one, two) as running:
        again = Device()
        leg = await running.leg("pair", 0, again.credentials)
        await again.connect(leg)
        await eventually(lambda: running._pairs["pair"].legs[0]._selected.local_username == leg.ufrag)
        await two.send(DTLS)
        assert await again.receive() == DTLS
        await again.send(RTP)
        assert await two.receive() == RTP
        await again.close()
