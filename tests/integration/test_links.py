"""Linking a further device over REST, as it should be and as it must not be (P10)."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
from msgspec.structs import replace
from sqlalchemy import func, insert, select

from signaling.client import linking
from signaling.client.client import Client
from signaling.client.keys import DeviceKeys, certify_linked
from signaling.client.rest import ClientError
from signaling.storage.tables import devices
from signaling.wire.errors import ErrorCode
from signaling.wire.ids import MAX_DEVICES
from signaling.wire.rest import ApproveLink, ClaimLink, LinkState
from tests.integration.hub_fixture import RunningHub, register
from tests.integration.test_client_calls import ALICE, BOB, acquainted

MAC, SEALED = "m" * 43, "s" * 200


@pytest.fixture
async def alice(hub):
    client = await register(hub, ALICE)
    yield client
    await client.close()


@pytest.fixture
async def bob(hub):
    client = await register(hub, BOB)
    yield client
    await client.close()


async def code_of(work) -> ErrorCode:
    with pytest.raises(ClientError) as refused:
        await work
    return refused.value.code


def claim_of(lookup: str, keys: DeviceKeys) -> ClaimLink:
    return ClaimLink(lookup, keys.device, "Tablet", keys.signing_key, keys.sealing_key, MAC)


def approval_of(client: Client, keys: DeviceKeys) -> ApproveLink:
    public = {"device": keys.device, "signing_key": keys.signing_key, "sealing_key": keys.sealing_key}
    return ApproveLink(certify_linked(client.profile.certificate, client.profile.keys, **public, issued_at=1), MAC, SEALED)


async def claimed(client: Client):
    """A link that a new device has claimed: the link, the new device's keys, its claim token."""
    link, keys = await client._ask("links.open", session=True), DeviceKeys.generate()
    return link, keys, (await client._ask("links.claim", claim_of(link.lookup, keys))).token


async def count(hub: RunningHub) -> int:
    async with hub.hub.database.begin() as connection:
        return (await connection.execute(select(func.count()).select_from(devices))).scalar_one()


def approve(client: Client, link, approval: ApproveLink):
    return client._ask("links.approve", approval, session=True, link=link.link)


async def test_a_linked_device_is_a_device_like_the_first_one(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        second = await stack.enter_async_context(Client(hub.url))
        linking_it = asyncio.create_task(second.claim_link(await alice.open_link(), "Tablet"))
        assert await alice.approve_link() == "Tablet"
        await linking_it
        assert (second.profile.account, second.profile.phone) == (alice.profile.account, ALICE)
        assert await second.address_book() == {BOB: "Bob"}  # it got the book's key from the first, unread by the hub
        listed = (await alice._ask("devices.list", session=True)).devices
        assert [(d.device, d.name, d.current, d.online) for d in listed] == [
            (alice.profile.device, "a test's device", True, True),
            (second.profile.device, "Tablet", False, True),
        ]
        assert set(await bob.devices_of(alice.profile.account)) == {alice.profile.device, second.profile.device}
        assert bob.notices == []
        # and it may vouch for a third
        third = await stack.enter_async_context(Client(hub.url))
        linking_it = asyncio.create_task(third.claim_link(await second.open_link(), "Third"))
        await second.approve_link()
        await linking_it
        assert len(await bob.devices_of(alice.profile.account)) == 3


async def test_who_does_not_know_the_secret_is_refused_by_the_old_device(hub, alice):
    code = await alice.open_link()
    wrong = code[:-1] + ("A" if code[-1] != "A" else "B")
    async with Client(hub.url) as second:
        trying = asyncio.create_task(second.claim_link(wrong, "Thief"))
        with pytest.raises(PermissionError):
            await alice.approve_link()
        assert await code_of(trying) is ErrorCode.LINK_STATE
        assert second.profile is None
    assert await count(hub) == 1


async def test_a_lookup_that_nobody_shows_finds_nothing(hub, alice):
    link = await alice._ask("links.open", session=True)
    other = "".join("1" if c == "0" else "0" for c in link.lookup)
    assert await code_of(alice._ask("links.claim", claim_of(other, DeviceKeys.generate()))) is ErrorCode.NOT_FOUND
    assert await code_of(alice._ask("links.claim", claim_of("ilou", DeviceKeys.generate()))) is ErrorCode.INVALID


async def test_a_link_is_claimed_once_even_when_two_try_at_once(hub, alice):
    link = await alice._ask("links.open", session=True)
    claims = [claim_of(link.lookup, DeviceKeys.generate()) for _ in range(5)]
    results = await asyncio.gather(*(alice._ask("links.claim", claim) for claim in claims), return_exceptions=True)
    assert sorted(r.code if isinstance(r, ClientError) else "ok" for r in results) == [ErrorCode.LINK_STATE] * 4 + ["ok"]
    status = await alice._ask("links.status", session=True, link=link.link)
    assert status.state is LinkState.CLAIMED
    assert status.claim == claims[next(i for i, r in enumerate(results) if not isinstance(r, ClientError))]


async def test_a_refused_device_is_told_at_once_and_has_no_session(hub, alice):
    link, keys, token = await claimed(alice)
    waiting = asyncio.create_task(alice._ask("links.outcome", token=token))
    await alice._ask("links.refuse", session=True, link=link.link)
    async with asyncio.timeout(5):
        outcome = await waiting
    assert (outcome.state, outcome.approval, outcome.session) == (
        LinkState.REFUSED,
        *[type(outcome)(outcome.state, 0.0).approval] * 2,
    )
    assert await code_of(approve(alice, link, approval_of(alice, keys))) is ErrorCode.LINK_STATE
    assert await count(hub) == 1


async def test_a_link_that_nobody_claimed_can_be_closed(hub, alice):
    link = await alice._ask("links.open", session=True)
    await alice._ask("links.refuse", session=True, link=link.link)
    assert await code_of(alice._ask("links.claim", claim_of(link.lookup, DeviceKeys.generate()))) is ErrorCode.NOT_FOUND
    assert await code_of(alice._ask("links.status", session=True, link=link.link)) is ErrorCode.NOT_FOUND


async def test_each_step_comes_in_its_turn_and_once(hub, alice):
    link, keys = await alice._ask("links.open", session=True), DeviceKeys.generate()
    assert await code_of(approve(alice, link, approval_of(alice, keys))) is ErrorCode.LINK_STATE
    token = (await alice._ask("links.claim", claim_of(link.lookup, keys))).token
    assert (await approve(alice, link, approval_of(alice, keys))).state is LinkState.APPROVED
    assert await code_of(approve(alice, link, approval_of(alice, keys))) is ErrorCode.LINK_STATE
    await alice._ask("links.refuse", session=True, link=link.link)  # too late: it has no effect
    assert (await alice._ask("links.outcome", token=token)).state is LinkState.APPROVED
    assert await count(hub) == 2


@pytest.mark.parametrize("wrong", ["account", "identity", "keys", "device", "signature", "first", "alone", "longer", "stranger"])
async def test_a_chain_that_does_not_vouch_for_this_device_is_refused_and_the_right_one_taken(hub, alice, bob, wrong):
    link, keys, token = await claimed(alice)
    good = approval_of(alice, keys)
    chain = good.certificate.chain
    other = DeviceKeys.generate()
    certificate = {
        "account": lambda: replace(good.certificate, account=bob.profile.account),
        "identity": lambda: replace(good.certificate, identity_key=bob.profile.certificate.identity_key),
        "keys": lambda: replace(good.certificate, chain=(chain[0], replace(chain[1], sealing_key=other.sealing_key))),
        "device": lambda: approval_of(alice, other).certificate,
        "signature": lambda: replace(good.certificate, chain=(chain[0], replace(chain[1], issued_at=chain[1].issued_at + 1))),
        "first": lambda: replace(good.certificate, chain=(replace(chain[0], issued_at=chain[0].issued_at + 1), chain[1])),
        "alone": lambda: replace(good.certificate, chain=chain[1:]),
        "longer": lambda: certify_linked(
            good.certificate, keys, device=other.device, signing_key=other.signing_key, sealing_key=other.sealing_key, issued_at=2
        ),
        "stranger": lambda: approval_of(bob, keys).certificate,
    }[wrong]()
    refused = await code_of(approve(alice, link, replace(good, certificate=certificate)))
    assert refused is ErrorCode.CERTIFICATE_INVALID
    assert await count(hub) == 2
    assert (await approve(alice, link, good)).state is LinkState.APPROVED
    assert (await alice._ask("links.outcome", token=token)).session.device == keys.device


async def test_an_expired_link_is_as_if_it_had_never_been(hub, alice, redis):
    link, keys, token = await claimed(alice)
    names = await redis.keys("link*")
    assert len(names) == 4
    for key in names:
        assert 0 < await redis.ttl(key) <= 600
        assert token not in key.decode()
        await redis.expire(key, 0)
    assert await code_of(alice._ask("links.claim", claim_of(link.lookup, keys))) is ErrorCode.NOT_FOUND
    assert await code_of(alice._ask("links.status", session=True, link=link.link)) is ErrorCode.NOT_FOUND
    assert await code_of(approve(alice, link, approval_of(alice, keys))) is ErrorCode.NOT_FOUND
    assert await code_of(alice._ask("links.outcome", token=token)) is ErrorCode.UNAUTHENTICATED
    assert await count(hub) == 1


async def test_a_link_belongs_to_the_device_that_shows_it(hub, alice, bob):
    link, keys, _ = await claimed(alice)
    async with Client(hub.url) as second:
        linking_it = asyncio.create_task(second.claim_link(await alice.open_link(), "Tablet"))
        await alice.approve_link()
        await linking_it
        for stranger in (bob, second):
            assert await code_of(stranger._ask("links.status", session=True, link=link.link)) is ErrorCode.NOT_FOUND
            assert await code_of(approve(stranger, link, approval_of(stranger, keys))) is ErrorCode.NOT_FOUND
            assert await code_of(stranger._ask("links.refuse", session=True, link=link.link)) is ErrorCode.NOT_FOUND
    assert (await alice._ask("links.status", session=True, link=link.link)).state is LinkState.CLAIMED


async def test_a_device_id_in_use_is_refused(hub, alice, bob):
    link, keys = await alice._ask("links.open", session=True), DeviceKeys.generate()
    keys.device = bob.profile.device
    assert await code_of(alice._ask("links.claim", claim_of(link.lookup, keys))) is ErrorCode.DEVICE_EXISTS


async def test_an_account_has_only_so_many_devices(hub, alice):
    link, keys, _ = await claimed(alice)
    async with hub.hub.database.begin() as connection:
        row = dict((await connection.execute(select(devices))).mappings().one())
        for number in range(MAX_DEVICES - 1):
            await connection.execute(insert(devices).values(**row | {"id": f"{number:022}", "token_hash": bytes([number]) * 32}))
    assert await code_of(alice._ask("links.open", session=True)) is ErrorCode.TOO_MANY_DEVICES
    assert await code_of(approve(alice, link, approval_of(alice, keys))) is ErrorCode.TOO_MANY_DEVICES
    assert await count(hub) == MAX_DEVICES


async def test_the_outcome_can_be_asked_again_until_the_device_is_revoked(hub, alice):
    link, keys, token = await claimed(alice)
    waiting = asyncio.create_task(alice._ask("links.outcome", token=token))
    await approve(alice, link, approval_of(alice, keys))
    async with asyncio.timeout(5):
        session = (await waiting).session
    assert (session.account, session.device) == (alice.profile.account, keys.device)
    assert (await alice._ask("links.outcome", token=token)).session == session  # the answer was lost on the way
    assert (await alice._ask("account.get", token=session.token)).phone == ALICE
    await alice._ask("devices.revoke", session=True, device=keys.device)
    again = (await alice._ask("links.outcome", token=token)).session.token
    assert await code_of(alice._ask("account.get", token=again)) is ErrorCode.UNAUTHENTICATED
    for wrong in ("t" * 43, alice.profile.token, session.token):
        assert await code_of(alice._ask("links.outcome", token=wrong)) is ErrorCode.UNAUTHENTICATED


async def test_approved_and_refused_at_once_is_one_of_the_two(hub, alice):
    for _ in range(5):
        before = await count(hub)
        link, keys, token = await claimed(alice)
        refusing = alice._ask("links.refuse", session=True, link=link.link)
        await asyncio.gather(approve(alice, link, approval_of(alice, keys)), refusing, return_exceptions=True)
        state = (await alice._ask("links.outcome", token=token)).state
        assert await count(hub) - before == (1 if state is LinkState.APPROVED else 0)
        assert state in (LinkState.APPROVED, LinkState.REFUSED)


async def test_only_the_device_that_shows_the_code_hears_of_the_claim(hub, alice, bob):
    heard: list[tuple[str, str]] = []
    for name, client in (("alice", alice), ("bob", bob)):
        take = client._socket._take
        client._socket._take = lambda m, n=name, t=take: (heard.append((n, json.dumps(type(m).__name__))), t(m))
    code = await alice.open_link()
    async with Client(hub.url) as second:
        linking_it = asyncio.create_task(second.claim_link(code, "Tablet"))
        await alice.approve_link()
        await linking_it
    assert ("alice", '"LinkClaimed"') in heard
    assert ("bob", '"LinkClaimed"') not in heard
    assert linking.parse(code)[0] == code[:4]
