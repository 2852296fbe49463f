"""What is left of a deleted account in the files of a real PostgreSQL: after a VACUUM, and after ``kloudtalk scrub`` (P23; docs/security.md)."""

import asyncio
import secrets
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import delete, insert, text

from signaling.cli import main
from signaling.storage.scrub import rewrite_sql, vacuum
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, devices, metadata, pictures, ticket_attachments, ticket_messages, tickets

ANN, BEN = "A" * 22, "B" * 22


@pytest.fixture
async def postgres(empty_postgres):
    """(database, folder of its files)."""
    folder = Path(parse_qs(urlsplit(empty_postgres).query)["host"][0]) / "data"
    database = Database(empty_postgres)
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield database, folder
    await database.close()


async def person(database: Database, account: str) -> list[bytes]:
    """Store an account with what belongs to it; answers what must not be found afterwards."""
    name, about, told, said = (secrets.token_hex(12) for _ in range(4))
    phone, email = f"+49{secrets.randbelow(10**11):011}", f"{secrets.token_hex(8)}@example.org"
    image, file = secrets.token_bytes(30_000), secrets.token_bytes(90_000)  # out of line, in TOAST tables
    rows = (
        (accounts, {"id": account, "phone": phone, "email": email, "identity_key": "k" * 43, "discovery_token": secrets.token_hex(43),
            "policy_version": "1", "who_can_call": "contacts", "created_at": 1, "name": name, "about": about}),
        (devices, {"id": account, "account": account, "name": told, "certificate": "{}", "token_hash": secrets.token_bytes(32), "created_at": 1}),
        (pictures, {"account": account, "image": image, "media_type": "image/webp", "changed_at": 1}),
        (tickets, {"id": account, "account": account, "subject": said, "state": "open", "opened_at": 1, "changed_at": 1}),
        (ticket_messages, {"id": account, "ticket": account, "account": account, "position": 0, "from_operator": False, "text": said, "at": 1}),
        (ticket_attachments, {"id": account, "ticket": account, "account": account, "message": account, "name": told, "media_type": "text/plain",
            "content": file}),
    )  # fmt: skip
    async with database.begin() as connection:
        for table, values in rows:
            await connection.execute(insert(table).values(**values))
    return [
        *(value.encode() for value in (name, about, told, said, phone, email)),
        image[:24],
        image[-24:],
        file[:24],
        file[50_000:50_024],
    ]


def found(folder: Path, needles: list[bytes]) -> dict[str, int]:
    """How many of the needles each file holds; files go and come while one looks."""
    hits = {}
    for path in folder.rglob("*"):
        try:
            content = path.read_bytes() if path.is_file() else b""
        except FileNotFoundError:
            continue
        count = sum(needle in content for needle in needles)
        if count:
            hits[str(path.relative_to(folder))] = count
    return hits


async def test_no_file_holds_anything_of_a_deleted_account_after_a_scrub(postgres, monkeypatch, capsys):
    database, folder = postgres
    monkeypatch.setenv("KLOUDTALK_DATABASE_URL", database.engine.url.render_as_string(hide_password=False))
    ann, ben = await person(database, ANN), await person(database, BEN)
    autocommit = database.engine.execution_options(isolation_level="AUTOCOMMIT")
    async with autocommit.connect() as connection:
        await connection.execute(text("ANALYZE"))  # the planner keeps samples of what is stored
        await connection.execute(text("CHECKPOINT"))
    before = found(folder, ann)
    assert any(name.startswith("base/") for name in before)
    assert any(name.startswith("pg_wal/") for name in before)
    async with database.begin() as connection:
        await connection.execute(delete(accounts).where(accounts.c.id == ANN))  # the rest goes with it

    await vacuum(database)  # what every hub does each hour: no row can be read, its bytes are not yet overwritten
    assert found(folder, ann)

    assert await asyncio.to_thread(main, ["scrub"]) == 0
    assert capsys.readouterr().err == ""
    assert found(folder, ann) == {}
    kept = found(folder, ben)
    assert max(kept.values()) >= 1, "the others' data is still there"
    async with database.begin() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM ticket_attachments"))).scalar_one() == 1


async def test_sqlite_is_written_anew_too(tmp_path):
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/kloudtalk.db")
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    ann = await person(database, ANN)
    async with database.begin() as connection:
        await connection.execute(delete(accounts).where(accounts.c.id == ANN))
    assert await rewrite_sql(database) == []
    await database.close()
    assert found(tmp_path, ann) == {}
