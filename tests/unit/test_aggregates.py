"""What is given out says nothing about a person (P25)."""

from hypothesis import given
from hypothesis import strategies as st

from signaling.privacy.aggregates import MINIMUM, OTHER, STEP, countries, publishable

COUNTS = st.dictionaries(st.text("ABCDE", min_size=2, max_size=2), st.integers(1, 200), max_size=12)


@given(COUNTS)
def test_no_number_is_of_fewer_than_the_minimum_and_what_is_left_is_none_or_large(counts):
    shown = publishable(counts)
    assert all(count >= MINIMUM and count % STEP == 0 for count in shown.values())
    named = sum(count for group, count in counts.items() if group in shown)
    left = sum(counts.values()) - named
    assert left == 0 or left >= MINIMUM or not shown


@given(COUNTS)
def test_groups_that_are_named_are_large_themselves(counts):
    assert all(counts[group] >= MINIMUM for group in publishable(counts) if group != OTHER)


def test_a_single_person_is_nowhere():
    assert publishable({"DE": 500, "LI": 1}) == {OTHER: 500}
    assert publishable({"DE": 500, "FR": 100, "LI": 1}) == {"DE": 500, OTHER: 100}
    assert publishable({"LI": 19}) == {}


def test_countries_are_told_by_number():
    assert countries(["+4915112345678", "+4930901820", "+442079460018"]) == {"DE": 2, "GB": 1}
