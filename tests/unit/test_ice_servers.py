"""The ladder for one client: its order, its region, and URIs as the RFCs have them."""

import pytest

from turn_config.credentials import make_credential
from turn_config.ice_servers import ice_servers
from turn_config.urls import parse_url

SECRET = "s" * 32


def ladder(turn_urls, *, regions=(), stun_urls=()) -> list[str]:
    servers = ice_servers(
        stun_urls=stun_urls, turn_urls=turn_urls, secret=SECRET, lifetime=600, user="user", now=1_000.5, regions=regions
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


def test_a_client_gets_its_region_s_servers_first_and_those_of_none_after_them():
    urls = ["turns:any", "turn:any", "us=turn:us", "eu=turns:eu:443", "eu=turn:eu?transport=tcp", "eu=turn:eu"]
    assert ladder(urls, regions=["eu"], stun_urls=["stun:any", "us=stun:us", "eu=stun:eu"]) == [
        "stun:eu:3478",
        "stun:any:3478",
        "turn:eu:3478?transport=udp",
        "turn:eu:3478?transport=tcp",
        "turns:eu:443?transport=tcp",
        "turn:any:3478?transport=udp",
        "turns:any:5349?transport=tcp",
    ]


def test_the_first_region_that_has_servers_is_taken():
    urls = ["eu=turn:eu", "us=turn:us"]
    assert ladder(urls, regions=["asia", "us"]) == ladder(urls, regions=["us", "eu"]) == ["turn:us:3478?transport=udp"]


def test_who_is_in_no_region_with_servers_gets_all():
    urls = ["eu=turns:eu", "us=turn:us", "eu=turn:eu"]
    everything = ["turn:us:3478?transport=udp", "turn:eu:3478?transport=udp", "turns:eu:5349?transport=tcp"]
    assert ladder(urls, regions=["asia"]) == ladder(urls) == everything


def test_stun_and_turn_need_not_be_in_the_same_regions():
    assert ladder(["turn:any"], regions=["eu"], stun_urls=["eu=stun:eu", "us=stun:us"]) == [
        "stun:eu:3478",
        "turn:any:3478?transport=udp",
    ]


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
