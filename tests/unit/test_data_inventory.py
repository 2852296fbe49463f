"""docs/data.md names every datum that is stored."""

import re
from pathlib import Path

from signaling.storage.tables import metadata

TEXT = (Path(__file__).parents[2] / "docs/data.md").read_text(encoding="utf-8")
ROWS = set(re.findall(r"^\| `([a-z_]+\.[a-z0-9_]+)` \|", TEXT, re.MULTILINE))


def test_every_sql_column_has_a_row_and_every_row_a_column():
    assert {f"{table.name}.{column.name}" for table in metadata.sorted_tables for column in table.columns} == ROWS
