"""Databases that are made once for each test process, and copied for each test: making them anew costs more than most tests do.

How they come about is what ``integration/test_migrations.py`` and ``integration/test_serve.py`` look at, without copies.
"""

import itertools
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import text

from signaling.storage.migrate import migrate
from signaling.storage.sql import Database
from signaling.storage.tables import metadata

_SQLITE = "sqlite+aiosqlite:///"
_names = itertools.count()
_folder = tempfile.TemporaryDirectory(prefix="kt-databases-")
_made: dict[tuple[str, str], str] = {}
"""Of each server (SQLite has none) and kind, what to copy."""


async def tables(database: Database) -> None:
    """Every table, without migrations."""
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)


Maker = Callable[[Database], Awaitable[Any]]


async def new_sqlite(file: Path, how: Maker = tables) -> str:
    """A database without rows in a new file; its URL. ``how``: ``tables``, or ``migrate`` as a hub would find it."""
    original = _made.get(("", how.__name__))
    if original is None:
        original = f"{_folder.name}/{how.__name__}.db"
        await _make(_SQLITE + original, how)
        _made["", how.__name__] = original
    shutil.copyfile(original, file)
    return f"{_SQLITE}{file}"


async def new_postgres(server: str, how: Maker | None = tables) -> str:
    """A new database of a server; its URL. ``server``: the URL of its database ``postgres``. ``how``: None for one without tables."""
    if how is None:
        return await _create(server, "template1")
    original = _made.get((server, how.__name__))
    if original is None:
        url = await _create(server, "template1")
        await _make(url, how)
        original = _made[server, how.__name__] = urlsplit(url).path.removeprefix("/")
    return await _create(server, original)


async def as_a_hub_finds_it(url: str) -> None:
    """Make the file of a SQLite URL as an earlier start of a hub would have, unless it is there."""
    file = Path(url.removeprefix(_SQLITE))
    if url.startswith(_SQLITE) and not file.exists():
        await new_sqlite(file, migrate)


async def _make(url: str, how: Maker) -> None:
    database = Database(url)
    await how(database)
    await database.close()


async def _create(server: str, original: str) -> str:
    name = f"t{os.getpid()}_{next(_names)}"
    admin = Database(server)
    async with admin.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {original}"))
    await admin.close()
    return server.replace("/postgres?", f"/{name}?")
