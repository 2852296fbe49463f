"""Presence without sockets: real SQL and Redis, any number of hubs, devices that write down what they are told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import delete, insert, select, update

from signaling.gateway.request import Session
from signaling.presence.bus import Hint, RedisBus
from signaling.presence.service import PresenceService
from signaling.presence.store import PresenceStore
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, blocks, presence_exceptions
from signaling.wire.messages import PresenceChanged, PresenceWatch
from signaling.wire.rest import WhoCanCall
from tests.conftest import redis_client


def token(account: str) -> str:
    return account[0] * 86


class Books:
    """Address books in memory: who has whom."""

    def __init__(self) -> None:
        self.has: dict[str, set[str]] = {}

    async def tokens_in_book(self, owner, tokens):
        return frozenset(tokens) & {token(other) for other in self.has.get(owner, ())}

    async def holders_among(self, number, others):
        return frozenset(other for other in others if number in {token(one) for one in self.has.get(other, ())})


class PresenceHub:
    """One hub. ``told[device]`` is what a device was told, in order."""

    def __init__(self, world: "PresenceWorld", url: str) -> None:
        self.redis = redis_client(url)
        self.told: dict[str, list[PresenceChanged]] = {}
        self.service = PresenceService(
            store=PresenceStore(self.redis),
            database=world.database,
            contacts=world.books,
            bus=RedisBus(self.redis),
            send=lambda device, message: self.told.setdefault(device, []).append(message),
            clock=world.clock,
            grace=0.0,
        )

    async def attach(self, account: str, device: str) -> None:
        self.service.attached(session(account, device))
        await self.settle()

    async def detach(self, account: str, device: str) -> None:
        self.service.detached(session(account, device))
        await self.settle()

    async def watch(self, account: str, device: str, *others: str) -> None:
        answers = []
        self.service.submit(session(account, device), PresenceWatch(id=7, accounts=list(others)), answers.append)
        assert [answer.re for answer in answers] == [7]
        await self.settle()

    async def settle(self) -> None:
        await self.service.connected.settled()
        await self.service.watchers.settled()

    def shows(self, device: str, account: str):
        """(online, last seen) as the device was last told of the account."""
        last = None
        for message in self.told.get(device, ()):
            for presence in message.presences:
                if presence.account == account:
                    last = presence
        return None if last is None else (last.online, last.last_seen)


def session(account: str, device: str) -> Session:
    return Session(account, device, "+4930901820", None)  # type: ignore[arg-type]


class PresenceWorld:
    """Accounts, their settings and books, and hubs."""

    def __init__(self, database: Database, clock) -> None:
        self.database = database
        self.clock = clock
        self.books = Books()
        self.hubs: list[PresenceHub] = []

    async def account(self, name: str, last_seen: str = "contacts", online: str = "same_as_last_seen") -> None:
        async with self.database.begin() as connection:
            await connection.execute(
                insert(accounts).values(
                    id=name,
                    phone=f"+49{ord(name[0])}",
                    email=f"{name[0]}@x.example",
                    identity_key="k" * 43,
                    discovery_token=token(name),
                    policy_version="1",
                    who_can_call=WhoCanCall.CONTACTS,
                    last_seen_to=last_seen,
                    online_to=online,
                    created_at=0,
                )
            )

    def acquaint(self, *names: str) -> None:
        for name in names:
            self.books.has.setdefault(name, set()).update(set(names) - {name})

    async def set(self, name: str, *, excepted: dict[str, list[str]] | None = None, **values: Any) -> None:
        """Change settings in SQL, and tell the first hub, as the settings' service does."""
        async with self.database.begin() as connection:
            if values:
                await connection.execute(update(accounts).where(accounts.c.id == name).values(**values))
            for setting, others in (excepted or {}).items():
                own = (presence_exceptions.c.account == name) & (presence_exceptions.c.setting == setting)
                await connection.execute(delete(presence_exceptions).where(own))
                for other in others:
                    await connection.execute(insert(presence_exceptions).values(account=name, setting=setting, excepted=other))
        await self.hubs[0].service.settings_changed(name)
        await self.settle()

    async def block(self, name: str, other: str, blocked: bool = True) -> None:
        own = (blocks.c.account == name) & (blocks.c.blocked == other)
        async with self.database.begin() as connection:
            there = (await connection.execute(select(blocks.c.at).where(own))).first() is not None
            if blocked and not there:
                await connection.execute(insert(blocks).values(account=name, blocked=other, at=0))
            elif not blocked:
                await connection.execute(delete(blocks).where(own))
        await self.hubs[0].service.rules_changed(name)
        await self.settle()

    async def delete(self, name: str) -> None:
        async with self.database.begin() as connection:
            await connection.execute(delete(accounts).where(accounts.c.id == name))
        await self.hubs[0].service.forget_account(name)
        await self.settle()

    async def settle(self) -> None:
        """Every hub has heard and told everything."""
        for hub in self.hubs:
            await hub.service.connected.settled()
        for hub in self.hubs:
            await heard(hub)
            await hub.service.watchers.settled()


async def heard(hub: PresenceHub) -> None:
    """A hint sent now comes back: so every earlier one was heard."""
    here, mark = asyncio.Event(), f"mark{id(hub)}"
    before = hub.service.watchers.heard

    def listening(hint: Hint) -> None:
        if mark in hint.status:
            here.set()
        before(hint)

    bus = hub.service._bus
    bus.spy = listening  # type: ignore[attr-defined]
    await bus.publish(Hint(status=[mark]))
    async with asyncio.timeout(10):
        await here.wait()
    bus.spy = None  # type: ignore[attr-defined]


@asynccontextmanager
async def world(database: Database, clock, url: str, hubs: int = 1) -> AsyncIterator[PresenceWorld]:
    """A world with some hubs on one Redis."""
    made = PresenceWorld(database, clock)
    made.hubs = [PresenceHub(made, url) for _ in range(hubs)]
    for hub in made.hubs:
        bus = hub.service._bus
        heard_by, start = hub.service.watchers, bus.start
        bus.spy = None  # type: ignore[attr-defined]

        async def spied(_heard, lost, bus=bus, start=start, watchers=heard_by):
            await start(lambda hint: (bus.spy or watchers.heard)(hint), lost)

        bus.start = spied  # type: ignore[method-assign]
        await hub.service.start()
    yield made
    for hub in made.hubs:
        await hub.service.close()
        await hub.redis.aclose()
