"""How a relay is told where to listen, and where clients reach it."""

import socket

import pytest

from media.native import packed, unpacked
from media.options import parse_address, parse_ports
from media.process import machine_addresses, open_sockets


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("192.0.2.1", ("192.0.2.1", "192.0.2.1")),
        ("10.0.0.5=203.0.113.7", ("10.0.0.5", "203.0.113.7")),
        ("2001:DB8::1", ("2001:db8::1", "2001:db8::1")),
        ("0.0.0.0=203.0.113.7", ("0.0.0.0", "203.0.113.7")),
    ],
)
def test_an_address_and_the_one_it_is_reached_at(text, addresses):
    assert parse_address(text) == addresses


@pytest.mark.parametrize("text", ["", "talk.example", "1.2.3", "0.0.0.0", "::", "10.0.0.5=::1", "10.0.0.5=224.0.0.1", "=1.2.3.4"])
def test_what_clients_could_not_reach_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse_address(text)


def test_ports():
    assert parse_ports("8441") == (8441, 8441)
    assert parse_ports("8441-8456") == (8441, 8456)
    for wrong in ("", "a", "9-8", "1-70000", "-5"):
        with pytest.raises(ValueError, match=r"."):
            parse_ports(wrong)


def test_a_machine_always_has_an_address():
    assert machine_addresses()
    assert not any(
        address.startswith(("127.", "169.254.", "fe80:")) for address in machine_addresses() if len(machine_addresses()) > 1
    )


def test_the_first_free_port_of_the_range_is_taken_and_a_missing_address_is_said():
    (first,), ((_, port),) = open_sockets(["127.0.0.1"], (0, 0))
    with first:
        with pytest.raises(OSError, match="no free UDP port"):
            open_sockets(["127.0.0.1"], (port, port))
        with pytest.raises(OSError, match="no free UDP port"):
            open_sockets(["127.0.0.1", "203.0.113.77"], (0, 0))
        assert first.family is socket.AF_INET


@pytest.mark.parametrize("host", ["127.0.0.1", "255.255.255.255", "::1", "2001:db8::7"])
def test_addresses_survive_the_way_to_the_data_plane_in_c_and_back(host):
    assert unpacked(packed(host)) == host
