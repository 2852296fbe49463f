"""One call across two hubs and a relay is one trace at a real OTLP receiver; nothing of it names a person, and no client sends anything for it."""

import asyncio
import subprocess
import sys
from contextlib import AsyncExitStack
from itertools import pairwise

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from media.control import RelayControl
from signaling.settings import Settings
from signaling.storage.redis import redis_client
from signaling.telemetry.traces import CallTraces, parse
from signaling.telemetry.wiring import observe_relay
from tests.conftest import eventually
from tests.integration.hub_fixture import beside
from tests.log_scanner import findings
from tests.phones import Phone, seed
from tests.relay_client import relay


class Collector:
    """What an OpenTelemetry collector gets: spans by name, each with the service that sent it."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []
        self.bytes = b""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.bytes += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
            self.spans += [(service, span) for scope in resource.scope_spans for span in scope.spans]
        return web.Response()

    def named(self, name: str) -> list[tuple[str, Span]]:
        return [(service, span) for service, span in self.spans if span.name == name]

    def one(self, name: str) -> Span:
        ((_, span),) = self.named(name)
        return span


def attributes(span: Span) -> dict[str, str]:
    return {a.key: a.value.string_value for a in span.attributes}


@pytest.fixture
async def collector():
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield collector, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_call_across_two_hubs_and_a_relay_is_one_trace(hub, state_url, collector):
    received, endpoint = collector
    async with AsyncExitStack() as stack:
        settings = Settings(redis_url=state_url, otlp_endpoint=endpoint, metrics_port=0)
        running = await stack.enter_async_context(relay())
        redis = redis_client(state_url)
        control = RelayControl(redis, running)
        stack.push_async_callback(control.close)
        await control.start()
        one = await stack.enter_async_context(beside(hub, otlp_endpoint=endpoint))
        two = await stack.enter_async_context(beside(hub, otlp_endpoint=endpoint))
        await eventually(lambda: len(one.hub.cluster.nodes.others) == 2 and len(two.hub.cluster.nodes.others) == 2)
        accounts = await seed(hub.hub.database, hub.hub.book_redis, [1, 1])
        ann, ben = (Phone(account, next(iter(account.devices))) for account in accounts)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        async with observe_relay(running, control, redis, settings):
            for phone, at in ((ann, one), (ben, two)):
                stack.push_async_callback(phone.close)
                await phone.connect(at.url)
            call = await ann.invite(ben.account)
            await ben.rings()
            await ben.ask("call.ringing", call=call)
            await ben.accept(call)
            await ann.reaches(call, "connecting")
            async with asyncio.timeout(10):
                for phone, at in ((ann, one), (ben, two)):
                    body = {"ufrag": "ufrag", "pwd": "p" * 22}
                    bearer = {"Authorization": f"Bearer {phone.account.devices[phone.device]}"}
                    while True:
                        async with http.post(f"{at.url}/v1/calls/{call}/relay", json=body, headers=bearer) as answer:
                            if answer.status == 200:
                                break
                        await asyncio.sleep(0.05)  # until the relay's lease is there
            await asyncio.gather(
                ann.ask("call.connected", call=call, rung="relay"), ben.ask("call.connected", call=call, rung="relay")
            )
            await ann.reaches(call, "connected")
            await ben.ask("call.hangup", call=call)
            await ann.reaches(call, "ended:hangup")
            for name in running.pairs():
                await running.release(name)
    # all have closed, and sent what they had
    names = {span.name for _, span in received.spans}
    assert names >= {"call", "call.inviting", "call.ringing", "call.connecting", "call.connected", "relay.answer", "relay.call"}
    assert len({span.trace_id for _, span in received.spans}) == 1
    root = received.one("call")
    assert root.parent_span_id == b""
    assert attributes(root)["kloudtalk.reason"] == "hangup"
    stages = [received.one(f"call.{stage}") for stage in ("inviting", "ringing", "connecting", "connected")]
    assert {span.parent_span_id for span in stages} == {root.span_id}
    times = [(span.start_time_unix_nano, span.end_time_unix_nano) for span in stages]
    # the two hubs' clocks agree to some milliseconds, and the machine may be busy
    assert all(later[0] > earlier[0] - 100_000_000 for earlier, later in pairwise(times))
    assert all(begin <= end for begin, end in times)
    assert root.start_time_unix_nano == times[0][0]
    # both hubs and the relay had a part, and the relay's hang below the hubs'
    assert {attributes(span)["kloudtalk.hub"] for _, span in received.spans if "kloudtalk.hub" in attributes(span)} == {
        one.hub.cluster.node,
        two.hub.cluster.node,
    }
    asked = {span.span_id for _, span in received.named("relay.leg")}
    answered = received.named("relay.answer")
    assert {service for service, _ in answered} == {"kloudtalk-relay"}
    assert len(answered) >= 2
    assert {span.parent_span_id for _, span in answered} <= asked
    assert received.one("relay.call").parent_span_id in {span.span_id for _, span in answered}
    assert [(event.name, {a.key: a.value.string_value for a in event.attributes}["rung"]) for event in stages[3].events] == [
        ("media", "relay")
    ] * 2
    # the relay is not told the call; nobody is told people
    assert all("kloudtalk.call" not in attributes(span) for service, span in received.spans if service == "kloudtalk-relay")
    assert all(text.encode() not in received.bytes for phone in (ann, ben) for text in (phone.account.id, phone.device, "+4930"))
    shown = str(
        [(service, {k: v for k, v in attributes(span).items() if k != "kloudtalk.call"}) for service, span in received.spans]
    )
    assert findings(shown) == []


async def test_a_collector_that_is_away_harms_no_call(hub):
    async with beside(hub, otlp_endpoint="http://127.0.0.1:9") as running:
        accounts = await seed(hub.hub.database, hub.hub.book_redis, [1, 1])
        ann, ben = [Phone(account, next(iter(account.devices))) for account in accounts]
        for phone in (ann, ben):
            await phone.connect(running.url)
        call = await ann.invite(ben.account)
        await ben.rings()
        await ben.ask("call.decline", call=call)
        await ann.reaches(call, "ended:declined")
        for phone in (ann, ben):
            await phone.close()


def test_without_an_endpoint_nothing_of_it_is_imported():
    # redis-py imports the API, which does nothing, where it is installed
    names = "('opentelemetry.exporter', 'signaling.telemetry.traces')"
    code = f"import sys, signaling.app, signaling.telemetry.wiring; print(any(m.startswith({names}) for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_same_share_of_calls_is_traced_by_all_hubs():
    hubs = [CallTraces(endpoint="http://127.0.0.1:9", secret=b"s", node=node, share=0.25) for node in ("one", "two")]
    contexts = [[hub._root(f"call {number}") for number in range(2_000)] for hub in hubs]
    assert contexts[0] == contexts[1]
    assert 400 < sum(context is not None for context in contexts[0]) < 600
    other = CallTraces(endpoint="http://127.0.0.1:9", secret=b"t", node="one", share=1.0)._root("call 0")
    assert other is not None
    assert other.trace_id not in {context.trace_id for context in contexts[0] if context is not None}


@given(st.text(max_size=60))
def test_no_trace_context_from_a_hub_confuses_a_relay(text):
    found = parse(text)
    assert found is None or found.is_valid


def test_a_trace_context_is_read():
    found = parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    assert found is not None
    assert (f"{found.trace_id:032x}", f"{found.span_id:016x}") == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    for bad in ("00-" + "0" * 32 + "-b7ad6b7169203331-01", "00-xyz-b7ad6b7169203331-01", ""):
        assert parse(bad) is None
