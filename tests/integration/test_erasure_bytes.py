"""After a deletion, every byte on disk, every key in Redis, and the memory of the address books' store are read: nothing is left (P07, P23).

The service is the real one: ``kloudtalk serve`` with its embedded stores, in a folder of its own.
"""

import asyncio
import contextlib
import re
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from redis.asyncio import Redis

from signaling.client.client import Client
from signaling.storage import scrub
from signaling.storage.embedded import EmbeddedValkey
from signaling.wire.rest import Channel
from tests.conftest import eventually
from tests.everything import NAMES, TEXTS, use_everything
from tests.integration.hub_fixture import beside
from tests.integration.hub_fixture import register as register_at
from tests.integration.test_serve import children_of, kloudtalk, ready
from tests.personal_data import Person, in_memory, in_redis, on_disk

ANNE, BERT = "+4915112345670", "+4915187654320"


class Codes:
    """Reads the codes that the demo prints on its terminal."""

    def __init__(self, process) -> None:
        self._codes: dict[str, str] = {}
        self._news = asyncio.Condition()
        self.log: list[str] = []
        self._task = asyncio.create_task(self._read(process.stdout))

    async def _read(self, stream) -> None:
        while line := (await stream.readline()).decode():
            self.log.append(line)
            found = re.match(r"code (\d{6}) for (\S+)", line)
            async with self._news:
                if found:
                    self._codes[found[2]] = found[1]
                self._news.notify_all()

    async def __call__(self, _channel: Channel, to: str) -> str:
        async with asyncio.timeout(20), self._news:
            await self._news.wait_for(lambda: to in self._codes)
            return self._codes[to]


async def register(url: str, phone: str, codes: Codes, stack: AsyncExitStack) -> Client:
    client = await stack.enter_async_context(Client(url))
    await client.register(phone=phone, email=f"user{phone[1:]}@kloudtalk.dev", code=codes, device_name="Schreibtischlampe")
    return client


@pytest.fixture
def valkeys(_valkeys):
    """The servers behind ``redis`` and ``book_redis``."""
    return _valkeys


async def test_what_another_hub_lets_go_of_late_leaves_the_append_only_file_too(hub, valkeys, monkeypatch):
    """Two hubs, a device on each: the one that deletes rewrites the file before the other has let go of its device's route (P23)."""
    monkeypatch.setattr(scrub, "_LET_GO", 0.2)
    files = valkeys[0].folder
    async with beside(hub) as other, await register_at(hub, ANNE) as anne, Client(other.url) as second:
        linking = asyncio.create_task(second.claim_link(await anne.open_link(), "Wanduhr"))
        await anne.approve_link()
        await linking
        await eventually(lambda: other.hub.sockets.online(second.profile.device))
        let_go, release = asyncio.Event(), other.hub.cluster.release

        async def late(device: str) -> bool:
            await let_go.wait()
            return await release(device)

        monkeypatch.setattr(other.hub.cluster, "release", late)
        person = Person(frozenset({anne.profile.account, anne.profile.device, second.profile.device}))
        await anne.delete_account()
        assert on_disk(files, person)
        let_go.set()
        await eventually(lambda: not on_disk(files, person), timeout=20)


async def settled(database: Path) -> None:
    """Nothing is owed any more: files and memory have been cleared."""
    import aiosqlite

    async with asyncio.timeout(20):
        while True:
            async with aiosqlite.connect(f"file:{database}?mode=ro", uri=True) as connection:
                (owed,) = await (await connection.execute("SELECT count(*) FROM owed_erasures")).fetchone()
            if not owed:
                return
            await asyncio.sleep(0.05)  # another process does it


async def test_nothing_of_a_person_is_left_on_disk_in_redis_or_in_the_store_s_memory(tmp_path):
    folder = tmp_path / "d"
    async with AsyncExitStack() as stack:
        process = await stack.enter_async_context(kloudtalk("serve", "--port", "0", "--data-dir", str(folder)))
        url = await ready(process)
        codes = Codes(process)
        anne, bert = await register(url, ANNE, codes, stack), await register(url, BERT, codes, stack)
        second = await use_everything(anne, bert, url, stack)
        texts = [f"user{ANNE[1:]}@kloudtalk.dev", second.profile.device, second.profile.token, "Wanduhr im Flur", *NAMES, *TEXTS]
        anne_is = Person.of(anne, *texts)
        live, books = (EmbeddedValkey(folder / name, persistent=False).url for name in ("valkey", "address-book"))
        entries = [entry.entry for entry in (await anne._ask("contacts.get", session=True)).entries]
        person = Person(anne_is.texts | set(entries))
        written = on_disk(folder, person)
        assert "kloudtalk.db-wal" in written
        assert any("appendonly" in name for name in written)
        pid = next(pid for pid, command in children_of(process.pid).items() if "address-book" in command)
        needles = [text.encode() for text in (*entries, anne.profile.account)]
        assert all(in_memory(pid, needles).values())

        await anne.delete_account()
        await bert._ask("calls.forget_all", session=True)  # his lines name her random id
        await settled(folder / "kloudtalk.db")

        # bert's book has the token of anne's number, and his account that of his own: these are bert's
        mine = Person(person.texts - {*bert.profile.tokens.values(), anne.profile.tokens[BERT]})
        assert in_memory(pid, needles) == dict.fromkeys(needles, 0)
        for address in (live, books):
            async with contextlib.aclosing(Redis.from_url(address)) as redis:
                assert await in_redis(redis, mine) == {}
        process.terminate()
        async with asyncio.timeout(20):
            await process.wait()
        assert on_disk(folder, mine) == {}
