"""The record of a pair: one name for both directions, versions that only grow, and states that come back as they were."""

from hypothesis import given
from hypothesis import strategies as st

from signaling.calls import machine
from signaling.calls.pair import ABSENT, VERSION_BYTES, counter, decode_state, earliest, encode_state, next_version, pair_key

names = st.text("abcdefghij", min_size=22, max_size=22)


def call(name: str, deadline_from: float = 0.0) -> machine.Call:
    made, _ = machine.invite(
        call=name,
        caller="A",
        caller_device="a",
        caller_phone="+1",
        callee="B",
        devices=("b",),
        reached=frozenset("b"),
        now=deadline_from,
    )
    return made


@given(names, names, names)
def test_a_pair_has_one_name_and_no_other_pair_has_it(one, other, third):
    assert pair_key(one, other) == pair_key(other, one)
    if third not in (one, other):
        assert pair_key(one, other) != pair_key(one, third)


@given(st.lists(st.tuples(st.binary(min_size=8, max_size=8), st.integers(0, 2**40)), max_size=20))
def test_the_counter_grows_with_every_change_and_passes_the_floor(steps):
    version = ABSENT
    for nonce, floor in steps:
        after = next_version(version, nonce, floor=floor)
        assert len(after) == VERSION_BYTES
        assert counter(after) > max(counter(version), floor)
        assert (after > version) or version == ABSENT  # the script compares bytes
        version = after


def test_a_state_comes_back_as_it_was():
    version = next_version(ABSENT, b"12345678")
    calls = [call("x"), call("y", 7.0)]
    assert decode_state(encode_state(version, calls)) == (version, {c.id: c for c in calls})
    assert decode_state(encode_state(version, ())) == (version, {})
    assert decode_state(None) == decode_state(b"") == (ABSENT, {})


def test_the_earliest_deadline_counts():
    calls = {c.id: c for c in (call("x", 5.0), call("y", 1.0))}
    assert earliest(calls) == calls["y"].deadline
    assert earliest({}) is None
