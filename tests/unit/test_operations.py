"""Figures and time lines for operators: pure (P17, P25)."""

from hypothesis import given
from hypothesis import strategies as st

from media.relay import Direction
from media.report import Sample, SideSample, decode_samples, encode_sample, side_sample
from signaling.calls.machine import Mark, What
from signaling.calls.relays import Placement
from signaling.calls.samples import HeardSample
from signaling.calls.trace import Trace
from signaling.operations.tally import SLOWEST, Ended, by_span, calling_code, figures, grouped, percentile, region_of
from signaling.operations.timeline import CHARTED, dips, ended_summary, heard_points, lately, quality_of, timeline
from signaling.wire.admin.operations import Line, MeasuredAt, QualityPoint
from signaling.wire.messages import Reason, Rung


def one(at=1_000.0, reason=Reason.HANGUP, *, connected=True, taken=True, set_up=150, rung="direct", code="49"):
    return Ended(at, reason, "caller", code, connected, taken, set_up if connected else None, rung)


def test_only_calls_that_were_taken_say_whether_the_service_works():
    missed = one(reason=Reason.MISSED, connected=False, taken=False)
    broken = one(reason=Reason.FAILED, connected=False)
    found = figures(by_span([one(), one(), one(), missed, broken]).values())
    assert (found.calls, found.connected, found.not_connected, found.success) == (5, 3, 1, 0.75)
    assert found.reasons == {"hangup": 3, "failed": 1, "missed": 1}
    assert found.rungs == {"direct": 3}
    assert figures(by_span([missed]).values()).success is None


def test_calls_are_counted_in_the_five_minutes_in_which_they_ended():
    assert {span: counters["connected"] for span, counters in by_span([one(299), one(300), one(599.9)]).items()} == {0: 1, 1: 2}


@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=60), st.sampled_from([0.5, 0.95]))
def test_a_percentile_lies_in_the_bucket_of_the_true_one(times, part):
    found = figures(by_span([one(set_up=time) for time in times]).values())
    said = percentile(found.set_up, part)
    true = sorted(times)[max(0, -(-len(times) * part // 1).__trunc__() - 1)]
    bounds = [bound for bound in SLOWEST if true <= bound]
    lower = max((bound for bound in SLOWEST if bound < true), default=0)
    assert lower <= said <= bounds[0]


def heard_at(at: float, mos: float) -> HeardSample:
    return HeardSample(at=at, loss=0.02, jitter=0.01, rtt=None, mos=mos)


def test_what_a_device_hears_is_how_the_other_side_s_sound_arrives():
    points = heard_points(([heard_at(10.0, 4.1), heard_at(20.0, 2.0)], [heard_at(12.0, 4.4)]))
    assert [(p.at, p.side, p.mos, p.by) for p in points] == [
        (10_000, 1, 4.1, MeasuredAt.DEVICE), (12_000, 0, 4.4, MeasuredAt.DEVICE), (20_000, 1, 2.0, MeasuredAt.DEVICE),
    ]  # fmt: skip


def test_a_small_chart_shows_who_hears_worse_every_ten_seconds_and_no_more_than_three_minutes():
    now = 1_000_000
    points = [QualityPoint(now - back, side, 0, 0, mos=mos) for back, side, mos in (
        (1_000, 0, 4.2), (2_000, 1, 3.0), (12_000, 0, 4.0), (31_000, 1, 2.0), (10_000 * CHARTED, 0, 1.0), (-5_000, 0, 3.5), (-15_000, 0, 1.0),
    )]  # fmt: skip
    assert lately(points, now) == [2.0, 4.0, 3.0]
    assert lately([QualityPoint(now, 0, 0, 0)], now) == [], "no score, no point"


def test_a_dip_that_the_device_hears_is_not_told_a_second_time_as_the_relay_sees_it():
    trace = Trace(
        id="c",
        caller="A",
        callee="B",
        hub="h",
        created_at=0.0,
        connected_at=1.0,
        ended_at=60.0,
        reason=Reason.HANGUP,
        trail=(),
        told=True,
    )
    by_relay = [QualityPoint(30_000, side, 0.2, 0.0, mos=1.9) for side in (0, 1)]
    by_device = [QualityPoint(31_000, 1, 0.2, 0.0, mos=1.5, by=MeasuredAt.DEVICE)]
    lines = timeline(ended_summary(trace), (), [], by_relay + by_device)
    assert [(line.side, line.mos) for line in lines if line.what is Line.DIP] == [(0, 1.9), (1, 1.5)]


def test_no_set_up_no_percentile():
    assert percentile({}, 0.5) is None


def test_calling_codes_are_the_longest_that_is_assigned_and_say_no_more_than_the_country():
    assert [calling_code(phone) for phone in ("+4930901820", "+12125550123", "+3545812345", "+442079460018", "+9999", "")] == [
        "49", "1", "354", "44", "", "",
    ]  # fmt: skip
    assert [region_of(code) for code in ("49", "1", "354", "")] == ["DE", "US", "IS", "ZZ"]


def test_countries_that_are_too_small_stand_together():
    counted = [("49", 40, 90, 10), ("354", 3, 5, 1), ("44", 2, 1, 1)]
    assert grouped(counted, ["49"]) == [("49", 90, 10), ("", 6, 2)]


def test_a_sample_is_what_changed_since_the_last():
    before = Direction(packets=100, bytes=1, expected=100, lost=10, jitter=0.001, rtt=0.02, mos=3.0)
    now = Direction(packets=590, bytes=1, expected=600, lost=10, jitter=0.002, rtt=0.03, mos=3.0)
    found = side_sample(before, now, 0.05)
    assert (found.packets, found.loss, found.jitter, found.rtt) == (490, 0.0, 0.002, 0.03)
    assert found.mos is not None
    assert found.mos > 4.2, "the loss of before is over"
    assert side_sample(now, now, 0.05).mos is None, "nothing came"


def test_samples_of_another_version_are_left_out():
    sample = Sample(1.0, (SideSample(1, 0.0, 0.0, None, 4.0), SideSample(0, 0.0, 0.0, None, None)))
    assert decode_samples([b"\xc0", encode_sample(sample), b"junk"]) == [sample]


def points(*scores, side=0):
    return [QualityPoint(at=1_000 * n, side=side, loss=0.0, jitter=0.0, mos=score) for n, score in enumerate(scores)]


def test_a_dip_is_from_the_first_bad_point_to_the_first_good_one_and_says_the_worst():
    lines = dips(points(4.2, 3.0, 2.1, 2.9, 4.0, 4.1, 2.5))
    assert [(line.at, line.what, line.mos) for line in lines if line.what is Line.DIP] == [
        (1_000, Line.DIP, 2.1),
        (6_000, Line.DIP, 2.5),
    ]
    assert [line.at for line in lines if line.what is Line.RECOVERED] == [4_000], "the second goes on"


def test_a_time_line_has_everything_in_order_and_ends_with_the_end():
    trace = Trace(
        "c" * 22, "A", "B", True, "hub", 100.0, 104.0, 130.0, Reason.LOST,
        (Mark(What.RANG, 300, 1), Mark(What.TAKEN, 3_000, 1), Mark(What.MEDIA, 3_500, 1, Rung.RELAY), Mark(What.LEFT, 30_000, 0)),
    )  # fmt: skip
    sample = Sample(110.0, (SideSample(9, 0.5, 0.0, None, 1.5), SideSample(9, 0.0, 0.0, None, 4.3)))
    quality = quality_of([sample])
    found = timeline(ended_summary(trace), trace.trail, [Placement(102.0, "relay", "pair")], quality)
    assert [(line.what, line.at) for line in found] == [
        (Line.INVITED, 100_000), (Line.RANG, 100_300), (Line.RELAY, 102_000), (Line.TAKEN, 103_000), (Line.MEDIA, 103_500),
        (Line.CONNECTED, 104_000), (Line.DIP, 110_000), (Line.LEFT, 130_000), (Line.ENDED, 130_000),
    ]  # fmt: skip
    assert ended_summary(trace).set_up == 1_000
