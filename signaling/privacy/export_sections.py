"""What an export holds beside the rows of SQL: one Struct for each section."""

from msgspec import UNSET, Struct, UnsetType

from signaling.wire.ids import AccountId, CallId, DeviceId, LinkId, Millis
from signaling.wire.messages import Reason, Rung, Stage
from signaling.wire.rest import Entry, LinkState


class AddressBookSection(Struct, frozen=True):
    """The address book as it is stored: names and numbers are encrypted with a key that only the account's devices have."""

    entries: list[Entry]


class OpenLink(Struct, frozen=True, omit_defaults=True):
    """A device link under way (ten minutes at most)."""

    link: LinkId
    state: LinkState
    opened_by: DeviceId
    claimed_by: str | UnsetType = UNSET
    """The name that the new device gave itself."""


class LinksSection(Struct, frozen=True):
    """Device links under way."""

    links: list[OpenLink]


class LiveCall(Struct, frozen=True):
    """A call that goes on now."""

    call: CallId
    peer: AccountId
    outgoing: bool
    stage: Stage
    started_at: Millis


class LiveCallsSection(Struct, frozen=True):
    """Calls that go on now. What is sealed in them only the devices can open."""

    calls: list[LiveCall]


class PresenceSection(Struct, frozen=True):
    """What is recorded of the account's presence, as its settings allow (P16)."""

    online: bool
    last_seen: list[Millis]
    """The last two minutes in which it came or went, newest first."""


class HeardAt(Struct, frozen=True, omit_defaults=True):
    """How a call was heard at your device within some seconds."""

    at: Millis
    loss: float
    """Share of packets that did not come."""
    jitter: float
    """Seconds."""
    mos: float
    """Mean opinion score, 1 to 4.4."""
    rtt: float | UnsetType = UNSET
    """Seconds."""


class HeardCall(Struct, frozen=True):
    """What your devices told of one call, every ten seconds of its last hour."""

    call: CallId
    samples: list[HeardAt]


class CallsHeardSection(Struct, frozen=True):
    """How calls of the last days were heard while they went on, with your consent to it."""

    calls: list[HeardCall]


class CallTrace(Struct, frozen=True, omit_defaults=True):
    """What whoever runs the service can see, for some days, of a call that ended; your account stands there under a pseudonym."""

    call: CallId
    started_at: Millis
    ended_at: Millis
    reason: Reason
    marks: list[str]
    """``WHAT MILLISECONDS SIDE [RUNG]``: what happened, how long after the call was made, at which side (0: the caller)."""
    rung: Rung | UnsetType = UNSET
    """The way that media took."""


class CallTracesSection(Struct, frozen=True):
    """Traces of calls that ended in the last days."""

    traces: list[CallTrace]


SECTIONS: dict[str, type[Struct]] = {
    "address_book": AddressBookSection,
    "call_traces": CallTracesSection,
    "calls_heard": CallsHeardSection,
    "links": LinksSection,
    "live_calls": LiveCallsSection,
    "presence": PresenceSection,
}
"""By the section's name in ``export.json``; the hub refuses to start when a section has no reader."""
