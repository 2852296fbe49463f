"""A hardened ``turnserver.conf`` for coturn 4.6: who has a credential may relay to the public internet, and to nothing else. Pure.

A TURN server stands inside the operator's network and sends packets wherever its users say. Without limits it is a proxy into that
network and into the cloud's metadata service (CVE-2020-26262 and what was reported of Slack in 2020 came of that), so every range that
is not the public internet is denied as a peer, also where IPv6 carries an IPv4 address in it.
"""

import ipaddress
from collections.abc import Sequence
from typing import Final

_DENIED: Final = (
    # IANA's special-purpose registries for IPv4 (RFC 6890 and its updates)
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",  # carrier-grade NAT; the metadata service of Alibaba Cloud is in it
    "127.0.0.0/8",
    "169.254.0.0/16",  # link-local; the metadata service of most clouds, 169.254.169.254, is in it
    "172.16.0.0/12",
    "192.0.0.0/24",  # IETF assignments; the metadata service of Oracle Cloud is in it
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "168.63.129.16/32",  # Azure's own service, at a public address
    # and for IPv6
    "::ffff:0:0/96",  # IPv4-mapped: all that is denied above, by another name
    "::/96",  # loopback, unspecified, IPv4-compatible
    "64:ff9b::/96",  # NAT64
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",  # IETF assignments, Teredo among them
    "2001:db8::/32",
    "2002::/16",  # 6to4
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",  # unique local; the metadata service of AWS, fd00:ec2::254, is in it
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
)

_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""TLS 1.2 with forward secrecy only (RFC 9325, section 4.2); TLS 1.3 has no others."""

_LOOPBACK: Final = ("127.0.0.0/8", "::/96", "::ffff:0:0/96")


def denied_peers(*, loopback_peers: bool = False) -> tuple[str, ...]:
    """Ranges that no user may relay to, as coturn writes them: ``first-last``. See ``coturn_configuration`` for ``loopback_peers``."""
    ranges = []
    for text in _DENIED:
        if loopback_peers and text in _LOOPBACK:
            continue
        network = ipaddress.ip_network(text)
        first, last = network.network_address, network.broadcast_address
        if first == ipaddress.IPv6Address(0):
            # coturn takes `::` for any address, and any IPv4 address for less than an IPv6 one: it would deny them all. And it compares IPv6
            # addresses byte by byte, each of which must lie within the range: from `::1` on alone, those that end in a zero would be let through
            ranges += [f"{ipaddress.IPv6Address(1 << bits)}-{last}" for bits in range(0, 128 - network.prefixlen, 8)]
        else:
            ranges.append(f"{first}-{last}")
    return tuple(ranges)


def coturn_configuration(
    *,
    secret: str,
    realm: str,
    listening: Sequence[str],
    previous_secret: str | None = None,
    external: Sequence[str] = (),
    port: int = 3478,
    tls_port: int = 5349,
    more_ports: Sequence[int] = (),
    certificate: str | None = None,
    private_key: str | None = None,
    relay_ports: tuple[int, int] = (49152, 65535),
    user_quota: int = 12,
    total_quota: int = 4800,
    max_bps: int = 64_000,
    log_file: str | None = None,
    loopback_peers: bool = False,
) -> str:
    """The text of ``turnserver.conf``.

    Args:
        secret: shared with the hub (its setting ``turn_secret``); 32 characters or more.
        realm: the TURN realm (RFC 8489, section 9.2), usually the domain.
        listening: this machine's own IP addresses, to listen on and to relay from.
        previous_secret: the one before, while credentials made with it still hold (the hub's ``turn_lifetime``).
        external: public IP addresses when this machine is behind a one-to-one NAT, as most cloud hosts are; one for each in ``listening``.
        port: for UDP and TCP.
        tls_port: for TLS over TCP. Used only with a certificate.
        more_ports: for all of it; 443 passes most firewalls.
        certificate: path of a PEM file with the chain; without it there is no TLS.
        private_key: path of the key's PEM file.
        relay_ports: first and last UDP port to relay from.
        user_quota: allocations of one credential at a time: one call needs up to two for each server URL.
        total_quota: allocations of all users at a time.
        max_bps: bytes a second of one allocation, in each direction. A voice call needs about 8,000.
        log_file: path. None logs nothing: coturn's log names the IP address and time of each call's ends, which are personal data.
        loopback_peers: for tests on one machine only; lets users reach what listens on the server's loopback.

    Raises:
        ValueError: a value that coturn would read otherwise than it was meant, or that is not safe. Never repeats the secret.
    """
    if len(secret) < 32:
        raise ValueError("secret: 32 characters or more are needed")
    if previous_secret is not None and len(previous_secret) < 32:
        raise ValueError("previous_secret: 32 characters or more are needed")
    if external and len(external) != len(listening):
        raise ValueError("external: one for each address in listening")
    if not listening:
        raise ValueError("listening: one address or more is needed")
    if (certificate is None) != (private_key is None):
        raise ValueError("certificate and private_key: both or none")
    for name, number in (
        ("port", port),
        ("tls_port", tls_port),
        *(("more_ports", number) for number in more_ports),
        *(("relay_ports", number) for number in relay_ports),
    ):
        if not 1 <= number <= 65535:
            raise ValueError(f"{name}: 1 to 65535")
    if relay_ports[0] > relay_ports[1]:
        raise ValueError("relay_ports: first, then last")
    for name, number in (("user_quota", user_quota), ("total_quota", total_quota), ("max_bps", max_bps)):
        if number < 1:  # to coturn, 0 is without limit
            raise ValueError(f"{name}: 1 or more")
    addresses = [_address("listening", text) for text in listening]
    lines = [
        "# Written by turn_config.coturn; change its arguments, not this file.",
        *(f"listening-ip={address}" for address in addresses),
        *(f"relay-ip={address}" for address in addresses),
        *(f"external-ip={_address('external', public)}/{own}" for public, own in zip(external, addresses, strict=False)),
        f"listening-port={port}",
        *(f"aux-server={f'[{address}]' if ':' in address else address}:{number}" for address in addresses for number in more_ports),
        f"min-port={relay_ports[0]}",
        f"max-port={relay_ports[1]}",
        "",
        "# who may relay: holders of a credential of the hub that has not expired",
        "use-auth-secret",
        f"static-auth-secret={_word('secret', secret)}",
        *([] if previous_secret is None else [f"static-auth-secret={_word('previous_secret', previous_secret)}"]),
        f"realm={_word('realm', realm)}",
        "stale-nonce=600",
        "no-dynamic-ip-list",
        "no-dynamic-realms",
        f"user-quota={user_quota}",
        f"total-quota={total_quota}",
        f"max-bps={max_bps}",
        "",
        "# how: WebRTC over UDP, nothing else",
        "fingerprint",
        "no-tcp-relay",
        "no-multicast-peers",
        "no-rfc5780",
        "no-stun-backward-compatibility",
        "response-origin-only-with-rfc5780",
        "no-software-attribute",
        "no-cli",
    ]
    if certificate is not None and private_key is not None:
        lines += [
            f"tls-listening-port={tls_port}",
            f"cert={_word('certificate', certificate)}",
            f"pkey={_word('private_key', private_key)}",
            "no-tlsv1",
            "no-tlsv1_1",
            "no-dtls",  # no browser speaks it to a TURN server
            f"cipher-list={_CIPHERS}",
        ]
    else:
        lines += ["no-tls", "no-dtls"]
    lines += ["", "# what is logged", "no-stdout-log", f"log-file={_word('log_file', log_file or '/dev/null')}", "simple-log"]
    lines += ["", "# where to: the public internet"]
    if loopback_peers:
        lines.append("allow-loopback-peers")
    lines += [f"denied-peer-ip={text}" for text in denied_peers(loopback_peers=loopback_peers)]
    return "\n".join(lines) + "\n"


def _address(name: str, text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{name}: an IP address is needed") from None


def _word(name: str, text: str) -> str:
    """A value that stays one value: coturn cuts lines at white space and reads quotes and ``#`` for itself."""
    if not text or not text.isascii() or not text.isprintable() or set(text) & set(" \"'#\\"):
        raise ValueError(f"{name}: printable ASCII without spaces, quotes, backslashes and #")
    return text
