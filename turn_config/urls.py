"""STUN and TURN URIs (RFC 7064, RFC 7065) as the settings have them, with a region in front where there are several. Pure."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Literal

_URL: Final = re.compile(
    r"(?:(?P<region>[a-z0-9-]{1,16})=)?(?P<scheme>stun|turn|turns):(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]{1,253})"
    r"(?::(?P<port>[0-9]{1,5}))?(?:\?transport=(?P<transport>udp|tcp))?"
)


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """One URI, taken apart."""

    region: str | None
    scheme: Literal["stun", "turn", "turns"]
    host: str
    """Name or IP address, without brackets."""
    port: int
    transport: Literal["udp", "tcp"]

    @property
    def url(self) -> str:
        """The URI, in full."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}:{host}:{self.port}" + ("" if self.scheme == "stun" else f"?transport={self.transport}")


def parse_url(text: str) -> ServerUrl:
    """Take a URI apart, ``[REGION=]URI``. Raises ``ValueError``; a form that browsers do not know is one.

    TLS is over TCP (``turns:``, port 5349 unless said otherwise); DTLS is refused, since no browser speaks it to a TURN server.
    """
    match = _URL.fullmatch(text)
    if match is None:
        raise ValueError("not of the form [region=]turn:host[:port][?transport=udp|tcp], turns:... or stun:host[:port]")
    scheme: Literal["stun", "turn", "turns"] = match["scheme"]  # type: ignore[assignment]
    transport: Literal["udp", "tcp"] = match["transport"] or ("tcp" if scheme == "turns" else "udp")  # type: ignore[assignment]
    port = int(match["port"] or (5349 if scheme == "turns" else 3478))
    if not 1 <= port <= 65535:
        raise ValueError("a port is 1 to 65535")
    if scheme == "stun" and match["transport"]:
        raise ValueError("a stun: URL has no transport (RFC 7064)")
    if scheme == "turns" and transport == "udp":
        raise ValueError("turns: is over TCP")
    host = match["host"]
    if host.startswith("["):
        host = str(ipaddress.IPv6Address(host[1:-1]))
    return ServerUrl(match["region"], scheme, host, port, transport)
