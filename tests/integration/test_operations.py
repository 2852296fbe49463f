"""What operators see of what goes on, over real stores: every hub shows all of it (P17)."""

import asyncio
import json
from contextlib import AsyncExitStack

import aiohttp
import pytest
from aiohttp import web
from sqlalchemy import insert

from media.control import RelayControl
from signaling.gateway.admin_stream import STREAMS
from signaling.storage.redis import redis_client
from signaling.storage.tables import objections
from signaling.wire.admin.frame import Role
from signaling.wire.admin.operations import Line
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.messages import Reason, Rung, Stage
from signaling.wire.rest import JoinRelay
from tests.integration.hub_fixture import beside
from tests.integration.test_call_traces import connected, phones
from tests.integration.test_relay_api import ask, in_call
from tests.operators import signed_in
from tests.phones import new_id
from tests.relay_client import RTP, Device, parameters, relay


async def test_any_hub_shows_the_calls_and_the_load_of_all(hub):
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(beside(hub))
        alice, bob = await phones(hub, stack, hub.url, other.url)
        call = await connected(alice, bob)
        nodes = {hub.hub.cluster.node, other.hub.cluster.node}
        for running in (hub, other):
            await running.hub.operations._loads.say(0.001)
        for running in (hub, other):
            seen = await running.hub.operations.view.overview()
            assert {info.hub for info in seen.hubs} == nodes
            assert [info.hub for info in seen.hubs if info.this] == [running.hub.cluster.node]
            assert seen.devices == 2
            assert seen.stages == {"connected": 1}, "counted once, though both hubs look after it"
            live = await running.hub.operations.view.live()
            (summary,) = live.calls
            assert (summary.call, summary.stage, summary.rung) == (call, Stage.CONNECTED, Rung.TURN_UDP)
            assert (summary.caller_hub, summary.callee_hub) == (hub.hub.cluster.node, other.hub.cluster.node)
            assert summary.caller == hub.hub.pseudonyms.of(alice.account.id)
            detail = await running.hub.operations.view.call(call)
            assert [line.what for line in detail.timeline] == [
                Line.INVITED, Line.RANG, Line.TAKEN, Line.MEDIA, Line.MEDIA, Line.CONNECTED,
            ]  # fmt: skip


async def test_figures_count_each_call_once_and_name_no_country_of_few(hub):
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(beside(hub))
        alice, bob = await phones(hub, stack, hub.url, other.url)
        async with hub.hub.database.begin() as connection:
            await connection.execute(insert(objections).values(account=bob.account.id, interest="statistics", at=0))
        await alice.ask("call.hangup", call=await connected(alice, bob))
        await alice.ask("call.hangup", call=await connected(bob, alice))
        gone = await alice.invite(bob.account)
        await alice.ask("call.hangup", call=gone)
        for running in (hub, other):
            await running.hub.operations.written()
        seen = await other.hub.operations.view.call_figures(1)
        assert (seen.calls, seen.connected, seen.not_connected, seen.success) == (3, 2, 0, 1.0)
        assert seen.reasons == {"hangup": 2, "cancelled": 1}
        assert seen.rungs == {"turn_udp": 2}
        assert seen.set_up_p95 > 0
        assert sum(span.calls for span in seen.spans) == 3
        assert seen.countries == [], "one person"
        assert await other.hub.operations._figures.countries(1) == [("49", 1, 1, 0)], "who objects is not counted"
        assert (await hub.hub.operations.view.call_figures(24)).calls == 3


async def test_ended_calls_by_reason_and_account_page_by_page(hub, monkeypatch):
    monkeypatch.setattr("signaling.operations.view.PAGE", 2)
    async with AsyncExitStack() as stack:
        alice, bob, carol = await phones(hub, stack, hub.url, hub.url, hub.url)
        calls = []
        for callee in (bob, bob, carol):
            calls.append(await connected(alice, callee))
            await callee.ask("call.hangup", call=calls[-1])
        declined = await alice.invite(bob.account)
        await bob.rings()
        await bob.ask("call.decline", call=declined)
        view = hub.hub.operations.view
        first = await view.ended()
        assert [c.call for c in first.calls] == [declined, calls[2]]
        second = await view.ended(before=first.next)
        assert [c.call for c in second.calls] == [calls[1], calls[0]]
        assert [c.call for c in (await view.ended(reason="declined")).calls] == [declined]
        of_carol = await view.ended(account=hub.hub.pseudonyms.of(carol.account.id))
        assert [c.call for c in of_carol.calls] == [calls[2]]
        assert (await view.call(declined)).call.reason is Reason.DECLINED
        with pytest.raises(Refused) as refused:
            await view.call(new_id())
        assert refused.value.code is ErrorCode.NOT_FOUND


async def test_draining_needs_another_to_take_over(hub):
    ended = asyncio.Event()
    async with AsyncExitStack() as stack:
        with pytest.raises(Refused) as refused:
            await hub.hub.operations.actions.drain_hub(hub.hub.cluster.node)
        assert refused.value.code is ErrorCode.NOT_POSSIBLE
        other = await stack.enter_async_context(beside(hub))
        other.hub.events.drain = ended.set
        with pytest.raises(Refused) as refused:
            await hub.hub.operations.actions.drain_hub("0" * 16)
        assert refused.value.code is ErrorCode.NOT_FOUND
        await hub.hub.operations.actions.drain_hub(other.hub.cluster.node)
        async with asyncio.timeout(5):
            await ended.wait()


async def test_a_call_over_a_relay_shows_how_it_arrives_there_until_an_account_is_gone(hub, redis):
    ended = asyncio.Event()
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(relay())
        control = RelayControl(redis_client(hub.stores[0]), running, drain=ended.set, every=0.1)
        await control.start()
        stack.push_async_callback(control.close)
        alice, bob, call = await in_call(hub, stack)
        devices = Device(), Device()
        for client, device in zip((alice, bob), devices, strict=True):
            leg = await ask(client, call.id, JoinRelay(*device.credentials))
            stack.push_async_callback(device.close)
            await device.connect(parameters(leg))
        view = hub.hub.operations.view

        async def measured():
            while True:
                for number, device in enumerate(devices):
                    await device.send(RTP[:2] + measured.sequence.to_bytes(2, "big") + RTP[4:8] + bytes([number]) * 4 + b"sound")
                measured.sequence += 1
                detail = await view.call(call.id)
                if {point.side for point in detail.quality if point.mos} == {0, 1}:
                    return detail
                await asyncio.sleep(0.02)

        measured.sequence = 1
        async with asyncio.timeout(10):
            detail = await measured()
        assert [line.relay for line in detail.timeline if line.what is Line.RELAY] == [control.id]
        assert detail.call.relay == control.id
        (info,) = (await view.overview()).relays
        assert (info.relay, info.capacity) == (control.id, 4)
        with pytest.raises(Refused) as refused:
            await hub.hub.operations.actions.drain_relay(control.id)
        assert refused.value.code is ErrorCode.NOT_POSSIBLE, "the only one"
        await call.hangup()
        async with asyncio.timeout(10):
            while not await redis.exists(f"{{c0}}:trace:{call.id}"):  # noqa: ASYNC110 - Redis tells nobody
                await asyncio.sleep(0.01)
        after = await view.call(call.id)
        assert after.timeline[-1].what is Line.ENDED
        assert after.quality
        assert await redis.keys("relay_quality:*")
        await control.leave()  # no sample comes after the account is gone
        control._sampler.cancel()
        await hub.hub.erasure.erase_account(bob.profile.account)
        await hub.hub.erasure.settle_all()
        assert await redis.keys("*trace:*") + await redis.keys("relay_quality:*") + await redis.keys("call_placements:*") == []


async def test_over_http_by_role_with_a_reason_and_on_the_audit_trail(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await phones(hub, stack, hub.url, hub.url)
        vera, sam = await signed_in(hub, "vera", Role.VIEWER), await signed_in(hub, "sam", Role.SUPPORT)
        call = await connected(alice, bob)
        live = (await vera.ask("operations.live")).body
        assert [c["call"] for c in live["calls"]] == [call]
        assert alice.account.id not in json.dumps(live)
        assert "4930" not in json.dumps(live)
        assert (await vera.ask("operations.overview")).body["hubs"][0]["this"]
        assert (await vera.ask("operations.figures", query={"hours": "6"})).body["hours"] == 6
        assert (await vera.ask("operations.figures", query={"hours": "7"})).code == "invalid"
        assert (await vera.ask("operations.end_call", {"reason": "a test"}, call=call)).code == "forbidden"
        assert (await sam.ask("operations.end_call", {"reason": "+49 30 901820"}, call=call)).code == "invalid"
        assert (await sam.ask("operations.end_call", {"reason": "asked for in ticket 7"}, call=call)).status == 204
        for phone in (alice, bob):
            assert await phone.reaches(call, "ended:unavailable")
        detail = (await vera.ask("operations.call", call=call)).body
        assert detail["call"]["reason"] == "unavailable"
        assert (await vera.ask("operations.call", call=new_id())).status == 404
        assert [c["call"] for c in (await vera.ask("operations.ended")).body["calls"]] == [call]
        assert (await sam.ask("operations.drain_hub", {"reason": "update"}, hub=hub.hub.cluster.node)).code == "forbidden"
        ada = await signed_in(hub, "ada")
        assert (await ada.ask("operations.drain_hub", {"reason": "update"}, hub=hub.hub.cluster.node)).code == "not_possible"
        assert (await ada.ask("operations.drain_relay", {"reason": "update"}, relay="r" * 12)).status == 404
        entries = [(entry.operator, entry.action, entry.subject, entry.reason) for entry in await hub.hub.audit.read()]
        assert ("sam", "call_ended", call, "asked for in ticket 7") in entries


def events_of(response):
    """Name and data of each event of a stream."""

    async def read():
        name = ""
        async for line in response.content:
            if line.startswith(b"event: "):
                name = line[7:].strip().decode()
            elif line.startswith(b"data: "):
                yield name, json.loads(line[6:])

    return read()


async def test_the_stream_tells_what_changes_and_ends_with_the_session(hub):
    hub.hub.stream.every = hub.hub.stream.checked_every = 0.05
    async with AsyncExitStack() as stack:
        alice, bob = await phones(hub, stack, hub.url, hub.url)
        vera = await signed_in(hub, "vera", Role.VIEWER)
        http = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in vera.cookies.items())}
        url = hub.url + "/v1/admin/stream"
        for refused, headers, query in (
            (401, {}, {}),
            (403, cookie | {"Origin": "https://elsewhere.example"}, {}),
            (422, cookie, {"call": "no call"}),
            (422, cookie, {"else": "1"}),
        ):
            async with http.get(url, headers=headers, params=query) as response:
                assert response.status == refused
        call = await connected(alice, bob)
        async with asyncio.timeout(20), http.get(url, headers=cookie, params={"call": call}) as response:
            assert response.headers["Content-Type"] == "text/event-stream"
            events = events_of(response)
            seen = dict([await anext(events) for _ in range(3)])
            assert seen.keys() == {"overview", "calls", "call"}
            assert seen["call"]["call"]["stage"] == "connected"
            await alice.ask("call.hangup", call=call)
            name = ""
            while name != "call":
                name, data = await anext(events)
            assert data["timeline"][-1]["what"] == "ended"
            await vera.ask("admin.logout")
            async for _ in events:
                pass  # it ends
        async with http.get(url, headers=cookie) as response:
            assert response.status == 401


async def test_streams_are_so_many_at_most(hub):
    vera = await signed_in(hub, "vera", Role.VIEWER)
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in vera.cookies.items())}
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        opened = [
            await stack.enter_async_context(http.get(hub.url + "/v1/admin/stream", headers=cookie)) for _ in range(STREAMS + 1)
        ]
        assert [response.status for response in opened] == [200] * STREAMS + [429]


async def test_a_hub_that_ends_does_not_wait_for_operators_who_look(hub):
    vera = await signed_in(hub, "vera", Role.VIEWER)
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in vera.cookies.items())}
    runner = web.AppRunner(hub.hub.application(), access_log=None, shutdown_timeout=60.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/admin/stream"
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http, http.get(url, headers=cookie) as response:
        assert response.status == 200
        async with asyncio.timeout(20):  # far less than what it gives to requests
            await runner.cleanup()


async def test_streams_are_limited_by_the_network_of_an_ipv6_subscriber(hub, monkeypatch):
    asked = []
    monkeypatch.setattr(hub.hub.admin, "address", lambda _request: "2001:db8:1:2:3:4:5:6")
    monkeypatch.setattr(hub.hub.rest.limiter, "take", lambda key: asked.append(key) or 0.0)
    async with aiohttp.ClientSession() as http, http.get(hub.url + "/v1/admin/stream") as response:
        assert response.status == 401
    assert asked == ["2001:db8:1:2::/64"]
