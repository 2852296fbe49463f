"""The rule that counts, what it allows, and that Redis counts by the same rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.limits.rules import LIMITS, Limit, charge, use

SECOND = 1_000_000
TWICE = Limit("twice", 2, 10.0)


def uses(limit: Limit, times: list[float], scale: float = 1.0) -> list[float]:
    """The seconds to wait after each use at one of these times."""
    one, at, waits = charge(limit, "k", scale), None, []
    for time in times:
        at, wait = use(at, one, int(time * SECOND))
        waits.append(wait / SECOND)
    return waits


def test_so_many_at_once_then_one_in_every_so_many_seconds():
    assert uses(TWICE, [0, 0, 0, 9, 10, 10]) == [0, 0, 10, 1, 0, 10]


def test_who_waits_as_long_as_it_was_told_may_go_on_and_not_a_moment_before():
    assert uses(TWICE, [0, 0, 0, 9.999999, 10]) == pytest.approx([0, 0, 10, 0.000001, 0])


def test_refused_uses_cost_nothing():
    assert uses(TWICE, [0, 0, *[5] * 50, 10]) == [0, 0, *[5] * 50, 0]


def test_all_that_is_allowed_is_multiplied():
    assert uses(TWICE, [0, 0, 0, 0, 0], scale=2) == [0, 0, 0, 0, 5]
    assert uses(TWICE, [0, 0, 10, 20], scale=0.5) == [0, 20, 10, 0]


@given(st.sampled_from(LIMITS), st.lists(st.floats(0, 600), min_size=1, max_size=300))
def test_no_sequence_of_times_gets_more_than_the_limit_says(limit, times):
    times.sort()
    allowed = uses(limit, times).count(0)
    assert allowed <= limit.at_once + (times[-1] - times[0]) / limit.every + 1


def test_names_tell_limits_apart():
    assert len({limit.name for limit in LIMITS}) == len(LIMITS)
