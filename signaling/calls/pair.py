"""The unit in which calls are stored: all live calls between two accounts, with a version (pure).

There is hardly ever more than one, but when two people invite each other at once (glare) both calls must change together, on whatever
hubs they were begun. So the pair is what is read and written, by compare-and-set on its version.
"""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from signaling.calls.machine import Call

VERSION_BYTES: Final = 16
"""A counter that only grows (8 bytes, big-endian), then a nonce: no two states of a pair have the same version."""

ABSENT: Final = b""
"""The version of a pair that is not stored."""

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(list[Call])


def pair_key(one: str, other: str) -> str:
    """Names the pair of two accounts, whichever comes first."""
    low, high = (one, other) if one < other else (other, one)
    return urlsafe_b64encode(hashlib.blake2b(f"{low}{high}".encode(), digest_size=15).digest()).decode()


def next_version(version: bytes, nonce: bytes, *, floor: int = 0) -> bytes:
    """The version after ``version``, its counter above ``floor``; ``nonce`` is 8 bytes that were never used before."""
    return (max(counter(version), floor) + 1).to_bytes(8, "big") + nonce


def counter(version: bytes) -> int:
    """How many changes led to a version. Of two states of a pair the one with the higher counter is the later one."""
    return int.from_bytes(version[:8], "big")


def later(one: bytes, other: bytes) -> bool:
    """Whether the one version is that of a later state than the other."""
    return one[:8] > other[:8]


def encode_state(version: bytes, calls: Iterable[Call]) -> bytes:
    """A pair as it is stored."""
    return version + _encoder.encode(list(calls))


def decode_state(state: bytes | None) -> tuple[bytes, dict[str, Call]]:
    """Version and live calls of what is stored; ``None`` or empty: nothing is."""
    if not state:
        return ABSENT, {}
    return state[:VERSION_BYTES], {call.id: call for call in _decoder.decode(state[VERSION_BYTES:])}


def earliest(calls: Mapping[str, Call]) -> float | None:
    """The first deadline among the calls of a pair, in seconds since 1970."""
    first: float | None = None
    for call in calls.values():
        if call.deadline is not None and (first is None or call.deadline < first):
            first = call.deadline
    return first
