"""Answers on a terminal: for people, or as JSON for programs."""

import time
from collections.abc import Sequence

import msgspec
from msgspec import UNSET, Struct


def when(milliseconds: int) -> str:
    """A time for people, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(milliseconds / 1000))


def printable(text: str) -> str:
    """What somebody wrote, without what could steer the terminal."""
    return "".join(c if c == "\n" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def as_json(thing: object) -> str:
    """JSON on one line."""
    return msgspec.json.encode(thing).decode()


def fields(thing: Struct) -> str:
    """One line for each field that has a value."""
    lines = []
    for name in thing.__struct_fields__:
        value = getattr(thing, name)
        if value is not UNSET and value is not None:
            lines.append(f"{name.replace('_', ' '):14} {cell(name, value)}")
    return "\n".join(lines)


def table(rows: Sequence[Struct], columns: Sequence[str]) -> str:
    """One line for each row, its columns as wide as they need to be."""
    shown = [[cell(name, getattr(row, name)) for name in columns] for row in rows]
    widths = [max((len(line[n]) for line in shown), default=0) for n in range(len(columns))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in shown)


def cell(name: str, value: object) -> str:
    """One value."""
    if value is UNSET or value is None:
        return "-"
    if name in ("at", "until") or name.endswith("_at"):
        return when(int(str(value)))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {number}" for key, number in value.items()) or "-"
    return printable(str(value))
