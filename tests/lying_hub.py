"""A hub that lies: everything between a client and the real hub passes here, and tests change it on the way (P10)."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
from aiohttp import web

SUBPROTOCOL = "kloudtalk.v1"


class LyingHub:
    """Passes everything on, but for what ``rest`` and ``down`` make of it."""

    def __init__(self, real: str) -> None:
        self.url = ""
        self.rest: Callable[[str, Any], Any] = lambda _path, body: body
        """Changes the JSON body of an answer."""
        self.down: Callable[[dict[str, Any]], list[dict[str, Any]]] = lambda message: [message]
        """What the client gets in place of one message of the real hub."""
        self.up: Callable[[dict[str, Any]], list[dict[str, Any]]] = lambda message: [message]
        """What the real hub gets in place of one message of the client."""
        self.told: list[str] = []
        """Types of the messages that the client sent."""
        self._real = real
        self._sockets: set[web.WebSocketResponse] = set()

    @property
    def sockets(self) -> int:
        """Sockets of clients that are open."""
        return len(self._sockets)

    def swallow(self) -> None:
        """From now on nothing arrives, in either direction, and nobody is told: a network that is gone."""
        self.up = self.down = lambda _message: []

    def pass_on(self) -> None:
        """Back to the truth."""
        self.up = self.down = lambda message: [message]

    def cut(self) -> None:
        """Break every socket, without a close."""
        for client in tuple(self._sockets):
            transport = client._req.transport if client._req is not None else None
            if transport is not None:
                transport.abort()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Any request."""
        async with aiohttp.ClientSession(auto_decompress=False) as http:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._socket(request, http)
            headers = {k: v for k, v in request.headers.items() if k.lower() in ("authorization", "content-type")}
            answer = await http.request(request.method, self._real + request.path_qs, headers=headers, data=await request.read())
            body = await answer.read()
            kept = {
                k: v
                for k, v in answer.headers.items()
                if k.lower() not in ("content-length", "transfer-encoding", "date", "server")
            }
            if request.path.startswith("/v1/") and answer.status == 200:
                body = json.dumps(self.rest(request.path, json.loads(body))).encode()
            return web.Response(status=answer.status, body=body, headers=kept)

    async def _socket(self, request: web.Request, http: aiohttp.ClientSession) -> web.WebSocketResponse:
        client = web.WebSocketResponse(protocols=(SUBPROTOCOL,))
        await client.prepare(request)
        self._sockets.add(client)
        try:
            await self._carry(client, request, http)
        finally:
            self._sockets.discard(client)
        return client

    async def _carry(self, client: web.WebSocketResponse, request: web.Request, http: aiohttp.ClientSession) -> None:
        async with http.ws_connect(self._real + request.path, protocols=(SUBPROTOCOL,), origin=self._real) as hub:

            async def up() -> None:
                async for frame in client:
                    said = json.loads(frame.data)
                    self.told.append(said["type"])
                    for message in self.up(said):
                        await hub.send_str(json.dumps(message))
                await hub.close()

            sending = asyncio.create_task(up())
            async for frame in hub:
                for message in self.down(json.loads(frame.data)):
                    with contextlib.suppress(ConnectionError):
                        await client.send_str(json.dumps(message))
            with contextlib.suppress(ConnectionError):
                await client.close(code=hub.close_code or 1000)
            sending.cancel()


@contextlib.asynccontextmanager
async def lying_hub(real: str) -> AsyncIterator[LyingHub]:
    """Start one in front of a real hub."""
    liar = LyingHub(real)
    app = web.Application(client_max_size=2**21)
    app.router.add_route("*", "/{path:.*}", liar.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        liar.url = f"http://localhost:{runner.addresses[0][1]}"
        yield liar
    finally:
        await runner.cleanup()
