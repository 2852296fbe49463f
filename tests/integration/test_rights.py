"""Access, erasure, restriction, objection (P22, P23), and who tries them for somebody else (P26)."""

import asyncio
import hashlib
import io
import json
import zipfile
from contextlib import AsyncExitStack

import jsonschema
import pytest
from sqlalchemy import select

from signaling.client.client import Client
from signaling.client.keys import DeviceKeys
from signaling.client.media import ToneTrack
from signaling.client.rest import ClientError
from signaling.operators.operator import Operator
from signaling.privacy import proof
from signaling.storage.tables import accounts, owed_erasures
from signaling.wire.errors import ErrorCode
from signaling.wire.messages import ContactsChanged, Reason, Stage
from signaling.wire.rest import ChangeObjection, ChangeRestriction, Interest, OpenTicket, Proof
from tests.conftest import eventually
from tests.everything import STRANGER, use_everything
from tests.integration.hub_fixture import register
from tests.integration.test_client_calls import ALICE, BOB, acquainted, history_of, rung
from tests.integration.test_rest_account import code_of, hearing
from tests.personal_data import Person, in_redis


def opened(archive: bytes) -> tuple[dict, dict, zipfile.ZipFile]:
    file = zipfile.ZipFile(io.BytesIO(archive))
    return json.loads(file.read("export.json")), json.loads(file.read("export.schema.json")), file


async def test_the_export_has_all_of_mine_and_nothing_of_others_and_fits_its_schema(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await register(hub, ALICE), await register(hub, BOB)
        for client in (alice, bob):
            stack.push_async_callback(client.close)
        second = await use_everything(alice, bob, hub.url, stack)
        content, schema, file = opened(await alice.export())
        jsonschema.Draft202012Validator(schema).validate(content)
        assert content["account"]["phone"] == ALICE
        assert content["account"]["email"] == f"user{ALICE[1:]}@kloudtalk.dev"
        assert {d["id"] for d in content["devices"]} == {alice.profile.device, second.profile.device}
        assert {d["name"] for d in content["devices"]} == {"a test's device", "Wanduhr im Flur"}
        assert {c["purpose"] for c in content["consents"] if c["granted"]} == {"phonebook", "device_details", "quality"}
        media = [name for name in file.namelist() if name.startswith("media/")]
        assert {name.split("/")[1] for name in media} == {"pictures", "ticket_attachments"}
        assert all(hashlib.sha256(file.read(name)).hexdigest() in json.dumps(content) for name in media)
        assert [m["text"] for m in content["ticket_messages"]] == ["Ist der Brunnen tief?"]
        assert content["plans"][0]["trial_until"] > 0
        assert [b["blocked"] for b in content["blocks"]] == [bob.profile.account]
        assert [c["peer"] for c in content["call_records"]] == [bob.profile.account]
        assert [e.get("account") for e in content["address_book"]["entries"]].count(bob.profile.account) == 1
        assert len(content["address_book"]["entries"]) == 2
        assert [q["measured"]["client"] for q in content["call_quality"]] == ["Glockenspiel 7"]
        assert [o["interest"] for o in content["objections"]] == ["statistics"]
        assert {link["state"] for link in content["links"]["links"]} == {"approved", "waiting"}
        assert file.testzip() is None
        others = Person.of(bob, f"user{BOB[1:]}@kloudtalk.dev").texts - {bob.profile.account} - set(bob.profile.tokens.values())
        assert Person(frozenset(others)).traces(file.read("export.json")) == []
        assert alice.profile.token.encode() not in file.read("export.json")


async def test_a_live_call_is_in_the_export(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        call = await alice.call(bob.profile.account, track=ToneTrack(440))
        await rung(bob)
        mine, theirs = opened(await alice.export())[0], opened(await bob.export())[0]
        assert [(c["call"], c["outgoing"]) for c in mine["live_calls"]["calls"]] == [(call.id, True)]
        assert [(c["call"], c["peer"]) for c in theirs["live_calls"]["calls"]] == [(call.id, alice.profile.account)]


async def test_exports_are_limited(hub):
    async with await register(hub, ALICE) as alice:
        for _ in range(3):
            await alice.export()
        assert await code_of(alice.export()) is ErrorCode.RATE_LIMITED


def acts(client: Client, made: Proof) -> list:
    """Everything that needs a proof, asked for with one."""
    return [
        client._ask("account.export", made, session=True),
        client._ask("account.delete", made, session=True),
        client._ask("account.restrict", ChangeRestriction(True, made), session=True),
    ]


async def test_a_stolen_token_alone_neither_exports_nor_deletes_nor_freezes(hub):
    async with await register(hub, ALICE) as alice:
        thief = DeviceKeys.generate()
        for act in (proof.EXPORT, proof.DELETE, proof.RESTRICT):
            made = proof.prove(act, alice.profile.account, alice.profile.device, thief.signing, alice._prove(act).at)
            for work in acts(alice, made):
                assert await code_of(work) is ErrorCode.PROOF_INVALID
        assert (await alice._ask("account.get", session=True)).phone == ALICE


async def test_a_proof_holds_for_one_act_one_account_and_an_hour(hub):
    async with await register(hub, ALICE) as alice, await register(hub, BOB) as bob:
        of_bob = bob._prove(proof.DELETE)
        assert await code_of(alice._ask("account.delete", of_bob, session=True)) is ErrorCode.PROOF_INVALID
        assert await code_of(alice._ask("account.delete", alice._prove(proof.EXPORT), session=True)) is ErrorCode.PROOF_INVALID
        profile = alice.profile
        for late in (3_700_000, -3_700_000):
            at = alice._prove(proof.DELETE).at + late
            made = proof.prove(proof.DELETE, profile.account, profile.device, profile.keys.signing, at)
            assert await code_of(alice._ask("account.delete", made, session=True)) is ErrorCode.PROOF_INVALID
        for at, code in ((2**53 - 1, ErrorCode.PROOF_INVALID), (2**53, ErrorCode.INVALID)):
            assert await code_of(alice._ask("account.delete", Proof(at, "A" * 86), session=True)) is code


async def test_nothing_of_a_deleted_account_is_left_in_any_store(hub, redis, book_redis):
    async with AsyncExitStack() as stack:
        alice, bob = await register(hub, ALICE), await register(hub, BOB)
        for client in (alice, bob):
            stack.push_async_callback(client.close)
        second = await use_everything(alice, bob, hub.url, stack)
        person = Person.of(alice, f"user{ALICE[1:]}@kloudtalk.dev", second.profile.device, second.profile.token)
        assert await in_redis(redis, person) != {}
        assert await in_redis(book_redis, person) != {}
        await alice.delete_account()
        # done when it is answered, but for bob's own: his history has alice's random id, his book the token of her number
        theirs = set(bob.profile.tokens.values()) | {alice.profile.account}
        of_alice = Person(person.texts - theirs)
        assert await in_redis(redis, person) == {}
        assert await in_redis(book_redis, of_alice) == {}
        async with hub.hub.database.begin() as connection:
            assert (await connection.execute(select(owed_erasures))).all() == []


async def test_two_deletions_at_once_are_one(hub):
    async with await register(hub, ALICE) as alice:
        answers = await asyncio.gather(*(alice.delete_account() for _ in range(5)), return_exceptions=True)
        refused = [a.code for a in answers if isinstance(a, ClientError)]
        assert len(refused) < 5
        assert set(refused) <= {ErrorCode.UNAUTHENTICATED}
        async with hub.hub.database.begin() as connection:
            assert (await connection.execute(select(accounts.c.id))).all() == []
        assert await code_of(alice.export()) is ErrorCode.UNAUTHENTICATED


async def test_a_deletion_during_a_call_ends_it_for_the_other(hub, redis):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        outgoing = await alice.call(bob.profile.account, track=ToneTrack(440))
        incoming = await rung(bob)
        await incoming.accept(track=ToneTrack(620))
        await asyncio.gather(outgoing.reach(Stage.CONNECTED), incoming.reach(Stage.CONNECTED))
        await alice.delete_account()
        await incoming.reach(Stage.ENDED)
        assert await redis.keys("call:*") == await redis.keys("sealed:*") == []
        assert await history_of(bob, outgoing.id) is incoming.reason
        assert incoming.reason in (Reason.HANGUP, Reason.LOST)


# --- restriction ---------------------------------------------------------------------------------------------------------------------


async def test_a_frozen_account_is_as_if_it_had_left_and_comes_back_whole(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        account = alice.profile.account
        told = hearing(bob, ContactsChanged)
        before = opened(await alice.export())[0]
        await alice.restrict()
        async with asyncio.timeout(10):
            assert (await told.get()).removed == [account]
        assert (await alice._ask("account.get", session=True)).restricted_at > 0
        for work in (alice.history(), alice.find({STRANGER: "x"}), alice._ask("blocks.list", session=True)):
            assert await code_of(work) is ErrorCode.RESTRICTED
        # the caller sees what a caller of somebody offline sees
        call = await bob.call(account, track=ToneTrack(440))
        await call.hangup()
        assert await history_of(bob, call.id) is Reason.CANCELLED
        assert [e.account for e in (await bob._ask("contacts.get", session=True)).entries if isinstance(e.account, str)] == []
        await alice.restrict(False)
        async with asyncio.timeout(10):
            assert [m.account for m in (await told.get()).added] == [account]
        after = opened(await alice.export())[0]
        for part in ("devices", "consents", "blocks", "call_records", "address_book"):
            assert after[part] == before[part], part
        assert await alice.history() == []


async def test_a_frozen_account_has_no_socket(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        await alice.restrict()
        await eventually(lambda: not hub.hub.sockets.online(alice.profile.device))
        assert hub.hub.sockets.online(bob.profile.device)
        await alice.restrict()  # twice is once
        await alice.restrict(False)
        await eventually(lambda: hub.hub.sockets.online(alice.profile.device), timeout=40)


async def test_a_frozen_account_keeps_what_its_owner_needs(hub):
    """To leave, to see who is signed in, to ask why, to take a consent back."""
    async with await register(hub, ALICE) as alice:
        await alice.allow_phonebook()
        await alice.restrict()
        assert len((await alice._ask("devices.list", session=True)).devices) == 1
        ticket = await alice._ask("tickets.open", OpenTicket("Why", "Why is it frozen?"), session=True)
        await hub.hub.tickets.answer(Operator("ada"), ticket.ticket, "You froze it.")
        assert (await alice._ask("tickets.list", session=True)).tickets[0].unread
        await alice.allow_phonebook(granted=False)
        await alice._ask("devices.revoke", session=True, device=alice.profile.device)
        assert await code_of(alice._ask("account.get", session=True)) is ErrorCode.UNAUTHENTICATED


async def test_a_frozen_account_can_be_deleted(hub):
    async with await register(hub, ALICE) as alice:
        await alice.restrict()
        await alice.delete_account()
        assert await code_of(alice._ask("account.get", session=True)) is ErrorCode.UNAUTHENTICATED


# --- objection -----------------------------------------------------------------------------------------------------------------------


async def test_objections_stand_per_interest_and_are_taken_back_as_easily(hub):
    async with await register(hub, ALICE) as alice:

        async def standing() -> dict[str, bool]:
            listed = (await alice._ask("objections.list", session=True)).objections
            assert all(len(one.text) > 40 for one in listed)
            return {one.interest: one.objected for one in listed}

        assert not any((await standing()).values())
        for _ in range(2):
            changed = await alice._ask("objections.change", ChangeObjection(True), session=True, interest=Interest.ANNOUNCEMENTS)
            assert changed.objected
        assert await standing() == {Interest.ANNOUNCEMENTS: True, Interest.STATISTICS: False}
        await alice._ask("objections.change", ChangeObjection(False), session=True, interest=Interest.ANNOUNCEMENTS)
        assert not any((await standing()).values())
        other = alice._ask("objections.change", ChangeObjection(True), session=True, interest="breathing")
        assert await code_of(other) is ErrorCode.NOT_FOUND


@pytest.mark.parametrize("endpoint", ["account.export", "account.delete", "account.restrict", "objections.list"])
async def test_rights_need_a_session(hub, endpoint):
    async with Client(hub.url) as nobody:
        assert await code_of(nobody._ask(endpoint, Proof(1, "A" * 86), token="A" * 43)) is ErrorCode.UNAUTHENTICATED
