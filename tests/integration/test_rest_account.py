"""The user's own account over REST: looked at, changed, its devices removed, deleted with everything that belongs to it (P23)."""

import asyncio
import logging
import time
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
from sqlalchemy import select

from signaling.client.client import Client
from signaling.client.media import ToneTrack
from signaling.client.rest import ClientError
from signaling.gateway.rest import AddressLimiter
from signaling.storage.tables import metadata
from signaling.wire.errors import ErrorCode
from signaling.wire.messages import ContactsChanged, DevicesChanged
from signaling.wire.rest import MAX_BODY, ChangeSettings, SignOut, WhoCanCall
from tests.integration.hub_fixture import RunningHub, beside, register
from tests.integration.test_client_calls import ALICE, BOB, acquainted, history_of, rung


@pytest.fixture
async def alice(hub):
    client = await register(hub, ALICE)
    yield client
    await client.close()


async def code_of(work) -> ErrorCode:
    with pytest.raises(ClientError) as refused:
        await work
    return refused.value.code


@asynccontextmanager
async def second_device(hub: RunningHub, first: Client):
    async with Client(hub.url) as second:
        linking = asyncio.create_task(second.claim_link(await first.open_link(), "Tablet"))
        await first.approve_link()
        await linking
        yield second


def hearing(client: Client, kind: type) -> asyncio.Queue:
    """What a client is told from now on, of one kind."""
    heard: asyncio.Queue = asyncio.Queue()
    take = client._socket._take

    def also(message) -> None:
        if isinstance(message, kind):
            heard.put_nowait(message)
        take(message)

    client._socket._take = also
    return heard


async def content(redis) -> str:
    """Every key and value of a Redis."""
    text = []
    for key in await redis.keys("*"):
        match (await redis.type(key)).decode():
            case "string":
                value = await redis.get(key)
            case "hash":
                value = await redis.hgetall(key)
            case "set":
                value = await redis.smembers(key)
            case "list":
                value = await redis.lrange(key, 0, -1)
            case "zset":
                value = await redis.zrange(key, 0, -1)
            case "stream":
                value = await redis.xrange(key)
        text.append(f"{key!r}: {value!r}")
    return "\n".join(text)


async def test_the_account_says_what_the_server_keeps(hub, alice):
    account = await alice._ask("account.get", session=True)
    assert (account.account, account.phone) == (alice.profile.account, ALICE)
    assert account.email == f"user{ALICE[1:]}@kloudtalk.dev"
    assert account.identity_key == alice.profile.certificate.identity_key
    assert account.policy_version == hub.hub.settings.policy_version
    assert account.who_can_call is WhoCanCall.CONTACTS


async def test_who_can_call_holds_at_once(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        call = await alice.call(bob.profile.account, track=ToneTrack(440))
        await (await rung(bob)).decline()
        await history_of(alice, call.id)
        changed = await bob._ask("settings.change", ChangeSettings(who_can_call=WhoCanCall.NOBODY), session=True)
        assert changed.who_can_call is WhoCanCall.NOBODY
        assert (await bob._ask("settings.change", ChangeSettings(), session=True)).who_can_call is WhoCanCall.NOBODY
        unheard = await alice.call(bob.profile.account, track=ToneTrack(440))
        await unheard.hangup()
        await history_of(alice, unheard.id)
        await bob._ask("settings.change", ChangeSettings(who_can_call=WhoCanCall.CONTACTS), session=True)
        heard = await alice.call(bob.profile.account, track=ToneTrack(440))
        assert (await rung(bob)).id == heard.id


async def test_a_removed_device_is_out_at_once_and_contacts_are_told(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        second = await stack.enter_async_context(second_device(hub, alice))
        told = hearing(bob, DevicesChanged)
        await alice._ask("devices.revoke", session=True, device=second.profile.device)
        async with asyncio.timeout(10):
            await second.revoked.wait()
            assert (await told.get()).account == alice.profile.account
        assert await code_of(second._ask("account.get", session=True)) is ErrorCode.UNAUTHENTICATED
        assert set(await bob.devices_of(alice.profile.account)) == {alice.profile.device}
        again = alice._ask("devices.revoke", session=True, device=second.profile.device)
        assert await code_of(again) is ErrorCode.NOT_FOUND
        assert await code_of(bob._ask("devices.revoke", session=True, device=alice.profile.device)) is ErrorCode.NOT_FOUND


@pytest.mark.parametrize("keep", [True, False])
async def test_signing_out_everywhere(hub, alice, keep):
    async with second_device(hub, alice) as second:
        await alice._ask("devices.sign_out", SignOut(keep_current=keep), session=True)
        async with asyncio.timeout(10):
            await second.revoked.wait()
            if not keep:
                await alice.revoked.wait()
        assert await code_of(second._ask("account.get", session=True)) is ErrorCode.UNAUTHENTICATED
        if keep:
            assert [d.current for d in (await alice._ask("devices.list", session=True)).devices] == [True]
        else:
            assert await code_of(alice._ask("account.get", session=True)) is ErrorCode.UNAUTHENTICATED


async def test_a_deleted_account_leaves_nothing_but_its_id_in_the_history_of_others(hub, redis, book_redis, caplog):
    caplog.set_level(logging.INFO)
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        second = await stack.enter_async_context(second_device(hub, alice))
        account, device = alice.profile.account, alice.profile.device
        await bob._ask("blocks.add", session=True, account=account)
        await bob._ask("blocks.remove", session=True, account=account)
        call = await alice.call(bob.profile.account, track=ToneTrack(440))
        await (await rung(bob)).decline()
        await history_of(alice, call.id)
        await history_of(bob, call.id)
        await alice._ask("blocks.add", session=True, account=bob.profile.account)
        told = hearing(bob, ContactsChanged)
        await alice.delete_account()
        async with asyncio.timeout(10):
            await alice.revoked.wait()
            await second.revoked.wait()
            assert (await told.get()).removed == [account]
        async with hub.hub.database.begin() as connection:
            for table in metadata.sorted_tables:
                rows = (await connection.execute(select(table))).mappings().all()
                kept = [row for row in rows if account in repr(dict(row)) or device in repr(dict(row)) or ALICE in repr(dict(row))]
                if table.name == "call_records":
                    assert [(row["account"], row["peer"]) for row in kept] == [(bob.profile.account, account)]
                else:
                    assert kept == [], table.name
        async with asyncio.timeout(10):
            while await redis.keys("link*"):  # noqa: ASYNC110 - how the second device came: gone at once, but after the answer
                await asyncio.sleep(0.005)
        for store in (redis, book_redis):
            text = await content(store)
            kept = [line for line in text.splitlines() if account in line or device in line or ALICE in line]
            assert kept == []
        assert await code_of(bob.devices_of(account)) is ErrorCode.NOT_FOUND
        assert await code_of(alice._ask("account.get", session=True)) is ErrorCode.UNAUTHENTICATED
        # the number is free again, for another account, and who has it sees it join
        anew = await register(hub, ALICE)
        stack.push_async_callback(anew.close)
        assert anew.profile.account != account
        async with asyncio.timeout(10):
            assert [match.account for match in (await told.get()).added] == [anew.profile.account]
        assert await anew.history() == []
        assert await anew.address_book() == {}
    for secret in (ALICE, BOB, "@kloudtalk.dev", alice.profile.token):
        assert secret not in caplog.text


async def test_registering_anew_keeps_the_account_and_empties_the_book(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        await bob.devices_of(alice.profile.account)  # from here on Bob's client knows Alice's identity key
        told = hearing(bob, DevicesChanged)
        anew = await register(hub, ALICE)
        stack.push_async_callback(anew.close)
        async with asyncio.timeout(10):
            await alice.revoked.wait()
            assert (await told.get()).account == alice.profile.account
        assert anew.profile.account == alice.profile.account
        assert (await anew._ask("contacts.get", session=True)).entries == []
        with pytest.raises(PermissionError, match="identity key"):
            await bob.devices_of(anew.profile.account)


async def test_the_history_is_paged_and_each_line_can_be_deleted(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        calls = []
        for _ in range(3):
            call = await alice.call(bob.profile.account, track=ToneTrack(440))
            await (await rung(bob)).decline()
            await history_of(alice, call.id)
            calls.append(call.id)

        async def page(**query: str):
            return await alice._rest.ask("calls.history", token=alice.profile.token, query=query)

        first = await page(limit="2")
        second = await page(limit="2", before=first.next)
        assert [r.call for r in (*first.calls, *second.calls)] == calls[::-1]
        assert "next" not in {f for f in second.__struct_fields__ if isinstance(getattr(second, f), str)}
        await alice._ask("calls.forget", session=True, call=calls[1])
        assert await code_of(alice._ask("calls.forget", session=True, call=calls[1])) is ErrorCode.NOT_FOUND
        assert [r.call for r in await alice.history()] == [calls[2], calls[0]]
        await alice._ask("calls.forget_all", session=True)
        assert await alice.history() == []
        await history_of(bob, calls[2])
        assert len(await bob.history()) == 3  # Bob's own lines are Bob's


# --- HTTP ------------------------------------------------------------------------------------------------------------------------


async def test_too_many_requests_of_one_address_are_told_when_to_come_again(hub):
    hub.hub.rest.limiter = AddressLimiter(scale=1 / 80)
    async with aiohttp.ClientSession() as http:
        answers = []
        for _ in range(4):
            async with http.get(hub.url + "/v1/server") as answer:
                answers.append((answer.status, "Retry-After" in answer.headers))
        assert answers == [(200, False)] * 3 + [(429, True)]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(hub.url + "/v1/ws", protocols=("kloudtalk.v1",))
        assert refused.value.status == 429


async def test_a_body_without_a_length_is_cut_off_at_the_limit(hub):
    async def endless():
        for _ in range(MAX_BODY // 65_536 + 40):
            yield b" " * 65_536

    async with aiohttp.ClientSession() as http, http.post(hub.url + "/v1/registration", data=endless()) as answer:
        assert (answer.status, (await answer.json())["code"]) == (413, "too_large")


async def test_a_listed_origin_may_ask_and_the_preflight_says_what(hub):
    hub.hub.rest.origins = frozenset({"https://app.example"})
    async with aiohttp.ClientSession(headers={"Origin": "https://app.example"}) as http:
        async with http.options(hub.url + "/v1/contacts") as answer:
            assert answer.status == 204
            assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
            assert answer.headers["Access-Control-Allow-Methods"] == "DELETE, GET, POST"
            assert "Access-Control-Allow-Credentials" not in answer.headers
        async with http.get(hub.url + "/v1/account") as answer:
            assert answer.status == 401
            assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
            assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_database_that_does_not_answer_is_unavailable_and_not_a_defect(hub, alice, caplog):
    async with hub.hub.database.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE devices RENAME TO away")
    hub.hub.events.sessions.forget(alice.profile.device)
    try:
        assert await code_of(alice._ask("account.get", session=True)) is ErrorCode.UNAVAILABLE
    finally:
        async with hub.hub.database.begin() as connection:
            await connection.exec_driver_sql("ALTER TABLE away RENAME TO devices")
    assert (await alice._ask("account.get", session=True)).phone == ALICE
    assert ALICE not in caplog.text
    assert "Traceback" not in caplog.text


async def test_names_for_turn_servers_are_random_and_tell_no_device(hub, monkeypatch):
    async with beside(hub, turn_urls=("turn:turn.example",), turn_secret="a secret of a TURN server") as with_turn:
        client = await register(with_turn, BOB)
        # at one moment, and for one device: nothing is left that a name could be made of
        with monkeypatch.context() as stopped:
            stopped.setattr(time, "time_ns", lambda: 1)
            given = [await client._ask("ice.servers", session=True) for _ in range(2)]
        names = [server.username for answer in given for server in answer.ice_servers if server.username]
        assert len(names) == len(set(names)) == 2
        await client.close()
