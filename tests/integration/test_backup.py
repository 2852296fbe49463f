"""A backup, and the service that comes back from it."""

import os
import tarfile
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import select, text

from signaling.privacy.owed import Owed, What
from signaling.privacy.returned import BACKUP_DAYS, Returned
from signaling.settings import Settings
from signaling.storage.backup import MANIFEST, BackupError, make_backup, restore_backup
from signaling.storage.migrate import migrate, revisions
from signaling.storage.sql import Database, configured_database
from signaling.storage.tables import accounts
from tests.conftest import _postgres_tools, eventually, redis_client
from tests.integration.hub_fixture import register, running_hub, running_keyholder
from tests.integration.test_client_calls import ALICE, BOB, acquainted
from tests.integration.test_serve import run


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data folder with its keys, as ``serve`` makes them."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "discovery.key").write_text("the key")
    (folder / "keyholder.secret").write_text("the secret")
    return Settings(data_dir=folder)


async def put_someone(database: Database) -> None:
    await migrate(database)
    async with database.begin() as connection:
        await connection.execute(
            accounts.insert().values(
                id="a" * 22, phone=ALICE, email="a@kloudtalk.dev", identity_key="k" * 43, discovery_token="t" * 86,
                policy_version="1", who_can_call="contacts", created_at=1,
            )
        )  # fmt: skip


async def phones(settings: Settings) -> list[str]:
    database = configured_database(settings)
    async with database.begin() as connection:
        found = list((await connection.execute(select(accounts.c.phone))).scalars())
    await database.close()
    return found


async def made(settings: Settings, file: Path) -> None:
    database = configured_database(settings)
    await put_someone(database)
    await make_backup(settings, file)
    await database.close()


async def test_sqlite_comes_back_with_the_keys_and_only_the_owner_may_read_any_of_it(settings, tmp_path):
    file, new = tmp_path / "backup.tar", tmp_path / "new"
    await made(settings, file)
    assert file.stat().st_mode & 0o077 == 0
    manifest = await restore_backup(Settings(data_dir=new), file)
    assert await phones(Settings(data_dir=new)) == [ALICE]
    assert (new / "discovery.key").read_text() == "the key"
    assert manifest.revision == revisions()[-1]
    assert [
        path.name
        for path in new.iterdir()
        if path.suffix != ".db-wal" and path.stat().st_mode & 0o077 and path.name in manifest.files
    ] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.tar", "data", "new"]


async def test_postgresql_comes_back_into_an_empty_database_only(_postgres, settings, tmp_path, monkeypatch):  # noqa: PT019
    monkeypatch.setenv("PATH", f"{_postgres_tools()}:{os.environ['PATH']}")
    server = Database(_postgres)
    for name in ("before_backup", "after_backup"):
        async with server.engine.connect() as connection:
            raw = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await raw.execute(text(f"DROP DATABASE IF EXISTS {name}"))
            await raw.execute(text(f"CREATE DATABASE {name}"))
    await server.close()
    before, after = (
        Settings(data_dir=folder, database_url=_postgres.replace("/postgres?", f"/{name}?"))
        for name, folder in (("before_backup", settings.data_dir), ("after_backup", tmp_path / "new"))
    )
    file = tmp_path / "backup.tar"
    await made(before, file)
    await restore_backup(after, file)
    assert await phones(after) == [ALICE]
    with pytest.raises(BackupError, match="move them away"):
        await restore_backup(after, file)
    (tmp_path / "new" / "discovery.key").unlink()
    (tmp_path / "new" / "keyholder.secret").unlink()
    with pytest.raises(BackupError, match="has tables already"):
        await restore_backup(after, file)
    with pytest.raises(BackupError, match=r"the settings ask for kloudtalk\.db"):
        await restore_backup(Settings(data_dir=tmp_path / "third"), file)


async def test_what_is_there_is_never_overwritten_and_what_is_no_backup_is_refused(settings, tmp_path):
    file = tmp_path / "backup.tar"
    with pytest.raises(BackupError, match="no KloudTalk database"):
        await make_backup(settings, file)
    assert not file.exists()
    await made(settings, file)
    with pytest.raises(BackupError, match="is there already"):
        await make_backup(settings, file)
    with pytest.raises(BackupError, match="move them away"):
        await restore_backup(settings, file)
    (tmp_path / "nonsense").write_bytes(b"\0" * 2048)
    for wrong in (tmp_path / "nonsense", tmp_path / "missing", tmp_path):
        with pytest.raises(BackupError):
            await restore_backup(Settings(data_dir=tmp_path / "new"), wrong)
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("harm", ["damaged", "foreign", "newer"])
async def test_a_backup_that_was_touched_or_is_of_a_newer_release_is_refused(settings, tmp_path, harm):
    file, work = tmp_path / "backup.tar", tmp_path / "work"
    await made(settings, file)
    work.mkdir()
    with tarfile.open(file) as tar:
        tar.extractall(work, filter="data")
    manifest = (work / MANIFEST).read_text()
    if harm == "damaged":
        (work / "discovery.key").write_text("another")
    elif harm == "foreign":
        (work / MANIFEST).write_text(manifest.replace('"discovery.key"', '"../discovery.key"'))
    else:
        (work / MANIFEST).write_text(manifest.replace(f'"{revisions()[-1]}"', '"9999"'))
    with tarfile.open(file, "w") as tar:
        for path in work.iterdir():
            tar.add(path, arcname=path.name)
    with pytest.raises(BackupError, match={"damaged": "damaged", "foreign": "none of ours", "newer": "newer than this one"}[harm]):
        await restore_backup(Settings(data_dir=tmp_path / "new"), file)
    assert list((tmp_path / "new").iterdir()) == []


async def test_people_go_on_after_a_restore_and_upload_their_address_books_again(_valkeys, redis, book_redis, tmp_path):  # noqa: PT019
    stores = {"redis_url": _valkeys[0].url, "book_url": _valkeys[1].url}
    async with AsyncExitStack() as stack:
        keyholder = await stack.enter_async_context(running_keyholder(tmp_path))
        async with (
            running_hub(tmp_path, keyholder, database_url=f"sqlite+aiosqlite:///{tmp_path}/kloudtalk.db", **stores) as hub,
            AsyncExitStack() as clients,
        ):
            alice, bob = await acquainted(hub, clients)
            profile = alice.profile
            await make_backup(Settings(data_dir=tmp_path), tmp_path / "backup.tar")
        # the machine is lost, with all its stores
        for url in stores.values():
            client = redis_client(url)
            await client.flushall()
            await client.aclose()
        new = tmp_path / "new"
        await restore_backup(Settings(data_dir=new), tmp_path / "backup.tar")
        async with (
            running_hub(new, keyholder, database_url=f"sqlite+aiosqlite:///{new}/kloudtalk.db", **stores) as hub,
            AsyncExitStack() as clients,
        ):
            again = await clients.enter_async_context(type(alice)(hub.url, profile))
            carol = await register(hub, "+4915112340000")
            clients.push_async_callback(carol.close)
            assert await again.find({BOB: "Bob"}) == {BOB: bob.profile.account}


async def test_nobody_who_was_deleted_since_comes_back_with_a_backup(_valkeys, redis, book_redis, tmp_path):  # noqa: PT019
    stores = {"redis_url": _valkeys[0].url, "book_url": _valkeys[1].url}
    async with running_keyholder(tmp_path) as keyholder:
        url = f"sqlite+aiosqlite:///{tmp_path}/kloudtalk.db"
        async with running_hub(tmp_path, keyholder, database_url=url, **stores) as hub, AsyncExitStack() as clients:
            alice, _bob = await acquainted(hub, clients)
            await make_backup(Settings(data_dir=tmp_path), tmp_path / "backup.tar")
            await hub.hub.erasure.erase_account(alice.profile.account)
        new = tmp_path / "new"
        await restore_backup(Settings(data_dir=new), tmp_path / "backup.tar")
        assert sorted(await phones(Settings(data_dir=new))) == [ALICE, BOB]
        async with running_hub(new, keyholder, database_url=f"sqlite+aiosqlite:///{new}/kloudtalk.db", **stores) as hub:
            await eventually(lambda: hub.hub.retention.rounds)
            assert await phones(Settings(data_dir=new)) == [BOB]
    assert await redis.zcard("erased") == 1


async def test_deletions_are_forgotten_when_no_backup_can_undo_them(redis, database, clock):
    async def erase(_account: str) -> None:
        raise AssertionError("nobody is there")

    returned = Returned(redis=redis, database=database, erase=erase, clock=clock)
    await returned.remember(Owed("a" * 22, What.ACCOUNT, known=False, discovery_token=None, handles=[]))
    clock.advance(BACKUP_DAYS * 86_400 - 1)
    await returned.sweep()
    assert await redis.zcard("erased") == 1
    assert (await redis.zrange("erased", 0, -1))[0].decode() not in ("a" * 22, "")
    clock.advance(2)
    await returned.sweep()
    assert await redis.zcard("erased") == 0


async def test_the_command_says_what_it_did_and_why_not(settings, tmp_path):
    file = tmp_path / "backup.tar"
    code, output = await run("backup", str(file), KLOUDTALK_DATA_DIR=str(settings.data_dir))
    assert (code, "no KloudTalk database" in output) == (1, True)
    await made(settings, tmp_path / "first.tar")
    code, output = await run("backup", str(file), KLOUDTALK_DATA_DIR=str(settings.data_dir))
    assert (code, output) == (0, f"wrote discovery.key, keyholder.secret, kloudtalk.db to {file}\n")
    code, output = await run("restore", str(file), KLOUDTALK_DATA_DIR=str(tmp_path / "new"))
    assert code == 0
    assert output.startswith("put back discovery.key, keyholder.secret, kloudtalk.db of 20")
