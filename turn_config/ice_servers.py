"""The ladder for one client: STUN, then TURN over UDP, TCP and TLS, in the order that clients should try them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from turn_config.credentials import make_credential
from turn_config.urls import ServerUrl, parse_url


@dataclass(frozen=True, slots=True)
class IceServer:
    """As W3C WebRTC's ``RTCIceServer``."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = None


def ice_servers(
    *,
    stun_urls: Sequence[str],
    turn_urls: Sequence[str],
    secret: str | None,
    lifetime: int,
    user: str,
    now: float,
    region: str | None = None,
) -> tuple[IceServer, ...]:
    """Servers for one client.

    Args:
        stun_urls: ``stun:`` URIs (RFC 7064), each with ``REGION=`` in front when there are several regions.
        turn_urls: ``turn:`` and ``turns:`` URIs (RFC 7065), in the same form.
        secret: shared with coturn (``static-auth-secret``).
        lifetime: seconds for which the credentials hold.
        user: random, new for each request.
        now: seconds since 1970.
        region: the client's. It gets the servers of its region and those without one; when there is none of its region, all.

    Raises:
        ValueError: TURN without a secret, or a URI that is none.
    """
    servers: list[IceServer] = []
    if stun_urls:
        servers.append(IceServer(tuple(url.url for url in _of_region(stun_urls, region))))
    if turn_urls:
        if not secret:
            raise ValueError("TURN servers are configured without their secret")
        credential = make_credential(secret, user=user, expires_at=int(now) + lifetime)
        ladder = sorted(_of_region(turn_urls, region), key=_rung)
        servers.append(IceServer(tuple(url.url for url in ladder), credential.username, credential.password))
    return tuple(servers)


def _of_region(urls: Sequence[str], region: str | None) -> list[ServerUrl]:
    parsed = [parse_url(url) for url in urls]
    if not any(url.region == region for url in parsed):
        return parsed
    return [url for url in parsed if url.region in (region, None)]


def _rung(url: ServerUrl) -> tuple[int, bool]:
    """UDP first, then TCP, then TLS, which passes more firewalls and costs more; of each, port 443 last, which passes most."""
    kind = 2 if url.scheme == "turns" else 1 if url.transport == "tcp" else 0
    return kind, url.port == 443
