"""Stand-ins of push services on this machine, over TLS as the real ones: web push and FCM (HTTP/1.1), APNs (HTTP/2)."""

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
from aiohttp import web
from hypercorn.asyncio import serve
from hypercorn.config import Config


class Authority:
    """A certificate authority that the tests trust."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        self.file = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.file))
        self.key, self.chain = folder / "server.key", folder / "server.pem"
        certificate.private_key_pem.write_to_path(str(self.key))
        self.chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(self.server)
        self.client = ssl.create_default_context(cafile=str(self.file))


@dataclass
class Request:
    """One push as a service got it."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class PushService:
    """``url``: https://localhost:port. ``answers``: statuses (and headers) to give, one after the other; then 201."""

    url: str = ""
    got: list[Request] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """Keep a push, and say what is answered."""
        async with self.news:
            self.got.append(request)
            self.news.notify_all()
        return self.answers.pop(0) if self.answers else (201, {}, b"")

    async def count(self, wanted: int, timeout: float = 15) -> None:
        """Wait until so many pushes have come."""
        async with asyncio.timeout(timeout), self.news:
            await self.news.wait_for(lambda: len(self.got) >= wanted)


@contextlib.asynccontextmanager
async def push_service(authority: Authority) -> AsyncIterator[PushService]:
    """A web push service; it grants FCM's tokens too, at ``/token``."""
    service = PushService()

    async def handle(request: web.Request) -> web.Response:
        if request.path == "/token":
            return web.json_response({"access_token": "granted", "expires_in": 3600, "token_type": "Bearer"})
        status, headers, body = await service.take(Request(request.path, dict(request.headers), await request.read()))
        return web.Response(status=status, headers=headers, body=body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=authority.server).start()
        service.url = f"https://localhost:{runner.addresses[0][1]}"
        yield service
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def apple(authority: Authority, port: int) -> AsyncIterator[PushService]:
    """APNs: HTTP/2 only, as Apple's."""
    service = PushService(url=f"https://localhost:{port}")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        assert scope["http_version"] == "2"
        body, more = b"", True
        while more:
            part = await receive()
            body, more = body + part.get("body", b""), part.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        status, _, answer = await service.take(Request(scope["path"], headers, body))
        apns_id = (b"apns-id", headers.get("apns-id", "").encode())
        await send({"type": "http.response.start", "status": 200 if status == 201 else status, "headers": [apns_id]})
        await send({"type": "http.response.body", "body": answer})

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.certfile, config.keyfile = str(authority.chain), str(authority.key)
    config.alpn_protocols = ["h2"]
    config.errorlog = config.accesslog = None
    config.graceful_timeout = config.shutdown_timeout = 0.2
    ended = asyncio.Event()
    running = asyncio.create_task(serve(app, config, shutdown_trigger=ended.wait))  # type: ignore[arg-type]
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=authority.client, server_hostname="localhost")
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    break
        yield service
    finally:
        ended.set()
        await running


@dataclass
class Mozilla:
    """Mozilla's push service as a Firefox talks to it. ``url``: where the browser connects. ``taken``: what it has handed to a service worker."""

    url: str = ""
    service: PushService = field(default_factory=PushService)
    taken: asyncio.Queue[str] = field(default_factory=asyncio.Queue)


@contextlib.asynccontextmanager
async def mozilla(authority: Authority) -> AsyncIterator[Mozilla]:
    """The WebSocket of autopush for one browser, and the endpoint that it gives out: what is posted there goes down the socket."""
    async with push_service(authority) as service:
        push = Mozilla(service=service)
        browser: list[web.WebSocketResponse] = []
        channels: dict[str, str] = {}

        async def handle(request: web.Request) -> web.WebSocketResponse:
            ws = web.WebSocketResponse(protocols=("push-notification",))
            await ws.prepare(request)
            browser[:] = [ws]
            async for frame in ws:
                said = json.loads(frame.data)
                answer: dict[str, Any] = {"messageType": said.get("messageType"), "status": 200}
                match said.get("messageType"):
                    case "hello":
                        answer |= {"uaid": said.get("uaid") or "a" * 32, "use_webpush": True, "broadcasts": {}}
                    case "register":
                        path = f"/wpush/v2/{said['channelID']}"
                        channels[path] = said["channelID"]
                        answer |= {"channelID": said["channelID"], "pushEndpoint": service.url + path}
                    case "unregister":
                        answer |= {"channelID": said["channelID"]}
                    case "ack":
                        for update in said["updates"]:
                            push.taken.put_nowait(f"{update['channelID']} {update.get('code')}")
                        continue
                    case _:
                        answer = {}
                await ws.send_json(answer)
            return ws

        async def deliver() -> None:
            delivered = 0
            while True:
                await service.count(delivered + 1, timeout=3600)
                got = service.got[delivered]
                delivered += 1
                data = base64.urlsafe_b64encode(got.body).rstrip(b"=").decode()
                note = {"messageType": "notification", "channelID": channels[got.path], "version": str(delivered), "data": data}
                await browser[0].send_json(note | {"headers": {"encoding": got.headers["Content-Encoding"]}})

        app = web.Application()
        app.router.add_get("/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        delivering = asyncio.create_task(deliver())
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            push.url = f"ws://127.0.0.1:{runner.addresses[0][1]}/"
            yield push
        finally:
            delivering.cancel()
            await runner.cleanup()


def reason(text: str) -> bytes:
    """The body of a refusal by APNs."""
    return json.dumps({"reason": text}).encode()
