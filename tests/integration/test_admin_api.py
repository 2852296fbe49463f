"""The operators' API as a whole: every endpoint with every role, on both databases; nobody is named without a reason; blocking; the trail."""

import asyncio
import json

import pytest

from signaling.client.client import Client
from signaling.client.media import ToneTrack
from signaling.client.rest import ClientError
from signaling.operators.audit import broken_at
from signaling.operators.roles import PERMISSIONS
from signaling.storage.migrate import migrate
from signaling.wire.admin.endpoints import ADMIN_ENDPOINTS
from signaling.wire.admin.frame import ADMIN_PATHS, Access, Permission, Role
from signaling.wire.errors import ErrorCode
from signaling.wire.messages import Stage
from signaling.wire.rest import ENDPOINTS, Attachment, BlockedFor, ChangeProfile, OpenTicket
from tests.conftest import eventually
from tests.databases import new_postgres
from tests.integration.hub_fixture import beside, register, running_hub, running_keyholder
from tests.integration.test_client_calls import ALICE, BOB
from tests.integration.test_rest_account import code_of
from tests.operators import Answer, Person, signed_in

SOMETHING = dict.fromkeys(ADMIN_PATHS, "x" * 22) | {"operator": "nobody", "pseudonym": "1" * 22}
OWN_KINDS = {ErrorCode.UNAUTHENTICATED, ErrorCode.FORBIDDEN}


@pytest.fixture(params=["sqlite", "postgres"])
async def any_hub(request, _valkeys, redis, book_redis, tmp_path):
    """A running hub on either database."""
    url = (
        f"sqlite+aiosqlite:///{tmp_path}/hub.db"
        if request.param == "sqlite"
        else await new_postgres(request.getfixturevalue("_postgres"), migrate)
    )
    async with (
        running_keyholder(tmp_path) as keyholder,
        running_hub(tmp_path, keyholder, database_url=url, redis_url=_valkeys[0].url, book_url=_valkeys[1].url) as running,
    ):
        yield running


def test_ids_of_operations_are_of_one_api_only():
    ids = [endpoint.id for endpoint in (*ENDPOINTS, *ADMIN_ENDPOINTS)]
    assert len(set(ids)) == len(ids)


async def test_every_endpoint_with_every_role(any_hub):
    people = {role: await signed_in(any_hub, role.value, role) for role in Role}
    nobody = Person(any_hub.url)
    scope = {"name": "t", "scopes": ["operations.read"]}
    token = Person(any_hub.url, token=(await people[Role.ADMIN].ask("admin_tokens.add", scope)).body["token"])
    wrong = []
    for endpoint in ADMIN_ENDPOINTS:
        if endpoint.id in ("admin.logout", "admin.oidc", "admin.oidc_callback"):
            continue  # it would end what the test needs; the other two have a test of their own

        async def code(person: Person, endpoint=endpoint) -> str | None:
            return (await person.ask(endpoint.id, **SOMETHING)).code

        if endpoint.access is Access.PUBLIC:
            if await code(nobody) in OWN_KINDS:
                wrong.append((endpoint.id, "nobody"))
            continue
        if await code(nobody) != ErrorCode.UNAUTHENTICATED:
            wrong.append((endpoint.id, "nobody"))
        if ((await code(token)) == ErrorCode.FORBIDDEN) != (endpoint.access is not Permission.OPERATIONS_READ):
            wrong.append((endpoint.id, "token"))
        for role, person in people.items():
            may = endpoint.access is Access.SELF or endpoint.access in PERMISSIONS[role]
            if ((await code(person)) in OWN_KINDS) == may:
                wrong.append((endpoint.id, role))
    assert wrong == []
    assert (await nobody.send("GET", "/v1/admin/nothing")).code == "not_found"
    assert (await nobody.send("PUT", "/v1/admin/login")).code == "method_not_allowed"
    assert (await people[Role.ADMIN].ask("audit.verify")).body["whole"]


async def done(answer: Answer) -> dict:
    assert answer.status < 300, answer.body
    return answer.body


async def test_operators_see_pseudonyms_and_a_reason_reveals_who_it_is(any_hub):
    ada = await signed_in(any_hub, "ada")
    async with await register(any_hub, ALICE) as alice:
        await alice.change_profile(ChangeProfile(name="Walpurga Zwiebelfisch", about="Im Turm"))
        await alice._ask(
            "tickets.open", OpenTicket("Echo", "I hear myself.", [Attachment("a.txt", "text/plain", "aGk")]), session=True
        )
        email = f"user{ALICE[1:]}@kloudtalk.dev"
        secret = (ALICE, ALICE[1:], email, alice.profile.account, "Walpurga", "Im Turm")

        async def quiet(operation: str, body=None, **path: str) -> dict:
            answer = await done(await ada.ask(operation, body, **path))
            assert [word for word in secret if word in json.dumps(answer)] == [], operation
            return answer

        found = (
            await quiet("accounts.look_up", {"phone": "+49 " + ALICE[3:]})
            if ALICE.startswith("+49")
            else await quiet("accounts.look_up", {"phone": ALICE})
        )
        assert found == await quiet("accounts.look_up", {"email": email})
        assert found["account"] == any_hub.hub.pseudonyms.of(alice.profile.account)
        assert (found["devices"], "blocked_at" in found) == (1, False)
        queue = (await quiet("desk.queue"))["tickets"]
        assert [(line["account"], line["subject"]) for line in queue] == [(found["account"], "Echo")]
        ticket = await quiet("desk.ticket", ticket=queue[0]["ticket"])
        file = ticket["messages"][0]["attachments"][0]["attachment"]
        assert (await quiet("desk.attachment", ticket=ticket["ticket"], attachment=file))["content"] == "aGk"
        request = await quiet("requests.open", {"kind": "access", "phone": ALICE})
        for endpoint in ADMIN_ENDPOINTS:
            if endpoint.method == "GET" and isinstance(endpoint.access, Permission) and "{" not in endpoint.path:
                await quiet(endpoint.id)
        await quiet("requests.get", request=request["id"])
        for reason in ("", "x", f"asked by {email}", f"call from {ALICE}", "0151 / 123 45 67 89"):
            answer = await ada.ask("accounts.reveal", {"reason": reason}, pseudonym=found["account"])
            assert answer.code == "invalid", reason
        who = await done(await ada.ask("accounts.reveal", {"reason": "police request 2026-17"}, pseudonym=found["account"]))
        assert (who["phone"], who["email"], who["account"], who["name"]) == (
            ALICE, email, alice.profile.account, "Walpurga Zwiebelfisch",
        )  # fmt: skip
        trail = await any_hub.hub.audit.read()
        assert broken_at(trail) is None
        assert ("ada", "account_revealed", found["account"], "police request 2026-17") in [
            (entry.operator, entry.action, entry.subject, entry.reason) for entry in trail
        ]
        assert [word for word in secret if word in repr(trail)] == []
        await quiet("audit.list")
        for body in ({}, {"phone": ALICE, "email": email}, {"phone": "12"}):
            assert (await ada.ask("accounts.look_up", body)).status == 422, body
        assert (await ada.ask("accounts.look_up", {"phone": BOB})).code == "not_found"


async def test_nobody_walks_through_the_accounts(hub):
    ada = await signed_in(hub, "ada", Role.SUPPORT)
    codes = {(await ada.ask("accounts.look_up", {"phone": f"+4930{number:07}"})).code for number in range(60)}
    assert codes == {"not_found"}
    assert (await ada.ask("accounts.look_up", {"phone": "+49301234567"})).code == "rate_limited"


async def test_a_written_request_by_the_api_needs_two_operators(hub):
    ada, bea = await signed_in(hub, "ada", Role.SUPPORT), await signed_in(hub, "bea", Role.SUPPORT)
    async with await register(hub, ALICE) as alice:
        request = (await done(await ada.ask("requests.open", {"kind": "access", "phone": ALICE})))["id"]
        assert (await ada.ask("requests.send_code", {"channel": "phone"}, request=request)).status == 204
        verified = await done(await ada.ask("requests.verify", {"code": hub.codes[ALICE]}, request=request))
        assert (verified["state"], verified["evidence"]) == ("verified", "code")
        assert (await ada.ask("requests.confirm", request=request)).code == "not_possible"
        await done(await bea.ask("requests.confirm", request=request))
        assert (await ada.ask("requests.fulfil", request=request)).code == "not_possible"  # its archive is what fulfils it
        archive = await ada.ask("requests.archive", request=request)
        assert (archive.status, archive.body[:2], archive.headers["Content-Type"]) == (200, b"PK", "application/zip")
        assert (await done(await ada.ask("requests.get", request=request)))["state"] == "fulfilled"
        erasure = (await done(await ada.ask("requests.open", {"kind": "erasure", "phone": ALICE})))["id"]
        assert (await ada.ask("requests.archive", request=erasure)).code == "not_possible"
        await done(await ada.ask("requests.verify", {"document": "in_person"}, request=erasure))
        await done(await bea.ask("requests.confirm", request=erasure))
        await done(await bea.ask("requests.fulfil", request=erasure))
        await hub.hub.erasure.settle_all()
        async with asyncio.timeout(10):
            await alice.revoked.wait()


async def blocked(client: Client) -> bool:
    try:
        await client.history()
    except ClientError as error:
        return error.code is ErrorCode.BLOCKED
    return False


async def test_a_blocked_account_is_out_on_every_hub_is_told_why_and_keeps_its_rights(hub):
    ada = await signed_in(hub, "ada", Role.SUPPORT)
    async with beside(hub) as other, await register(hub, ALICE, url=other.url) as alice, await register(hub, BOB) as bob:
        for client, peer in ((alice, bob), (bob, alice)):
            await client.allow_phonebook()
            await client.find({peer.profile.phone: "x"})
        call = await bob.call(alice.profile.account, track=ToneTrack(440))
        async with asyncio.timeout(10):
            await alice.incoming.get()
        pseudonym = hub.hub.pseudonyms.of(alice.profile.account)
        told = {"blocked_for": "spam", "reason": "reported by many"}
        info = await done(await ada.ask("accounts.block", told, pseudonym=pseudonym))
        assert (info["blocked_for"], bool(info["blocked_at"])) == ("spam", True)
        await call.reach(Stage.ENDED)
        await eventually(lambda: not other.hub.sockets.online(alice.profile.device))
        assert await code_of(alice.history()) is ErrorCode.BLOCKED
        me = await alice._ask("account.get", session=True)
        assert (me.blocked_for, me.blocked_at) == (BlockedFor.SPAM, info["blocked_at"])
        ticket = await alice._ask("tickets.open", OpenTicket("Why?", "It was not me.", []), session=True)
        book = (await bob._ask("contacts.get", session=True)).entries
        assert [entry.account for entry in book if isinstance(entry.account, str)] == []  # to others it is as if she had left
        assert [a["account"] for a in (await done(await ada.ask("accounts.blocked")))["accounts"]] == [pseudonym]
        again = await done(await ada.ask("accounts.unblock", {"reason": "a mistake"}, pseudonym=pseudonym))
        assert "blocked_at" not in again
        async with asyncio.timeout(10):
            while await blocked(alice):
                pass  # until the other hub has heard
        assert ticket.ticket
        assert [(e.action, e.reason) for e in await hub.hub.audit.read() if e.subject == pseudonym] == [
            ("account_blocked", "spam: reported by many"), ("account_unblocked", "a mistake"),
        ]  # fmt: skip
