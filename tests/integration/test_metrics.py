"""What a hub counts is what happened; what it exposes names nobody, and is on an address of its own."""

import asyncio
from contextlib import AsyncExitStack

import aiohttp
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from signaling.telemetry.families import registry
from signaling.telemetry.health import Health
from signaling.telemetry.lag import LoopLag
from signaling.telemetry.server import telling
from tests.integration.hub_fixture import register
from tests.integration.test_client_calls import ALICE
from tests.personal_data import Person, suspicious
from tests.phones import Phone, seed
from tests.redis_servers import quiet_port


def exposed(hub) -> str:
    return generate_latest(registry("hub", LoopLag(), hub.hub.metrics())).decode()


def value(text: str, name: str, **labels: str) -> float:
    """One sample; 0 when there is none."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return 0.0


async def people(hub, stack: AsyncExitStack) -> tuple[Phone, Phone]:
    ann, ben = await seed(hub.hub.database, hub.hub.book_redis, [1, 1])
    phones = [Phone(account, next(iter(account.devices))) for account in (ann, ben)]
    for phone in phones:
        stack.push_async_callback(phone.close)
        await phone.connect(hub.url)
    return phones[0], phones[1]


async def test_a_call_is_counted_once_at_each_of_its_stages(hub):
    async with AsyncExitStack() as stack:
        ann, ben = await people(hub, stack)
        call = await ann.invite(ben.account)
        await ben.rings()
        await ben.ask("call.ringing", call=call)
        text = exposed(hub)
        assert value(text, "kloudtalk_devices_connected") == 2
        assert value(text, "kloudtalk_calls", stage="ringing") == 1
        assert value(text, "kloudtalk_call_ring_delay_seconds_count") == 1
        await ben.accept(call)
        await asyncio.gather(ann.ask("call.connected", call=call, rung="direct"), ben.ask("call.connected", call=call))
        await ben.ask("call.moved", call=call, rung="relay")
        await ben.ask("call.hangup", call=call)
        await ann.reaches(call, "ended:hangup")
        missed = await ann.invite(ben.account)
        await ann.ask("call.hangup", call=missed)
        text = exposed(hub)
        for stage, number in {"inviting": 2, "ringing": 1, "connecting": 1, "connected": 1, "ended": 2}.items():
            assert value(text, "kloudtalk_calls_reached_total", stage=stage) == number, stage
        assert value(text, "kloudtalk_calls_ended_total", reason="hangup", stage="connected") == 1
        assert value(text, "kloudtalk_calls_ended_total", reason="cancelled", stage="inviting") == 1
        assert value(text, "kloudtalk_call_audio_delay_seconds_count") == 1
        assert 0 <= value(text, "kloudtalk_call_audio_delay_seconds_sum") < 10
        assert value(text, "kloudtalk_media_ways_total", when="media", rung="direct") == 1
        assert value(text, "kloudtalk_media_ways_total", when="moved", rung="relay") == 1
        assert value(text, "kloudtalk_call_duration_seconds_count") == 1
        assert sum(value(text, "kloudtalk_calls", stage=s) for s in ("inviting", "ringing", "connecting", "connected")) == 0
        assert value(text, "kloudtalk_messages_received_total", type="call.invite") == 2
        assert value(text, "kloudtalk_messages_received_total", type="hello") == 2
        assert value(text, "kloudtalk_hello_seconds_count") == 2
        assert value(text, "kloudtalk_messages_sent_total") >= 12


async def test_what_is_refused_at_the_edge_is_counted_by_its_code(hub):
    async with AsyncExitStack() as stack:
        ann, _ = await people(hub, stack)
        assert (await ann.ask("no.such"))["code"] == "unknown_type"
        for _ in range(250):
            await ann._ws.send_str('{"type":"ping","id":1}')
        await ann.until(lambda: any(e.get("code") == "rate_limited" for e in ann.events))
        text = exposed(hub)
        assert value(text, "kloudtalk_messages_refused_total", code="unknown_type") == 1
        assert value(text, "kloudtalk_limited_total", where="websocket_message", code="rate_limited") >= 1
        other = Phone(ann.account, ann.device)
        stack.push_async_callback(other.close)
        await other.connect(hub.url)
        await ann.until(lambda: ann.close_code is not None)
        assert value(exposed(hub), "kloudtalk_sockets_closed_total", code="4409") == 1


async def test_codes_stores_and_requests_are_counted_and_nobody_is_named(hub):
    client = await register(hub, ALICE)
    try:
        text = exposed(hub)
        for channel in ("phone", "email"):
            assert value(text, "kloudtalk_code_delivery_seconds_count", channel=channel) == 1
        assert value(text, "kloudtalk_code_checks_total", result="ok") == 2
        assert value(text, "kloudtalk_http_requests_total", endpoint="registration.finish", outcome="ok") == 1
        for store in ("redis", "address_book", "sql"):
            assert value(text, "kloudtalk_store_seconds_count", store=store) > 0, store
        async with aiohttp.ClientSession() as http, http.get(hub.url + "/v1/account") as answer:
            assert answer.status == 401
        text = exposed(hub)
        assert value(text, "kloudtalk_http_requests_total", endpoint="account.get", outcome="unauthenticated") == 1
        assert suspicious(text) == []
        assert Person.of(client).traces(text.encode()) == []
    finally:
        await client.close()


async def test_labels_do_not_grow_with_what_clients_send(hub):
    async with aiohttp.ClientSession() as http:
        for path in ("/v1/nothing", "/v1/accounts/xyz/devices", "/v1/%2e%2e"):
            async with http.get(hub.url + path, headers={"Authorization": "Bearer x"}):
                pass
    found = {
        sample.labels["endpoint"]
        for family in text_string_to_metric_families(exposed(hub))
        for sample in family.samples
        if "endpoint" in sample.labels
    }
    assert found <= {"unknown", "devices.of_account"}


async def test_the_public_port_has_health_without_reasons_and_no_metrics(hub):
    async with aiohttp.ClientSession() as http:
        async with http.get(hub.url + "/healthz") as answer:
            assert (answer.status, await answer.text()) == (200, "ok\n")
        async with http.get(hub.url + "/readyz") as answer:
            assert (answer.status, await answer.text()) == (200, "ready\n")
        async with http.get(hub.url + "/metrics") as answer:
            assert "kloudtalk_" not in await answer.text()


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text; version=1.0.0"])
async def test_both_formats_are_served_on_their_own_address_and_a_port_that_is_taken_is_no_reason_to_fail(hub, accept):
    port = quiet_port()

    async def ask() -> tuple[int, str, str]:
        async with aiohttp.ClientSession(headers={"Accept": accept}) as http:
            while True:
                try:
                    async with http.get(f"http://127.0.0.1:{port}/metrics") as answer:
                        return answer.status, answer.content_type, await answer.text()
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.02)

    here = {"host": "127.0.0.1", "port": port}
    async with asyncio.timeout(10), telling("hub", hub.hub.metrics(), health=hub.hub.health, **here):
        status, kind, text = await ask()
        assert (status, kind) == (200, accept.split(";")[0])
        assert 'kloudtalk_check_ok{check="redis"} 1.0' in text
        async with telling("relay", health=Health([]), **here):  # the port is taken: it goes on without
            assert 'role="hub"' in (await ask())[2]
