"""The ladder for one client: STUN, then TURN over UDP, TCP and TLS, in the order that clients should try them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from turn_config.credentials import make_credential


@dataclass(frozen=True, slots=True)
class IceServer:
    """As W3C WebRTC's ``RTCIceServer``."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = None


def ice_servers(
    *, stun_urls: Sequence[str], turn_urls: Sequence[str], secret: str | None, lifetime: int, user: str, now: float
) -> tuple[IceServer, ...]:
    """Servers for one client.

    Args:
        stun_urls: ``stun:`` URIs (RFC 7064).
        turn_urls: ``turn:`` and ``turns:`` URIs (RFC 7065).
        secret: shared with coturn (``static-auth-secret``).
        lifetime: seconds for which the credentials hold.
        user: random, new for each request.
        now: seconds since 1970.

    Raises:
        ValueError: TURN without a secret.
    """
    servers: list[IceServer] = []
    if stun_urls:
        servers.append(IceServer(tuple(stun_urls)))
    if turn_urls:
        if not secret:
            raise ValueError("TURN servers are configured without their secret")
        credential = make_credential(secret, user=user, expires_at=int(now) + lifetime)
        servers.append(IceServer(tuple(sorted(turn_urls, key=_rung)), credential.username, credential.password))
    return tuple(servers)


def _rung(url: str) -> int:
    """UDP first, then TCP, then TLS (which passes most firewalls and costs most)."""
    if url.startswith("turns:"):
        return 2
    return 1 if "transport=tcp" in url else 0
