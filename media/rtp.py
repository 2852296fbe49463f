"""What can be read of a media datagram without any key: its kind and, of SRTP, the header fields (RFC 3550, section 5.1). Pure."""

from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

CLOCK: Final = 48_000
"""Ticks a second of Opus' RTP timestamps (RFC 7587, section 4.1): calls carry nothing else."""

_HEADER: Final = Struct("!HII")
_STUN_HEADER: Final = Struct("!HI")
_COOKIE: Final = 0x2112A442


class Kind(IntEnum):
    """What a datagram is, by its first bytes (RFC 7983, RFC 5761)."""

    EMPTY = 0
    STUN = 1
    DTLS = 2
    RTP = 3
    RTCP = 4
    MALFORMED = 5
    """In STUN's range, but no STUN message (RFC 8489, section 5)."""
    UNKNOWN = 6
    """Nothing that WebRTC sends."""


class RtpHeader(NamedTuple):
    """The fields that loss and jitter are computed from."""

    sequence: int
    timestamp: int
    ssrc: int


def classify(data: bytes) -> Kind:
    """The kind of a datagram. Never raises."""
    if not data:
        return Kind.EMPTY
    first = data[0]
    if first >= 128:
        if first >= 192 or len(data) < 8:
            return Kind.UNKNOWN
        if 192 <= data[1] <= 223:
            return Kind.RTCP
        return Kind.RTP if len(data) >= 12 else Kind.UNKNOWN
    if first < 4:
        if len(data) < 20:
            return Kind.MALFORMED
        length, cookie = _STUN_HEADER.unpack_from(data, 2)
        return Kind.STUN if cookie == _COOKIE and length == len(data) - 20 and not length % 4 else Kind.MALFORMED
    return Kind.DTLS if 20 <= first < 64 and len(data) >= 13 else Kind.UNKNOWN


def rtp_header(data: bytes) -> RtpHeader:
    """Header of a datagram that ``classify`` found to be RTP."""
    return RtpHeader(*_HEADER.unpack_from(data, 2))
