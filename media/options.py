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
        tcp: TCP port to listen on, and the one that clients reach it at; each 0: the same as the one before it, the first that of UDP. None:
            no TCP.
        capacity: calls at a time.
        bandwidth: bytes a second that one device may send.
        plane: the data plane: ``native`` (in C), ``python``, or ``auto``: native where it was built.
    """

    addresses: tuple[str, ...] = ()
    ports: tuple[int, int] = (8441, 8456)
    tcp: tuple[int, int] | None = (0, 0)
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


def parse_tcp_port(text: str) -> tuple[int, int] | None:
    """``same`` (as UDP's), ``off``, ``PORT``, or ``PORT=PUBLIC`` where clients reach it at another; as ``RelayOptions.tcp``. Raises
    ``ValueError``.
    """
    if text == "off":
        return None
    listening, mapped, public = text.partition("=")
    one, other = (0 if word == "same" else _port(word) for word in (listening, public if mapped else "same"))
    return one, other


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise ValueError("a TCP port is same, off, PORT, or PORT=PUBLIC")
    return int(text)
