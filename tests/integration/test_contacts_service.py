"""Address books, matches and blocks over real Redis and SQL (P05-P08)."""

import pytest
from sqlalchemy import delete, insert

from signaling.accounts.directory import Directory
from signaling.contacts.service import ContactService
from signaling.contacts.store import ContactStore
from signaling.privacy.consents import ConsentService
from signaling.privacy.owed import OwedErasures, What
from signaling.privacy.purposes import text_hash
from signaling.storage.persistence import PersistentStoreError, check_not_persistent
from signaling.storage.tables import accounts
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.rest import ChangeConsent, ChangeContacts, Entry, Purpose

ANN, BEN, CLEO = "A" * 22, "B" * 22, "C" * 22
HASH = text_hash(Purpose.PHONEBOOK)


def token(letter: str) -> str:
    return letter * 86


class Recorder:
    """Writes down what the service tells."""

    def __init__(self) -> None:
        self.seen: list[tuple] = []

    def matches_added(self, account, matches) -> None:
        self.seen.append(("added", account, [m.account for m in matches]))

    def matches_removed(self, account, removed) -> None:
        self.seen.append(("removed", account, list(removed)))

    def book_changed(self, account) -> None:
        self.seen.append(("book", account))

    def blocks_changed(self, account) -> None:
        self.seen.append(("blocks", account))


class World:
    def __init__(self, database, redis, clock) -> None:
        self.database, self.redis, self.events = database, redis, Recorder()
        self.asked: list = []
        self.owed = OwedErasures(database, clock=clock)

        async def withdrawn(account: str, _purpose: str) -> None:
            await self.contacts.delete(account)

        self.consents = ConsentService(database=database, policy_version="1", on_withdrawn=withdrawn, clock=clock)
        self.contacts = ContactService(
            database=database,
            store=ContactStore(redis),
            directory=Directory(database),
            discovery=self,
            consents=self.consents,
            events=self.events,
            owed=self.owed,
            settle=self.settle,
            clock=clock,
        )

    async def settle(self, account: str) -> None:
        await self.owed.settle(account, What.ADDRESS_BOOK, lambda owed: self.contacts.erase_book(owed.account, known=owed.known))

    async def evaluate(self, phone, blinded):
        self.asked.append(phone)

    async def account(self, account: str) -> None:
        async with self.database.begin() as connection:
            await connection.execute(
                insert(accounts).values(
                    id=account,
                    phone=f"+4930{ord(account[0]):06}",
                    email=f"{account[0]}@example.org",
                    identity_key="k" * 43,
                    discovery_token=token(account[0]),
                    policy_version="1",
                    who_can_call="everyone",
                    created_at=1,
                )
            )

    async def consent(self, account: str, granted: bool = True) -> None:
        await self.consents.change(account, Purpose.PHONEBOOK, ChangeConsent(granted, HASH))

    async def upload(self, account: str, *letters: str, **more):
        return await self.contacts.change(account, ChangeContacts([Entry(token(x), f"entry{x}") for x in letters], **more))


@pytest.fixture
async def world(database, book_redis, clock) -> World:
    world = World(database, book_redis, clock)
    await world.account(ANN)
    await world.account(BEN)
    return world


async def refusal(work) -> ErrorCode:
    with pytest.raises(Refused) as caught:
        await work
    return caught.value.code


async def test_nothing_is_uploaded_or_evaluated_without_consent(world):
    assert await refusal(world.upload(ANN, "B")) is ErrorCode.CONSENT_REQUIRED
    assert await refusal(world.contacts.evaluate(ANN, "+4930", ["x"])) is ErrorCode.CONSENT_REQUIRED
    assert await world.redis.keys("*") == []
    assert world.asked == []
    await world.consent(ANN)
    await world.contacts.evaluate(ANN, "+4930", ["x"])
    assert world.asked == ["+4930"]


async def test_uploads_are_changes_and_answer_with_matches(world):
    await world.consent(ANN)
    first = await world.upload(ANN, "B", "X", "A")
    assert first.count == 3
    assert [(m.token, m.account) for m in first.matches] == [(token("B"), BEN)]
    second = await world.upload(ANN, "Y", remove=[token("X")])
    assert second.count == 3
    assert second.matches == []
    book = {e.token: (e.entry, e.account) for e in (await world.contacts.get(ANN)).entries}
    assert set(book) == {token("A"), token("B"), token("Y")}
    assert book[token("B")] == ("entryB", BEN)
    assert not await world.contacts.is_contact(ANN, token("X"))
    assert await world.contacts.holders_of(token("X")) == frozenset()
    assert await world.contacts.holders_of(token("B")) == {ANN}


async def test_a_reset_replaces_the_book(world):
    await world.consent(ANN)
    await world.upload(ANN, "B", "X")
    assert (await world.upload(ANN, "Y", reset=True)).count == 1
    assert [e.token for e in (await world.contacts.get(ANN)).entries] == [token("Y")]
    assert await world.contacts.holders_of(token("B")) == frozenset()


async def test_a_change_over_the_limit_is_refused_whole(world, monkeypatch):
    monkeypatch.setattr("signaling.contacts.service.MAX_BOOK", 2)
    await world.consent(ANN)
    await world.upload(ANN, "B", "X")
    assert await refusal(world.upload(ANN, "Y", "Z", remove=[token("X")])) is ErrorCode.ADDRESS_BOOK_FULL
    assert {e.token for e in (await world.contacts.get(ANN)).entries} == {token("B"), token("X")}
    assert (await world.upload(ANN, "Y", remove=[token("X")])).count == 2  # as many in as out fits


async def test_deleting_the_book_leaves_nothing_of_it(world):
    await world.consent(ANN)
    await world.upload(ANN, "B", "X")
    await world.contacts.delete(ANN)
    assert await world.redis.keys("*") == [b"uploaded:" + ANN.encode()]
    assert not await world.contacts.wanted(ANN)  # the user emptied it: it is not asked for again


async def test_withdrawing_consent_deletes_the_book_of_that_user_only(world):
    for user in (ANN, BEN):
        await world.consent(user)
        await world.upload(user, "X")
    await world.consent(ANN, False)
    assert (await world.contacts.get(ANN)).entries == []
    assert await world.contacts.holders_of(token("X")) == {BEN}


async def test_an_upload_that_crosses_a_withdrawal_leaves_no_book(world, monkeypatch):
    await world.consent(ANN)
    change = world.contacts._store.change

    async def slow(*args, **kwargs):
        await world.consent(ANN, False)  # withdrawn after the check, before the write
        return await change(*args, **kwargs)

    monkeypatch.setattr(world.contacts._store, "change", slow)
    assert await refusal(world.upload(ANN, "B")) is ErrorCode.CONSENT_REQUIRED
    assert (await world.contacts.get(ANN)).entries == []


async def test_a_lost_store_asks_those_who_consented_to_upload_again(world):
    assert not await world.contacts.wanted(ANN)
    await world.consent(ANN)
    assert await world.contacts.wanted(ANN)
    await world.upload(ANN, "B")
    assert not await world.contacts.wanted(ANN)
    await world.redis.flushall()
    assert await world.contacts.wanted(ANN)


async def test_who_has_the_number_sees_a_later_joiner_and_a_leaver(world):
    await world.consent(ANN)
    await world.upload(ANN, "C")
    world.events.seen.clear()
    await world.account(CLEO)
    await world.contacts.joined(CLEO, token("C"))
    assert world.events.seen == [("added", ANN, [CLEO])]
    world.events.seen.clear()
    await world.contacts.forget_account(CLEO, token("C"))
    assert ("removed", ANN, [CLEO]) in world.events.seen


async def test_a_deleted_account_leaves_no_key(world):
    await world.consent(ANN)
    await world.upload(ANN, "B", "X")
    await world.contacts.forget_account(ANN, token("A"))
    assert await world.redis.keys("*") == []


async def test_blocks_are_idempotent_and_of_one_direction(world):
    await world.contacts.block(ANN, BEN)
    await world.contacts.block(ANN, BEN)
    assert (await world.contacts.blocked(ANN)).accounts == [BEN]
    assert await world.contacts.has_blocked(ANN, BEN)
    assert not await world.contacts.has_blocked(BEN, ANN)
    await world.contacts.unblock(ANN, BEN)
    await world.contacts.unblock(ANN, BEN)
    assert not await world.contacts.has_blocked(ANN, BEN)
    assert ("blocks", ANN) in world.events.seen


async def test_nobody_blocks_oneself_or_an_account_that_does_not_exist(world):
    assert await refusal(world.contacts.block(ANN, ANN)) is ErrorCode.NOT_FOUND
    assert await refusal(world.contacts.block(ANN, "Z" * 22)) is ErrorCode.NOT_FOUND


async def test_a_store_that_persists_is_refused_for_address_books(redis, book_redis):
    await check_not_persistent(book_redis)
    with pytest.raises(PersistentStoreError, match="P07"):
        await check_not_persistent(redis)


async def test_each_yes_and_no_stays_on_record(world, clock):
    from sqlalchemy import select

    from signaling.storage.tables import consents

    assert [c.granted for c in (await world.consents.list(ANN)).consents] == [False] * len(Purpose)  # silence is no consent (P21)
    await world.consent(ANN)
    clock.advance(5)
    await world.consent(ANN, False)
    async with world.database.begin() as connection:
        rows = (await connection.execute(select(consents).order_by(consents.c.id))).all()
    assert [(r.granted, r.policy_version, r.text_sha256) for r in rows] == [(True, "1", HASH), (False, "1", HASH)]
    assert rows[1].at - rows[0].at == 5000


async def test_a_yes_to_another_text_is_refused_but_a_no_never_is(world):
    yes = world.consents.change(ANN, Purpose.PHONEBOOK, ChangeConsent(True, "0" * 64))
    assert await refusal(yes) is ErrorCode.INVALID
    assert not await world.consents.granted(ANN, Purpose.PHONEBOOK)
    await world.consents.change(ANN, Purpose.PHONEBOOK, ChangeConsent(False, "0" * 64))


async def test_a_full_book_stays_within_its_limit_when_an_entry_is_removed_and_added_at_once(redis):
    store = ContactStore(redis)
    full = {token(letter): "x" for letter in "abc"}
    assert await store.change(ANN, full, [], reset=False, limit=3) == 3
    # `a` goes and comes back, `d` is new: four
    assert await store.change(ANN, {token("a"): "y", token("d"): "y"}, [token("a")], reset=False, limit=3) is None
    assert await store.change(ANN, {token("a"): "y"}, [token("a")], reset=False, limit=3) == 3


async def test_the_sweep_deletes_books_of_accounts_that_are_gone_or_withdrew(world, book_redis):
    store = ContactStore(book_redis)
    for account in (ANN, BEN):
        await world.consent(account)
    for account in (ANN, BEN, CLEO):
        await store.change(account, {token("x"): "entry"}, [], reset=False, limit=10)

    async def store_is_down(_account, _purpose):
        raise ConnectionError

    world.consents._on_withdrawn = store_is_down
    with pytest.raises(ConnectionError):
        await world.consent(BEN, granted=False)
    assert await store.get(BEN)
    assert await world.contacts.sweep() == 2
    assert (await store.get(ANN), await store.get(BEN), await store.get(CLEO)) == ({token("x"): "entry"}, {}, {})
    assert await store.uploaded(CLEO) is False
    assert await store.holders(token("x")) == {ANN}
    assert await world.contacts.sweep() == 0


async def test_an_upload_that_crosses_the_account_s_deletion_leaves_no_key(world, monkeypatch):
    await world.consent(ANN)
    change = world.contacts._store.change

    async def slow(*args, **kwargs):
        async with world.database.begin() as connection:
            await connection.execute(delete(accounts).where(accounts.c.id == ANN))
        await world.contacts.forget_account(ANN, token("A"))
        return await change(*args, **kwargs)

    monkeypatch.setattr(world.contacts._store, "change", slow)
    assert await refusal(world.upload(ANN, "B")) is ErrorCode.CONSENT_REQUIRED
    assert await world.redis.keys("*") == []


async def test_a_book_whose_deletion_is_owed_counts_no_more_and_a_newer_one_is_kept(world):
    await world.consent(ANN)
    await world.upload(ANN, "B")
    await world.owed.note(ANN, What.ADDRESS_BOOK, known=True)  # as when the store did not answer
    assert not await world.contacts.is_contact(ANN, token("B"))
    assert await world.contacts.holders_of(token("B")) == frozenset()
    assert (await world.upload(ANN, "X")).count == 1
    await world.settle(ANN)  # the retry comes late
    assert [e.token for e in (await world.contacts.get(ANN)).entries] == [token("X")]
    assert await world.contacts.holders_of(token("X")) == {ANN}
