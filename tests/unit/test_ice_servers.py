"""The ladder for one client: its order, its region, and URIs as the RFCs have them."""

import pytest

from turn_config.credentials import make_credential
from turn_config.ice_servers import ice_servers
from turn_config.urls import parse_url

SECRET = "s" * 32


def ladder(turn_urls, *, region=None, stun_urls=()) -> list[str]:
    servers = ice_servers(
        stun_urls=stun_urls, turn_urls=turn_urls, secret=SECRET, lifetime=600, user="user", now=1_000.5, region=region
    )
    return [url for server in servers for url in server.urls]


def test_udp_comes_before_tcp_before_tls_and_443_last():
    assert ladder(
        ["turns:t:443", "turns:t:5349", "turn:t:3478?transport=tcp", "turn:t", "turn:t:443?transport=udp"], stun_urls=["stun:t"]
    ) == [
        "stun:t:3478",
        "turn:t:3478?transport=udp",
        "turn:t:443?transport=udp",
        "turn:t:3478?transport=tcp",
        "turns:t:5349?transport=tcp",
        "turns:t:443?transport=tcp",
    ]


def test_a_client_gets_its_region_s_servers_and_those_of_none():
    urls = ["eu=turn:eu", "us=turn:us", "turn:any"]
    assert ladder(urls, region="eu") == ["turn:eu:3478?transport=udp", "turn:any:3478?transport=udp"]
    assert ladder(["eu=turn:eu", "us=turn:us"], region="asia") == ["turn:eu:3478?transport=udp", "turn:us:3478?transport=udp"]
    assert ladder(["eu=turn:eu", "us=turn:us"]) == ["turn:eu:3478?transport=udp", "turn:us:3478?transport=udp"]


def test_credentials_end_when_they_should():
    (server,) = ice_servers(stun_urls=[], turn_urls=["turn:t"], secret=SECRET, lifetime=600, user="user", now=1_000.5)
    made = make_credential(SECRET, user="user", expires_at=1_600)
    assert (server.username, server.credential) == (made.username, made.password) == ("1600:user", made.password)


def test_turn_without_a_secret_is_a_mistake():
    with pytest.raises(ValueError, match="secret"):
        ice_servers(stun_urls=[], turn_urls=["turn:t"], secret=None, lifetime=1, user="u", now=0)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("turn:t", "turn:t:3478?transport=udp"),
        ("turns:t", "turns:t:5349?transport=tcp"),
        ("stun:t:19302", "stun:t:19302"),
        ("eu=turn:[2001:DB8::1]:443?transport=tcp", "turn:[2001:db8::1]:443?transport=tcp"),
    ],
)
def test_uris_in_full(text, url):
    assert parse_url(text).url == url


@pytest.mark.parametrize(
    "text",
    ["", "http://t", "turn:", "turn:t:0", "turn:t:70000", "turn:a b", "turn:t?transport=sctp", "turns:t?transport=udp", "stun:t?transport=udp",
     "turn:t\n", "EU=turn:t", "turn:u@t", "turn:[not-an-address]", "stuns:t"],
)  # fmt: skip
def test_what_is_no_uri_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse_url(text)
