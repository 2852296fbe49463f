"""The JSON Schema of an export (P22), generated from the tables, the sections, and what docs/data.md says of each column.

``python -m signaling.privacy.export_schema docs/data.md`` writes ``export.schema.json`` beside this file; a test fails when it is not up to date.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Boolean, Column, Integer, LargeBinary, Table

from signaling.privacy.export import FORMAT, JSON_COLUMNS, SCHEMA_FILE, exported_columns, exported_tables
from signaling.privacy.export_sections import SECTIONS
from signaling.storage.tables import accounts
from signaling.wire.certificate import DeviceCertificate
from signaling.wire.schema import portable

_FILE: Final = {
    "type": "object",
    "properties": {
        "file": {"type": "string", "description": "name in the archive"},
        "bytes": {"type": "integer", "minimum": 0},
        "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    },
    "required": ["file", "bytes", "sha256"],
}


def reasons(inventory: str) -> dict[str, tuple[str, str]]:
    """``table.column`` -> (why it is kept, for how long), of the text of docs/data.md."""
    found = re.findall(r"^\| `([a-z_]+\.[a-z0-9_]+)` \| ([^|]+) \| ([^|]+) \|", inventory, re.MULTILINE)
    return {name: (why.strip(), lifetime.strip()) for name, why, lifetime in found}


def schema(inventory: str) -> dict[str, Any]:
    """The schema (JSON Schema 2020-12). Raises ``KeyError`` when a column is missing from the inventory."""
    why = reasons(inventory)
    types = [*SECTIONS.values(), DeviceCertificate]
    refs, components = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    ref = dict(zip(types, refs, strict=True))
    properties: dict[str, Any] = {
        "format": {"const": FORMAT},
        "server": {"type": "string", "description": "name of the server"},
        "made_at": {"type": "integer", "description": "milliseconds since 1970-01-01T00:00:00Z"},
    }
    for table in exported_tables():
        row = _row(table, why, ref)
        properties["account" if table is accounts else table.name] = row if table is accounts else {"type": "array", "items": row}
    properties |= {name: ref[section] for name, section in SECTIONS.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "KloudTalk export",
        "description": "Everything that the server stores about one account. Times are milliseconds since 1970-01-01T00:00:00Z; keys, "
        "signatures and ids are unpadded base64url.",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        "$defs": portable(components),
    }


def _row(table: Table, why: dict[str, tuple[str, str]], ref: dict[Any, Any]) -> dict[str, Any]:
    columns = exported_columns(table)
    return {
        "type": "object",
        "properties": {column.name: _column(table, column, why[f"{table.name}.{column.name}"], ref) for column in columns},
        "required": [column.name for column in columns],
        "additionalProperties": False,
    }


def _column(table: Table, column: Column[Any], why: tuple[str, str], ref: dict[Any, Any]) -> dict[str, Any]:
    described = {"description": f"{why[0]}; kept {why[1]}"}
    if f"{table.name}.{column.name}" in JSON_COLUMNS:
        kind = ref[DeviceCertificate] if column.name == "certificate" else {}
    elif isinstance(column.type, LargeBinary):
        kind = _FILE
    elif isinstance(column.type, Boolean):
        kind = {"type": "boolean"}
    elif isinstance(column.type, Integer):
        kind = {"type": "integer"}
    else:
        kind = {"type": "string"}
    return {**described, "anyOf": [kind, {"type": "null"}]} if column.nullable else {**described, **kind}


def document(inventory: Path) -> str:
    """The file's text."""
    return json.dumps(schema(inventory.read_text(encoding="utf-8")), indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(document(Path(sys.argv[1])), encoding="utf-8")
