"""How well calls worked is kept with the consent for it, shown to its owner, and goes with consent, line, history and account."""

from contextlib import AsyncExitStack

import pytest
from sqlalchemy import select

from media.quality import mos
from signaling.calls.quality import score
from signaling.client.media import ToneTrack
from signaling.client.rest import ClientError
from signaling.storage.tables import call_quality
from signaling.wire.admin.operations import Line, MeasuredAt
from signaling.wire.errors import ErrorCode
from signaling.wire.messages import Rung, Stage
from signaling.wire.rest import HeardNow, MeasuredQuality, MeasuredWay, Purpose
from tests.integration.test_client_calls import acquainted, history_of
from tests.integration.test_client_ways import announced, talking
from tests.integration.test_rights import opened
from tests.relay_client import relay

__all__ = ["announced"]

MEASURED = MeasuredQuality(
    received=MeasuredWay(970, 30, 0.012), sent=MeasuredWay(990, 10, 0.008), rtt=0.08, rung=Rung.DIRECT, client="Firefox 153"
)

HEARD = HeardNow(loss=0.3, jitter=0.012, rtt=0.08)


async def rows(hub) -> list:
    async with hub.hub.database.begin() as connection:
        return (await connection.execute(select(call_quality))).all()


async def tell(client, call: str, measured: MeasuredQuality = MEASURED) -> None:
    await client._ask("calls.quality", measured, session=True, call=call)


async def refusal(awaitable) -> ErrorCode:
    with pytest.raises(ClientError) as refused:
        await awaitable
    return refused.value.code


async def test_it_is_kept_with_the_consent_only_and_each_way_to_be_rid_of_it_works(hub):
    async with AsyncExitStack() as stack:
        async with talking(hub, stack) as (outgoing, incoming):
            alice, bob = outgoing._client, incoming._client
        await history_of(alice, outgoing.id)
        assert await refusal(tell(alice, outgoing.id)) is ErrorCode.CONSENT_REQUIRED
        await alice.allow(Purpose.QUALITY)
        assert await refusal(tell(alice, "A" * 22)) is ErrorCode.UNKNOWN_CALL
        await tell(alice, outgoing.id)
        await tell(alice, outgoing.id)  # the answer was lost: told again, kept once
        (record,) = await alice.history()
        assert record.quality.measured == MEASURED
        assert record.quality.mos == pytest.approx(mos(loss=0.03, jitter=0.012, rtt=0.08), abs=0.01)
        (theirs,) = await bob.history()
        assert not theirs.quality  # the other side has not allowed it, and does not see this one's
        assert len(await rows(hub)) == 1

        (exported,) = opened(await alice.export())[0]["call_quality"]
        assert exported["measured"]["rtt"] == 0.08
        await alice.allow(Purpose.QUALITY, granted=False)
        assert await rows(hub) == []
        assert not (await alice.history())[0].quality
        assert len(await alice.history()) == 1

        await alice.allow(Purpose.QUALITY)
        await tell(alice, outgoing.id)
        await alice._ask("calls.forget", session=True, call=outgoing.id)
        assert await rows(hub) == []
        assert await refusal(tell(alice, outgoing.id)) is ErrorCode.UNKNOWN_CALL
        await bob.allow(Purpose.QUALITY)
        await tell(bob, outgoing.id)
        await bob._ask("calls.forget_all", session=True)
        assert await rows(hub) == []


async def test_what_the_relay_saw_is_kept_at_the_end_for_who_allowed_it_and_goes_with_the_account(hub, announced):
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(relay())
        await stack.enter_async_context(announced(running))
        async with talking(hub, stack, hides="alice") as (outgoing, incoming):
            alice = outgoing._client
            await alice.allow(Purpose.QUALITY)
            await outgoing.carried(over_relay=True)
            await incoming.carried(over_relay=True)
        await outgoing.reach(Stage.ENDED)
        await hub.hub.relays.release_ended()
        await history_of(alice, outgoing.id)
        record = next(record for record in await alice.history() if record.call == outgoing.id)
        relayed = record.quality.relayed
        assert relayed.sent.expected > 0
        assert relayed.received.expected > 0
        assert relayed.received.lost == 0
        assert relayed.received.mos > 4
        assert [row.account for row in await rows(hub)] == [alice.profile.account]
        await alice.delete_account()
        assert await rows(hub) == []


async def hear(client, call: str, now: HeardNow = HEARD) -> None:
    await client._ask("calls.heard", now, session=True, call=call)


async def heard_keys(redis) -> list[bytes]:
    return sorted(await redis.keys("heard*"))


async def test_how_a_call_is_heard_is_shown_to_operators_while_it_goes_on_by_consent_of_who_hears(hub, redis):
    async with AsyncExitStack() as stack:
        async with talking(hub, stack) as (outgoing, incoming):
            alice, bob, call = outgoing._client, incoming._client, outgoing.id
            view = hub.hub.operations.view
            assert await refusal(hear(alice, call)) is ErrorCode.CONSENT_REQUIRED
            await alice.allow(Purpose.QUALITY)
            assert await refusal(hear(alice, "A" * 22)) is ErrorCode.UNKNOWN_CALL
            for bad in (HeardNow(1.1, 0), HeardNow(0, -1), HeardNow(0, 99), HeardNow(0, 0, 61)):
                assert await refusal(hear(alice, call, bad)) is ErrorCode.INVALID
            assert await heard_keys(redis) == []
            await hear(alice, call)
            detail = await view.call(call)
            opinion = round(mos(loss=0.3, jitter=0.012, rtt=0.08), 2)
            (point,) = detail.quality
            assert (point.side, point.by, point.loss, point.jitter, point.rtt, point.mos) == (
                1, MeasuredAt.DEVICE, 0.3, 0.012, 0.08, opinion,
            )  # fmt: skip
            assert [(line.side, line.mos) for line in detail.timeline if line.what is Line.DIP] == [(1, opinion)]
            (summary,) = (await view.live()).calls
            assert summary.heard == [opinion]
            assert await refusal(hear(bob, call)) is ErrorCode.CONSENT_REQUIRED
            await bob.allow(Purpose.QUALITY)
            await hear(bob, call)
            assert {p.side for p in (await view.call(call)).quality} == {0, 1}
            for key in await heard_keys(redis):
                assert 0 < await redis.ttl(key) <= 72 * 3600
        await history_of(alice, call)
        await history_of(bob, call)
        assert await refusal(hear(alice, call)) is ErrorCode.UNKNOWN_CALL  # only while it goes on
        assert {p.side for p in (await view.call(call)).quality} == {0, 1}

        (exported,) = opened(await alice.export())[0]["calls_heard"]["calls"]
        assert (exported["call"], [sample["loss"] for sample in exported["samples"]]) == (call, [0.3])
        await alice.allow(Purpose.QUALITY, granted=False)
        assert {p.side for p in (await view.call(call)).quality} == {0}, "hers has gone, his has not"
        await bob._ask("calls.forget", session=True, call=call)
        assert await heard_keys(redis) == []


async def test_how_a_call_was_heard_goes_with_the_history_and_with_the_account(hub, redis):
    async with AsyncExitStack() as stack:
        async with talking(hub, stack) as (outgoing, incoming):
            alice, bob = outgoing._client, incoming._client
            for client in (alice, bob):
                await client.allow(Purpose.QUALITY)
                await hear(client, outgoing.id)
        await history_of(alice, outgoing.id)
        await history_of(bob, outgoing.id)
        assert len(await heard_keys(redis)) == 4
        await bob._ask("calls.forget_all", session=True)
        assert len(await heard_keys(redis)) == 2
        await alice.delete_account()
        await hub.hub.erasure.settle_all()
        assert await heard_keys(redis) == []


async def test_a_call_that_was_never_answered_has_no_quality(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        await alice.allow(Purpose.QUALITY)
        call = await alice.call(bob.profile.account, track=ToneTrack(440))
        await call.reach(Stage.RINGING)
        await call.hangup()
        await history_of(alice, call.id)
        assert await refusal(tell(alice, call.id)) is ErrorCode.UNKNOWN_CALL
        for bad in (MeasuredWay(-1, 0, 0), MeasuredWay(1, 0, 99), MeasuredWay(2**50, 0, 0)):
            assert await refusal(tell(alice, call.id, MeasuredQuality(bad))) is ErrorCode.INVALID


def test_the_score_is_the_e_model_s_and_none_where_nothing_came():
    assert score(MeasuredQuality(MeasuredWay(0, 0, 0))) is None
    assert score(MeasuredQuality(MeasuredWay(0, 500, 0))) < 200
    assert score(MeasuredQuality(MeasuredWay(500, 0, 0.002), rtt=0.02)) > 430
