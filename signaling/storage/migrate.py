"""Brings a database to a schema with Alembic; safe when several hubs start at once, and with hubs of the release before beside them.

A release's migrations only add: tables, columns with a default, indexes. So hubs of the release before go on with the new schema while a
rolling upgrade lasts, and may start on it.
"""

import logging
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from signaling.storage.sql import Database

_LOCK: Final = 0x6B6C6F7564
"""PostgreSQL advisory lock: one hub migrates, the others wait."""

NEWEST: Final = "head"
"""Stands for the newest revision that this release knows."""

log = logging.getLogger(__name__)


class MigrationError(RuntimeError):
    """The database cannot be brought to that revision; the message says why, for the operator."""


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def revisions() -> list[str]:
    """Every revision that this release knows, oldest first."""
    scripts = ScriptDirectory.from_config(_config())
    return [script.revision for script in reversed(list(scripts.walk_revisions()))]


def _migrate(connection: Connection, target: str) -> str | None:
    at = MigrationContext.configure(connection).get_current_revision()
    known = revisions()
    if at is not None and at not in known:
        if target != NEWEST:
            raise MigrationError(
                f"the database is at revision {at}, which a newer release made: only that release can take it back"
            )
        log.warning("the database is at revision %s, of a newer release: going on with it as it is", at)
        return at
    wanted = known[-1] if target == NEWEST else target
    if wanted not in known:
        raise MigrationError(f"there is no revision {wanted}: this release knows {', '.join(known)}")
    if at is not None and known.index(wanted) < known.index(at):
        command.downgrade(_config(connection), wanted)
    else:
        command.upgrade(_config(connection), wanted)
    return wanted


async def current_revision(database: Database) -> str | None:
    """Where the database is; None when it is empty. Raises ``sqlalchemy.exc.SQLAlchemyError``."""
    async with database.engine.connect() as connection:
        return await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())


async def migrate(database: Database, target: str = NEWEST) -> str | None:
    """Bring the database to a revision, forward or back; the revision where it is afterwards.

    Going back loses what the newer tables and columns hold. Raises ``MigrationError``, ``sqlalchemy.exc.SQLAlchemyError``.
    """
    async with database.patient.connect() as connection:
        sqlite = connection.dialect.name == "sqlite"
        if sqlite:
            # SQLite changes some columns by copying a table and dropping the old one, and dropping a table deletes what refers to its
            # rows: all devices of all accounts. Its own manual says to do this meanwhile; it has no effect within a transaction.
            await _foreign_keys(connection, "OFF")
        try:
            async with connection.begin():
                if not sqlite:
                    await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
                reached = await connection.run_sync(_migrate, target)
                if sqlite and (await connection.exec_driver_sql("PRAGMA foreign_key_check")).first() is not None:
                    raise MigrationError("a migration left rows that refer to nothing; nothing was changed")
        finally:
            if sqlite:
                await _foreign_keys(connection, "ON")
    if not sqlite:
        await database.engine.dispose()  # connections from before plan their statements for the schema from before
    return reached


async def _foreign_keys(connection: AsyncConnection, state: str) -> None:
    """Outside of any transaction, so past SQLAlchemy, which would begin one."""
    raw = await connection.get_raw_connection()
    assert raw.driver_connection is not None  # noqa: S101
    await raw.driver_connection.execute(f"PRAGMA foreign_keys={state}")
