"""Presence over real sockets: two clients at a hub, with settings changed over REST (P16)."""

from contextlib import AsyncExitStack

import msgspec
import pytest
from msgspec import UNSET

from signaling.client.client import Client
from signaling.client.rest import ClientError
from signaling.wire.errors import ErrorCode
from signaling.wire.messages import Presence, PresenceWatch, ProfileChanged, Sync
from signaling.wire.rest import (
    CallHistory,
    ChangeSettings,
    LastSeenRule,
    LastSeenTo,
    OnlineRule,
    OnlineTo,
)
from tests.conftest import eventually
from tests.integration.hub_fixture import RunningHub, beside, register
from tests.integration.test_client_calls import acquainted


@pytest.fixture
async def friends(hub: RunningHub):
    """Alice and Bob with each other in their books; Bob's account as Alice knows it, and the other way round."""
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        yield alice, bob, alice.profile.account, bob.profile.account


async def test_a_friend_comes_and_goes_and_hides(hub, friends, redis):
    alice, bob, alices, bobs = friends
    await alice.watch(bobs)
    await alice.sees(bobs, lambda seen: seen.online is True)
    hidden = await bob.change_settings(ChangeSettings(last_seen=LastSeenRule(LastSeenTo.NOBODY)))
    assert (hidden.last_seen.to, hidden.online.to) == (LastSeenTo.NOBODY, OnlineTo.SAME_AS_LAST_SEEN)
    assert not await redis.exists(f"last_seen:{{{bobs}}}")  # when the answer is there, it is gone
    assert await alice.presence_of(bobs) == Presence(bobs)
    await alice.sees(bobs, lambda seen: seen == Presence(bobs))
    await bob.change_settings(
        ChangeSettings(last_seen=LastSeenRule(LastSeenTo.CONTACTS_EXCEPT, [alices]), online=OnlineRule(OnlineTo.CONTACTS))
    )
    await alice.sees(bobs, lambda seen: seen == Presence(bobs, online=True))
    hub.hub.presence.connected._grace = 0.0
    await bob.close()
    await alice.sees(bobs, lambda seen: seen == Presence(bobs, online=False))


async def test_last_seen_is_a_whole_minute(hub, friends):
    alice, bob, _, bobs = friends
    hub.hub.presence.connected._grace = 0.0
    await alice.watch(bobs)
    await bob.close()
    seen = await alice.sees(bobs, lambda seen: seen.online is False)
    assert seen.last_seen is not UNSET
    assert seen.last_seen % 60_000 == 0


async def test_who_watches_goes_on_after_a_lost_connection(hub, friends):
    alice, _, _, bobs = friends
    await alice.watch(bobs)
    await alice.sees(bobs, lambda seen: seen.online is True)
    alice.presences.clear()
    hub.hub.sockets._connections[alice.profile.device].close(1001)
    await alice.sees(bobs, lambda seen: seen.online is True)


async def test_a_block_and_a_deleted_contact_hide_at_once(hub, friends):
    alice, bob, alices, bobs = friends
    await alice.watch(bobs)
    await alice.sees(bobs, lambda seen: seen.online is True)
    await bob._ask("blocks.add", session=True, account=alices)
    await alice.sees(bobs, lambda seen: seen == Presence(bobs))
    await bob._ask("blocks.remove", session=True, account=alices)
    await alice.sees(bobs, lambda seen: seen.online is True)
    await bob._ask("contacts.delete", session=True)
    await alice.sees(bobs, lambda seen: seen == Presence(bobs))


async def test_friends_at_two_hubs_see_each_other_come_and_go(hub, friends):
    alice, bob, _, bobs = friends
    await alice.watch(bobs)
    await alice.sees(bobs, lambda seen: seen.online is True)
    async with beside(hub) as other:
        for one in (hub, other):
            one.hub.presence.connected._grace = 0.0
        await bob._socket.close()
        await alice.sees(bobs, lambda seen: seen.online is False)
        bob.url = other.url
        await bob.connect()
        await alice.sees(bobs, lambda seen: seen.online is True)
        await alice._ask("blocks.add", session=True, account=bobs)
        assert await bob.presence_of(alice.profile.account) == Presence(alice.profile.account)
        await alice._ask("blocks.remove", session=True, account=bobs)
        await alice.sees(bobs, lambda seen: seen.online is True)
    # the other hub has ended: so has Bob's connection
    await alice.sees(bobs, lambda seen: seen.online is False)


async def test_a_stranger_sees_nothing_of_anybody(hub, friends):
    _, _, alices, bobs = friends
    async with AsyncExitStack() as stack:
        eve: Client = await register(hub, "+442079460018")
        stack.push_async_callback(eve.close)
        await eve.watch(alices, bobs, "Z" * 22)
        for account in (alices, bobs, "Z" * 22):
            assert await eve.sees(account, lambda _: True) == Presence(account)
            assert await eve.presence_of(account) == Presence(account)


async def test_a_deleted_account_is_seen_no_more(hub, friends, redis):
    alice, bob, _, bobs = friends
    await alice.watch(bobs)
    await alice.sees(bobs, lambda seen: seen.online is True)
    await bob.delete_account()
    await alice.sees(bobs, lambda seen: seen == Presence(bobs))
    assert await redis.keys(f"*{bobs}*") == []


async def test_settings_say_what_is_wrong_with_them_and_lists_are_kept(hub, friends):
    alice, _, _, bobs = friends
    account = await alice.change_settings(
        ChangeSettings(
            online=OnlineRule(OnlineTo.CONTACTS_EXCEPT, [bobs, "Z" * 22, alice.profile.account]),
            always_relay=True,
        )
    )
    assert account.online == OnlineRule(OnlineTo.CONTACTS_EXCEPT, [bobs])  # who does not exist, and oneself, are left out
    assert account.always_relay
    account = await alice.change_settings(ChangeSettings(online=OnlineRule(OnlineTo.NOBODY)))
    assert account.online == OnlineRule(OnlineTo.NOBODY, [bobs])
    with pytest.raises(ClientError) as refused:
        await alice._ask("settings.change", msgspec.Raw(b'{"last_seen":{"to":"friends"}}'), session=True)  # type: ignore[arg-type]
    assert refused.value.code is ErrorCode.INVALID


async def test_the_account_s_devices_hear_of_a_setting_and_contacts_do_not(hub, friends):
    alice, bob, alices, _ = friends
    heard: dict[str, list[str]] = {"alice": [], "bob": []}
    for name, client in (("alice", alice), ("bob", bob)):

        async def take(message, name=name, take=client._take) -> None:
            if isinstance(message, ProfileChanged):
                heard[name].append(message.account)
            await take(message)

        client._take = take  # type: ignore[method-assign]
    await alice.change_settings(ChangeSettings(always_relay=True))
    await eventually(lambda: heard["alice"] == [alices])
    await bob.presence_of(alices)
    assert heard["bob"] == []


async def test_too_many_watched_accounts_are_refused(hub, friends):
    alice, _, _, bobs = friends
    with pytest.raises(ClientError) as refused:
        await alice._request(PresenceWatch, accounts=[bobs] * 501)
    assert refused.value.code is ErrorCode.INVALID


def test_neither_sync_nor_the_history_carries_presence():
    import json

    for struct in (Sync, CallHistory):
        text = json.dumps(msgspec.json.schema(struct))
        assert "online" not in text
        assert "last_seen" not in text
