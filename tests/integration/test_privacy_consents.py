"""Consent over REST, and erasures while the address books' store does not answer: nothing that was to go is kept (P05, P07, P21, P23)."""

import asyncio
import hashlib
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import delete

from signaling.app import Hub, redis_client
from signaling.client.client import Client
from signaling.client.rest import ClientError
from signaling.storage.sql import Database
from signaling.storage.tables import accounts
from signaling.wire.errors import ErrorCode
from signaling.wire.rest import ChangeConsent, Evaluate, Purpose
from tests.conftest import eventually
from tests.integration.hub_fixture import RunningHub, register
from tests.integration.test_client_calls import ALICE, BOB

CAROL = "+4915155555555"


@pytest.fixture
def valkeys(_valkeys):
    """The servers behind ``redis`` and ``book_redis``."""
    return _valkeys


@pytest.fixture
async def alice(hub):
    """Alice, with Bob in her address book."""
    client = await register(hub, ALICE)
    await client.allow_phonebook()
    await client.find({BOB: "Bob"})
    yield client
    await client.close()


async def code_of(work) -> ErrorCode:
    with pytest.raises(ClientError) as refused:
        await work
    return refused.value.code


@asynccontextmanager
async def not_answering(valkey, client):
    """The store cannot be reached, as if its machine were gone: its socket is away, and open connections are cut."""
    away = valkey.socket_path.with_name("away")
    valkey.socket_path.rename(away)
    try:
        await client.client_kill_filter(_type="normal", skipme=True)
        yield
    finally:
        away.rename(valkey.socket_path)


async def retried(hub: RunningHub) -> None:
    """What the hub has still to make up for is done."""
    await eventually(lambda: not hub.hub.owed.keys(), timeout=20)


async def test_everyone_can_read_the_policy_and_what_is_asked(hub):
    async with Client(hub.url) as client:
        info, policy = await client._ask("server.info"), await client._ask("server.policy")
    assert info.policy_version == policy.version
    assert f"\nVersion {policy.version}\n" in policy.text
    assert [p.purpose for p in info.purposes if p.language == "en"] == list(Purpose)
    assert all(hashlib.sha256(p.text.encode()).hexdigest() == p.sha256 for p in info.purposes)


async def test_a_consent_stands_with_time_and_version_and_is_withdrawn_as_easily(hub, alice, book_redis):
    consent = (await alice._ask("consents.list", session=True)).consents[0]
    assert (consent.granted, consent.policy_version) == (True, hub.hub.settings.policy_version)
    given = consent.at
    await alice.allow_phonebook(granted=False)
    consent = (await alice._ask("consents.list", session=True)).consents[0]
    assert not consent.granted
    assert consent.at >= given
    assert await book_redis.keys("book:*") == await book_redis.keys("holders:*") == []
    assert await code_of(alice.find({CAROL: "Carol"})) is ErrorCode.CONSENT_REQUIRED
    assert await code_of(alice._ask("discovery.evaluate", Evaluate(["A" * 43]), session=True)) is ErrorCode.CONSENT_REQUIRED
    assert await alice.address_book() == {}


async def test_a_yes_to_another_text_is_none(hub, alice):
    await alice.allow_phonebook(granted=False)
    yes = alice._ask("consents.change", ChangeConsent(True, "0" * 64), session=True, purpose="phonebook")
    assert await code_of(yes) is ErrorCode.INVALID
    assert not (await alice._ask("consents.list", session=True)).consents[0].granted


async def test_a_withdrawal_while_the_store_is_away_stands_and_is_made_up_for(hub, alice, book_redis, valkeys):
    async with not_answering(valkeys[1], book_redis):
        await alice.allow_phonebook(granted=False)
        assert await code_of(alice._ask("contacts.get", session=True)) is ErrorCode.UNAVAILABLE
    await retried(hub)
    assert await book_redis.keys("book:*") == await book_redis.keys("holders:*") == []


async def test_a_book_uploaded_after_a_new_yes_is_not_what_is_erased(hub, alice, book_redis, valkeys):
    async with not_answering(valkeys[1], book_redis):
        await alice.allow_phonebook(granted=False)
    await alice.allow_phonebook()
    await alice.find({CAROL: "Carol"})
    await retried(hub)
    assert await alice.address_book() == {CAROL: "Carol"}


async def test_an_account_deleted_while_the_store_is_away_leaves_no_key(hub, alice, book_redis, valkeys):
    async with not_answering(valkeys[1], book_redis):
        await alice.delete_account()
        async with asyncio.timeout(10):
            await alice.revoked.wait()
    await retried(hub)
    assert await book_redis.keys("*") == []


async def test_registered_anew_while_the_store_is_away_the_old_book_goes_and_the_new_one_stays(hub, alice, book_redis, valkeys):
    async with not_answering(valkeys[1], book_redis):
        registering = asyncio.create_task(register(hub, ALICE))
        async with asyncio.timeout(10):
            await alice.revoked.wait()
    anew = await registering
    await anew.find({CAROL: "Carol"})
    await retried(hub)
    assert await anew.address_book() == {CAROL: "Carol"}
    assert len(await book_redis.keys("holders:*")) == 1
    await anew.close()


async def test_what_a_hub_that_died_could_not_erase_goes_when_one_starts(hub, alice, book_redis, valkeys):
    async with hub.hub.database.begin() as connection:  # the SQL part of a deletion; the hub died before the rest
        await connection.execute(delete(accounts).where(accounts.c.id == alice.profile.account))
    assert await book_redis.keys("book:*") != []
    another = Hub(
        hub.hub.settings,
        database=Database(str(hub.hub.database.engine.url)),
        redis=redis_client(valkeys[0].url),
        book_redis=redis_client(valkeys[1].url),
        delivery=hub.hub.delivery,
    )
    await another.start()
    await eventually(lambda: another.retention.rounds)
    await another.close()
    assert await book_redis.keys("*") == []
