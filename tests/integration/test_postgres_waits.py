"""A PostgreSQL that does not answer holds nobody up for ever; what may take long may."""

import asyncio
import socket

import pytest
from sqlalchemy import select, text

from signaling.storage.sql import Database
from signaling.storage.tables import metadata


@pytest.fixture
async def impatient(empty_postgres, monkeypatch):
    monkeypatch.setattr("signaling.storage.sql._COMMAND_TIMEOUT", 0.3)
    database = Database(empty_postgres)
    yield database
    await database.close()


async def test_a_statement_that_waits_for_a_lock_is_given_up_and_the_next_is_not(impatient):
    async with impatient.patient.begin() as connection:
        await connection.run_sync(metadata.create_all)
    accounts = metadata.tables["accounts"]
    async with asyncio.timeout(30):
        async with impatient.patient.begin() as other:
            await other.execute(text("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE"))
            with pytest.raises(TimeoutError):
                await impatient.fetch(select(accounts.c.id))
            with pytest.raises(TimeoutError):
                async with impatient.begin() as connection:
                    await connection.execute(select(accounts.c.id))
        assert await impatient.fetch(select(accounts.c.id)) == []


async def test_migrations_and_sweeps_have_the_time_that_they_need(impatient):
    async with impatient.patient.connect() as connection:
        assert (await connection.execute(text("SELECT 1 FROM pg_sleep(0.6)"))).scalar_one() == 1


async def test_a_server_that_takes_the_connection_and_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr("signaling.storage.sql._CONNECT_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        database = Database(f"postgresql+asyncpg://x@127.0.0.1:{silent.getsockname()[1]}/x")
        async with asyncio.timeout(30):
            with pytest.raises(TimeoutError):
                await database.ping()
        await database.close()
