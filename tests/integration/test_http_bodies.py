"""Bodies of requests: bounded in bytes and in time, and who breaks off in the middle is no fault of ours."""

import asyncio
from urllib.parse import urlsplit

import aiohttp
import pytest

HEAD = "POST {path} HTTP/1.1\r\nHost: hub\r\nContent-Type: application/json\r\n{more}\r\n"


async def begin(hub, path: str, more: str, body: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(hub.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(HEAD.format(path=path, more=more).encode() + body)
    await writer.drain()
    return reader, writer


async def being_read(hub) -> None:
    """Whatever came to the hub before is being looked at."""
    async with aiohttp.ClientSession() as http, http.get(hub.url + "/healthz") as answer:
        assert answer.status == 200


@pytest.mark.parametrize("path", ["/v1/registration", "/webhooks/payments"])
async def test_a_body_that_does_not_come_to_its_end_is_not_waited_for_for_ever(hub, monkeypatch, path):
    monkeypatch.setattr("signaling.gateway.body.BODY_TIMEOUT", 0.05)
    reader, writer = await begin(hub, path, "Content-Length: 100\r\n", b'{"phone"')
    async with asyncio.timeout(10):
        assert (await reader.readline()).startswith(b"HTTP/1.1 400")
    writer.close()


@pytest.mark.parametrize("path", ["/v1/registration", "/webhooks/payments"])
@pytest.mark.parametrize(
    ("more", "body"),
    [
        ("Content-Length: 2000000\r\n", b""),
        ("Transfer-Encoding: chunked\r\n", b"200000\r\n" + b"x" * 0x200000 + b"\r\n"),
    ],
)
async def test_a_body_that_is_too_long_is_refused_before_it_is_there(hub, path, more, body):
    reader, writer = await begin(hub, path, more, body)
    async with asyncio.timeout(10):
        assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    writer.close()


@pytest.mark.parametrize("path", ["/v1/registration", "/webhooks/payments"])
async def test_a_body_that_is_not_packed_as_it_says_is_the_clients_fault(hub, caplog, path):
    reader, writer = await begin(hub, path, "Content-Encoding: gzip\r\nContent-Length: 5\r\n", b"abcde")
    async with asyncio.timeout(10):
        assert (await reader.readline()).startswith(b"HTTP/1.1 400")
    writer.close()
    assert "defect" not in caplog.text
    assert "does not answer" not in caplog.text


async def test_a_client_that_goes_away_within_its_body_is_not_taken_for_a_store_that_does_not_answer(hub, caplog):
    counted = hub.hub.rest.counts.requests
    _, writer = await begin(hub, "/v1/registration", "Content-Length: 100\r\n", b'{"phone"')
    await being_read(hub)
    writer.transport.abort()
    async with asyncio.timeout(10):
        while not counted:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert counted == {("registration.start", "malformed"): 1}
    assert "does not answer" not in caplog.text
