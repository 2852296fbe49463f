"""Loss, jitter and the opinion score, against what the standards say."""

import pytest

from media.quality import StreamQuality, mos
from media.rtp import CLOCK, Kind, RtpHeader, classify

FRAME = 960


def stream(sequences, *, late=lambda _i: 0.0, ssrc=1) -> StreamQuality:
    """Packets of 20 ms, as they come."""
    quality = StreamQuality()
    for i, sequence in enumerate(sequences):
        quality.take(RtpHeader(sequence & 0xFFFF, (sequence * FRAME) & 0xFFFFFFFF, ssrc), 100 + i * 0.02 + late(i))
    return quality


def test_nothing_is_lost_when_all_comes_also_past_the_end_of_the_numbers():
    quality = stream(range(65_500, 65_600))
    assert (quality.expected, quality.lost, quality.loss) == (100, 0, 0.0)
    assert quality.jitter_seconds < 1e-6


def test_what_is_missing_is_lost_and_what_is_late_is_not():
    assert stream([1, 2, 5, 6]).lost == 2
    assert stream([1, 3, 2, 4]).lost == 0
    assert stream([1, 2, 2, 3]).lost == 0


def test_a_sender_that_starts_anew_lost_nothing():
    quality = stream(range(1, 51))
    for sequence in range(30_000, 30_050):
        quality.take(RtpHeader(sequence, sequence * FRAME, 2), 200.0)
    assert (quality.expected, quality.received, quality.lost) == (100, 100, 0)


def test_silence_is_not_jitter():
    quality = StreamQuality()
    for sequence, at in enumerate([0.0, 0.02, 0.04, 0.44, 0.46]):  # DTX: the timestamps go on
        quality.take(RtpHeader(sequence, int(at * CLOCK), 1), 10 + at)
    assert quality.jitter_seconds < 1e-4


def test_jitter_tends_to_the_mean_difference():
    quality = stream(range(1, 400), late=lambda i: 0.01 * (i % 2))
    assert quality.jitter_seconds == pytest.approx(0.01, rel=0.05)


def test_the_score_is_g_107_s_for_no_impairment_and_falls_with_each_impairment():
    best = mos(loss=0, jitter=0, rtt=0)
    assert best == pytest.approx(4.4, abs=0.02)  # R = 93.2 (G.107, table 3), less 26.5 ms
    assert mos(loss=0, jitter=0, rtt=0.3) < best
    assert mos(loss=0, jitter=0, rtt=0.6) < mos(loss=0, jitter=0, rtt=0.3) - 0.3  # past 177.3 ms one way it falls fast
    assert mos(loss=0.01, jitter=0, rtt=0) < best
    assert mos(loss=0.05, jitter=0, rtt=0) == pytest.approx(3.9, abs=0.05)  # R = 77: 95 * 5 / (5 + 25.1) less
    assert mos(loss=0, jitter=0.05, rtt=0) < best
    assert mos(loss=1, jitter=1, rtt=10) == 1.0


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", Kind.EMPTY),
        (bytes.fromhex("000100002112a442") + bytes(12), Kind.STUN),
        (bytes.fromhex("000100002112a442") + bytes(11), Kind.MALFORMED),
        (bytes.fromhex("16fefd") + bytes(10), Kind.DTLS),
        (bytes.fromhex("14fefd") + bytes(10), Kind.DTLS),
        (b"\x3f" + bytes(12), Kind.DTLS),
        (b"\x40" + bytes(12), Kind.UNKNOWN),
        (b"\x04" + bytes(19), Kind.UNKNOWN),
        (b"\x80\x6f" + bytes(10), Kind.RTP),
        (b"\xbf\x6f" + bytes(10), Kind.RTP),
        (b"\x80\x6f" + bytes(9), Kind.UNKNOWN),
        (b"\x80\xc8" + bytes(6), Kind.RTCP),
        (b"\x80\xdf" + bytes(6), Kind.RTCP),
        (b"\x80\xe0" + bytes(10), Kind.RTP),
        (b"\xc0\x6f" + bytes(10), Kind.UNKNOWN),
    ],
)
def test_datagrams_are_told_apart_by_their_first_bytes(data, kind):
    assert classify(data) is kind
