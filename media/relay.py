"""The relay: pairs of legs, one pair for a call. It knows neither calls nor people: a pair has a random name and two sides."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from aioice import Candidate, stun

from media.agent import IceAgent, SharedProtocol, read
from media.candidates import tcp_candidate, udp_candidate
from media.gate import GateCounts
from media.leg import Leg, Shared
from media.plane import Address, Plane
from media.quality import mos
from media.tasks import end_tasks, steady
from media.tcp import Front

log = logging.getLogger(__name__)

WAIT: Final = 60.0
"""Seconds that a pair lasts when nobody comes, or when nobody is there any more: a call may ring for 45 of them."""

WAIT_FOR_ONE: Final = 90.0
"""Seconds that a pair lasts while one side is there and the other is not: longer than the hub waits before it ends the call."""

_SWEEP: Final = 1.0
"""Seconds between looks for pairs that have expired."""


class RelayFullError(Exception):
    """Every pair is in use, or the relay is about to end."""


@dataclass(slots=True)
class RelaySocket:
    """One socket of the relay. Implements ``agent.SharedSocket``."""

    number: int
    candidates: Sequence[Candidate]
    plane: Plane
    waiting: dict[bytes, SharedProtocol]
    front: Front | None = None
    """Through which clients reach it; None: by themselves."""

    def send(self, data: bytes, address: Address) -> None:
        """Send a STUN message."""
        self.plane.send(self.number, data, address)

    def reaches(self, address: Address) -> bool:
        """See ``agent.SharedSocket``."""
        return self.front is None or address in self.front.addresses

    def outside(self, address: Address) -> Address:
        """See ``agent.SharedSocket``."""
        return address if self.front is None else self.front.addresses.get(address, address)


@dataclass(frozen=True, slots=True)
class LegParameters:
    """What a client needs to reach its leg."""

    ufrag: str
    pwd: str
    candidates: tuple[str, ...]
    """Candidate attributes (RFC 8839, section 5.1): ``candidate:...``."""


@dataclass(frozen=True, slots=True)
class Direction:
    """How what one client sends arrives at the relay."""

    packets: int
    bytes: int
    expected: int
    """RTP packets that it sent, as their sequence numbers say."""
    lost: int
    jitter: float
    """Seconds."""
    rtt: float | None
    """Seconds between the relay and this client, there and back."""
    mos: float | None
    """Estimate for the way from this client to the other, as far as the relay can see it; None before there is any RTP."""


@dataclass(slots=True)
class _Pair:
    legs: tuple[Leg, Leg]


class Relay:
    """All pairs of one relay. ``start`` before use, ``close`` after.

    Args:
        public: for each socket of the data plane, the address that clients reach it at.
        tcp: addresses at which clients reach it by TCP. With some, the data plane has one more socket, on the loopback, for them (``media/tcp.py``).
        clock: seconds, only going forward.
    """

    def __init__(
        self, *, public: Sequence[Address], tcp: Sequence[Address] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.public = tuple(public)
        self.tcp = tuple(tcp)
        self.own_counts = GateCounts()
        """What ICE and TCP connections count; ``counts`` has the data plane's beside."""
        self._clock = clock
        self._shared: Shared
        self._pairs: dict[str, _Pair] = {}
        self._legs: dict[int, Leg] = {}
        """By slot."""
        self._free: list[int] = []
        self._draining = False
        self.taken = 0
        """Pairs since the start."""
        self.on_release: list[Callable[[str, tuple[Direction, Direction]], None]] = []
        """Each gets a pair's name and how both sides arrived, when it has ended."""
        self._sweeper: asyncio.Task[None] | None = None
        self._front: Front | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    async def start(self, plane: Plane, front: Front | None = None) -> None:
        """Use a data plane that is open, and whose ``on_stun`` and ``on_early`` are ours; with ``tcp``, the connections' ``front`` too, which is
        opened here. Raises ``OSError`` when that fails.
        """
        sockets = [RelaySocket(number, [udp_candidate(number, public)], plane, {}) for number, public in enumerate(self.public)]
        if front is not None:
            first = len(sockets)
            candidates = [tcp_candidate(first + i, public) for i, public in enumerate(self.tcp)]
            sockets.append(RelaySocket(first, candidates, plane, {}, front))
        self._front = front
        self._shared = Shared(plane, sockets, self.own_counts, clock=self._clock)
        self._free = list(range(plane.slots // 2))
        self._sweeper = asyncio.get_running_loop().create_task(steady("relay: sweep", self._sweep))
        if front is not None:
            await front.open()

    # --- what hubs ask for ----------------------------------------------------------------------------------------------------

    @property
    def capacity(self) -> int:
        """Pairs at a time."""
        return self._shared.plane.slots // 2

    @property
    def draining(self) -> bool:
        """Whether no new pair is taken."""
        return self._draining

    def __len__(self) -> int:
        """Pairs in use."""
        return len(self._pairs)

    def pairs(self) -> list[str]:
        """Names of the pairs in use."""
        return list(self._pairs)

    async def leg(self, name: str, side: int, remote: tuple[str, str] | None) -> LegParameters:
        """A side's leg of a pair, for the client's ICE user name fragment and password. Raises ``RelayFullError``.

        The pair is made when it does not exist. Other credentials than before are an ICE restart of the leg. Without credentials it is a
        leg whose client will have them later: an answerer makes its own only when it knows those of its leg.
        """
        pair = self._pairs.get(name)
        if pair is None:
            if self._draining or not self._free:
                raise RelayFullError
            slot = 2 * self._free.pop()
            self._shared.plane.join(slot, slot + 1)
            pair = self._pairs[name] = _Pair((Leg(self._shared, slot), Leg(self._shared, slot + 1)))
            self._legs |= {leg.slot: leg for leg in pair.legs}
            self.taken += 1
            self._empty.clear()
        agent = await pair.legs[side].start(remote)
        candidates = tuple(f"candidate:{candidate.to_sdp()}" for candidate in agent.local_candidates)
        return LegParameters(agent.local_username, agent.local_password, candidates)

    async def release(self, name: str) -> None:
        """End a pair, if it exists."""
        sides = self.quality(name)
        pair = self._pairs.pop(name, None)
        if pair is None or sides is None:
            return
        for told in self.on_release:
            told(name, sides)
        for leg in pair.legs:
            await leg.close()
        for leg in pair.legs:
            del self._legs[leg.slot]
            self._shared.plane.free(leg.slot)
        self._free.append(pair.legs[0].slot // 2)
        if not self._pairs:
            self._empty.set()

    def quality(self, name: str) -> tuple[Direction, Direction] | None:
        """By side, how what that side sends arrives here; None when there is no such pair."""
        pair = self._pairs.get(name)
        if pair is None:
            return None
        rtts = [leg.rtt for leg in pair.legs]
        one, other = (self._direction(leg, sum(rtt or 0.0 for rtt in rtts)) for leg in pair.legs)
        return one, other

    def _direction(self, leg: Leg, rtt: float) -> Direction:
        traffic = self._shared.plane.traffic(leg.slot)
        quality = traffic.quality
        return Direction(
            packets=traffic.packets,
            bytes=traffic.bytes,
            expected=quality.expected,
            lost=quality.lost,
            jitter=quality.jitter_seconds,
            rtt=leg.rtt,
            mos=mos(loss=quality.loss, jitter=quality.jitter_seconds, rtt=rtt) if quality.expected else None,
        )

    def connected(self, name: str) -> tuple[bool, bool]:
        """By side, whether its client is there. Both False when there is no such pair."""
        pair = self._pairs.get(name)
        return (False, False) if pair is None else (pair.legs[0].connected, pair.legs[1].connected)

    def legs(self) -> tuple[int, int]:
        """Legs whose client is there, and those that wait for theirs."""
        connected = sum(leg.connected for leg in self._legs.values())
        return connected, len(self._legs) - connected

    def counts(self) -> GateCounts:
        """What the gate did since the start."""
        ours = self.own_counts.as_dict()
        ice = {name: number for name, number in ours.items() if name.startswith(("stun_", "tcp_")) or name == "held"}
        counted = self._shared.plane.counts()
        return replace(counted, **ice, empty=counted.empty + ours["empty"])

    def on_early(self, slot: int, data: bytes) -> None:
        """Keep a DTLS handshake message of a slot's client until the other device is there: that saves it the wait until it is repeated."""
        leg = self._legs.get(slot ^ 1)
        if leg is not None:
            self._shared.counts.held += 1
            leg.early.append(data)

    # --- STUN -----------------------------------------------------------------------------------------------------------------

    def on_stun(self, number: int, data: bytes, source: Address) -> None:
        """Take what the data plane found to look like STUN. Never raises, whatever it holds."""
        try:
            self._on_stun(number, data, source)
        except Exception as error:
            self._shared.counts.stun_malformed += 1
            log.error("ice: defect %s", type(error).__name__)

    def _on_stun(self, number: int, data: bytes, source: Address) -> None:
        shared = self._shared
        message = read(data)
        if message is None:
            shared.counts.stun_malformed += 1
        elif message.message_class is stun.Class.REQUEST:
            agent = self._agent(message)
            if agent is None:
                shared.counts.stun_stranger += 1
            else:
                agent.request_received(message, source, agent.protocol(number))
        elif message.message_class is not stun.Class.INDICATION:  # those only keep a NAT's binding (RFC 8445, section 11)
            protocol = shared.sockets[number].waiting.get(message.transaction_id)
            if protocol is None:
                shared.counts.stun_unexpected += 1
            else:
                protocol.answered(message, source)

    def _agent(self, message: stun.Message) -> IceAgent | None:
        username = message.attributes.get("USERNAME", "")
        return self._shared.agents.get(username.partition(":")[0])

    # --- who comes by TCP ---------------------------------------------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """TCP connections that are open."""
        return 0 if self._front is None else len(self._front)

    def welcome(self, packet: bytes) -> bool:
        """See ``tcp.Relay``. Its agent gets to see the check when the data plane has it."""
        counts = self._shared.counts
        message = read(packet)
        if message is None or message.message_class is not stun.Class.REQUEST:
            counts.stun_malformed += 1
            return False
        agent = self._agent(message)
        if agent is None:
            counts.stun_stranger += 1
            return False
        if not agent.authentic(message):
            counts.stun_forged += 1
            return False
        return True

    def holds(self, address: Address) -> bool:
        """See ``tcp.Relay``."""
        return (len(self.public), address) in self._shared.owners

    def gone(self, address: Address) -> None:
        """See ``tcp.Relay``."""
        key = (len(self.public), address)
        leg = self._shared.owners.get(key)
        if leg is not None:
            leg.gone(key)

    # --- life -----------------------------------------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP)
            await self.expire()
            if self._front is not None:
                self._front.sweep()

    async def expire(self) -> None:
        """Release the pairs whose clients are gone."""
        now = self._clock()
        for name, pair in tuple(self._pairs.items()):
            silent = sorted(now - leg.last_heard for leg in pair.legs)
            if silent[0] > WAIT or silent[1] > WAIT_FOR_ONE:
                await self.release(name)

    async def drain(self, seconds: float) -> None:
        """Take no new pair, and wait until the pairs there are have ended, or until the time is over."""
        self._draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()

    async def close(self) -> None:
        """End everything, the data plane too."""
        self._draining = True
        if self._sweeper is not None:
            await end_tasks(self._sweeper)
        if self._front is not None:
            await self._front.close()
        for name in tuple(self._pairs):
            await self.release(name)
        await self._shared.plane.close()
