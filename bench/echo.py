"""The peer of the memory benchmark: a bare aiohttp WebSocket server without sessions, state or limits. Prints its port."""

import asyncio

import uvloop
from aiohttp import web


async def _socket(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(protocols=("kloudtalk.v1",), compress=False, heartbeat=30.0, max_msg_size=65_536)
    await ws.prepare(request)
    async for frame in ws:
        await ws.send_str('{"type":"sync"}' if "hello" in frame.data else frame.data)
    return ws


async def _main() -> None:
    app = web.Application()
    app.router.add_get("/v1/ws", _socket)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(f"listening on {runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_main())
