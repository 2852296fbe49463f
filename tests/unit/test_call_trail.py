"""The trail of a call and what is kept of it afterwards: times and rungs, nothing of content (P17)."""

import pytest

from signaling.calls.machine import (
    MAX_MARKS,
    Accepted,
    Connected,
    HungUp,
    Left,
    Mark,
    Moved,
    Rang,
    Returned,
    Stopped,
    TakenOver,
    TellEnded,
    What,
    advance,
    invite,
)
from signaling.calls.trace import decode_trace, encode_trace, rung_of, set_up, taken_after, trace_of
from signaling.wire.messages import Reason, Rung, Stage

BEGIN = 1_000.0


def after(*steps):
    """A call after events, each with the seconds since the invite."""
    call, _ = invite(
        call="c" * 22,
        caller="account-of-a",
        caller_device="a1",
        caller_phone="+4930901820",
        callee="account-of-b",
        devices=("b1",),
        reached=frozenset({"b1"}),
        now=BEGIN,
    )
    for seconds, event in steps:
        call, effects = advance(call, event, BEGIN + seconds)
    return call, effects


TALKING = ((0.25, Rang("b1")), (3.5, Accepted("b1")), (3.6, Connected("b1", Rung.DIRECT)), (3.75, Connected("a1", Rung.TURN_PEER)))


def test_every_change_leaves_its_mark():
    call, _ = after(*TALKING, (10, Left("a1")), (12, Returned("a1")), (12.5, Moved("a1", Rung.RELAY)))
    assert call.trail == (
        Mark(What.RANG, 250, 1),
        Mark(What.TAKEN, 3500, 1),
        Mark(What.MEDIA, 3600, 1, Rung.DIRECT),
        Mark(What.MEDIA, 3750, 0, Rung.TURN_PEER),
        Mark(What.LEFT, 10_000, 0),
        Mark(What.BACK, 12_000, 0),
        Mark(What.MOVED, 12_500, 0, Rung.RELAY),
    )


def test_a_call_is_on_the_lower_of_the_two_rungs_told_last():
    assert rung_of(after(*TALKING)[0].trail) is Rung.TURN_PEER
    assert rung_of(after(*TALKING, (5, Moved("a1", Rung.DIRECT)))[0].trail) is Rung.DIRECT
    assert rung_of(()) is None


def test_set_up_is_from_the_accept_to_media_at_both_ends():
    call, _ = after(*TALKING)
    assert taken_after(call.trail) == 3_500
    assert set_up(call.created_at, call.connected_at, call.trail) == 250
    assert set_up(BEGIN, None, after(*TALKING[:2])[0].trail) is None


def test_a_trail_is_bounded_and_keeps_beginning_and_end():
    flaps = [(10 + n, Moved("a1", Rung.DIRECT)) for n in range(200)]
    trail = after(*TALKING, *flaps)[0].trail
    assert len(trail) == MAX_MARKS
    assert trail[:2] == (Mark(What.RANG, 250, 1), Mark(What.TAKEN, 3500, 1))
    assert trail[-1].at == 209_000


def test_what_moves_before_both_are_connected_is_no_news():
    call, _ = after(*TALKING[:3])
    assert advance(call, Moved("b1", Rung.RELAY), BEGIN + 4) == (call, [])


@pytest.mark.parametrize("steps", [(), TALKING[:1], TALKING[:2], TALKING])
def test_an_operator_ends_a_call_at_any_stage_and_both_learn_it(steps):
    call, effects = after(*steps, (20, Stopped()))
    assert (call.stage, call.reason) == (Stage.ENDED, Reason.UNAVAILABLE)
    told = {effect.device for effect in effects if isinstance(effect, TellEnded) and effect.reason is Reason.UNAVAILABLE}
    assert told == {"a1", "b1"}
    assert advance(call, Stopped(), BEGIN + 30) == (call, [])


def test_a_call_that_goes_on_at_another_device_says_so():
    call, _ = after(*TALKING, (9, TakenOver("a2", "account-of-a", "a1", "b1")), (9.5, Connected("a2")), (9.6, Connected("b1")))
    assert [(mark.what, mark.side) for mark in call.trail[4:]] == [(What.HANDED, 0), (What.MEDIA, 0), (What.MEDIA, 1)]
    assert set_up(call.created_at, call.connected_at, call.trail) == 250


def test_a_trace_holds_pseudonyms_and_neither_account_number_nor_device():
    call, _ = after(*TALKING, (63, HungUp("b1")))
    trace = trace_of(call, caller="pseudonym-a", callee="pseudonym-b", hub="hub")
    stored = encode_trace(trace)
    assert decode_trace(stored) == trace
    assert (trace.reason, trace.ended_at) == (Reason.HANGUP, BEGIN + 63)
    for secret in (b"account-of", b"+4930901820", b"901820", b"a1", b"b1"):
        assert secret not in stored


def test_a_call_that_goes_on_has_no_trace():
    with pytest.raises(ValueError, match="not ended"):
        trace_of(after(*TALKING)[0], caller="a", callee="b", hub="h")
