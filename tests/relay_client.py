"""A device at its leg of a relay, as a browser is one: controlling, aioice as it comes."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
from aioice import Candidate, Connection
from aioice.ice import CandidatePair

from media.control import LegAnswer
from media.native import available
from media.options import RelayOptions
from media.process import open_relay
from media.relay import LegParameters, Relay
from signaling.wire.messages import RelayLeg
from tests.conftest import eventually

RTP = bytes.fromhex("806f0001000003c012345678") + b"sound"
DTLS = bytes.fromhex("16fefd0000000000000000") + b"\x00\x04hello"


PLANE = "auto"
"""The data plane of relays that do not say; suites that try every one set it."""


@contextlib.asynccontextmanager
async def relay(clock=time.monotonic, **more) -> AsyncIterator[Relay]:
    """A relay on free ports of the loopback."""
    options = {"addresses": ("127.0.0.1",), "ports": (0, 0), "capacity": 4, "plane": PLANE} | more
    running = await open_relay(RelayOptions(**options), clock)
    yield running
    await running.close()


def parameters(leg: RelayLeg | LegAnswer) -> LegParameters:
    """A leg as the hub or the directory gave it."""
    return LegParameters(leg.ufrag, leg.pwd, tuple(leg.candidates))


class Device:
    """``connect`` with what the relay gave."""

    def __init__(self, *, controlling: bool = True) -> None:
        self.ice = Connection(ice_controlling=controlling)

    @property
    def credentials(self) -> tuple[str, str]:
        """Our user name fragment and password."""
        return self.ice.local_username, self.ice.local_password

    @property
    def address(self) -> tuple[str, int]:
        """Where we are, once connected."""
        return self.pair.protocol.transport.get_extra_info("sockname")[:2]

    @property
    def pair(self) -> CandidatePair:
        """The pair that was nominated."""
        return self.ice._nominated[1]

    async def gather(self, host: str = "127.0.0.1") -> None:
        """One socket, on the loopback."""
        self.ice._local_candidates_start = True
        self.ice._local_candidates = await self.ice.get_component_candidates(1, [host])
        self.ice._local_candidates_end = True

    async def connect(self, leg: LegParameters) -> None:
        """Connect to the leg."""
        await self.gather("::1" if ":" in leg.candidates[0].split()[4] else "127.0.0.1")
        self.ice.remote_username, self.ice.remote_password = leg.ufrag, leg.pwd
        for text in leg.candidates:
            await self.ice.add_remote_candidate(Candidate.from_sdp(text.removeprefix("candidate:")))
        await self.ice.add_remote_candidate(None)
        async with asyncio.timeout(10):
            await self.ice.connect()

    async def send(self, data: bytes) -> None:
        """Send media or DTLS."""
        await self.ice.send(data)

    async def receive(self) -> bytes:
        """The next that comes."""
        async with asyncio.timeout(5):
            return await self.ice.recv()

    async def close(self) -> None:
        """End it."""
        await self.ice.close()


@contextlib.asynccontextmanager
async def devices(relay: Relay, name: str = "pair") -> AsyncIterator[tuple[Device, Device]]:
    """Two devices, connected to the two legs of a pair."""
    one, other = Device(), Device()
    legs = [await relay.leg(name, side, device.credentials) for side, device in enumerate((one, other))]
    await asyncio.gather(one.connect(legs[0]), other.connect(legs[1]))
    await eventually(lambda: relay.connected(name) == (True, True))  # our last answer may still be on its way to it
    yield one, other
    await asyncio.gather(one.close(), other.close())


def planes():
    """A fixture that has each test of a module run on every data plane: ``plane = planes()``."""

    @pytest.fixture(autouse=True, params=["python", "native"], name="plane")
    def plane(request, monkeypatch):
        if request.param == "native" and not available():
            pytest.skip("the data plane in C was not built: there is no compiler")
        monkeypatch.setattr("tests.relay_client.PLANE", request.param)
        return request.param

    return plane
