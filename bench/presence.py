"""What presence costs: ``python -m bench.presence``.

At rest: Redis commands a second with 100,000 connected devices at one hub. Beside it what a heartbeat key per device would cost (one ``SET`` each 30 s, by
arithmetic). Fan-out: from the moment that an account's first socket is there until the last of 500 watching contacts, half of them at another hub, was
handed the encoded message.

Real Valkey and SQLite, and the hub's own presence services; no sockets, since 200,000 of them do not fit on one machine: a device is an ``attached`` call
as the gateway makes it, and what a socket would be sent is encoded and dropped. Both hubs live in this process.
"""

import argparse
import asyncio
import secrets
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import insert

from bench.processes import report, say
from signaling.contacts.store import ContactStore
from signaling.gateway.request import Session
from signaling.presence.bus import RedisBus
from signaling.presence.service import PresenceService
from signaling.presence.store import PresenceStore
from signaling.storage.embedded import EmbeddedValkey
from signaling.storage.migrate import migrate
from signaling.storage.sql import Database
from signaling.storage.tables import accounts
from signaling.wire import base64url
from signaling.wire.codec import encode
from signaling.wire.messages import PresenceChanged, PresenceWatch

HEARTBEAT = 30.0
"""Seconds between the heartbeats of the way that is compared with."""


class Books:
    """Address books as presence asks for them, straight from their store."""

    def __init__(self, store: ContactStore) -> None:
        self.store = store

    async def tokens_in_book(self, owner: str, tokens: Sequence[str]) -> frozenset[str]:
        """As ``ContactService``."""
        return await self.store.held(owner, tokens)

    async def holders_among(self, token: str, others: Sequence[str]) -> frozenset[str]:
        """As ``ContactService``."""
        return await self.store.holders_among(token, others)


class Hub:
    """One hub's presence. ``told`` counts messages by the account that they are about; ``last`` is when the newest was handed over."""

    def __init__(self, database: Database, books: Books, url: str) -> None:
        self.redis = Redis.from_url(url)
        self.told = 0
        self.last = 0.0
        self.service = PresenceService(
            store=PresenceStore(self.redis), database=database, contacts=books, bus=RedisBus(self.redis), send=self.send, grace=0.0
        )

    def send(self, _device: str, message: PresenceChanged) -> None:
        """What a socket does, up to the network."""
        encode(message)
        self.told += 1
        self.last = time.perf_counter()


def session(account: str, device: str) -> Session:
    """A device as the gateway knows it; presence looks at nothing else."""
    return Session(account, device, "", None)  # type: ignore[arg-type]


async def seed(database: Database, count: int) -> list[tuple[str, str]]:
    """Accounts: (id, discovery token)."""
    await migrate(database)
    made = [(base64url.encode(secrets.token_bytes(16)), base64url.encode(secrets.token_bytes(64))) for _ in range(count)]
    async with database.begin() as connection:
        for start in range(0, count, 5_000):
            rows = [
                {
                    "id": account,
                    "phone": f"+4930{start + number:08}",
                    "email": f"user{start + number}@bench.example",
                    "identity_key": "k" * 43,
                    "discovery_token": token,
                    "policy_version": "1",
                    "who_can_call": "contacts",
                    "created_at": 0,
                }
                for number, (account, token) in enumerate(made[start : start + 5_000])
            ]
            await connection.execute(insert(accounts), rows)
    return made


async def commands(redis: Redis) -> int:
    """Commands that the server has run, those inside of scripts too; this question is left out."""
    stats: Any = await redis.info("commandstats")
    return sum(stat["calls"] for name, stat in stats.items() if name != "cmdstat_info")


async def at_rest(hub: Hub, people: list[tuple[str, str]], seconds: float) -> dict[str, Any]:
    """Connect all, and count what the hub asks of Redis while nothing happens."""
    began, cpu = time.perf_counter(), time.process_time()
    for account, _ in people:
        hub.service.attached(session(account, account))
    await hub.service.connected.settled()
    connected = time.perf_counter() - began
    cpu = time.process_time() - cpu
    say(f"  {len(people)} connected in {connected:.1f} s; counting for {seconds:.0f} s")
    before = await commands(hub.redis)
    await asyncio.sleep(seconds)
    return {
        "commands_per_second": round((await commands(hub.redis) - before) / seconds, 2),
        "connect_seconds": round(connected, 2),
        "connect_cpu_us": round(cpu / len(people) * 1e6, 1),
    }


async def fan_out(hubs: list[Hub], books: Books, people: list[tuple[str, str]], changes: int) -> dict[str, Any]:
    """One account comes and goes; its contacts watch, at both hubs."""
    (owner, owners_token), watchers = people[0], people[1:]
    await books.store.change(owner, {token: "x" for _, token in watchers}, [], reset=False, limit=20_000)
    for number, (watcher, _) in enumerate(watchers):
        await books.store.change(watcher, {owners_token: "x"}, [], reset=False, limit=10)
        service = hubs[number % len(hubs)].service
        service.submit(session(watcher, watcher), PresenceWatch(id=1, accounts=[owner]), lambda _: None)
    for hub in hubs:
        await hub.service.watchers.settled()
    taken, cpu = [], time.process_time()
    for change in range(changes):
        goal = sum(hub.told for hub in hubs) + len(watchers)
        began = time.perf_counter()
        if change % 2:
            hubs[0].service.detached(session(owner, owner))
        else:
            hubs[0].service.attached(session(owner, owner))
        async with asyncio.timeout(30):
            while sum(hub.told for hub in hubs) < goal:
                await asyncio.sleep(0.0005)
        taken.append((max(hub.last for hub in hubs) - began) * 1000)
        await hubs[0].service.connected.settled()
    cpu = time.process_time() - cpu
    taken.sort()
    return {
        "p50_ms": round(statistics.median(taken), 1),
        "p99_ms": round(taken[int(len(taken) * 0.99)], 1),
        "max_ms": round(taken[-1], 1),
        "cpu_ms_per_change": round(cpu / changes * 1000, 2),
        "watchers": len(watchers),
        "hubs": len(hubs),
        "changes": changes,
    }


async def measure(folder: Path, options: argparse.Namespace, url: str) -> dict[str, Any]:
    """Both, one after the other."""
    database = Database(f"sqlite+aiosqlite:///{folder}/presence.db")
    say(f"seeding {options.devices} accounts")
    people = await seed(database, options.devices)
    books = Books(ContactStore(Redis.from_url(url)))
    hubs = [Hub(database, books, url) for _ in range(2)]
    await hubs[0].service.start()
    rest = await at_rest(hubs[0], people[options.watchers + 1 :], options.seconds)
    await hubs[1].service.start()
    say(f"fan-out to {options.watchers}")
    fan = await fan_out(hubs, books, people[: options.watchers + 1], options.changes)
    for hub in hubs:
        await hub.service.close()
        await hub.redis.aclose()
    await database.close()
    return {"rest": rest, "fan_out": fan}


def main() -> int:
    """Run both in one go."""
    parser = argparse.ArgumentParser(description="Redis commands of presence at rest, and the fan-out of one change.")
    parser.add_argument("--devices", type=int, default=100_000, help="connected devices at rest (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="time at rest that is counted (default: %(default)s)")
    parser.add_argument("--watchers", type=int, default=500, help="contacts that watch (default: %(default)s)")
    parser.add_argument("--changes", type=int, default=300, help="comings and goings (default: %(default)s)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kloudtalk-bench-"))
    valkey = EmbeddedValkey(folder / "valkey", persistent=False)
    valkey.start()
    try:
        found = asyncio.run(measure(folder, options, valkey.url))
    finally:
        valkey.stop()
        shutil.rmtree(folder, ignore_errors=True)
    ours, peer = found["rest"]["commands_per_second"], round(options.devices / HEARTBEAT, 1)
    report(
        {
            "metric": "presence_redis_commands_at_rest",
            "ours": ours,
            "peer": peer,
            "ratio": round(ours / peer, 6),
            "unit": "commands/s",
            "devices": options.devices,
            "peer_is": "a heartbeat key per device every 30 s, by arithmetic",
            **found,
        }
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
