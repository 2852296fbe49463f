"""The service under measurement: ``kloudtalk serve`` as an operator runs it, with accounts that know each other put into its stores."""

import asyncio
import contextlib
import hashlib
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from redis.asyncio import Redis
from sqlalchemy import insert

from bench.processes import family, free_port, parent, running, wait_for_port
from signaling.client.keys import DeviceKeys, certify_first
from signaling.contacts.store import ContactStore
from signaling.settings import Settings
from signaling.storage.migrate import migrate
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, consents, devices
from signaling.wire import base64url

_LIMITS = {"KLOUDTALK_LIMITS_SCALE": "100000", "KLOUDTALK_METRICS_PORT": "0"}
"""Everything is counted as ever, but a few clients may do what in earnest a million do."""


@dataclass(frozen=True, slots=True)
class Account:
    """A seeded account with one device."""

    id: str
    device: str
    token: str
    """Session token."""
    discovery: str


@dataclass(frozen=True, slots=True)
class Service:
    """A running service."""

    url: str
    host: str
    port: int
    hub: int
    """Pid."""
    valkeys: list[int]
    supervisor: int


def _commands(pid: int) -> dict[int, str]:
    found: dict[int, str] = {}
    for child in family(pid):
        with contextlib.suppress(OSError):
            found[child] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
    return found


async def seed(folder: Path, count: int) -> list[Account]:
    """Put ``count`` accounts into a new SQLite database in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = Database(f"sqlite+aiosqlite:///{folder.absolute()}/kloudtalk.db")
    await migrate(database)
    now = int(time.time() * 1000)
    made: list[Account] = []
    rows: dict[str, list[dict[str, object]]] = {"accounts": [], "devices": [], "consents": []}
    for number in range(count):
        keys, account = DeviceKeys.generate(), base64url.encode(secrets.token_bytes(16))
        certificate = certify_first(account, Ed25519PrivateKey.generate(), keys, now)
        one = Account(account, keys.device, base64url.encode(secrets.token_bytes(32)), base64url.encode(secrets.token_bytes(64)))
        made.append(one)
        rows["accounts"].append(
            {
                "id": account,
                "phone": f"+4930{number:07}",
                "email": f"user{number}@bench.example",
                "identity_key": certificate.identity_key,
                "discovery_token": one.discovery,
                "policy_version": Settings().policy_version,
                "who_can_call": "contacts",
                "created_at": now,
            }
        )
        rows["devices"].append(
            {
                "id": keys.device,
                "account": account,
                "name": "bench",
                "certificate": msgspec.json.encode(certificate).decode(),
                "token_hash": hashlib.sha256(one.token.encode()).digest(),
                "created_at": now,
            }
        )
        rows["consents"].append(
            {
                "account": account,
                "purpose": "phonebook",
                "granted": True,
                "policy_version": Settings().policy_version,
                "text_sha256": "0" * 64,
                "at": now,
            }
        )
    async with database.begin() as connection:
        for table in (accounts, devices, consents):
            await connection.execute(insert(table), rows[table.name])
    await database.close()
    return made


async def acquaint(folder: Path, pairs: list[tuple[Account, Account]]) -> None:
    """Put each of a pair into the other's address book, in the running service's live store."""
    redis = Redis.from_url(f"unix://{(folder / 'address-book' / 's').absolute()}")
    store = ContactStore(redis)
    for one, other in pairs:
        await store.change(one.id, {other.discovery: "x" * 200}, [], reset=False, limit=100)
        await store.change(other.id, {one.discovery: "x" * 200}, [], reset=False, limit=100)
    await redis.aclose()


@contextlib.asynccontextmanager
async def serving(folder: Path, *, cores: set[int] | None = None, env: Mapping[str, str] | None = None) -> AsyncIterator[Service]:
    """Run the service on ``folder``; the hub on ``cores``, the rest wherever there is room."""
    log = folder.parent / "serve.log"
    command = [sys.executable, "-m", "signaling", "serve", "--port", "0", "--data-dir", str(folder)]
    with running(command, log, env={"PYTHONUNBUFFERED": "1", **_LIMITS, **(env or {})}) as process:
        async with asyncio.timeout(60):
            while "is ready: open " not in (said := log.read_text()):
                if process.poll() is not None:
                    raise RuntimeError(f"the service did not start:\n{said[-2000:]}")
                await asyncio.sleep(0.1)
        url = said.split("is ready: open ")[1].split()[0]
        commands = _commands(process.pid)
        hub = next(pid for pid, text in commands.items() if "signaling hub" in text)
        if cores:
            for thread in Path(f"/proc/{hub}/task").iterdir():  # SQLite's threads are the hub's, too
                os.sched_setaffinity(int(thread.name), cores)
        # not those that a Valkey forks to write its file
        valkeys = [pid for pid, text in commands.items() if "valkey" in text.partition(" ")[0] and parent(pid) == process.pid]
        yield Service(url, "127.0.0.1", int(url.rsplit(":", 1)[1]), hub, valkeys, process.pid)


@contextlib.asynccontextmanager
async def another_hub(folder: Path, *, cores: set[int] | None = None) -> AsyncIterator[tuple[int, int]]:
    """One more hub on the stores of the service that runs on ``folder``; its port and pid."""
    port = free_port()
    environment = {
        "KLOUDTALK_DATA_DIR": str(folder),
        "KLOUDTALK_REDIS_URL": f"unix://{(folder / 'valkey' / 's').absolute()}",
        "KLOUDTALK_ADDRESS_BOOK_REDIS_URL": f"unix://{(folder / 'address-book' / 's').absolute()}",
        "KLOUDTALK_KEYHOLDER_URL": f"unix:{(folder / 'keyholder.sock').absolute()}",
        "KLOUDTALK_KEYHOLDER_SECRET": (folder / "keyholder.secret").read_text().strip(),
        **_LIMITS,
    }
    log = folder.parent / "another.log"
    with running([sys.executable, "-m", "signaling", "hub", "--port", str(port)], log, env=environment, cores=cores) as process:
        await asyncio.to_thread(wait_for_port, port, process, log)
        yield port, process.pid
