"""Brings a database to the newest schema with Alembic; safe when several hubs start at once."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from signaling.storage.sql import Database

_LOCK = 0x6B6C6F7564
"""PostgreSQL advisory lock: one hub migrates, the others wait."""


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def migrate(database: Database) -> None:
    """Apply every migration that is missing. Raises ``sqlalchemy.exc.SQLAlchemyError``."""
    async with database.begin() as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        await connection.run_sync(_upgrade)
