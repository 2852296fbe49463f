"""Where pushes may go, what answers mean, and the bytes of the RFC's example."""

import ipaddress

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from signaling.push.encryption import check_key, encrypt
from signaling.push.rules import MAX_TRIES, Outcome, Result, check_endpoint, is_public, next_try, of_status
from signaling.push.vapid import Vapid
from signaling.settings import Settings
from signaling.wire import base64url
from signaling.wire.errors import Refused

HOSTS = Settings().push_hosts


@pytest.mark.parametrize(
    "url",
    [
        "https://fcm.googleapis.com/fcm/send/abc:def",
        "https://updates.push.services.mozilla.com/wpush/v2/gAAAA",
        "https://updates.push.services.mozilla.com:443/wpush/v2/gAAAA",
        "https://web.push.apple.com/QNmC?x=1",
        "https://db5p.notify.windows.com/w/?token=BQ",
        "https://FCM.googleapis.com/fcm/send/abc",
    ],
)
def test_the_services_of_browsers_may_be_named(url):
    check_endpoint(url, hosts=HOSTS, allow_private=False)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "http://fcm.googleapis.com/x",
        "file:///etc/passwd",
        "https://",
        "https://fcm.googleapis.com@127.0.0.1/",
        "https://user:password@fcm.googleapis.com/",
        "https://fcm.googleapis.com/#x",
        "https://fcm.googleapis.com:8443/",
        "https://fcm.googleapis.com:99999/",
        "https://evil.example/https://fcm.googleapis.com",
        "https://notfcm.googleapis.com.evil.example/",
        "https://fcm.googleapis.com.evil.example/",
        "https://notify.windows.com.evil.example/",
        "https://notify.windows.com/",  # `*.` is for what is below
        "https://fcm.googleapis.com/ x",
        "https://fcm.googleapis.com/\r\nHost: inner",
        "https://fcm.googleapis.com/\u00e9",
        "https://127.0.0.1/",
        "https://[::1]/",
    ],
)
def test_other_places_may_not(url):
    with pytest.raises(Refused):
        check_endpoint(url, hosts=HOSTS, allow_private=False)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "[fd00::1]", "2130706433", "0x7f000001", "0x7f.1", "127.1", "017700000001", "8.8.8.8"]
)
def test_addresses_in_place_of_a_name_are_refused_even_where_any_host_may_be_named(host):
    with pytest.raises(Refused):
        check_endpoint(f"https://{host}/push", hosts=["*"], allow_private=False)


@given(st.text(max_size=60) | st.from_regex(r"https?://[^/]{0,40}/.{0,20}", fullmatch=True), st.booleans())
def test_whatever_a_client_names_is_taken_or_refused(url, allow_private):
    try:
        check_endpoint(url, hosts=["push.example.org", "*.push.example.org"], allow_private=allow_private)
    except Refused:
        return
    host = url.removeprefix("https://").partition("/")[0].partition("?")[0].rsplit(":", 1)[0].rstrip(".").lower()
    assert host == "push.example.org" or host.endswith(".push.example.org")


@given(st.ip_addresses())
def test_an_address_is_public_only_if_it_is_global(address):
    if is_public(address):
        inner = ("is_private", "is_loopback", "is_link_local", "is_multicast", "is_unspecified")
        assert not any(getattr(address, name) for name in inner)


def test_a_push_service_of_the_operators_own_may_be_private_and_is_named():
    check_endpoint("https://push.home.arpa:8443/x", hosts=["push.home.arpa"], allow_private=True)
    with pytest.raises(Refused):
        check_endpoint("https://router.home.arpa/x", hosts=["push.home.arpa"], allow_private=True)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::",
     "fe80::1", "fd00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1"],
)  # fmt: skip
def test_what_is_not_the_public_internet(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "142.250.1.188", "2607:f8b0::1", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_what_is(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("status", "after", "result"),
    [
        (201, None, Outcome(Result.SENT)),
        (200, None, Outcome(Result.SENT)),
        (404, None, Outcome(Result.GONE)),
        (410, None, Outcome(Result.GONE)),
        (429, "7", Outcome(Result.AGAIN, 7.0, "429")),
        (503, None, Outcome(Result.AGAIN, 0.0, "503")),
        (503, "Wed, 21 Oct 2026 07:28:00 GMT", Outcome(Result.AGAIN, 0.0, "503")),
        (503, "99999999999", Outcome(Result.AGAIN, 0.0, "503")),
        (301, None, Outcome(Result.REFUSED, why="301")),
        (403, None, Outcome(Result.REFUSED, why="403")),
        (413, None, Outcome(Result.REFUSED, why="413")),
    ],
)
def test_what_an_answer_means(status, after, result):
    assert of_status(status, after) == result


@given(tries=st.integers(1, 10), after=st.floats(0, 1e6), left=st.floats(-10, 100))
def test_a_push_is_tried_a_few_times_and_never_too_late(tries, after, left):
    wait = next_try(tries, Outcome(Result.AGAIN, after), left)
    assert wait is None or (tries < MAX_TRIES and after <= wait < left)
    for result in (Result.SENT, Result.GONE, Result.REFUSED):
        assert next_try(tries, Outcome(result, after), left) is None


def test_the_example_of_rfc_8291():
    key = ec.derive_private_key(
        int.from_bytes(base64url.decode("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"), "big"), ec.SECP256R1()
    )
    body = encrypt(
        b"When I grow up, I want to be a watermelon",
        p256dh=base64url.decode("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"),
        auth=base64url.decode("BTBZMqHH6r4Tts7J_aSIgg"),
        salt=base64url.decode("DGv6ra1nlYgDCS1FRnbzlw"),
        key=key,
    )
    assert base64url.encode(body) == (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT"
        "pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )


@pytest.mark.parametrize("data", [b"", b"\x04" * 65, b"\x00" * 65, b"\x04" + b"\x00" * 64])
def test_bytes_that_are_no_key_are_refused(data):
    with pytest.raises(ValueError):
        check_key(data)


def test_a_vapid_token_says_for_whom_by_whom_and_until_when():
    vapid = Vapid(b"secret", "mailto:ops@example.org")
    header = vapid.header("https://push.example.org/wpush/v2/abc", 1_800_000_000.0)
    scheme, _, rest = header.partition(" ")
    token, key = (part.partition("=")[2] for part in rest.split(", "))
    assert (scheme, key) == ("vapid", vapid.public_key)
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), base64url.decode(key))
    claims = jwt.decode(token, public, algorithms=["ES256"], audience="https://push.example.org", options={"verify_exp": False})
    assert claims == {"aud": "https://push.example.org", "sub": "mailto:ops@example.org", "exp": 1_800_043_200}
    assert vapid.header("https://push.example.org/other", 1_800_000_100.0) == header  # signed once, used for hours
    assert vapid.header("https://push.example.org/other", 1_800_030_000.0) != header
    assert vapid.header("https://elsewhere.example/x", 1_800_000_000.0) != header


def test_every_hub_with_the_same_secret_has_the_same_key():
    assert (
        Vapid(b"secret", "mailto:a@b").public_key
        == Vapid(b"secret", "mailto:c@d").public_key
        != Vapid(b"other", "mailto:a@b").public_key
    )
