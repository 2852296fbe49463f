"""How loud something is."""

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.levels import FLOOR, LevelMeter, decibels

samples = st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=200)


def tone(amplitude: float) -> array:
    return array("h", [int(amplitude * math.sin(2 * math.pi * 440 * i / 48_000)) for i in range(9_600)])


def test_a_sine_is_3_db_below_its_peak():
    meter = LevelMeter()
    meter.take(tone(3_276.8))
    levels = meter.read()
    assert levels.peak == pytest.approx(-20.0, abs=0.1)
    assert levels.rms == pytest.approx(-23.0, abs=0.1)
    assert levels.clipped == 0


def test_silence_is_at_the_floor_and_each_reading_begins_anew():
    meter = LevelMeter()
    meter.take(array("h", bytes(1920)))
    assert (meter.read().rms, meter.read().peak) == (FLOOR, FLOOR)
    meter.take(tone(20_000))
    meter.read()
    assert meter.read().peak == FLOOR


def test_an_overdriven_microphone_is_seen():
    meter = LevelMeter()
    meter.take(array("h", [32_767, -32_768, 100, 200]))
    assert meter.read().clipped == 0.5


@given(st.lists(samples, max_size=5))
def test_levels_stay_in_their_range_whatever_comes(blocks):
    meter = LevelMeter()
    for block in blocks:
        meter.take(array("h", block))
    levels = meter.read()
    assert FLOOR <= levels.rms <= levels.peak + 0.1
    assert levels.peak <= 0
    assert 0 <= levels.clipped <= 1


@given(st.floats(0, 40_000))
def test_louder_is_never_less(amplitude):
    assert decibels(amplitude) <= decibels(amplitude * 1.1)
