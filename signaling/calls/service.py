"""Runs calls: takes requests, lets the pure machine decide, commits to Redis, then tells the devices.

What is done to one pair of accounts (``calls/pair.py``) in one go is a unit. Units queue while a commit is under way, and all that queued is
committed with one script: under load the price of Redis is shared by many, and no state is ever told to anyone that was not stored.
A unit whose pair another hub has changed meanwhile is run again on the newer state. When Redis does not answer, nothing was changed: everyone who
asked is told ``unavailable``, and what must happen all the same (a lost socket, a deadline) is tried again.

Between hubs the new state of a pair travels with what the devices of the other hub are to be told, so that each hub can decide on the spot
about the calls of its devices, and asks Redis for nothing that it was told.
"""

import asyncio
import heapq
import itertools
import logging
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, Protocol

from msgspec import UNSET, Raw, Struct
from msgspec.structs import asdict
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from signaling.calls import machine
from signaling.calls.counts import Step
from signaling.calls.history import History, Line, encode_line
from signaling.calls.machine import Call
from signaling.calls.pair import ABSENT, VERSION_BYTES, counter, decode_state, earliest, encode_state, later, next_version, pair_key
from signaling.calls.policy import Relation, may_ring
from signaling.calls.relations import Facts, Relations
from signaling.calls.store import (
    TOMBSTONE,
    CallStore,
    CertificateRecord,
    Change,
    Limited,
    Outcome,
    Record,
    SealedRecord,
    binary,
    encode_record,
)
from signaling.calls.trace import encode_trace, trace_of
from signaling.calls.views import call_view, elsewhere, expires_in, history_lines, involves, peer_of, refusal
from signaling.cluster.bus import inbox
from signaling.cluster.messages import BusMessage, PairChanged, Resync, Text, encode_bus
from signaling.gateway.rate import TokenBuckets
from signaling.gateway.request import Session
from signaling.limits.rules import (
    INVITES_FROM_ADDRESS,
    INVITES_OF_ACCOUNT,
    INVITES_OF_DEVICE,
    INVITES_TO_ACCOUNT,
    MOVES_OF_ACCOUNT,
    MOVES_OF_DEVICE,
    RINGS_BY_CONTACTS,
    RINGS_BY_STRANGERS,
    Charge,
    Limit,
)
from signaling.tasks import steady
from signaling.telemetry.counting import count
from signaling.wire.certificate import DeviceCertificate
from signaling.wire.codec import encode
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.messages import (
    RING_TIMEOUT,
    CallAccept,
    CallAnswered,
    CallBusy,
    CallConnected,
    CallDecline,
    CallElsewhere,
    CallElsewhereOver,
    CallEnded,
    CallFailed,
    CallHangup,
    CallIncoming,
    CallInvite,
    CallIsElsewhere,
    CallMoved,
    CallRinging,
    CallRings,
    CallSignal,
    CallSignalled,
    CallTakenOver,
    CallTakeOver,
    CallUp,
    CallView,
    ClientMessage,
    Ok,
    Reason,
    ServerMessage,
    Stage,
)

log = logging.getLogger(__name__)

MAX_CALLS: Final = 4
"""Live calls that one device may place or be in."""
MAX_SIGNALS: Final = 64
"""Sealed payloads that one device may have kept for another in one call, for ``sync``; candidates of before an ICE restart are not needed."""
_TRIES: Final = 8
"""Times that a unit is run again because other hubs were faster; more means that something is wrong."""
_RETRY: Final = 1.0
"""Seconds until what must happen is tried again after Redis did not answer."""
_LOOKUPS: Final = 60.0
_LOOKUP_RATE: Final = 2.0
"""Accounts that one account may try to call which are not looked up yet: at once, and a second. Each takes the stores' time, also when nobody is there."""
_CALLERS: Final = 20_000
"""Accounts whose lookups are remembered."""
_VERSIONS: Final = 20_000
"""Pairs without a call whose version is remembered, so that the next call of theirs is stored at the first try."""
_RECENT: Final = 5.0
"""Seconds for which ended calls are remembered, to tell a store that lost its last writes that they ended."""
_COMPARED: Final = 3
"""Seconds between looks whether what this hub knows is what is stored."""
_PASSING: Final = 1.0
"""Seconds that what devices are told may take from hub to hub: after that it is lost."""
_DOUBT: Final = 30.0
"""Seconds for which it is not certain that a change whose answer did not come was not done."""
_SIGNALS: Final = 10_000
"""Sealed payloads that wait to be kept, while Redis does not answer."""
_POSTED: Final = 20.0
"""Seconds for which a hub that something was sent to may turn out to be dead; more than its lease."""

Reply = Callable[[ServerMessage], object]


class Cluster(Protocol):
    """The other hubs (``cluster/``)."""

    @property
    def node(self) -> str:
        """Id of this hub."""

    @property
    def alone(self) -> bool:
        """Whether there is no other hub now."""

    def lives(self, node: str) -> bool:
        """Whether a hub is alive, as far as is known."""

    def time(self) -> float:
        """Seconds since 1970, the same on every hub."""

    async def locate(self, devices: Iterable[str]) -> dict[str, str]:
        """Hubs of those of these devices that are connected."""

    def send(self, node: str, message: BusMessage) -> None:
        """Tell another hub; a hint."""

    def missed(self) -> None:
        """What this hub knows is not what is stored: have it look for what it missed."""


class Limits(Protocol):
    """How often things may be done (``limits/``)."""

    def charge(self, limit: Limit, who: str) -> Charge:
        """One use."""


class _Pair(Struct, eq=False):
    """What this hub knows of the live calls between two accounts."""

    key: str
    accounts: tuple[str, str]
    version: bytes = ABSENT
    calls: dict[str, Call] = {}
    nodes: dict[str, str] = {}
    """Hubs of devices that are not here."""
    posted: dict[str, float] = {}
    """When something was last sent to each of them: where a device was may be old, and its hub dead."""
    signals: dict[tuple[str, str, str], int] = {}
    """Kept payloads by call, sender and receiver."""
    busy: int = 0
    """Things to do that are queued or being committed."""
    watched: float = math.inf
    """The earliest time at which the timer looks at it."""
    floor: int = 0
    """What the next version's counter must pass, when the store has lost states that hubs know."""


class _Work(Struct, eq=False):
    """One thing to do to a pair. ``run`` may be run several times; it raises ``Refused`` to change nothing."""

    pair: "_Pair"
    run: "Callable[[_Unit], Stage | None]"
    request: int = 0
    reply: Reply | None = None
    failed: Callable[[], object] | None = None
    """Called, for what is no request, when Redis did not answer."""
    tries: int = 0
    invites: str = ""
    """The call that is to come of it."""
    wait: float = 0.0
    """Seconds until whoever asks may ask again, when it has done so too often."""
    silenced: bool = False
    """Whether the callee is called too often."""


class _Unit(Struct, eq=False):
    """Everything that one batch does to one pair."""

    pair: _Pair
    work: list[_Work]
    calls: dict[str, Call]
    changed: bool = False
    cleared: list[str] = []
    """Calls of which nothing that was sealed before is kept."""
    records: list[tuple[str, Record]] = []
    history: list[Line] = []
    over: list[Call] = []
    """Calls that ended, and are to be remembered."""
    tell: list[tuple[Reply | str, ServerMessage]] = []
    """To whom (a device, or who asked) and what."""
    charges: list[Charge] = []
    charged: list[tuple[_Work, Limit]] = []
    """What each charge is for."""
    late: list[str] = []
    """Devices without a socket that a new call goes to: one may have come meanwhile."""
    steps: list[Step] = []
    """What became of each call."""
    version: bytes = ABSENT


class CallService:
    """The calls of this hub's devices.

    Args:
        send: hands an encoded message to a device's socket; False when it has none here.
        online: whether a device has a socket here.
        resync: has a device that is here sent a new ``sync``.
        tell_account: tells every device of an account, on whatever hub, but the one that is named; a hint.
        unreached: called with the devices that a ringing call does not reach, as they have no socket, and the seconds for which it rings.
        finished: called with each call that this hub ended, once that is stored.
        pseudonym: what stands for an account in traces; None: no traces are kept.
        stepped: called with the steps of calls that this hub has stored.
    """

    def __init__(
        self,
        *,
        store: CallStore,
        relations: Relations,
        history: History,
        cluster: Cluster,
        limits: Limits,
        send: Callable[[str, bytes], bool],
        online: Callable[[str], bool],
        resync: Callable[[str], object],
        tell_account: Callable[[str, ServerMessage, str], object] = lambda _account, _message, _but: None,
        unreached: Callable[[Sequence[str], float], None] = lambda _devices, _ttl: None,
        finished: Callable[[Call], None] = lambda _call: None,
        pseudonym: Callable[[str], str] | None = None,
        stepped: Callable[[Sequence[Step]], None] = lambda _steps: None,
    ) -> None:
        self._store = store
        self._relations = relations
        self._history = history
        self._cluster = cluster
        self._limits = limits
        self._lookups = TokenBuckets(_LOOKUPS, _LOOKUP_RATE, _CALLERS)
        self._send = send
        self._online = online
        self._resync = resync
        self._tell_account = tell_account
        self._unreached = unreached
        self._finished = finished
        self._pseudonym = pseudonym
        self._stepped = stepped
        self.refused: dict[ErrorCode, int] = {}
        """Requests that were refused since the start, by why."""
        self._clock = cluster.time
        self._pairs: dict[str, _Pair] = {}
        self._by_call: dict[str, _Pair] = {}
        self._inviting: dict[str, _Pair] = {}
        self._by_device: dict[str, set[str]] = {}
        self._queue: deque[_Work] = deque()
        self._parked: dict[str, list[Callable[[], None]]] = {}
        self._working = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._deadlines: list[tuple[float, str]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._armed = 0.0
        self._signals: list[tuple[str, str, Record]] = []
        self._unkept: list[tuple[str, str, Record]] = []
        self._recent: deque[tuple[float, str, tuple[str, str], bytes]] = deque()
        self._versions: OrderedDict[str, bytes] = OrderedDict()
        self._doubtful: dict[str, float] = {}
        self._owed: dict[str, float] = {}
        self._differed: dict[str, int] = {}
        self._looking: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaving: set[str] = set()
        self._placed: dict[str, int] = {}
        self._closing = False

    # --- life ------------------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Look after calls of hubs that are no more, and begin to write history."""
        await self.bury()
        self._history.start()
        self._looking = asyncio.get_running_loop().create_task(steady("calls: orphans", self._orphans))

    async def close(self) -> None:
        """Finish what is queued. Live calls stay in Redis for the other hubs, or the next."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        await self._idle.wait()
        if self._looking is not None:
            self._looking.cancel()
        if self._tasks:
            # devices that left may be on other hubs already, which are yet to be told
            _, late = await asyncio.wait(self._tasks, timeout=3)
            for task in late:
                task.cancel()
        await self._history.close()

    def __len__(self) -> int:
        """Live calls that this hub looks after."""
        return len(self._by_call)

    def _refusal(self, request: int, refused: Refused) -> ServerMessage:
        count(self.refused, refused.code)
        return refusal(request, refused)

    def stages(self) -> dict[Stage, int]:
        """How many of them are in each stage."""
        found: dict[Stage, int] = dict.fromkeys((Stage.INVITING, Stage.RINGING, Stage.CONNECTING, Stage.CONNECTED), 0)
        for call_id, pair in self._by_call.items():
            found[pair.calls[call_id].stage] += 1
        return found

    # --- what the gateway asks -----------------------------------------------------------------------------------------------------

    def submit(self, session: Session, message: ClientMessage, reply: Reply, address: str = "unknown") -> None:
        """Queue one request; ``reply`` is called exactly once, after its outcome is stored. ``address`` is what limits count by."""
        call_id: str = getattr(message, "call", "")
        if self._parked:
            parked = self._parked.get(call_id)
            if parked is not None:
                # an invite of this call is waiting for a store: keep the order
                parked.append(lambda: self.submit(session, message, reply, address))
                return
        if type(message) is CallInvite:  # `isinstance` asks the metaclass of messages, at several times the price
            facts = self._relations.known(session.account, message.to)
            if facts is None or not (self._cluster.alone or all(map(self._online, facts.certificates))):
                if facts is None and (wait := self._lookups.take(session.account, self._clock())):
                    reply(self._refusal(message.id, Refused(ErrorCode.RATE_LIMITED, retry_after=wait)))
                    return
                self._parked[call_id] = []
                self._spawn(self._invite_later(session, message, reply, address))
            else:
                self._invite_now(session, message, facts, {}, reply, address)
            return
        known = self._by_call.get(call_id) or self._inviting.get(call_id)
        if type(message) is CallTakeOver:
            if known is not None:
                self._move_now(known, session, message, reply)
            elif wait := self._lookups.take(session.account, self._clock()):
                reply(self._refusal(message.id, Refused(ErrorCode.RATE_LIMITED, retry_after=wait)))
            else:
                self._parked[call_id] = []
                self._spawn(self._move_later(session, message, reply))
            return
        if known is None or session.account not in known.accounts:
            reply(self._refusal(message.id, Refused(ErrorCode.UNKNOWN_CALL)))
            return
        if type(message) is CallSignal:
            if known.busy:
                self._put(_Work(known, lambda unit: self._signal(unit, session.device, message), message.id, reply))
            else:
                self._signal_now(known, session.device, message, reply)
            return
        self._put(_Work(known, lambda unit: self._do(unit, session, message), message.id, reply))

    async def attach(self, session: Session) -> tuple[list[CallView], list[CallElsewhere]]:
        """A device has a socket: its live calls, as they stand, and those that its account has at other devices.

        Raises ``Refused`` or ``RedisError`` when Redis does not answer.
        """
        device = session.device
        self._owed.pop(device, None)
        keys = await self._store.pairs_of(session.account)
        keys += [pair.key for pair in self._pairs_with(device) if pair.key not in keys]
        if not keys:
            return [], []
        pairs = await self._load(keys)
        others = {d for pair in pairs for call in pair.calls.values() for d in _devices(call) if not self._online(d)}
        nodes = {} if self._cluster.alone else await self._cluster.locate(others)
        records: dict[str, list[Record]] = {}
        for pair in pairs:
            pair.nodes = {d: nodes[d] for call in pair.calls.values() for d in _devices(call) if d in nodes}
            for call in await self._returned(pair, device):
                records[call.id] = await self._store.sealed(pair.key, call.id)
        # as things stand now, after all waiting: what was told to the device meanwhile must not be taken back by what it is told next
        now = self._clock()
        standing = [call for pair in pairs for call in pair.calls.values() if call.id in records]
        views = [view for call in standing if (view := call_view(call, device, records[call.id], now)) is not None]
        others_calls = [call for pair in pairs for call in pair.calls.values() if call.id not in records]
        away = [one for call in others_calls if (one := elsewhere(call, session.account, now)) is not None]
        return sorted(views, key=lambda view: view.call), sorted(away, key=lambda one: one.call)

    def leaving(self, session: Session) -> None:
        """A device lost its socket; whether it has one elsewhere will be said by ``detach`` or ``moved``."""
        self._leaving.add(session.device)

    def moved(self, session: Session) -> None:
        """The device has a socket again, here or on another hub."""
        self._leaving.discard(session.device)
        for pair in self._pairs_with(session.device):
            self._let_go(pair)

    def detach(self, session: Session) -> None:
        """The device has no socket anywhere."""
        self._left(session.device)
        self._leaving.discard(session.device)

    def end_device(self, device: str) -> None:
        """A device was removed: its calls end."""
        self._event(device, machine.Removed(device), again=lambda: self.end_device(device))

    async def in_call_with(self, session: Session, account: str) -> bool:
        """Whether a device is in, is offered, or could take over a live call with an account.

        Raises ``RedisError`` when Redis does not answer.
        """
        pair = self._pairs.get(pair_key(session.account, account))
        calls = pair.calls if pair is not None else (await self._store.load([pair_key(session.account, account)]))[0][1]
        return any(involves(call, session.device) or call.stage is Stage.CONNECTED for call in calls.values())

    async def find(self, session: Session, call_id: str) -> Call | None:
        """A live call that a device is in or is offered, on whatever hub. Raises ``RedisError`` when Redis does not answer."""
        found = await self._find(session.account, call_id)
        return found if found is not None and involves(found, session.device) else None

    async def lives(self, session: Session, call_id: str) -> bool:
        """Whether a call is live at any device of the session's account. Raises ``RedisError`` when Redis does not answer."""
        found = await self._find(session.account, call_id)
        return found is not None and (found.caller == session.account or not found.hidden)

    async def _find(self, account: str, call_id: str) -> Call | None:
        pair = self._by_call.get(call_id)
        if pair is not None:
            return pair.calls.get(call_id) if account in pair.accounts else None
        keys = await self._store.pairs_of(account)
        return next((calls[call_id] for _, calls in await self._store.load(keys) if call_id in calls), None)

    async def party(self, session: Session, call_id: str) -> int | None:
        """Which side of a live call a device is: 0 for the caller's device, 1 for the one that took the call, None for any other.

        Raises ``RedisError`` when Redis does not answer.
        """
        call = await self.find(session, call_id)
        return None if call is None else {call.callee_device: 1, call.caller_device: 0}.get(session.device)

    async def live_of(self, account: str) -> list[Call]:
        """Live calls that an account takes part in, or is offered. Raises ``RedisError``."""
        found = await self._store.load(await self._store.pairs_of(account))
        return [call for _, calls in found for call in calls.values() if call.caller == account or not call.hidden]

    async def stop(self, call_id: str) -> bool:
        """Whoever runs the service ends a call, on whatever hub it is; False when there is no such live call.

        Raises ``Refused(unavailable)`` or ``RedisError`` when Redis does not answer.
        """
        pair = self._by_call.get(call_id) or await self._pair_of(call_id)
        if pair is None:
            return False
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def work(unit: _Unit) -> None:
            call = unit.calls.get(call_id)
            if call is not None:
                self._apply(unit, call, machine.Stopped(), self._clock())
            unit.tell.append((lambda _message: done.set_result(call is not None), _NOTHING))

        self._put(_Work(pair, work, failed=lambda: done.set_exception(Refused(ErrorCode.UNAVAILABLE, retry_after=1.0))))
        return await done

    async def end_account(self, account: str) -> None:
        """An account is gone: every call of its ends, on whatever hub, and is stored when this returns.

        Raises ``TimeoutError`` or ``RedisError`` when Redis does not answer.
        """
        pairs = await self._load(await self._store.pairs_of(account))
        await asyncio.gather(*(self._end_account(pair, account) for pair in pairs))

    async def _end_account(self, pair: _Pair, account: str) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def work(unit: _Unit) -> None:
            now = self._clock()
            for call_id, call in tuple(unit.calls.items()):
                for device in (call.caller_device,) if account == call.caller else call.devices:
                    if call_id in unit.calls:
                        self._apply(unit, unit.calls[call_id], machine.Removed(device), now)
                if call_id in unit.calls:  # of a callee who was never told
                    self._apply(unit, unit.calls[call_id], machine.Stopped(), now)
            unit.tell.append((lambda _message: done.set_result(None), _NOTHING))

        self._put(_Work(pair, work, failed=lambda: done.set_exception(TimeoutError("Redis does not answer"))))
        await done

    async def _pair_of(self, call_id: str) -> _Pair | None:
        keys = await self._store.every()
        for start in range(0, len(keys), 200):
            some = keys[start : start + 200]
            for key, (_, calls) in zip(some, await self._store.load(some), strict=True):
                if call_id in calls:
                    return next(iter(await self._load([key])), None)
        return None

    async def live(self, limit: int) -> tuple[int, list[Call]]:
        """How many pairs of accounts have live calls, and the calls of ``limit`` of them: those whose stage ends soonest, then those that
        are connected. On whatever hub. Raises ``RedisError``.
        """
        total, keys = await self._store.first(limit)
        found: list[Call] = []
        for start in range(0, len(keys), 200):
            found += [call for _, calls in await self._store.load(keys[start : start + 200]) for call in calls.values()]
        return total, found

    async def live_call(self, call_id: str) -> Call | None:
        """A live call, on whatever hub. Raises ``RedisError``."""
        known = self._by_call.get(call_id)
        if known is not None:
            return known.calls.get(call_id)
        keys = await self._store.every()
        for start in range(0, len(keys), 200):
            for _, calls in await self._store.load(keys[start : start + 200]):
                if call_id in calls:
                    return calls[call_id]
        return None

    def placed_here(self) -> dict[str, int]:
        """Live calls by stage, of those whose caller's device is on this hub: over all hubs each call counts once."""
        counted: dict[str, int] = {}
        for call_id, pair in self._by_call.items():
            call = pair.calls[call_id]
            if self._online(call.caller_device):
                counted[call.stage] = counted.get(call.stage, 0) + 1
        return counted

    async def prune(self) -> int:
        """Take pairs that have expired out of the index of deadlines; answers how many. Raises ``RedisError``."""
        keys = [key for key in await self._store.every() if key not in self._pairs]
        gone = 0
        for start in range(0, len(keys), 200):
            some = keys[start : start + 200]
            for key, (_, calls) in zip(some, await self._store.load(some), strict=True):
                if not calls:
                    await self._store.drop(key)
                    gone += 1
        return gone

    async def drain(self) -> None:
        """Wait until everything that was asked for before is stored."""
        while self._working:
            await self._idle.wait()

    # --- what other hubs say -------------------------------------------------------------------------------------------------------------

    def pair_changed(self, message: PairChanged) -> None:
        """Another hub changed calls of this hub's devices."""
        key = pair_key(*message.accounts)
        pair = self._pairs.get(key)
        if pair is None:
            # of calls that ended a moment ago there may still be old news on the way
            pair = _Pair(key, message.accounts, self._versions.get(key, ABSENT))
        known = counter(message.state[:VERSION_BYTES]) >= counter(pair.version)
        elsewhere = {device: node for device, node in message.nodes.items() if node != self._cluster.node}
        for device, node in elsewhere.items():
            if pair.nodes.get(device) != node and not self._online(device) and not (known and self._heard(pair, device)):
                # it has come to that hub while what it was to be told went to another one, which may be dead
                self._cluster.send(node, Resync([device]))
        pair.nodes |= elsewhere
        before = pair.calls
        self._adopt(pair, message.state)
        self._owe(before, pair.calls)
        for text in message.texts:
            if known:
                self._owed.pop(text.device, None)
            self.deliver(text)

    def _owe(self, before: dict[str, Call], calls: dict[str, Call]) -> None:
        """A state was taken from elsewhere. What its devices here are to be told is on the way, or lost: they are looked at again."""
        if before is calls:
            return
        now = self._clock()
        for call_id in before.keys() | calls.keys():
            old, new = before.get(call_id), calls.get(call_id)
            for call in (old, new):
                for device in () if call is None or old is new else _devices(call):
                    if self._online(device) and _seen(old, device) != _seen(new, device):
                        self._owed.setdefault(device, now)

    def _heard(self, pair: _Pair, device: str) -> bool:
        """Whether nothing is on its way to where a device was."""
        return self._clock() - pair.posted.get(device, -math.inf) > _POSTED

    def replaced(self, session: Session) -> None:
        """A device whose socket is still open here has come to another hub: what was written to it here since then, it may not have got."""
        if session.device in self._by_device or any(session.account in accounts for _, _, accounts, _ in self._recent):

            async def tell() -> None:
                await self.drain()  # what is to be told must be stored first
                await self._back_already(session.device)

            self._spawn(tell())

    def deliver(self, text: Text) -> None:
        """Hand a message to a device; if it has moved on to another hub, send it after it."""
        if not self._send(text.device, text.text) and not self._cluster.alone:
            self._spawn(self._forward(text))

    async def _forward(self, text: Text) -> None:
        node = (await self._surely_locate([text.device])).get(text.device)
        if node is not None and node != self._cluster.node:
            self._cluster.send(node, text)

    async def recover(self, away: float) -> None:
        """Redis was away, or this hub was, for ``away`` seconds: give back what the store lost, take what is newer.

        After more time than ended calls are remembered in the store, this hub cannot know what ended meanwhile, and gives nothing back.
        """
        self._keep_signals()
        await self.drain()
        ours = list(self._pairs.values())
        if away > TOMBSTONE:
            for pair in ours:
                self._set(pair, ABSENT, {})
                self._let_go(pair)
            self._recent.clear()
            return
        states: list[tuple[str, tuple[str, str], bytes, float | None]] = []
        states += [(key, accounts, state, None) for at, key, accounts, state in self._recent if at > self._clock() - _RECENT - away]
        states += [(p.key, p.accounts, encode_state(p.version, p.calls.values()), earliest(p.calls)) for p in ours if p.version]
        for start in range(0, len(states), 200):
            some = states[start : start + 200]
            for (key, *_), newer in zip(some, await self._store.restore(some), strict=True):
                held = self._pairs.get(key)
                if newer is not None and held is not None:
                    self._adopt(held, newer)

    async def bury(self) -> None:
        """Hubs are gone: whoever was connected to them is not any more. Who does not come back in time ends the call."""
        for pair in self._pairs.values():
            pair.nodes = {device: node for device, node in pair.nodes.items() if self._cluster.lives(node)}
        keys = await self._store.every()
        for start in range(0, len(keys), 200):
            pairs = await self._load(keys[start : start + 200], forget_missing=True)
            with_socket = {
                device
                for pair in pairs
                for call in pair.calls.values()
                for device in _devices(call)
                if device in call.reached or (call.is_party(device) and device not in call.away)
            }
            unknown = {device for device in with_socket if not self._online(device)}
            gone = unknown - (await self._cluster.locate(unknown)).keys()
            # whoever has come since a call was stored, and those who are to be woken, may not have been told by a hub that died at once
            ringing = [call for pair in pairs for call in pair.calls.values() if call.stage in (Stage.INVITING, Stage.RINGING)]
            unaware = {d for call in ringing for d in call.devices if d not in call.reached or d in gone}
            if unaware:
                self._latecomers(sorted(unaware))
            for pair in pairs:
                for device in {d for call in pair.calls.values() for d in _devices(call)} & gone:
                    self._leave(pair, device)

    def unread(self, messages: Iterable[BusMessage]) -> None:
        """What a hub that is gone was told and has not read: devices that it is about, and that are connected again, are sent `sync`."""
        devices: set[str] = set()
        for message in messages:
            match message:
                case PairChanged():
                    devices |= {text.device for text in message.texts}
                case Text(device):
                    devices.add(device)
                case Resync(some):
                    devices |= set(some)
                case _:
                    pass  # for the hub itself
        if devices:
            self._spawn(self._tell_anew(devices))

    async def _tell_anew(self, devices: set[str]) -> None:
        """Have devices sent `sync` wherever they are."""
        for device in devices:
            self._resync(device)
        for device, node in (await self._surely_locate({d for d in devices if not self._online(d)})).items():
            if node != self._cluster.node:
                self._cluster.send(node, Resync([device]))

    async def _surely_locate(self, devices: Iterable[str]) -> dict[str, str]:
        """Hubs of devices, as soon as Redis answers; after the time that a call rings there is nothing to be told any more."""
        wanted, until = list(devices), self._clock() + RING_TIMEOUT
        while True:
            try:
                return await self._cluster.locate(wanted)
            except (RedisError, OSError, TimeoutError):
                if self._closing or self._clock() > until:
                    return {}
                await asyncio.sleep(_RETRY)

    # --- sockets and time ----------------------------------------------------------------------------------------------------------------

    def _left(self, device: str) -> None:
        for pair in self._pairs_with(device):
            self._leave(pair, device)

    def _leave(self, pair: _Pair, device: str) -> None:
        now = self._clock()

        def run(unit: _Unit) -> None:
            self._each(unit, device, machine.Left(device), now)
            if unit.changed and not self._cluster.alone:
                unit.tell.append((lambda _message: self._spawn(self._back_already(device)), _NOTHING))

        self._put(_Work(pair, run, failed=lambda: self._left_later(device)))

    async def _back_already(self, device: str) -> None:
        """A device left, and may have come to another hub before that was stored: have that hub say so again."""
        await self._tell_anew({device})

    def _left_later(self, device: str) -> None:
        """It could not be stored that a device left: see again in a moment, for it may be back by then."""

        async def look() -> None:
            while True:
                await asyncio.sleep(_RETRY)
                try:
                    if not self._online(device) and not await self._cluster.locate([device]):
                        self._left(device)
                    return
                except (RedisError, OSError, TimeoutError):
                    continue

        self._spawn(look())

    async def _returned(self, pair: _Pair, device: str) -> list[Call]:
        """Note that a device has a socket here; its calls afterwards."""
        done: asyncio.Future[list[Call]] = asyncio.get_running_loop().create_future()
        now = self._clock()

        def run(unit: _Unit) -> None:
            self._each(unit, device, machine.Returned(device), now)

        def after(_message: ServerMessage) -> None:
            if not done.done():
                done.set_result([call for call in pair.calls.values() if involves(call, device)])

        def failed() -> None:
            if not done.done():
                done.set_exception(Refused(ErrorCode.UNAVAILABLE, retry_after=1.0))

        def work(unit: _Unit) -> None:
            run(unit)
            unit.tell.append((after, _NOTHING))

        before = pair.version
        self._put(_Work(pair, work, failed=failed))
        calls = await done
        if pair.version == before and pair.nodes and calls:
            self._tell_nodes(pair, pair.calls, {})  # nothing changed but where the device is
        return calls

    def _event(self, device: str, event: machine.Event, *, again: Callable[[], object]) -> None:
        now = self._clock()

        def failed() -> None:
            asyncio.get_running_loop().call_later(_RETRY, again)

        for pair in self._pairs_with(device):
            self._put(_Work(pair, lambda unit: self._each(unit, device, event, now), failed=failed))

    def _each(self, unit: _Unit, device: str, event: machine.Event, now: float) -> None:
        for call in tuple(unit.calls.values()):
            if device == call.caller_device or device in call.devices:
                self._apply(unit, call, event, now)

    def _pairs_with(self, device: str) -> list[_Pair]:
        return list({self._by_call[call].key: self._by_call[call] for call in self._by_device.get(device, ())}.values())

    def tick(self) -> None:
        """End what is past its deadline. The service's own timer calls it; tests with a clock of their own do too."""
        now = self._clock()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, key = heapq.heappop(self._deadlines)
            pair = self._pairs.get(key)
            if pair is not None:
                pair.watched = math.inf
                at = earliest(pair.calls)
                if at is not None and at <= now:
                    self._expire(pair)
                else:
                    self._watch(pair)
        self._arm()

    def _expire(self, pair: _Pair) -> None:
        def run(unit: _Unit) -> None:
            now = self._clock()
            for call in tuple(unit.calls.values()):
                self._apply(unit, call, machine.DeadlinePassed(), now)

        def failed() -> None:
            heapq.heappush(self._deadlines, (self._clock() + _RETRY, pair.key))
            self._arm()

        self._put(_Work(pair, run, failed=failed))

    def _watch(self, pair: _Pair) -> None:
        at = earliest(pair.calls)
        if at is not None and at < pair.watched:  # deadlines move on as a rule; an early look costs less than another entry
            pair.watched = at
            heapq.heappush(self._deadlines, (at, pair.key))
            if self._timer is None or at < self._armed:
                self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._deadlines and not self._closing:
            self._armed = self._deadlines[0][0]
            delay = max(0.0, self._armed - self._clock())
            self._timer = asyncio.get_running_loop().call_later(min(delay + 0.001, 3600.0), self.tick)

    async def _orphans(self) -> None:
        """Once a second: end calls past their deadline that no hub looks after. Now and then: keep long calls from expiring."""
        touched = self._clock()
        for second in itertools.count():
            await asyncio.sleep(1.0)
            try:
                await self.sweep()
                if second % _COMPARED == 0:
                    await self.compare()
                if self._clock() - touched > 3_600:
                    touched = self._clock()
                    await self._store.touch([(pair.key, pair.accounts, tuple(pair.calls)) for pair in self._pairs.values()])
            except (RedisError, OSError, TimeoutError):
                continue  # said already, by those who wanted something

    async def sweep(self) -> None:
        """End calls that should have ended a second ago: their hub is dead, or late."""
        keys = await self._store.due(self._clock() - 1.0, 200)
        for pair in await self._load(keys, forget_missing=True):
            self._expire(pair)

    async def compare(self) -> None:
        """Look whether what this hub knows of its devices' calls is what is stored. What it was to be told may be lost: with the hub that
        was to tell it, or on the way to where a device had been. What differs as it did at the last look is taken from the store, and the
        devices are sent `sync`. Raises ``RedisError`` or ``OSError``.
        """
        now = self._clock()
        for device in [device for device, at in self._owed.items() if now - at >= _PASSING]:
            del self._owed[device]
            self._resync(device)
        self._doubtful = {key: at for key, at in self._doubtful.items() if now - at < _DOUBT}
        known = {pair.key: counter(pair.version) for pair in self._pairs.values() if not pair.busy}
        known |= {key: counter(self._versions.get(key, ABSENT)) for key in self._doubtful if key not in self._pairs}
        stored = dict(zip(known, await self._store.counters(list(known)), strict=True))
        differs = {key: count for key, count in known.items() if stored[key] != count}
        late = [key for key, count in differs.items() if self._differed.get(key) == count]
        self._differed = differs
        behind = [key for key in late if stored[key] > known[key]]
        if len(behind) < len(late):
            self._cluster.missed()  # it is the store that is behind
        for start in range(0, len(behind), 200):
            some = behind[start : start + 200]
            devices = {d for key in some if key in self._pairs for call in self._pairs[key].calls.values() for d in _devices(call)}
            for pair in await self._load(some):
                devices |= {d for call in pair.calls.values() for d in _devices(call)}
                self._let_go(pair)
            for device in devices:
                self._resync(device)

    # --- invites -------------------------------------------------------------------------------------------------------------------------------

    async def _invite_later(self, session: Session, message: CallInvite, reply: Reply, address: str) -> None:
        try:
            facts = self._relations.known(session.account, message.to)
            if facts is None:
                facts = await self._relations.load(session.account, message.to)
            nodes = {}
            if not self._cluster.alone:
                nodes = await self._cluster.locate([device for device in facts.certificates if not self._online(device)])
            self._invite_now(session, message, facts, nodes, reply, address)
        except (RedisError, SQLAlchemyError, OSError, TimeoutError) as error:
            log.error("calls: a store does not answer (%s)", type(error).__name__)
            reply(self._refusal(message.id, Refused(ErrorCode.UNAVAILABLE, retry_after=1.0)))
        finally:
            for waiting in self._parked.pop(message.call, ()):
                waiting()

    def _invite_now(
        self, session: Session, message: CallInvite, facts: Facts, nodes: dict[str, str], reply: Reply, address: str
    ) -> None:
        key = pair_key(session.account, message.to)
        pair = self._pairs.get(key)
        if pair is None:
            # the first commit finds out whether another hub has calls of this pair, or had
            pair = self._pairs[key] = _Pair(key, (session.account, message.to), self._versions.pop(key, ABSENT))
        for device in facts.certificates:
            pair.nodes.pop(device, None)  # where it was at an earlier call
        pair.nodes |= nodes
        self._inviting.setdefault(message.call, pair)

        def run(unit: _Unit) -> Stage:
            return self._invite(unit, work, session, message, facts, address)

        work = _Work(pair, run, message.id, reply, invites=message.call)
        self._put(work)

    def _invite(self, unit: _Unit, work: _Work, session: Session, message: CallInvite, facts: Facts, address: str) -> Stage:
        may = may_ring(facts.relation)
        rings = may and not work.silenced
        if message.call in self._by_call or message.call in unit.calls:
            raise Refused(ErrorCode.CALL_EXISTS)
        devices = facts.certificates.keys()
        if message.payloads.keys() != devices:
            code = ErrorCode.UNKNOWN_DEVICE if message.payloads.keys() - devices else ErrorCode.STALE_DEVICES
            raise Refused(code, devices=sorted(devices))
        mine = [self._by_call[i].calls[i] for i in self._by_device.get(session.device, ())]
        placed = self._placed.get(session.device, 0)
        if placed + sum(call.is_party(session.device) for call in mine) >= MAX_CALLS:
            raise Refused(ErrorCode.TOO_MANY_CALLS)
        if work.wait:
            raise Refused(ErrorCode.RATE_LIMITED, retry_after=work.wait)
        self._charge(unit, work, session, facts.relation, message.to, address, rings=rings)
        self._placed[session.device] = placed + 1
        now = self._clock()
        nodes = unit.pair.nodes
        call, effects = machine.invite(
            call=message.call,
            caller=session.account,
            caller_device=session.device,
            caller_phone="" if facts.relation.callee_is_service else session.phone,  # a service need not know who calls
            callee=message.to,
            devices=tuple(sorted(devices)) if rings else (),
            reached=frozenset(device for device in devices if self._online(device) or device in nodes) if rings else frozenset(),
            now=now,
            silenced=may and not rings,
            caller_business=facts.caller_business,
            siblings=frozenset(
                account
                for account, count in ((session.account, facts.caller_devices), (message.to, len(devices) if rings else 0))
                if count > 1
            ),
        )
        other = None
        if rings:
            meeting = (c for c in unit.calls.values() if machine.collides(c, caller=session.account, callee=message.to))
            other = next((c for c in meeting if session.device in c.devices), None)
        if other is not None and other.id < call.id:
            # the other call goes on; this one never comes to be, and its device takes the other
            unit.tell.append((session.device, CallEnded(call.id, 1, Reason.ANSWERED_ELSEWHERE, other.id)))
            self._apply(unit, other, machine.Collided(session.device), now)
            unit.records.append((other.id, CertificateRecord(session.certificate)))
            return Stage.ENDED
        unit.calls[call.id] = call
        unit.changed = True
        unit.steps.append((None, call))
        unit.records.append((call.id, CertificateRecord(session.certificate)))
        if rings:
            unit.records += [(call.id, SealedRecord(session.device, d, payload)) for d, payload in message.payloads.items()]
        unit.late += [device for device in call.devices if device not in call.reached]
        if other is None:
            self._emit(unit, call, effects, certificate=session.certificate, payloads=message.payloads)
        else:
            taker = other.caller_device
            self._apply(unit, other, machine.Collided("", superseded_by=call.id), now)
            unit.records.append((call.id, CertificateRecord(facts.certificates[taker])))
            # only the device that had called is offered the call: to the others neither call has rung yet, or it just stopped
            step = machine.advance(call, machine.Collided(taker), now)
            self._take(unit, call, step, certificate=session.certificate, payloads=message.payloads)
        return unit.calls[call.id].stage

    def _charge(
        self, unit: _Unit, work: _Work, session: Session, relation: Relation, callee: str, address: str, *, rings: bool
    ) -> None:
        """What an invite is charged for. A caller that the callee has blocked is charged as any other, or it could tell."""
        uses = [
            (INVITES_OF_DEVICE, session.device),
            (INVITES_OF_ACCOUNT, session.account),
            (INVITES_FROM_ADDRESS, address),
            (INVITES_TO_ACCOUNT, f"{session.account}>{callee}"),
        ]
        if rings and not relation.callee_is_service:  # which nobody can annoy, and is called by everyone
            uses.append((RINGS_BY_CONTACTS if relation.callee_has_caller else RINGS_BY_STRANGERS, callee))
        for limit, who in uses:
            unit.charges.append(self._limits.charge(limit, who))
            unit.charged.append((work, limit))

    # --- the other requests -----------------------------------------------------------------------------------------------------------------

    def _do(self, unit: _Unit, session: Session, message: ClientMessage) -> Stage:
        device = session.device
        call = unit.calls.get(getattr(message, "call", ""))
        if call is None or not (device == call.caller_device or device in call.devices):
            raise Refused(ErrorCode.UNKNOWN_CALL)
        if type(message) is CallAccept:
            step = machine.advance(call, machine.Accepted(device), self._clock())  # may refuse: before anything is kept
            unit.records.append((call.id, CertificateRecord(session.certificate)))
            unit.records.append((call.id, SealedRecord(device, call.caller_device, message.payload)))
            self._take(unit, call, step, certificate=session.certificate, answer=message.payload)
        else:
            self._apply(unit, call, _event(device, message), self._clock())
        now_call = unit.calls.get(call.id)
        return Stage.ENDED if now_call is None else now_call.stage

    async def _move_later(self, session: Session, message: CallTakeOver, reply: Reply) -> None:
        """A call that no device of this hub is in: it is looked up, and where its devices are."""
        try:
            keys = await self._store.pairs_of(session.account)
            found = [key for key, (_, calls) in zip(keys, await self._store.load(keys), strict=True) if message.call in calls]
            pairs = await self._load(found)
            if pairs:
                (pair,) = pairs
                if not self._cluster.alone:
                    pair.nodes |= await self._cluster.locate(
                        [device for call in pair.calls.values() for device in _devices(call) if not self._online(device)]
                    )
                self._move_now(pair, session, message, reply)
            else:
                reply(refusal(message.id, Refused(ErrorCode.UNKNOWN_CALL)))
        except (RedisError, OSError, TimeoutError) as error:
            log.error("calls: Redis does not answer (%s)", type(error).__name__)
            reply(refusal(message.id, Refused(ErrorCode.UNAVAILABLE, retry_after=1.0)))
        finally:
            for waiting in self._parked.pop(message.call, ()):
                waiting()

    def _move_now(self, pair: _Pair, session: Session, message: CallTakeOver, reply: Reply) -> None:
        def run(unit: _Unit) -> Stage:
            return self._move(unit, work, session, message)

        work = _Work(pair, run, message.id, reply)
        self._put(work)

    def _move(self, unit: _Unit, work: _Work, session: Session, message: CallTakeOver) -> Stage:
        call = unit.calls.get(message.call)
        # somebody who was blocked is not to be seen by this way either
        if call is None or session.account not in unit.pair.accounts or (session.account == call.callee and call.hidden):
            raise Refused(ErrorCode.UNKNOWN_CALL)
        mine = [self._by_call[i].calls[i] for i in self._by_device.get(session.device, ())]
        if sum(other.is_party(session.device) for other in mine if other.id != call.id) >= MAX_CALLS:
            raise Refused(ErrorCode.TOO_MANY_CALLS)
        event = machine.TakenOver(session.device, session.account, message.device, message.to)
        step = machine.advance(call, event, self._clock())  # may refuse: before anything is kept
        if work.wait:
            raise Refused(ErrorCode.RATE_LIMITED, retry_after=work.wait)
        # the other side has to connect anew each time
        for limit, who in ((MOVES_OF_DEVICE, session.device), (MOVES_OF_ACCOUNT, session.account)):
            unit.charges.append(self._limits.charge(limit, who))
            unit.charged.append((work, limit))
        unit.records = [(kept, record) for kept, record in unit.records if kept != call.id]
        unit.records.append((call.id, CertificateRecord(session.certificate)))
        unit.records.append((call.id, SealedRecord(session.device, message.to, message.payload)))
        unit.cleared.append(call.id)
        unit.pair.signals = {key: count for key, count in unit.pair.signals.items() if key[0] != call.id}
        self._take(unit, call, step, certificate=session.certificate, answer=message.payload)
        return step[0].stage

    def _signal_now(self, pair: _Pair, device: str, message: CallSignal, reply: Reply) -> None:
        """Pass a sealed payload on without waiting for anything; it is kept for ``sync`` with the next write."""
        try:
            call = self._may_signal(pair.calls, device, message)
        except Refused as refused:
            reply(self._refusal(message.id, refused))
            return
        if call is not None:
            text = encode(CallSignalled(call.id, device, message.payload))
            if not self._send(message.to, text) and message.to in pair.nodes:
                self._post(pair, message.to, text)
            kept = pair.signals.get((call.id, device, message.to), 0)
            if kept < MAX_SIGNALS:
                pair.signals[(call.id, device, message.to)] = kept + 1
                self._signals.append((pair.key, call.id, SealedRecord(device, message.to, message.payload)))
                self._keep_signals()
        reply(Ok(re=message.id, stage=pair.calls[message.call].stage))

    def _signal(self, unit: _Unit, device: str, message: CallSignal) -> Stage:
        """The same for a call that is just being changed: in order with that."""
        call = self._may_signal(unit.calls, device, message)
        if call is not None:
            unit.tell.append((message.to, CallSignalled(call.id, device, message.payload)))
            kept = unit.pair.signals.get((call.id, device, message.to), 0)
            if kept < MAX_SIGNALS:
                unit.pair.signals[(call.id, device, message.to)] = kept + 1
                unit.records.append((call.id, SealedRecord(device, message.to, message.payload)))
        return unit.calls[message.call].stage

    def _may_signal(self, calls: dict[str, Call], device: str, message: CallSignal) -> Call | None:
        """The call; None when the payload goes nowhere, as for someone who is offline. Raises ``Refused``."""
        call = calls.get(message.call)
        if call is None:
            raise Refused(ErrorCode.UNKNOWN_CALL)
        return call if machine.may_signal(call, device, message.to) else None

    # --- state and effects ---------------------------------------------------------------------------------------------------------------------

    def _apply(self, unit: _Unit, call: Call, event: machine.Event, now: float) -> None:
        self._take(unit, call, machine.advance(call, event, now))

    def _take(
        self,
        unit: _Unit,
        before: Call,
        step: machine.Step,
        *,
        certificate: DeviceCertificate | None = None,
        payloads: dict[str, str] | None = None,
        answer: str = "",
    ) -> None:
        call, effects = step
        if call is before:
            return
        unit.changed = True
        unit.steps.append((before, call))
        if call.live:
            unit.calls[call.id] = call
        else:
            del unit.calls[call.id]
            unit.cleared.append(call.id)
        if effects:
            self._emit(unit, call, effects, certificate=certificate, payloads=payloads, answer=answer)

    def _emit(
        self,
        unit: _Unit,
        call: Call,
        effects: list[machine.Effect],
        *,
        certificate: DeviceCertificate | None = None,
        payloads: dict[str, str] | None = None,
        answer: str = "",
    ) -> None:
        """Effects as messages. ``certificate`` is that of the device whose request this is; ``payloads`` what it sealed for whom."""
        tell = unit.tell
        for effect in effects:
            if type(effect) is machine.TellEnded:
                by = UNSET if effect.superseded_by is None else effect.superseded_by
                tell.append((effect.device, CallEnded(call.id, call.seq, effect.reason, by)))
            elif type(effect) is machine.TellUp:
                tell.append((effect.device, CallUp(call.id, call.seq)))
            elif type(effect) is machine.TellRings:
                tell.append((call.caller_device, CallRings(call.id, call.seq)))
            elif type(effect) is machine.TellAnswered:
                peer = peer_of(call, call.caller_device, certificate)
                tell.append((call.caller_device, CallAnswered(call.id, call.seq, peer, answer)))
            elif type(effect) is machine.TellTakenOver:
                tell.append((effect.device, CallTakenOver(call.id, call.seq, peer_of(call, effect.device, certificate), answer)))
            elif type(effect) is machine.Remember:
                unit.history += history_lines(call)
                unit.over.append(call)
            elif type(effect) is machine.TellElsewhere:
                view = elsewhere(call, effect.account, self._clock())
                if view is not None:
                    tell.append((self._siblings(effect.account, view.device), CallIsElsewhere(**asdict(view))))
            elif type(effect) is machine.TellElsewhereOver:
                device = call.device_of(effect.account) or ""
                tell.append((self._siblings(effect.account, device), CallElsewhereOver(call.id, call.seq)))
            else:
                assert isinstance(effect, machine.TellIncoming)  # noqa: S101 - for the type checker
                if payloads is None:
                    # glare: what was sealed for this device came with the other side's invite, some time ago
                    tell.append((self._offer_later(unit.pair.key, call, effect), _NOTHING))
                    continue
                peer = peer_of(call, effect.device, certificate)
                left = expires_in(call, self._clock())
                incoming = CallIncoming(call.id, call.seq, peer, payloads[effect.device], left, effect.accepted)
                tell.append((effect.device, incoming))

    def _siblings(self, account: str, device: str) -> Reply:
        return lambda message: self._tell_account(account, message, device)

    def _offer_later(self, key: str, call: Call, effect: machine.TellIncoming) -> Reply:
        device = effect.device

        async def offer() -> None:
            try:
                records = await self._store.sealed(key, call.id)
            except (RedisError, OSError, TimeoutError):
                self._resync(device)
                return
            view = call_view(call, device, records, self._clock())
            if view is not None and view.payloads:
                left, payload = view.expires_in, view.payloads[0].payload
                self._send(device, encode(CallIncoming(call.id, call.seq, view.peer, payload, left, effect.accepted)))

        return lambda _message: self._spawn(offer())

    # --- batches -----------------------------------------------------------------------------------------------------------------------------------

    def _put(self, work: _Work) -> None:
        work.pair.busy += 1
        self._queue.append(work)
        if not self._working:
            self._working = True
            self._idle.clear()
            self._spawn(self._work())

    async def _work(self) -> None:
        try:
            while self._queue or self._signals:
                work, self._queue = self._queue, deque()
                try:
                    await self._batch(work)
                except Exception as error:  # a defect: nobody may wait for ever
                    log.error("calls: defect %s", type(error).__name__)
                    for one in work:
                        one.pair.busy -= 1
                        self._inviting.pop(one.invites, None)
                        self._failed(one, ErrorCode.INTERNAL)
        finally:
            self._working = False
            self._idle.set()

    async def _batch(self, work: Iterable[_Work]) -> None:
        units: dict[str, _Unit] = {}
        self._placed.clear()
        for one in work:
            pair = self._pairs.setdefault(one.pair.key, one.pair)
            if pair is not one.pair:  # it was let go of and taken up again
                one.pair.busy -= 1
                pair.busy += 1
                one.pair = pair
            unit = units.get(pair.key)
            if unit is None:
                unit = units[pair.key] = _Unit(pair, [], dict(pair.calls))
            unit.work.append(one)
            self._run(unit, one)
        changed = [unit for unit in units.values() if unit.changed]
        changes = [self._change(unit) for unit in changed]
        passed_on, self._signals = self._signals, []
        # what was sealed goes with the state of its call, or by itself where that did not change
        signals = passed_on + [
            (unit.pair.key, call, record) for unit in units.values() if not unit.changed for call, record in unit.records
        ]
        outcomes: Sequence[Outcome] = ()
        try:
            if changes:
                outcomes = await self._store.commit(changes)
            if signals:
                await self._store.append(signals)
        except (RedisError, OSError, TimeoutError) as error:
            if len(outcomes) < len(changes):
                log.error("calls: Redis does not answer (%s); %d units undone", type(error).__name__, len(changed))
                for unit in units.values():
                    if unit.changed:
                        self._doubtful[unit.pair.key] = self._clock()
                    self._finish(unit)
                    for one in unit.work:
                        self._failed(one, ErrorCode.UNAVAILABLE)
                    self._let_go(unit.pair)
            # clients were told that these were passed on: they are kept for `sync` as soon as that can be
            self._unkept = [*self._unkept, *(passed_on if len(outcomes) < len(changes) else signals)][-_SIGNALS:]
            if self._unkept:
                asyncio.get_running_loop().call_later(_RETRY, self._keep_signals)
            if len(outcomes) < len(changes):
                return
        again: list[_Work] = []
        steps: list[Step] = []
        over = False
        stored = dict(zip((change.key for change in changes), outcomes, strict=True))
        for unit in units.values():
            self._finish(unit)
            newer = stored.get(unit.pair.key)
            if isinstance(newer, bytes) and newer and newer[:VERSION_BYTES] == unit.version:
                newer = None  # done, by the first of two tries: its answer was lost
            if newer is None:
                if unit.changed:
                    self._stored(unit)
                    steps += unit.steps
                    over = over or bool(unit.history)
                self._tell(unit)
                if unit.late:
                    self._latecomers(unit.late)
                self._let_go(unit.pair)
            elif isinstance(newer, Limited):
                again += self._limited(unit, newer)
            else:
                again += self._again(unit, newer)
        self._stepped(steps)
        if over:
            self._history.wake()
        if again:
            for one in again:
                one.pair.busy += 1
                if one.invites:
                    self._inviting[one.invites] = one.pair
            self._queue.extendleft(reversed(again))

    def _keep_signals(self) -> None:
        self._signals, self._unkept = [*self._unkept, *self._signals], []
        if self._signals and not self._working and not self._closing:
            self._working = True
            self._idle.clear()
            self._spawn(self._work())

    def _run(self, unit: _Unit, one: _Work) -> None:
        position = len(unit.tell)
        try:
            stage = one.run(unit)
        except Refused as refused:
            if one.reply is not None:
                unit.tell.append((one.reply, self._refusal(one.request, refused)))
            return
        if one.reply is not None:
            unit.tell.insert(position, (one.reply, Ok(re=one.request, stage=UNSET if stage is None else stage)))

    def _change(self, unit: _Unit) -> Change:
        pair, calls = unit.pair, unit.calls
        unit.version = next_version(pair.version, self._store.nonce(), floor=pair.floor)
        records: list[str | Raw] = []
        for call, record in unit.records:
            if call in calls:
                records += (call, encode_record(record))
        deadline = earliest(calls)
        state = encode_state(unit.version, calls.values())
        change = Change(
            pair.key, binary(pair.version), binary(state), bool(calls), bool(pair.calls), pair.accounts,
            "+inf" if deadline is None else repr(deadline), unit.cleared, records, [binary(encode_line(line)) for line in unit.history],
        )  # fmt: skip
        if pair.nodes:
            change.outbox = self._outbox(unit, state)
        if self._pseudonym is not None:
            for over in unit.over:
                change.traces += self._trace(over, self._pseudonym)
        change.charges = unit.charges
        return change

    def _trace(self, call: Call, pseudonym: Callable[[str], str]) -> list[str | Raw]:
        caller, callee = pseudonym(call.caller), pseudonym(call.callee)
        trace = trace_of(call, caller=caller, callee=callee, hub=self._cluster.node)
        return [call.id, binary(encode_trace(trace)), caller, callee]

    def _outbox(self, unit: _Unit, state: bytes) -> list[tuple[str, Raw]]:
        """What other hubs are told in the same transaction: the state, and the messages for their devices."""
        nodes, now = unit.pair.nodes, self._clock()
        texts: dict[str, list[Text]] = {node: [] for node in nodes.values()}
        for to, message in unit.tell:
            if isinstance(to, str) and to in nodes and not self._online(to):
                texts[nodes[to]].append(Text(to, encode(message)))
                unit.pair.posted[to] = now
        places = self._places(unit.pair, unit.calls)
        outbox: list[tuple[str, Raw]] = []
        for node, some in texts.items():
            if node != self._cluster.node:
                outbox.append((inbox(node), binary(encode_bus(PairChanged(unit.pair.accounts, state, places, some)))))
        return outbox

    def _places(self, pair: _Pair, calls: dict[str, Call]) -> dict[str, str]:
        """Where the devices of a pair's calls are, as far as this hub knows."""
        here = {d: self._cluster.node for call in calls.values() for d in _devices(call) if self._online(d)}
        return pair.nodes | here

    def _finish(self, unit: _Unit) -> None:
        unit.pair.busy -= len(unit.work)
        for one in unit.work:
            if one.invites:
                self._inviting.pop(one.invites, None)

    def _stored(self, unit: _Unit) -> None:
        pair = unit.pair
        if later(unit.version, pair.version):
            self._set(pair, unit.version, unit.calls)
        for call in unit.over:
            self._finished(call)

    def _tell(self, unit: _Unit) -> None:
        """Hand out what is true now. Texts for other hubs went with the state, if it changed."""
        nodes = unit.pair.nodes
        astray: list[Text] = []
        for to, message in unit.tell:
            if not isinstance(to, str):
                to(message)
                continue
            text = encode(message)
            if self._send(to, text):
                continue
            if to not in nodes:
                astray.append(Text(to, text))
            elif not unit.changed:
                self._post(unit.pair, to, text)
        if astray and not self._cluster.alone:
            self._spawn(self._seek(unit.pair.accounts, encode_state(unit.pair.version, unit.pair.calls.values()), astray))

    def _post(self, pair: _Pair, device: str, text: bytes) -> None:
        """To the hub that a device is on, as far as is known."""
        pair.posted[device] = self._clock()
        self._cluster.send(pair.nodes[device], Text(device, text))

    async def _seek(self, accounts: tuple[str, str], state: bytes, texts: list[Text]) -> None:
        """Tell devices that this hub does not know the whereabouts of: it took the pair from the store, for a deadline or a dead hub."""
        nodes = await self._surely_locate({text.device for text in texts})
        for node in set(nodes.values()) - {self._cluster.node}:
            theirs = [text for text in texts if nodes.get(text.device) == node]
            self._cluster.send(node, PairChanged(accounts, state, nodes, theirs))

    def _again(self, unit: _Unit, newer: bytes) -> list[_Work]:
        """Another hub was faster: take its state, and run the unit's work on it. Returns what is to be run."""
        version, calls = decode_state(newer)
        pair = unit.pair
        if counter(version) >= counter(pair.version):
            self._take_stored(pair, version, calls)
        else:
            # the store has lost its last writes: what this hub knows is newer, and is written over what is there
            pair.floor = max(pair.floor, counter(pair.version))
            pair.version = version
        again: list[_Work] = []
        for one in unit.work:
            one.tries += 1
            if one.tries > _TRIES:
                log.error("calls: a unit was overtaken %d times", _TRIES)
                self._failed(one, ErrorCode.UNAVAILABLE)
            else:
                again.append(one)
        return again

    def _limited(self, unit: _Unit, limited: Limited) -> list[_Work]:
        """Nothing of the unit was done. Who called too often is refused, who is called too often is not told; all else is done again."""
        for position, wait in limited.waits.items():
            work, limit = unit.charged[position]
            if limit in (RINGS_BY_CONTACTS, RINGS_BY_STRANGERS):
                work.silenced = True
            else:
                work.wait = max(work.wait, wait)
        return list(unit.work)

    def _failed(self, one: _Work, code: ErrorCode) -> None:
        if one.reply is not None:
            one.reply(self._refusal(one.request, Refused(code, retry_after=1.0 if code is ErrorCode.UNAVAILABLE else None)))
        elif one.failed is not None:
            one.failed()

    # --- what this hub remembers ---------------------------------------------------------------------------------------------------------------

    def _set(self, pair: _Pair, version: bytes, calls: dict[str, Call]) -> None:
        """Take a state that is stored, index it, and let go of what concerns no device here."""
        before, pair.version, pair.calls = pair.calls, version, calls
        for call_id, call in before.items():
            now = calls.get(call_id)
            if now is None:
                self._unindex(call)
                if pair.signals:
                    pair.signals = {key: count for key, count in pair.signals.items() if key[0] != call_id}
            elif not _same_devices(now, call):
                self._unindex(call)
                self._index(pair, now)
        for call_id, call in calls.items():
            if call_id not in before:
                self._index(pair, call)
        if not calls and before:
            self._versions[pair.key] = version
            if len(self._versions) > _VERSIONS:
                self._versions.popitem(last=False)
            self._recent.append((self._clock(), pair.key, pair.accounts, encode_state(version, ())))
            while len(self._recent) > 1 and self._recent[0][0] < self._recent[-1][0] - _RECENT:
                self._recent.popleft()
        if calls:
            self._pairs[pair.key] = pair
            self._watch(pair)

    def _let_go(self, pair: _Pair) -> None:
        """Forget a pair without calls, or whose devices are all elsewhere: Redis has it."""
        if pair.busy or self._pairs.get(pair.key) is not pair:
            return
        for call in pair.calls.values():
            for device in _devices(call):
                if self._online(device) or device in self._leaving:
                    return
        for call in pair.calls.values():
            self._unindex(call)
        del self._pairs[pair.key]

    def _adopt(self, pair: _Pair, state: bytes) -> None:
        """Take a state from elsewhere if it is newer than what this hub has."""
        version, calls = decode_state(state)
        if later(version, pair.version):
            self._set(pair, version, calls)
            self._let_go(pair)

    async def _load(self, keys: Sequence[str], *, forget_missing: bool = False) -> list[_Pair]:
        """Pairs with live calls, as they are stored: what another hub stored may not have been told to this one, and that one may be dead.

        ``forget_missing``: clear the index of those that have expired.
        """
        found: list[_Pair] = []
        for key, (version, calls) in zip(keys, await self._store.load(keys), strict=True):
            pair = self._pairs.get(key)
            if pair is None and calls:
                call = next(iter(calls.values()))
                pair = self._pairs[key] = _Pair(key, (call.caller, call.callee))
            if pair is not None:
                if later(version, pair.version):
                    self._take_stored(pair, version, calls)
                found.append(pair)
            elif forget_missing:
                await self._store.drop(key)
        return found

    def _take_stored(self, pair: _Pair, version: bytes, calls: dict[str, Call]) -> None:
        """Take a state that this hub was not told of."""
        gone = [call for call in pair.calls.values() if call.id not in calls]
        before = pair.calls
        self._set(pair, version, calls)
        self._owe(before, calls)
        for device in {device for call in gone for device in _devices(call)}:
            self._resync(device)  # whoever ended the call may not have known that the device is here

    def _latecomers(self, devices: list[str]) -> None:
        """Devices that had no socket when a call for them was stored: who got one meanwhile may have been sent a `sync` without it; the
        others are to be woken.
        """
        asleep = [device for device in devices if not self._online(device)]
        for device in devices:
            if device not in asleep:
                self._resync(device)

        async def elsewhere() -> None:
            nodes = await self._surely_locate(asleep)
            for device, node in nodes.items():
                if node != self._cluster.node:
                    self._cluster.send(node, Resync([device]))
            self._wake([device for device in asleep if device not in nodes])

        if self._cluster.alone:
            self._wake(asleep)
        else:
            self._spawn(elsewhere())

    def _wake(self, devices: list[str]) -> None:
        if devices:
            self._unreached(devices, RING_TIMEOUT)

    def _tell_nodes(self, pair: _Pair, calls: dict[str, Call], texts: dict[str, list[Text]]) -> None:
        """Let other hubs know a pair as it is: where its devices are has changed."""
        state, places = encode_state(pair.version, calls.values()), self._places(pair, calls)
        for node in set(pair.nodes.values()) - {self._cluster.node}:
            self._cluster.send(node, PairChanged(pair.accounts, state, places, texts.get(node, [])))

    def _index(self, pair: _Pair, call: Call) -> None:
        self._by_call[call.id] = pair
        for device in _devices(call):
            ids = self._by_device.get(device)
            if ids is None:
                self._by_device[device] = {call.id}
            else:
                ids.add(call.id)

    def _unindex(self, call: Call) -> None:
        self._by_call.pop(call.id, None)
        for device in (call.caller_device, *call.devices):
            ids = self._by_device.get(device)
            if ids is not None:
                ids.discard(call.id)
                if not ids:
                    del self._by_device[device]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _devices(call: Call) -> tuple[str, ...]:
    """The devices that a call is at, or offered to."""
    if call.callee_device is None:
        return (call.caller_device, *call.devices)
    return (call.caller_device, call.callee_device)


def _same_devices(one: Call, other: Call) -> bool:
    """Whether two states of a call are at, or offered to, the same devices."""
    return one.callee_device == other.callee_device and one.devices == other.devices and one.caller_device == other.caller_device


def _seen(call: Call | None, device: str) -> object:
    """What a device has been told of a call, when it has been told everything."""
    if call is None or not involves(call, device):
        return None
    stage = Stage.INVITING if call.stage is Stage.RINGING and device != call.caller_device else call.stage
    return stage, call.answered, call.caller_device, call.callee_device


def _event(device: str, message: ClientMessage) -> machine.Event:
    """What a request is to the machine. Raises ``Refused``."""
    made = _EVENTS.get(type(message))
    if made is not None:
        return made(device)
    if isinstance(message, CallConnected):
        return machine.Connected(device, None if message.rung is UNSET else message.rung)
    if isinstance(message, CallMoved):
        return machine.Moved(device, message.rung)
    raise Refused(ErrorCode.UNKNOWN_TYPE)


_EVENTS: Final[dict[type[ClientMessage], Callable[[str], machine.Event]]] = {
    CallRinging: machine.Rang,
    CallDecline: machine.Declined,
    CallBusy: machine.Busy,
    CallFailed: machine.Failed,
    CallHangup: machine.HungUp,
}

_NOTHING: Final = Ok(re=0)
