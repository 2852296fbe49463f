"""Two hubs on a Redis Cluster, and on a master that Sentinel replaces: calls between them work, and outlive the master."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from signaling.calls.samples import HeardSample
from signaling.limits.rules import INVITES_TO_ACCOUNT
from signaling.limits.service import Limits
from signaling.operators.limits import FAILURES
from signaling.storage.redis import any_redis_client
from signaling.storage.scrub import AppendOnlyFile
from signaling.storage.sql import Database
from signaling.wire.errors import Refused
from signaling.wire.rest import Channel, StartChange, StartRegistration
from tests.conftest import eventually
from tests.integration.hub_fixture import register, running_hub, running_keyholder
from tests.integration.test_many_hubs import Town, connected
from tests.phones import SEALED, Phone, new_id, seed
from tests.redis_servers import redis_cluster, redis_sentinel


@asynccontextmanager
async def town_on(redis_url: str, database_url: str, book_url: str, book_redis, folder) -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        socket = await stack.enter_async_context(running_keyholder(folder))
        hubs = [
            await stack.enter_async_context(
                running_hub(folder, socket, database_url=database_url, redis_url=redis_url, book_url=book_url)
            )
            for _ in range(2)
        ]
        await eventually(lambda: all(len(hub.hub.cluster.nodes.others) == 1 for hub in hubs))
        database = Database(database_url)
        ann, ben = await seed(database, book_redis, [1, 2])
        await database.close()
        yield Town(hubs, ann, ben, stack)


async def what_operators_see(town: Town, ann: Phone, ben: Phone, ended: str) -> None:
    """Figures, traces, what devices heard, limits of sign-ins: on a cluster their keys are on different nodes."""
    hub, beside = (one.hub for one in town.hubs)
    latency = hub.redis.latency.seconds.counts
    counted = sum(latency)
    await hub.redis.pipeline(transaction=False).set("a", 1).set("b", 1).set("c", 1).execute()
    assert sum(latency) > counted, "pipelines are measured, as commands are"
    call = await connected(town, ann, ben)
    for side, account in enumerate((town.ann, town.ben)):
        await hub.heard.add(account.id, call, side, HeardSample(time.time(), 0.3, 0.01, 0.05, 2.0))
    for one in (hub, beside):
        await one.operations._loads.say(0.001)
    seen = await beside.operations.view.overview()
    assert {info.hub for info in seen.hubs if info.version} == {hub.cluster.node, beside.cluster.node}
    (live,) = (await beside.operations.view.live()).calls
    assert (live.call, live.heard) == (call, [2.0])
    await beside.operations.actions.end_call(call)
    for phone in (ann, ben):
        await phone.reaches(call, "ended:unavailable")
    for one in (hub, beside):
        await one.operations.written()
    assert [c.call for c in (await beside.operations.view.ended()).calls] == [call, ended]
    assert [c.call for c in (await beside.operations.view.ended(account=hub.pseudonyms.of(town.ann.id))).calls] == [call, ended]
    figures = await beside.operations.view.call_figures(1)
    assert (figures.calls, figures.reasons) == (2, {"hangup": 1, "unavailable": 1})
    assert {point.side for point in (await beside.operations.view.call(call)).quality} == {0, 1}
    assert await hub.traces.sweep() == 0
    counters = hub.operators.limits.sign_in("ada", "192.0.2.1", "")
    for _ in range(FAILURES):
        await hub.operators.limits.take(counters)
    with pytest.raises(Refused):
        await beside.operators.limits.take(counters)
    await hub.operators.limits.unlock("ada")
    await beside.operators.limits.take(counters)
    await beside.operators.limits.succeeded(counters)
    await hub._forget_traces(town.ann.id)
    assert (await beside.operations.view.ended()).calls == []
    assert await hub.heard.of_account(town.ann.id) == {}
    assert set(await hub.heard.of_account(town.ben.id)) == {call}


async def test_calls_across_hubs_on_a_redis_cluster(empty_postgres, book_url, book_redis, tmp_path):
    async with redis_cluster(tmp_path) as url, town_on(url, empty_postgres, book_url, book_redis, tmp_path) as town:
        ann, one, other = await town.phone(town.ann, 0, 0), await town.phone(town.ben, 0, 1), await town.phone(town.ben, 1, 0)
        call = await connected(town, ann, one)
        await other.reaches(call, "ended:answered_elsewhere")
        await ann.ask("call.signal", call=call, to=one.device, payload=SEALED)
        await one.until(lambda: any(event["type"] == "call.signalled" for event in one.events))
        await one.connect(town.hubs[0].url)
        assert one.calls[call] == "connected"
        await one.ask("call.hangup", call=call)
        await ann.reaches(call, "ended:hangup")
        async with asyncio.timeout(40):
            # the other hub may just be writing it, and tries again after a while if a store did not answer
            while not (lines := await town.hubs[1].hub.history.page(town.ann.id, before=None, limit=10)).calls:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert [line.call for line in lines.calls] == [call]
        await what_operators_see(town, ann, one, call)
        # limits are counted on one node, for calls on any
        limits = Limits(town.hubs[0].hub.redis, b"pepper")
        for hub in town.hubs:
            hub.hub.calls._limits = limits
        answers = []
        for _ in range(INVITES_TO_ACCOUNT.at_once + 1):
            call = new_id()
            payloads = dict.fromkeys(town.ben.devices, SEALED)
            answers.append(await ann.ask("call.invite", call=call, to=town.ben.id, payloads=payloads))
            await ann.ask("call.hangup", call=call)
        assert [answer["type"] for answer in answers] == ["ok"] * INVITES_TO_ACCOUNT.at_once + ["error"]
        assert 0 < answers[-1]["retry_after"] <= INVITES_TO_ACCOUNT.every


async def keys_of(redis) -> list[str]:
    """Every key on every node."""
    await redis.initialize()
    return [key.decode() for node in redis.get_primaries() for key in await node.execute_command("KEYS", "*")]


async def test_accounts_come_change_and_go_on_a_redis_cluster(empty_postgres, book_url, book_redis, tmp_path):
    """Registration, a change of the address, a device link, deletion: of none of them anything stays in the cluster (P23)."""
    async with (
        redis_cluster(tmp_path) as url,
        running_keyholder(tmp_path) as keyholder,
        running_hub(tmp_path, keyholder, database_url=empty_postgres, redis_url=url, book_url=book_url) as hub,
    ):
        started = StartRegistration("+4930901821", "somebody@kloudtalk.dev", hub.hub.settings.policy_version)
        client = await register(hub, "+4930901820")
        try:
            await client._ask("registration.start", started)  # and never goes on with it
            await client._ask("account.start_change", StartChange(Channel.EMAIL, "another@kloudtalk.dev"), session=True)
            await client.open_link()
            assert any(key.startswith("registration:") for key in await keys_of(hub.hub.redis))
            await client.delete_account()
        finally:
            await client.close()
        await eventually(lambda: not hub.hub.owed.keys())
        left = [key for key in await keys_of(hub.hub.redis) if key.startswith(("registration", "link"))]
        theirs = hub.hub.erasure._handles(started.phone, started.email)
        assert sorted(key for key in left if key.startswith("registrations:")) == sorted(theirs)
        assert len([key for key in left if key.startswith("registration:")]) == 1
        assert len(left) == 3


async def test_append_only_files_of_every_node_are_rewritten(tmp_path):
    async with redis_cluster(tmp_path) as url:
        redis = any_redis_client(url)
        await redis.initialize()
        for node in redis.get_nodes():
            await node.execute_command("CONFIG", "SET", "appendonly", "yes")
        file = AppendOnlyFile(redis)
        await file.rewrite()  # the first is still being written
        names = [f"somebody-{number}" for number in range(20)]
        for name in names:
            await redis.set(name, "a person's word")
            await redis.delete(name)

        def on_disk() -> set[str]:
            files = b"".join(path.read_bytes() for path in tmp_path.glob("node*/appendonlydir/*"))
            return {name for name in names if name.encode() in files}

        assert on_disk() == set(names)
        await file.rewrite()
        assert on_disk() == set()
        await redis.aclose()


async def test_a_call_outlives_the_master_that_sentinel_replaces(empty_postgres, book_url, book_redis, tmp_path):
    async with (
        redis_sentinel(tmp_path) as (url, master),
        town_on(url, empty_postgres, book_url, book_redis, tmp_path) as town,
    ):
        ann, ben = await town.phone(town.ann, 0, 0), await town.phone(town.ben, 0, 1)
        call = await connected(town, ann, ben)
        master.kill()
        async with asyncio.timeout(40):
            while (answer := await ben.ask("call.hangup", call=call))["type"] != "ok":  # as the SDK asks again
                assert answer["code"] in ("unavailable", "unknown_call"), answer
                await asyncio.sleep(0.5)
        await ann.reaches(call, "ended:hangup", "ended:sync")
