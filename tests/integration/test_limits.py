"""How often one may do things: counted in one Redis for all hubs, over real sockets; and what a blocked caller is told, and not."""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp
import pytest
from redis.asyncio import Redis
from sqlalchemy import insert, update

from signaling.contacts.store import ContactStore
from signaling.limits import script, service
from signaling.limits.rules import (
    HELLOS_OF_DEVICE,
    INVITES_TO_ACCOUNT,
    LIMITS,
    MOVES_OF_ACCOUNT,
    MOVES_OF_DEVICE,
    REQUESTS_FROM_ADDRESS,
    REQUESTS_OF_ACCOUNT,
    REQUESTS_OF_DEVICE,
    RINGS_BY_CONTACTS,
    RINGS_BY_STRANGERS,
    use,
)
from signaling.limits.service import Limits
from signaling.storage.tables import accounts, blocks
from tests.conftest import eventually
from tests.integration.hub_fixture import RunningHub, beside, running_hub, running_keyholder
from tests.phones import SEALED, Account, Phone, new_id, seed

PEPPER = b"a pepper"


# --- the count ---------------------------------------------------------------------------------------------------------------------


async def test_redis_counts_by_the_rule(redis):
    """The Lua and the pure rule, side by side, at times of the test's choice."""
    lua = script.TAKE.replace("{}, microseconds()", "{}, tonumber(ARGV[2])").replace(", 'PX', math.ceil((at - now) / 1000)", "")
    assert "microseconds()\nfor" not in lua
    assert "'PX'" not in lua
    rng, limits = random.Random(7), Limits(redis, PEPPER)
    now, numbers = 1_800_000_000_000_000, dict[str, int | None]()
    refusals = 0
    for _ in range(500):
        now += rng.choice((0, 0, 0, 1, 50_000, 1_000_000, 4_000_000))
        wanted = [limits.charge(rng.choice(LIMITS[:6]), rng.choice("ab")) for _ in range(rng.randint(1, 6))]
        tried, waits = dict(numbers), []
        for one in wanted:
            tried[one.key], wait = use(tried.get(one.key), one, now)
            waits.append(wait)
        if any(waits):
            refusals += 1
        else:
            numbers = tried
        [answer] = await redis.eval(lua, 1, "{limits}:", service._encode([wanted]), now)
        assert list(answer) == [part for position, wait in enumerate(waits) if wait for part in (position, wait)]
    assert 50 < refusals < 450
    for key, number in numbers.items():
        assert int(await redis.get(key)) == number


async def test_a_count_goes_by_itself_once_it_is_made_up_for(redis):
    limits = Limits(redis, PEPPER)
    for _ in range(3):
        assert await limits.take(limits.charge(INVITES_TO_ACCOUNT, "a>b")) == 0
    [key] = await redis.keys("{limits}:*")
    assert 2 * INVITES_TO_ACCOUNT.every < await redis.pttl(key) / 1000 <= 3 * INVITES_TO_ACCOUNT.every


async def test_what_is_asked_at_the_same_time_is_one_command_and_is_charged_in_turn(redis):
    limits = Limits(redis, PEPPER)
    await limits.take(limits.charge(RINGS_BY_STRANGERS, "b"))  # Redis knows the script from here on
    await redis.config_resetstat()
    waits = await asyncio.gather(*(limits.take(limits.charge(INVITES_TO_ACCOUNT, "a>b")) for _ in range(10)))
    assert [wait > 0 for wait in waits] == [False] * 6 + [True] * 4
    assert (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"] == 1


async def test_without_redis_nobody_is_kept_from_anything():
    limits = Limits(Redis(host="127.0.0.1", port=1), PEPPER)
    assert await limits.take(limits.charge(INVITES_TO_ACCOUNT, "a>b")) == 0


# --- two hubs ------------------------------------------------------------------------------------------------------------------------


@dataclass
class Pair:
    """Two hubs with the limits that a service has, and accounts that know each other, one device each but for the first, who has two."""

    hubs: tuple[RunningHub, RunningHub]
    people: list[Account]
    redis: Redis
    stack: AsyncExitStack

    async def phone(self, number: int, hub: int, device: int = 0) -> Phone:
        phone = Phone(self.people[number], list(self.people[number].devices)[device])
        self.stack.push_async_callback(phone.close)
        return await phone.connect(self.hubs[hub].url)

    async def wait(self, seconds: float) -> None:
        """As if that time had passed: what Redis remembers lies so much further back."""
        for key in await self.redis.keys("{limits}:*"):
            if (value := await self.redis.get(key)) is not None:  # it may have run out meanwhile
                await self.redis.set(key, int(value) - int(seconds * 1e6), keepttl=True, xx=True)


@pytest.fixture
async def pair(_valkeys, redis, book_redis, tmp_path) -> AsyncIterator[Pair]:
    url = f"sqlite+aiosqlite:///{tmp_path}/hub.db"
    async with AsyncExitStack() as stack:
        keyholder = await stack.enter_async_context(running_keyholder(tmp_path))
        stores = {"database_url": url, "redis_url": _valkeys[0].url, "book_url": _valkeys[1].url}
        hub = await stack.enter_async_context(running_hub(tmp_path, keyholder, **stores, limits_scale=1.0))
        other = await stack.enter_async_context(beside(hub, trusted_proxies=("127.0.0.0/8",)))
        people = await seed(hub.hub.database, book_redis, [2, 1, 1, 1, 1, 1])
        await eventually(lambda: len(hub.hub.cluster.nodes.others) == len(other.hub.cluster.nodes.others) == 1)
        async with AsyncExitStack() as phones:
            yield Pair((hub, other), people, redis, phones)


@pytest.fixture
def stopped(monkeypatch) -> None:
    """Time stands still where requests are counted, and they are waited for: how fast this machine answers is not what is tested."""
    still = script.TAKE.replace("redis.call('TIME')", "{'1800000000', '0'}").replace(", 'PX', math.ceil((at - now) / 1000)", "")
    assert "TIME" not in still
    assert "'PX'" not in still
    monkeypatch.setattr(service, "TAKE", still)
    monkeypatch.setattr(service, "_PATIENCE", 60.0)


async def try_to_call(phone: Phone, callee: Account) -> dict:
    """Invite, and cancel at once when that was taken. The answer to the invite."""
    call = new_id()
    answer = await phone.ask("call.invite", call=call, to=callee.id, payloads=dict.fromkeys(callee.devices, SEALED))
    if answer["type"] == "ok":
        await phone.ask("call.hangup", call=call)
    return answer


async def test_who_calls_and_cancels_again_and_again_waits_on_whatever_hub(pair):
    ann, again, ben = await pair.phone(0, 0), await pair.phone(0, 1, device=1), await pair.phone(1, 1)
    for _ in range(INVITES_TO_ACCOUNT.at_once):
        assert (await try_to_call(ann, pair.people[1]))["type"] == "ok"
        await ben.rings()
    refused = await try_to_call(again, pair.people[1])
    assert refused["code"] == "rate_limited"
    assert 0 < refused["retry_after"] <= INVITES_TO_ACCOUNT.every
    assert (await try_to_call(ann, pair.people[2]))["type"] == "ok"  # others can be called
    await pair.wait(refused["retry_after"])
    call = await again.invite(pair.people[1])
    assert await ben.rings() == call
    assert ben.incoming.empty()


async def test_a_victim_of_a_ring_flood_is_not_rung_more_often_than_may_be_and_nobody_can_tell(pair):
    ben = await pair.phone(1, 0)
    callers = [await pair.phone(number, number % 2) for number in (0, 2, 3, 4)]
    began = time.monotonic()
    answers = [await try_to_call(caller, pair.people[1]) for caller in callers for _ in range(INVITES_TO_ACCOUNT.at_once)]
    placed = len(callers) * INVITES_TO_ACCOUNT.at_once
    assert [(answer["type"], answer["stage"]) for answer in answers] == [("ok", "inviting")] * placed
    await ben.until(lambda: sum(stage == "ended:cancelled" for stage in ben.calls.values()) >= RINGS_BY_CONTACTS.at_once)
    # one call each 5 s may ring besides
    allowed = RINGS_BY_CONTACTS.at_once + (time.monotonic() - began) / RINGS_BY_CONTACTS.every + 1
    assert RINGS_BY_CONTACTS.at_once <= len(ben.calls) <= allowed
    assert len(ben.calls) < placed
    await pair.hubs[0].hub.history.write_all()
    await pair.hubs[1].hub.history.write_all()
    history = await pair.hubs[0].hub.history.page(ben.account.id, before=None, limit=100)
    assert len(history.calls) == placed  # but Ben sees who tried
    await pair.wait(RINGS_BY_CONTACTS.every)
    rung = len(ben.calls)
    call = await (await pair.phone(5, 1)).invite(pair.people[1])
    await ben.until(lambda: call in ben.calls)
    assert len(ben.calls) == rung + 1


async def test_strangers_who_ring_and_ring_do_not_keep_friends_away(pair, book_redis):
    ben_account = pair.people[1]
    async with pair.hubs[0].hub.database.begin() as connection:
        await connection.execute(update(accounts).values(who_can_call="everyone"))
    book = ContactStore(book_redis)
    strangers = [pair.people[2], pair.people[3]]
    await book.change(ben_account.id, {}, [stranger.token for stranger in strangers], reset=False, limit=1000)
    ben, ann = await pair.phone(1, 0), await pair.phone(0, 1)
    for number in (2, 3):
        phone = await pair.phone(number, number % 2)
        for _ in range(INVITES_TO_ACCOUNT.at_once):
            assert (await try_to_call(phone, ben_account))["type"] == "ok"
    await ben.until(lambda: sum(stage == "ended:cancelled" for stage in ben.calls.values()) >= RINGS_BY_STRANGERS.at_once)
    assert len(ben.calls) < 2 * INVITES_TO_ACCOUNT.at_once
    call = await ann.invite(ben_account)
    await ben.until(lambda: call in ben.calls)


async def test_a_blocked_caller_meets_the_same_limits_as_any_other(pair):
    async with pair.hubs[0].hub.database.begin() as connection:
        await connection.execute(insert(blocks).values(account=pair.people[1].id, blocked=pair.people[2].id, at=0))
    ben, blocked, other = await pair.phone(1, 0), await pair.phone(2, 1), await pair.phone(3, 1)
    seen = []
    for caller in (blocked, other):
        answers = [await try_to_call(caller, pair.people[1]) for _ in range(INVITES_TO_ACCOUNT.at_once + 2)]
        seen.append([(a["type"], a.get("stage"), a.get("code"), a.get("message"), a.get("retry_after", 0) // 10) for a in answers])
    assert seen[0] == seen[1]
    assert [kind for kind, *_ in seen[0]] == ["ok"] * INVITES_TO_ACCOUNT.at_once + ["error"] * 2
    assert len(ben.calls) == INVITES_TO_ACCOUNT.at_once


async def test_a_call_that_is_taken_over_again_and_again_stays_where_it_is_for_a_while(pair):
    one, other, ben = await pair.phone(0, 0), await pair.phone(0, 1, device=1), await pair.phone(1, 1)
    call = await one.invite(pair.people[1])
    assert await ben.rings() == call
    await ben.accept(call)
    await one.reaches(call, "connecting")
    await asyncio.gather(*(phone.ask("call.connected", call=call) for phone in (one, ben)))
    await asyncio.gather(*(phone.reaches(call, "connected") for phone in (one, ben)))
    began, moves = time.monotonic(), 0
    while True:
        here, there = (other, one) if moves % 2 == 0 else (one, other)
        answer = await here.ask("call.take_over", call=call, device=there.device, to=ben.device, payload=SEALED)
        if answer["type"] == "error":
            break
        moves += 1
    assert 0 <= moves - MOVES_OF_ACCOUNT.at_once <= (time.monotonic() - began) / MOVES_OF_ACCOUNT.every + 1
    assert answer["code"] == "rate_limited"
    assert 0 < answer["retry_after"] <= MOVES_OF_DEVICE.every
    assert (await there.ask("call.connected", call=call))["type"] == "ok"  # the call goes on
    await pair.wait(answer["retry_after"])
    assert (await here.ask("call.take_over", call=call, device=there.device, to=ben.device, payload=SEALED))["type"] == "ok"


async def test_who_asks_for_calls_that_are_not_there_waits(pair):
    ann = await pair.phone(0, 0)
    answers = [await ann.ask("call.take_over", call=new_id(), device=new_id(), to=new_id(), payload=SEALED) for _ in range(100)]
    codes = [answer["code"] for answer in answers]
    assert codes[:60] == ["unknown_call"] * 60
    assert "rate_limited" in codes
    assert all(answer["retry_after"] > 0 for answer in answers if answer["code"] == "rate_limited")


async def test_a_device_that_connects_again_and_again_is_told_to_wait(stopped, pair):
    ann = Phone(pair.people[0], next(iter(pair.people[0].devices)))
    pair.stack.push_async_callback(ann.close)
    for number in range(HELLOS_OF_DEVICE.at_once + 5):
        await ann.connect(pair.hubs[number % 2].url)
        if ann.close_code == 4429:
            break
    assert number == HELLOS_OF_DEVICE.at_once
    told = ann.events[-1]
    assert told["code"] == "rate_limited"
    assert 0 < told["retry_after"] <= HELLOS_OF_DEVICE.every
    await pair.wait(told["retry_after"])
    await ann.connect(pair.hubs[0].url)
    assert ann.close_code is None


# --- REST ----------------------------------------------------------------------------------------------------------------------------


async def ask(
    http: aiohttp.ClientSession, hub: RunningHub, path: str = "/v1/server", **headers: str
) -> tuple[int, str | None, dict]:
    async with http.get(hub.url + path, headers=headers) as answer:
        return answer.status, answer.headers.get("Retry-After"), await answer.json()


async def test_requests_of_an_address_are_counted_for_all_hubs_together(stopped, pair):
    async with aiohttp.ClientSession() as http:
        # half of what is allowed at once at each hub, then more at each
        for hub in pair.hubs:
            await asyncio.gather(*(ask(http, hub) for _ in range(REQUESTS_FROM_ADDRESS.at_once // 2)))
        for hub in pair.hubs:
            answers = await asyncio.gather(*(ask(http, hub) for _ in range(60)))
            refused = [(retry, body["retry_after"]) for status, retry, body in answers if status == 429]
            assert len(refused) == len(answers), "the other hub's requests do not count"
            assert all(0 < wait <= REQUESTS_FROM_ADDRESS.every and retry == "1" for retry, wait in refused)
        await pair.wait(REQUESTS_FROM_ADDRESS.every * 20)
        assert (await ask(http, pair.hubs[0]))[0] == 200


async def test_a_device_and_an_account_have_their_share_from_whatever_address(stopped, pair):
    token = next(iter(pair.people[0].devices.values()))
    addresses = (f"198.51.100.{number}" for number in itertools.count(1))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=20)) as http:
        answers = await asyncio.gather(
            *(
                ask(http, pair.hubs[1], "/v1/account", **{"Authorization": f"Bearer {token}", "X-Forwarded-For": next(addresses)})
                for _ in range(254)
            )
        )
    statuses = [status for status, _, _ in answers]
    assert statuses.count(200) == REQUESTS_OF_DEVICE.at_once
    assert statuses.count(429) == 254 - REQUESTS_OF_DEVICE.at_once
    assert REQUESTS_OF_ACCOUNT.at_once > 254  # it was the device's
    assert all(retry == "1" for status, retry, _ in answers if status == 429)


async def test_addresses_come_from_trusted_proxies_only_by_64_and_are_stored_nowhere(stopped, pair):
    trusting, direct = pair.hubs[1], pair.hubs[0]
    async with aiohttp.ClientSession() as http:

        async def from_address(hub: RunningHub, address: str, times: int = 1) -> set[int]:
            answers = await asyncio.gather(*(ask(http, hub, **{"X-Forwarded-For": address}) for _ in range(times)))
            return {status for status, _, _ in answers}

        assert 429 in await from_address(trusting, "2001:db8:0:7::1", REQUESTS_FROM_ADDRESS.at_once + 60)
        assert await from_address(trusting, "2001:db8:0:7:ffff::2", 40) == {429}
        assert await from_address(trusting, "2001:db8:0:8::1") == {200}
        # who is not behind the proxy cannot take another's name
        await from_address(direct, "2001:db8:0:9::1", 100)
        assert await from_address(trusting, "2001:db8:0:9::1", 200) == {200}
    keys = b" ".join(await pair.redis.keys("*"))
    assert b"{limits}:uses:requests_address:" in keys
    assert b"2001" not in keys
    assert b"127.0.0.1" not in keys


# --- what it costs ------------------------------------------------------------------------------------------------


OWN_TIME = {"{hub}:nodes", "presence:nodes", "{c0}:call_history"}
"""Keys of what the hub does in its own time: leases, and the history of calls that ended before."""


@pytest.mark.parametrize("relation", ["friends", "blocked", "nobody may call"])
async def test_policy_and_limits_take_no_round_trip_of_their_own(hub, book_redis, monkeypatch, relation):
    ann_account, ben_account = await seed(hub.hub.database, book_redis, [1, 1])
    async with hub.hub.database.begin() as connection:
        if relation == "blocked":
            await connection.execute(insert(blocks).values(account=ben_account.id, blocked=ann_account.id, at=0))
        elif relation == "nobody may call":
            await connection.execute(update(accounts).where(accounts.c.id == ben_account.id).values(who_can_call="nobody"))
    async with AsyncExitStack() as stack:
        phones = []
        for account in (ann_account, ben_account):
            phones.append(await Phone(account, next(iter(account.devices))).connect(hub.url))
            stack.push_async_callback(phones[-1].close)
        assert (await try_to_call(phones[0], ben_account))["type"] == "ok"  # looks the relation up
        await hub.hub.presence.connected.settled()
        asked: list[str] = []
        redis, execute, fetch = hub.hub.redis, hub.hub.redis.execute_command, hub.hub.database.fetch

        async def counted(*arguments, **options):
            if arguments[0] == "EVALSHA" and "{c0}:calls" in arguments:
                asked.append("calls")
            elif arguments[0] == "EVALSHA" and not OWN_TIME & set(arguments):
                asked.append(str(arguments[1]))
            return await execute(*arguments, **options)

        async def read(query):
            if "who_can_call" in str(query):
                asked.append("SQL")
            return await fetch(query)

        monkeypatch.setattr(redis, "execute_command", counted)
        monkeypatch.setattr(hub.hub.database, "fetch", read)
        call = new_id()
        answer = await phones[0].ask(
            "call.invite", call=call, to=ben_account.id, payloads=dict.fromkeys(ben_account.devices, SEALED)
        )
        assert answer["type"] == "ok"
        assert asked == ["calls"]
