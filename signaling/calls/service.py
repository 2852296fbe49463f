"""Runs calls: takes requests, lets the pure machine decide, commits to Redis, then tells the devices.

Requests queue while a commit is under way and are then handled as one batch with one transaction: under load the price of Redis is
shared by many, and no state is ever told to anyone that was not stored. When Redis does not answer, the batch is undone as a whole and
everyone in it is told ``unavailable``.
"""

import asyncio
import heapq
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from msgspec import UNSET, Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from signaling.accounts.directory import AccountFacts
from signaling.calls import machine
from signaling.calls.history import History, Line
from signaling.calls.machine import Call
from signaling.calls.policy import Relation, may_ring
from signaling.calls.store import CallStore, CertificateRecord, Record, SealedRecord
from signaling.gateway.request import Session
from signaling.wire.certificate import DeviceCertificate
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.messages import (
    CallAccept,
    CallAnswered,
    CallBusy,
    CallConnected,
    CallDecline,
    CallEnded,
    CallFailed,
    CallHangup,
    CallIncoming,
    CallInvite,
    CallRinging,
    CallRings,
    CallSignal,
    CallSignalled,
    CallUp,
    CallView,
    ClientMessage,
    Error,
    Ok,
    Peer,
    Reason,
    SealedFrom,
    ServerMessage,
    Stage,
)
from signaling.wire.rest import WhoCanCall

log = logging.getLogger(__name__)

MAX_CALLS: Final = 4
"""Live calls that one device may place or be in."""
MAX_SIGNALS: Final = 64
"""Sealed payloads kept per receiving device and call, for ``sync``; the oldest candidates are not needed after an ICE restart."""
_FACTS: Final = 50_000
"""Relations remembered."""
_FACTS_LIFETIME: Final = 60.0
"""Seconds for which a relation is remembered; what changes it here forgets it at once."""

Reply = Callable[[ServerMessage], object]


class Directory(Protocol):
    """Accounts (``accounts/directory.py``)."""

    async def get(self, account: str) -> AccountFacts | None:
        """One account."""


class Contacts(Protocol):
    """Address books and blocks (``contacts/service.py``)."""

    async def is_contact(self, owner: str, token: str) -> bool:
        """Whether the owner's book holds the number behind the token."""

    async def has_blocked(self, owner: str, other: str) -> bool:
        """Whether the owner blocked the other."""


class _Facts(Struct, frozen=True):
    relation: Relation
    certificates: dict[str, DeviceCertificate]
    until: float


@dataclass(slots=True)
class _Live:
    """A call and what was sealed in it."""

    call: Call
    certificates: dict[str, DeviceCertificate] = field(default_factory=dict)
    sealed: dict[str, list[SealedFrom]] = field(default_factory=dict)
    """By receiving device, in the order it was sent."""


@dataclass(slots=True)
class _Batch:
    """Changes not yet committed, and how to undo them."""

    before: dict[str, _Live | None] = field(default_factory=dict)
    records: dict[str, list[Record]] = field(default_factory=dict)
    history: list[Line] = field(default_factory=list)
    tell: list[tuple[Callable[[ServerMessage], object] | str, ServerMessage]] = field(default_factory=list)
    requests: list[tuple[int, Reply]] = field(default_factory=list)


class CallService:
    """All live calls of this hub.

    Args:
        send: hands a message to a device's socket; False when it has none here.
        online: whether a device has a socket here.
        unreached: called with the devices that a ringing call does not reach, as they have no socket, and the seconds for which it rings.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        *,
        redis: Redis,
        directory: Directory,
        contacts: Contacts,
        history: History,
        send: Callable[[str, ServerMessage], bool],
        online: Callable[[str], bool],
        unreached: Callable[[Sequence[str], float], None] = lambda _devices, _ttl: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = CallStore(redis)
        self._directory = directory
        self._contacts = contacts
        self._history = history
        self._send = send
        self._online = online
        self._unreached = unreached
        self._clock = clock
        self._calls: dict[str, _Live] = {}
        self._by_device: dict[str, set[str]] = {}
        self._facts: dict[tuple[str, str], _Facts] = {}
        self._facts_of: dict[str, set[tuple[str, str]]] = {}
        self._generation = 0
        self._queue: deque[Callable[[_Batch], None]] = deque()
        self._parked: dict[str, list[Callable[[], None]]] = {}
        self._working = False
        self._batch_done: asyncio.Event = asyncio.Event()
        self._deadlines: list[tuple[float, str]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._repair: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- life ------------------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up the calls that live in Redis: those of a hub that ended or died."""
        for call, records in await self._store.load():
            live = _Live(call)
            for record in records:
                self._keep(live, record)
            self._calls[call.id] = live
            self._index(call)
            self._watch(call)
        now = self._clock()
        for live in tuple(self._calls.values()):
            # nobody has a socket yet; who does not come back in time ends the call
            for device in {live.call.caller_device, *live.call.devices}:
                self._enqueue_event(live.call.id, machine.Left(device), now)
        self._arm()
        self._history.start()

    async def close(self) -> None:
        """Finish what is queued. Live calls stay in Redis for the next hub."""
        if self._timer is not None:
            self._timer.cancel()
        while self._working or self._queue:
            self._batch_done.clear()
            await self._batch_done.wait()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)
        await self._history.close()

    def __len__(self) -> int:
        """Live calls."""
        return len(self._calls)

    # --- what the gateway asks -----------------------------------------------------------------------------------------------------

    def submit(self, session: Session, message: ClientMessage, reply: Reply) -> None:
        """Queue one request; ``reply`` is called exactly once, after its outcome is stored."""
        call_id = getattr(message, "call", "")
        parked = self._parked.get(call_id)
        if parked is not None:
            # an invite of this call is waiting for the database: keep the order
            parked.append(lambda: self.submit(session, message, reply))
            return
        if isinstance(message, CallInvite):
            facts = self._known(session.account, message.to)
            if facts is None:
                self._parked[call_id] = []
                self._spawn(self._invite_later(session, message, reply))
                return
            self._enqueue(
                lambda batch: self._request(batch, message.id, reply, lambda: self._invite(batch, session, message, facts))
            )
            return
        self._enqueue(lambda batch: self._request(batch, message.id, reply, lambda: self._do(batch, session, message)))

    async def attach(self, session: Session) -> list[CallView]:
        """A device has a socket: its live calls, as they stand. Raises ``RedisError`` when Redis does not answer."""
        done: asyncio.Future[list[CallView]] = asyncio.get_running_loop().create_future()

        def work(batch: _Batch) -> None:
            now = self._clock()
            for call_id in tuple(self._by_device.get(session.device, ())):
                self._apply(batch, self._calls[call_id], machine.Returned(session.device), now)

            def views(_message: ServerMessage) -> None:
                if not done.done():
                    ids = sorted(self._by_device.get(session.device, ()))
                    views = [self._view(self._calls[i], session.device) for i in ids]
                    done.set_result([view for view in views if view is not None])

            def failed(message: ServerMessage) -> None:
                if not done.done():
                    done.set_exception(Refused(ErrorCode.UNAVAILABLE))

            batch.tell.append((views, _NOTHING))
            batch.requests.append((0, failed))

        self._enqueue(work)
        return await done

    def detach(self, session: Session) -> None:
        """A device lost its socket."""
        now = self._clock()
        for call_id in tuple(self._by_device.get(session.device, ())):
            self._enqueue_event(call_id, machine.Left(session.device), now)

    def end_device(self, device: str) -> None:
        """A device was removed: its calls end."""
        now = self._clock()
        for call_id in tuple(self._by_device.get(device, ())):
            self._enqueue_event(call_id, machine.Removed(device), now)

    async def drain(self) -> None:
        """Wait until everything that was asked for before is stored. Raises ``ConnectionError`` when Redis does not answer."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def stored(_message: ServerMessage) -> None:
            if not done.done():
                done.set_result(None)

        def failed(_message: ServerMessage) -> None:
            if not done.done():
                done.set_exception(ConnectionError("Redis does not answer"))

        def work(batch: _Batch) -> None:
            batch.tell.append((stored, _NOTHING))
            batch.requests.append((0, failed))

        self._enqueue(work)
        await done

    def in_call_with(self, device: str, account: str) -> bool:
        """Whether a device is in, or is offered, a live call with an account."""
        for call_id in self._by_device.get(device, ()):
            call = self._calls[call_id].call
            if account == (call.callee if device == call.caller_device else call.caller):
                return True
        return False

    def party(self, device: str, call_id: str) -> int | None:
        """Which side of a live call a device is: 0 for the caller's device, 1 for the one that took the call, None for any other."""
        live = self._calls.get(call_id)
        if live is None or not live.call.live:
            return None
        return {live.call.callee_device: 1, live.call.caller_device: 0}.get(device)

    def invalidate(self, account: str) -> None:
        """Something changed about an account: devices, settings, address book, blocks."""
        self._generation += 1
        for key in self._facts_of.pop(account, ()):
            self._facts.pop(key, None)

    def tick(self) -> None:
        """End what is past its deadline. The service's own timer calls it; tests with a clock of their own do too."""
        now = self._clock()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, call_id = heapq.heappop(self._deadlines)
            live = self._calls.get(call_id)
            if live is not None and live.call.deadline is not None:
                if live.call.deadline <= now:
                    self._enqueue_event(call_id, machine.DeadlinePassed(), now)
                else:
                    self._watch(live.call)
        self._arm()

    # --- policy ------------------------------------------------------------------------------------------------------------------------

    def _known(self, caller: str, callee: str) -> _Facts | None:
        facts = self._facts.get((caller, callee))
        return facts if facts is not None and facts.until > time.monotonic() else None

    async def _load_facts(self, session: Session, callee: str) -> _Facts:
        while True:
            generation = self._generation
            facts = await self._directory.get(callee)
            own = await self._directory.get(session.account)
            if facts is None or own is None or callee == session.account:
                relation = Relation(
                    same_account=callee == session.account,
                    callee_exists=False,
                    caller_has_callee=False,
                    callee_has_caller=False,
                    blocked=False,
                    who_can_call=WhoCanCall.NOBODY,
                )
                certificates = {}
            else:
                relation = Relation(
                    same_account=False,
                    callee_exists=bool(facts.devices),
                    caller_has_callee=await self._contacts.is_contact(session.account, facts.discovery_token),
                    callee_has_caller=await self._contacts.is_contact(callee, own.discovery_token),
                    # a frozen account is to the caller as one that blocked them: nobody home (P23)
                    blocked=facts.restricted or await self._contacts.has_blocked(callee, session.account),
                    who_can_call=facts.who_can_call,
                )
                certificates = {certificate.device: certificate for certificate in facts.devices}
            if generation == self._generation:
                break  # else something changed while we were reading: what we have may be old
        loaded = _Facts(relation, certificates, time.monotonic() + _FACTS_LIFETIME)
        if relation.caller_has_callee:
            if len(self._facts) >= _FACTS:
                self._facts.clear()
                self._facts_of.clear()
            key = (session.account, callee)
            self._facts[key] = loaded
            for account in key:
                self._facts_of.setdefault(account, set()).add(key)
        return loaded

    async def _invite_later(self, session: Session, message: CallInvite, reply: Reply) -> None:
        try:
            facts = await self._load_facts(session, message.to)
        except (RedisError, SQLAlchemyError, OSError) as error:
            log.error("invite: a store does not answer (%s)", type(error).__name__)
            reply(_refusal(message.id, Refused(ErrorCode.UNAVAILABLE, retry_after=1.0)))
        else:
            self._enqueue(
                lambda batch: self._request(batch, message.id, reply, lambda: self._invite(batch, session, message, facts))
            )
        finally:
            for again in self._parked.pop(message.call, []):
                again()

    # --- batches -------------------------------------------------------------------------------------------------------------------------

    def _enqueue(self, work: Callable[[_Batch], None]) -> None:
        self._queue.append(work)
        if not self._working:
            self._working = True
            self._spawn(self._work())

    def _enqueue_event(self, call_id: str, event: machine.Event, now: float) -> None:
        def work(batch: _Batch) -> None:
            live = self._calls.get(call_id)
            if live is not None:
                self._apply(batch, live, event, now)

        self._enqueue(work)

    def _spawn(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        try:
            while self._queue or self._repair:
                batch = _Batch()
                queue, self._queue = self._queue, deque()
                for work in queue:
                    work(batch)
                await self._commit(batch)
                if not self._queue:
                    break  # what is left to repair goes with the next batch
        finally:
            self._working = False
            self._batch_done.set()
            if self._queue:
                self._working = True
                self._spawn(self._work())

    async def _commit(self, batch: _Batch) -> None:
        touched = {*batch.before, *self._repair}
        if touched or batch.records:
            changed = [self._calls[i].call for i in touched if i in self._calls]
            ended = [i for i in touched if i not in self._calls]
            try:
                await self._store.commit(changed, ended, batch.records, batch.history)
            except (RedisError, OSError, TimeoutError) as error:
                log.error("calls: Redis does not answer (%s); %d changes undone", type(error).__name__, len(batch.before))
                self._undo(batch)
                return
            self._repair.clear()
            for call in changed:
                self._watch(call)
            self._arm()
            if batch.history:
                self._history.wake()
        for to, message in batch.tell:
            if isinstance(to, str):
                self._send(to, message)
            else:
                to(message)

    def _undo(self, batch: _Batch) -> None:
        """Take back every change; what Redis may have stored of it is put right with the next batch."""
        for call_id, before in batch.before.items():
            now = self._calls.pop(call_id, None)
            if now is not None:
                self._unindex(now.call)
            if before is not None:
                self._calls[call_id] = before
                self._index(before.call)
                if before.call.deadline is not None:
                    # not at once again: Redis needs a moment
                    heapq.heappush(self._deadlines, (max(before.call.deadline, self._clock() + 1.0), call_id))
        self._repair |= batch.before.keys()
        self._arm()
        for request, reply in batch.requests:
            reply(_refusal(request, Refused(ErrorCode.UNAVAILABLE, retry_after=1.0)))

    def _request(self, batch: _Batch, request: int, reply: Reply, work: Callable[[], Stage]) -> None:
        position = len(batch.tell)
        try:
            stage = work()
        except Refused as refused:
            batch.tell.append((reply, _refusal(request, refused)))
        else:
            batch.tell.insert(position, (reply, Ok(re=request, stage=stage)))
        batch.requests.append((request, reply))

    # --- requests --------------------------------------------------------------------------------------------------------------------------

    def _invite(self, batch: _Batch, session: Session, message: CallInvite, facts: _Facts) -> Stage:
        rings = may_ring(facts.relation)
        if message.call in self._calls:
            raise Refused(ErrorCode.CALL_EXISTS)
        devices = facts.certificates.keys()
        if message.payloads.keys() != devices:
            code = ErrorCode.UNKNOWN_DEVICE if message.payloads.keys() - devices else ErrorCode.STALE_DEVICES
            raise Refused(code, devices=sorted(devices))
        mine = [self._calls[i] for i in self._by_device.get(session.device, ())]
        if sum(live.call.is_party(session.device) for live in mine) >= MAX_CALLS:
            raise Refused(ErrorCode.TOO_MANY_CALLS)
        now = self._clock()
        call, effects = machine.invite(
            call=message.call,
            caller=session.account,
            caller_device=session.device,
            caller_phone=session.phone,
            callee=message.to,
            devices=tuple(sorted(devices)) if rings else (),
            reached=frozenset(device for device in devices if self._online(device)) if rings else frozenset(),
            now=now,
        )
        other = (
            next((o for o in mine if machine.collides(o.call, caller=session.account, callee=message.to)), None) if rings else None
        )
        if other is not None and other.call.id < call.id:
            # the other call goes on; this one never comes to be, and its device takes the other
            batch.tell.append((session.device, CallEnded(call.id, 1, Reason.ANSWERED_ELSEWHERE, other.call.id)))
            other.certificates[session.device] = session.certificate
            self._apply(batch, other, machine.Collided(session.device), now)
            batch.records.setdefault(other.call.id, []).append(CertificateRecord(session.certificate))
            return Stage.ENDED
        live = _Live(call)
        records: list[Record] = [CertificateRecord(session.certificate)]
        if rings:
            records += [SealedRecord(session.device, device, payload) for device, payload in message.payloads.items()]
        for record in records:
            self._keep(live, record)
        batch.before.setdefault(call.id, None)
        batch.records.setdefault(call.id, []).extend(records)
        self._calls[call.id] = live
        self._index(call)
        if other is None:
            self._emit(batch, live, effects)
            asleep = [device for device in call.devices if device not in call.reached]
            if asleep:
                batch.tell.append((lambda _: self._unreached(asleep, self._left(call)), _NOTHING))
        else:
            taker = other.call.caller_device
            self._apply(batch, other, machine.Collided("", superseded_by=call.id), now)
            live.certificates[taker] = facts.certificates[taker]
            batch.records[call.id].append(CertificateRecord(facts.certificates[taker]))
            # only the device that had called is offered the call: to the others neither call has rung yet, or it just stopped
            self._apply(batch, live, machine.Collided(taker), now)
        return self._calls[call.id].call.stage

    def _do(self, batch: _Batch, session: Session, message: ClientMessage) -> Stage:
        device = session.device
        live = self._calls.get(getattr(message, "call", ""))
        if live is None or live.call.id not in self._by_device.get(device, ()):
            raise Refused(ErrorCode.UNKNOWN_CALL)
        now = self._clock()
        match message:
            case CallRinging():
                self._apply(batch, live, machine.Rang(device), now)
            case CallAccept():
                self._accept(batch, live, session, message, now)
            case CallDecline():
                self._apply(batch, live, machine.Declined(device), now)
            case CallBusy():
                self._apply(batch, live, machine.Busy(device), now)
            case CallConnected():
                self._apply(batch, live, machine.Connected(device), now)
            case CallFailed():
                self._apply(batch, live, machine.Failed(device), now)
            case CallHangup():
                self._apply(batch, live, machine.HungUp(device), now)
            case CallSignal():
                self._signal(batch, live, device, message)
            case _:
                raise Refused(ErrorCode.UNKNOWN_TYPE)
        return live.call.stage

    def _accept(self, batch: _Batch, live: _Live, session: Session, message: CallAccept, now: float) -> None:
        answer = SealedRecord(session.device, live.call.caller_device, message.payload)
        step = machine.advance(live.call, machine.Accepted(session.device), now)  # may refuse: before anything is kept
        for record in (CertificateRecord(session.certificate), answer):
            self._note(batch, live)
            self._keep(live, record)
            batch.records.setdefault(live.call.id, []).append(record)
        self._take(batch, live, step, answer=message.payload)

    def _signal(self, batch: _Batch, live: _Live, device: str, message: CallSignal) -> None:
        call = live.call
        # the caller may trickle to every device that the call goes to, those devices to the caller
        if device == call.caller_device:
            allowed = message.to in call.devices if call.callee_device is None else message.to == call.callee_device
        else:
            allowed = message.to == call.caller_device and call.callee_device in (None, device)
        if call.hidden and device == call.caller_device and call.stage is Stage.INVITING:
            return  # as for someone who is offline
        if not allowed:
            if device != call.caller_device and call.callee_device not in (None, device):
                raise Refused(ErrorCode.ANSWERED_ELSEWHERE)
            raise Refused(ErrorCode.UNKNOWN_DEVICE, devices=[] if call.callee_device is None else [call.callee_device])
        if len(live.sealed.get(message.to, ())) < MAX_SIGNALS:
            record = SealedRecord(device, message.to, message.payload)
            self._note(batch, live)
            self._keep(live, record)
            batch.records.setdefault(call.id, []).append(record)
        batch.tell.append((message.to, CallSignalled(call.id, device, message.payload)))

    # --- state and effects ---------------------------------------------------------------------------------------------------------------------

    def _note(self, batch: _Batch, live: _Live) -> None:
        """Remember a call as it was before this batch."""
        if live.call.id not in batch.before:
            batch.before[live.call.id] = _Live(live.call, dict(live.certificates), {k: list(v) for k, v in live.sealed.items()})

    def _apply(self, batch: _Batch, live: _Live, event: machine.Event, now: float) -> None:
        self._take(batch, live, machine.advance(live.call, event, now))

    def _take(self, batch: _Batch, live: _Live, step: machine.Step, *, answer: str = "") -> None:
        call, effects = step
        if call is live.call:
            return
        self._note(batch, live)
        if call.callee_device is not None and live.call.callee_device is None:
            self._unindex(live.call)
            self._index(call)
        live.call = call
        self._emit(batch, live, effects, answer=answer)
        if not call.live:
            self._unindex(call)
            del self._calls[call.id]
            batch.records.pop(call.id, None)

    def _emit(self, batch: _Batch, live: _Live, effects: list[machine.Effect], *, answer: str = "") -> None:
        call = live.call
        for effect in effects:
            match effect:
                case machine.TellIncoming(device, accepted):
                    payload = next((s.payload for s in live.sealed.get(device, ()) if s.device == call.caller_device), "")
                    message: ServerMessage = CallIncoming(
                        call.id, call.seq, self._peer(live, device), payload, self._left(call), accepted
                    )
                    batch.tell.append((device, message))
                case machine.TellRings():
                    batch.tell.append((call.caller_device, CallRings(call.id, call.seq)))
                case machine.TellAnswered():
                    peer = self._peer(live, call.caller_device)
                    batch.tell.append((call.caller_device, CallAnswered(call.id, call.seq, peer, answer)))
                case machine.TellUp(device):
                    batch.tell.append((device, CallUp(call.id, call.seq)))
                case machine.TellEnded(device, reason, superseded_by):
                    by = UNSET if superseded_by is None else superseded_by
                    batch.tell.append((device, CallEnded(call.id, call.seq, reason, by)))
                case machine.Remember():
                    batch.history += _lines(call)

    def _keep(self, live: _Live, record: Record) -> None:
        if isinstance(record, CertificateRecord):
            live.certificates[record.certificate.device] = record.certificate
        else:
            live.sealed.setdefault(record.receiver, []).append(SealedFrom(record.sender, record.payload))

    def _peer(self, live: _Live, device: str) -> Peer:
        """The other side, as a device may see it."""
        call = live.call
        if device == call.caller_device:
            if call.callee_device is None:
                return Peer(account=call.callee)
            certificate = live.certificates.get(call.callee_device)
            return Peer(account=call.callee, device=call.callee_device, certificate=UNSET if certificate is None else certificate)
        certificate = live.certificates.get(call.caller_device)
        return Peer(
            account=call.caller,
            device=call.caller_device,
            phone=call.caller_phone,
            certificate=UNSET if certificate is None else certificate,
        )

    def _left(self, call: Call) -> float:
        return 0.0 if call.deadline is None else max(0.0, call.deadline - self._clock())

    def _view(self, live: _Live, device: str) -> CallView | None:
        call = live.call
        if call.deadline is not None and call.deadline <= self._clock():
            return None  # past its time: it must not ring again
        return CallView(
            call=call.id,
            seq=call.seq,
            stage=call.stage,
            outgoing=device == call.caller_device,
            peer=self._peer(live, device),
            expires_in=self._left(call),
            payloads=list(live.sealed.get(device, ())),
        )

    def _index(self, call: Call) -> None:
        devices = call.devices if call.callee_device is None else (call.callee_device,)
        for device in (call.caller_device, *devices):
            self._by_device.setdefault(device, set()).add(call.id)

    def _unindex(self, call: Call) -> None:
        for device in (call.caller_device, *call.devices):
            ids = self._by_device.get(device)
            if ids is not None:
                ids.discard(call.id)
                if not ids:
                    del self._by_device[device]

    def _watch(self, call: Call) -> None:
        if call.deadline is not None and call.live:
            heapq.heappush(self._deadlines, (call.deadline, call.id))

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._deadlines:
            delay = max(0.0, self._deadlines[0][0] - self._clock())
            self._timer = asyncio.get_running_loop().call_later(min(delay + 0.001, 3600.0), self.tick)


def _refusal(request: int, refused: Refused) -> Error:
    return Error(
        code=refused.code,
        message=refused.message,
        re=request,
        retry_after=UNSET if refused.retry_after is None else refused.retry_after,
        devices=UNSET if refused.devices is None else refused.devices,
    )


def _lines(call: Call) -> list[Line]:
    """The history lines of an ended call: the caller's, and the callee's if it was told of the call."""
    if call.reason is None or call.ended_at is None:
        return []
    started, ended = int(call.created_at * 1000), int(call.ended_at * 1000)
    connected = None if call.connected_at is None else int(call.connected_at * 1000)
    lines = [Line(call.caller, call.id, call.callee, True, call.reason, started, connected, ended)]
    if not call.hidden:
        lines.append(Line(call.callee, call.id, call.caller, False, call.reason, started, connected, ended))
    return lines


_NOTHING: Final = Ok(re=0)
