"""Several hubs, one Redis, one database: a call does not notice on which hubs its devices are, and hardly when one of them goes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from signaling.storage.migrate import migrate
from signaling.storage.sql import Database
from tests.conftest import eventually
from tests.databases import new_postgres
from tests.integration.hub_fixture import RunningHub, running_hub, running_keyholder
from tests.phones import SEALED, Account, Phone, new_id, seed


@dataclass
class Town:
    """Hubs, and people who know each other; Ann has one device, Ben three."""

    hubs: list[RunningHub]
    ann: Account
    ben: Account
    stack: AsyncExitStack

    async def phone(self, account: Account, number: int, hub: int) -> Phone:
        phone = Phone(account, list(account.devices)[number])
        self.stack.push_async_callback(phone.close)
        return await phone.connect(self.hubs[hub].url)


@pytest.fixture
async def town(_postgres, _valkeys, redis, book_redis, tmp_path) -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        socket = await stack.enter_async_context(running_keyholder(tmp_path))
        url, hubs = await new_postgres(_postgres, migrate), []
        for _ in range(3):
            hubs.append(
                await stack.enter_async_context(
                    running_hub(tmp_path, socket, database_url=url, redis_url=_valkeys[0].url, book_url=_valkeys[1].url)
                )
            )
        # every hub knows of the others
        await eventually(lambda: all(len(hub.hub.cluster.nodes.others) == 2 for hub in hubs))
        database = Database(url)
        ann, ben = await seed(database, book_redis, [1, 3])
        await database.close()
        async with AsyncExitStack() as phones:
            yield Town(hubs, ann, ben, phones)


async def connected(town: Town, ann: Phone, ben: Phone) -> str:
    """A call that is up."""
    call = await ann.invite(town.ben)
    assert await ben.rings() == call
    await ben.ask("call.ringing", call=call)
    assert (await ben.accept(call))["type"] == "ok"
    await ann.reaches(call, "connecting")
    await asyncio.gather(ann.ask("call.connected", call=call), ben.ask("call.connected", call=call))
    await asyncio.gather(ann.reaches(call, "connected"), ben.reaches(call, "connected"))
    return call


def seqs(phone: Phone, call: str) -> list[int]:
    return [event["seq"] for event in phone.events if event.get("call") == call and "seq" in event]


async def test_a_call_across_hubs_from_invite_to_hangup(town):
    ann, ben, other = await town.phone(town.ann, 0, 0), await town.phone(town.ben, 0, 1), await town.phone(town.ben, 1, 2)
    call = await connected(town, ann, ben)
    assert await other.reaches(call, "ended:answered_elsewhere")
    await ann.ask("call.signal", call=call, to=ben.device, payload=SEALED)
    await ben.until(lambda: any(event["type"] == "call.signalled" for event in ben.events))
    await ben.ask("call.hangup", call=call)
    assert await ann.reaches(call, "ended:hangup") == ben.calls[call]
    for phone in (ann, ben):
        assert seqs(phone, call) == sorted(set(seqs(phone, call)))  # nothing twice, nothing out of order
    assert {event["seq"] for event in ann.events if event["type"] == "call.up"} == {
        event["seq"] for event in ben.events if event["type"] == "call.up"
    }


async def test_a_hub_whose_inbox_answers_with_an_error_for_a_moment_reads_on(town, redis):
    ann, ben = await town.phone(town.ann, 0, 0), await town.phone(town.ben, 0, 1)
    nodes = town.hubs[1].hub.cluster.nodes
    errors: list[bool] = []
    nodes.missed = lambda: errors.append(True)
    await redis.set(f"inbox:{nodes.node}", "no list")  # any answer that is an error; a Redis that starts or is full gives others
    await eventually(lambda: errors)
    await redis.delete(f"inbox:{nodes.node}")
    await connected(town, ann, ben)


async def test_two_accepts_at_once_on_two_hubs_have_one_winner(town):
    ann, one, other = await town.phone(town.ann, 0, 0), await town.phone(town.ben, 0, 1), await town.phone(town.ben, 1, 2)
    for _ in range(10):
        call = await ann.invite(town.ben)
        await asyncio.gather(one.rings(), other.rings())
        answers = await asyncio.gather(one.accept(call), other.accept(call))
        assert sorted(answer["type"] for answer in answers) == ["error", "ok"]
        assert next(a["code"] for a in answers if a["type"] == "error") == "answered_elsewhere"
        loser = one if answers[0]["type"] == "error" else other
        await loser.reaches(call, "ended:answered_elsewhere")
        await ann.reaches(call, "connecting")
        assert sum(event["type"] == "call.answered" and event["call"] == call for event in ann.events) == 1
        await ann.ask("call.hangup", call=call)
        await (other if loser is one else one).reaches(call, "ended:hangup")


async def test_a_cancel_that_races_an_accept_ends_the_same_on_both_sides(town):
    ann, ben = await town.phone(town.ann, 0, 0), await town.phone(town.ben, 0, 1)
    for _ in range(10):
        call = await ann.invite(town.ben)
        await ben.rings()
        await asyncio.gather(ann.ask("call.hangup", call=call), ben.accept(call))
        ends = await asyncio.gather(
            ann.reaches(call, "ended:cancelled", "ended:hangup"), ben.reaches(call, "ended:cancelled", "ended:hangup")
        )
        assert ends[0] == ends[1]


async def test_a_decline_on_one_hub_silences_the_device_on_another(town):
    ann, one, other = await town.phone(town.ann, 0, 0), await town.phone(town.ben, 0, 1), await town.phone(town.ben, 1, 2)
    call = await ann.invite(town.ben)
    await asyncio.gather(one.rings(), other.rings())
    await one.ask("call.decline", call=call)
    for phone in (ann, one, other):
        assert await phone.reaches(call, "ended:declined")


@pytest.mark.parametrize("lower", ["ann", "ben"])
async def test_glare_across_hubs_leaves_one_call(town, lower):
    ann, ben = await town.phone(town.ann, 0, 0), await town.phone(town.ben, 0, 1)
    ids = sorted((new_id(), new_id()))
    hers, his = ids if lower == "ann" else reversed(ids)
    await asyncio.gather(ann.invite(town.ben, hers), ben.invite(town.ann, his))
    survivor, loser = ids
    taker, caller = (ben, ann) if survivor == hers else (ann, ben)
    await taker.until(
        lambda: any(e["type"] == "call.incoming" and e["call"] == survivor and e.get("accepted") for e in taker.events)
    )
    await taker.accept(survivor)
    await caller.reaches(survivor, "connecting")
    assert all(phone.calls.get(loser, "ended:answered_elsewhere").startswith("ended") for phone in (ann, ben))
    await asyncio.gather(*(phone.ask("call.connected", call=survivor) for phone in (ann, ben)))
    await asyncio.gather(*(phone.reaches(survivor, "connected") for phone in (ann, ben)))


async def test_a_device_that_changes_hubs_stays_in_its_call(town):
    ann, ben = await town.phone(town.ann, 0, 0), await town.phone(town.ben, 0, 1)
    call = await connected(town, ann, ben)
    await ben.connect(town.hubs[2].url)  # and at once, as when a network changes
    assert ben.calls[call] == "connected"
    await ann.ask("call.signal", call=call, to=ben.device, payload=SEALED)
    await ben.until(lambda: sum(event["type"] == "call.signalled" for event in ben.events) == 1)
    await ben.ask("call.signal", call=call, to=ann.device, payload=SEALED)
    await ann.until(lambda: any(event["type"] == "call.signalled" for event in ann.events))
    await ben.ask("call.hangup", call=call)
    await ann.reaches(call, "ended:hangup")


async def test_the_newer_socket_of_a_device_replaces_the_older_on_another_hub(town):
    ben = await town.phone(town.ben, 0, 1)
    again = Phone(town.ben, ben.device)
    town.stack.push_async_callback(again.close)
    await again.connect(town.hubs[2].url)
    await ben.until(lambda: ben.close_code is not None)
    assert ben.close_code == 4409
    call = await (await town.phone(town.ann, 0, 0)).invite(town.ben)
    assert await again.rings() == call


async def test_a_device_that_connects_while_it_rings_hears_it_on_any_hub(town):
    ann = await town.phone(town.ann, 0, 0)
    call = await ann.invite(town.ben)
    ben = await town.phone(town.ben, 1, 2)
    assert await ben.rings() == call
    await ben.accept(call)
    await ann.reaches(call, "connecting")


async def test_a_hub_that_shuts_down_hands_its_devices_over_and_no_call_notices(town):
    ann, ben = await town.phone(town.ann, 0, 0), await town.phone(town.ben, 0, 1)
    call = await connected(town, ann, ben)
    await town.hubs[1].hub.sockets.close()
    await ben.until(lambda: ben.close_code is not None)
    assert ben.close_code == 1001
    await ben.connect(town.hubs[2].url)
    assert ben.calls[call] == "connected"
    assert ann.calls[call] == "connected"
    await ben.ask("call.hangup", call=call)
    await ann.reaches(call, "ended:hangup")


async def test_blocks_and_removed_devices_take_effect_on_every_hub(town, book_redis):
    ann, ben = await town.phone(town.ann, 0, 0), await town.phone(town.ben, 0, 1)
    first = await ann.invite(town.ben)
    await ben.rings()
    await ann.ask("call.hangup", call=first)
    await ben.reaches(first, "ended:cancelled")
    # Ben blocks Ann on a hub that neither is connected to
    await town.hubs[2].hub.events.contacts.block(town.ben.id, town.ann.id)
    relations = town.hubs[0].hub.events.relations
    await eventually(lambda: relations.known(town.ann.id, town.ben.id) is None)
    await ann.invite(town.ben)
    await ann.ask("ping")
    assert ben.incoming.empty()
    town.hubs[2].hub.events.devices_removed(town.ben.id, [ben.device])
    await ben.until(lambda: ben.close_code is not None)
    assert ben.close_code == 4401


async def test_deadlines_of_a_dead_hub_are_kept_by_another(town):
    ann, ben = await town.phone(town.ann, 0, 0), await town.phone(town.ben, 0, 1)
    call = await connected(town, ann, ben)
    hub = town.hubs[0].hub
    # as by kill -9: nothing is released, nothing said; the lease runs out
    await hub.cluster.nodes.abandon()
    for connection in tuple(hub.sockets._heartbeat):
        connection.abort()
    await eventually(lambda: hub.cluster.node not in town.hubs[1].hub.cluster.nodes.others, timeout=20)
    survivors = town.hubs[1].hub, town.hubs[2].hub
    await eventually(lambda: any(_away(h, call) for h in survivors), timeout=20)
    await ann.connect(town.hubs[2].url)
    assert ann.calls[call] == "connected"
    await ann.ask("call.hangup", call=call)
    await ben.reaches(call, "ended:hangup")


def _away(hub, call: str) -> bool:
    pair = hub.calls._by_call.get(call)
    return pair is not None and bool(pair.calls[call].away)


async def test_what_is_for_a_device_on_another_hub_is_sent_when_redis_answers_again(town, monkeypatch):
    ann, ben = await town.phone(town.ann, 0, 0), await town.phone(town.ben, 0, 1)
    call = await connected(town, ann, ben)
    bus, tries = town.hubs[0].hub.cluster._bus, []
    push = bus._push

    async def fails(node, messages):
        tries.append(node)
        if len(tries) < 3:
            raise ConnectionError
        await push(node, messages)

    monkeypatch.setattr(bus, "_push", fails)
    monkeypatch.setattr("signaling.cluster.bus._RETRY", 0.05)
    await ann.ask("call.signal", call=call, to=ben.device, payload=SEALED)
    await ben.until(lambda: any(event["type"] == "call.signalled" for event in ben.events))


async def test_an_erased_account_s_calls_end_even_where_nobody_heard_of_it(town, monkeypatch):
    """Else that hub would write of the call after everything of the account was erased (P23)."""
    ann, ben = await town.phone(town.ann, 0, 0), await town.phone(town.ben, 0, 0)
    await connected(town, ann, ben)
    deaf, other = town.hubs[0].hub, town.hubs[1].hub
    monkeypatch.setattr(deaf.cluster, "_handle", lambda _message: None)
    assert await other.calls.live_of(town.ben.id) != []
    await other.erasure.erase_account(town.ann.id)
    await eventually(lambda: town.ann.id not in other.owed)
    assert await other.calls.live_of(town.ben.id) == []
    kept = await other.traces.known_to(town.ann.id)
    assert kept == []
