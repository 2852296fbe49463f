"""How well a stream arrives: loss and jitter from RTP headers (RFC 3550, appendix A), and the opinion that people would have of it. Pure."""

from dataclasses import dataclass
from typing import Final

from media.rtp import CLOCK, RtpHeader

_MAX_DROPOUT: Final = 3_000
"""Packets: a larger jump forward is a new start, not loss (RFC 3550, A.1)."""
_MAX_MISORDER: Final = 100
"""Packets: one that is later than this is a new start, not reordering."""
_MAX_TRANSIT: Final = CLOCK
"""Ticks (1 s): a larger difference in transit says nothing about jitter."""

_R_BEST: Final = 93.2
"""Transmission rating with G.107's default values and no impairment (ITU-T G.107, table 3: R = 93.2)."""
_BPL: Final = 25.1
"""Robustness to packet loss: G.113's value for G.711 with concealment at random loss (ITU-T G.113, appendix I). None was standardised
for Opus, whose concealment and in-band FEC do no worse."""
_CODEC_DELAY: Final = 0.0265
"""Seconds: Opus' frame of 20 ms and its look-ahead of 6.5 ms (RFC 6716, section 2)."""


@dataclass(slots=True)
class StreamQuality:
    """One direction of a call. Totals go on when the sender starts anew (another SSRC, a jump in sequence numbers)."""

    received: int = 0
    """Packets, duplicates included."""
    expected: int = 0
    """Packets that were sent, as the sequence numbers say."""
    jitter: float = 0.0
    """Interarrival jitter in ticks of ``CLOCK`` (RFC 3550, section 6.4.1)."""
    ssrc: int = -1
    highest: int = 0
    """The highest sequence number so far."""
    transit: int = 0

    @property
    def lost(self) -> int:
        """Packets lost (RFC 3550, A.3); duplicates cannot make it negative."""
        return max(0, self.expected - self.received)

    @property
    def loss(self) -> float:
        """Share lost, 0 to 1."""
        return self.lost / self.expected if self.expected else 0.0

    @property
    def jitter_seconds(self) -> float:
        """Jitter in seconds."""
        return self.jitter / CLOCK

    def take(self, header: RtpHeader, now: float) -> None:
        """Count one packet that came at ``now`` (seconds of a clock that only goes forward)."""
        self.received += 1
        sequence, timestamp, ssrc = header
        transit = (int(now * CLOCK) - timestamp) & 0xFFFFFFFF
        ahead = (sequence - self.highest) & 0xFFFF
        if ssrc != self.ssrc or _MAX_DROPOUT <= ahead <= 0xFFFF - _MAX_MISORDER:
            self.ssrc, self.highest, self.transit = ssrc, sequence, transit
            self.expected += 1
            return
        if ahead < _MAX_DROPOUT:
            self.highest = sequence
            self.expected += ahead
        difference = (transit - self.transit) & 0xFFFFFFFF
        if difference > 0x7FFFFFFF:
            difference = 0x100000000 - difference
        self.transit = transit
        if difference <= _MAX_TRANSIT:
            self.jitter += (difference - self.jitter) / 16


def mos(*, loss: float, jitter: float, rtt: float) -> float:
    """Mean opinion score of one direction, 1 (bad) to 4.4: the E-model (ITU-T G.107) with default values, simplified to what a network
    changes, delay and packet loss. The delay term is the linear fit to G.107 of Cole and Rosenbluth ("Voice over IP performance
    monitoring", 2001).

    Args:
        loss: share of packets lost, 0 to 1.
        jitter: seconds; twice as much is waited for in the receiver's buffer.
        rtt: seconds from one device to the other and back.
    """
    delay = 1000 * (rtt / 2 + 2 * jitter + _CODEC_DELAY)
    by_delay = 0.024 * delay + 0.11 * max(0.0, delay - 177.3)
    percent = 100 * min(1.0, max(0.0, loss))
    by_loss = 95 * percent / (percent + _BPL)
    rating = min(100.0, max(0.0, _R_BEST - by_delay - by_loss))
    score = 1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6
    return max(1.0, score)
