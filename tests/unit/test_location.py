"""Country and region of an address from a MaxMind database (P19), with a small one written here after the format's specification."""

from pathlib import Path

import pytest

from signaling.accounts.location import Locator, Place

_MARK = b"\xab\xcd\xefMaxMind.com"


def encoded(value: object) -> bytes:
    """A value of the data section: strings, maps, arrays, and unsigned numbers."""
    if isinstance(value, str):
        data = value.encode()
        return bytes([2 << 5 | len(data)]) + data
    if isinstance(value, dict):
        return bytes([7 << 5 | len(value)]) + b"".join(encoded(k) + encoded(v) for k, v in value.items())
    if isinstance(value, list):
        return bytes([len(value), 11 - 7]) + b"".join(encoded(v) for v in value)
    assert isinstance(value, int)
    data = value.to_bytes(4, "big").lstrip(b"\0")
    return bytes([6 << 5 | len(data)]) + data


def database(path: Path, network: int, bits: int, record: object) -> Path:
    """A database of one IPv4 network. The tree is a chain: each node has one way on, and one to nowhere."""
    nodes = bits
    data = encoded(record)
    tree = b""
    for depth in range(bits):
        bit = network >> (31 - depth) & 1
        onward = depth + 1 if depth + 1 < bits else nodes + 16  # the record is first in the data section, after 16 zero bytes
        pair = (nodes, onward) if bit else (onward, nodes)
        tree += b"".join(side.to_bytes(3, "big") for side in pair)
    meta = {
        "node_count": nodes, "record_size": 24, "ip_version": 4, "database_type": "Test", "languages": ["en"],
        "binary_format_major_version": 2, "binary_format_minor_version": 0, "build_epoch": 1, "description": {"en": "test"},
    }  # fmt: skip
    path.write_bytes(tree + bytes(16) + data + _MARK + encoded(meta))
    return path


BERLIN = {"country": {"iso_code": "DE"}, "subdivisions": [{"names": {"en": "Land Berlin"}}]}


@pytest.mark.parametrize(
    ("record", "place"),
    [
        (BERLIN, Place("DE", "Land Berlin")),
        ({"country": {"iso_code": "DE"}}, Place("DE", None)),
        ({"country": "DE", "subdivisions": []}, Place()),
        ("Berlin", Place()),
    ],
)
def test_an_address_has_the_place_of_its_network(tmp_path, record, place):
    locator = Locator(database(tmp_path / "geo.mmdb", 203 << 24 | 113 << 8, 24, record))
    assert locator.place("203.0.113.77") == place
    assert locator.place("198.51.100.1") == locator.place("2001:db8::1") == locator.place("unknown") == Place()
