"""General location (P19): country and region of an IP address, from a GeoIP database on this machine. No one else is asked."""

from pathlib import Path
from typing import Any

import maxminddb
from msgspec import Struct


class Place(Struct, frozen=True):
    """As much as is known of a place."""

    country: str | None = None
    """ISO 3166-1 alpha-2."""
    region: str | None = None
    """English name of the first subdivision."""


class Locator:
    """Looks places up; knows none without a file. Raises ``OSError`` or ``ValueError`` when the file cannot be used."""

    def __init__(self, file: Path | None) -> None:
        try:
            self._reader = None if file is None else maxminddb.open_database(file, maxminddb.MODE_MEMORY)
        except maxminddb.InvalidDatabaseError as error:
            raise ValueError(f"geoip_database: {file} is no MaxMind database") from error

    def place(self, address: str) -> Place:
        """The place of an address."""
        if self._reader is None:
            return Place()
        try:
            found: Any = self._reader.get(address.split("/")[0])
        except (ValueError, maxminddb.InvalidDatabaseError):
            return Place()
        if not isinstance(found, dict):
            return Place()
        country = _text(found.get("country"), "iso_code")
        subdivisions = found.get("subdivisions")
        first = subdivisions[0] if isinstance(subdivisions, list) and subdivisions else None
        names = first.get("names") if isinstance(first, dict) else None
        return Place(country=country, region=_text(names, "en"))


def _text(record: Any, key: str) -> str | None:
    value = record.get(key) if isinstance(record, dict) else None
    return value[:64] if isinstance(value, str) else None
