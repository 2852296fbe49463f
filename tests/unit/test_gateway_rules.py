"""Rates, origins and client addresses."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from signaling.gateway.origin import client_address, limit_key, origin_allowed
from signaling.gateway.rate import TokenBucket, TokenBuckets

PROXIES = [ipaddress.ip_network("10.0.0.0/8")]


def test_a_bucket_gives_its_size_then_its_rate():
    bucket = TokenBucket.full(3, 2, 0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert bucket.take(0.5) == 0
    assert bucket.take(0.5) > 0


@given(st.lists(st.floats(0, 100), max_size=300))
def test_no_sequence_of_times_gets_more_than_size_and_rate_allow(times):
    bucket = TokenBucket.full(10, 1, 0.0)
    granted = sum(bucket.take(t) == 0 for t in sorted(times))
    assert granted <= 10 + max(times, default=0) + 1e-6


def test_a_clock_that_goes_back_gives_nothing():
    bucket = TokenBucket.full(1, 1, 10.0)
    assert bucket.take(10.0) == 0
    assert bucket.take(0.0) > 0


def test_many_senders_have_a_bucket_each_and_the_one_not_seen_longest_is_forgotten():
    buckets = TokenBuckets(1, 0.1, limit=2)
    assert buckets.take("a", 0.0) == buckets.take("b", 0.0) == 0
    assert buckets.take("a", 1.0) > 0
    assert buckets.take("c", 1.0) == 0  # `b` was used longest ago
    assert buckets.take("a", 1.0) > 0
    assert buckets.take("b", 1.0) == 0


def test_pages_of_other_origins_are_refused_and_clients_without_origin_are_not():
    own = ("https://talk.example",)
    assert origin_allowed(None, scheme_host=own, allowed=())
    assert origin_allowed("https://talk.example", scheme_host=own, allowed=())
    assert origin_allowed("https://app.example", scheme_host=own, allowed=("https://app.example",))
    assert not origin_allowed("https://evil.example", scheme_host=own, allowed=("https://app.example",))
    assert not origin_allowed("null", scheme_host=own, allowed=())


def test_forwarded_addresses_are_believed_from_trusted_proxies_only():
    assert client_address("192.0.2.1", "198.51.100.7", PROXIES) == "192.0.2.1"
    assert client_address("10.0.0.1", "198.51.100.7", PROXIES) == "198.51.100.7"
    assert client_address("10.0.0.1", "203.0.113.9, 198.51.100.7, 10.0.0.2", PROXIES) == "198.51.100.7"
    assert client_address("10.0.0.1", "<script>", PROXIES) == "10.0.0.1"
    assert client_address("10.0.0.1", None, PROXIES) == "10.0.0.1"


def test_limits_count_an_ipv6_subscriber_as_one():
    assert limit_key("2001:db8::1") == limit_key("2001:db8::ffff") != limit_key("2001:db8:0:1::1")
    assert limit_key("::ffff:192.0.2.1") == limit_key("192.0.2.1")
    assert limit_key("rubbish") == "unknown"
