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
    regions: Sequence[str] = (),
) -> tuple[IceServer, ...]:
    """Servers for one client.

    Args:
        stun_urls: ``stun:`` URIs (RFC 7064), each with ``REGION=`` in front when there are several regions.
        turn_urls: ``turn:`` and ``turns:`` URIs (RFC 7065), in the same form.
        secret: shared with coturn (``static-auth-secret``).
        lifetime: seconds for which the credentials hold.
        user: random, new for each request.
        now: seconds since 1970.
        regions: the client's, best first. The first of them that has servers is taken: they come first, after them the servers without a
            region. When none of them has any, all servers, in the order of the ladder.

    Raises:
        ValueError: TURN without a secret, or a URI that is none.
    """
    servers: list[IceServer] = []
    if stun_urls:
        servers.append(IceServer(tuple(url.url for url in _of_regions(stun_urls, regions))))
    if turn_urls:
        if not secret:
            raise ValueError("TURN servers are configured without their secret")
        credential = make_credential(secret, user=user, expires_at=int(now) + lifetime)
        servers.append(
            IceServer(tuple(url.url for url in _of_regions(turn_urls, regions)), credential.username, credential.password)
        )
    return tuple(servers)


def _of_regions(urls: Sequence[str], regions: Sequence[str]) -> list[ServerUrl]:
    """Those for a client, the ladder of its region before that of the servers that are for all."""
    ladder = sorted((parse_url(url) for url in urls), key=_rung)
    found = next((region for region in regions if any(url.region == region for url in ladder)), None)
    if found is None:
        return ladder
    return [url for wanted in (found, None) for url in ladder if url.region == wanted]


def _rung(url: ServerUrl) -> tuple[int, bool]:
    """UDP first, then TCP, then TLS, which passes more firewalls and costs more; of each, port 443 last, which passes most."""
    kind = 2 if url.scheme == "turns" else 1 if url.transport == "tcp" else 0
    return kind, url.port == 443
