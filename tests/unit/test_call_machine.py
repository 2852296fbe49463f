"""The call machine: every stage, every reason, every race by name."""

import pytest
from msgspec.structs import replace

from signaling.calls.machine import (
    Accepted,
    Busy,
    Call,
    Collided,
    Connected,
    DeadlinePassed,
    Declined,
    Failed,
    HungUp,
    Left,
    Rang,
    Remember,
    Removed,
    Returned,
    TakenOver,
    TellAnswered,
    TellElsewhere,
    TellElsewhereOver,
    TellEnded,
    TellIncoming,
    TellRings,
    TellTakenOver,
    TellUp,
    advance,
    collides,
    invite,
    may_signal,
)
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.messages import Reason, Stage

NOW = 1000.0


def start(devices=("b1", "b2"), reached=("b1", "b2"), call="c") -> Call:
    return invite(
        call=call,
        caller="A",
        caller_device="a1",
        caller_phone="+1",
        callee="B",
        devices=tuple(devices),
        reached=frozenset(reached),
        now=NOW,
    )[0]


def run(call: Call, *events, now=NOW):
    effects = []
    for event in events:
        call, effects = advance(call, event, now)
    return call, effects


def refuses(code: ErrorCode, call: Call, event) -> None:
    with pytest.raises(Refused) as info:
        advance(call, event, NOW)
    assert info.value.code is code


def connected() -> Call:
    return run(start(), Rang("b1"), Accepted("b1"), Connected("a1"), Connected("b1"))[0]


def test_an_invite_is_offered_to_every_reached_device():
    _, effects = invite(
        call="c",
        caller="A",
        caller_device="a1",
        caller_phone="+1",
        callee="B",
        devices=("b1", "b2"),
        reached=frozenset({"b2"}),
        now=NOW,
    )
    assert effects == [TellIncoming("b2")]


def test_the_caller_hears_of_the_first_device_that_rings_only():
    call, effects = run(start(), Rang("b1"))
    assert (call.stage, effects) == (Stage.RINGING, [TellRings()])
    assert run(call, Rang("b2")) == (call, [])


def test_the_first_accept_wins_and_the_others_stop_ringing():
    call, effects = run(start(), Rang("b1"), Rang("b2"), Accepted("b2"))
    assert (call.stage, call.callee_device, call.deadline) == (Stage.CONNECTING, "b2", NOW + 20)
    assert effects == [TellAnswered(), TellEnded("b1", Reason.ANSWERED_ELSEWHERE)]
    refuses(ErrorCode.ANSWERED_ELSEWHERE, call, Accepted("b1"))
    refuses(ErrorCode.ANSWERED_ELSEWHERE, call, Declined("b1"))
    refuses(ErrorCode.ANSWERED_ELSEWHERE, call, HungUp("b1"))
    refuses(ErrorCode.WRONG_STAGE, call, Accepted("b2"))


def test_a_call_may_be_accepted_before_anything_rang():
    assert run(start(), Accepted("b1"))[0].stage is Stage.CONNECTING


def test_one_device_declines_for_all():
    call, effects = run(start(), Rang("b1"), Declined("b2"))
    assert call.reason is Reason.DECLINED
    ended = {TellEnded(d, Reason.DECLINED) for d in ("a1", "b1", "b2")}
    assert set(effects) == {*ended, Remember()}


def test_busy_only_when_no_device_is_free():
    call, effects = run(start(), Busy("b1"))
    assert (call.live, effects) == (True, [])
    assert run(call, Busy("b2"))[0].reason is Reason.BUSY


def test_a_busy_device_may_still_take_the_call():
    assert run(start(), Busy("b1"), Accepted("b1"))[0].stage is Stage.CONNECTING


def test_the_last_free_device_that_leaves_makes_the_call_busy():
    assert run(start(), Busy("b1"), Left("b2"))[0].reason is Reason.BUSY


def test_a_device_that_nobody_reached_does_not_make_a_call_free_or_busy():
    assert run(start(reached=()), Left("b1"))[0].live


def test_cancel_before_accept():
    call, effects = run(start(), Rang("b1"), HungUp("a1"))
    assert call.reason is Reason.CANCELLED
    assert TellEnded("b2", Reason.CANCELLED) in effects
    refuses(ErrorCode.UNKNOWN_CALL, call, Accepted("b1"))


def test_cancel_that_comes_after_the_accept_is_a_hangup_for_both():
    call, effects = run(start(), Accepted("b1"), HungUp("a1"))
    assert call.reason is Reason.HANGUP
    assert [e for e in effects if isinstance(e, TellEnded)] == [TellEnded("a1", Reason.HANGUP), TellEnded("b1", Reason.HANGUP)]


def test_a_ringing_device_cannot_hang_up_it_declines():
    refuses(ErrorCode.WRONG_STAGE, start(), HungUp("b1"))


def test_both_must_report_media():
    call, effects = run(start(), Accepted("b1"), Connected("b1"))
    assert (call.stage, effects) == (Stage.CONNECTING, [])
    call, effects = run(call, Connected("a1"), now=NOW + 3)
    assert (call.stage, call.connected_at, call.deadline) == (Stage.CONNECTED, NOW + 3, None)
    assert effects == [TellUp("a1"), TellUp("b1")]


def test_nobody_is_connected_before_the_accept():
    refuses(ErrorCode.WRONG_STAGE, start(), Connected("a1"))


@pytest.mark.parametrize("events", [(), (Rang("b1"),)])
def test_ringing_ends_as_missed_after_45_seconds(events):
    call = run(start(), *events)[0]
    assert run(call, DeadlinePassed(), now=NOW + 44.9)[0].live
    ended, effects = run(call, DeadlinePassed(), now=NOW + 45)
    assert ended.reason is Reason.MISSED
    assert Remember() in effects


def test_connecting_fails_after_20_seconds():
    call = run(start(), Accepted("b1"))[0]
    assert run(call, DeadlinePassed(), now=NOW + 20)[0].reason is Reason.FAILED


def test_a_party_has_60_seconds_to_return():
    call = run(connected(), Left("b1"))[0]
    assert run(call, DeadlinePassed(), now=NOW + 59)[0].live
    assert run(call, DeadlinePassed(), now=NOW + 60)[0].reason is Reason.LOST
    back = run(call, Returned("b1"))[0]
    assert back.deadline is None
    assert run(back, DeadlinePassed(), now=NOW + 999)[0].live


def test_the_time_to_return_runs_until_both_are_back():
    call = run(connected(), Left("b1"), Left("a1"), Returned("b1"))[0]
    assert call.deadline == NOW + 60


def test_who_left_while_connecting_is_missed_once_connected():
    call = run(start(), Accepted("b1"), Connected("a1"), Connected("b1"))[0]
    assert call.deadline is None
    call = run(start(), Accepted("b1"), Connected("a1"), Left("a1"), Connected("b1"))[0]
    assert (call.stage, call.deadline) == (Stage.CONNECTED, NOW + 60)


def test_failed_media_ends_the_call_for_both():
    assert run(start(), Accepted("b1"), Failed("a1"))[0].reason is Reason.FAILED
    refuses(ErrorCode.WRONG_STAGE, start(), Failed("a1"))


def test_a_removed_device_ends_its_calls():
    assert run(start(), Removed("a1"))[0].reason is Reason.CANCELLED
    assert run(connected(), Removed("b1"))[0].reason is Reason.HANGUP
    assert run(start(), Removed("b1"))[0].live


def test_a_hidden_call_tells_nobody_but_the_caller():
    call = start(devices=(), reached=())
    assert call.hidden
    ended, effects = run(call, DeadlinePassed(), now=NOW + 45)
    assert effects == [TellEnded("a1", Reason.MISSED), Remember()]
    assert ended.reason is Reason.MISSED


def test_glare_is_two_invites_that_meet():
    assert collides(start(), caller="B", callee="A")
    assert not collides(start(), caller="B", callee="C")
    assert not collides(start(), caller="A", callee="B")
    assert not collides(start(devices=(), reached=()), caller="B", callee="A")
    assert not collides(run(start(), Accepted("b1"))[0], caller="B", callee="A")


def test_the_survivor_of_glare_is_accepted_and_waits_for_the_answer():
    call, effects = run(start(), Collided("b1"))
    assert (call.stage, call.callee_device, call.answered) == (Stage.CONNECTING, "b1", False)
    assert effects == [TellIncoming("b1", accepted=True), TellEnded("b2", Reason.ANSWERED_ELSEWHERE)]
    refuses(ErrorCode.WRONG_STAGE, call, Connected("a1"))
    call, effects = run(call, Accepted("b1"))
    assert effects == [TellAnswered()]
    assert run(call, Connected("a1"), Connected("b1"))[0].stage is Stage.CONNECTED


def test_the_loser_of_glare_ends_silently_and_leaves_no_history():
    call, effects = run(start(), Collided("", superseded_by="0"))
    assert call.reason is Reason.ANSWERED_ELSEWHERE
    assert TellEnded("a1", Reason.ANSWERED_ELSEWHERE, "0") in effects
    assert Remember() not in effects


def test_a_device_that_comes_back_while_it_rings_is_reached():
    call, effects = run(start(reached=()), Returned("b2"))
    assert (call.reached, effects) == ({"b2"}, [])


def test_a_stranger_to_the_call_can_do_nothing():
    for event in (Rang("x"), Accepted("x"), Declined("x"), Busy("x"), HungUp("x"), Connected("x")):
        refuses(ErrorCode.WRONG_STAGE, start(), event)


def test_an_ended_call_ends_no_second_time():
    ended = run(start(), HungUp("a1"))[0]
    for event in (Left("a1"), Returned("a1"), Removed("a1"), DeadlinePassed(), Collided("b1")):
        assert advance(ended, event, NOW + 99) == (ended, [])


def test_seq_grows_with_every_change_that_is_told():
    call, last = start(), 1
    for event in (Rang("b1"), Accepted("b1"), Connected("a1"), Connected("b1"), HungUp("b1")):
        after, effects = advance(call, event, NOW)
        assert (after.seq > last) == bool(effects)
        call, last = after, after.seq


# --- moving a call to another device of the account --------------------------------------------------------------------------

TO_A2 = TakenOver("a2", "A", old="a1", to="b1")
TO_B2 = TakenOver("b2", "B", old="b1", to="a1")


def test_a_move_swaps_the_device_and_both_sides_connect_anew():
    call, effects = run(connected(), TO_A2, now=NOW + 100)
    assert (call.stage, call.caller_device, call.callee_device) == (Stage.CONNECTED, "a2", "b1")
    assert (call.up, call.deadline, call.connected_at) == (frozenset(), NOW + 120, NOW)
    assert effects == [TellEnded("a1", Reason.MOVED), TellTakenOver("b1"), TellElsewhere("A")]
    up, effects = run(call, Connected("b1"), Connected("a2"), now=NOW + 101)
    assert (up.deadline, up.connected_at, effects) == (None, NOW, [TellUp("a2"), TellUp("b1")])


def test_the_callee_moves_to_any_device_of_the_account_rung_or_not():
    for device in ("b2", "b3"):
        call, effects = run(connected(), TakenOver(device, "B", old="b1", to="a1"))
        assert (call.callee_device, device in call.devices) == (device, True)
        assert effects[:2] == [TellEnded("b1", Reason.MOVED), TellTakenOver("a1")]
        assert run(call, Left(device), Returned(device), Connected(device), Connected("a1"))[0].deadline is None


def test_siblings_hear_where_a_call_is_and_when_it_is_over():
    call = replace(run(start(), Accepted("b1"), Connected("a1"))[0], siblings=frozenset({"B"}))
    call, effects = run(call, Connected("b1"))
    assert effects[2:] == [TellElsewhere("B")]
    call, effects = run(call, TO_A2)
    assert effects[2:] == [TellElsewhere("A"), TellElsewhere("B")]  # it has a second device: the one that took the call
    assert {e for e in run(call, HungUp("b1"))[1] if isinstance(e, TellElsewhereOver)} == {
        TellElsewhereOver("A"),
        TellElsewhereOver("B"),
    }


def test_a_moved_call_that_does_not_connect_is_lost_in_time():
    call = run(connected(), TO_A2)[0]
    assert run(call, DeadlinePassed(), now=NOW + 19.9)[0].live
    ended, effects = run(call, DeadlinePassed(), now=NOW + 20)
    assert ended.reason is Reason.LOST
    told = [effect for effect in effects if isinstance(effect, TellEnded)]
    assert told == [TellEnded("a2", Reason.LOST), TellEnded("b1", Reason.LOST)]  # the old device heard once, of the move


def test_the_new_device_may_give_up():
    call, effects = run(connected(), TO_A2, Failed("a2"))
    assert (call.reason, TellEnded("b1", Reason.FAILED) in effects) == (Reason.FAILED, True)


def test_a_move_that_races_a_hangup_the_first_one_wins():
    refuses(ErrorCode.UNKNOWN_CALL, run(connected(), HungUp("b1"))[0], TO_A2)
    moved = run(connected(), TO_A2)[0]
    refuses(ErrorCode.WRONG_STAGE, moved, HungUp("a1"))  # the old device ends nothing any more
    refuses(ErrorCode.ANSWERED_ELSEWHERE, run(connected(), TO_B2)[0], HungUp("b1"))
    assert run(moved, HungUp("b1"))[0].reason is Reason.HANGUP


def test_of_two_moves_by_one_account_the_first_wins():
    moved = run(connected(), TO_A2)[0]
    refuses(ErrorCode.ANSWERED_ELSEWHERE, moved, TakenOver("a3", "A", old="a1", to="b1"))
    refuses(ErrorCode.WRONG_STAGE, moved, TO_A2)  # sent again after its answer was lost
    assert run(moved, TakenOver("a1", "A", old="a2", to="b1"))[0].caller_device == "a1"  # and back


def test_when_both_sides_move_the_second_seals_anew():
    moved = run(connected(), TO_A2)[0]
    refuses(ErrorCode.UNKNOWN_DEVICE, moved, TO_B2)
    both = run(moved, TakenOver("b2", "B", old="b1", to="a2"))[0]
    assert (both.caller_device, both.callee_device) == ("a2", "b2")
    assert run(both, Connected("a2"), Connected("b2"))[0].deadline is None


def test_a_move_saves_a_call_whose_old_device_is_gone():
    call, effects = run(run(connected(), Left("a1"))[0], TO_A2, now=NOW + 59)
    assert (call.away, call.deadline) == (frozenset(), NOW + 79)
    assert effects[0] == TellEnded("a1", Reason.MOVED)
    assert run(call, Returned("a1"), Left("a1"), Removed("a1"))[0] == call  # what it does later is nothing to the call


def test_a_move_that_comes_after_the_call_was_lost_is_too_late():
    lost = run(run(connected(), Left("a1"))[0], DeadlinePassed(), now=NOW + 60)[0]
    refuses(ErrorCode.UNKNOWN_CALL, lost, TO_A2)


def test_a_move_leaves_the_other_side_its_time_to_return():
    gone = run(connected(), Left("b1"))[0]
    call = run(gone, TO_A2, now=NOW + 10)[0]
    assert call.deadline == NOW + 60
    back = run(call, Returned("b1"))[0]
    assert back.deadline == NOW + 60  # it still has to connect
    assert run(back, Connected("a2"), Connected("b1"))[0].deadline is None


def test_only_a_connected_call_moves_and_never_races_a_cancel():
    for call in (start(), run(start(), Rang("b1"))[0], run(start(), Accepted("b1"))[0]):
        refuses(ErrorCode.WRONG_STAGE, call, TO_A2)
    refuses(ErrorCode.UNKNOWN_CALL, run(start(), HungUp("a1"))[0], TO_A2)


def test_a_new_device_that_leaves_has_the_time_to_connect_to_be_back():
    call = run(connected(), TO_A2, Left("a2"))[0]
    assert call.deadline == NOW + 20
    assert run(call, Removed("a2"))[0].reason is Reason.HANGUP


# --- sealed payloads: hold, mute, ICE restart, renegotiation -------------------------------------------------------------------


def test_the_two_in_a_call_signal_to_each_other_and_nobody_else_does():
    call = connected()
    assert may_signal(call, "a1", "b1")
    assert may_signal(call, "b1", "a1")
    for device, to, code in (
        ("b2", "a1", ErrorCode.ANSWERED_ELSEWHERE),
        ("a1", "b2", ErrorCode.UNKNOWN_DEVICE),
        ("a2", "b1", ErrorCode.UNKNOWN_CALL),
    ):
        with pytest.raises(Refused) as info:
            may_signal(call, device, to)
        assert info.value.code is code


def test_before_the_accept_the_caller_trickles_to_every_device_and_each_of_them_back():
    call = start()
    assert may_signal(call, "a1", "b1")
    assert may_signal(call, "a1", "b2")
    assert may_signal(call, "b2", "a1")
    assert not may_signal(start(devices=(), reached=()), "a1", "b1")  # as for someone who is offline


def test_after_a_move_payloads_go_to_the_new_device_only():
    call = run(connected(), TO_A2)[0]
    assert may_signal(call, "b1", "a2")
    assert may_signal(call, "a2", "b1")
    for device, to in (("b1", "a1"), ("a1", "b1")):
        with pytest.raises(Refused):
            may_signal(call, device, to)
