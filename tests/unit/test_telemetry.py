"""Counting, call counts, and health: cached, bounded in time, honest about what is essential."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.calls import machine
from signaling.calls.counts import CallCounts
from signaling.telemetry.counting import FAST, Histogram, count
from signaling.telemetry.health import Check, CheckError, Health, check_disk, check_skew
from signaling.wire.messages import Stage


@given(st.lists(st.floats(min_value=0, max_value=10)))
def test_a_histogram_counts_each_value_in_every_bucket_that_holds_it(values):
    histogram = Histogram(FAST)
    for value in values:
        histogram.observe(value)
    for bound, number in histogram.cumulative():
        assert number == sum(value <= float(bound) for value in values)
    assert histogram.sum == pytest.approx(sum(values))


def test_a_tally_counts_by_key():
    tally: dict[str, int] = {}
    for key in "abca":
        count(tally, key)
    assert tally == {"a": 2, "b": 1, "c": 1}


def through(counts: CallCounts, *events: tuple[float, machine.Event]) -> None:
    call, _ = machine.invite(
        call="c", caller="A", caller_device="a", caller_phone="", callee="B", devices=("b",), reached=frozenset("b"), now=100.0
    )
    counts.take((None, call), 100.0)
    for now, event in events:
        before, (call, _) = call, machine.advance(call, event, now)
        counts.take((before, call), now)


def test_times_are_measured_between_the_events_that_people_wait_for():
    counts = CallCounts()
    through(
        counts,
        (100.2, machine.Rang("b")),
        (107.0, machine.Accepted("b")),
        (107.1, machine.Connected("a")),
        (107.4, machine.Left("a")),  # its media flows on
        (107.5, machine.Connected("b")),
        (108.0, machine.Returned("a")),
        (167.5, machine.HungUp("a")),
    )
    assert counts.ring.sum == pytest.approx(0.2)
    assert counts.audio.sum == pytest.approx(0.5)
    assert counts.talk.sum == pytest.approx(60.0)
    assert counts.stages == dict.fromkeys(Stage, 1)
    assert counts.ended == {("hangup", "connected"): 1}


def test_a_call_that_fails_says_in_which_stage():
    counts = CallCounts()
    through(counts, (101.0, machine.Accepted("b")), (121.0, machine.DeadlinePassed()))
    through(counts, (145.0, machine.DeadlinePassed()))
    assert counts.ended == {("failed", "connecting"): 1, ("missed", "inviting"): 1}
    assert sum(counts.audio.counts) == sum(counts.talk.counts) == 0


async def test_health_is_looked_at_once_however_many_ask_and_again_when_it_is_old(clock):
    looks = 0

    async def look() -> str:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0)
        return "fine"

    health = Health([Check("one", look)], kept=2.0, clock=clock)
    reports = await asyncio.gather(*(health.report() for _ in range(50)))
    assert looks == 1
    assert all(report.ready and not report.degraded for report in reports)
    clock.advance(1.9)
    await health.report()
    assert looks == 1
    clock.advance(0.2)
    await health.report()
    assert looks == 2


async def test_a_check_that_hangs_fails_in_time_and_one_that_is_not_essential_only_degrades():
    async def hangs() -> str:
        await asyncio.Event().wait()
        return ""

    async def broken() -> str:
        raise CheckError("the disk is full")

    async def secret() -> str:
        raise ConnectionError("redis://user:password@host")

    report = await Health([Check("a", hangs, essential=False), Check("b", secret, essential=False)], timeout=0.05).report()
    assert (report.ready, report.degraded) == (True, True)
    assert [finding.detail for finding in report.checks] == ["no answer in time", "does not answer (ConnectionError)"]
    report = await Health([Check("a", broken)]).report()
    assert (report.ready, report.degraded, report.checks[0].detail) == (False, True, "the disk is full")


async def test_who_stops_waiting_does_not_stop_the_others():
    go = asyncio.Event()

    async def slow() -> str:
        await go.wait()
        return "fine"

    health = Health([Check("slow", slow)], timeout=5.0)
    first, second = asyncio.create_task(health.report()), asyncio.create_task(health.report())
    await asyncio.sleep(0)
    first.cancel()
    go.set()
    assert (await second).ready


def test_clocks_and_disks_have_their_bounds(tmp_path, monkeypatch):
    assert "0.40" in check_skew(-0.4)
    for ahead, word in ((3.0, "ahead"), (-3.0, "behind")):
        with pytest.raises(CheckError, match=word):
            check_skew(ahead)
    assert "MiB free" in check_disk(tmp_path / "not" / "there" / "yet")
    monkeypatch.setattr("signaling.telemetry.health.free_bytes", lambda _folder: 100)
    with pytest.raises(CheckError, match="0 MiB free"):
        check_disk(tmp_path)
