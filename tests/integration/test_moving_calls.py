"""A live call goes on at another device of the account: over real sockets, on one hub and on several."""

import asyncio

import pytest

from tests.integration.test_many_hubs import Town, connected, seqs, town  # noqa: F401
from tests.phones import SEALED, Phone

SAME, APART = (0, 0, 0), (0, 1, 2)


@pytest.fixture(params=[SAME, APART], ids=["one hub", "three hubs"])
async def call(request, town: Town) -> tuple[Phone, Phone, Phone, str]:  # noqa: F811
    """Ann, Ben's device that is in a call with her, and another one of his; and the call."""
    where = request.param
    ann, ben, other = [await town.phone(a, n, h) for a, n, h in zip((town.ann, town.ben, town.ben), (0, 0, 1), where, strict=True)]
    made = await connected(town, ann, ben)
    await other.until(lambda: made in other.elsewhere)
    return ann, ben, other, made


async def up(call: str, *phones: Phone) -> None:
    await asyncio.gather(*(phone.ask("call.connected", call=call) for phone in phones))
    await asyncio.gather(*(phone.reaches(call, "connected") for phone in phones))


async def test_a_call_moves_and_goes_on_and_ends_for_both_as_one(town, call):  # noqa: F811
    ann, ben, other, made = call
    assert other.elsewhere[made]["device"] == ben.device
    assert other.elsewhere[made]["peer"]["device"] == ann.device
    answer = await other.move(made, ben.device, ann.device)
    assert (answer["type"], answer["stage"]) == ("ok", "connected")
    await ann.reaches(made, "connecting")
    await ben.reaches(made, "ended:moved")
    moved = next(event for event in ann.events if event["type"] == "call.taken_over")
    assert (moved["peer"]["device"], moved["payload"]) == (other.device, SEALED)
    await ann.ask("call.signal", call=made, to=other.device, payload=SEALED)
    await other.until(lambda: any(event["type"] == "call.signalled" for event in other.events))
    await up(made, ann, other)
    await ben.until(lambda: ben.elsewhere.get(made, {}).get("device") == other.device)
    await ann.ask("call.hangup", call=made)
    await other.reaches(made, "ended:hangup")
    await ben.until(lambda: made not in ben.elsewhere)
    assert [e["reason"] for e in ben.events if e["type"] == "call.ended" and e["call"] == made] == ["moved"]
    assert seqs(ann, made) == sorted(set(seqs(ann, made)))


async def test_a_call_moves_back(town, call):  # noqa: F811
    ann, ben, other, made = call
    await other.move(made, ben.device, ann.device)
    await up(made, ann, other)
    await ben.until(lambda: made in ben.elsewhere)
    assert (await ben.move(made, other.device, ann.device))["type"] == "ok"
    await up(made, ann, ben)
    await other.reaches(made, "ended:moved")
    await ben.ask("call.hangup", call=made)
    await ann.reaches(made, "ended:hangup")


async def test_a_move_that_races_a_hangup_ends_the_same_on_both_sides(town, call):  # noqa: F811
    ann, ben, other, made = call
    answer, _ = await asyncio.gather(other.move(made, ben.device, ann.device), ann.ask("call.hangup", call=made))
    await ann.reaches(made, "ended:hangup")
    if answer["type"] == "ok":
        await other.reaches(made, "ended:hangup")
        await ben.reaches(made, "ended:moved")
    else:
        assert answer["code"] == "unknown_call"
        await ben.reaches(made, "ended:hangup")


async def test_of_two_moves_at_once_one_wins(town, call):  # noqa: F811
    ann, ben, other, made = call
    third = await town.phone(town.ben, 2, 1)
    assert made in third.elsewhere  # `sync` says so too
    answers = await asyncio.gather(*(phone.move(made, ben.device, ann.device) for phone in (other, third)))
    assert sorted(answer["type"] for answer in answers) == ["error", "ok"]
    assert next(answer["code"] for answer in answers if answer["type"] == "error") == "answered_elsewhere"
    winner = other if answers[0]["type"] == "ok" else third
    await up(made, ann, winner)
    await ann.ask("call.hangup", call=made)
    await winner.reaches(made, "ended:hangup")
    assert sum(event["type"] == "call.taken_over" for event in ann.events) == 1


async def test_a_move_saves_a_call_whose_device_is_gone_and_that_one_learns_of_it(town, call):  # noqa: F811
    ann, ben, other, made = call
    await ben.close()
    assert (await other.move(made, ben.device, ann.device))["type"] == "ok"
    await up(made, ann, other)
    await ben.connect(town.hubs[0].url)
    assert (ben.calls[made], ben.elsewhere[made]["device"]) == ("ended:sync", other.device)
    await other.ask("call.hangup", call=made)
    await ann.reaches(made, "ended:hangup")


async def test_who_was_away_during_a_move_finds_the_new_device_in_sync(town, call):  # noqa: F811
    ann, ben, other, made = call
    await ann.close()
    assert (await other.move(made, ben.device, ann.device))["type"] == "ok"
    await ann.connect(town.hubs[2].url)
    view = next(e for e in reversed(ann.events) if e["type"] == "sync")["calls"][0]
    assert (view["peer"]["device"], [p["device"] for p in view["payloads"]]) == (other.device, [other.device])
    await up(made, ann, other)
    await ann.ask("call.hangup", call=made)
    await other.reaches(made, "ended:hangup")


async def test_a_move_after_the_call_was_cancelled_is_told_so(town, call):  # noqa: F811
    ann, ben, other, made = call
    await ann.ask("call.hangup", call=made)
    ringing = await ann.invite(town.ben)
    await ben.rings()
    assert (await other.move(ringing, ben.device, ann.device))["code"] == "wrong_stage"
    cancel, answer = await asyncio.gather(ann.ask("call.hangup", call=ringing), other.move(ringing, ben.device, ann.device))
    assert (cancel["type"], answer["code"] in ("wrong_stage", "unknown_call")) == ("ok", True)
    await ben.reaches(ringing, "ended:cancelled")
