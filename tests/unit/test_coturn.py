"""What coturn is told: who may relay, and that nobody relays into the operator's network."""

import ipaddress

import pytest

from turn_config.coturn import coturn_configuration, denied_peers

SECRET = "a secret of hub and relay".replace(" ", "-") + "-" * 12


def configuration(**more) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for line in coturn_configuration(
        **{"secret": SECRET, "realm": "talk.example", "listening": ["198.51.100.7"]} | more
    ).splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            values.setdefault(name, []).append(value)
    return values


def denied(address: str, **more) -> bool:
    """As coturn 4.6 compares (ns_turn_ioaddr.c): `any` as a bound is no bound, each IPv4 address is less than each of IPv6, and an IPv6
    address is not above another if none of its bytes is.
    """
    ip = ipaddress.ip_address(address)

    def at_most(one, other) -> bool:
        if one.version != other.version:
            return one.version < other.version
        return int(one) <= int(other) if one.version == 4 else all(a <= b for a, b in zip(one.packed, other.packed, strict=True))

    for text in denied_peers(**more):
        first, last = map(ipaddress.ip_address, text.split("-"))
        if (int(first) == 0 or at_most(first, ip)) and (int(last) == 0 or at_most(ip, last)):
            return True
    return False


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.9.9.9",
        "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.168.1.1", "198.18.0.1", "198.19.255.255",
        "192.0.2.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
        "168.63.129.16", "::1", "::7f00:1", "::7f00:0", "::a01:200", "::1:0", "::ffff:ff00", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1",
        "2001::1", "2001:db8::1", "2002:a00:1::1", "fc00::1", "fd00:ec2::254", "fe80::1", "febf::1", "fec0::1", "ff02::1",
    ],
)  # fmt: skip
def test_nobody_relays_to_what_is_not_the_public_internet(address):
    assert denied(address)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "169.253.0.1", "172.15.0.1", "172.32.0.1",
     "192.167.0.1", "223.255.255.255", "2001:4860:4860::8888", "2600::1", "2a00::1"],
)  # fmt: skip
def test_everybody_relays_to_the_public_internet(address):
    assert not denied(address)


def test_only_a_test_may_ask_for_loopback():
    assert "allow-loopback-peers" not in configuration()
    assert "allow-loopback-peers" in configuration(loopback_peers=True)
    assert not denied("127.0.0.1", loopback_peers=True)
    assert denied("10.0.0.1", loopback_peers=True)


def test_only_credentials_of_the_hub_are_taken_and_nothing_is_logged():
    values = configuration()
    assert values["static-auth-secret"] == [SECRET]
    assert values["realm"] == ["talk.example"]
    assert values["log-file"] == ["/dev/null"]
    for flag in ("use-auth-secret", "no-cli", "no-tcp-relay", "no-multicast-peers", "no-stdout-log", "no-tls", "no-dtls"):
        assert values[flag] == [""]
    assert not values.keys() & {"no-auth", "user", "web-admin", "server-relay", "allowed-peer-ip", "verbose"}


def test_while_a_secret_is_replaced_both_hold():
    assert configuration(previous_secret="p" * 32)["static-auth-secret"] == [SECRET, "p" * 32]


def test_addresses_and_tls():
    values = configuration(
        listening=["198.51.100.7", "2001:DB8::7"],
        external=["203.0.113.7", "2001:db8:1::7"],
        certificate="/etc/c.pem",
        private_key="/etc/k.pem",
        tls_port=5349,
        more_ports=[443],
    )
    assert values["listening-ip"] == values["relay-ip"] == ["198.51.100.7", "2001:db8::7"]
    assert values["external-ip"] == ["203.0.113.7/198.51.100.7", "2001:db8:1::7/2001:db8::7"]
    assert (values["cert"], values["pkey"], values["tls-listening-port"]) == (["/etc/c.pem"], ["/etc/k.pem"], ["5349"])
    assert values["aux-server"] == ["198.51.100.7:443", "[2001:db8::7]:443"]
    assert "no-tls" not in values


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"secret": "short"}, "secret"),
        ({"secret": SECRET + "\nno-auth"}, "secret"),
        ({"secret": SECRET + " #"}, "secret"),
        ({"realm": "a\nno-auth"}, "realm"),
        ({"realm": ""}, "realm"),
        ({"listening": []}, "listening"),
        ({"listening": ["talk.example"]}, "listening"),
        ({"listening": ["127.0.0.1\nno-auth"]}, "listening"),
        ({"external": ["1.2.3"]}, "external"),
        ({"external": ["1.2.3.4", "1.2.3.5"]}, "external"),
        ({"previous_secret": "short"}, "previous_secret"),
        ({"more_ports": [70000]}, "more_ports"),
        ({"certificate": "/etc/c.pem"}, "private_key"),
        ({"log_file": "a b"}, "log_file"),
        ({"port": 0}, "port"),
        ({"relay_ports": (60000, 50000)}, "relay_ports"),
        ({"relay_ports": (1024, 65536)}, "relay_ports"),
        ({"user_quota": 0}, "user_quota"),
        ({"max_bps": 0}, "max_bps"),
    ],
)
def test_what_coturn_would_misread_is_refused(wrong, named):
    with pytest.raises(ValueError, match=named) as refused:
        configuration(**wrong)
    assert SECRET not in str(refused.value)
