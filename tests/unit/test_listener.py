"""What a listener of the Python client finds out, however much it has to go through."""

import asyncio
import math
import signal
from array import array

import pytest
from av import AudioFrame

from signaling.client.media import RATE, Listener


def sound(seconds: float, hz: float = 0.0) -> AudioFrame:
    """A frame of a tone, or of silence."""
    samples = array("h", (int(12_000 * math.sin(2 * math.pi * hz * i / RATE)) for i in range(round(seconds * RATE))))
    frame = AudioFrame(format="s16", layout="mono", samples=len(samples))
    frame.planes[0].update(samples.tobytes())
    return frame


@pytest.fixture(autouse=True)
def _not_forever():
    """Whoever holds up the event loop is not stopped by any timeout of it."""

    def stop(_number, _frame) -> None:
        raise AssertionError("the event loop was held up")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


async def test_a_tone_is_heard_after_ever_so_much_silence():
    heard = Listener()
    for _ in range(23):
        heard(sound(0.41))
    hearing = asyncio.create_task(heard.hears(440))
    await asyncio.sleep(0)
    heard(sound(0.2, 440))
    await hearing


async def test_it_gives_up_in_time_however_much_there_was_to_go_through():
    heard = Listener()
    for seconds in (9.5, 0.3, 0.3):  # what lies too far back goes with the last
        heard(sound(seconds))
        with pytest.raises(TimeoutError):
            await heard.hears(440, timeout=0.2)


async def test_another_tone_is_none():
    heard = Listener()
    heard(sound(1.0, 620))
    with pytest.raises(TimeoutError):
        await heard.hears(440, timeout=0.2)
    await heard.hears(620)
