"""The way of one call's media, kept going: runs the ladder (``ladder.py``) on a connection, and watches whether anything comes."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Protocol

from signaling.client import ladder
from signaling.client.ladder import Act, Do, Event, Ladder, ReturnAfter, SayWish, Via, Wait
from signaling.client.rest import ClientError
from signaling.client.sdp import Ice

_LOOK_WHILE_WAITING: Final = 0.15
_LOOK: Final = 0.4
"""Seconds between two looks while a way is being found, and once there is one."""
_SILENT_AFTER: Final = 1.2
"""Seconds: Opus' pauses for silence still send every 0.4 s, so after this long without a packet none will come."""

AskForLeg = Callable[[str, str], Awaitable[Ice]]


class Movable(Protocol):
    """The connection (``media.py``)."""

    @property
    def packets(self) -> int:
        """RTP packets that came."""

    @property
    def turned(self) -> bool:
        """They go through a TURN server, of whichever side."""

    def flows(self, epoch: int) -> bool:
        """ICE of this epoch and DTLS are up."""

    async def restart_offer(self, epoch: int) -> str:
        """An offer with new ICE parameters."""

    async def restart_answer(self, epoch: int, offer: str) -> str:
        """The answer to such an offer. Raises ``ValueError``."""

    async def restart_accept(self, epoch: int, answer: str) -> None:
        """Take the answer. Raises ``ValueError``."""

    async def to_leg(self, epoch: int, ask: AskForLeg) -> None:
        """Restart ICE towards our leg of the relay. Raises ``ClientError`` when there is none."""


class Route:
    """Runs one call's ladder.

    Args:
        leader: this side made the offer: it called, or took the call over.
        relay: the server has a relay.
        servers: it has TURN servers.
        say: tells the other side, sealed: a kind and a body.
        leg: asks the hub for this device's leg.
        exhausted: nothing is left to try.
    """

    def __init__(
        self,
        media: Movable,
        *,
        leader: bool,
        relay: bool,
        servers: bool,
        say: Callable[[str, dict[str, object]], Awaitable[None]],
        leg: AskForLeg,
        exhausted: Callable[[], None],
    ) -> None:
        self._media = media
        self._say = say
        self._leg = leg
        self._exhausted = exhausted
        self._ladder = Ladder(leader, relay, servers)
        self._offer: str | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._packets = 0
        self._before = 0
        self._heard_at: float | None = None

    @property
    def epoch(self) -> int:
        """Number of the way of now."""
        return self._ladder.epoch

    @property
    def via(self) -> Via:
        """Which way it is."""
        return self._ladder.via

    @property
    def carried(self) -> bool:
        """Whether media flow on it."""
        return self._ladder.carried

    def answered(self, *, hidden: bool, moves: bool) -> None:
        """Offer and answer are exchanged. ``hidden``: one of the two hides; ``moves``: the other side knows epochs."""
        self._take(ladder.Answered(hidden, moves))
        self._spawn(self._watch())

    async def heard(self, kind: str, epoch: int, *, sdp: str | None, via: Via) -> None:
        """The other side said ``restart``, ``restart_answer``, ``relay`` or ``wish``."""
        match kind:
            case "restart_answer":
                if epoch == self.epoch and self.via is Via.DIRECT and sdp is not None:
                    with contextlib.suppress(ValueError):
                        await self._media.restart_accept(epoch, sdp)
            case "restart":
                if sdp is not None and epoch > self.epoch:
                    self._offer = sdp
                    self._take(ladder.Moved(epoch, Via.DIRECT))
            case "relay":
                self._take(ladder.Moved(epoch, Via.RELAY))
            case "wish":
                self._take(ladder.Wished(epoch, via))

    def lost(self) -> None:
        """ICE has failed, or the other side's consent is over."""
        if not self._closed:
            self._take(ladder.Lost(self.epoch))

    def relay_ending(self) -> None:
        """The relay will end: a leg of another one is needed."""
        self._take(ladder.Renew())

    def close(self) -> None:
        """Stop."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        for task in self._tasks:
            task.cancel()

    def _take(self, event: Event) -> None:
        if self._closed:
            return
        before = self._ladder
        self._ladder, acts = ladder.advance(before, event)
        if self._ladder.epoch != before.epoch:
            self._before, self._heard_at = self._packets, None
        for act in acts:
            self._do(act, self._ladder.epoch)
        given_up = isinstance(event, ladder.Lost) if not acts else self._ladder.tried > 2 and not self._ladder.relay
        if not self._ladder.ever and given_up:
            self._exhausted()

    def _do(self, act: Act, epoch: int) -> None:
        match act:
            case Wait():
                self._after("late", act.seconds, ladder.Late(epoch))
            case ReturnAfter():
                self._after("return", act.seconds, ladder.Return(epoch))
            case SayWish():
                self._spawn(self._say("wish", {"epoch": act.epoch, "via": act.via.value}))
            case Do.SAY_RELAY:
                self._spawn(self._say("relay", {"epoch": epoch}))
            case Do.OFFER:
                self._spawn(self._direct(epoch))
            case Do.ANSWER:
                self._spawn(self._answer(epoch))
            case Do.LEG:
                self._spawn(self._over_relay(epoch))

    def _after(self, name: str, seconds: float, event: Event) -> None:
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()
        self._timers[name] = asyncio.get_running_loop().call_later(seconds, self._take, event)

    async def _direct(self, epoch: int) -> None:
        sdp = await self._media.restart_offer(epoch)
        if epoch == self.epoch:
            await self._say("restart", {"epoch": epoch, "sdp": sdp})

    async def _answer(self, epoch: int) -> None:
        offer = self._offer
        if offer is None:
            return
        try:
            sdp = await self._media.restart_answer(epoch, offer)
        except ValueError:
            return  # no description: `late` goes on
        if epoch == self.epoch:
            await self._say("restart_answer", {"epoch": epoch, "sdp": sdp})

    async def _over_relay(self, epoch: int) -> None:
        try:
            await self._media.to_leg(epoch, self._leg)
        except ClientError:
            self._take(ladder.NoRelay(epoch))

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            more = self._media.packets > self._packets
            self._packets = self._media.packets
            if not self.carried:
                if self._media.flows(self.epoch):
                    self._heard_at = loop.time() if self._packets > self._before else None
                    self._take(ladder.Flows(self.epoch, self._media.turned))
            elif more:
                self._heard_at = loop.time()
            # who never sent anything in this epoch is not somebody who has gone
            elif self._heard_at is not None and loop.time() - self._heard_at > _SILENT_AFTER:
                self._heard_at = None
                self.lost()
            await asyncio.sleep(_LOOK if self.carried else _LOOK_WHILE_WAITING)

    def _spawn(self, work: Coroutine[Any, Any, None] | Awaitable[None]) -> None:
        async def run() -> None:
            with contextlib.suppress(ClientError):  # what could not be told: the other side's own clock goes on
                await work

        task = asyncio.ensure_future(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
