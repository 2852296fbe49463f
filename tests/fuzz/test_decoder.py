"""Whatever bytes come, the decoder answers with a message or with what is wrong with it; it raises nothing and repeats nothing."""

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from signaling.wire.codec import BadFrame, decode_client, encode
from signaling.wire.errors import ERRORS
from signaling.wire.messages import (
    CallAccept,
    CallHangup,
    CallInvite,
    CallSignal,
    ClientMessage,
    Hello,
)

ID, SEALED = "A" * 22, "s" * 200
VALID = [
    Hello(1, "t" * 43),
    CallInvite(2, ID, ID, {ID: SEALED}),
    CallAccept(3, ID, SEALED),
    CallHangup(4, ID),
    CallSignal(5, ID, ID, SEALED),
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


def check(frame: bytes | str) -> None:
    result = decode_client(frame)
    if isinstance(result, BadFrame):
        assert result.refused.code in ERRORS
        assert result.re is None or 0 <= result.re < 2**53
        assert len(result.refused.message) <= 250
    else:
        assert isinstance(result, ClientMessage)
        assert decode_client(encode(result)) == result


@settings(max_examples=3000, deadline=None)
@given(st.binary(max_size=300))
@example(b"\xff\xfe{")
@example(b"[" * 100_000)
@example(b'{"a":' * 20_000)
@example(b'{"type":"hello","id":1e999}')
def test_bytes(frame):
    check(frame)


@settings(max_examples=2000, deadline=None)
@given(st.text(max_size=300))
@example("\ud800")
def test_text(frame):
    check(frame)


@settings(max_examples=3000, deadline=None)
@given(st.sampled_from(VALID), st.sampled_from(["type", "id", "call", "to", "payload", "payloads", "token", "more"]), json_values)
def test_valid_messages_with_one_field_replaced(message, field, value):
    frame = json.loads(encode(message)) | {field: value}
    check(json.dumps(frame))


@settings(max_examples=3000, deadline=None)
@given(st.sampled_from(VALID), st.data())
def test_valid_frames_with_bytes_changed(message, data):
    frame = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(frame) - 1))
        frame[at] = data.draw(st.integers(0, 255))
    check(bytes(frame))


@settings(max_examples=500, deadline=None)
@given(st.text(min_size=5, max_size=40).filter(lambda t: not t.isascii() or not t.isalpha()))
def test_what_is_refused_is_not_repeated(secret):
    result = decode_client(json.dumps({"type": "call.hangup", "id": 1, "call": secret}))
    assert isinstance(result, BadFrame)
    assert secret not in result.refused.message
