"""Written requests (P24): nobody alone can have a person's data or delete it, and no step can be left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.operators.audit import Entry, broken_at, digest_of
from signaling.operators.references import new_reference
from signaling.privacy.request_rules import Request, RuleBroken, State, may_confirm, may_fulfil, may_reject, may_verify


@given(
    state=st.sampled_from(State), opened=st.sampled_from("ab"), verified=st.sampled_from("ab"), confirming=st.sampled_from("abc")
)
def test_who_confirms_is_neither_who_opened_nor_who_verified(state, opened, verified, confirming):
    request = Request(state, opened, verified)
    if state is State.VERIFIED and confirming not in (opened, verified):
        may_confirm(request, confirming)
    else:
        with pytest.raises(RuleBroken):
            may_confirm(request, confirming)


@pytest.mark.parametrize(
    ("step", "allowed"),
    [
        (may_verify, {State.OPENED}),
        (may_fulfil, {State.CONFIRMED}),
        (may_reject, {State.OPENED, State.VERIFIED, State.CONFIRMED}),
    ],
)
@pytest.mark.parametrize("state", State)
def test_each_step_has_its_state(step, allowed, state):
    if state in allowed:
        step(Request(state, "a"))
    else:
        with pytest.raises(RuleBroken):
            step(Request(state, "a"))


def trail(*actions: str) -> list[Entry]:
    entries, before = [], "0" * 64
    for seq, action in enumerate(actions, 1):
        digest = digest_of(before, seq, "ada", action, "r")
        entries.append(Entry(seq, seq, "ada", action, "r", before, digest))
        before = digest
    return entries


def test_a_trail_that_was_changed_shows_where():
    whole = trail("opened", "verified", "confirmed", "fulfilled")
    assert broken_at(whole) is None
    assert broken_at(whole[2:]) is None  # the oldest entries go after three years
    assert broken_at([*whole[:1], *whole[2:]]) == 3
    changed = [whole[0], Entry(2, 2, "eve", *[getattr(whole[1], f) for f in ("action", "subject", "before", "digest")]), *whole[2:]]
    assert broken_at(changed) == 2


def test_a_reference_never_looks_like_an_option():
    dash, letter = bytes([0xF8, *bytes(15)]), bytes(16)
    given = iter([dash, dash, letter])
    assert new_reference(lambda _: next(given)) == "A" * 22
