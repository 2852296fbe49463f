"""The Python client against a hub that lies: each lie is noticed, and nothing comes of it (P10)."""

import asyncio
from contextlib import AsyncExitStack

import msgspec
import pytest

from signaling.client.keys import DeviceKeys, certify_linked
from signaling.client.media import ToneTrack
from signaling.client.rest import ClientError
from signaling.client.sealing import Content, Route, seal
from signaling.client.security import Notice
from signaling.wire.errors import ErrorCode
from signaling.wire.messages import Reason, Stage
from tests.conftest import eventually
from tests.integration.test_client_calls import acquainted, rung
from tests.lying_hub import lying_hub


@pytest.fixture
async def world(hub):
    """Alice behind a lying hub, Bob at the real one, acquainted."""
    async with AsyncExitStack() as stack:
        liar = await stack.enter_async_context(lying_hub(hub.url))
        alice, bob = await acquainted(hub, stack, liar.url)
        yield liar, alice, bob


def kinds(client) -> list[Notice]:
    return [notice.kind for notice in client.notices]


async def test_a_swapped_fingerprint_in_the_offer_is_noticed(world):
    liar, alice, bob = world
    mallory = DeviceKeys.generate()

    def swap(message):
        if message["type"] == "call.incoming":
            route = Route(message["call"], message["peer"]["device"], alice.profile.device)
            content = Content("offer", 0, {"sdp": "v=0\r\na=fingerprint:sha-256 00:11\r\n"})
            message["payload"] = seal(route, content, mallory.signing, alice.profile.keys.sealing_key)
        return [message]

    liar.down = swap
    call = await bob.call(alice.profile.account, track=ToneTrack(440))
    await eventually(lambda: Notice.SIGNATURE_INVALID in kinds(alice))
    assert alice.incoming.empty()
    await call.hangup()


async def test_a_swapped_fingerprint_in_the_answer_ends_the_call(world):
    liar, alice, bob = world
    mallory = DeviceKeys.generate()

    def swap(message):
        if message["type"] == "call.answered":
            route = Route(message["call"], message["peer"]["device"], alice.profile.device)
            content = Content("answer", 0, {"sdp": "v=0\r\na=fingerprint:sha-256 00:11\r\n"})
            message["payload"] = seal(route, content, mallory.signing, alice.profile.keys.sealing_key)
        return [message]

    liar.down = swap
    call = await alice.call(bob.profile.account, track=ToneTrack(440))
    incoming = await rung(bob)
    await incoming.accept(track=ToneTrack(620))
    await asyncio.gather(call.reach(Stage.ENDED), incoming.reach(Stage.ENDED))
    assert kinds(alice) == [Notice.SIGNATURE_INVALID]
    assert call.reason is incoming.reason is Reason.FAILED


async def test_a_swapped_device_key_is_noticed_and_nothing_is_sealed_for_it(world):
    liar, alice, bob = world
    mallory = DeviceKeys.generate()

    def swap(path, body):
        if path.endswith("/devices") and "certificates" in body:
            body["certificates"][0]["chain"][0]["sealing_key"] = mallory.sealing_key
        return body

    liar.rest = swap
    with pytest.raises(PermissionError):
        await alice.call(bob.profile.account, track=ToneTrack(440))
    assert kinds(alice) == [Notice.CERTIFICATE_INVALID]
    assert "call.invite" not in liar.told


async def test_a_ghost_device_is_noticed_and_nothing_is_sealed_for_it(world):
    liar, alice, bob = world
    ghost = DeviceKeys.generate()
    # even vouched for by a key of its own: the chain must lead to Bob's identity key
    forged = certify_linked(
        bob.profile.certificate,
        ghost,
        device=ghost.device,
        signing_key=ghost.signing_key,
        sealing_key=ghost.sealing_key,
        issued_at=1,
    )
    await alice.devices_of(bob.profile.account)

    def add(path, body):
        if path.endswith("/devices") and "certificates" in body:
            body["certificates"].append(msgspec.to_builtins(forged))
        return body

    liar.rest = add
    with pytest.raises(PermissionError):
        await alice.call(bob.profile.account, track=ToneTrack(440))
    assert [(n.kind, n.device) for n in alice.notices] == [(Notice.GHOST_DEVICE, ghost.device)]
    assert "call.invite" not in liar.told


async def test_a_device_that_was_not_called_cannot_answer(world):
    liar, alice, bob = world

    def other(message):
        if message["type"] == "call.answered":
            message["peer"]["device"] = "G" * 22
        return [message]

    liar.down = other
    call = await alice.call(bob.profile.account, track=ToneTrack(440))
    await (await rung(bob)).accept(track=ToneTrack(620))
    await call.reach(Stage.ENDED)
    assert kinds(alice) == [Notice.GHOST_DEVICE]


async def test_a_replayed_payload_is_noticed_and_not_applied(world):
    liar, alice, bob = world
    kept = []

    def repeat(message):
        if message["type"] == "call.signalled":
            kept.append(message)
            # the second state, then the first once more
            return [message] if len(kept) == 1 else [message, kept[0]]
        return [message]

    liar.down = repeat
    call = await alice.call(bob.profile.account, track=ToneTrack(440))
    incoming = await rung(bob)
    await incoming.accept(track=ToneTrack(620))
    await call.reach(Stage.CONNECTED)
    await incoming.send_state(muted=True)
    await incoming.send_state(muted=False, held=True)
    await eventually(lambda: kinds(alice) == [Notice.REPLAYED])
    assert (call.peer_muted, call.peer_held) == (False, True)


async def test_a_payload_from_a_device_outside_the_call_is_noticed(world):
    liar, alice, bob = world
    liar.down = lambda m: [m | {"device": "G" * 22}] if m["type"] == "call.signalled" else [m]
    call = await alice.call(bob.profile.account, track=ToneTrack(440))
    incoming = await rung(bob)
    await incoming.accept(track=ToneTrack(620))
    await call.reach(Stage.CONNECTED)
    await incoming.send_state(muted=True)
    await eventually(lambda: kinds(alice) == [Notice.WRONG_SENDER])
    assert not call.peer_muted


async def test_an_old_invitation_does_not_ring_again(world):
    liar, alice, bob = world
    kept = []

    def keep(message):
        if message["type"] == "call.incoming":
            kept.append(message)
        # when the call is over it is offered once more
        return [message, *kept] if message["type"] == "call.ended" else [message]

    liar.down = keep
    call = await bob.call(alice.profile.account, track=ToneTrack(440))
    await rung(alice)
    await call.hangup()
    await eventually(lambda: kinds(alice) == [Notice.REPLAYED])
    assert alice.incoming.empty()


async def test_a_new_identity_key_stops_calls_until_the_user_accepts_it(world, hub):
    liar, alice, bob = world
    account = bob.profile.account
    await alice.devices_of(account)
    before = alice.safety_number(account)
    other = DeviceKeys.generate()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from signaling.client.keys import certify_first

    forged = msgspec.to_builtins(certify_first(account, Ed25519PrivateKey.generate(), other, 1))
    liar.rest = lambda path, body: (
        body | {"certificates": [forged]} if "certificates" in body and path.endswith("/devices") else body
    )
    with pytest.raises(PermissionError):
        await alice.call(account, track=ToneTrack(440))
    assert kinds(alice) == [Notice.IDENTITY_CHANGED]
    assert alice.safety_number(account) != before
    alice.accept_identity_change(account)
    assert other.device in await alice.devices_of(account)


async def test_an_answer_that_is_none_is_a_server_that_cannot_be_used(world):
    liar, alice, _ = world
    liar.rest = lambda path, body: ["a page that wants to be clicked through"] if path == "/v1/account" else body
    with pytest.raises(ClientError) as refused:
        await alice.account()
    assert refused.value.code is ErrorCode.UNAVAILABLE


async def test_a_client_goes_on_after_a_message_that_it_did_not_expect(world, monkeypatch):
    _, alice, bob = world
    take, taken = alice._take, []

    async def surprised(message) -> None:
        taken.append(message)
        if len(taken) == 1:
            raise LookupError
        await take(message)

    monkeypatch.setattr(alice, "_take", surprised)
    for _ in range(2):
        call = await bob.call(alice.profile.account, track=ToneTrack(440))
        await eventually(lambda: taken and not alice._inbox.qsize())
        await call.hangup()
    assert (await rung(alice)).account == bob.profile.account
