"""docs/promises.md names every promise, and the mechanisms and tests that it names exist."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]


class Row(NamedTuple):
    """One line of the table."""

    id: str
    mechanism: str
    tests: str
    state: str


def rows() -> list[Row]:
    lines = (ROOT / "docs/promises.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if re.match(r"\| P\d", line)]
    return [Row(*c) for c in cells]


ROWS = rows()


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_every_promise_has_one_row_in_order():
    assert [row.id for row in ROWS] == [f"P{n:02}" for n in range(1, 31)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_the_state_is_said_and_what_is_kept_has_a_test(row):
    assert re.match(r"kept$|in part: .|open: .", row.state), row.state
    if row.state.startswith("open"):
        return
    assert quoted(row.tests), "a promise without a test is not kept"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_every_test_that_is_named_exists(row):
    for named in quoted(row.tests):
        file, _, name = named.partition("::")
        path = ROOT / file if file.startswith(("web/", "tests/")) else ROOT / "tests" / file
        assert path.is_file(), named
        if name:
            assert re.search(rf"^(async )?def {re.escape(name)}\(", path.read_text(encoding="utf-8"), re.MULTILINE), named


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_every_file_that_keeps_a_promise_exists(row):
    for named in quoted(row.mechanism):
        if re.search(r"\.(py|ts|tsx)$", named):
            assert any((ROOT / folder / named).is_file() for folder in (".", "signaling")), named
