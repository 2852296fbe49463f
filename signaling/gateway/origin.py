"""Who is asking: allowed web origins, and the client's address behind trusted proxies. Pure."""

import ipaddress
from collections.abc import Iterable, Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def origin_allowed(origin: str | None, *, scheme_host: Iterable[str], allowed: Iterable[str]) -> bool:
    """Whether a request with this ``Origin`` header may go on (RFC 6454). Clients that are not browsers send none.

    Args:
        origin: the header, or None.
        scheme_host: the origins that the request itself was made to (``http://host`` and ``https://host``).
        allowed: the configured list.
    """
    return origin is None or origin in scheme_host or origin in allowed


def client_address(remote: str, forwarded_for: str | None, proxies: Sequence[Network]) -> str:
    """The client's address: the peer's, or the last untrusted one of X-Forwarded-For when the peer is a trusted proxy."""
    if not trusted(remote, proxies) or not forwarded_for:
        return remote
    hops = [hop.strip() for hop in forwarded_for.split(",")][-32:]
    for hop in reversed(hops):
        try:
            ipaddress.ip_address(hop)
        except ValueError:
            return remote
        if not trusted(hop, proxies):
            return hop
    return hops[0]


def limit_key(address: str) -> str:
    """What limits per address count by: an IPv4 address, or the /64 that one IPv6 subscriber has."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


def trusted(address: str, proxies: Sequence[Network]) -> bool:
    """Whether a peer is one of the proxies."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in proxies)
