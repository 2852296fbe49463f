"""Every purpose is obeyed: what needs the consent is refused without it, and after it was withdrawn (P02, P21)."""

import hashlib

import msgspec
import pytest
from sqlalchemy import select

from signaling.client.client import Client
from signaling.client.rest import ClientError
from signaling.privacy.purposes import PURPOSES, text_hash
from signaling.storage.tables import consents
from signaling.wire.errors import ErrorCode
from signaling.wire.rest import (
    ENDPOINTS,
    ChangeConsent,
    ChangeContacts,
    DeviceInfo,
    Evaluate,
    HeardNow,
    MeasuredQuality,
    MeasuredWay,
    Purpose,
)
from tests.integration.hub_fixture import register
from tests.integration.test_client_calls import ALICE, BOB

BODIES = {
    "discovery.evaluate": Evaluate(["4mLppGcOFlyUTyrzTXHK0x6KtDEVTEvK5sM4mJQMLQ4"[:43]]),
    "contacts.change": ChangeContacts(),
    "devices.describe": DeviceInfo(os="Debian"),
    "calls.heard": HeardNow(loss=0.01, jitter=0.01),
    "calls.quality": MeasuredQuality(MeasuredWay(100, 1, 0.01)),
}
"""A valid body for each operation that needs a consent."""


@pytest.fixture
async def alice(hub):
    client = await register(hub, ALICE)
    yield client
    await client.close()


async def refused(client: Client, operation: str) -> bool:
    """Whether an operation is refused for want of a consent."""
    try:
        await client._ask(operation, BODIES[operation], session=True, call="A" * 22)
    except ClientError as error:
        return error.code is ErrorCode.CONSENT_REQUIRED
    return False


def test_every_purpose_is_in_the_registry_and_names_operations_that_say_so():
    assert PURPOSES.keys() == set(Purpose)
    by_id = {endpoint.id: endpoint for endpoint in ENDPOINTS}
    for purpose, entry in PURPOSES.items():
        assert entry.needs, purpose
        assert all(ErrorCode.CONSENT_REQUIRED in by_id[operation].errors for operation in entry.needs)
    said = {endpoint.id for endpoint in ENDPOINTS if ErrorCode.CONSENT_REQUIRED in endpoint.errors}
    assert said == {operation for entry in PURPOSES.values() for operation in entry.needs} == BODIES.keys()


async def test_words_that_changed_are_asked_again(alice, hub, monkeypatch):
    """A consent stands for the text that it was given to, in each language; what was collected waits for the answer (P21)."""
    await alice.allow_phonebook()
    await alice.find({BOB: "Bob"})
    entry = PURPOSES[Purpose.PHONEBOOK]
    other = msgspec.structs.replace(entry, texts={**entry.texts, "de": "Darf KloudTalk mein Telefonbuch an die Wand hängen?"})
    monkeypatch.setitem(PURPOSES, Purpose.PHONEBOOK, other)
    assert not await refused(alice, "contacts.change"), "the words that were shown are the same"
    changed = msgspec.structs.replace(entry, texts={"en": "May KloudTalk pin my phonebook to the wall?"})
    monkeypatch.setitem(PURPOSES, Purpose.PHONEBOOK, changed)
    for operation in entry.needs:
        assert await refused(alice, operation)
    consent = (await alice._ask("consents.list", session=True)).consents[0]
    assert (consent.granted, consent.changed) == (False, True)
    await hub.hub.events.contacts.sweep()
    assert await alice.address_book() == {BOB: "Bob"}, "nothing was withdrawn"
    yes = ChangeConsent(True, hashlib.sha256(changed.texts["en"].encode()).hexdigest())
    await alice._ask("consents.change", yes, session=True, purpose="phonebook")
    assert not await refused(alice, "contacts.change")
    monkeypatch.setitem(PURPOSES, Purpose.PHONEBOOK, entry)
    await alice.allow_phonebook(granted=False)
    assert await alice.address_book() == {}
    assert not (await alice._ask("consents.list", session=True)).consents[0].changed


async def test_a_yes_in_another_language_is_on_record_with_its_words(alice, hub):
    german = text_hash(Purpose.PHONEBOOK, "de")
    await alice._ask("consents.change", ChangeConsent(True, german), session=True, purpose="phonebook")
    async with hub.hub.database.begin() as connection:
        assert (await connection.execute(select(consents.c.text_sha256))).scalar_one() == german
    assert not await refused(alice, "contacts.change")


def test_every_question_is_there_in_the_same_languages():
    assert {frozenset(entry.texts) for entry in PURPOSES.values()} == {frozenset({"en", "de", "ar"})}


@pytest.mark.parametrize("purpose", list(Purpose))
async def test_a_purpose_is_obeyed_from_the_first_to_the_last(alice, purpose):
    needs = PURPOSES[purpose].needs
    for operation in needs:
        assert await refused(alice, operation), "silence is no consent"
    await alice.allow(purpose)
    for operation in needs:
        assert not await refused(alice, operation)
    others = [other for other in Purpose if other is not purpose]
    for operation in (operation for other in others for operation in PURPOSES[other].needs):
        assert await refused(alice, operation), "a yes to one purpose is none to another"
    await alice.allow(purpose, granted=False)
    for operation in needs:
        assert await refused(alice, operation), "a withdrawal holds at once"
