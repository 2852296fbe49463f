"""What is told to a device at a hub that it has left, or that is dead: the device hears it all the same.

The hubs are real call services on one Redis; the inboxes between them are emptied when the test says so (``calls_town.py``).
"""

from collections.abc import AsyncIterator

import pytest

from signaling.calls.machine import Call
from signaling.calls.pair import ABSENT, next_version
from signaling.calls.store import LATE, CallStore, Change, binary
from signaling.cluster.bus import inbox
from signaling.storage.sql import Database
from signaling.storage.tables import metadata
from signaling.wire import messages as m
from tests.conftest import Clock
from tests.integration.calls_town import SEALED, Town, name, people

A1, B1 = name("a1"), name("b1")


@pytest.fixture
async def town(_valkeys, redis, tmp_path) -> AsyncIterator[Town]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/town.db")
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await people(database)
    town = Town(_valkeys[0].url, redis, database, Clock())
    for who, to in (("A", "B"), ("B", "A")):
        await town.relations.load(name(who), name(to))
    await town.connect(A1, town.hubs[0])
    await town.connect(B1, town.hubs[1])
    yield town
    for hub in town.hubs:
        await hub.crash()
    await database.close()


async def talking(town: Town) -> Call:
    """A call of A1 that B1 has taken, and that is up; everything was heard."""
    payloads = {name(device): SEALED for device in ("b1", "b2", "b3")}
    call = name("call")
    steps = [
        (A1, lambda n: m.CallInvite(n, call, name("B"), payloads)),
        (B1, lambda n: m.CallAccept(n, call, SEALED)),
        (A1, lambda n: m.CallConnected(n, call)),
        (B1, lambda n: m.CallConnected(n, call)),
    ]
    for who, make in steps:
        town.request(make, who)
        await town.quiet()
    (stored,) = (await town.stored()).values()
    assert stored.stage is m.Stage.CONNECTED
    return stored


async def settled(town: Town) -> None:
    """What the living have to say to each other is heard; nobody is buried."""
    for _ in range(20):
        await town.settle()
        if not sum([await hub.hear(1000) for hub in town.hubs]):
            return
    raise AssertionError("hubs never stop talking")


async def test_news_for_a_dead_hubs_inbox_reach_the_device_that_has_come_elsewhere(town):
    call = await talking(town)
    await town.crash(town.hubs[1])  # B1's
    b1_hub = town.hubs[1]
    await town.connect(B1, b1_hub)
    town.request(lambda n: m.CallHangup(n, call.id), A1)  # its hub has not heard yet where B1 is now
    await settled(town)
    assert town.clients[B1].live == {}


async def test_sealed_payloads_for_a_dead_hubs_inbox_reach_the_device_that_has_come_elsewhere(town):
    call = await talking(town)
    heard: list[int] = []
    sync = town.clients[B1].sync
    town.clients[B1].sync = lambda views, elsewhere: (heard.append(len(views[0].payloads or ())), sync(views, elsewhere))
    await town.crash(town.hubs[1])
    await town.connect(B1, town.hubs[1])
    assert heard == [1]  # the invite's
    town.request(lambda n: m.CallSignal(n, call.id, B1, SEALED), A1)
    await settled(town)
    assert heard[-1] == 2


async def test_what_was_written_to_a_socket_that_was_replaced_elsewhere_is_told_again(town):
    call = await talking(town)
    await town.connect(A1, town.hubs[1])
    await settled(town)
    await town.connect(B1, town.hubs[2], noticed=False)  # its old hub, A1's, still writes to the old socket
    town.request(lambda n: m.CallHangup(n, call.id), A1)
    await town.hubs[1].settle()
    assert call.id in town.clients[B1].live
    await settled(town)
    assert town.clients[B1].live == {}


async def test_an_old_state_that_comes_late_does_not_bring_an_ended_call_back(town):
    call = await talking(town)
    town.request(lambda n: m.CallSignal(n, call.id, B1, SEALED), A1)
    await town.connect(B1, town.hubs[2])  # tells A1's hub so, with the call as it stands
    await town.hubs[2].settle()
    await town.hubs[2].flush()
    town.request(lambda n: m.CallHangup(n, call.id), A1)
    await town.hubs[0].settle()
    assert len(town.hubs[0].service) == 0
    await settled(town)
    assert len(town.hubs[0].service) == 0
    assert town.clients[B1].live == {}


async def test_what_a_hub_was_never_told_it_finds_out_by_comparing_and_the_device_hears_it(town):
    call = await talking(town)
    town.request(lambda n: m.CallHangup(n, call.id), A1)
    await town.hubs[0].settle()
    await town.hubs[0].flush()
    assert await town.redis.delete(inbox(town.hubs[1].node)) == 1
    await town.hubs[1].service.compare()
    await settled(town)
    assert call.id in town.clients[B1].live  # the news may just be on the way
    await town.hubs[1].service.compare()
    await settled(town)
    assert town.clients[B1].live == {}
    assert len(town.hubs[1].service) == 0


async def test_comparing_leaves_alone_what_was_heard_meanwhile(town):
    call = await talking(town)
    town.request(lambda n: m.CallSignal(n, call.id, B1, SEALED), A1)
    await settled(town)
    for hub in town.hubs:
        for _ in range(2):
            await hub.service.compare()
        assert hub.resyncs == []


async def test_an_answer_that_was_lost_on_the_way_is_found_by_comparing(town):
    call = name("call")
    town.request(lambda n: m.CallInvite(n, call, name("B"), {name(d): SEALED for d in ("b1", "b2", "b3")}), A1)
    await town.quiet()
    town.request(lambda n: m.CallAccept(n, call, SEALED), B1)
    await town.hubs[1].settle()
    assert await town.redis.delete(inbox(town.hubs[0].node)) == 1
    for _ in range(2):
        await town.hubs[0].service.compare()
    await settled(town)
    assert town.clients[A1].live == {call: m.Stage.CONNECTING}


async def test_news_that_a_dead_hub_has_not_read_reach_its_devices_when_it_is_buried(town):
    call = await talking(town)
    town.request(lambda n: m.CallSignal(n, call.id, B1, SEALED), A1)
    await town.hubs[0].settle()
    await town.hubs[0].flush()
    assert await town.redis.llen(inbox(town.hubs[1].node)) == 1
    await town.crash(town.hubs[1])
    await town.connect(B1, town.hubs[1])
    await town.crash(town.hubs[0])  # nobody is left who knows what B1 was told
    synced: list[int] = []
    sync = town.clients[B1].sync
    town.clients[B1].sync = lambda views, elsewhere: (synced.append(len(views)), sync(views, elsewhere))
    await town.quiet()
    assert synced == [1]


async def test_a_device_that_came_while_a_call_was_stored_by_a_hub_that_died_at_once_rings(town):
    payloads = {name(device): SEALED for device in ("b1", "b2", "b3")}
    b2 = name("b2")
    dying = town.hubs[0]
    dying.service._latecomers = lambda _devices: None  # it dies before
    town.request(lambda n: m.CallInvite(n, name("call"), name("B"), payloads), A1)
    views, _ = await town.hubs[1].service.attach(town.session(b2))  # just before the call is stored
    assert views == []
    town.routes[b2] = town.hubs[1].node
    town.hubs[1].online.add(b2)
    await dying.settle()
    await town.crash(dying)
    await town.quiet()
    assert set(town.clients[b2].live) == {name("call")}


async def test_a_change_that_comes_too_late_is_not_done(redis, clock):
    seconds, _ = await redis.time()
    clock.now = float(seconds)
    store = CallStore(redis, clock=clock)
    change = Change(
        "k" * 20, binary(ABSENT), binary(next_version(ABSENT, store.nonce())), False, False, ("a", "b"), "+inf", [], [], []
    )
    clock.advance(-LATE - 5)
    with pytest.raises(TimeoutError):
        await store.commit([change])
    assert await store.counters(["k" * 20]) == [0]
    clock.advance(LATE + 5)
    assert await store.commit([change]) == [None]
    assert await store.counters(["x" * 20, "k" * 20]) == [0, 1]


async def test_a_state_that_came_without_what_the_device_was_to_be_told_is_told_by_sync(town):
    call = name("call")
    town.request(lambda n: m.CallInvite(n, call, name("B"), {name(d): SEALED for d in ("b1", "b2", "b3")}), A1)
    await town.quiet()
    town.request(lambda n: m.CallAccept(n, call, SEALED), B1)
    await town.hubs[1].settle()
    assert await town.redis.delete(inbox(town.hubs[0].node)) == 1  # that it was answered
    await town.hubs[1].service.attach(town.session(B1))  # tells the other hub how the call stands, and nothing for its devices
    await settled(town)
    assert town.clients[A1].live == {call: m.Stage.INVITING}
    town.clock.advance(2)
    for _ in range(2):
        await town.hubs[0].service.compare()
    await settled(town)
    assert town.clients[A1].live == {call: m.Stage.CONNECTING}
