"""Which way a call's media take, and who says when that changes: the same rules as the browser's (``web/sdk/src/ladder.ts``). Pure.

A way has a number, its epoch; epoch 0 is the first offer and answer. Only the caller begins an epoch; the callee says a wish that names the
epoch it is unhappy with. Over the relay each device speaks with its own leg, so nothing is exchanged but the epoch.
"""

from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

CONNECT_WITHIN: Final = 4.0
"""Seconds that the first way has, and every later one before media have ever flowed."""
REPLACE_WITHIN: Final = 1.5
"""Seconds for a way that replaces one that carried: people are waiting in silence."""
DIRECT_WITHIN: Final = 3.5
"""Seconds for a direct way that replaces a relay or a TURN server."""
_REPLACE_AT_MOST: Final = 6.0
RETURN_FRESH: Final = 2.0
"""Seconds on a relay after a change of networks, until the direct way is tried."""
RETURN_LATER: Final = 10.0
"""Seconds on a relay or a TURN server when nothing is known to have changed; doubles with each try."""
_RETURN_AT_MOST: Final = 600.0


class Via(StrEnum):
    """``direct`` is all that needs no relay of ours: host, server-reflexive, TURN."""

    DIRECT = "direct"
    RELAY = "relay"


class Ladder(Struct, frozen=True):
    """Where a call stands."""

    leader: bool
    """The caller."""
    relay: bool
    """A relay may be asked for."""
    servers: bool = False
    """There are TURN servers: who hides can do without the relay."""
    epoch: int = 0
    via: Via = Via.DIRECT
    carried: bool = False
    """The way of this epoch carries media."""
    ever: bool = False
    """Some epoch did."""
    tried: int = 0
    """Ways that were tried since one carried."""
    hidden: bool = False
    """One of the two hides its address: its packets go to a relay only."""
    moves: bool = False
    """The other side knows epochs."""
    fresh: bool = False
    """The networks of this device changed, and direct ways were not tried since."""
    turn: bool = False
    """It carries them through a TURN server, of this side's or of the other's."""
    returns: int = 0
    """Ways back that were tried since media last went without a server between."""


class Answered(Struct, frozen=True):
    """Offer and answer are exchanged."""

    hidden: bool
    moves: bool


class Flows(Struct, frozen=True):
    """Media flow on the way of this epoch. ``turn``: through a TURN server."""

    epoch: int
    turn: bool = False


class Late(Struct, frozen=True):
    """The wait that was asked for is over."""

    epoch: int


class Lost(Struct, frozen=True):
    """Nothing comes any more, or ICE has failed."""

    epoch: int


class NoRelay(Struct, frozen=True):
    """There is no relay to be had."""

    epoch: int


class Network(Struct, frozen=True):
    """The networks of this device changed."""


class Renew(Struct, frozen=True):
    """The relay that carries the call is about to end."""


class Return(Struct, frozen=True):
    """The time to try the direct way again has come."""

    epoch: int


class Moved(Struct, frozen=True):
    """The caller began an epoch."""

    epoch: int
    via: Via


class Wished(Struct, frozen=True):
    """The callee is unhappy with an epoch."""

    epoch: int
    via: Via


Event = Answered | Flows | Late | Lost | NoRelay | Network | Renew | Return | Moved | Wished


class Do(StrEnum):
    """Acts without a parameter."""

    OFFER = "offer"
    """Make an offer that restarts ICE, and say it (``restart``)."""
    ANSWER = "answer"
    """Answer the offer that came."""
    LEG = "leg"
    """Restart ICE towards the own leg of the relay."""
    SAY_RELAY = "relay"
    """Say that the epoch of now goes over the relay."""


class SayWish(Struct, frozen=True):
    """Say that another way than that of this epoch is wanted."""

    epoch: int
    via: Via


class Wait(Struct, frozen=True):
    """Come back with ``Late`` after that many seconds, unless media flow before."""

    seconds: float


class ReturnAfter(Struct, frozen=True):
    """Come back with ``Return`` after that many seconds."""

    seconds: float


Act = Do | SayWish | Wait | ReturnAfter


def advance(ladder: Ladder, event: Event) -> tuple[Ladder, list[Act]]:
    """The next state, and what to do."""
    match event:
        case Answered():
            answered = replace(ladder, hidden=event.hidden, moves=event.moves)
            if answered.hidden and answered.moves and answered.relay:
                # both know this without a word: the epoch after a hidden answer is the relay's
                return replace(answered, epoch=1, via=Via.RELAY), [Do.LEG, Wait(CONNECT_WITHIN)]
            return answered, [Wait(CONNECT_WITHIN)]
        case Flows():
            return _flows(ladder, event)
        case Return():
            if event.epoch != ladder.epoch or not ladder.carried or (ladder.via is Via.DIRECT and not ladder.turn):
                return ladder, []
            return _move(replace(ladder, fresh=False, returns=0 if ladder.fresh else ladder.returns + 1), Via.DIRECT)
        case Late():
            if event.epoch != ladder.epoch or ladder.carried or (not ladder.relay and not ladder.ever):
                return ladder, []  # without a relay the first try is all there is
            return _next(ladder)
        case Lost():
            return _next(replace(ladder, carried=False)) if event.epoch == ladder.epoch else (ladder, [])
        case NoRelay():
            return _next(ladder) if event.epoch == ladder.epoch and ladder.via is Via.RELAY else (ladder, [])
        case Network():
            changed = replace(ladder, fresh=True, returns=0)
            return _move(changed, ladder.via) if ladder.ever else (changed, [])
        case Renew():
            return _move(ladder, Via.RELAY) if ladder.via is Via.RELAY else (ladder, [])
        case Moved():
            if ladder.leader or event.epoch <= ladder.epoch:
                return ladder, []
            moved = replace(ladder, epoch=event.epoch, via=event.via, carried=False, turn=False)
            return moved, [Do.LEG if event.via is Via.RELAY else Do.ANSWER, _wait(ladder, event.via)]
        case Wished():
            if not ladder.leader or event.epoch != ladder.epoch:
                return ladder, []
            # a wish for a direct way comes from a side whose networks changed: what failed on the ones before says nothing
            returns = 0 if event.via is Via.DIRECT else ladder.returns
            return _move(replace(ladder, carried=False, returns=returns), event.via)


def _flows(ladder: Ladder, event: Flows) -> tuple[Ladder, list[Act]]:
    if event.epoch != ladder.epoch or (ladder.carried and event.turn == ladder.turn):
        return ladder, []
    flowing = replace(ladder, carried=True, ever=True, tried=0, turn=event.turn)
    if ladder.via is Via.DIRECT and not event.turn:
        return replace(flowing, fresh=False, returns=0), []
    # who hides stays behind a server; of the others one looks, and who came to another network, as the other cannot know
    if ladder.hidden or not ladder.moves or not (ladder.leader or ladder.fresh):
        return flowing, []
    later = min(_RETURN_AT_MOST, RETURN_LATER * 2.0 ** min(ladder.returns, 10))
    return flowing, [ReturnAfter(RETURN_FRESH if ladder.fresh else later)]


def _next(ladder: Ladder) -> tuple[Ladder, list[Act]]:
    """This way does not carry: the other one."""
    if ladder.via is Via.RELAY:
        # once media flowed, a relay that falls silent is most likely there again in a moment
        again = ladder.hidden and ladder.relay and (ladder.ever or not ladder.servers) and ladder.tried % 2 == 0
        via = Via.RELAY if again else Via.DIRECT
    else:
        via = Via.RELAY if ladder.relay else Via.DIRECT
    return _move(replace(ladder, tried=ladder.tried + 1), via)


def _move(ladder: Ladder, via: Via) -> tuple[Ladder, list[Act]]:
    if not ladder.moves:
        return ladder, []
    if not ladder.leader:
        return ladder, [SayWish(ladder.epoch, via), _wait(ladder, ladder.via)]
    acts: list[Act] = [Do.SAY_RELAY, Do.LEG] if via is Via.RELAY else [Do.OFFER]
    return replace(ladder, epoch=ladder.epoch + 1, via=via, carried=False, turn=False), [*acts, _wait(ladder, via)]


def _wait(ladder: Ladder, via: Via) -> Wait:
    if ladder.ever and (ladder.via is Via.RELAY or ladder.turn) and via is Via.DIRECT:
        return Wait(DIRECT_WITHIN)
    return Wait(min(_REPLACE_AT_MOST, REPLACE_WITHIN * (1 + ladder.tried / 2)) if ladder.ever else CONNECT_WITHIN)
