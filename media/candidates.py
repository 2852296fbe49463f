"""The addresses of a relay as ICE candidates (RFC 8445, RFC 6544). Pure."""

from typing import Final

from aioice import Candidate
from aioice.candidate import candidate_priority

from media.plane import Address

_TCP: Final = 90
"""Type preference of TCP: below that of each UDP candidate but TURN's (RFC 6544, section 4.2), so that UDP carries where it can."""
_PASSIVE: Final = 4
"""Direction preference of a passive host candidate (RFC 6544, section 4.2)."""


def udp_candidate(number: int, public: Address) -> Candidate:
    """Socket ``number``, reached at an address."""
    priority = candidate_priority(1, "host", 65535 - number)
    return Candidate(str(number + 1), 1, "udp", priority, public[0], public[1], "host")


def tcp_candidate(number: int, public: Address) -> Candidate:
    """An address that takes connections. ``number``: different from that of each other candidate of this relay."""
    preference = (_PASSIVE << 13) + 8191 - number
    priority = (_TCP << 24) + (preference << 8) + 255
    return Candidate(str(number + 1), 1, "tcp", priority, public[0], public[1], "host", tcptype="passive")
