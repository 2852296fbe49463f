"""docs/data.md names every datum that is stored, and says whether its owner gets it (P22)."""

import re
from pathlib import Path

from signaling.privacy.export import NOT_PERSONAL, SCHEMA_FILE, THROUGH, WITHHELD, exported_columns, exported_tables, owner_column
from signaling.privacy.export_schema import document
from signaling.privacy.export_sections import SECTIONS
from signaling.storage.tables import metadata
from tests.inventory import columns, key_patterns, named_keys

ROOT = Path(__file__).parents[2]


def test_every_sql_column_has_a_row_and_every_row_a_column():
    assert {f"{table.name}.{column.name}" for table in metadata.sorted_tables for column in table.columns} == columns().keys()


def test_every_column_is_exported_or_the_inventory_says_why_not():
    exported = {f"{table.name}.{column.name}" for table in exported_tables() for column in exported_columns(table)}
    kept_back = {name for name, row in columns().items() if row[-1].startswith("not exported: ")}
    assert exported == columns().keys() - kept_back
    assert {name for name in kept_back if name.partition(".")[0] not in NOT_PERSONAL} == WITHHELD.keys()


def test_every_exported_table_says_whose_its_rows_are():
    assert [table.name for table in exported_tables() if owner_column(table) is None and table.name not in THROUGH] == []


def test_the_schema_of_the_export_is_up_to_date():
    assert SCHEMA_FILE.read_text(encoding="utf-8") == document(ROOT / "docs/data.md"), (
        "run: python -m signaling.privacy.export_schema docs/data.md"
    )


def test_every_redis_key_is_exported_or_the_inventory_says_why_not():
    sections = {*SECTIONS, *(table.name for table in exported_tables())}
    for key, row in key_patterns().items():
        found = re.search(r"export `(\w+)`", row[-1])
        assert (found and found[1] in sections) or "not exported: " in row[-1], key


def test_every_redis_key_that_the_code_names_has_a_row():
    known = {re.match(r"(?:\{\w+\}:)?([a-z_]+(?::[a-z_]+)?)", key)[1] for key in key_patterns()}  # type: ignore[index]
    named = {name: path for path in sorted((ROOT / "signaling").rglob("*.py")) for name in named_keys(path.read_text())}
    assert {name: str(path.relative_to(ROOT)) for name, path in named.items() if name not in known} == {}
    assert {"book", "holders", "inbox", "link", "link_lookup"} <= named.keys()
