"""Which hub a device is on, in Redis: who has it, and who may say that it left."""

from collections.abc import AsyncIterator

import pytest

from signaling.cluster.nodes import Nodes
from signaling.cluster.routes import NEWER, PREFIX, Routes


async def _nothing(_: object) -> None: ...


@pytest.fixture
async def hubs(redis) -> AsyncIterator[list[Routes]]:
    made: list[tuple[Nodes, Routes]] = []
    for name in ("one", "other"):
        nodes = Nodes(redis, node=name, routes_prefix=PREFIX, on_gap=_nothing, on_death=_nothing)
        await nodes.start()
        made.append((nodes, Routes(redis, nodes)))
    yield [routes for _, routes in made]
    for nodes, routes in made:
        await routes.close()
        await nodes.close()


async def test_a_device_is_where_its_newest_socket_is(hubs):
    one, other = hubs
    assert await one.claim("device", "account", 10.0) == ""
    assert await other.claim("device", "account", 11.0) == "one"
    assert await one.claim("device", "account", 10.5) == NEWER
    assert await one.locate(["device"]) == {"device": "other"}


async def test_only_another_hub_that_has_the_device_keeps_one_from_saying_that_it_left(hubs, redis):
    one, other = hubs
    await one.claim("device", "account", 10.0)
    assert await one.release("device")
    await one.claim("device", "account", 11.0)
    await redis.delete(PREFIX + "one")  # its lease ran out, or Redis lost its last writes
    assert await one.release("device")
    await one.claim("device", "account", 12.0)
    await other.claim("device", "account", 13.0)
    assert not await one.release("device")
    assert await one.locate(["device"]) == {"device": "other"}
