"""Presence over real Redis and SQL: several devices, several hubs, crashes, settings that change while somebody watches (P16)."""

import asyncio

import pytest
from msgspec import UNSET
from sqlalchemy import update

from signaling.presence.bus import Hint
from signaling.presence.connected import BEAT
from signaling.presence.service import PresenceService
from signaling.presence.store import LEASE
from signaling.storage.tables import accounts
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.messages import MAX_WATCHED, Presence, PresenceWatch
from tests.conftest import eventually
from tests.integration.presence_world import PresenceWorld, session, world

ANN, BEN, CLEO = "A" * 22, "B" * 22, "C" * 22
A1, A2, B1, C1 = "a" * 22, "d" * 22, "b" * 22, "c" * 22
NOON = 1_800_000_000_000


@pytest.fixture
def valkey_url(_valkeys) -> str:
    """The server behind ``redis``."""
    return _valkeys[0].url


@pytest.fixture
async def two(database, clock, redis, valkey_url):
    """Two hubs; Ann and Ben know each other, Cleo knows Ann."""
    async with world(database, clock, valkey_url, hubs=2) as made:
        for name in (ANN, BEN, CLEO):
            await made.account(name)
        made.acquaint(ANN, BEN)
        made.books.has[CLEO] = {ANN}
        yield made


async def test_online_and_offline_are_told_across_hubs_and_last_seen_with_it(two: PresenceWorld, clock):
    one, other = two.hubs
    await other.watch(BEN, B1, ANN)
    assert other.shows(B1, ANN) == (False, UNSET)
    clock.advance(17)
    await one.attach(ANN, A1)
    await two.settle()
    assert other.shows(B1, ANN) == (True, UNSET)
    clock.advance(100)
    await one.detach(ANN, A1)
    await two.settle()
    assert other.shows(B1, ANN) == (False, NOON + 60_000)  # 117 s after noon, rounded down


async def test_an_account_is_online_as_long_as_one_device_is_at_any_hub(two: PresenceWorld):
    one, other = two.hubs
    await one.watch(BEN, B1, ANN)
    await one.attach(ANN, A1)
    await other.attach(ANN, A2)
    await one.detach(ANN, A1)
    await two.settle()
    assert one.shows(B1, ANN) == (True, UNSET)
    await other.detach(ANN, A2)
    await two.settle()
    assert one.shows(B1, ANN)[0] is False


async def test_who_is_no_contact_and_who_does_not_exist_look_alike(two: PresenceWorld):
    one, _ = two.hubs
    await one.attach(ANN, A1)
    await one.watch(CLEO, C1, ANN, "Z" * 22)  # Ann has not Cleo in her book
    assert one.shows(C1, ANN) == one.shows(C1, "Z" * 22) == (UNSET, UNSET)
    assert await one.service.get(session(CLEO, C1), ANN) == Presence(ANN)
    assert await one.service.get(session(CLEO, C1), "Z" * 22) == Presence("Z" * 22)


async def test_a_setting_holds_at_once_for_those_who_watch(two: PresenceWorld, redis):
    one, other = two.hubs
    await one.attach(ANN, A1)
    await other.watch(BEN, B1, ANN)
    assert other.shows(B1, ANN) == (True, UNSET)
    await two.set(ANN, last_seen_to="contacts_except", excepted={"last_seen": [BEN]})
    assert other.shows(B1, ANN) == (UNSET, UNSET)
    await one.detach(ANN, A1)
    await two.settle()
    assert other.shows(B1, ANN) == (UNSET, UNSET)
    await two.set(ANN, last_seen_to="contacts")
    assert other.shows(B1, ANN) == (False, NOON)


async def test_reciprocity_holds_at_once_for_those_who_watch(two: PresenceWorld):
    one, other = two.hubs
    await one.attach(ANN, A1)
    await other.watch(BEN, B1, ANN)
    await two.set(BEN, last_seen_to="nobody", online_to="contacts")
    assert other.shows(B1, ANN) == (True, UNSET)
    await one.detach(ANN, A1)
    await two.settle()
    assert other.shows(B1, ANN) == (False, UNSET)  # Ben hides his last seen, and does not see Ann's
    await two.set(BEN, online_to="nobody")
    assert other.shows(B1, ANN) == (UNSET, UNSET)


async def test_a_block_hides_both_ways_at_once_and_its_end_shows_again(two: PresenceWorld):
    one, other = two.hubs
    await one.attach(ANN, A1)
    await other.attach(BEN, B1)
    await one.watch(ANN, A1, BEN)
    await other.watch(BEN, B1, ANN)
    await two.block(ANN, BEN)
    assert (one.shows(A1, BEN), other.shows(B1, ANN)) == ((UNSET, UNSET), (UNSET, UNSET))
    await two.block(ANN, BEN, blocked=False)
    assert (one.shows(A1, BEN), other.shows(B1, ANN)) == ((True, UNSET), (True, UNSET))


async def test_who_leaves_the_book_sees_nothing_any_more(two: PresenceWorld):
    one, _ = two.hubs
    await one.attach(ANN, A1)
    await one.watch(BEN, B1, ANN)
    two.books.has[ANN].remove(BEN)
    await one.service.rules_changed(ANN)
    await two.settle()
    assert one.shows(B1, ANN) == (UNSET, UNSET)


async def test_nobody_is_not_recorded_and_what_was_is_deleted_at_once(two: PresenceWorld, redis):
    one, _ = two.hubs
    await one.attach(ANN, A1)
    await one.detach(ANN, A1)
    assert await redis.exists(f"last_seen:{{{ANN}}}")
    await two.set(ANN, last_seen_to="nobody")
    assert not await redis.exists(f"last_seen:{{{ANN}}}")
    await one.attach(ANN, A1)
    await one.detach(ANN, A1)
    assert not await redis.exists(f"last_seen:{{{ANN}}}")


async def test_a_recording_that_crosses_the_change_to_nobody_leaves_nothing(two: PresenceWorld, redis, monkeypatch):
    one, _ = two.hubs
    store = one.service._store
    record = store.record

    async def crossing(minutes):
        async with two.database.begin() as connection:
            await connection.execute(update(accounts).where(accounts.c.id == ANN).values(last_seen_to="nobody"))
        await two.hubs[1].service.settings_changed(ANN)  # deletes, before we write
        await record(minutes)

    monkeypatch.setattr(store, "record", crossing)
    await one.attach(ANN, A1)
    assert not await redis.exists(f"last_seen:{{{ANN}}}")


async def test_a_hub_that_dies_leaves_nobody_online(two: PresenceWorld, redis, monkeypatch):
    monkeypatch.setattr("signaling.presence.store.LEASE", 0.2)
    one, other = two.hubs
    await other.watch(BEN, B1, ANN)
    await one.service.connected.beat()
    await other.service.connected.beat()
    await one.attach(ANN, A1)
    await two.settle()
    assert other.shows(B1, ANN) == (True, UNSET)
    for task in one.service.connected._tasks:
        task.cancel()  # it gives no sign of life any more

    async def gone():
        while other.shows(B1, ANN)[0] is not False:
            await other.service.connected.beat()
            await asyncio.sleep(0.02)

    async with asyncio.timeout(10):
        await gone()
    assert await redis.keys("online:*") == await redis.keys("presence:at:*") == []
    assert await redis.zcard("presence:nodes") == 1
    assert (await other.service.get(session(BEN, B1), ANN)).online is False


def test_a_dead_hub_is_noticed_within_thirty_seconds():
    # the lease, what a reader may still believe of it, and the beat that clears
    assert LEASE + 2 * BEAT <= 25


async def test_a_hub_whose_lease_ran_out_begins_anew(two: PresenceWorld, redis):
    one, other = two.hubs
    await other.watch(BEN, B1, ANN)
    await one.attach(ANN, A1)
    await redis.flushall()  # the lease is lost, as everything else
    await one.service.connected.beat()
    await other.service.connected.beat()
    await two.settle()
    assert other.shows(B1, ANN) == (True, UNSET)
    assert (await other.service.get(session(BEN, B1), ANN)).online is True
    assert await redis.zcard("presence:nodes") == 2


async def test_remnants_of_a_hub_that_is_gone_are_not_online(two: PresenceWorld, redis):
    one, _ = two.hubs
    await redis.sadd(f"online:{{{ANN}}}", "a node of long ago")
    assert (await one.service.get(session(BEN, B1), ANN)).online is False


async def test_a_hub_that_ends_takes_its_accounts_offline(two: PresenceWorld, redis):
    one, other = two.hubs
    await other.watch(BEN, B1, ANN)
    await one.attach(ANN, A1)
    await one.service.close()
    await eventually(lambda: other.shows(B1, ANN) == (False, NOON))


async def test_resting_costs_one_command_a_beat_however_many_are_connected(two: PresenceWorld, redis):
    one, _ = two.hubs
    for number in range(300):
        one.service.attached(session(ANN if number % 2 else BEN, f"{number:022}"))
    await two.settle()
    before = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    await one.service.connected.beat()
    assert (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"] == before + 1


async def test_a_connection_that_comes_back_in_time_is_no_news(database, clock, redis, valkey_url):
    async with world(database, clock, valkey_url) as made:
        (hub,) = made.hubs
        hub.service.connected._grace = 60.0
        for name in (ANN, BEN):
            await made.account(name)
        made.acquaint(ANN, BEN)
        await hub.attach(ANN, A1)
        await hub.watch(BEN, B1, ANN)
        hub.service.detached(session(ANN, A1))
        hub.service.attached(session(ANN, A1))
        await made.settle()
        assert [m.presences for m in hub.told[B1]] == [[Presence(ANN, online=True)]]


async def test_who_sees_last_seen_only_is_told_when_the_minute_is_over(two: PresenceWorld, clock):
    one, _ = two.hubs
    await two.set(ANN, last_seen_to="contacts", online_to="nobody")
    await one.attach(ANN, A1)
    clock.advance(60)
    await one.watch(BEN, B1, ANN)
    assert one.shows(B1, ANN) == (UNSET, NOON)
    clock.advance(30)
    told = len(one.told[B1])
    await one.detach(ANN, A1)
    await two.settle()
    assert len(one.told[B1]) == told  # neither an event nor an answer tells the second
    assert (await one.service.get(session(BEN, B1), ANN)).last_seen == NOON
    clock.advance(30)
    one.service.watchers.minute_over()
    await two.settle()
    assert one.shows(B1, ANN) == (UNSET, NOON + 60_000)


async def test_a_deleted_account_leaves_no_key_and_is_told_as_unknown(two: PresenceWorld, redis):
    one, other = two.hubs
    await one.attach(ANN, A1)
    await other.watch(BEN, B1, ANN)
    await two.delete(ANN)
    assert other.shows(B1, ANN) == (UNSET, UNSET)
    for key in await redis.keys("*"):
        assert ANN.encode() not in key
        if key.startswith(b"presence:at:"):
            assert not await redis.sismember(key, ANN)
    await one.detach(ANN, A1)
    assert await redis.keys(f"*{ANN}*") == []


async def test_a_frozen_account_is_not_seen_nothing_is_recorded_and_nothing_lost(two: PresenceWorld, clock, redis):
    one, other = two.hubs
    await one.attach(ANN, A1)
    await other.watch(BEN, B1, ANN)
    kept = await redis.zrange(f"last_seen:{{{ANN}}}", 0, -1)
    clock.advance(600)
    await two.set(ANN, restricted_at=1)
    assert other.shows(B1, ANN) == (UNSET, UNSET)
    await one.detach(ANN, A1)
    assert await other.service.get(session(BEN, B1), ANN) == Presence(ANN)
    assert await one.service.sweep() == 0
    assert await redis.zrange(f"last_seen:{{{ANN}}}", 0, -1) == kept
    await two.set(ANN, restricted_at=None)
    assert other.shows(B1, ANN) == (False, NOON)


async def test_the_sweep_deletes_what_a_hub_that_died_could_not(two: PresenceWorld, redis):
    one, _ = two.hubs
    await two.set(ANN, last_seen_to="nobody")
    for account in (ANN, BEN, "Z" * 22):
        await one.service._store.record({account: NOON})
    assert await one.service.sweep() == 2
    assert await redis.keys("last_seen:*") == [f"last_seen:{{{BEN}}}".encode()]


async def test_a_new_list_replaces_the_old_one_and_an_empty_one_ends_it(two: PresenceWorld):
    one, _ = two.hubs
    two.acquaint(BEN, CLEO)
    await one.watch(BEN, B1, ANN, CLEO)
    await one.watch(BEN, B1, CLEO)
    told = len(one.told[B1])
    await one.attach(ANN, A1)
    await two.settle()
    assert len(one.told[B1]) == told
    await one.watch(BEN, B1)
    assert len(one.service.watchers) == 0
    assert one.service.watchers._watchers == {}


async def test_watching_is_bounded_in_rate(two: PresenceWorld):
    service: PresenceService = two.hubs[0].service
    many = [f"{number:022}" for number in range(MAX_WATCHED)]

    def insist() -> None:
        for number in range(10):
            service.submit(session(BEN, B1), PresenceWatch(id=number, accounts=many), lambda _: None)

    with pytest.raises(Refused) as refused:
        insist()
    assert refused.value.code is ErrorCode.RATE_LIMITED
    assert refused.value.retry_after


async def test_while_a_store_is_away_nobody_sees_what_is_in_doubt(two: PresenceWorld, monkeypatch):
    one, _ = two.hubs
    monkeypatch.setattr("signaling.presence.watchers._RETRY", 0.05)
    await one.attach(ANN, A1)
    await one.watch(BEN, B1, ANN)
    away = True
    whole = two.books.holders_among

    async def sometimes(*arguments):
        if away:
            raise ConnectionError
        return await whole(*arguments)

    monkeypatch.setattr(two.books, "holders_among", sometimes)
    await one.service.rules_changed(ANN)
    await eventually(lambda: one.service.watchers._watchers[ANN][B1] == 0)
    told = len(one.told[B1])
    await one.service._bus.publish(Hint(status=[ANN]))
    away = False
    await eventually(lambda: len(one.told[B1]) > told)
    await two.settle()
    assert one.shows(B1, ANN) == (True, UNSET)
