"""How hubs ask for relays, over Redis: leases that say which relays there are, and requests and answers by publish and subscribe.

Nothing that is asked or answered is kept by Redis: it holds ICE passwords. What is kept is one lease per relay. Every command has one key, so that it
runs on a cluster too; machines whose clocks differ by more than ``LEASE`` do not see each other's relays.

===============================  ========================================================================
``relays``                       hash of leases by the relay's id: ``RelayState`` as JSON
channel ``relay.requests:ID``    to a relay: ``Request``
channel ``relay.answers:ID``     to a hub: ``Answer``
channel ``relay.events``         to all hubs: ``Ending``
``relay_quality:PAIR``           list of samples of how a call arrives (``media/report.py``)
===============================  ========================================================================
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import RedisError

from media.relay import WAIT, Direction, Relay, RelayFullError
from media.report import EVERY, RelayLoad, Reporter, Sample, decode_samples, quality_key, store_samples
from media.tasks import end_tasks, steady

log = logging.getLogger(__name__)

LEASE: Final = 7.0
"""Seconds that a relay counts as alive after it last said so."""

RENEWAL: Final = 2.0
"""Seconds between two renewals of a lease."""

ANSWER: Final = 1.0
"""Seconds that a hub waits for a relay's answer: people hear nothing meanwhile, and there may be another relay."""

_SETTLE: Final = 6.0
"""Seconds after a loss of Redis within which relays may still be on their way back to it."""

_LOOKS: Final = 8
"""Looks at how late the event loop is between two renewals."""

_KEPT: Final = 60
"""Seconds after the last renewal of any lease until Redis forgets them all."""

AnyRedis = Redis | RedisCluster

_RELAYS: Final = "relays"
_EVENTS: Final = "relay.events"


class RelayState(Struct, frozen=True):
    """What a relay says of itself."""

    id: str
    pairs: int
    """Calls that it carries."""
    capacity: int
    until: float
    """When the lease ends, in seconds since 1970."""
    load: RelayLoad | None = None


class LegRequest(Struct, frozen=True, tag_field="type", tag="leg"):
    """Give a side of a pair its leg; made if needed."""

    re: str
    hub: str
    pair: str
    side: int
    remote: tuple[str, str] | None
    """The client's ICE user name fragment and password; None when they are to follow."""
    trace: str = ""
    """Trace context (W3C) of the span that this belongs to, where the operator traces calls. It does not tell the call."""


class ReleaseRequest(Struct, frozen=True, tag_field="type", tag="release"):
    """The call has ended. No answer."""

    pair: str


class QualityRequest(Struct, frozen=True, tag_field="type", tag="quality"):
    """How does it arrive?"""

    re: str
    hub: str
    pair: str


class DrainRequest(Struct, frozen=True, tag_field="type", tag="drain"):
    """Have your calls move to other relays, and end. No answer."""


Request = LegRequest | ReleaseRequest | QualityRequest | DrainRequest


class LegAnswer(Struct, frozen=True, tag_field="type", tag="leg"):
    """A leg. ``candidates`` are candidate attributes (RFC 8839, section 5.1)."""

    re: str
    ufrag: str
    pwd: str
    candidates: tuple[str, ...]
    expires_in: float
    """Seconds that the leg waits for its client."""


class QualityAnswer(Struct, frozen=True, tag_field="type", tag="quality"):
    """By side; empty when there is no such pair."""

    re: str
    sides: tuple[Direction, ...]


class RefusedAnswer(Struct, frozen=True, tag_field="type", tag="refused"):
    """No pair is free."""

    re: str


Answer = LegAnswer | QualityAnswer | RefusedAnswer


class Ending(Struct, frozen=True):
    """A relay is about to end: the calls of these pairs should move."""

    relay: str
    pairs: tuple[str, ...]


_requests: Final[msgspec.json.Decoder[Request]] = msgspec.json.Decoder(Request)
_answers: Final[msgspec.json.Decoder[Answer]] = msgspec.json.Decoder(Answer)
_endings: Final[msgspec.json.Decoder[Ending]] = msgspec.json.Decoder(Ending)
_states: Final[msgspec.json.Decoder[RelayState]] = msgspec.json.Decoder(RelayState)
_encode: Final = msgspec.json.encode


class RelayGoneError(Exception):
    """The relay does not listen any more, or does not answer."""


class _Subscriber:
    """Reads channels for as long as it is open, over every loss of the connection."""

    def __init__(self, redis: AnyRedis, handlers: dict[str, Callable[[bytes], None]]) -> None:
        self._redis = redis
        self._handlers = handlers
        self._task: asyncio.Task[None] | None = None
        self.ready = asyncio.Event()
        """Set while the channels are subscribed to."""
        self.lost_at: float | None = None
        """When they last were not any more, on the clock of the event loop."""

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(steady("relay control: messages", self._run))

    async def close(self) -> None:
        if self._task is not None:
            await end_tasks(self._task)

    async def _run(self) -> None:
        wait = 0.1
        while True:
            try:
                if isinstance(self._redis, RedisCluster):
                    await self._redis.initialize()  # its publish and subscribe does not do so by itself
                async with self._redis.pubsub() as channels:
                    await channels.subscribe(*self._handlers)
                    while True:
                        message: dict[str, Any] | None = await channels.get_message(timeout=4.0)
                        if message is None:
                            continue
                        if message["type"] == "subscribe":
                            self.ready.set()
                            wait = 0.1
                        elif message["type"] == "message":
                            self._take(message["channel"].decode(), message["data"])
            except (RedisError, OSError) as error:
                log.warning("relay control: Redis does not answer (%s)", type(error).__name__)
            finally:
                if self.ready.is_set():
                    self.lost_at = asyncio.get_running_loop().time()
                self.ready.clear()
            await asyncio.sleep(wait)
            wait = min(5.0, wait * 2)

    def _take(self, channel: str, data: bytes) -> None:
        try:
            self._handlers[channel](data)
        except msgspec.MsgspecError:
            log.error("relay control: a message that is none of ours")


class Observer(Protocol):
    """Is told what hubs ask for, for traces."""

    def answered(self, trace: str, pair: str, began: float, outcome: str) -> None:
        """A leg was asked for at ``began`` (seconds since 1970), and ``given`` or refused (``full``)."""


class RelayControl:
    """The relay's end.

    Args:
        redis: its own client; closed by ``close``.
        relay: a started relay.
        drain: called when an operator wants the relay to end.
        every: seconds between two samples of how calls arrive.
    """

    def __init__(self, redis: AnyRedis, relay: Relay, *, drain: Callable[[], object] = lambda: None, every: float = EVERY) -> None:
        self.id = secrets.token_urlsafe(9)
        self._redis = redis
        self._relay = relay
        self._subscriber = _Subscriber(redis, {f"relay.requests:{self.id}": self._take})
        self._tasks: set[asyncio.Task[None]] = set()
        self._lease: asyncio.Task[None] | None = None
        self.observer: Observer | None = None
        self._drain = drain
        self._every = every
        self._reporter = Reporter(relay)
        self._sampler: asyncio.Task[None] | None = None

    @property
    def listening(self) -> bool:
        """Whether hubs reach the relay now."""
        return self._subscriber.ready.is_set()

    async def start(self) -> None:
        """Offer the relay to hubs. When Redis does not answer, go on trying."""
        self._subscriber.start()
        self._lease = asyncio.get_running_loop().create_task(steady("relay control: lease", self._renew))
        self._sampler = asyncio.get_running_loop().create_task(steady("relay control: samples", self._sample))

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            with contextlib.suppress(RedisError, OSError):  # a gap in a chart
                await store_samples(self._redis, self._reporter.samples())

    async def _renew(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._subscriber.ready.wait()
            with contextlib.suppress(RedisError, OSError):  # the subscriber says so
                await self._announce()
            for _ in range(_LOOKS):
                due = loop.time() + RENEWAL / _LOOKS
                await asyncio.sleep(RENEWAL / _LOOKS)
                self._reporter.lag = max(self._reporter.lag, loop.time() - due)

    async def _announce(self) -> None:
        now = time.time()
        state = RelayState(self.id, len(self._relay), self._relay.capacity, now + LEASE, self._reporter.load())
        await _typed(self._redis.hset(_RELAYS, self.id, _encode(state)))
        await self._redis.expire(_RELAYS, _KEPT)
        for other in await _leases(self._redis):
            if other.until < now - _KEPT:  # it was killed
                await _typed(self._redis.hdel(_RELAYS, other.id))

    def _take(self, data: bytes) -> None:
        request = _requests.decode(data)
        task = asyncio.get_running_loop().create_task(self._handle(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle(self, request: Request) -> None:
        if isinstance(request, ReleaseRequest):
            await self._relay.release(request.pair)
            return
        if isinstance(request, DrainRequest):
            self._drain()
            return
        if isinstance(request, QualityRequest):
            await self._answer(request.hub, QualityAnswer(request.re, self._relay.quality(request.pair) or ()))
            return
        began = time.time()
        try:
            leg = await self._relay.leg(request.pair, request.side, request.remote)
        except RelayFullError:
            self._observed(request, began, "full")
            await self._answer(request.hub, RefusedAnswer(request.re))
        else:
            self._observed(request, began, "given")
            await self._answer(request.hub, LegAnswer(request.re, leg.ufrag, leg.pwd, leg.candidates, WAIT))

    def _observed(self, request: LegRequest, began: float, outcome: str) -> None:
        if self.observer is not None and request.trace:
            self.observer.answered(request.trace, request.pair, began, outcome)

    async def _answer(self, hub: str, answer: Answer) -> None:
        with contextlib.suppress(RedisError, OSError):  # the hub's time runs out, and it says so to its client
            await self._redis.publish(f"relay.answers:{hub}", _encode(answer))

    async def leave(self) -> bool:
        """Take no more calls, and tell hubs whose calls must move. Says whether there is another relay for them."""
        if self._lease is not None:
            await end_tasks(self._lease)
        with contextlib.suppress(RedisError, OSError):
            await _typed(self._redis.hdel(_RELAYS, self.id))
            await self._redis.publish(_EVENTS, _encode(Ending(self.id, tuple(self._relay.pairs()))))
            return bool(await _alive(self._redis))
        return False

    async def close(self) -> None:
        """Stop listening."""
        if self._sampler is not None:
            await end_tasks(self._sampler)
        await self._subscriber.close()
        for task in tuple(self._tasks):
            task.cancel()
        await self._redis.aclose()


class RelayDirectory:
    """A hub's end.

    Args:
        redis: the hub's client; not closed here.
        ending: is told of pairs whose relay is about to end.
    """

    def __init__(self, redis: AnyRedis, ending: Callable[[Sequence[str]], None]) -> None:
        self._redis = redis
        self._hub = secrets.token_urlsafe(9)
        self._subscriber = _Subscriber(
            redis, {f"relay.answers:{self._hub}": self._take, _EVENTS: lambda data: ending(_endings.decode(data).pairs)}
        )
        self._waiting: dict[str, asyncio.Future[Answer]] = {}

    def start(self) -> None:
        """Listen."""
        self._subscriber.start()

    async def close(self) -> None:
        """Stop listening."""
        await self._subscriber.close()

    async def relays(self) -> list[RelayState]:
        """Relays that are alive, the least loaded first. Raises ``RedisError``."""
        return sorted(await _alive(self._redis), key=lambda state: (state.pairs / max(1, state.capacity), state.id))

    async def leg(self, relay: str, *, pair: str, side: int, remote: tuple[str, str] | None, trace: str = "") -> LegAnswer | None:
        """A leg, or None when the relay is full. Raises ``RelayGoneError`` and ``RedisError``."""
        re = secrets.token_urlsafe(9)
        answer = await self._ask(relay, re, LegRequest(re, self._hub, pair, side, remote, trace))
        return answer if isinstance(answer, LegAnswer) else None

    async def quality(self, relay: str, pair: str) -> tuple[Direction, ...]:
        """By side; empty when there is no such pair. Raises ``RelayGoneError`` and ``RedisError``."""
        re = secrets.token_urlsafe(9)
        answer = await self._ask(relay, re, QualityRequest(re, self._hub, pair))
        return answer.sides if isinstance(answer, QualityAnswer) else ()

    async def missing(self, relays: Iterable[str]) -> frozenset[str]:
        """Those that do not listen, which a relay does for as long as it lives; empty while nobody can be sure. Raises ``RedisError``."""
        lost = self._subscriber.lost_at
        if not self._subscriber.ready.is_set() or (lost is not None and asyncio.get_running_loop().time() - lost < _SETTLE):
            return frozenset()
        channels = {f"relay.requests:{relay}": relay for relay in relays}
        listening = await _typed(self._redis.pubsub_numsub(*channels))
        return frozenset(channels[name.decode() if isinstance(name, bytes) else name] for name, number in listening if not number)

    async def bury(self, relay: str) -> None:
        """It has died: nobody shall be sent to it any more. Raises ``RedisError``."""
        await _typed(self._redis.hdel(_RELAYS, relay))

    async def release(self, relay: str, pair: str) -> None:
        """The call has ended. Raises ``RedisError``."""
        await self._redis.publish(f"relay.requests:{relay}", _encode(ReleaseRequest(pair)))

    async def drain(self, relay: str) -> bool:
        """Have a relay end, its calls moved before. False when it does not listen any more. Raises ``RedisError``."""
        return bool(await self._redis.publish(f"relay.requests:{relay}", _encode(DrainRequest())))

    async def samples(self, pair: str) -> list[Sample]:
        """How a call arrived at its relay, oldest first. Raises ``RedisError``."""
        return decode_samples(await _typed(self._redis.lrange(quality_key(pair), 0, -1)))

    async def latest(self, pairs: Sequence[str], many: int) -> dict[str, list[Sample]]:
        """How some calls arrived lately. Raises ``RedisError``."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for pair in pairs:
                pipe.lrange(quality_key(pair), -many, -1)
            found = await pipe.execute() if pairs else []
        return {pair: decode_samples(items) for pair, items in zip(pairs, found, strict=True)}

    async def forget(self, pair: str) -> None:
        """Forget how it arrived (P23). Raises ``RedisError``."""
        await self._redis.unlink(quality_key(pair))

    async def _ask(self, relay: str, re: str, request: Request) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[re] = future
        try:
            async with asyncio.timeout(ANSWER):
                await self._subscriber.ready.wait()
                if not await self._redis.publish(f"relay.requests:{relay}", _encode(request)):
                    raise RelayGoneError
                return await future
        except TimeoutError:
            raise RelayGoneError from None
        finally:
            del self._waiting[re]

    def _take(self, data: bytes) -> None:
        answer = _answers.decode(data)
        future = self._waiting.get(answer.re)
        if future is not None and not future.done():
            future.set_result(answer)


async def _typed(awaitable: Awaitable[Any] | Any) -> Any:
    """redis-py's types say that its answer may be there already."""
    return await awaitable


async def _leases(redis: AnyRedis) -> list[RelayState]:
    return [_states.decode(lease) for lease in (await _typed(redis.hgetall(_RELAYS))).values()]


async def _alive(redis: AnyRedis) -> list[RelayState]:
    now = time.time()
    return [state for state in await _leases(redis) if state.until > now]
