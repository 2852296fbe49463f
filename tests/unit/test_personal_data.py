"""The scanner finds what it must, and does not cry wolf."""

import pytest

from tests.personal_data import Person, suspicious


@pytest.mark.parametrize(
    "text",
    [
        "code sent to +4915112345678",
        "no mail for ada@example.org",
        "request from 203.0.113.7 refused",
        "token kQ3mZx9vB1nL7pR5tY2wE8uI4oA6sD0fGhJcVbNmXzQ",
        "account kQ3mZx9vB1nL7pR5tY2wEg left",
        "code 123456 for you",
    ],
)
def test_what_looks_personal_is_found(text):
    assert suspicious(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-24 22:01:50,123 WARNING signaling.calls.service: calls: Redis does not answer (ConnectionError); 3 changes undone",
        "listening on http://127.0.0.1:8440",
        "kloudtalk 0.1.0, aiohttp 3.14.5",
        "signaling.accounts.registration_store",
    ],
)
def test_ordinary_lines_are_not(text):
    assert suspicious(text) == []


def test_a_person_is_found_however_the_number_is_written():
    person = Person(frozenset({"+4915112345678", "015112345678"}))
    assert person.traces(b"x" + "+4915112345678".encode("utf-16-le")) == ["+4915112345678"]
    assert person.traces(b"+4915112345678".hex().encode()) == ["+4915112345678"]
    assert person.traces(b"tel 015112345678") == ["015112345678"]
    assert person.traces(b"tel 015112345679") == []
