"""Real stores for the tests: a Valkey per test process, SQLite per test, PostgreSQL per test process when it is installed."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from signaling.storage.embedded import EmbeddedValkey
from signaling.storage.sql import Database
from tests.databases import new_postgres, new_sqlite
from tests.inventory import unknown_keys

pytest_plugins = ["tests.log_scanner"]

_LONGEST = (
    "test_chaos.py", "test_serve.py", "test_admin_cli.py", "test_migrations.py", "test_presence_leaks.py", "test_stampede.py",
    "test_call_machine_model.py", "test_decoder.py", "test_echo.py", "test_erasure_postgres.py", "test_bad_input.py", "test_relay_process.py",
    "test_operating.py",
)  # fmt: skip
"""Files that take longest begin first: a process that is left with one of them at the end keeps all others waiting."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put them in front, and leave the others in their order."""
    places = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


class Clock:
    """A clock that tests move by hand. Seconds since 1970."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def _valkeys() -> Iterator[tuple[EmbeddedValkey, EmbeddedValkey]]:
    with tempfile.TemporaryDirectory(prefix="kt-", ignore_cleanup_errors=True) as folder:
        state = EmbeddedValkey(Path(folder) / "state", persistent=True)
        book = EmbeddedValkey(Path(folder) / "book", persistent=False)
        state.start()
        book.start()
        yield state, book
        state.stop()
        book.stop()


@pytest.fixture
async def redis(_valkeys) -> AsyncIterator[Redis]:
    async for client in _clean(_valkeys[0].url):
        yield client


@pytest.fixture
def state_url(_valkeys, redis) -> str:
    """The URL of the empty Redis for live state."""
    return _valkeys[0].url


@pytest.fixture
def book_url(_valkeys) -> str:
    """The URL of the Redis for address books."""
    return _valkeys[1].url


@pytest.fixture
async def book_redis(_valkeys) -> AsyncIterator[Redis]:
    async for client in _clean(_valkeys[1].url):
        yield client


async def _clean(url: str) -> AsyncIterator[Redis]:
    """An empty Redis. What a test leaves there must stand in the data inventory: so every test that uses a feature proves its keys."""
    client = redis_client(url)
    await client.flushall()
    yield client
    assert unknown_keys(await client.keys("*")) == [], "keys without a row in docs/data.md"
    await client.aclose()


def redis_client(url: str) -> Redis:
    """A client of the URL of an embedded Valkey."""
    return Redis.from_url(url)


def _postgres_tools() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) if Path("/usr/lib/postgresql").exists() else []
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


@pytest.fixture(scope="session")
def _postgres() -> Iterator[str]:
    """A throw-away PostgreSQL on a unix socket; its data is not synced to disk."""
    tools = _postgres_tools()
    if tools is None:
        pytest.skip("PostgreSQL is not installed (scripts/test installs it)")
    folder = Path(tempfile.mkdtemp(prefix="kt-pg-"))
    user = []
    if os.geteuid() == 0:  # initdb refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    folder.chmod(0o755)

    def run(*command: str) -> None:
        subprocess.run([*user, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)

    data = folder / "data"
    run(str(tools / "initdb"), "-D", str(data), "-U", "kloudtalk", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off -c max_connections=50 -c wal_recycle=off"
    run(str(tools / "pg_ctl"), "-D", str(data), "-w", "-o", options, "-l", str(folder / "log"), "start")
    yield f"postgresql+asyncpg://kloudtalk@/postgres?host={folder}"
    run(str(tools / "pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request, tmp_path) -> AsyncIterator[Database]:
    """An empty database with every table."""
    if request.param == "sqlite":
        url = await new_sqlite(tmp_path / "kloudtalk.db")
    else:
        url = await new_postgres(request.getfixturevalue("_postgres"))
    database = Database(url)
    yield database
    await database.close()


@pytest.fixture
async def empty_postgres(_postgres) -> str:
    """The URL of a new database without tables."""
    return await new_postgres(_postgres, None)


async def eventually(condition, timeout: float = 10.0) -> None:
    """Wait until ``condition()`` is true, letting the event loop run; fails after ``timeout`` seconds."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
