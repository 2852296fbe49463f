"""What the last release said, recorded: so that hubs and clients of it and of this one work side by side during a rolling upgrade.

    python -m tests.compatibility VERSION       records what this checkout says, when a release is made

A recording holds a few calls between made-up people, as frames and REST answers; and what a hub left in Redis for the others.
"""

import asyncio
import base64
import json
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp

from signaling.cluster.messages import (
    AccountText,
    BusMessage,
    DevicesRemoved,
    Invalidated,
    Joined,
    Missed,
    PairChanged,
    Renewed,
    Replaced,
    Restricted,
    Resync,
    Text,
    encode_bus,
)
from signaling.storage.embedded import EmbeddedValkey
from signaling.storage.sql import Database
from tests.conftest import redis_client
from tests.integration.hub_fixture import running_hub, running_keyholder
from tests.phones import SEALED, Account, Phone, seed

FOLDER = Path(__file__).parent / "vectors"
GETS = ("/v1/server", "/v1/account", "/v1/devices", "/v1/calls", "/v1/consents", "/v1/blocks", "/v1/contacts", "/v1/ice-servers")


class Recorder(Phone):
    """A phone that keeps what it says."""

    def __init__(self, account: Account, device: str) -> None:
        super().__init__(account, device)
        self.said: list[dict[str, Any]] = []

    async def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        self.said.append({"type": kind, "id": len(self.said) + 1, **fields})
        return await super().ask(kind, **fields)


async def calls(alice: Recorder, bob: Recorder, bobs_other: Recorder) -> str:
    """The same few calls each time; the id of one that is still up at the end."""
    for how in ("talk", "decline", "give up"):
        call = await alice.invite(bob.account)
        assert await bob.rings() == call
        await bobs_other.rings()
        await bob.ask("call.ringing", call=call)
        await alice.reaches(call, "ringing")
        if how == "talk":
            await bob.accept(call)
            await alice.reaches(call, "connecting")
            for one, other in ((alice, bob), (bob, alice)):
                await one.ask("call.signal", call=call, to=other.device, payload=SEALED)
                await one.ask("call.connected", call=call)
            await bob.reaches(call, "connected")
            await alice.reaches(call, "connected")
            await alice.ask("call.hangup", call=call)
        elif how == "decline":
            await bob.ask("call.decline", call=call)
        else:
            await alice.ask("call.hangup", call=call)
        for phone in (alice, bob, bobs_other):
            await phone.until(lambda phone=phone, call=call: phone.calls[call].startswith("ended"))
    await alice.ask("presence.watch", accounts=[bob.account.id])
    up = await alice.invite(bob.account)
    await bob.rings()
    await bob.accept(up)
    await alice.reaches(up, "connecting")
    return up


async def scene(hub: Any, database: Database, redis: Any, book_redis: Any) -> dict[str, Any]:
    """Play the calls at a hub; the recording."""
    people = await seed(database, book_redis, [1, 2])
    devices = [(account, device) for account in people for device in account.devices]
    async with AsyncExitStack() as stack:
        phones = [Recorder(account, device) for account, device in devices]
        for phone in phones:
            stack.push_async_callback(phone.close)
            await phone.connect(hub.url)
        up = await calls(*phones)
        answers = {}
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {people[0].devices[phones[0].device]}"}) as http:
            for path in GETS:
                async with http.get(hub.url + path) as answer:
                    if answer.status == 200:
                        answers[path] = await answer.json()
        await phones[0].connect(hub.url)  # a sync with a live call
        stored = [await redis.get(key) for key in await redis.keys("*:pair:*")]
        hello = {"type": "hello", "id": 0, "token": "t" * 43}
        return {
            "up": up,
            "said": [hello, *(frame for phone in phones for frame in phone.said)],
            "heard": [event for phone in phones for event in phone.events],
            "rest": answers,
            "stored": [base64.b64encode(value).decode() for value in stored],
            "cluster": [base64.b64encode(encode_bus(message)).decode() for message in notices()],
        }


def notices() -> list[BusMessage]:
    """One of each message between hubs."""
    text = Text("d" * 22, b'{"type":"call.ended"}')
    return [
        text, AccountText("a" * 22, b"{}"), Replaced("d" * 22), PairChanged(("a" * 22, "b" * 22), b"", {"d" * 22: "n" * 22}, [text]),
        Resync(["d" * 22]), DevicesRemoved("a" * 22, ["d" * 22]), Restricted("a" * 22, ["d" * 22], True), Renewed(["d" * 22]),
        Invalidated("a" * 22), Joined("n" * 22), Missed(),
    ]  # fmt: skip


async def _record(version: str) -> None:
    with tempfile.TemporaryDirectory(prefix="kt-") as made:
        folder = Path(made)
        stores = [EmbeddedValkey(folder / name, persistent=name == "state") for name in ("state", "book")]
        for store in stores:
            store.start()
        try:
            url = f"sqlite+aiosqlite:///{folder}/hub.db"
            async with (
                running_keyholder(folder) as keyholder,
                running_hub(folder, keyholder, database_url=url, redis_url=stores[0].url, book_url=stores[1].url) as hub,
            ):
                clients = [redis_client(store.url) for store in stores]
                recording = await scene(hub, hub.hub.database, *clients)
                for client in clients:
                    await client.aclose()
        finally:
            for store in stores:
                store.stop()
    file = FOLDER / f"protocol-{version}.json"
    file.write_text(json.dumps(recording, indent=1) + "\n")
    print(f"{file}: {len(recording['said'])} frames said, {len(recording['heard'])} heard")


if __name__ == "__main__":
    asyncio.run(_record(sys.argv[1]))
