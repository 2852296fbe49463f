"""Which relay carries which call: both devices of a call get their legs of one pair, whichever hubs they ask.

The relay learns a random name for the pair and ICE credentials: no call, no account, no description.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Final, Protocol, cast

from msgspec import UNSET, Struct
from redis.exceptions import RedisError

from media.control import LegAnswer, RelayDirectory, RelayGoneError
from media.relay import Direction
from signaling.calls.views import refusal
from signaling.gateway.request import Handlers, RestRequest, Session
from signaling.limits.rules import RELAY_LEGS_OF_DEVICE
from signaling.limits.service import Limits
from signaling.storage.redis import AnyRedis
from signaling.tasks import end_tasks, steady
from signaling.telemetry.counting import count
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.messages import CallRelay, CallRelayEnding, Ok, RelayLeg, ServerMessage
from signaling.wire.rest import JoinRelay, RelayQuality, RelayWay

log = logging.getLogger(__name__)

_LIFETIME: Final = 86_400
"""Seconds that it is remembered which relay carries a call, from the last time somebody asked."""
_TRIES: Final = 4
"""Relays that are asked before it is said that none is free."""
_PATIENCE: Final = 1.5
"""Seconds that a call whose relay has died waits for one: whoever runs the relay starts it again at once, which takes half a second."""
_AGAIN: Final = 0.1
"""Seconds between two looks for one meanwhile."""
_LOOK: Final = 0.25
"""Seconds between two looks whether the relays of this hub's calls are there. Who is missing twice has died."""
_ENDED: Final = 5.0
"""Seconds between looks for calls that have ended, so that their pairs are released."""

# Two hubs may place one call at the same time: the first wins, and the other takes what it finds. KEYS: where the call is, where it has been;
# ARGV: what is expected, what it becomes, lifetime; the time, and for how long it is kept where a call has been (0: not).
_PLACE: Final = """
local there = redis.call('GET', KEYS[1]) or ''
if there == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
  if ARGV[5] ~= '0' then
    redis.call('RPUSH', KEYS[2], ARGV[4] .. ' ' .. ARGV[2])
    redis.call('LTRIM', KEYS[2], -8, -1)
    redis.call('EXPIRE', KEYS[2], ARGV[5])
  end
  return ARGV[2]
end
return there
"""


class Placement(Struct, frozen=True):
    """A call was put on a relay."""

    at: float
    """Seconds since 1970."""
    relay: str
    pair: str
    """The call's random name there."""


@dataclass(slots=True)
class _Pair:
    """A pair that devices of this hub use."""

    relay: str
    call: str
    devices: dict[str, tuple[Session, int]] = field(default_factory=dict)
    """By id: the device's session and side."""


class Qualities(Protocol):
    """Who keeps how well relayed calls worked (``calls/quality.py``)."""

    async def wanted(self, account: str) -> bool:
        """Whether it is kept for an account."""

    async def relayed(self, account: str, call: str, quality: RelayQuality) -> None:
        """Keep it."""


class RelayService:
    """Legs for the devices of live calls.

    Args:
        redis: live state.
        party: which side of a live call a device is: 0 for the caller's, 1 for the callee's that took it, None for any other.
        lives: whether a call is live at any device of the session's account.
        send: hands a message to a device's socket.
        qualities: told how relayed calls went, when they have ended.
        traced: a trace context for the relay, from a call's id, that lasts until the relay has answered; empty when the call is not traced.
        kept: seconds for which operators can see how an ended call arrived at its relays; 0: not at all.
    """

    def __init__(
        self,
        *,
        redis: AnyRedis,
        limits: Limits,
        party: Callable[[Session, str], Awaitable[int | None]],
        lives: Callable[[Session, str], Awaitable[bool]],
        send: Callable[[str, ServerMessage], bool],
        qualities: Qualities,
        traced: Callable[[str], AbstractContextManager[str]] = lambda _call: nullcontext(""),
        kept: int = 0,
    ) -> None:
        self._redis = redis
        self._traced = traced
        self._party = party
        self._lives = lives
        self._send = send
        self._qualities = qualities
        self._limits = limits
        self._kept = kept + _LIFETIME if kept else 0
        self.directory = RelayDirectory(redis, self._ending)
        """The relays that there are."""
        self._place = redis.register_script(_PLACE)
        self._pairs: dict[str, _Pair] = {}
        self._missing: frozenset[str] = frozenset()
        self._loops: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.counts: dict[str, int] = {}
        """Legs that devices asked for, by what came of it: ``given`` or an error code."""

    def start(self) -> None:
        """Listen to relays."""
        self.directory.start()
        loop = asyncio.get_running_loop()
        self._loops = [
            loop.create_task(steady("relays: ended calls", lambda: self._every(_ENDED, self.release_ended))),
            loop.create_task(steady("relays: look", lambda: self._every(_LOOK, self.look))),
        ]

    async def close(self) -> None:
        """Stop. Calls stay on their relays."""
        tasks = [*self._loops, *self._tasks]
        await end_tasks(*tasks)
        await self.directory.close()

    async def available(self) -> bool:
        """Whether a relay would take a call now; False, too, when Redis does not answer."""
        try:
            return any(relay.pairs < relay.capacity for relay in await self.directory.relays())
        except (RedisError, OSError):
            return False

    async def leg(self, session: Session, call: str, credentials: JoinRelay) -> RelayLeg:
        """The device's leg. Raises ``Refused``: ``invalid``, ``unknown_call``, ``rate_limited``, ``no_relay``, ``no_relay_free``."""
        try:
            leg = await self._leg_of(session, call, credentials)
        except Refused as refused:
            count(self.counts, str(refused.code))
            raise
        count(self.counts, "given")
        return leg

    async def _leg_of(self, session: Session, call: str, credentials: JoinRelay) -> RelayLeg:
        ufrag, pwd = credentials.ufrag, credentials.pwd
        if (ufrag is UNSET) != (pwd is UNSET):
            raise Refused(ErrorCode.INVALID, "`ufrag` and `pwd`: both or none")
        remote = None if ufrag is UNSET or pwd is UNSET else (ufrag, pwd)
        wait = await self._limits.take(self._limits.charge(RELAY_LEGS_OF_DEVICE, session.device))
        if wait:
            raise Refused(ErrorCode.RATE_LIMITED, retry_after=wait)
        side = await self._party(session, call)
        if side is None:
            raise Refused(ErrorCode.UNKNOWN_CALL)
        until = time.monotonic() + (_PATIENCE if await self._placed(call) else 0.0)
        while True:
            try:
                return await self._find(session, call, side, remote)
            except Refused:
                if time.monotonic() >= until:
                    raise
            await asyncio.sleep(_AGAIN)

    async def _find(self, session: Session, call: str, side: int, remote: tuple[str, str] | None) -> RelayLeg:
        """A leg of the relay that the call is on, or of another one. Raises ``Refused``: ``no_relay``, ``no_relay_free``."""
        tried: set[str] = set()
        placed = await self._placed(call)
        for _ in range(_TRIES):
            relays = await self.directory.relays()
            if not relays:
                raise Refused(ErrorCode.NO_RELAY)
            relay, _, pair = placed.partition(" ")
            if relay in tried or relay not in {r.id for r in relays}:
                free = [r.id for r in relays if r.id not in tried and r.pairs < r.capacity]
                if not free:
                    break
                placed = await self._replace(call, placed, f"{free[0]} {secrets.token_urlsafe(16)}")
                relay, _, pair = placed.partition(" ")
            try:
                with self._traced(call) as trace:
                    answer = await self.directory.leg(relay, pair=pair, side=side, remote=remote, trace=trace)
            except RelayGoneError:
                answer = None
            if answer is not None:
                self._remember(pair, relay, call, session, side)
                return _leg(answer)
            tried.add(relay)
        raise Refused(ErrorCode.NO_RELAY_FREE, retry_after=5.0)

    def submit(self, session: Session, message: CallRelay, reply: Callable[[ServerMessage], object]) -> None:
        """``call.relay``: as ``leg``, and ``reply`` is called with the outcome."""
        task = asyncio.get_running_loop().create_task(self._answer(session, message, reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, session: Session, message: CallRelay, reply: Callable[[ServerMessage], object]) -> None:
        try:
            reply(Ok(re=message.id, leg=await self.leg(session, message.call, JoinRelay(message.ufrag, message.pwd))))
        except Refused as refused:
            reply(refusal(message.id, refused))
        except (RedisError, OSError):
            reply(refusal(message.id, Refused(ErrorCode.UNAVAILABLE, retry_after=1.0)))

    async def quality(self, session: Session, call: str) -> RelayQuality:
        """How the call arrives at its relay. Raises ``Refused``: ``unknown_call``, ``no_relay``."""
        side = await self._party(session, call)
        if side is None:
            raise Refused(ErrorCode.UNKNOWN_CALL)
        relay, _, pair = (await self._placed(call)).partition(" ")
        try:
            sides = await self.directory.quality(relay, pair) if relay else ()
        except RelayGoneError:
            sides = ()
        if not sides:
            raise Refused(ErrorCode.NO_RELAY)
        return RelayQuality(sent=_way(sides[side]), received=_way(sides[1 - side]))

    # --- for operators ------------------------------------------------------------------------------------------------------------

    async def where(self, calls: Sequence[str]) -> dict[str, tuple[str, str]]:
        """The relay of each of these calls that is on one, and the call's random name there. Raises ``RedisError``."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for call in calls:
                pipe.get(_key(call))
            found = await pipe.execute()
        split = {call: placed.decode().partition(" ") for call, placed in zip(calls, found, strict=True) if placed}
        return {call: (relay, pair) for call, (relay, _, pair) in split.items()}

    async def placements(self, call: str) -> list[Placement]:
        """The relays that a call has been on, oldest first. Raises ``RedisError``."""
        found: list[Placement] = []
        for line in await cast("Awaitable[list[bytes]]", self._redis.lrange(_placements(call), 0, -1)):
            at, relay, pair = line.decode().split(" ")
            found.append(Placement(float(at), relay, pair))
        return found

    async def forget(self, call: str) -> None:
        """Forget where a call was, and how it arrived (P23). Raises ``RedisError``."""
        for placement in await self.placements(call):
            await self.directory.forget(placement.pair)
        await self._redis.unlink(_placements(call))

    async def _placed(self, call: str) -> str:
        """``RELAY PAIR``, or nothing."""
        found = await self._redis.get(_key(call))
        return found.decode("ascii") if isinstance(found, bytes) else ""

    async def _replace(self, call: str, old: str, new: str) -> str:
        there: bytes = await self._place(
            keys=[_key(call), _placements(call)], args=[old, new, _LIFETIME, f"{time.time():.3f}", self._kept]
        )
        return there.decode("ascii")

    # --- pairs of this hub's devices --------------------------------------------------------------------------------------------

    def _remember(self, pair: str, relay: str, call: str, session: Session, side: int) -> None:
        self._pairs.setdefault(pair, _Pair(relay, call)).devices[session.device] = session, side

    def _ending(self, pairs: Sequence[str]) -> None:
        """A relay ends: its calls move."""
        for name in pairs:
            pair = self._pairs.pop(name, None)
            if pair is not None:
                for device in pair.devices:
                    self._send(device, CallRelayEnding(call=pair.call))

    async def _every(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await act()
            except (RedisError, OSError) as error:
                self._missing = frozenset()
                log.warning("relays: Redis does not answer (%s)", type(error).__name__)  # pairs expire at the relay by themselves

    async def look(self) -> None:
        """Find out which relays of this hub's calls have died since the look before, and have the calls move. Raises ``RedisError``."""
        used = {pair.relay for pair in self._pairs.values()}
        missing = await self.directory.missing(used) if used else frozenset()
        for relay in missing & self._missing:
            log.warning("relays: a relay has died; its calls move")
            await self.directory.bury(relay)
            self._ending([name for name, pair in self._pairs.items() if pair.relay == relay])
        self._missing = missing

    async def release_ended(self) -> None:
        """Release the pairs of calls that have ended. Raises ``RedisError``."""
        for name, pair in tuple(self._pairs.items()):
            # a call that moved to another device goes on, and keeps its pair
            if not any([await self._lives(session, pair.call) for session, _ in pair.devices.values()]):
                self._pairs.pop(name, None)
                await self._keep_quality(name, pair)
                await self.directory.release(pair.relay, name)
                await self._redis.delete(_key(pair.call))

    async def _keep_quality(self, name: str, pair: _Pair) -> None:
        """What the relay saw of an ended call, for those of its devices here whose owners allow it."""
        wanted = [
            (session.account, side) for session, side in pair.devices.values() if await self._qualities.wanted(session.account)
        ]
        if not wanted:
            return
        try:
            sides = await self.directory.quality(pair.relay, name)
        except RelayGoneError:
            return
        for account, side in wanted if sides else ():
            await self._qualities.relayed(account, pair.call, RelayQuality(_way(sides[side]), _way(sides[1 - side])))


def _key(call: str) -> str:
    return f"call_relay:{{{call}}}"


def _placements(call: str) -> str:
    return f"call_placements:{{{call}}}"


def _leg(answer: LegAnswer) -> RelayLeg:
    return RelayLeg(ufrag=answer.ufrag, pwd=answer.pwd, candidates=list(answer.candidates), expires_in=answer.expires_in)


def _way(direction: Direction) -> RelayWay:
    return RelayWay(
        packets=direction.packets,
        expected=direction.expected,
        lost=direction.lost,
        jitter=direction.jitter,
        rtt=UNSET if direction.rtt is None else direction.rtt,
        mos=UNSET if direction.mos is None else direction.mos,
    )


def handlers(service: RelayService) -> Handlers:
    """Handlers by endpoint id."""

    async def leg(r: RestRequest) -> Struct:
        return await service.leg(r.session, r.path["call"], r.body)

    async def quality(r: RestRequest) -> Struct:
        return await service.quality(r.session, r.path["call"])

    return {"calls.relay": leg, "calls.relay_quality": quality}
