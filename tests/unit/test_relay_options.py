"""How a relay is told where to listen, and where clients reach it."""

import contextlib
import itertools
import socket

import pytest

from media.native import packed, unpacked
from media.options import parse_address, parse_ports, parse_tcp_port
from media.process import connection_limit, machine_addresses, open_listeners, open_sockets


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


def test_tcp_ports():
    assert parse_tcp_port("same") == (0, 0)
    assert parse_tcp_port("443") == (443, 0)
    assert parse_tcp_port("8441=443") == (8441, 443)
    assert parse_tcp_port("same=443") == (0, 443)
    assert parse_tcp_port("off") is None
    for wrong in ("", "0", "on", "70000", "443=", "=443", "443=same=1", "-1", "²"):
        with pytest.raises(ValueError, match=r"TCP port"):
            parse_tcp_port(wrong)


def test_tcp_is_at_udp_s_number_or_where_it_was_asked_for_and_said_to_be_elsewhere():
    with contextlib.ExitStack() as stack:
        for number in itertools.count():
            sockets, public = open_sockets(["127.0.0.1=198.51.100.7"], (0, 0))
            stack.enter_context(sockets[0])
            listeners, reached = open_listeners(sockets, public, (0, 0))
            if listeners:
                break
            assert number < 20, "somebody else always has that number"
        stack.enter_context(listeners[0])
        assert reached == public
        assert listeners[0].getsockname() == sockets[0].getsockname()
        listeners[0].listen()
        taken = public[0][1]
        assert open_listeners(sockets, public, (0, 0)) == ([], []), "said in the log"
        with pytest.raises(OSError, match=f"TCP port {taken} for the relay"):
            open_listeners(sockets, public, (taken, 0))
        others, elsewhere = open_listeners(sockets, public, (0, 443), or_any=True)
        stack.enter_context(others[0])
        assert elsewhere == [("198.51.100.7", 443)]


def test_connections_leave_descriptors_for_the_rest(monkeypatch):
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 4096))
    assert connection_limit(1000) == 256
    monkeypatch.setattr("resource.getrlimit", lambda _: (200_000, 200_000))
    assert connection_limit(1000) == 4256


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
