"""How loud what was heard is: levels of signed 16-bit samples in dBFS, where full scale is 0. Pure."""

import math
from array import array
from dataclasses import dataclass
from typing import Final

FLOOR: Final = -90.0
"""dBFS of what has no sound in it at all, digital silence; 16 bits end near there."""
CLIPPED: Final = 32_440
"""Samples from here on count as clipped: 0.1 dB under full scale."""


@dataclass(slots=True)
class LevelMeter:
    """The levels of the samples since the last ``read``."""

    count: int = 0
    energy: int = 0
    highest: int = 0
    clipped: int = 0

    def take(self, samples: "array[int]") -> None:
        """Count samples (signed 16 bits, one channel)."""
        if not samples:
            return
        self.count += len(samples)
        self.energy += sum([s * s for s in samples])
        peak = max(max(samples), -min(samples))
        self.highest = max(self.highest, peak)
        if peak >= CLIPPED:
            self.clipped += sum(1 for s in samples if s >= CLIPPED or s <= -CLIPPED)

    def read(self) -> "Levels":
        """The levels, and begin anew."""
        rms = math.sqrt(self.energy / self.count) if self.count else 0.0
        levels = Levels(decibels(rms), decibels(self.highest), self.clipped / self.count if self.count else 0.0)
        self.count = self.energy = self.highest = self.clipped = 0
        return levels


@dataclass(frozen=True, slots=True)
class Levels:
    """What was measured: mean (RMS) and peak in dBFS, ``FLOOR`` to 0, and the share of samples that were clipped, 0 to 1."""

    rms: float
    peak: float
    clipped: float


def decibels(amplitude: float) -> float:
    """Level of an amplitude in dBFS (0 to 32,768), never under ``FLOOR``, in tenths."""
    if amplitude < 1.0:
        return FLOOR
    return round(max(FLOOR, min(0.0, 20 * math.log10(amplitude / 32_768))), 1)
