"""docs/many-hubs.md lists the races of calls; the two tests that it names for each exist, and none that the issue asks for is missing."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASKED = (
    "forking", "answered elsewhere", "declines", "busy", "call waiting", "glare", "cancel and accept", "missed", "move", "hold", "mute",
    "ICE restart", "renegotiation",
)  # fmt: skip


def _rows() -> list[list[str]]:
    section = (ROOT / "docs/many-hubs.md").read_text(encoding="utf-8").partition("## Races")[2]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


ROWS = _rows()


def test_every_race_is_there():
    races = " ".join(row[0] for row in ROWS)
    assert [asked for asked in ASKED if asked not in races] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_both_tests_of_a_race_exist(row):
    machine, sockets = (cell.strip("`") for cell in row[2:])
    if "::" not in machine:
        machine = f"test_call_machine.py::{machine}"
    for folder, named in (("unit", machine), ("integration", sockets)):
        file, _, test = named.partition("::")
        path = f"{folder}/{file}"
        text = (ROOT / "tests" / path).read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {re.escape(test)}\(", text, re.MULTILINE), (path, test)
