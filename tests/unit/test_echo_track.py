"""What a caller of the test call hears."""

from array import array

import pytest
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from media.echo import DELAY, FRAME, EchoTrack, greeting


def frame(value: int, layout: str = "stereo") -> AudioFrame:
    made = AudioFrame(format="s16", layout=layout, samples=FRAME)
    made.planes[0].update(array("h", [value] * FRAME * len(made.layout.channels)).tobytes())
    made.sample_rate = 48_000
    return made


async def heard(track: EchoTrack) -> int:
    """The first sample of what comes next, at once."""
    track._start = float("-inf")
    return array("h", bytes((await track.recv()).planes[0]))[0]


def test_the_greeting_is_some_seconds_of_speech():
    frames = greeting()
    assert 2.0 < len(frames) * 0.02 < 8.0
    assert all(len(one) == 2 * FRAME for one in frames)
    assert max(max(array("h", one)) for one in frames) > 3_000


async def test_first_the_greeting_then_what_was_said_a_second_ago():
    track = EchoTrack([array("h", [7] * FRAME).tobytes()])
    track.hear(frame(1))
    assert await heard(track) == 7
    for value in range(DELAY):
        assert await heard(track) == 0
        track.hear(frame(100 + value))
    for value in range(DELAY):
        assert await heard(track) == 100 + value
    assert await heard(track) == 0
    assert track.frames == DELAY + 1


async def test_no_more_than_two_seconds_are_kept_and_nothing_after_the_end():
    track = EchoTrack()
    for _ in range(1_000):
        track.hear(frame(5, "mono"))
    assert len(track._heard) == 2 * DELAY
    assert track.levels().peak < -70
    track.stop()
    assert len(track._heard) == 0
    with pytest.raises(MediaStreamError):
        await track.recv()
