"""Packets in a stream of TCP."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.framing import Deframer, FrameError, framed

LIMIT = 1_500


def taken(deframer: Deframer, stream: bytes, cuts: list[int]) -> list[bytes]:
    """What comes out when the stream arrives in pieces of these sizes."""
    got, at = [], 0
    for size in (*cuts, len(stream)):
        while size and at < len(stream):
            piece = stream[at : at + min(size, len(deframer.chunk))]
            deframer.chunk[: len(piece)] = piece
            at += len(piece)
            size -= len(piece)
            got += deframer.take(len(piece))
            assert len(deframer._held) < LIMIT + 2
    return got


@given(st.lists(st.binary(max_size=LIMIT), max_size=20), st.lists(st.integers(1, 2_000), max_size=40))
def test_packets_come_out_as_they_went_in_however_they_are_cut(packets, cuts):
    assert taken(Deframer(LIMIT), b"".join(map(framed, packets)), cuts) == packets


@given(st.lists(st.binary(max_size=64), max_size=5), st.integers(LIMIT + 1, 65_535), st.binary(max_size=3_000))
def test_a_packet_that_is_too_long_ends_it_after_those_before(packets, length, rest):
    deframer = Deframer(LIMIT)
    stream = b"".join(map(framed, packets)) + length.to_bytes(2, "big") + rest
    got = []

    def feed() -> None:
        for at in range(0, len(stream), 7):
            piece = stream[at : at + 7]
            deframer.chunk[: len(piece)] = piece
            got.extend(deframer.take(len(piece)))

    with pytest.raises(FrameError):
        feed()
    assert got == packets


@given(st.binary(max_size=6_000), st.lists(st.integers(1, 2_000), max_size=20))
def test_of_garbage_no_more_than_one_packet_is_ever_held(stream, cuts):
    try:
        got = taken(Deframer(LIMIT), stream, cuts)
    except FrameError:
        return
    assert all(len(packet) <= LIMIT for packet in got)
