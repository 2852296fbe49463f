"""Loops that must not end before their hub or relay does: one unexpected error, and they go on."""

import asyncio
from contextlib import AsyncExitStack

import pytest

import media.tasks
import signaling.tasks
from media.control import RelayControl
from media.relay import Relay
from media.report import Reporter
from signaling.calls.history import History
from signaling.calls.relays import RelayService
from signaling.calls.service import CallService
from signaling.cluster.nodes import Nodes
from signaling.events import Events
from signaling.operations.figures import FigureKeeper
from signaling.operations.hubs import HubLoads
from signaling.presence.connected import Connected
from signaling.presence.watchers import Watchers
from signaling.privacy.owed import OwedErasures
from signaling.privacy.retention import Retention
from signaling.storage.redis import redis_client
from tests.conftest import eventually
from tests.integration.hub_fixture import running_hub, running_keyholder
from tests.phones import Phone, seed
from tests.relay_client import relay

ROUNDS = [
    (Nodes, "_renew"),
    (CallService, "sweep"),
    (History, "write_queued"),
    (RelayService, "release_ended"),
    (RelayService, "look"),
    (HubLoads, "say"),
    (FigureKeeper, "write"),
    (Connected, "beat"),
    (Connected, "_settle"),
    (Watchers, "_round"),
    (OwedErasures, "refresh"),
]
"""What each loop of a hub does in a round."""


class Surprise(Exception):  # noqa: N818 - what it is
    """An error that no loop expects."""


def surprised(monkeypatch, owner: type, name: str, seen: dict[str, int], *, at: int) -> None:
    """The round of number ``at`` of a loop fails."""
    work, key = getattr(owner, name), f"{owner.__name__}.{name}"
    seen[key] = 0

    async def sometimes(self, *arguments, **named):
        seen[key] += 1
        if seen[key] == at:
            raise Surprise
        return await work(self, *arguments, **named)

    monkeypatch.setattr(owner, name, sometimes)


@pytest.mark.parametrize("tasks", [signaling.tasks, media.tasks])
async def test_a_loop_goes_on_after_an_error_that_it_does_not_expect_and_says_so_without_its_text(tasks, caplog):
    rounds, text = [], "what a user sent"

    async def work() -> None:
        rounds.append(1)
        if len(rounds) < 3:
            raise Surprise(text)

    async with asyncio.timeout(10):
        await tasks.steady("a loop", work, again=0.0)
    assert len(rounds) == 3
    assert caplog.text.count("a loop: defect Surprise; going on") == 2
    assert text not in caplog.text


async def test_every_loop_of_a_hub_goes_on(state_url, book_url, book_redis, tmp_path, monkeypatch):
    for module, names in (
        ("signaling.operations.figures", ("EVERY",)),
        ("signaling.operations.hubs", ("EVERY", "_LOOK")),
        ("signaling.calls.relays", ("_ENDED", "_LOOK")),
    ):
        for name in names:
            monkeypatch.setattr(f"{module}.{name}", 0.2)
    seen: dict[str, int] = {}
    for owner, name in ROUNDS:
        surprised(monkeypatch, owner, name, seen, at=_when(owner))
    async with AsyncExitStack() as stack:
        keyholder = await stack.enter_async_context(running_keyholder(tmp_path))
        hub = await stack.enter_async_context(
            running_hub(
                tmp_path,
                keyholder,
                database_url=f"sqlite+aiosqlite:///{tmp_path}/hub.db",
                redis_url=state_url,
                book_url=book_url,
            )
        )
        for account in await seed(hub.hub.database, book_redis, [1, 1]):
            phone = Phone(account, next(iter(account.devices)))
            stack.push_async_callback(phone.close)
            await phone.connect(hub.url)
            await phone.ask("presence.watch", accounts=[account.id])

        def all_went_on() -> bool:
            hub.hub.history.wake()
            return all(seen[f"{owner.__name__}.{name}"] > _when(owner) for owner, name in ROUNDS)

        await eventually(all_went_on, timeout=60)


def _when(owner: type) -> int:
    """The round that fails: the first, but for the lease, which a hub that starts must get."""
    return 2 if owner is Nodes else 1


async def test_every_loop_of_a_relay_goes_on(state_url, monkeypatch):
    for name in ("media.relay._SWEEP", "media.control.RENEWAL"):
        monkeypatch.setattr(name, 0.1)
    seen: dict[str, int] = {}
    for owner, name in ((Relay, "expire"), (RelayControl, "_announce")):
        surprised(monkeypatch, owner, name, seen, at=1)
    sampled, samples = [], Reporter.samples

    def sample(self):
        sampled.append(1)
        if len(sampled) == 1:
            raise Surprise
        return samples(self)

    monkeypatch.setattr(Reporter, "samples", sample)
    async with relay() as running:
        control = RelayControl(redis_client(state_url), running, every=0.1)
        await control.start()
        await eventually(lambda: min(seen.values()) > 2 and len(sampled) > 2, timeout=60)
        await control.close()


async def test_what_must_be_done_is_tried_again_whatever_went_wrong(database):
    events, tries = Events(database), []

    async def work() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise Surprise

    events._surely(work)
    await eventually(lambda: len(tries) == 2)
    await events.close()


async def test_a_sweep_that_breaks_does_not_hold_up_the_others(database):
    done = []

    async def breaks() -> None:
        raise Surprise

    async def works() -> None:
        done.append(1)

    retention = Retention(database=database, rules=(), sweeps={"first": breaks, "second": works})
    retention.start()
    await eventually(lambda: retention.rounds == 1)
    await retention.close()
    assert done == [1]
