"""A whole hub for a test: real SQLite, Redis, key-holder and port; the fixture ``hub``."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace

from signaling.app import Hub
from signaling.client.client import Client
from signaling.contacts import oprf
from signaling.contacts.keyholder import KeyHolder, application
from signaling.settings import Settings
from signaling.storage.redis import any_redis_client, redis_client
from signaling.storage.sql import Database
from signaling.wire.rest import Channel
from tests.databases import as_a_hub_finds_it

_SECRET = "a secret of the hub and its key-holder, for tests"
_KEY = oprf.derive_key(bytes(32), b"test")


@dataclass
class RecordingDelivery:
    """Keeps the last code of each receiver."""

    codes: dict[str, str] = field(default_factory=dict)

    async def send(self, to: str, code: str) -> None:
        self.codes[to] = code

    async def close(self) -> None:
        pass


@dataclass
class RunningHub:
    """``url``: http://127.0.0.1:port. ``codes``: the last code sent to a number or an address."""

    url: str
    codes: dict[str, str]
    hub: Hub
    stores: tuple[str, str]
    """URLs of its Redis, and of the one for address books."""


@asynccontextmanager
async def _serving(app: web.Application, site) -> AsyncIterator[web.AppRunner]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await site(runner).start()
    yield runner
    await runner.cleanup()


@asynccontextmanager
async def running_keyholder(folder: Path) -> AsyncIterator[str]:
    """A key-holder; the path of its socket."""
    socket = str(folder / "keyholder.sock")
    holder = KeyHolder(_KEY, budget=20_000, refill_per_day=1_000)
    async with _serving(application(holder, _SECRET), lambda runner: web.UnixSite(runner, socket)):
        yield socket


@asynccontextmanager
async def running_hub(
    folder: Path, keyholder: str, *, database_url: str, redis_url: str, book_url: str, limits_scale: float = 1_000.0
) -> AsyncIterator[RunningHub]:
    """One hub on these stores. Every client of a test has the same address, and calls often: limits have tests of their own."""
    await as_a_hub_finds_it(database_url)
    delivery = RecordingDelivery()
    hub = Hub(
        Settings(data_dir=folder, port=0, keyholder_url=f"unix:{keyholder}", keyholder_secret=_SECRET, limits_scale=limits_scale),
        database=Database(database_url),
        redis=any_redis_client(redis_url),
        book_redis=redis_client(book_url),
        delivery={Channel.PHONE: delivery, Channel.EMAIL: delivery},
    )
    try:
        await hub.start()
        async with _serving(hub.application(), lambda runner: web.TCPSite(runner, "127.0.0.1", 0)) as runner:
            yield RunningHub(f"http://127.0.0.1:{runner.addresses[0][1]}", delivery.codes, hub, (redis_url, book_url))
            async with asyncio.timeout(5):
                await hub.sockets.close()
    finally:
        await hub.close()


@pytest.fixture
async def hub(_valkeys, redis, book_redis, tmp_path: Path) -> AsyncIterator[RunningHub]:
    """A running hub with empty stores; ``redis`` and ``book_redis`` are its stores."""
    async with (
        running_keyholder(tmp_path) as keyholder,
        running_hub(
            tmp_path,
            keyholder,
            database_url=f"sqlite+aiosqlite:///{tmp_path}/hub.db",
            redis_url=_valkeys[0].url,
            book_url=_valkeys[1].url,
        ) as running,
    ):
        yield running


@asynccontextmanager
async def beside(hub: RunningHub, **changes: Any) -> AsyncIterator[RunningHub]:
    """One more hub on the stores of another, with changed settings if given."""
    running = Hub(
        replace(hub.hub.settings, **changes),
        database=Database(str(hub.hub.database.engine.url)),
        redis=redis_client(hub.stores[0]),
        book_redis=redis_client(hub.stores[1]),
        delivery=hub.hub.delivery,
    )
    await running.start()
    runner = web.AppRunner(running.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield RunningHub(f"http://127.0.0.1:{runner.addresses[0][1]}", hub.codes, running, hub.stores)
    finally:
        await running.sockets.close()
        await runner.cleanup()
        await running.close()


async def register(hub: RunningHub, phone: str, *, url: str | None = None) -> Client:
    """A new account with one connected Python client; through ``url`` if given. The caller closes it."""

    async def code(_channel: Channel, to: str) -> str:
        return hub.codes[to]

    client = Client(url or hub.url)
    await client.open()
    await client.register(
        phone=phone, email=f"user{phone.removeprefix('+')}@kloudtalk.dev", code=code, device_name="a test's device"
    )
    return client
