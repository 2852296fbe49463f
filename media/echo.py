"""The audio of the test call: a greeting, then what is heard comes back a second later; and how loud it was.

Nothing is recorded: what is heard is in memory for as long as the delay, in a queue of at most ``_LONGEST`` frames, and in no file. Who answers
the call, and seals, is no business of this module.
"""

import asyncio
import fractions
from array import array
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame, AudioResampler
from av import open as open_media

from media.levels import LevelMeter, Levels

RATE: Final = 48_000
FRAME: Final = 960
"""Samples of 20 ms."""
DELAY: Final = 50
"""Frames of 20 ms between what is said and its echo: long enough to know one's own voice in it."""
_LONGEST: Final = 2 * DELAY
_GREETING: Final = Path(__file__).parent / "greeting.opus"
_SILENCE: Final = bytes(2 * FRAME)


def greeting() -> tuple[bytes, ...]:
    """The greeting as frames of 20 ms (mono, signed 16 bits)."""
    resampler = AudioResampler("s16", "mono", RATE, FRAME)
    frames: list[bytes] = []
    with open_media(str(_GREETING)) as file:
        for decoded in file.decode(audio=0):
            frames += [_samples(frame) for frame in resampler.resample(decoded)]
        frames += [_samples(frame) for frame in resampler.resample(None)]
    return tuple(frame.ljust(2 * FRAME, b"\0") for frame in frames)


class EchoTrack(MediaStreamTrack):  # type: ignore[misc]
    """What the caller hears.

    Args:
        greeting: frames that come first; what is said meanwhile is measured and not echoed.
    """

    kind = "audio"

    def __init__(self, greeting: Sequence[bytes] = ()) -> None:
        super().__init__()
        self.frames = 0
        """Frames that were heard."""
        self._meter = LevelMeter()
        self._greeting: deque[bytes] = deque(greeting)
        self._heard: deque[bytes] = deque(maxlen=_LONGEST)
        self._echoing = False
        self._sent = 0
        self._start: float | None = None

    def hear(self, frame: AudioFrame) -> None:
        """Take a frame of what the caller says, as aiortc decodes Opus: signed 16 bits, 48 kHz."""
        data = array("h", _samples(frame))
        channels = len(frame.layout.channels)
        mono = data[::channels] if channels > 1 else data
        self.frames += 1
        self._meter.take(mono)
        if not self._greeting and len(mono) == FRAME:
            self._heard.append(mono.tobytes())

    def levels(self) -> Levels:
        """How loud it was since this was asked last."""
        return self._meter.read()

    async def recv(self) -> AudioFrame:
        """The next 20 ms, when they are due. Raises ``MediaStreamError`` once stopped."""
        if self.readyState != "live":
            raise MediaStreamError
        loop = asyncio.get_running_loop()
        if self._start is None:
            self._start = loop.time()
        await asyncio.sleep(max(0.0, self._start + self._sent / RATE - loop.time()))
        frame = AudioFrame(format="s16", layout="mono", samples=FRAME)
        frame.planes[0].update(self._next())
        frame.sample_rate = RATE
        frame.pts = self._sent
        frame.time_base = fractions.Fraction(1, RATE)
        self._sent += FRAME
        return frame

    def stop(self) -> None:
        """End it, and forget what was heard."""
        super().stop()
        self._heard.clear()
        self._greeting.clear()

    def _next(self) -> bytes:
        if self._greeting:
            return self._greeting.popleft()
        if not self._echoing:
            self._echoing = len(self._heard) >= DELAY
        if self._echoing and self._heard:
            return self._heard.popleft()
        self._echoing = False  # nothing comes: gather anew, so that the delay stays what it is
        return _SILENCE


def _samples(frame: AudioFrame) -> bytes:
    """A packed frame's samples, without the padding of its plane."""
    return bytes(frame.planes[0])[: 2 * frame.samples * len(frame.layout.channels)]
