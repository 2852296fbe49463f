"""docs/data.md, read: rows of columns and of Redis keys; and the keys that code and a live Redis hold."""

import re
from pathlib import Path

TEXT = (Path(__file__).parents[1] / "docs/data.md").read_text(encoding="utf-8")


def _rows(pattern: str, text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| `") and len(cells) == 5:
            for name in re.findall(r"`([^`]+)`", cells[0]):
                if re.fullmatch(pattern, name):
                    found[name] = cells
    return found


def columns() -> dict[str, list[str]]:
    """Cells of each ``table.column``."""
    return _rows(r"[a-z_]+\.[a-z0-9_]+", TEXT.partition("\n## Redis")[0])


def key_patterns() -> dict[str, list[str]]:
    """Cells of each key, its variable parts in capitals."""
    return _rows(r"[a-zA-Z0-9_:{}]+", "\n## Redis" + TEXT.partition("\n## Redis")[2])


def unknown_keys(keys: list[bytes]) -> list[str]:
    """Those of a live Redis's keys that the inventory does not name."""
    known = [re.compile(re.sub(r"[A-Z][A-Z0-9]*", "[^:]+", re.sub(r"([{}])", r"\\\1", name))) for name in key_patterns()]
    return [key for key in (k.decode(errors="replace") for k in keys) if not any(pattern.fullmatch(key) for pattern in known)]


def named_keys(source: str) -> set[str]:
    """Prefixes of keys that a module's source names: ``name:`` at the start of a text, before a variable part."""
    if "redis" not in source.lower():
        return set()
    found = re.findall(r"""f?["']([a-z][a-z_]+(?::[a-z_]+)?):(?:["']|\{)""", source)
    return {name for name in found if name not in NOT_KEYS}


NOT_KEYS = {"unix"}
"""Texts in such modules that look like keys and are none."""
