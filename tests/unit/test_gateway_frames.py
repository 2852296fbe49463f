"""What the hub sends is framed as RFC 6455 says, and who is silent for two rounds is cut off."""

import pytest

from signaling.gateway.frames import text_frame
from signaling.gateway.heartbeat import SLOTS, Heartbeat


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_a_text_frame_has_the_shortest_length_field_and_no_mask(length):
    payload = b"x" * length
    frame = text_frame(payload)
    assert frame[0] == 0x81  # final, text
    assert frame[1] & 0x80 == 0  # a server does not mask
    if length < 126:
        size, start = frame[1], 2
    elif length < 65_536:
        assert frame[1] == 126
        size, start = int.from_bytes(frame[2:4], "big"), 4
    else:
        assert frame[1] == 127
        size, start = int.from_bytes(frame[2:10], "big"), 10
    assert (size, frame[start:]) == (length, payload)


class Client:
    def __init__(self):
        self.slot, self.heard, self.asked = 0, True, False
        self.pings = 0
        self.cut = False

    def ping(self):
        self.pings += 1

    def abort(self):
        self.cut = True


def rounds(heartbeat, count):
    for _ in range(count * SLOTS):
        heartbeat.tick()


def test_a_client_that_answers_is_pinged_and_stays():
    heartbeat, client = Heartbeat(), Client()
    heartbeat.add(client)
    for _ in range(6):
        rounds(heartbeat, 1)
        if client.asked:
            client.heard = True  # its pong
    assert client.pings >= 2
    assert not client.cut


def test_a_client_that_says_nothing_is_asked_once_and_then_cut_off():
    heartbeat, client = Heartbeat(), Client()
    heartbeat.add(client)
    rounds(heartbeat, 2)
    assert (client.pings, client.cut) == (1, False)
    rounds(heartbeat, 1)
    assert (client.pings, client.cut) == (1, True)


def test_a_client_that_left_is_looked_at_no_more():
    heartbeat, client = Heartbeat(), Client()
    heartbeat.add(client)
    heartbeat.discard(client)
    rounds(heartbeat, 3)
    assert (client.pings, client.cut, len(heartbeat)) == (0, False, 0)
