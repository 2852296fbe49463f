"""One client's side of a relayed call: its ICE generations, and which addresses the data plane's gate is open for."""

import asyncio
import secrets
import string
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from media.agent import IceAgent, SharedSocket
from media.gate import GateCounts
from media.plane import Address, Plane

_ICE_CHARS: Final = string.ascii_letters + string.digits
"""RFC 8839's ice-char without + and /, which nobody misses."""
_UFRAG: Final = 12
"""Characters: 71 bits. A stranger cannot guess one, and without it no message reaches an agent."""
GRACE: Final = 7.0
"""Seconds without a check of the client after which what it had before an ICE restart is closed. It may go on sending from there: Chromium takes
the pair that it likes best, whatever generation it is of, and checks it every 2.5 s; Firefox every 5 s or so (RFC 7675)."""
_KEPT: Final = 2
"""Generations that may be in use beside the newest."""
_EARLY: Final = 8
"""DTLS handshake messages kept for a device that is not there yet: one flight (RFC 9147, section 5.7)."""
_PWD: Final = 32
"""Characters: 190 bits; RFC 8445 asks for 128."""


@dataclass(slots=True)
class Shared:
    """What all legs of a relay have in common."""

    plane: Plane
    sockets: Sequence[SharedSocket]
    counts: GateCounts = field(default_factory=GateCounts)
    agents: dict[str, IceAgent] = field(default_factory=dict)
    """By our user name fragment: who a STUN request is for."""
    owners: "dict[tuple[int, Address], Leg]" = field(default_factory=dict)
    """Whose each admitted address is: a NAT may give an address of an ended call to another one."""
    clock: Callable[[], float] = time.monotonic


class Leg:
    """Implements ``agent.Owner``. ``slot``: its number in the data plane."""

    def __init__(self, shared: Shared, slot: int) -> None:
        self.counts = shared.counts
        self.slot = slot
        self.rtt: float | None = None
        """Seconds to the client and back, smoothed (RFC 6298, section 2)."""
        self.connected = False
        """Whether the client nominated an address whose consent holds."""
        self.early: deque[bytes] = deque(maxlen=_EARLY)
        """What the peer's client sent to start DTLS, before our client was there."""
        self._shared = shared
        self._heard = shared.clock()
        self._agents: list[IceAgent] = []
        """Those that were in use until a moment ago, the one in use, and the one that may follow it."""
        self._selected: IceAgent | None = None
        """The one in use."""
        self._at: tuple[int, Address] | None = None
        """Where the client is sent what comes for it."""
        self._closing: set[asyncio.Task[None]] = set()

    async def start(self, remote: tuple[str, str] | None) -> IceAgent:
        """The agent for a generation of the client: its user name fragment and password, or None when they are to follow, as an
        answerer's do. The first is the leg's start, a further one an ICE restart (RFC 8445, section 9): media goes on over the old one
        until the new one is nominated. The same again gives the same agent.
        """
        self._heard = self._shared.clock()
        for agent in self._agents:
            if agent.remote == remote:
                return agent
        unbound = next((agent for agent in self._agents if agent.remote is None), None)
        if unbound is not None and remote is not None:
            unbound.bind(remote)
            return unbound
        local = _random(_UFRAG), _random(_PWD)
        agent = IceAgent(self, self._shared.sockets, local=local, clock=self._shared.clock)
        if remote is not None:
            agent.bind(remote)
        used = [other for other in self._agents if other is self._selected or other.retired_at is not None]
        for other in tuple(self._agents):
            if other not in used[-_KEPT:]:
                self._end(other)
        self._agents.append(agent)
        self._shared.agents[agent.local_username] = agent
        await agent.gather_candidates()
        return agent

    @property
    def last_heard(self) -> float:
        """When the client last proved to be there, on the clock of ``Shared``."""
        return max(self._heard, self._shared.plane.traffic(self.slot).last_heard)

    # --- what the agents tell -------------------------------------------------------------------------------------------------

    def heard(self) -> None:
        """See ``Owner``."""
        self._heard = self._shared.clock()

    def verified(self, agent: IceAgent, socket: SharedSocket, address: Address) -> None:
        """See ``Owner``."""
        key = (socket.number, address)
        agent.addresses.add(key)
        if self._shared.owners.get(key) is not self:
            self._shared.owners[key] = self
            self._shared.plane.admit(self.slot, *key)

    def selected(self, agent: IceAgent, socket: SharedSocket, address: Address) -> None:
        """See ``Owner``."""
        if agent not in self._agents or self._follows(agent):
            return
        if self._selected is not None and self._selected is not agent:
            self._selected.retired_at = self._shared.clock()
            self._retire(self._selected)
        self._selected = agent
        self.connected = True
        self._at = (socket.number, address)
        self._shared.plane.aim(self.slot, *self._at)
        while self.early:
            self._shared.plane.send(socket.number, self.early.popleft(), address)

    def _retire(self, agent: IceAgent) -> None:
        """End a generation once its client has not checked it for a while, at the earliest a while after another came into use."""
        left = GRACE - (self._shared.clock() - max(agent.retired_at or 0.0, agent.asked_at))
        if left <= 0:
            self._end(agent)
        elif agent in self._agents:
            asyncio.get_running_loop().call_later(left, self._retire, agent)

    def consent_lost(self, agent: IceAgent) -> None:
        """See ``Owner``."""
        self._end(agent)

    def _follows(self, agent: IceAgent) -> bool:
        """Whether a later agent is in use already."""
        return self._selected is not None and self._agents.index(self._selected) > self._agents.index(agent)

    def gone(self, key: tuple[int, Address]) -> None:
        """The client's connection at an admitted address has ended. It may come back by another one, in the same generation."""
        for agent in self._agents:
            agent.addresses.discard(key)
        if self._shared.owners.get(key) is self:
            del self._shared.owners[key]
            self._shared.plane.dismiss(*key)
        if self._at == key:
            self._nowhere()

    def measured(self, rtt: float) -> None:
        """See ``Owner``."""
        self.rtt = rtt if self.rtt is None else self.rtt + (rtt - self.rtt) / 8

    # --- the end --------------------------------------------------------------------------------------------------------------

    def _end(self, agent: IceAgent) -> None:
        """Close the gate for an agent's addresses, at once, and then the agent. Nothing when it has ended."""
        if agent not in self._agents:
            return
        if self._selected is agent:
            self._selected = None
            self._nowhere()
            self.early.clear()
        self._agents.remove(agent)
        agent.closed = True
        self._shared.agents.pop(agent.local_username, None)
        others = set().union(*(other.addresses for other in self._agents))
        for key in agent.addresses - others:
            if self._shared.owners.get(key) is self:
                del self._shared.owners[key]
                self._shared.plane.dismiss(*key)
        task = asyncio.get_running_loop().create_task(agent.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _nowhere(self) -> None:
        self._at = None
        self._shared.plane.aim(self.slot, 0, None)
        self.connected = False

    async def close(self) -> None:
        """End the leg."""
        for agent in tuple(self._agents):
            self._end(agent)
        if self._closing:
            await asyncio.wait(self._closing)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ICE_CHARS) for _ in range(length))
