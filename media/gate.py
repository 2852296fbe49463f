"""What the relay did with datagrams from outside, in numbers. No address is kept with them."""

from dataclasses import dataclass, fields


@dataclass(slots=True)
class GateCounts:
    """Datagrams since the start. Only ``forwarded`` and ``stun`` went anywhere."""

    forwarded: int = 0
    """From a verified source to the other device."""
    stun: int = 0
    """STUN messages that were handed to ICE."""
    empty: int = 0
    malformed: int = 0
    """STUN's first byte and no STUN message."""
    unknown: int = 0
    """Nothing that WebRTC sends."""
    oversize: int = 0
    """Longer than any packet of a call (``MAX_DATAGRAM``)."""
    unverified: int = 0
    """Media or DTLS from an address that did not complete an ICE exchange."""
    undeliverable: int = 0
    """The other device has no verified address (yet)."""
    held: int = 0
    """Of those: a DTLS handshake that came early, kept for the other device."""
    capped: int = 0
    """Over the leg's bandwidth."""
    unsent: int = 0
    """The operating system would not send it."""
    flooded: int = 0
    """STUN that came faster than it could be handled."""
    stun_malformed: int = 0
    """A STUN message with attributes that cannot be read."""
    stun_stranger: int = 0
    """A STUN request for no leg of this relay."""
    stun_forged: int = 0
    """A STUN request whose integrity or user name does not hold."""
    stun_unexpected: int = 0
    """A STUN response to no request, or a method that is not ICE's."""
    stun_excess: int = 0
    """More requests or addresses of one leg than ICE needs."""
    tcp_refused: int = 0
    """TCP connections: there were too many, of all or from one address."""
    tcp_late: int = 0
    """TCP connections that sent no check in time."""
    tcp_garbled: int = 0
    """TCP connections that sent a packet longer than any of a call."""
    tcp_slow: int = 0
    """Packets for a client that reads its TCP connection too slowly."""

    def as_dict(self) -> dict[str, int]:
        """By name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}
