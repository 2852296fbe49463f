"""Whatever comes to a relay's socket, or is said to it over Redis: nothing is raised, and nothing passes that was not verified."""

import asyncio

import msgspec
import pytest
from aioice import stun
from hypothesis import given, settings
from hypothesis import strategies as st

from media import control
from media.agent import read
from media.quality import StreamQuality, mos
from media.rtp import CLOCK, Kind, RtpHeader, classify, rtp_header
from tests.relay_client import Device, relay

STRANGER = ("127.0.0.1", 9)

headers = st.sampled_from([b"", b"\x00\x01", b"\x01\x01", b"\x01\x11", b"\x00\x11", b"\x16\xfe\xfd", b"\x80\x6f", b"\x80\xc8"])
attributes = st.lists(
    st.tuples(st.sampled_from([*stun.ATTRIBUTES_BY_TYPE, 0x7777]), st.binary(max_size=24), st.integers(-3, 3)), max_size=6
)


@st.composite
def messages(draw) -> bytes:
    """STUN, more or less."""
    body = b""
    for number, value, wrong in draw(attributes):
        body += number.to_bytes(2, "big") + (max(0, len(value) + wrong)).to_bytes(2, "big") + value + bytes(-len(value) % 4)
    kind = draw(st.sampled_from([0x0001, 0x0101, 0x0111, 0x0011, 0x0003, 0x03EF]))
    return (
        kind.to_bytes(2, "big")
        + len(body).to_bytes(2, "big")
        + b"\x21\x12\xa4\x42"
        + draw(st.binary(min_size=12, max_size=12))
        + body
    )


datagrams = st.one_of(st.builds(bytes.__add__, headers, st.binary(max_size=64)), messages(), st.binary(max_size=1600))


@given(datagrams)
def test_classification_is_total(data):
    kind = classify(data)
    assert isinstance(kind, Kind)
    if kind is Kind.RTP:
        assert rtp_header(data).ssrc == int.from_bytes(data[8:12], "big")
    assert read(data) is None or kind is Kind.STUN


@settings(max_examples=30, deadline=None)
@given(st.lists(datagrams, max_size=60))
def test_what_a_stranger_sends_goes_nowhere_and_raises_nothing(received):
    async def run() -> None:
        errors = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context))
        async with relay(plane="python") as running:
            await running.leg("pair", 0, Device().credentials)
            plane = running._shared.plane
            for data in received:
                plane.receive(0, data, STRANGER)
            assert running.counts().forwarded == 0
            await asyncio.sleep(0)
        assert errors == []

    asyncio.run(run())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(attributes, st.booleans(), st.booleans()), max_size=30))
def test_what_a_device_with_valid_credentials_asks_raises_nothing(asked):
    async def run() -> None:
        errors = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context))
        async with relay(plane="python") as running:
            device = Device()
            leg = await running.leg("pair", 0, device.credentials)
            for more, request, priority in asked:
                message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST if request else stun.Class.RESPONSE)
                message.attributes["USERNAME"] = f"{leg.ufrag}:{device.credentials[0]}"
                if priority:
                    message.attributes["PRIORITY"] = 1
                head = bytes(message)
                for number, value, _ in more:
                    head += number.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value + bytes(-len(value) % 4)
                mac = stun.message_integrity(head, leg.pwd.encode())
                data = stun.set_body_length(head, len(head) + 24 - 20) + b"\x00\x08\x00\x14" + mac
                running._shared.plane.receive(0, data, STRANGER)
            await asyncio.sleep(0.03)
            assert running.counts().forwarded == 0
        assert errors == []

    asyncio.run(run())


@given(st.binary(max_size=200))
def test_what_is_no_message_of_ours_is_refused_by_the_decoders(data):
    for decoder in (control._requests, control._answers, control._endings, control._states):
        with pytest.raises(msgspec.MsgspecError):
            decoder.decode(data)


@given(
    st.lists(
        st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.integers(0, 3), st.floats(0, 1e6, allow_nan=False)),
        max_size=50,
    )
)
def test_quality_stays_within_what_can_be(packets):
    quality, now = StreamQuality(), 0.0
    for sequence, timestamp, ssrc, later in packets:
        now += later
        quality.take(RtpHeader(sequence, timestamp, ssrc), now)
    assert quality.received == len(packets)
    assert 0 <= quality.loss <= 1
    assert 0 <= quality.jitter <= CLOCK
    assert 1 <= mos(loss=quality.loss, jitter=quality.jitter_seconds, rtt=0.1) <= 4.5
