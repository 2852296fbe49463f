"""The ICE agent of one generation of a leg (RFC 8445): aioice's ``Connection``, on sockets that all legs share.

What is ours and not aioice's, and why, is in ``docs/decisions/0013-the-relay.md``: always controlled, silent to strangers, bounded in all
that a client can make it do, and consent (RFC 7675) that survives a slow network.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from aioice import Candidate, stun
from aioice.ice import CandidatePair, Connection, StunProtocol

from media.gate import GateCounts
from media.plane import Address
from media.tasks import end_tasks

MAX_PAIRS: Final = 12
"""Addresses that one generation may have checks with: Wi-Fi, mobile and VPN, IPv4 and IPv6, each behind a NAT that changes its mind."""

MAX_CHECKS: Final = 4
"""Checks in a row that one request can cause by answering each with a role conflict."""

REQUESTS_BURST: Final = 100.0
REQUESTS_RATE: Final = 20.0
"""STUN requests of one generation: at once, and a second. Browsers send one check every 50 ms while they look for a way, and one every
few seconds later."""

CONSENT_INTERVAL: Final = 5.0
"""Seconds between consent checks, randomised by a fifth (RFC 7675, section 5.1)."""

CONSENT_LIFETIME: Final = 30.0
"""Seconds for which a consent holds (RFC 7675, section 5.1)."""


class SharedSocket(Protocol):
    """One of the relay's sockets, as ICE sees it."""

    number: int
    candidates: Sequence[Candidate]
    """Where clients reach it: one address, or for those who come by TCP any of several."""
    waiting: "dict[bytes, SharedProtocol]"
    """Who waits for the answer to a STUN transaction, by its id."""

    def send(self, data: bytes, address: Address) -> None:
        """Send a STUN message."""

    def reaches(self, address: Address) -> bool:
        """Whether an address can be a client's: of those who come by TCP, whether the connection is still there."""

    def outside(self, address: Address) -> Address:
        """Where a client is on the network: of those who come by TCP, their end of the connection."""


class Owner(Protocol):
    """The leg, as its agents see it."""

    counts: GateCounts

    def heard(self) -> None:
        """The client proved that it is there: an authentic request, or an authentic answer."""

    def verified(self, agent: "IceAgent", socket: SharedSocket, address: Address) -> None:
        """The client is at this address: it answered a check there."""

    def selected(self, agent: "IceAgent", socket: SharedSocket, address: Address) -> None:
        """The client nominated this address."""

    def consent_lost(self, agent: "IceAgent") -> None:
        """The client answered nothing for ``CONSENT_LIFETIME``."""

    def measured(self, rtt: float) -> None:
        """A round trip to the client and back, in seconds."""


class _SharedTransport:
    """Stands for the socket in aioice's hands: closing one agent must not close what all use."""

    def __init__(self, protocol: "SharedProtocol") -> None:
        self._protocol = protocol

    def sendto(self, data: bytes, address: Address) -> None:
        self._protocol.socket.send(data, address)

    def get_extra_info(self, _name: str) -> None:
        return None

    def close(self) -> None:
        self._protocol.connection_lost(None)


class SharedProtocol(StunProtocol):
    """One agent on one socket."""

    def __init__(self, agent: "IceAgent", socket: SharedSocket) -> None:
        super().__init__(agent)
        self.socket = socket
        self._agent = agent
        self.connection_made(_SharedTransport(self))  # type: ignore[arg-type]
        self.local_candidate = socket.candidates[0]

    async def request(
        self,
        request: stun.Message,
        addr: Address,
        integrity_key: bytes | None = None,
        retransmissions: int | None = None,
    ) -> tuple[stun.Message, Address]:
        """Run one STUN transaction; the answer finds its way here by the transaction's id. It also measures the way."""
        self.socket.waiting[request.transaction_id] = self
        asked = self._agent.clock()
        try:
            answer = await super().request(request, addr, integrity_key, retransmissions)
        finally:
            self.socket.waiting.pop(request.transaction_id, None)
        self._agent.answered_after(self._agent.clock() - asked)
        return answer

    def send_stun(self, message: stun.Message, addr: Address) -> None:
        """Send a message; a response tells a client by TCP where *it* is (RFC 8489, section 14.2), and not where it is on our loopback: Firefox takes
        no response that does.
        """
        outside = self.socket.outside(addr)
        if outside != addr and "XOR-MAPPED-ADDRESS" in message.attributes:
            told = stun.Message(message.message_method, message.message_class, message.transaction_id)
            told.attributes["XOR-MAPPED-ADDRESS"] = outside
            told.add_message_integrity(self._agent.local_password.encode())
            message = told
        super().send_stun(message, addr)

    def answered(self, message: stun.Message, source: Address) -> None:
        """Take a response; it counts only when its integrity holds."""
        transaction = self.transactions.get(message.transaction_id)
        if transaction is not None:
            transaction.response_received(message, source)


class IceAgent(Connection):
    """One generation of one leg.

    Args:
        owner: is told what happens.
        sockets: those of the relay.
        local: our user name fragment and password (RFC 8839, section 5.4). The client's follow (``bind``).
    """

    def __init__(
        self,
        owner: Owner,
        sockets: Sequence[SharedSocket],
        *,
        local: tuple[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(ice_controlling=False, local_username=local[0], local_password=local[1])
        self.closed = False
        self.remote: tuple[str, str] | None = None
        """The client's user name fragment and password; None until they are known."""
        self.addresses: set[tuple[int, Address]] = set()
        """Verified: number of the socket, address."""
        self.asked_at = clock()
        """When the client last sent an authentic request."""
        self.retired_at: float | None = None
        """Since when a later generation is in use."""
        self._tie_breaker = 0  # whoever we meet wins the controlling role (RFC 8445, section 7.3.1.1)
        self._owner = owner
        self._sockets = sockets
        self.clock = clock
        self._pairs = 0
        self._chain: dict[CandidatePair, int] = {}
        self._tokens, self._refilled = REQUESTS_BURST, clock()
        self._met = False
        """Whether the client sent an authentic request."""
        self._connecting: asyncio.Task[None] | None = None

    def bind(self, remote: tuple[str, str]) -> None:
        """The client's user name fragment and password: from now on its checks are checked back."""
        self.remote = self.remote_username, self.remote_password = remote
        self._start()

    def _start(self) -> None:
        # not before there is somebody: `connect` fails when there is no check to answer. Those that came before, aioice has kept
        if self._connecting is None and self.remote is not None and self._met and not self.closed:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def get_component_candidates(self, component: int, addresses: list[str], timeout: int = 5) -> list[Candidate]:
        """Nothing is gathered: the sockets are there."""
        protocols = [SharedProtocol(self, socket) for socket in self._sockets]
        self._protocols += protocols
        return [candidate for protocol in protocols for candidate in protocol.socket.candidates]

    def protocol(self, number: int) -> SharedProtocol:
        """This agent on one of the sockets. Raises ``KeyError`` when it is closed."""
        for protocol in self._protocols:
            if isinstance(protocol, SharedProtocol) and protocol.socket.number == number:
                return protocol
        raise KeyError(number)

    # --- what comes in ---------------------------------------------------------------------------------------------------------

    def request_received(self, message: stun.Message, addr: Address, protocol: StunProtocol) -> None:
        """Take a request for this agent. Who cannot authenticate gets no answer: it would go to whomever they name as sender."""
        counts, now = self._owner.counts, self.clock()
        self._tokens = min(REQUESTS_BURST, self._tokens + (now - self._refilled) * REQUESTS_RATE)
        self._refilled = now
        if self.closed or self._tokens < 1:
            counts.stun_excess += 1
            return
        self._tokens -= 1
        attributes = message.attributes
        if message.message_method != stun.Method.BINDING:
            counts.stun_unexpected += 1
        elif "PRIORITY" not in attributes:
            counts.stun_malformed += 1
        elif not self.authentic(message):
            counts.stun_forged += 1
        else:
            self._owner.heard()
            self.asked_at = now
            self._met = True
            self._start()
            super().request_received(message, addr, protocol)

    def authentic(self, message: stun.Message) -> bool:
        """Whether a request is of who has this generation's credentials."""
        named = self._valid_username(message.attributes.get("USERNAME", ""))
        return named and message.check_message_integrity(self.local_password.encode())

    def respond_error(self, request: stun.Message, addr: Address, protocol: StunProtocol, error_code: tuple[int, str]) -> None:
        """Only role conflicts are answered with an error; ``request_received`` has sorted out the rest."""
        if error_code[0] == 487:
            super().respond_error(request, addr, protocol, error_code)

    def switch_role(self, ice_controlling: bool) -> None:
        """We stay controlled."""

    def check_incoming(self, message: stun.Message, addr: Address, protocol: StunProtocol) -> None:
        """Check back, at a bounded number of addresses."""
        known = next((p for p in self._check_list if p.protocol is protocol and p.remote_addr == addr), None)
        if known is None:
            if self._pairs >= MAX_PAIRS:
                self._owner.counts.stun_excess += 1
                return
            self._pairs += 1
        else:
            self._chain.pop(known, None)
        super().check_incoming(message, addr, protocol)

    async def check_start(self, pair: CandidatePair) -> None:
        """Check, but not for ever: aioice checks again, one call deeper, as often as a client answers with a role conflict."""
        self._chain[pair] = self._chain.get(pair, 0) + 1
        if self._chain[pair] > MAX_CHECKS:
            self.check_state(pair, CandidatePair.State.FAILED)
            self.check_complete(pair)
            return
        await super().check_start(pair)

    def _check_periodic(self) -> bool:
        """Nothing is looked for every 20 ms, for as long as a client likes: each of our checks is the answer to one of the client's."""
        return False

    def check_complete(self, pair: CandidatePair) -> None:
        """A check ended: who answered is verified, and what was nominated is used."""
        super().check_complete(pair)
        if pair.state is not CandidatePair.State.SUCCEEDED or self.closed:
            return
        protocol = pair.protocol
        assert isinstance(protocol, SharedProtocol)  # noqa: S101 - there are no others
        if not protocol.socket.reaches(pair.remote_addr):
            return
        self._owner.heard()
        self._owner.verified(self, protocol.socket, pair.remote_addr)
        if pair.nominated:
            self._owner.selected(self, protocol.socket, pair.remote_addr)

    # --- life ------------------------------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        with contextlib.suppress(ConnectionError):  # closed before anyone was nominated
            await self.connect()

    async def query_consent(self) -> None:
        """Ask every few seconds whether the client still wants what it gets (RFC 7675).

        aioice gives an answer half a second, and ends after six that are late: on a slow network that ends a good call.
        """
        last = self.clock()
        while self.clock() - last < CONSENT_LIFETIME:
            await asyncio.sleep(CONSENT_INTERVAL * (0.8 + 0.4 * random.random()))  # noqa: S311 - spreads load
            for pair in tuple(self._nominated.values()):
                try:
                    await pair.protocol.request(
                        self.build_request(pair, nominate=False),
                        pair.remote_addr,
                        integrity_key=(self.remote_password or "").encode(),
                        retransmissions=2,
                    )
                except stun.TransactionError:
                    continue
                last = self.clock()
                self._owner.heard()
        self._owner.consent_lost(self)

    def answered_after(self, seconds: float) -> None:
        """A request of ours was answered; one that had to be repeated says nothing of the way."""
        if seconds < stun.RETRY_RTO:
            self._owner.measured(seconds)

    async def close(self) -> None:
        """End every task of the agent. Its addresses must have been dismissed."""
        self.closed = True
        await super().close()
        if self._connecting is not None:
            await end_tasks(self._connecting)


def read(data: bytes) -> stun.Message | None:
    """A STUN message, or None. aioice raises more than ``ValueError`` for some (``struct.error`` for an attribute that is too short)."""
    try:
        message: Any = stun.parse_message(data)
    except Exception:
        return None
    return message if isinstance(message, stun.Message) else None
