"""Races and deadlines over real sockets, on three hubs: docs/many-hubs.md lists them all, with the tests of the machine."""

import asyncio

from tests.integration.test_many_hubs import Town, connected, town  # noqa: F401
from tests.phones import Phone


def later(town: Town, seconds: float) -> None:  # noqa: F811
    """Every hub's clock goes forward, and each looks what is due."""
    for running in town.hubs:
        calls, time = running.hub.calls, running.hub.calls._clock
        calls._clock = lambda time=time: time() + seconds
    for running in town.hubs:
        running.hub.calls.tick()


def told(phone: Phone, call: str) -> dict[int, str]:
    """What each number of a call stood for, as this device was told."""
    names = {"call.incoming": "", "call.ended": "ended", "call.taken_over": "moved"}
    events = [event for event in phone.events if event.get("call") == call and "seq" in event and "elsewhere" not in event["type"]]
    return {event["seq"]: names.get(event["type"], event["type"]) for event in events}


async def test_busy_when_no_device_is_free_and_a_busy_device_may_still_take_the_call(town):  # noqa: F811
    ann, one, other = await town.phone(town.ann, 0, 0), await town.phone(town.ben, 0, 1), await town.phone(town.ben, 1, 2)
    call = await ann.invite(town.ben)
    await asyncio.gather(one.rings(), other.rings())
    await one.ask("call.busy", call=call)
    await ann.ask("ping")
    assert ann.calls[call] == "inviting"  # the other one is free
    await other.ask("call.busy", call=call)
    for phone in (ann, one, other):
        await phone.reaches(call, "ended:busy")
    # call waiting: it says that it is busy, rings all the same, and is taken
    waiting = await ann.invite(town.ben)
    await asyncio.gather(one.rings(), other.rings())
    await one.ask("call.busy", call=waiting)
    assert (await one.accept(waiting))["type"] == "ok"
    await ann.reaches(waiting, "connecting")
    await other.reaches(waiting, "ended:answered_elsewhere")


async def test_an_accept_that_races_a_decline_has_one_outcome_everywhere(town):  # noqa: F811
    ann, one, other = await town.phone(town.ann, 0, 0), await town.phone(town.ben, 0, 1), await town.phone(town.ben, 1, 2)
    for _ in range(5):
        call = await ann.invite(town.ben)
        await asyncio.gather(one.rings(), other.rings())
        took, declined = await asyncio.gather(one.accept(call), other.ask("call.decline", call=call))
        assert sorted((took["type"], declined["type"])) == ["error", "ok"]
        if took["type"] == "ok":
            await other.reaches(call, "ended:answered_elsewhere")
            await ann.reaches(call, "connecting")
            await ann.ask("call.hangup", call=call)
            await one.reaches(call, "ended:hangup")
        else:
            for phone in (ann, one, other):
                await phone.reaches(call, "ended:declined")


async def test_a_cancel_right_behind_the_invite_leaves_nobody_ringing(town):  # noqa: F811
    ann, one, other = await town.phone(town.ann, 0, 0), await town.phone(town.ben, 0, 1), await town.phone(town.ben, 1, 2)
    made = []
    for number in range(5):
        call = f"{number}".ljust(22, "c")
        made.append(call)
        await asyncio.gather(ann.invite(town.ben, call), ann.ask("call.hangup", call=call))
        await ann.reaches(call, "ended:cancelled")
    # whatever of it they heard, they heard its end too: what is said later comes later
    last = await ann.invite(town.ben)
    for phone in (one, other):
        await phone.reaches(last, "inviting")
        assert {phone.calls[call] for call in made if call in phone.calls} <= {"ended:cancelled"}


async def test_a_call_that_nobody_takes_is_missed_on_every_device(town):  # noqa: F811
    ann, one, other = await town.phone(town.ann, 0, 0), await town.phone(town.ben, 0, 1), await town.phone(town.ben, 1, 2)
    call = await ann.invite(town.ben)
    await asyncio.gather(one.rings(), other.rings())
    await one.ask("call.ringing", call=call)
    later(town, 46)
    for phone in (ann, one, other):
        await phone.reaches(call, "ended:missed")
    third = await town.phone(town.ben, 2, 1)
    assert call not in third.calls  # and never rings at who comes later


async def test_a_call_that_does_not_connect_fails_and_one_whose_party_stays_away_is_lost(town):  # noqa: F811
    ann, ben = await town.phone(town.ann, 0, 0), await town.phone(town.ben, 0, 1)
    call = await ann.invite(town.ben)
    await ben.rings()
    await ben.accept(call)
    await ann.reaches(call, "connecting")
    later(town, 21)
    await asyncio.gather(ann.reaches(call, "ended:failed"), ben.reaches(call, "ended:failed"))
    call = await connected(town, ann, ben)
    await ben.close()
    pairs = town.hubs[0].hub.calls
    async with asyncio.timeout(10):
        while not pairs._by_call[call].calls[call].away:  # noqa: ASYNC110 - Ann is told nothing of it
            await asyncio.sleep(0.02)
    later(town, 61)
    await ann.reaches(call, "ended:lost")
    await ben.connect(town.hubs[2].url)
    assert ben.calls[call].startswith("ended")


async def test_hold_mute_and_ice_restart_arrive_in_order_and_by_sync(town):  # noqa: F811
    ann, ben = await town.phone(town.ann, 0, 0), await town.phone(town.ben, 0, 1)
    call = await connected(town, ann, ben)
    said = [kind.ljust(128, "x") for kind in ("mute", "hold", "restart", "renegotiation")]
    for payload in said[:2]:
        await ann.ask("call.signal", call=call, to=ben.device, payload=payload)
    await ben.until(lambda: sum(event["type"] == "call.signalled" for event in ben.events) == 2)
    assert [event["payload"] for event in ben.events if event["type"] == "call.signalled"] == said[:2]
    await ben.close()
    for payload in said[2:]:
        assert (await ann.ask("call.signal", call=call, to=ben.device, payload=payload))["type"] == "ok"
    await ben.connect(town.hubs[2].url)
    (view,) = next(event for event in reversed(ben.events) if event["type"] == "sync")["calls"]
    assert [sealed["payload"] for sealed in view["payloads"] if sealed["payload"] in said] == said


async def test_both_sides_are_told_the_same_sequence(town):  # noqa: F811
    ann, ben, other = await town.phone(town.ann, 0, 0), await town.phone(town.ben, 0, 1), await town.phone(town.ben, 1, 2)
    call = await connected(town, ann, ben)
    await other.until(lambda: call in other.elsewhere)
    await other.move(call, ben.device, ann.device)
    await asyncio.gather(*(phone.ask("call.connected", call=call) for phone in (ann, other)))
    await asyncio.gather(*(phone.reaches(call, "connected") for phone in (ann, other)))
    await other.ask("call.hangup", call=call)
    await asyncio.gather(*(phone.reaches(call, "ended:hangup") for phone in (ann, other)))
    assert list(told(ann, call).values()) == ["call.rings", "call.answered", "call.up", "moved", "call.up", "ended"]
    for phone in (ben, other):
        for seq, what in told(phone, call).items():
            assert what in ("", told(ann, call).get(seq)) or (seq, what) in _out(phone, call), (phone.device, seq, what)
    for phone in (ann, ben, other):
        assert list(told(phone, call)) == sorted(told(phone, call))


def _out(phone: Phone, call: str) -> list[tuple[int, str]]:
    """Where the call ended for this device only: under the number of what the others were told then."""
    return [
        (event["seq"], "ended")
        for event in phone.events
        if event["type"] == "call.ended" and event["call"] == call and event["reason"] in ("moved", "answered_elsewhere")
    ]
