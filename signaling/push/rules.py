"""Rules of pushes as plain functions: where they may go, what an answer means, when to try again. No I/O, no clock, no randomness."""

import ipaddress
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from signaling.wire.errors import ErrorCode, Refused

MAX_TRIES: Final = 3
"""Times that one push is tried."""
_FIRST_WAIT: Final = 1.0
"""Seconds before the second try; doubles."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Result(StrEnum):
    """What became of one try."""

    SENT = "sent"
    """The push service has taken it."""
    GONE = "gone"
    """There is no such subscription any more: forget it."""
    REFUSED = "refused"
    """The push service does not take it, and will not the next time."""
    AGAIN = "again"
    """Not now."""


class Outcome(Struct, frozen=True):
    """What became of one try. ``after``: seconds that the push service asks to wait. ``why``: its own words, for the operator's log."""

    result: Result
    after: float = 0.0
    why: str = ""


def check_endpoint(url: str, *, hosts: Iterable[str], allow_private: bool) -> None:
    """Whether the hub may send to an endpoint of web push (RFC 8030). Raises ``Refused(invalid)``.

    A client chooses it, so it must not lead the hub into the operator's own network, or make it send requests to anyone: https only, and a
    host on the list. That the host's addresses are public is checked when it is resolved (``resolver.py``).
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Refused(ErrorCode.INVALID, "endpoint: not a URL") from None
    host = (parts.hostname or "").rstrip(".").lower()
    if not re.fullmatch(r"[\x21-\x7e]+", url) or not host:
        raise Refused(ErrorCode.INVALID, "endpoint: not a URL")
    if parts.scheme != "https" or parts.username is not None or parts.password is not None or parts.fragment:
        raise Refused(ErrorCode.INVALID, "endpoint: an https URL without user and fragment is expected")
    if not any(_matches(host, pattern.lower()) for pattern in hosts):
        raise Refused(ErrorCode.INVALID, "endpoint: this push service is not on the server's list")
    if allow_private:
        return
    if port not in (None, 443):
        raise Refused(ErrorCode.INVALID, "endpoint: port 443 is expected")
    if _is_address(host):
        raise Refused(ErrorCode.INVALID, "endpoint: a host name is expected")


def _matches(host: str, pattern: str) -> bool:
    """``*``: any; ``*.example.org``: below it; else the very host."""
    return pattern in ("*", host) or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        # 127.1, 0x7f000001 and 2130706433 are addresses too, for many resolvers
        return re.fullmatch(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*", host) is not None
    return True


def is_public(address: Address) -> bool:
    """Whether an address is on the public internet: not private, loopback, link-local, multicast, or one of those behind IPv6."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def of_status(status: int, retry_after: str | None) -> Outcome:
    """What an HTTP status of a push service means (RFC 8030, sections 5 and 7.3)."""
    if 200 <= status < 300:
        return Outcome(Result.SENT)
    if status in (404, 410):
        return Outcome(Result.GONE)
    if status == 429 or status >= 500:
        after = float(retry_after) if retry_after is not None and re.fullmatch(r"[0-9]{1,6}", retry_after) else 0.0
        return Outcome(Result.AGAIN, after, str(status))
    return Outcome(Result.REFUSED, why=str(status))


def next_try(tries: int, outcome: Outcome, left: float) -> float | None:
    """Seconds until the next try after ``tries`` of them, or None: it would be too late (``left`` seconds remain), or was tried enough."""
    wait = max(outcome.after, _FIRST_WAIT * 2 ** (tries - 1))
    return wait if outcome.result is Result.AGAIN and tries < MAX_TRIES and wait < left else None
