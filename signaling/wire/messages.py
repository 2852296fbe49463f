"""The WebSocket protocol: one frozen Struct per message, tagged by ``type``.

Requests (client to hub) carry ``id`` and get exactly one ``ok`` or ``error`` with the same number in ``re``. Events (hub to
client) that belong to a call carry ``call`` and ``seq``, which counts the stage changes of that call from 1, the same for
both sides. Events are hints, ``sync`` is truth: a client that missed an event finds its outcome in the next ``sync``.
Unknown fields are ignored, unknown types are errors.
"""

from enum import StrEnum
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType, field

from signaling.wire.certificate import DeviceCertificate
from signaling.wire.errors import ErrorCode
from signaling.wire.ids import (
    E164,
    MAX_DEVICES,
    AccountId,
    CallId,
    DeviceId,
    DiscoveryToken,
    IceCandidate,
    IcePwd,
    IceUfrag,
    LinkId,
    Millis,
    RequestId,
    Sealed,
    Token,
)

SUBPROTOCOL: Final = "kloudtalk.v1"
"""WebSocket subprotocol (RFC 6455, section 1.9). A client must offer it."""

MAX_FRAME: Final = 65_536
"""Bytes of one frame; a longer one closes the connection with 1009 before it is buffered."""

HELLO_TIMEOUT: Final = 5.0
"""Seconds from the opening of the socket to ``hello``."""

RING_TIMEOUT: Final = 45.0
"""Seconds a call rings before it is ``missed``: about nine ring cycles, what telephone networks do."""

CONNECT_TIMEOUT: Final = 20.0
"""Seconds from accept to media at both ends before the call has ``failed``: long enough for every rung of the ladder."""

RETURN_TIMEOUT: Final = 60.0
"""Seconds that a party of a connected call may be without a socket before the call is ``lost``. Media may go on meanwhile."""


MAX_WATCHED: Final = 500
"""Accounts whose presence one device may watch at a time."""


class CloseCode:
    """WebSocket close codes (RFC 6455, section 7.4; 4000-4999 are the application's)."""

    GOING_AWAY: Final = 1001
    """The hub shuts down: reconnect."""
    PROTOCOL_ERROR: Final = 1002
    """Frames that RFC 6455 does not allow."""
    TOO_LARGE: Final = 1009
    """A frame over ``MAX_FRAME``."""
    UNAUTHENTICATED: Final = 4401
    """No valid ``hello`` in time, or the session was revoked: sign in again."""
    RESTRICTED: Final = 4403
    """The account is frozen by its owner (P23): connect again when it is unfrozen."""
    BLOCKED: Final = 4406
    """The account is blocked by who runs the service; `GET /v1/account` says what for."""
    REPLACED: Final = 4409
    """The same device connected again; the newer socket stays."""
    SLOW: Final = 4410
    """The client did not read; its queue was full."""
    RATE_LIMITED: Final = 4429
    """The client went on sending after it was told to wait."""


class Stage(StrEnum):
    """Stages of a call (design: the call machine)."""

    INVITING = "inviting"
    RINGING = "ringing"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    ENDED = "ended"


class Reason(StrEnum):
    """Why a call ended. A call ends once, with one reason, and both sides learn the same one."""

    HANGUP = "hangup"
    DECLINED = "declined"
    BUSY = "busy"
    MISSED = "missed"
    CANCELLED = "cancelled"
    ANSWERED_ELSEWHERE = "answered_elsewhere"
    FAILED = "failed"
    LOST = "lost"
    UNAVAILABLE = "unavailable"
    MOVED = "moved"
    """For one device only: the call goes on at another device of the account, and its end has another reason."""


class Rung(StrEnum):
    """Which rung of the ladder a device's media take, as coarse as running the service needs: whether two people share a network, or what
    their addresses are, is not told.
    """

    DIRECT = "direct"
    TURN_PEER = "turn_peer"
    """Over a TURN server of the other side."""
    TURN_UDP = "turn_udp"
    TURN_TCP = "turn_tcp"
    TURN_TLS = "turn_tls"
    RELAY = "relay"


Payloads = Annotated[dict[DeviceId, Sealed], Meta(min_length=1, max_length=MAX_DEVICES)]
"""One sealed payload per receiving device."""


# --- requests: client to hub -----------------------------------------------------------------------------------------


class Request(Struct, frozen=True, tag_field="type"):
    """What every request has."""

    id: RequestId


class Hello(Request, frozen=True, tag="hello"):
    """The first frame: who is connecting. Answered by ``ok`` and ``sync``; else ``error`` and close 4401."""

    token: Token


class Ping(Request, frozen=True, tag="ping"):
    """Are you there? Answered by ``ok``. For clients that cannot see WebSocket pings (browsers) and doubt their connection."""


class CallInvite(Request, frozen=True, tag="call.invite"):
    """Start a call: one sealed payload (offer and first candidates) for each device of the callee."""

    call: CallId
    to: AccountId
    payloads: Payloads


class CallRinging(Request, frozen=True, tag="call.ringing"):
    """This device of the callee rings."""

    call: CallId


class CallAccept(Request, frozen=True, tag="call.accept"):
    """This device of the callee takes the call; ``payload`` is its answer, sealed for the caller's device. First one wins."""

    call: CallId
    payload: Sealed


class CallDecline(Request, frozen=True, tag="call.decline"):
    """The callee does not want the call: it ends on every device."""

    call: CallId


class CallBusy(Request, frozen=True, tag="call.busy"):
    """This device is in another call. The call ends as ``busy`` when no device of the callee is free."""

    call: CallId


class CallConnected(Request, frozen=True, tag="call.connected"):
    """Media flows at this device. The call is ``connected`` when both said so."""

    call: CallId
    rung: Rung | UnsetType = UNSET
    """The way that media take, for whoever runs the service."""


class CallMoved(Request, frozen=True, tag="call.moved"):
    """Media flow again at this device of a connected call, after they stopped or took another way. For whoever runs the service; the other
    side learns it from the media.
    """

    call: CallId
    rung: Rung


class CallTakeOver(Request, frozen=True, tag="call.take_over"):
    """Take a connected call over from another device of the account: ``payload`` is an offer, sealed for the other side's device.

    The first one wins: ``answered_elsewhere`` when ``device`` is not in the call any more, ``unknown_device`` when ``to`` is not (the other
    side moved too; ``devices`` names its device of now).
    """

    call: CallId
    device: DeviceId
    """The own account's device that is in the call."""
    to: DeviceId
    """The other side's device, for which ``payload`` is sealed."""
    payload: Sealed


class CallFailed(Request, frozen=True, tag="call.failed"):
    """Every way for media was tried without success: the call ends as ``failed``."""

    call: CallId


class CallHangup(Request, frozen=True, tag="call.hangup"):
    """End the call. From the caller before an accept this is ``cancelled``, afterwards ``hangup``."""

    call: CallId


class CallSignal(Request, frozen=True, tag="call.signal"):
    """A sealed payload for one device in the call: candidates, ICE restart, hold, mute, renegotiation. Opaque to the hub."""

    call: CallId
    to: DeviceId
    payload: Sealed


class CallRelay(Request, frozen=True, tag="call.relay"):
    """The device's leg of the call's relay, for its ICE credentials; others than before restart ICE on the leg. ``ok`` carries it in ``leg``.

    The same as ``POST /v1/calls/{call}/relay``, over the connection that a call keeps watch on: when networks change, a browser's HTTP connections
    are dead for as long as it does not know.
    """

    call: CallId
    ufrag: IceUfrag
    pwd: IcePwd


class PresenceWatch(Request, frozen=True, tag="presence.watch"):
    """Watch these accounts from now on, and no others (P16). Answered by ``ok`` and then ``presence.changed`` with all of them."""

    accounts: Annotated[list[AccountId], Meta(max_length=MAX_WATCHED)]


ClientMessage = (
    Hello
    | Ping
    | CallInvite
    | CallRinging
    | CallAccept
    | CallDecline
    | CallBusy
    | CallConnected
    | CallMoved
    | CallTakeOver
    | CallFailed
    | CallHangup
    | CallSignal
    | CallRelay
    | PresenceWatch
)
"""Everything that a client may send."""


# --- answers and events: hub to client -------------------------------------------------------------------------------


class Message(Struct, frozen=True, tag_field="type", omit_defaults=True):
    """What every message of the hub has: a ``type``."""


class RelayLeg(Struct, frozen=True):
    """The device's leg of the call's relay, for the remote description in the place of the peer's ICE lines."""

    ufrag: IceUfrag
    pwd: IcePwd
    candidates: Annotated[list[IceCandidate], Meta(max_length=32)]
    """Candidate attributes (RFC 8839, section 5.1): ``candidate:...``. There will be no others."""
    expires_in: float
    """Seconds that the leg waits for the device's first check; ask again after."""


class Ok(Message, frozen=True, tag="ok"):
    """The request ``re`` was done."""

    re: RequestId
    stage: Stage | UnsetType = UNSET
    """Stage of the call after the request, for requests about a call."""
    leg: RelayLeg | UnsetType = UNSET
    """Of ``call.relay``."""


class Error(Message, frozen=True, tag="error"):
    """The request ``re`` was refused, and nothing was changed. Without ``re``: a frame that could not be read."""

    code: ErrorCode
    message: str
    re: RequestId | UnsetType = UNSET
    retry_after: float | UnsetType = UNSET
    """Seconds until trying again can succeed."""
    devices: list[DeviceId] | UnsetType = UNSET
    """Devices of the callee (``unknown_device``, ``stale_devices``)."""


class Peer(Struct, frozen=True, omit_defaults=True):
    """The other side of a call, as far as the hub may show it to this device."""

    account: AccountId
    device: DeviceId | UnsetType = UNSET
    """The device in the call, once one is."""
    phone: E164 | UnsetType = UNSET
    """The caller's verified number; shown to the callee only, as on any telephone."""
    certificate: DeviceCertificate | UnsetType = UNSET
    """Certificate of ``device``: the client verifies it, and everything sealed by that device."""
    business: bool = False
    """The caller is a business, whether the callee knows it or not: said before the call is taken (P30)."""


class SealedFrom(Struct, frozen=True):
    """A sealed payload and the device that sealed it."""

    device: DeviceId
    payload: Sealed


class CallView(Struct, frozen=True, omit_defaults=True):
    """One live call as one device may see it."""

    call: CallId
    seq: int
    stage: Stage
    outgoing: bool
    peer: Peer
    expires_in: float
    """Seconds until the deadline of the stage; 0 when the stage has none."""
    payloads: list[SealedFrom] = field(default_factory=list)
    """What was sealed for this device and may be needed to catch up, in the order it was sent: offer or answer, candidates."""


class CallElsewhere(Struct, frozen=True, omit_defaults=True):
    """One connected call of the account at another of its devices: ``call.take_over`` takes it over."""

    call: CallId
    seq: int
    device: DeviceId
    """The own account's device that is in the call."""
    outgoing: bool
    """Whether the own account placed it."""
    peer: Peer
    """The other side and its device."""
    connected_for: float
    """Seconds since the call was connected."""


class ContactMatch(Struct, frozen=True):
    """An entry of the user's address book that is an account."""

    token: DiscoveryToken
    account: AccountId


class Sync(Message, frozen=True, tag="sync"):
    """The truth, sent after every ``hello``: what is live now for this device."""

    account: AccountId
    device: DeviceId
    calls: list[CallView]
    contacts_wanted: bool
    """True when the user gave the consent but the live store holds no address book (it has no backup, P07): upload again."""
    elsewhere: list[CallElsewhere] = field(default_factory=list)
    """Connected calls of the account at its other devices."""
    policy_wanted: bool = False
    """True when the policy in force was not acknowledged yet (P04): until then no call is placed or taken; those in progress go on."""


class CallIncoming(Message, frozen=True, tag="call.incoming"):
    """A call for this device. ``accepted`` is set when the call is already taken by this device (glare): answer, do not ring."""

    call: CallId
    seq: int
    peer: Peer
    payload: Sealed
    expires_in: float
    accepted: bool = False


class CallRings(Message, frozen=True, tag="call.rings"):
    """To the caller: a device of the callee rings."""

    call: CallId
    seq: int


class CallAnswered(Message, frozen=True, tag="call.answered"):
    """To the caller: the callee took the call on ``peer.device``; ``payload`` is the answer, sealed for this device."""

    call: CallId
    seq: int
    peer: Peer
    payload: Sealed


class CallUp(Message, frozen=True, tag="call.up"):
    """To both: media flows at both ends; the call is ``connected``."""

    call: CallId
    seq: int


class CallTakenOver(Message, frozen=True, tag="call.taken_over"):
    """The other side goes on at ``peer.device``: ``payload`` is that one's offer, sealed for this device. The answer goes to it by
    ``call.signal``; then both report ``call.connected`` again.
    """

    call: CallId
    seq: int
    peer: Peer
    payload: Sealed


class CallIsElsewhere(CallElsewhere, frozen=True, tag_field="type", tag="call.elsewhere", omit_defaults=True):
    """A call of the account is connected at another of its devices, or has moved to yet another."""


class CallElsewhereOver(Message, frozen=True, tag="call.elsewhere_over"):
    """That call is over."""

    call: CallId
    seq: int


class CallEnded(Message, frozen=True, tag="call.ended"):
    """The call is over for this device. ``superseded_by`` names the call that goes on in its place (glare): end silently."""

    call: CallId
    seq: int
    reason: Reason
    superseded_by: CallId | UnsetType = UNSET


class CallSignalled(Message, frozen=True, tag="call.signalled"):
    """A sealed payload from the other device in the call."""

    call: CallId
    device: DeviceId
    payload: Sealed


class CallRelayEnding(Message, frozen=True, tag="call.relay_ending"):
    """The relay that carries the call is about to end, or has died: ask for a leg again (``call.relay``) and restart ICE."""

    call: CallId


class ContactsChanged(Message, frozen=True, tag="contacts.changed"):
    """Entries of the address book became matches (someone joined, P08) or ceased to be (an account was deleted)."""

    added: list[ContactMatch] = field(default_factory=list)
    removed: list[AccountId] = field(default_factory=list)


class ContactsWanted(Message, frozen=True, tag="contacts.wanted"):
    """The live address book was lost: upload it again."""


class DevicesChanged(Message, frozen=True, tag="devices.changed"):
    """The devices or the identity key of an account changed (one's own, or a contact's): fetch them again."""

    account: AccountId


class Presence(Struct, frozen=True, omit_defaults=True):
    """What the asking account may see of another. What is absent is hidden, or not known: the two look alike."""

    account: AccountId
    online: bool | UnsetType = UNSET
    last_seen: Millis | UnsetType = UNSET
    """When the account was last connected, rounded down to the minute. Absent while ``online`` is true."""


class PresenceChanged(Message, frozen=True, tag="presence.changed"):
    """Watched accounts as they may be seen now, each in place of what was told of it before."""

    presences: list[Presence]


class ProfileChanged(Message, frozen=True, tag="profile.changed"):
    """A contact's name, about text or picture changed: fetch the profile again. The own account's id: profile or settings changed."""

    account: AccountId


class TicketChanged(Message, frozen=True, tag="ticket.changed"):
    """Support answered or closed one of the account's tickets, or it was read on another device: fetch the tickets again (P27)."""

    ticket: str


class LinkClaimed(Message, frozen=True, tag="link.claimed"):
    """A new device typed or scanned the code that this device shows."""

    link: LinkId


ServerMessage = (
    Ok
    | Error
    | Sync
    | CallIncoming
    | CallRings
    | CallAnswered
    | CallUp
    | CallTakenOver
    | CallIsElsewhere
    | CallElsewhereOver
    | CallEnded
    | CallSignalled
    | CallRelayEnding
    | ContactsChanged
    | ContactsWanted
    | DevicesChanged
    | LinkClaimed
    | PresenceChanged
    | ProfileChanged
    | TicketChanged
)
"""Everything that the hub may send."""
