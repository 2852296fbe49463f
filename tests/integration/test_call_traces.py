"""What operators are left with of a call that ended: complete for support, under pseudonyms, and gone with the account (P17, P22, P23)."""

from contextlib import AsyncExitStack

from signaling.calls.machine import What
from signaling.calls.trace import rung_of
from signaling.calls.traces import Traces
from signaling.storage.tables import blocks
from signaling.wire.messages import Reason, Rung
from tests.integration.hub_fixture import beside
from tests.phones import Phone, seed


async def connected(caller: Phone, callee: Phone) -> str:
    """A call with media at both ends."""
    call = await caller.invite(callee.account)
    assert await callee.rings() == call
    await callee.ask("call.ringing", call=call)
    await callee.accept(call)
    await caller.reaches(call, "connecting")
    assert (await callee.ask("call.connected", call=call, rung="direct"))["type"] == "ok"
    assert (await caller.ask("call.connected", call=call, rung="turn_udp"))["type"] == "ok"
    for phone in (caller, callee):
        await phone.reaches(call, "connected")
    return call


async def phones(hub, stack: AsyncExitStack, *urls: str) -> list[Phone]:
    people = await seed(hub.hub.database, hub.hub.book_redis, [1] * len(urls))
    made = [Phone(person, next(iter(person.devices))) for person in people]
    for phone, url in zip(made, urls, strict=True):
        await phone.connect(url)
        stack.push_async_callback(phone.close)
    return made


async def test_a_trace_has_every_stage_and_both_rungs(hub, redis):
    async with AsyncExitStack() as stack:
        alice, bob = await phones(hub, stack, hub.url, hub.url)
        call = await connected(alice, bob)
        assert await hub.hub.traces.find(call) is None, "it goes on"
        assert (await alice.ask("call.moved", call=call, rung="relay"))["type"] == "ok"
        live = await hub.hub.calls.live_call(call)
        assert live is not None
        assert rung_of(live.trail) is Rung.RELAY
        assert hub.hub.calls.placed_here() == {"connected": 1}
        await alice.ask("call.hangup", call=call)
        trace = await hub.hub.traces.find(call)
    assert trace is not None
    assert [(mark.what, mark.side, mark.rung) for mark in trace.trail] == [
        (What.RANG, 1, None),
        (What.TAKEN, 1, None),
        (What.MEDIA, 1, Rung.DIRECT),
        (What.MEDIA, 0, Rung.TURN_UDP),
        (What.MOVED, 0, Rung.RELAY),
    ]
    assert (trace.reason, trace.hub) == (Reason.HANGUP, hub.hub.cluster.node)
    of = hub.hub.pseudonyms.of
    assert (trace.caller, trace.callee) == (of(alice.account.id), of(bob.account.id))
    assert alice.account.id.encode() not in await redis.get(f"{{c0}}:trace:{call}")
    assert 0 < await redis.ttl(f"{{c0}}:trace:{call}") <= 72 * 3600
    assert [t.id for t in await hub.hub.traces.newest(10)] == [call]
    assert [t.id for t in await hub.hub.traces.newest(10, pseudonym=of(bob.account.id))] == [call]


async def test_an_operator_ends_a_call_of_another_hub(hub):
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(beside(hub))
        third = await stack.enter_async_context(beside(hub))
        alice, bob = await phones(hub, stack, hub.url, other.url)
        call = await connected(alice, bob)
        assert [c.id for c in (await third.hub.calls.live(10))[1]] == [call]
        assert await third.hub.calls.stop(call)
        for phone in (alice, bob):
            assert await phone.reaches(call, "ended:unavailable")
        assert not await third.hub.calls.stop(call), "it is over"
        assert (await hub.hub.traces.find(call)).reason is Reason.UNAVAILABLE


async def test_a_trace_goes_with_either_account_and_is_the_other_s_to_export_until_then(hub, redis):
    async with AsyncExitStack() as stack:
        alice, bob = await phones(hub, stack, hub.url, hub.url)
        call = await connected(alice, bob)
        await bob.ask("call.hangup", call=call)
        exported = [t.id for t in await hub.hub.traces.known_to(bob.account.id)]
        assert exported == [call]
        await hub.hub.erasure.erase_account(alice.account.id)
        await hub.hub.erasure.settle_all()
        assert await hub.hub.traces.find(call) is None
        assert await hub.hub.traces.newest(10) == []
        assert await redis.keys("*traces_of:" + hub.hub.pseudonyms.of(alice.account.id)) == []
        assert await hub.hub.traces.known_to(bob.account.id) == []


async def test_who_blocked_the_caller_does_not_find_the_call_in_the_export(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await phones(hub, stack, hub.url, hub.url)
        async with hub.hub.database.begin() as connection:
            await connection.execute(blocks.insert().values(account=bob.account.id, blocked=alice.account.id, at=0))
        call = await alice.invite(bob.account)
        await alice.ask("call.hangup", call=call)
        assert [t.id for t in await hub.hub.traces.known_to(alice.account.id)] == [call]
        assert await hub.hub.traces.known_to(bob.account.id) == []
        trace = await hub.hub.traces.find(call)
        assert trace is not None
        assert trace.trail == (), "as when somebody is offline"


async def test_expired_traces_leave_the_lists(hub, redis):
    async with AsyncExitStack() as stack:
        alice, bob = await phones(hub, stack, hub.url, hub.url)
        calls = []
        for _ in range(3):
            calls.append(await connected(alice, bob))
            await alice.ask("call.hangup", call=calls[-1])
    await redis.unlink(f"{{c0}}:trace:{calls[0]}", f"{{c0}}:trace:{calls[1]}")
    assert await hub.hub.traces.sweep() == 2
    assert [call.decode() for call in await redis.lrange("{c0}:traces", 0, -1)] == [calls[2]]


async def test_without_the_setting_there_are_no_traces(hub, redis):
    async with AsyncExitStack() as stack:
        silent = await stack.enter_async_context(beside(hub, call_trace_hours=0))
        alice, bob = await phones(hub, stack, silent.url, silent.url)
        call = await connected(alice, bob)
        await alice.ask("call.hangup", call=call)
    assert await redis.keys("*trace*") == []
    assert await Traces(redis, pseudonym=str).find(call) is None
