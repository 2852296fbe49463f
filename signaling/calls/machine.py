"""The call machine: a pure function from a call and an event to the next call and what must be done about it.

No I/O, no clock, no randomness: the caller gives the time. A call ends exactly once, with one reason, and both sides learn the same.
Whatever happens, a live call has a deadline, or is connected with both parties present: it cannot get stuck.
"""

from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.messages import CONNECT_TIMEOUT, RETURN_TIMEOUT, RING_TIMEOUT, Reason, Rung, Stage

# --- state -----------------------------------------------------------------------------------------------------------------


MAX_MARKS: Final = 48
"""Marks kept of one call; when there are more, those in the middle go."""


class What(StrEnum):
    """What a mark says."""

    RANG = "rang"
    TAKEN = "taken"
    MEDIA = "media"
    MOVED = "moved"
    LEFT = "left"
    BACK = "back"
    HANDED = "handed"
    """Another device of the account took the call over."""


class Mark(Struct, frozen=True, array_like=True, gc=False):
    """One line of a call's trail: what whoever runs the service is shown when something went wrong. It says nothing of content."""

    what: What
    at: int
    """Milliseconds since the call was made."""
    side: int
    """0: the caller's device, 1: the callee's."""
    rung: Rung | None = None
    """``media`` and ``moved``: the way, if the device told it."""


class Call(Struct, frozen=True, array_like=True):
    """One 1:1 call. Times are seconds since 1970."""

    id: str
    caller: str
    """Account."""
    caller_device: str
    caller_phone: str
    callee: str
    """Account."""
    devices: tuple[str, ...]
    """Devices of the callee that the call goes to. Empty when the callee must not be told (blocked, not allowed)."""
    reached: frozenset[str]
    """Those of ``devices`` that have a socket."""
    created_at: float
    deadline: float | None
    """When the stage ends by itself."""
    stage: Stage = Stage.INVITING
    seq: int = 1
    """Counts changes that the sides are told of."""
    busy: frozenset[str] = frozenset()
    """Those of ``devices`` that are in another call."""
    callee_device: str | None = None
    """The device that took the call."""
    answered: bool = False
    """Whether the caller has the answer. False in ``connecting`` after glare, until the callee's device has sent it."""
    up: frozenset[str] = frozenset()
    """Devices at which media flows."""
    away: frozenset[str] = frozenset()
    """Parties without a socket."""
    connected_at: float | None = None
    ended_at: float | None = None
    reason: Reason | None = None
    superseded_by: str | None = None
    """The call that goes on in the place of this one (glare)."""
    trail: tuple[Mark, ...] = ()
    silenced: bool = False
    """The callee gets more calls than may ring there: it is not told now, and finds this one in its history."""
    caller_business: bool = False
    """The caller is a business."""
    siblings: frozenset[str] = frozenset()
    """Those of the two accounts that have further devices: these are told where the call is, so that they may take it over."""

    @property
    def hidden(self) -> bool:
        """Whether the callee never hears of the call."""
        return not self.devices

    @property
    def live(self) -> bool:
        """Whether the call has not ended."""
        return self.stage is not Stage.ENDED

    def is_party(self, device: str) -> bool:
        """Whether a device is one of the two in the call."""
        return device == self.caller_device or device == self.callee_device

    def other(self, device: str) -> str | None:
        """The other device in the call, once there is one."""
        return self.callee_device if device == self.caller_device else self.caller_device

    def device_of(self, account: str) -> str | None:
        """The device at which an account is in the call, once there is one."""
        return self.caller_device if account == self.caller else self.callee_device


# --- events ----------------------------------------------------------------------------------------------------------------


class Rang(Struct, frozen=True):
    """A device of the callee rings."""

    device: str


class Accepted(Struct, frozen=True):
    """A device of the callee takes the call and sends its answer."""

    device: str


class Declined(Struct, frozen=True):
    """The callee does not want the call."""

    device: str


class Busy(Struct, frozen=True):
    """A device of the callee is in another call."""

    device: str


class Connected(Struct, frozen=True):
    """Media flows at a device."""

    device: str
    rung: Rung | None = None


class Moved(Struct, frozen=True):
    """Media flows at a device again, perhaps another way."""

    device: str
    rung: Rung


class Stopped(Struct, frozen=True):
    """Whoever runs the service ends the call."""


class TakenOver(Struct, frozen=True):
    """A device takes the call over from another device of its account."""

    device: str
    account: str
    """Whose device it is."""
    old: str
    """The device that it believes to be in the call for the account."""
    to: str
    """The other side's device, for which it has sealed its offer."""


class Failed(Struct, frozen=True):
    """A device tried every way for media."""

    device: str


class HungUp(Struct, frozen=True):
    """A party ends the call."""

    device: str


class Left(Struct, frozen=True):
    """A device lost its socket."""

    device: str


class Returned(Struct, frozen=True):
    """A device has a socket."""

    device: str


class Removed(Struct, frozen=True):
    """A device was revoked or its account deleted."""

    device: str


class DeadlinePassed(Struct, frozen=True):
    """It may be time to end the call; nothing happens when it is not."""


class Collided(Struct, frozen=True):
    """Glare: both sides invited each other. ``survivor`` says how it ended for this call: taken by ``device``, or superseded."""

    device: str
    """Survivor: the callee's device that had invited. Loser: unused."""
    superseded_by: str | None = None
    """Loser: the id of the call that goes on."""


Event = (
    Rang
    | Accepted
    | Declined
    | Busy
    | Connected
    | Moved
    | TakenOver
    | Failed
    | HungUp
    | Left
    | Returned
    | Removed
    | Stopped
    | DeadlinePassed
    | Collided
)

# --- effects ---------------------------------------------------------------------------------------------------------------


class TellIncoming(Struct, frozen=True):
    """Offer the call to a device of the callee. ``accepted``: it has taken the call by glare and must answer."""

    device: str
    accepted: bool = False


class TellRings(Struct, frozen=True):
    """Tell the caller that the callee rings."""


class TellAnswered(Struct, frozen=True):
    """Tell the caller that the callee took the call, with the answer."""


class TellUp(Struct, frozen=True):
    """Tell a party that the call is connected."""

    device: str


class TellTakenOver(Struct, frozen=True):
    """Tell a party that the other side goes on at another device, with that one's offer."""

    device: str


class TellElsewhere(Struct, frozen=True):
    """Tell an account's other devices at which of its devices the call is."""

    account: str


class TellElsewhereOver(Struct, frozen=True):
    """Tell an account's other devices that there is nothing to take over any more."""

    account: str


class TellEnded(Struct, frozen=True):
    """Tell a device that the call is over for it."""

    device: str
    reason: Reason
    superseded_by: str | None = None


class Remember(Struct, frozen=True):
    """Write the ended call to the history of those who may know of it."""


Effect = TellIncoming | TellRings | TellAnswered | TellUp | TellTakenOver | TellElsewhere | TellElsewhereOver | TellEnded | Remember

Step = tuple[Call, list[Effect]]

_RINGING: Final = (Stage.INVITING, Stage.RINGING)
_TALKING: Final = (Stage.CONNECTING, Stage.CONNECTED)


def invite(
    *,
    call: str,
    caller: str,
    caller_device: str,
    caller_phone: str,
    callee: str,
    devices: tuple[str, ...],
    reached: frozenset[str],
    now: float,
    silenced: bool = False,
    caller_business: bool = False,
    siblings: frozenset[str] = frozenset(),
) -> Step:
    """A new call. ``devices`` empty: the callee is not told, and the caller waits as for someone who is offline."""
    state = Call(
        call,
        caller,
        caller_device,
        caller_phone,
        callee,
        devices,
        reached,
        now,
        now + RING_TIMEOUT,
        silenced=silenced,
        caller_business=caller_business,
        siblings=siblings,
    )
    return state, [TellIncoming(device) for device in devices if device in reached]


def collides(call: Call, *, caller: str, callee: str) -> bool:
    """Whether an invite from ``caller`` to ``callee`` meets this call half-way (glare)."""
    return call.caller == callee and call.callee == caller and call.stage in _RINGING and not call.hidden


def advance(call: Call, event: Event, now: float) -> Step:
    """The next state and what must be done. Raises ``Refused`` (``wrong_stage``, ``answered_elsewhere``, ``unknown_call``,
    ``unknown_device``): then nothing has changed.
    """
    if not call.live:
        if isinstance(event, (Moved, Left, Returned, Removed, Stopped, DeadlinePassed, Collided)):
            return call, []
        raise Refused(ErrorCode.UNKNOWN_CALL)
    match event:  # the most frequent first: each that does not match is a look at the class of classes
        case Rang(device):
            return _rang(call, device, now)
        case Accepted(device):
            return _accepted(call, device, now)
        case Connected(device, rung):
            return _connected(call, device, rung, now)
        case HungUp(device):
            if device == call.caller_device and call.stage in _RINGING:
                return _end(call, Reason.CANCELLED, now)
            _must_talk(call, device)
            return _end(call, Reason.HANGUP, now)
        case Declined(device):
            _must_ring(call, device)
            return _end(call, Reason.DECLINED, now)
        case Busy(device):
            _must_ring(call, device)
            return _if_none_free(replace(call, busy=call.busy | {device}), now)
        case Moved(device, rung):
            _must_talk(call, device)
            return (
                (call, [])
                if call.stage is not Stage.CONNECTED
                else (replace(call, trail=_trail(call, What.MOVED, device, now, rung)), [])
            )
        case TakenOver():
            return _taken_over(call, event, now)
        case Failed(device):
            _must_talk(call, device)
            return _end(call, Reason.FAILED, now)
        case Left(device):
            return _left(call, device, now)
        case Returned(device):
            return _returned(call, device, now)
        case Removed(device):
            return _removed(call, device, now)
        case Stopped():
            return _end(call, Reason.UNAVAILABLE, now)
        case DeadlinePassed():
            return _deadline(call, now)
        case Collided(device, superseded_by):
            if call.stage not in _RINGING:
                return call, []
            if superseded_by is None:
                return _taken(call, device, now, answered=False)
            return _end(call, Reason.ANSWERED_ELSEWHERE, now, superseded_by=superseded_by)


def may_signal(call: Call, device: str, to: str) -> bool:
    """Whether a sealed payload from one device goes to another: candidates, hold, mute, ICE restart, renegotiation.

    The caller may trickle to every device that the call goes to, those devices to the caller; once the call is taken, the two in it to each
    other. False: it goes nowhere, as for someone who is offline. Raises ``Refused`` (``unknown_call``, ``answered_elsewhere``,
    ``unknown_device``).
    """
    if device == call.caller_device:
        if call.hidden and call.stage is Stage.INVITING:
            return False
        allowed = to in call.devices if call.callee_device is None else to == call.callee_device
    elif device in call.devices:
        if call.callee_device not in (None, device):
            raise Refused(ErrorCode.ANSWERED_ELSEWHERE)
        allowed = to == call.caller_device
    else:
        raise Refused(ErrorCode.UNKNOWN_CALL)
    if not allowed:
        raise Refused(ErrorCode.UNKNOWN_DEVICE, devices=[] if call.callee_device is None else [call.callee_device])
    return True


def _must_ring(call: Call, device: str) -> None:
    """The device must be one of the callee's, and the call not yet taken."""
    if device not in call.devices:
        raise Refused(ErrorCode.WRONG_STAGE)
    if call.stage not in _RINGING:
        raise Refused(ErrorCode.WRONG_STAGE if device == call.callee_device else ErrorCode.ANSWERED_ELSEWHERE)


def _must_talk(call: Call, device: str) -> None:
    if not call.is_party(device):
        raise Refused(ErrorCode.ANSWERED_ELSEWHERE if call.stage in _TALKING and device in call.devices else ErrorCode.WRONG_STAGE)
    if call.stage not in _TALKING:
        raise Refused(ErrorCode.WRONG_STAGE)


def _trail(call: Call, what: What, device: str, now: float, rung: Rung | None = None) -> tuple[Mark, ...]:
    """The call's trail with one more mark."""
    mark = Mark(what, int((now - call.created_at) * 1000), 0 if device == call.caller_device else 1, rung)
    trail = call.trail
    if len(trail) >= MAX_MARKS:
        half = MAX_MARKS // 2
        trail = trail[:half] + trail[1 - half :]
    return (*trail, mark)


def _rang(call: Call, device: str, now: float) -> Step:
    _must_ring(call, device)
    if call.stage is Stage.RINGING:
        return call, []
    return replace(call, stage=Stage.RINGING, seq=call.seq + 1, trail=_trail(call, What.RANG, device, now)), [TellRings()]


def _accepted(call: Call, device: str, now: float) -> Step:
    if call.stage is Stage.CONNECTING and device == call.callee_device and not call.answered:
        return replace(call, answered=True, seq=call.seq + 1), [TellAnswered()]
    _must_ring(call, device)
    return _taken(call, device, now, answered=True)


def _taken(call: Call, device: str, now: float, *, answered: bool) -> Step:
    taken = replace(
        call,
        stage=Stage.CONNECTING,
        seq=call.seq + 1,
        callee_device=device,
        answered=answered,
        deadline=now + CONNECT_TIMEOUT,
        away=call.away | (frozenset() if device in call.reached else {device}),
        trail=_trail(call, What.TAKEN, device, now),
    )
    effects: list[Effect] = [TellAnswered() if answered else TellIncoming(device, accepted=True)]
    effects += [TellEnded(other, Reason.ANSWERED_ELSEWHERE) for other in call.devices if other != device and other in call.reached]
    return taken, effects


def _connected(call: Call, device: str, rung: Rung | None, now: float) -> Step:
    _must_talk(call, device)
    if not call.answered:
        raise Refused(ErrorCode.WRONG_STAGE)
    if device in call.up:
        return call, []
    call = replace(call, up=call.up | {device}, trail=_trail(call, What.MEDIA, device, now, rung))
    if len(call.up) < 2:
        return call, []
    up = replace(
        call,
        stage=Stage.CONNECTED,
        seq=call.seq + 1,
        connected_at=now if call.connected_at is None else call.connected_at,
        deadline=now + RETURN_TIMEOUT if call.away else None,
    )
    effects: list[Effect] = [TellUp(party) for party in sorted(call.up)]
    if call.stage is not Stage.CONNECTED:  # after a move they know already
        effects += _elsewhere(up)
    return up, effects


def _elsewhere(call: Call) -> list[Effect]:
    return [TellElsewhere(account) for account in (call.caller, call.callee) if account in call.siblings]


def _taken_over(call: Call, event: TakenOver, now: float) -> Step:
    """The new device takes the place of the old one at once: media there end, and both sides have to report media anew in the time that a
    call has to connect. A side that was away keeps what it had left to return, if that is longer.
    """
    device, peer = event.device, call.callee_device if event.account == call.caller else call.caller_device
    if call.stage is not Stage.CONNECTED or call.is_party(device) or peer is None:
        raise Refused(ErrorCode.WRONG_STAGE)
    if call.device_of(event.account) != event.old:
        raise Refused(ErrorCode.ANSWERED_ELSEWHERE)
    if event.to != peer:
        raise Refused(ErrorCode.UNKNOWN_DEVICE, devices=[peer])
    away = call.away - {event.old}
    deadline = now + CONNECT_TIMEOUT
    moved = replace(
        call,
        seq=call.seq + 1,
        up=frozenset(),
        away=away,
        deadline=max(deadline, call.deadline or 0.0) if away else deadline,
        siblings=call.siblings | {event.account},
        trail=_trail(call, What.HANDED, event.old, now),
    )
    if event.account == call.caller:
        moved = replace(moved, caller_device=device)
    else:
        devices = call.devices if device in call.devices else (*call.devices, device)
        moved = replace(moved, callee_device=device, devices=devices, reached=call.reached | {device})
    return moved, [TellEnded(event.old, Reason.MOVED), TellTakenOver(peer), *_elsewhere(moved)]


def _left(call: Call, device: str, now: float) -> Step:
    call = replace(call, reached=call.reached - {device})
    if call.stage in _RINGING:
        if device == call.caller_device:
            return replace(call, away=call.away | {device}, trail=_trail(call, What.LEFT, device, now)), []
        return _if_none_free(replace(call, busy=call.busy - {device}), now)
    if not call.is_party(device) or device in call.away:
        return call, []
    deadline = now + RETURN_TIMEOUT if call.stage is Stage.CONNECTED and call.deadline is None else call.deadline
    return replace(call, away=call.away | {device}, deadline=deadline, trail=_trail(call, What.LEFT, device, now)), []


def _returned(call: Call, device: str, now: float) -> Step:
    if device in call.devices and call.stage in _RINGING and device not in call.reached:
        return replace(call, reached=call.reached | {device}), []  # `sync` offers it the call
    if not call.is_party(device):
        return call, []
    away = call.away - {device}
    # a call that has moved still has to connect, whoever is back
    deadline = None if call.stage is Stage.CONNECTED and not away and len(call.up) == 2 else call.deadline
    reached = call.reached | {device} if device in call.devices else call.reached
    trail = _trail(call, What.BACK, device, now) if device in call.away else call.trail
    return replace(call, away=away, deadline=deadline, reached=reached, trail=trail), []


def _removed(call: Call, device: str, now: float) -> Step:
    if device == call.caller_device and call.stage in _RINGING:
        return _end(call, Reason.CANCELLED, now)
    if call.is_party(device):
        return _end(call, Reason.HANGUP, now)
    if device not in call.devices or call.stage not in _RINGING:
        return call, []
    # `devices` keeps it, so that the call does not look hidden; without a session it can do nothing any more
    return _if_none_free(replace(call, reached=call.reached - {device}, busy=call.busy - {device}), now)


def _if_none_free(call: Call, now: float) -> Step:
    """``busy`` when every device that can be reached is in another call."""
    if call.busy and call.reached <= call.busy:
        return _end(call, Reason.BUSY, now)
    return call, []


def _deadline(call: Call, now: float) -> Step:
    if call.deadline is None or now < call.deadline:
        return call, []
    if call.stage in _RINGING:
        return _end(call, Reason.MISSED, now)
    return _end(call, Reason.FAILED if call.stage is Stage.CONNECTING else Reason.LOST, now)


def _end(call: Call, reason: Reason, now: float, *, superseded_by: str | None = None) -> Step:
    ended = replace(
        call, stage=Stage.ENDED, seq=call.seq + 1, reason=reason, deadline=None, ended_at=now, superseded_by=superseded_by
    )
    # before the call was taken it rings on every device; afterwards the others have been told already
    callee = call.devices if call.callee_device is None else (call.callee_device,)
    effects: list[Effect] = [TellEnded(call.caller_device, reason, superseded_by)]
    # a callee's device that hears of a superseded call stops ringing; the surviving call reaches the account from its own side
    effects += [TellEnded(device, reason, superseded_by) for device in callee if device in call.reached or call.is_party(device)]
    if call.connected_at is not None:
        effects += [TellElsewhereOver(account) for account in (call.caller, call.callee) if account in call.siblings]
    if superseded_by is None:
        effects.append(Remember())
    return ended, effects
