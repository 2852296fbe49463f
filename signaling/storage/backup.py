"""Backup of what must last, and its return: the database, the discovery key, the secret of hub and key-holder.

One tar file that only its owner may read. Not in it, on purpose: address books, which have no backup (P07), and live state (calls, presence,
rate limits), which is worth nothing once it is old. Whoever was deleted after a backup was made is in it: keep backups for a short time.
"""

import asyncio
import hashlib
import io
import os
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import make_url, text
from sqlalchemy.exc import SQLAlchemyError

import signaling
from signaling.settings import Settings
from signaling.storage.migrate import revisions
from signaling.storage.sql import Database, configured_database

MANIFEST: Final = "manifest.json"
SQLITE: Final = "kloudtalk.db"
POSTGRES: Final = "postgres.dump"
"""In the custom format of ``pg_dump``."""
KEYS: Final = ("discovery.key", "keyholder.secret")
"""Files of the data folder. Without the discovery key no number would be found again: every token is made with it."""
_LIMIT: Final = 64 * 1024
"""Bytes that a manifest or a key may have."""


class BackupError(RuntimeError):
    """It cannot be done; the message says why, for the operator."""


class Manifest(msgspec.Struct, frozen=True):
    """What a backup holds. ``made_at`` in milliseconds; ``files``: hexadecimal SHA-256 of each, by name."""

    version: str
    revision: str
    made_at: int
    files: dict[str, str]


async def make_backup(settings: Settings, output: Path) -> Manifest:
    """Write a backup while the service runs, or not. Raises ``BackupError``; then there is no file."""
    _must_not_exist(output)
    folder = settings.data_dir
    with _private_folder(output.parent) as work:
        database = configured_database(settings)
        try:
            revision = await _revision(database)
        finally:
            await database.close()
        await asyncio.to_thread(_dump, settings, work)
        for name in KEYS:
            if (folder / name).exists():
                shutil.copyfile(folder / name, work / name)
        files = {path.name: _digest(path) for path in sorted(work.iterdir())}
        manifest = Manifest(signaling.__version__, revision, int(time.time() * 1000), files)
        await asyncio.to_thread(_pack, work, manifest, output)
    return manifest


async def restore_backup(settings: Settings, source: Path) -> Manifest:
    """Put a backup back: into an empty data folder, or an empty PostgreSQL database. No hub may run. Raises ``BackupError``."""
    folder = settings.data_dir
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _private_folder(folder) as work:
        manifest = await asyncio.to_thread(_unpack, source, work)
        if manifest.revision not in revisions():
            raise BackupError(f"it was made by KloudTalk {manifest.version}, which is newer than this one: install that first")
        wanted = POSTGRES if _is_postgres(settings) else SQLITE
        if wanted not in manifest.files:
            raise BackupError(f"it holds {' and '.join(manifest.files)}; the settings ask for {wanted}: is database_url right?")
        taken = [name for name in manifest.files if name != POSTGRES and (folder / name).exists()]
        if taken:
            raise BackupError(f"{folder} has {' and '.join(taken)} already: move them away first")
        if wanted == POSTGRES:
            database = configured_database(settings)
            try:
                await _must_be_empty(database)
            finally:
                await database.close()
            await asyncio.to_thread(_postgres, settings, "pg_restore", "--no-owner", "--exit-on-error", "--single-transaction",
                                    "--dbname", _name(settings), str(work / POSTGRES))  # fmt: skip
        for name in manifest.files:
            if name != POSTGRES:
                (work / name).rename(folder / name)
    return manifest


# --- databases --------------------------------------------------------------------------------------------------------------------


def _is_postgres(settings: Settings) -> bool:
    return bool(settings.database_url and settings.database_url.startswith("postgresql"))


async def _revision(database: Database) -> str:
    try:
        async with database.engine.connect() as connection:
            return str((await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one())
    except SQLAlchemyError as error:
        raise BackupError(f"there is no KloudTalk database, or it does not answer ({type(error).__name__})") from None


async def _must_be_empty(database: Database) -> None:
    try:
        async with database.engine.connect() as connection:
            query = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
            if (await connection.execute(text(query))).scalar_one():
                raise BackupError("the database has tables already: make an empty one, and name it in database_url")
    except SQLAlchemyError as error:
        raise BackupError(f"the database does not answer ({type(error).__name__})") from None


def _dump(settings: Settings, work: Path) -> None:
    if _is_postgres(settings):
        _postgres(settings, "pg_dump", "--format=custom", "--no-owner", "--file", str(work / POSTGRES), _name(settings))
        return
    path = make_url(settings.database_url).database if settings.database_url else str(settings.data_dir.absolute() / SQLITE)
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)
    try:
        connection.execute("VACUUM INTO ?", (str(work / SQLITE),))  # one moment of it, also while hubs write
    except sqlite3.Error as error:
        raise BackupError(f"the database cannot be copied: {error}") from None
    finally:
        connection.close()


def _name(settings: Settings) -> str:
    return make_url(settings.database_url or "").database or "postgres"


def _postgres(settings: Settings, *command: str) -> None:
    """Run a tool of PostgreSQL's. The password goes through the environment: command lines can be read by everyone on a machine."""
    url = make_url(settings.database_url or "")
    host = url.host or url.query.get("host") or "localhost"
    environment = dict(os.environ) | {"PGHOST": str(host), "PGPORT": str(url.port or 5432)}
    if url.username:
        environment["PGUSER"] = url.username
    if url.password:
        environment["PGPASSWORD"] = str(url.password)
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        raise BackupError(f"{command[0]} is not installed (Debian: postgresql-client)") from None
    if done.returncode:
        raise BackupError(f"{command[0]} failed: {done.stderr.strip() or done.returncode}")


# --- the file ---------------------------------------------------------------------------------------------------------------------


@contextmanager
def _private_folder(beside: Path) -> Iterator[Path]:
    """A folder on the same disk that nobody else may look into, gone afterwards."""
    try:
        made = Path(tempfile.mkdtemp(prefix=".kloudtalk-", dir=beside.absolute()))
    except OSError as error:
        raise BackupError(f"{beside}: {error.strerror}") from None
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _must_not_exist(output: Path) -> None:
    if output.exists():
        raise BackupError(f"{output} is there already")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pack(work: Path, manifest: Manifest, output: Path) -> None:
    new = work / "new.tar"
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            head = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
            info = tarfile.TarInfo(MANIFEST)
            info.size, info.mode = len(head), 0o600
            tar.addfile(info, io.BytesIO(head))
            for name in manifest.files:
                tar.add(work / name, arcname=name)
        file.flush()
        os.fsync(file.fileno())
    new.rename(output)


def _unpack(source: Path, work: Path) -> Manifest:
    """Every file of the backup, checked against the manifest. Nothing but the names that we know is taken out of it."""
    try:
        with tarfile.open(source) as tar:
            head = tar.extractfile(MANIFEST)
            if head is None:
                raise KeyError
            manifest = msgspec.json.decode(head.read(_LIMIT), type=Manifest)
            for name, digest in manifest.files.items():
                if name not in (SQLITE, POSTGRES, *KEYS):
                    raise BackupError(f"it holds {name}, which is none of ours")
                content = tar.extractfile(name)
                if content is None:
                    raise KeyError
                with os.fdopen(os.open(work / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    shutil.copyfileobj(content, file)
                    file.flush()
                    os.fsync(file.fileno())
                if _digest(work / name) != digest:
                    raise BackupError(f"{name} is not what was backed up: the file is damaged")
    except OSError as error:
        raise BackupError(f"{source}: {error.strerror or error}") from None
    except (tarfile.TarError, KeyError, msgspec.DecodeError):
        raise BackupError(f"{source} is not a backup of KloudTalk, or it is damaged") from None
    return manifest
