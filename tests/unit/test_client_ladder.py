"""The Python client's ladder and what it reads in descriptions."""

import pytest

from signaling.client.ladder import (
    CONNECT_WITHIN,
    Answered,
    Do,
    Flows,
    Ladder,
    Late,
    Lost,
    Moved,
    Network,
    NoRelay,
    Renew,
    Return,
    ReturnAfter,
    SayWish,
    Via,
    Wait,
    Wished,
    advance,
)
from signaling.client.path import is_rtp
from signaling.client.sdp import Ice, ice_of, relayed_only, trickling, with_ice, without_addresses


def after(ladder: Ladder, *events):
    """The ladder after these events, and the acts of the last."""
    acts = []
    for event in events:
        ladder, acts = advance(ladder, event)
    return ladder, acts


LEADER, FOLLOWER = Ladder(leader=True, relay=True), Ladder(leader=False, relay=True)
PLAIN, HIDDEN = Answered(hidden=False, moves=True), Answered(hidden=True, moves=True)


def test_both_know_without_a_word_that_a_hidden_call_goes_over_the_relay():
    for ladder in (LEADER, FOLLOWER):
        moved, acts = after(ladder, HIDDEN)
        assert (moved.epoch, moved.via) == (1, Via.RELAY)
        assert acts == [Do.LEG, Wait(CONNECT_WITHIN)]


def test_what_does_not_connect_in_time_goes_over_the_relay_which_the_leader_says_and_the_follower_wishes():
    moved, acts = after(LEADER, PLAIN, Late(0))
    assert (moved.epoch, moved.via) == (1, Via.RELAY)
    assert acts[:2] == [Do.SAY_RELAY, Do.LEG]
    same, acts = after(FOLLOWER, PLAIN, Late(0))
    assert same.epoch == 0
    assert acts[0] == SayWish(0, Via.RELAY)
    assert after(moved, Wished(0, Via.RELAY))[1] == []  # of an epoch that is over: fulfilled already
    followed, acts = after(same, Moved(1, Via.RELAY))
    assert (followed.epoch, followed.via) == (1, Via.RELAY)
    assert acts[0] is Do.LEG


def test_a_way_that_is_lost_is_replaced_and_the_direct_one_tried_again_later():
    lost, acts = after(LEADER, PLAIN, Flows(0), Lost(0))
    assert (lost.via, lost.carried) == (Via.RELAY, False)
    flowing, acts = after(lost, Flows(1))
    assert acts == [ReturnAfter(10.0)]
    back, acts = after(flowing, Return(1))
    assert back.via is Via.DIRECT
    assert acts == [Do.OFFER, Wait(3.5)]
    assert after(back, Late(2))[0].via is Via.RELAY
    assert after(back, Late(2), Flows(3))[1] == [ReturnAfter(20.0)]
    assert after(back, Flows(2))[1] == []


def test_the_way_back_is_looked_for_from_a_turn_server_too_by_the_leader_and_by_nobody_who_hides():
    turned, acts = after(LEADER, PLAIN, Flows(0, turn=True))
    assert acts == [ReturnAfter(10.0)]
    tried, acts = after(turned, Return(0))
    assert (tried.via, tried.turn) == (Via.DIRECT, False)
    assert acts == [Do.OFFER, Wait(3.5)]
    assert after(tried, Flows(1, turn=True))[1] == [ReturnAfter(20.0)]
    found, acts = after(tried, Flows(1))
    assert acts == []
    assert after(found, Return(1))[1] == []
    assert after(FOLLOWER, PLAIN, Flows(0, turn=True))[1] == []
    assert after(FOLLOWER, PLAIN, Moved(1, Via.RELAY), Flows(1), Network(), Moved(2, Via.RELAY), Flows(2))[1] == [ReturnAfter(2.0)]
    assert after(LEADER, HIDDEN, Flows(1))[1] == after(Ladder(leader=True, relay=False), HIDDEN, Flows(0, turn=True))[1] == []


def test_who_hides_takes_turn_servers_when_the_relay_does_not_carry_and_without_them_the_relay_again():
    served = Ladder(leader=True, relay=True, servers=True)
    for failed in (Late(1), NoRelay(1)):
        turned, acts = after(served, HIDDEN, failed)
        assert (turned.epoch, turned.via) == (2, Via.DIRECT)
        assert acts[0] is Do.OFFER
        assert after(turned, Late(2))[0].via is Via.RELAY
        assert after(LEADER, HIDDEN, failed)[0].via is Via.RELAY
    again, _ = after(served, HIDDEN, Flows(1), Lost(1))
    assert again.via is Via.RELAY
    assert after(again, Late(2))[0].via is Via.DIRECT


def test_without_a_relay_or_with_a_side_that_knows_no_epochs_the_first_way_is_all():
    alone = Ladder(leader=True, relay=False)
    assert after(alone, PLAIN, Late(0))[1] == []
    assert after(LEADER, Answered(hidden=False, moves=False), Lost(0))[1] == []


def test_no_relay_to_be_had_and_changed_networks_and_a_relay_that_ends():
    relayed, _ = after(LEADER, PLAIN, Late(0))
    assert after(relayed, NoRelay(1))[0].via is Via.DIRECT
    assert after(relayed, Renew())[1][:2] == [Do.SAY_RELAY, Do.LEG]
    changed, acts = after(LEADER, PLAIN, Flows(0), Network())
    assert changed.fresh
    assert acts[0] is Do.OFFER


SDP = (
    "v=0\r\no=- 5 7 IN IP4 192.168.1.9\r\ns=-\r\nt=0 0\r\nm=audio 40000 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 192.168.1.9\r\na=sendrecv\r\n"
    "a=rtcp:9 IN IP4 192.168.1.9\r\na=candidate:1 1 udp 2130706431 192.168.1.9 40000 typ host\r\na=end-of-candidates\r\n"
    "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 AB:CD\r\na=setup:active\r\n"
)


def test_a_description_gets_other_ice_lines_and_keeps_the_rest():
    changed = with_ice(SDP, Ice("efgh", "p" * 22, ("candidate:2 1 udp 1 10.0.0.1 5 typ host",)), version=3)
    assert ice_of(changed) == Ice("efgh", "p" * 22, ("candidate:2 1 udp 1 10.0.0.1 5 typ host",))
    assert "192.168.1.9" not in changed
    assert "o=- 5 10 IN IP4 0.0.0.0\r\n" in changed
    assert "a=fingerprint:sha-256 AB:CD\r\na=setup:active\r\n" in changed
    assert ice_of(SDP).candidates == ("candidate:1 1 udp 2130706431 192.168.1.9 40000 typ host",)


def test_a_description_says_once_that_candidates_may_follow():
    assert trickling(SDP).count("t=0 0\r\na=ice-options:trickle\r\nm=audio") == 1
    assert trickling(trickling(SDP)) == trickling(SDP)


def test_who_hides_tells_no_address():
    hidden = without_addresses(SDP)
    assert "192.168" not in hidden
    assert "candidate" not in hidden
    turned = "candidate:3 1 udp 5 203.0.113.5 60000 typ relay raddr 192.168.1.9 rport 40000"
    assert relayed_only([*ice_of(SDP).candidates, turned]) == (
        "candidate:3 1 udp 5 203.0.113.5 60000 typ relay raddr 0.0.0.0 rport 9",
    )


def test_without_credentials_it_is_no_description():
    with pytest.raises(ValueError, match="ICE"):
        ice_of("v=0\r\n")


def test_only_rtp_counts_as_something_heard():
    assert is_rtp(bytes([128, 111]) + bytes(10))
    assert not is_rtp(bytes([128, 200]) + bytes(10))  # RTCP
    assert not is_rtp(bytes([22, 254]) + bytes(12))  # DTLS
    assert not is_rtp(b"")
