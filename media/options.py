"""How a relay is told to run. Pure."""

import ipaddress
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class RelayOptions:
    """How one relay runs.

    Args:
        addresses: where to listen, each ``IP`` or, behind a one-to-one NAT, ``IP=PUBLIC``; none: every address of this machine.
        ports: first and last UDP port. The relay takes one port of them on each address.
        capacity: calls at a time.
        bandwidth: bytes a second that one device may send.
        plane: the data plane: ``native`` (in C), ``python``, or ``auto``: native where it was built.
    """

    addresses: tuple[str, ...] = ()
    ports: tuple[int, int] = (8441, 8456)
    capacity: int = 1000
    bandwidth: int = 64_000
    plane: Literal["auto", "native", "python"] = "auto"


def parse_address(text: str) -> tuple[str, str]:
    """``IP`` or ``IP=PUBLIC`` as two addresses in canonical form. Raises ``ValueError``."""
    listening, mapped, public = text.partition("=")
    one = ipaddress.ip_address(listening)
    other = ipaddress.ip_address(public) if mapped else one
    if one.version != other.version:
        raise ValueError("an IPv4 address cannot stand for an IPv6 address")
    if other.is_unspecified or other.is_multicast:
        raise ValueError("clients cannot reach that address: say which one of this machine's addresses is meant")
    return str(one), str(other)


def parse_ports(text: str) -> tuple[int, int]:
    """``PORT`` or ``FIRST-LAST``; ``0`` for any free port. Raises ``ValueError``."""
    first, _, last = text.partition("-")
    if not (first.isdigit() and (last or first).isdigit()):
        raise ValueError("ports are numbers: PORT or FIRST-LAST")
    ports = int(first), int(last or first)
    if not 0 <= ports[0] <= ports[1] <= 65535:
        raise ValueError("ports are 1 to 65535, the first before the last")
    return ports
