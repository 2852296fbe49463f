"""What is kept of a call for whoever runs the service, for some days after it ended: when it came to which stage, over which rung media went,
why it ended. Pseudonyms in the place of accounts; nothing of content, no number, no address (P17). Pure.
"""

from typing import Final

import msgspec
from msgspec import Struct

from signaling.calls.machine import Call, Mark, What
from signaling.wire.messages import Reason, Rung

_RUNGS: Final = {rung: place for place, rung in enumerate(Rung)}
"""The further down the ladder, the more it costs."""


class Trace(Struct, frozen=True, array_like=True):
    """One call that has ended. Times are seconds since 1970."""

    id: str
    caller: str
    """Pseudonym."""
    callee: str
    """Pseudonym."""
    told: bool
    """Whether the callee heard of the call: to the callee's own export belongs only what they may know."""
    hub: str
    """The hub that ended it."""
    created_at: float
    connected_at: float | None
    ended_at: float
    reason: Reason
    trail: tuple[Mark, ...]


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Trace)


def encode_trace(trace: Trace) -> bytes:
    """A trace as it is stored."""
    return _encoder.encode(trace)


def decode_trace(data: bytes) -> Trace:
    """What ``encode_trace`` made. Raises ``msgspec.DecodeError``."""
    return _decoder.decode(data)


def trace_of(call: Call, *, caller: str, callee: str, hub: str) -> Trace:
    """The trace of an ended call; ``caller`` and ``callee`` are pseudonyms. Raises ``ValueError`` for a call that goes on."""
    if call.reason is None or call.ended_at is None:
        raise ValueError("the call has not ended")
    return Trace(
        call.id, caller, callee, not call.hidden, hub, call.created_at, call.connected_at, call.ended_at, call.reason, call.trail
    )


def rung_of(trail: tuple[Mark, ...]) -> Rung | None:
    """The rung that a call is on, or was on last: of what its two sides told, the one further down the ladder. None before one did."""
    last: dict[int, Rung] = {mark.side: mark.rung for mark in trail if mark.rung is not None}
    return max(last.values(), key=_RUNGS.__getitem__, default=None)


def taken_after(trail: tuple[Mark, ...]) -> int | None:
    """Milliseconds from the invite until the callee took the call."""
    return next((mark.at for mark in trail if mark.what is What.TAKEN), None)


def set_up(created_at: float, connected_at: float | None, trail: tuple[Mark, ...]) -> int | None:
    """Set-up time: milliseconds from when the callee took the call until media flowed at both ends; None when it came to neither."""
    taken = taken_after(trail)
    if connected_at is None or taken is None:
        return None
    return max(0, int((connected_at - created_at) * 1000) - taken)
