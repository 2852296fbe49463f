"""No sequence of settings changes leaks presence: whatever happens in whatever order, nobody is told or answered what the rules, written here a
second time and in another way, do not allow at that moment (P16).
"""

import asyncio
import itertools
from contextlib import AsyncExitStack

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from signaling.storage.sql import Database
from signaling.storage.tables import metadata
from signaling.wire.rest import LastSeenTo, OnlineTo
from tests.conftest import Clock, redis_client
from tests.integration.presence_world import PresenceWorld, session, world

PEOPLE = tuple(letter * 22 for letter in "ABC")
PAIRS = tuple(itertools.permutations(PEOPLE, 2))
person, pair = st.sampled_from(PEOPLE), st.sampled_from(PAIRS)

ACTIONS = st.one_of(
    st.tuples(st.just("last_seen"), person, st.sampled_from(list(LastSeenTo))),
    st.tuples(st.just("online"), person, st.sampled_from(list(OnlineTo))),
    st.tuples(st.just("except"), person, st.sampled_from(["last_seen", "online"]), st.sets(person)),
    st.tuples(st.just("block"), pair, st.booleans()),
    st.tuples(st.just("book"), pair, st.booleans()),
    st.tuples(st.just("come"), person, st.integers(0, 1)),
    st.tuples(st.just("go"), person, st.integers(0, 1)),
    st.tuples(st.just("wait"), st.integers(1, 90)),
)


def device(name: str, hub: int) -> str:
    return name[:21] + str(hub)


class Model:
    """What is so, and who may see it, in sets."""

    def __init__(self) -> None:
        self.setting = {(p, "last_seen"): "contacts" for p in PEOPLE} | {(p, "online"): "same_as_last_seen" for p in PEOPLE}
        self.excepted: dict[tuple[str, str], set[str]] = {}
        self.blocks: set[tuple[str, str]] = set()
        self.book = set(PAIRS)
        self.here: dict[str, set[int]] = {p: set() for p in PEOPLE}
        self.seen: dict[str, set[int]] = {p: set() for p in PEOPLE}

    def audience(self, owner: str, what: str) -> set[str]:
        """Whom a setting includes."""
        if what == "online" and self.setting[owner, "online"] == "same_as_last_seen":
            what = "last_seen"
        contacts = {other for one, other in self.book if one == owner}
        return {
            "everyone": set(PEOPLE),
            "contacts": contacts,
            "contacts_except": contacts - self.excepted.get((owner, what), set()),
            "nobody": set(),
        }[self.setting[owner, what]]

    def may(self, viewer: str, owner: str, what: str) -> bool:
        """Whether a viewer may see it now."""
        mutual = viewer in self.audience(owner, what) and owner in self.audience(viewer, what)
        return mutual and (viewer, owner) in self.book and not {(viewer, owner), (owner, viewer)} & self.blocks


async def act(made: PresenceWorld, model: Model, action: tuple) -> None:
    """Do it, in the world and in the model."""
    match action:
        case ("last_seen" | "online" as what, name, to):
            model.setting[name, what] = to
            if (what, to) == ("last_seen", "nobody"):
                model.seen[name].clear()
            await made.set(name, **{f"{what}_to": to})
        case ("except", name, what, others):
            model.excepted[name, what] = set(others)
            await made.set(name, excepted={what: sorted(others)})
        case ("block", (one, other), blocked):
            (model.blocks.add if blocked else model.blocks.discard)((one, other))
            await made.block(one, other, blocked)
        case ("book", (one, other), has):
            (model.book.add if has else model.book.discard)((one, other))
            (made.books.has[one].add if has else made.books.has[one].discard)(other)
            await made.hubs[1].service.rules_changed(one)
        case ("come", name, hub) if hub not in model.here[name]:
            model.here[name].add(hub)
            model.seen[name].add(int(made.clock.now))
            await made.hubs[hub].attach(name, device(name, hub))
            await made.hubs[hub].watch(name, device(name, hub), *PEOPLE)
        case ("go", name, hub) if hub in model.here[name]:
            model.here[name].discard(hub)
            model.seen[name].add(int(made.clock.now))
            await made.hubs[hub].detach(name, device(name, hub))
        case ("wait", seconds):
            minute = made.clock.now // 60
            made.clock.advance(seconds)
            if made.clock.now // 60 != minute:
                for hub in made.hubs:
                    hub.service.watchers.minute_over()
    await made.settle()


async def check(made: PresenceWorld, model: Model, redis) -> None:
    """Nothing that was told since the last check, and no answer, says more than the rules allow; and what may be seen is."""
    told = []
    for hub in made.hubs:
        for receiver, messages in hub.told.items():
            viewer = next(p for p in PEOPLE if p[:21] == receiver[:21])
            told += [(viewer, presence) for message in messages for presence in message.presences]
        hub.told.clear()
    for viewer, owner in PAIRS:
        answer = await made.hubs[0].service.get(session(viewer, device(viewer, 0)), owner)
        told.append((viewer, answer))
        if model.may(viewer, owner, "online"):
            assert answer.online is bool(model.here[owner])
    for viewer, presence in told:
        owner = presence.account
        if viewer == owner:
            assert (presence.online, presence.last_seen) == (UNSET, UNSET)
            continue
        if presence.online is not UNSET:
            assert model.may(viewer, owner, "online"), (viewer, presence)
        if presence.last_seen is not UNSET:
            assert model.may(viewer, owner, "last_seen"), (viewer, presence)
            assert model.setting[owner, "last_seen"] != "nobody"
            # a whole minute in which the owner came or went, and never the present second's neighbourhood for who may not see online
            assert presence.last_seen in {second // 60 * 60_000 for second in model.seen[owner]}
            if not model.may(viewer, owner, "online"):
                assert presence.last_seen + 60_000 <= made.clock.now * 1000
    for name in PEOPLE:
        if model.setting[name, "last_seen"] == "nobody":
            assert not await redis.exists(f"last_seen:{{{name}}}")


async def story(url: str, folder, actions: list[tuple]) -> None:
    async with AsyncExitStack() as stack:
        database = Database(f"sqlite+aiosqlite:///{folder}/leaks.db")
        stack.push_async_callback(database.close)
        redis = redis_client(url)
        stack.push_async_callback(redis.aclose)
        await redis.flushall()
        async with database.engine.begin() as connection:
            await connection.run_sync(metadata.drop_all)
            await connection.run_sync(metadata.create_all)
        made = await stack.enter_async_context(world(database, Clock(), url, hubs=2))
        for name in PEOPLE:
            await made.account(name)
        made.acquaint(*PEOPLE)
        model = Model()
        for action in actions:
            await act(made, model, action)
            await check(made, model, redis)


@pytest.fixture(scope="module")
def stores(_valkeys, tmp_path_factory):
    """URL of Redis, and a folder."""
    return _valkeys[0].url, tmp_path_factory.mktemp("leaks")


# long stories, few of them: most of what can go wrong needs several steps. Without shrinking, which would take minutes
@given(actions=st.lists(ACTIONS, min_size=45, max_size=60))
@settings(
    max_examples=8,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
def test_no_sequence_of_events_leaks_presence(stores, actions):
    url, folder = stores
    asyncio.run(story(url, folder, actions))
