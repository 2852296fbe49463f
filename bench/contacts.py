"""What finding people costs, with a million accounts: ``python -m bench.contacts``.

Three figures, each through the service that the hub runs, on a real SQLite and a real Valkey: matching an upload of 1,000 entries (of which 50 are
accounts) against every registered token; a new registration found among as many waiting tokens; and the key-holder's evaluations. CPU is that of
this process, which stands for the hub, and of Valkey. There is no peer: no other server that is known to us does this in the open.
"""

import argparse
import asyncio
import secrets
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import insert

from bench.processes import cpu_seconds, report, say
from signaling.accounts.directory import Directory
from signaling.contacts import oprf
from signaling.contacts.keyholder import EvaluateRequest, KeyHolder
from signaling.contacts.service import ContactService
from signaling.contacts.store import ContactStore
from signaling.storage.embedded import EmbeddedValkey
from signaling.storage.migrate import migrate
from signaling.storage.sql import Database
from signaling.storage.tables import accounts
from signaling.wire import base64url
from signaling.wire.rest import MAX_EVALUATIONS, MAX_UPLOAD, ChangeContacts, Entry, Purpose

_MATCHES = 50
_SOME = 20_000


class _Everyone:
    """Everybody consents, nothing is owed, nobody listens: what is measured is the matching."""

    def __contains__(self, account: object) -> bool:
        return False

    def keys(self) -> frozenset[str]:
        return frozenset()

    async def granted(self, _account: str, _purpose: Purpose) -> bool:
        return True

    async def withdrawn(self, _account: str, _purpose: Purpose) -> bool:
        return False

    def __getattr__(self, _name: str) -> Any:
        return lambda *_: None


def _name(n: int) -> str:
    return f"a{n:021}"


def _token(n: int) -> str:
    return f"{n:022}".rjust(86, "t")


async def _seed(database: Database, redis: Redis, count: int) -> None:
    await migrate(database)
    for start in range(0, count, _SOME):
        some = range(start, min(count, start + _SOME))
        rows = [
            {
                "id": _name(n), "phone": f"+4915{n:09}", "email": f"u{n}@example.org", "identity_key": "k" * 43,
                "discovery_token": _token(n), "policy_version": "1", "who_can_call": "contacts", "created_at": n,
            }
            for n in some
        ]  # fmt: skip
        async with database.begin() as connection:
            await connection.execute(insert(accounts), rows)
        # as many tokens of people who are not here yet, each waited for by one account
        async with redis.pipeline(transaction=False) as pipe:
            for n in some:
                pipe.sadd(f"holders:{_token(count + n)}", _name(n))
            await pipe.execute()
        if start % 200_000 == 0:
            say(f"  {start + len(some)} seeded")


def _spread(seconds: list[float]) -> dict[str, float]:
    return {"p50": round(statistics.median(seconds) * 1000, 3), "p99": round(statistics.quantiles(seconds, n=100)[98] * 1000, 3)}


async def _timed(work: Any, times: int, valkey: int) -> dict[str, Any]:
    seconds: list[float] = []
    cpu, store = time.process_time(), cpu_seconds([valkey])
    for n in range(times):
        started = time.perf_counter()
        await work(n)
        seconds.append(time.perf_counter() - started)
    cpu, store = time.process_time() - cpu, cpu_seconds([valkey]) - store
    return {"wall_ms": _spread(seconds), "cpu_ms": round(cpu / times * 1000, 3), "valkey_cpu_ms": round(store / times * 1000, 3)}


async def measure(folder: Path, count: int, times: int) -> dict[str, Any]:
    """Every figure. ``count``: registered accounts, and waiting tokens."""
    valkey = EmbeddedValkey(folder / "book", persistent=False)
    valkey.start()
    assert valkey.process is not None
    database, redis = Database(f"sqlite+aiosqlite:///{folder}/kloudtalk.db"), Redis.from_url(valkey.url)
    try:
        say(f"seeding {count} accounts and {count} waiting tokens")
        await _seed(database, redis, count)
        everyone = _Everyone()

        async def settle(_account: str) -> None:
            return

        service = ContactService(
            database=database, store=ContactStore(redis), directory=Directory(database), discovery=everyone, consents=everyone,
            events=everyone, owed=everyone, settle=settle,
        )  # type: ignore[arg-type]  # fmt: skip
        say(f"{times} uploads of {MAX_UPLOAD} entries")

        async def upload(n: int) -> None:
            here = [Entry(_token(secrets.randbelow(count)), "e" * 120) for _ in range(_MATCHES)]
            others = [Entry(secrets.token_hex(43), "e" * 120) for _ in range(MAX_UPLOAD - _MATCHES)]
            answer = await service.change(_name(n), ChangeContacts(here + others))
            assert len(answer.matches) >= _MATCHES - 5

        uploads = await _timed(upload, times, valkey.process.pid)
        say(f"{times * 10} registrations")
        found: list[int] = []

        async def join(n: int) -> None:
            token = _token(count + secrets.randbelow(count))
            found.append(len(await service.holders_of(token)))
            await service.joined(_name(count + n), token)

        joins = await _timed(join, times * 10, valkey.process.pid)
        assert min(found) == 1
    finally:
        await redis.aclose()
        await database.close()
        valkey.stop()
    return {"upload_of_1000": uploads, "registration": joins, "keyholder": evaluations()}


def evaluations(seconds: float = 3.0) -> dict[str, Any]:
    """Evaluations a second of one core: bare, and as the key-holder does them for a hub's request."""
    key = oprf.derive_key(bytes(32), b"bench")
    element = oprf.blind(b"+4915112345678", secrets.token_bytes(64))[1]

    def rate(work: Any, each: int) -> float:
        done, started = 0, time.process_time()
        while time.process_time() - started < seconds:
            work()
            done += each
        return round(done / (time.process_time() - started))

    holder = KeyHolder(key, budget=10**9, refill_per_day=1)
    request = EvaluateRequest("h" * 22, [base64url.encode(element)] * MAX_EVALUATIONS)
    return {
        "bare_per_second": rate(lambda: oprf.blind_evaluate(key, element), 1),
        "per_second": rate(lambda: holder.evaluate(request), MAX_EVALUATIONS),
    }


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--accounts", type=int, default=1_000_000, help="registered accounts, and waiting tokens (default: 1000000)"
    )
    parser.add_argument("--times", type=int, default=200, help="uploads; registrations are ten times as many (default: 200)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kt-bench-"))
    try:
        figures = asyncio.run(measure(folder, options.accounts, options.times))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report(
        {
            "metric": "matching an upload of 1,000 entries",
            "ours": figures["upload_of_1000"]["cpu_ms"],
            "peer": None,
            "ratio": None,
            "unit": "ms of CPU at the hub",
            "accounts": options.accounts,
            **figures,
        }
    )


if __name__ == "__main__":
    main()
