"""Written requests over a real hub (P24): identity, four eyes, the trail; and the same on the command line."""

import asyncio
import io
import json
import zipfile

import pytest
from msgspec.structs import replace
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import DBAPIError

from signaling.operators.audit import AuditTrail, broken_at
from signaling.operators.operator import Operator, OperatorError
from signaling.privacy.request_rules import Evidence, Kind, State
from signaling.storage.tables import AUDIT_YEARS, accounts, audit_log, rights_requests
from signaling.wire.errors import ErrorCode
from signaling.wire.rest import Channel
from tests.integration.hub_fixture import register
from tests.integration.test_client_calls import ALICE, BOB
from tests.integration.test_rest_account import code_of

ADA, BEA = Operator("ada"), Operator("bea")


async def refused(work, match: str) -> None:
    with pytest.raises(OperatorError, match=match):
        await work


async def verified(hub, kind: Kind) -> str:
    requests = hub.hub.requests
    request = (await requests.open(ADA, kind, phone=ALICE)).id
    await requests.send_code(ADA, request, Channel.PHONE)
    view = await requests.verify_code(ADA, request, hub.codes[ALICE])
    assert (view.state, view.evidence, view.verified_by) == (State.VERIFIED, Evidence.CODE, "ada")
    return request


async def never(_archive: bytes) -> None:
    raise AssertionError


async def actions(hub) -> list[tuple[str, str]]:
    entries = await hub.hub.audit.read()
    assert broken_at(entries) is None
    return [(entry.operator, entry.action) for entry in entries]


async def test_an_erasure_needs_the_code_and_another_operator_and_is_then_done_by_the_hub(hub):
    async with await register(hub, ALICE) as alice:
        requests = hub.hub.requests
        request = (await requests.open(ADA, Kind.ERASURE, email=f"USER{ALICE[1:]}@kloudtalk.dev")).id
        await refused(requests.verify_code(ADA, request, "000000"), "no code")
        await requests.send_code(ADA, request, Channel.EMAIL)
        await refused(requests.send_code(ADA, request, Channel.EMAIL), "moment ago")
        right = hub.codes[f"user{ALICE[1:]}@kloudtalk.dev"]
        wrong = "000000" if right != "000000" else "000001"
        await refused(requests.verify_code(ADA, request, wrong), "does not match")
        await refused(requests.confirm(BEA, request), "verified")
        await requests.verify_code(ADA, request, right)
        await refused(requests.confirm(ADA, request), "another operator")
        await refused(requests.fulfil(ADA, request, never), "confirmed")
        await requests.confirm(BEA, request)
        assert (await requests.fulfil(ADA, request, never)).state is State.FULFILLED
        await hub.hub.erasure.settle_all()
        async with asyncio.timeout(10):
            await alice.revoked.wait()
        async with hub.hub.database.begin() as connection:
            assert (await connection.execute(select(accounts))).all() == []
            kept = (await connection.execute(select(rights_requests))).one()
        assert kept.account is None
        assert await actions(hub) == [
            ("ada", "request_opened"), ("ada", "code_sent"), ("ada", "code_wrong"), ("ada", "verified_by_code"),
            ("bea", "confirmed"), ("ada", "fulfilled"),
        ]  # fmt: skip
        for entry in await hub.hub.audit.read():
            assert not any(data in repr(entry) for data in (ALICE, "kloudtalk.dev", alice.profile.account))


async def test_five_wrong_codes_spend_it(hub):
    async with await register(hub, ALICE):
        requests = hub.hub.requests
        request = (await requests.open(ADA, Kind.ACCESS, phone=ALICE)).id
        await requests.send_code(ADA, request, Channel.PHONE)
        wrong = "000000" if hub.codes[ALICE] != "000000" else "000001"
        for _ in range(5):
            await refused(requests.verify_code(ADA, request, wrong), ".")
        await refused(requests.verify_code(ADA, request, hub.codes[ALICE]), "wrong tries")


async def test_an_access_request_gives_the_archive_and_ends(hub):
    async with await register(hub, ALICE), await register(hub, BOB):
        request = await verified(hub, Kind.ACCESS)
        await hub.hub.requests.confirm(BEA, request)
        got: list[bytes] = []

        async def take(archive: bytes) -> None:
            got.append(archive)

        await hub.hub.requests.fulfil(BEA, request, take)
        content = json.loads(zipfile.ZipFile(io.BytesIO(got[0])).read("export.json"))
        assert content["account"]["phone"] == ALICE
        assert BOB not in json.dumps(content)
        assert [r["state"] for r in content["rights_requests"]] == ["confirmed"]
        await refused(hub.hub.requests.fulfil(BEA, request, never), "fulfilled")
        await refused(hub.hub.requests.reject(BEA, request), "already")


async def test_a_restriction_on_request_and_its_end(hub):
    async with await register(hub, ALICE) as alice:
        for kind, code in ((Kind.RESTRICTION, ErrorCode.RESTRICTED), (Kind.RELEASE, None)):
            request = (await hub.hub.requests.open(ADA, kind, phone=ALICE)).id
            await hub.hub.requests.verify_document(ADA, request, Evidence.IN_PERSON)
            await hub.hub.requests.confirm(BEA, request)
            await hub.hub.requests.fulfil(ADA, request, never)
            await hub.hub.erasure.settle_all()
            if code is None:
                assert await alice.history() == []
            else:
                assert await code_of(alice.history()) is code


async def test_nobody_of_that_number_and_a_request_whose_account_went(hub):
    await refused(hub.hub.requests.open(ADA, Kind.ACCESS, phone=BOB), "no account")
    await refused(hub.hub.requests.open(ADA, Kind.ACCESS, phone="12"), "number")
    assert await actions(hub) == [("ada", "nothing_found")]
    async with await register(hub, ALICE) as alice:
        request = await verified(hub, Kind.ERASURE)
        await alice.delete_account()
        await refused(hub.hub.requests.confirm(BEA, request), "gone")
        assert (await hub.hub.requests.reject(BEA, request)).state is State.REJECTED
        assert [view.state for view in await hub.hub.requests.list()] == [State.REJECTED]


async def test_the_trail_can_be_added_to_and_nothing_else(database, clock):
    trail = AuditTrail(database, clock=clock)
    for name in ("ada", "bea"):
        await trail.note(Operator(name), "signed_in", name, "a reason")
    for statement in (update(audit_log).values(operator="eve"), delete(audit_log)):
        with pytest.raises(DBAPIError, match="append-only"):
            async with database.begin() as connection:
                await connection.execute(statement)
    assert broken_at(await trail.read()) is None
    async with database.begin() as connection:  # after three years an entry may go
        old = int((1_600_000_000 - AUDIT_YEARS) * 1000)
        values = {"operator": "ada", "action": "x", "subject": "", "before": "", "digest": ""}
        await connection.execute(insert(audit_log).values(at=old, **values))
        await connection.execute(delete(audit_log).where(audit_log.c.at == old))
    whole = await trail.read()
    assert broken_at([*whole[:1], replace(whole[1], reason="another")]) == whole[1].seq
    assert broken_at([*whole[:1], replace(whole[1], via="a token")]) == whole[1].seq
    assert await trail.page(before=whole[1].seq, limit=5) == [whole[0]]


@pytest.mark.parametrize("other", ["reject", "fulfil"])
async def test_of_two_who_close_a_request_at_once_one_does(hub, other):
    async with await register(hub, ALICE):
        requests = hub.hub.requests
        request = await verified(hub, Kind.ACCESS)
        await requests.confirm(BEA, request)

        async def meanwhile(_archive: bytes) -> None:
            if other == "reject":
                await requests.reject(BEA, request)
            else:
                await requests.fulfil(BEA, request, keep)

        async def keep(_archive: bytes) -> None:
            pass

        closed = State.REJECTED if other == "reject" else State.FULFILLED
        await refused(requests.fulfil(ADA, request, meanwhile), f"the request is {closed}")
        assert (await requests.get(request)).state is closed
        assert [action for _, action in await actions(hub)][-1:] == [closed]
