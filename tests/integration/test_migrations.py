"""Migrations: they build exactly the tables that the code uses, and go forward and back without losing a row that both sides have."""

import hashlib
import itertools
import time

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Boolean, Connection, Integer, LargeBinary, MetaData, String, Table, inspect, select, text
from sqlalchemy.exc import DBAPIError

from signaling.operators.audit import FIRST, AuditTrail, Verified, digest_of
from signaling.operators.service import hash_code
from signaling.storage.migrate import MigrationError, migrate, revisions
from signaling.storage.sql import Database
from signaling.storage.tables import metadata, operators

Rows = dict[str, list[dict]]
_numbers = itertools.count(1)


def tables_of(connection: Connection) -> list[Table]:
    """What is there now, parents before children; without Alembic's own."""
    found = MetaData()
    found.reflect(connection)
    return [table for table in found.sorted_tables if table.name != "alembic_version"]


def fill(connection: Connection) -> None:
    """A row for each table that has none, which refers to rows that are there."""
    for table in tables_of(connection):
        if connection.execute(table.select().limit(1)).first() is not None:
            continue
        row = {}
        for column in table.columns:
            number = next(_numbers)
            if column.foreign_keys:
                parent = next(iter(column.foreign_keys)).column
                row[column.name] = connection.execute(parent.table.select().limit(1)).mappings().one()[parent.name]
            elif isinstance(column.type, LargeBinary):
                row[column.name] = number.to_bytes(32, "big")
            elif isinstance(column.type, Boolean):
                row[column.name] = True
            elif isinstance(column.type, Integer):
                row[column.name] = number
            elif isinstance(column.type, String):
                row[column.name] = str(number)
            else:
                raise AssertionError(f"{table.name}.{column.name}: how is a {column.type} made?")
        connection.execute(table.insert().values(row))


def read(connection: Connection) -> Rows:
    return {table.name: [dict(row) for row in connection.execute(table.select()).mappings()] for table in tables_of(connection)}


def in_both(rows: Rows, other: Rows) -> Rows:
    """The part of ``rows`` whose tables and columns ``other`` has too."""
    return {
        name: [{column: value for column, value in row.items() if column in other[name][0]} for row in found]
        for name, found in rows.items()
        if other.get(name)
    }


@pytest.fixture
async def empty(database: Database) -> Database:
    """A database without a table."""
    async with database.begin() as connection:
        await connection.run_sync(metadata.drop_all)
    return database


async def differences(database: Database) -> list:
    async with database.engine.connect() as connection:
        return await connection.run_sync(
            lambda c: compare_metadata(MigrationContext.configure(c, opts={"compare_type": True}), metadata)
        )


async def test_migrations_give_the_tables_of_the_code_and_may_run_twice(empty: Database):
    await migrate(empty)
    await migrate(empty)
    assert await differences(empty) == []


async def test_no_row_is_lost_on_the_way_forward_and_back_and_forward(empty: Database):
    way = revisions()
    for target in [*way, *reversed(way[:-1]), *way[1:]]:
        async with empty.engine.connect() as connection:
            before = await connection.run_sync(read)
        assert await migrate(empty, target) == target
        async with empty.begin() as connection:
            after = await connection.run_sync(read)
            assert in_both(before, after) == in_both(after, before), target
            await connection.run_sync(fill)
    assert await differences(empty) == []
    await migrate(empty, way[0])
    async with empty.engine.connect() as connection:
        first = set(await connection.run_sync(lambda c: inspect(c).get_table_names()))
    assert "accounts" in first
    assert "tickets" not in first


async def test_a_hub_of_the_release_before_starts_on_the_newer_schema_and_cannot_take_it_back(empty: Database):
    await migrate(empty)
    async with empty.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert await migrate(empty) == "9999"
    with pytest.raises(MigrationError, match="only that release"):
        await migrate(empty, revisions()[0])
    with pytest.raises(MigrationError, match="only that release"):
        await migrate(empty, "0000")


async def test_an_unknown_revision_is_refused(empty: Database):
    with pytest.raises(MigrationError, match="there is no revision 0000"):
        await migrate(empty, "0000")


async def test_a_secret_of_old_becomes_an_invitation_and_the_trail_stays_whole_and_closed(empty: Database):
    secret = "0123456789abcdef" * 4
    await migrate(empty, "0008")
    digest = digest_of(FIRST, 5, "ada", "operator_added", "")
    async with empty.begin() as connection:
        await connection.execute(
            text("INSERT INTO operators (name, secret_hash, created_at) VALUES ('ada', :digest, 5)"),
            {"digest": hashlib.sha256(secret.encode()).digest()},
        )
        await connection.execute(
            text(
                "INSERT INTO audit_log (at, operator, action, subject, before, digest) VALUES (5, 'ada', 'operator_added', '', :b, :d)"
            ),
            {"b": FIRST, "d": digest},
        )
    await migrate(empty)
    async with empty.begin() as connection:
        row = (await connection.execute(select(operators))).one()
    assert (row.name, row.role, row.enrolment_hash) == ("ada", "support", hash_code(secret))
    assert 0 < row.enrolment_until - time.time() * 1000 <= 30 * 86_400_000
    trail = AuditTrail(empty)
    await trail.note(None, "operator_changed", "ada", "role admin")
    assert await trail.verify() == Verified(2, (await trail.read())[1].digest, None)
    for statement in ("UPDATE audit_log SET operator = 'eve'", "DELETE FROM audit_log WHERE at > 5"):
        with pytest.raises(DBAPIError, match="append-only"):
            async with empty.begin() as connection:
                await connection.execute(text(statement))
