"""The migrations build exactly the tables that the code uses."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from signaling.storage.migrate import migrate
from signaling.storage.sql import Database
from signaling.storage.tables import metadata


async def test_migrations_give_the_tables_of_the_code_and_may_run_twice(database: Database):
    async with database.begin() as connection:
        await connection.run_sync(metadata.drop_all)
    await migrate(database)
    await migrate(database)
    async with database.engine.connect() as connection:
        difference = await connection.run_sync(
            lambda c: compare_metadata(MigrationContext.configure(c, opts={"compare_type": True}), metadata)
        )
    assert difference == []
