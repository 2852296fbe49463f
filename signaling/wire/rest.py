"""The REST API under ``/v1/`` as data: bodies as Structs, endpoints as a table. The OpenAPI document is generated from it,
and the gateway refuses to start when an endpoint has no handler or a handler has no endpoint.
"""

from enum import StrEnum
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from signaling.wire.certificate import DeviceCertificate
from signaling.wire.errors import ErrorCode
from signaling.wire.ids import (
    E164,
    MAX_DEVICES,
    AccountId,
    AttachmentId,
    CallId,
    DeviceId,
    DiscoveryToken,
    Element,
    IcePwd,
    IceUfrag,
    Key32,
    LinkId,
    Mac,
    Millis,
    OrderId,
    Sealed,
    Signature,
    TicketId,
    Token,
)
from signaling.wire.messages import ContactMatch, Presence, Reason, RelayLeg, Rung

MAX_BODY: Final = 1_048_576
"""Bytes of one request body."""

MAX_EVALUATIONS: Final = 500
"""Blinded elements in one discovery request: about 40 ms of the key-holder's time."""

MAX_UPLOAD: Final = 1_000
"""Address book entries in one upload request."""

MAX_ENTRY: Final = 512
"""Characters of one encrypted address book entry (a name and a number)."""

MAX_BOOK: Final = 20_000
"""Entries of one account's address book."""


Name = Annotated[str, Meta(min_length=1, max_length=64, description="shown to the user's own devices")]


class ErrorBody(Struct, frozen=True, omit_defaults=True):
    """What every refused REST request gets, with the status of the code."""

    code: ErrorCode
    message: str
    retry_after: float | UnsetType = UNSET
    tries_left: int | UnsetType = UNSET
    devices: list[DeviceId] | UnsetType = UNSET


# --- the server --------------------------------------------------------------------------------------------------------


class Purpose(StrEnum):
    """Purposes that need a consent of their own (P21)."""

    PHONEBOOK = "phonebook"
    DEVICE_DETAILS = "device_details"
    QUALITY = "quality"


class PurposeText(Struct, frozen=True):
    """What the user is asked, word for word."""

    purpose: Purpose
    text: str
    sha256: str
    """Hex SHA-256 of ``text``: what a consent refers to."""
    language: str
    """BCP 47. Each purpose is there in several, in English first; a yes to one of them is a yes."""


class ServerInfo(Struct, frozen=True):
    """What a client needs to know before anything else."""

    name: str
    version: str
    protocol: str
    policy_version: str
    purposes: list[PurposeText]


class AcknowledgePolicy(Struct, frozen=True):
    """The user has read this version of the policy."""

    version: Annotated[str, Meta(min_length=1, max_length=32)]


class Policy(Struct, frozen=True):
    """The privacy policy in force (P04)."""

    version: str
    text: str
    """Markdown."""
    language: str | UnsetType = UNSET
    """Of the text (BCP 47); not there when the operator has not said."""


# --- pushes ---------------------------------------------------------------------------------------------------------------


class PushKind(StrEnum):
    """Ways to wake a device that has no socket."""

    WEB = "web"
    APNS = "apns"
    FCM = "fcm"


class SetPush(Struct, frozen=True):
    """Where this device is woken for a call. A push says "wake up" and nothing else."""

    kind: PushKind
    endpoint: Annotated[str, Meta(min_length=1, max_length=1024)]
    """Web push: the subscription's endpoint, https. APNs, FCM: the device token."""
    p256dh: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{87}\Z")] | UnsetType = UNSET
    """Web push: the browser's public key (RFC 8291), 65 bytes, base64url."""
    auth: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{22}\Z")] | UnsetType = UNSET
    """Web push: the browser's authentication secret (RFC 8291), 16 bytes, base64url."""


class PushState(Struct, frozen=True, omit_defaults=True):
    """How this server wakes devices, and this one."""

    kinds: list[PushKind]
    """Offered by this server."""
    vapid_key: str | UnsetType = UNSET
    """Web push: the server's public key (RFC 8292), for ``PushManager.subscribe``."""
    subscribed: PushKind | UnsetType = UNSET
    """Of this device."""


# --- registration (P01) --------------------------------------------------------------------------------------------------


class Channel(StrEnum):
    """Where a code is sent."""

    PHONE = "phone"
    EMAIL = "email"


class StartRegistration(Struct, frozen=True):
    """Phone and e-mail, both required; the policy version that the user acknowledged."""

    phone: Annotated[str, Meta(max_length=40)] = ""
    email: Annotated[str, Meta(max_length=254)] = ""
    policy_version: Annotated[str, Meta(max_length=32)] = ""


class Registration(Struct, frozen=True, omit_defaults=True):
    """State of a registration. The same whether or not the number or the address has an account already."""

    token: Token
    """Bearer token of this registration, for the steps that follow."""
    phone: E164
    email: str
    phone_verified: bool
    email_verified: bool
    expires_in: float
    """Seconds until the codes expire."""
    resend_in: dict[Channel, float]
    """Seconds until a new code may be asked for, per channel not yet verified."""
    account: AccountId | UnsetType = UNSET
    """The id that the first device's certificate must name; present once both are verified."""


class SendCode(Struct, frozen=True):
    """Ask for a new code; the one before ceases to work."""

    channel: Channel


class VerifyCode(Struct, frozen=True):
    """A code as the user typed it."""

    channel: Channel
    code: Annotated[str, Meta(pattern=r"^[0-9]{6}\Z")]


class CreateAccount(Struct, frozen=True):
    """The first device: its certificate is one link, signed by the account's identity key."""

    certificate: DeviceCertificate
    device_name: Name


class SignedIn(Struct, frozen=True):
    """A session. The token is shown once; the hub keeps a hash of it."""

    account: AccountId
    device: DeviceId
    token: Token


# --- account and devices ---------------------------------------------------------------------------------------------------


class WhoCanCall(StrEnum):
    """Whose calls reach this account."""

    EVERYONE = "everyone"
    CONTACTS = "contacts"
    NOBODY = "nobody"


class LastSeenTo(StrEnum):
    """Who sees when this account was last connected (P16). ``contacts``: the people in *its* address book."""

    EVERYONE = "everyone"
    CONTACTS = "contacts"
    CONTACTS_EXCEPT = "contacts_except"
    NOBODY = "nobody"


class OnlineTo(StrEnum):
    """Who sees whether this account is connected now (P16)."""

    EVERYONE = "everyone"
    CONTACTS = "contacts"
    CONTACTS_EXCEPT = "contacts_except"
    NOBODY = "nobody"
    SAME_AS_LAST_SEEN = "same_as_last_seen"


MAX_EXCEPTED: Final = 500
"""Accounts on one list of exceptions."""

Excepted = Annotated[list[AccountId], Meta(max_length=MAX_EXCEPTED)]


class LastSeenRule(Struct, frozen=True, omit_defaults=True):
    """Who sees last seen. ``excepted`` counts with ``contacts_except``; it is kept when another choice is made, until it is replaced."""

    to: LastSeenTo
    excepted: Excepted | UnsetType = UNSET


class OnlineRule(Struct, frozen=True, omit_defaults=True):
    """Who sees online, as ``LastSeenRule``."""

    to: OnlineTo
    excepted: Excepted | UnsetType = UNSET


class BlockedFor(StrEnum):
    """What an account is blocked for, as its user is told."""

    ABUSE = "abuse"
    """Harassment, threats, unwanted calls."""
    SPAM = "spam"
    FRAUD = "fraud"
    LEGAL = "legal"
    """The law or a court demands it."""
    SECURITY = "security"
    """Somebody else seems to have it."""
    TERMS = "terms"
    """Another breach of the terms of use."""


class Account(Struct, frozen=True, omit_defaults=True):
    """The user's own account."""

    account: AccountId
    phone: E164
    email: str
    identity_key: Key32
    created_at: Millis
    policy_version: str
    who_can_call: WhoCanCall
    last_seen: LastSeenRule
    online: OnlineRule
    always_relay: bool
    """Calls never show this account's IP address to the other side: media go through a relay only."""
    country: str
    """ISO 3166-1 alpha-2 code of the number's country (P19), derived and not stored; empty when it belongs to no country."""
    business: bool = False
    """The account is a business: who deals with it sees that (P30)."""
    restricted_at: Millis | UnsetType = UNSET
    """Set while the account is frozen: since when."""
    blocked_at: Millis | UnsetType = UNSET
    """Set while the account is blocked by who runs the service: since when."""
    blocked_for: BlockedFor | UnsetType = UNSET
    """Why."""
    name: str | UnsetType = UNSET
    about: str | UnsetType = UNSET
    about_changed_at: Millis | UnsetType = UNSET
    picture_changed_at: Millis | UnsetType = UNSET


class ChangeSettings(Struct, frozen=True, omit_defaults=True):
    """Settings to change; what is left out stays."""

    who_can_call: WhoCanCall | UnsetType = UNSET
    last_seen: LastSeenRule | UnsetType = UNSET
    online: OnlineRule | UnsetType = UNSET
    always_relay: bool | UnsetType = UNSET
    business: bool | UnsetType = UNSET


MAX_PICTURE: Final = 700_000
"""Bytes of a picture as it is sent; what is kept is smaller."""


class ChangeProfile(Struct, frozen=True, omit_defaults=True):
    """Name and about text to change; what is left out stays, an empty text is removed."""

    name: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET
    about: Annotated[str, Meta(max_length=140)] | UnsetType = UNSET


class SetPicture(Struct, frozen=True):
    """A JPEG, PNG, WebP or GIF picture. It is decoded and drawn anew, 512 pixels square: nothing else of the file is kept."""

    image: Annotated[
        str, Meta(min_length=1, max_length=MAX_PICTURE * 4 // 3 + 2, pattern=r"^[A-Za-z0-9_-]+\Z", description="base64url")
    ]


class Picture(Struct, frozen=True):
    """A profile picture."""

    image: Annotated[str, Meta(description="base64url")]
    media_type: str
    changed_at: Millis


class Profile(Struct, frozen=True, omit_defaults=True):
    """What contacts see of each other. What is absent was not given, or may not be seen."""

    account: AccountId
    business: bool = False
    """A business (P30)."""
    name: str | UnsetType = UNSET
    about: str | UnsetType = UNSET
    about_changed_at: Millis | UnsetType = UNSET
    picture_changed_at: Millis | UnsetType = UNSET


MAX_PROFILES: Final = 500
"""Profiles in one request."""


class AskProfiles(Struct, frozen=True):
    """Whose profiles."""

    accounts: Annotated[list[AccountId], Meta(min_length=1, max_length=MAX_PROFILES)]


class Profiles(Struct, frozen=True):
    """Profiles in the order they were asked for."""

    profiles: list[Profile]


class StartChange(Struct, frozen=True):
    """A new number or address. A code is sent to it, and one to the other, which stays: both are needed (P03)."""

    channel: Channel
    to: Annotated[str, Meta(max_length=254)]


class ContactChange(Struct, frozen=True):
    """A change under way."""

    channel: Channel
    to: str
    expires_in: float
    """Seconds until the codes expire."""
    resend_in: float
    """Seconds until it may be begun anew."""


Code = Annotated[str, Meta(pattern=r"^[0-9]{6}\Z")]


class VerifyChange(Struct, frozen=True):
    """Both codes: of the new number or address, and of the other one, which stays."""

    channel: Channel
    code: Code
    confirmation: Code


Detail = Annotated[str, Meta(min_length=1, max_length=64)]


class DeviceInfo(Struct, frozen=True, omit_defaults=True):
    """What a device tells about itself, for its owner's list of devices (P18). Each is the client's choice."""

    model: Detail | UnsetType = UNSET
    os: Detail | UnsetType = UNSET
    app_version: Detail | UnsetType = UNSET
    browser: Detail | UnsetType = UNSET
    operator: Detail | UnsetType = UNSET
    language: Detail | UnsetType = UNSET
    time_zone: Detail | UnsetType = UNSET
    battery: Annotated[int, Meta(ge=0, le=100, description="percent")] | UnsetType = UNSET
    signal: Annotated[int, Meta(ge=0, le=100, description="percent")] | UnsetType = UNSET


class DeviceDetails(Struct, frozen=True, omit_defaults=True):
    """What is kept of a device with the owner's consent: what it told, and roughly from where."""

    info: DeviceInfo
    network: str
    """The network that it last told it from: IPv4 /24 or IPv6 /48. The full address is not kept."""
    country: str | UnsetType = UNSET
    region: str | UnsetType = UNSET
    """Of the network, when the server has a GeoIP database (P19)."""


class Device(Struct, frozen=True, omit_defaults=True):
    """One device of the user's own account."""

    device: DeviceId
    name: str
    created_at: Millis
    current: bool
    online: bool
    certificate: DeviceCertificate
    details: DeviceDetails | UnsetType = UNSET


class Devices(Struct, frozen=True):
    """Devices of the user's own account."""

    devices: list[Device]


class SignOut(Struct, frozen=True):
    """Sign out everywhere: every device of the account is removed, with its session."""

    keep_current: bool = False


class AccountDevices(Struct, frozen=True, omit_defaults=True):
    """The devices of an account that one may call, with what proves whose they are."""

    account: AccountId
    certificates: Annotated[list[DeviceCertificate], Meta(max_length=MAX_DEVICES)]
    business: bool = False
    """The account is a business (P30)."""


# --- linking a further device ------------------------------------------------------------------------------------------------

Lookup = Annotated[str, Meta(pattern=r"^[0-9A-HJKMNP-TV-Z]{4}\Z", description="first four characters of the code shown")]


class DeviceLink(Struct, frozen=True):
    """A link was opened by an old device, which shows ``lookup`` and 12 secret characters of its own making as one code."""

    link: LinkId
    lookup: Lookup
    expires_in: float


class ClaimLink(Struct, frozen=True):
    """A new device typed or scanned the code: its keys, proven to the old device by a MAC under the code's secret part."""

    lookup: Lookup
    device: DeviceId
    device_name: Name
    signing_key: Key32
    sealing_key: Key32
    mac: Mac


class ClaimedLink(Struct, frozen=True):
    """Bearer token with which the new device asks for the outcome."""

    token: Token
    expires_in: float


class LinkState(StrEnum):
    """Where a link stands."""

    WAITING = "waiting"
    CLAIMED = "claimed"
    APPROVED = "approved"
    REFUSED = "refused"


class LinkStatus(Struct, frozen=True, omit_defaults=True):
    """For the old device: where the link stands, and what the new device claimed."""

    link: LinkId
    state: LinkState
    expires_in: float
    claim: ClaimLink | UnsetType = UNSET


class ApproveLink(Struct, frozen=True):
    """The old device vouches for the new one."""

    certificate: DeviceCertificate
    """Chain of the old device and the new link, signed by the old device's signing key."""
    mac: Mac
    """HMAC under the code's secret part over the certificate: the new device knows that no one in between made it."""
    sealed: Sealed
    """Secrets of the account that every device shares (the address book key), sealed for the new device."""


class LinkOutcome(Struct, frozen=True, omit_defaults=True):
    """For the new device: where the link stands, and once approved its session."""

    state: LinkState
    expires_in: float
    approval: ApproveLink | UnsetType = UNSET
    session: SignedIn | UnsetType = UNSET


# --- rights (P22, P23) ---------------------------------------------------------------------------------------------------------


class Proof(Struct, frozen=True):
    """That the device itself asks, not who found its token: a signature of its signing key (``signaling/privacy/proof.py``)."""

    at: Millis
    """When it was signed."""
    signature: Signature


class ChangeRestriction(Struct, frozen=True):
    """Freeze or unfreeze the account."""

    restricted: bool
    proof: Proof


class Interest(StrEnum):
    """What is done without consent, in the service's legitimate interest, and may be objected to (P23)."""

    ANNOUNCEMENTS = "announcements"
    STATISTICS = "statistics"


class Objection(Struct, frozen=True, omit_defaults=True):
    """Where an interest stands."""

    interest: Interest
    text: str
    """What is done, and what an objection does, word for word."""
    objected: bool
    at: Millis | UnsetType = UNSET


class Objections(Struct, frozen=True):
    """Every interest."""

    objections: list[Objection]


class ChangeObjection(Struct, frozen=True):
    """Object, or take the objection back."""

    objected: bool


# --- support and announcements (P27, P28) ---------------------------------------------------------------------------------------


MAX_ATTACHMENTS: Final = 5
"""Attachments of one message; the request's own limit bounds their size together."""

AttachmentType = Annotated[str, Meta(pattern=r"^(image/(png|jpeg|webp)|text/plain|application/(json|pdf|zip))\Z")]
FileName = Annotated[str, Meta(pattern=r"^[^/\\\x00-\x1f\x7f]{1,128}\Z")]


class Attachment(Struct, frozen=True):
    """A file that the user chose to attach: a copy of a message, a contact, a picture of the screen."""

    name: FileName
    media_type: AttachmentType
    content: Annotated[str, Meta(min_length=1, max_length=700_000, pattern=r"^[A-Za-z0-9_-]+\Z", description="base64url")]


Text4000 = Annotated[str, Meta(min_length=1, max_length=4000)]


class OpenTicket(Struct, frozen=True):
    """A question or a complaint."""

    subject: Annotated[str, Meta(min_length=1, max_length=120)]
    text: Text4000
    attachments: Annotated[list[Attachment], Meta(max_length=MAX_ATTACHMENTS)] = []


class AddTicketMessage(Struct, frozen=True):
    """More about a ticket; a closed one is opened again."""

    text: Text4000
    attachments: Annotated[list[Attachment], Meta(max_length=MAX_ATTACHMENTS)] = []


class TicketState(StrEnum):
    """Whose turn it is."""

    OPEN = "open"
    ANSWERED = "answered"
    CLOSED = "closed"


class AttachmentInfo(Struct, frozen=True):
    """An attachment without its content."""

    attachment: AttachmentId
    name: str
    media_type: str
    bytes: int


class TicketMessage(Struct, frozen=True):
    """What the user or the service said."""

    from_operator: bool
    text: str
    at: Millis
    attachments: list[AttachmentInfo]


class Ticket(Struct, frozen=True, omit_defaults=True):
    """A ticket; ``messages`` when it is asked for by its id."""

    ticket: TicketId
    subject: str
    state: TicketState
    opened_at: Millis
    changed_at: Millis
    messages: list[TicketMessage] | UnsetType = UNSET
    unread: bool = False
    """It was answered, and nobody has read the answer yet: asking for the ticket by its id reads it."""


class Tickets(Struct, frozen=True):
    """The user's tickets, newest first."""

    tickets: list[Ticket]


class AttachmentContent(Struct, frozen=True):
    """An attachment."""

    name: str
    media_type: str
    content: Annotated[str, Meta(description="base64url")]


class Announcement(Struct, frozen=True):
    """News about the service."""

    announcement: str
    title: str
    text: str
    at: Millis


class Announcements(Struct, frozen=True):
    """What is announced, newest first. Nothing to who objects to announcements."""

    announcements: list[Announcement]


# --- plans (P29) ------------------------------------------------------------------------------------------------------------------


class PlanKind(StrEnum):
    """What plan an account has."""

    FREE = "free"
    TRIAL = "trial"
    PURCHASED = "purchased"


class PlanProduct(Struct, frozen=True):
    """What can be bought. ``amount`` in the currency's smallest unit (ISO 4217)."""

    product: str
    days: int
    amount: int
    currency: str


class Plan(Struct, frozen=True, omit_defaults=True):
    """The account's plan. Calls are free in every plan."""

    plan: PlanKind
    trial_days: int
    """Days of the free trial that can still be begun; 0: none."""
    products: list[PlanProduct]
    until: Millis | UnsetType = UNSET


class OrderState(StrEnum):
    """Where an order stands."""

    PENDING = "pending"
    PAID = "paid"
    FAILED = "failed"


class PlaceOrder(Struct, frozen=True):
    """What is to be bought."""

    product: Annotated[str, Meta(max_length=32)]


class Order(Struct, frozen=True, omit_defaults=True):
    """An order: what the purchase needs, and no more."""

    order: OrderId
    product: str
    amount: int
    currency: str
    state: OrderState
    ordered_at: Millis
    paid_at: Millis | UnsetType = UNSET
    checkout_url: str | UnsetType = UNSET
    """Where to pay, at the payment provider; of an order that is not paid."""


class Orders(Struct, frozen=True):
    """The account's orders, newest first."""

    orders: list[Order]


# --- consents (P05, P21) --------------------------------------------------------------------------------------------------------


class Consent(Struct, frozen=True, omit_defaults=True):
    """Where a purpose stands. Never asked is not granted."""

    purpose: Purpose
    granted: bool
    at: Millis | UnsetType = UNSET
    policy_version: str | UnsetType = UNSET
    changed: bool = False
    """There was a yes, to words that have changed since. It is not granted, and nothing new is collected, until the new ones are answered;
    a no deletes what was collected."""


class Consents(Struct, frozen=True):
    """Every purpose."""

    consents: list[Consent]


class ChangeConsent(Struct, frozen=True):
    """An explicit act: yes or no to the text that was shown."""

    granted: bool
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


# --- discovery and address book (P05-P08) -------------------------------------------------------------------------------------


class Evaluate(Struct, frozen=True):
    """Blinded elements (RFC 9497, section 3.3.1) for the key-holder."""

    blinded: Annotated[list[Element], Meta(min_length=1, max_length=MAX_EVALUATIONS)]


class Evaluated(Struct, frozen=True):
    """Evaluated elements, in the same order, and what is left of the account's budget."""

    evaluated: list[Element]
    remaining: int


class Entry(Struct, frozen=True, omit_defaults=True):
    """One address book entry: its discovery token, and name and number encrypted by the client."""

    token: DiscoveryToken
    entry: Annotated[str, Meta(min_length=1, max_length=MAX_ENTRY, pattern=r"^[A-Za-z0-9_-]+\Z")]
    account: AccountId | UnsetType = UNSET
    """Set by the hub in answers: the account that this entry is (a match)."""


class ChangeContacts(Struct, frozen=True):
    """Changes since the last upload (P08). ``reset`` empties the book first."""

    add: Annotated[list[Entry], Meta(max_length=MAX_UPLOAD)] = []
    remove: Annotated[list[DiscoveryToken], Meta(max_length=MAX_UPLOAD)] = []
    reset: bool = False


class ContactsChange(Struct, frozen=True):
    """Entries in the book after the change, and which of the added ones are accounts."""

    count: int
    matches: list[ContactMatch]


class AddressBook(Struct, frozen=True):
    """The uploaded address book."""

    entries: list[Entry]


class Blocks(Struct, frozen=True):
    """Accounts that the user blocked."""

    accounts: list[AccountId]


# --- calls ----------------------------------------------------------------------------------------------------------------------


class MeasuredWay(Struct, frozen=True):
    """One direction of a call, as a device counted it over the whole call (W3C webrtc-stats)."""

    packets: Annotated[int, Meta(ge=0, le=2**40)]
    """That arrived."""
    lost: Annotated[int, Meta(ge=0, le=2**40)]
    jitter: Annotated[float, Meta(ge=0, le=60)]
    """Seconds, the mean over the call."""


class MeasuredQuality(Struct, frozen=True, omit_defaults=True):
    """How well a call worked at a device. No content, and no address."""

    received: MeasuredWay
    sent: MeasuredWay | UnsetType = UNSET
    """What arrived of this device's audio, as the other side said (RTCP); absent when it did not."""
    rtt: Annotated[float, Meta(ge=0, le=60)] | UnsetType = UNSET
    """Seconds from one device to the other and back, the mean over the call."""
    rung: Rung | UnsetType = UNSET
    """The way of the media when the call ended."""
    client: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET
    """Browser or app, and its version."""


class RelayWay(Struct, frozen=True, omit_defaults=True):
    """How the packets of one device arrive at the relay, from their clear headers."""

    packets: int
    """Packets passed on: media, RTCP and DTLS."""
    expected: int
    """Packets of media that were sent, as their sequence numbers say."""
    lost: int
    """Of those, how many did not arrive."""
    jitter: float
    """Seconds (RFC 3550, section 6.4.1)."""
    rtt: float | UnsetType = UNSET
    """Seconds from the relay to the device and back; absent until it was measured."""
    mos: float | UnsetType = UNSET
    """Mean opinion score, 1 (bad) to 4.4 (ITU-T G.107, simplified), as far as the relay sees the way; absent before there is media."""


class RelayQuality(Struct, frozen=True):
    """Both ways of a relayed call, as the asking device has them."""

    sent: RelayWay
    received: RelayWay


class HeardNow(Struct, frozen=True, omit_defaults=True):
    """How a call was heard at a device within the last seconds."""

    loss: Annotated[float, Meta(ge=0, le=1)]
    """Share of packets that did not come."""
    jitter: Annotated[float, Meta(ge=0, le=60)]
    """Seconds."""
    rtt: Annotated[float, Meta(ge=0, le=60)] | UnsetType = UNSET
    """Seconds, to the other device and back."""


class KeptQuality(Struct, frozen=True, omit_defaults=True):
    """What is kept of how well a call worked, with the consent ``quality``."""

    mos: float | UnsetType = UNSET
    """Mean opinion score of what was heard, 1 (bad) to 4.4."""
    measured: MeasuredQuality | UnsetType = UNSET
    """What the device counted."""
    relayed: RelayQuality | UnsetType = UNSET
    """What the relay saw, of a call that ended on it."""


class CallRecord(Struct, frozen=True, omit_defaults=True):
    """One line of the user's call history."""

    call: CallId
    peer: AccountId
    outgoing: bool
    reason: Reason
    started_at: Millis
    ended_at: Millis
    connected_at: Millis | UnsetType = UNSET
    business: bool = False
    """The other side is a business (P30)."""
    quality: KeptQuality | UnsetType = UNSET
    """Only with the consent ``quality``, and for 30 days."""


class CallHistory(Struct, frozen=True, omit_defaults=True):
    """A page of the call history, newest first."""

    calls: list[CallRecord]
    next: str | UnsetType = UNSET
    """Pass as ``before`` for the next page."""


class IceServer(Struct, frozen=True, omit_defaults=True):
    """As W3C WebRTC's ``RTCIceServer``."""

    urls: list[str]
    username: str | UnsetType = UNSET
    credential: str | UnsetType = UNSET


class IceServers(Struct, frozen=True):
    """The ladder for this device, and for how long its credentials hold."""

    ice_servers: list[IceServer]
    expires_in: float
    relay: bool
    """Whether a relay is there for calls that nothing else gets through (``call.relay``)."""


class EchoAccount(Struct, frozen=True):
    """The account that answers test calls: a greeting, then what it hears. Everyone may call it, without having it as a contact."""

    account: AccountId
    identity_key: Key32
    """Vouches for its devices, as that of every account; pin it."""
    online: bool
    """Whether a test call would be answered now."""


class EnrolEcho(Struct, frozen=True):
    """The process that answers test calls becomes the echo's one device."""

    certificate: DeviceCertificate
    """For ``account`` of ``GET /v1/echo``; for a random account id when there is none yet."""


class JoinRelay(Struct, frozen=True, omit_defaults=True):
    """The ICE credentials of the device's generation (RFC 8839, section 5.4). Others than before restart ICE on the device's leg.

    An answerer has none before it has set a remote description, and that needs the leg: it asks without them first, and once more with
    them when it has its answer. The leg is the same.
    """

    ufrag: IceUfrag | UnsetType = UNSET
    pwd: IcePwd | UnsetType = UNSET


# --- endpoints --------------------------------------------------------------------------------------------------------------------


class Auth(StrEnum):
    """Whose bearer token an endpoint needs."""

    NONE = "none"
    SESSION = "session"
    REGISTRATION = "registration"
    LINK = "link"
    SERVICE = "service"


class Query(Struct, frozen=True):
    """One query parameter. Never a secret, never personal data."""

    name: str
    pattern: str
    description: str


class Endpoint(Struct, frozen=True, kw_only=True):
    """One operation: the OpenAPI operation and the route are both made from it."""

    id: str
    """Operation id; the handler is registered under it."""
    method: str
    path: str
    summary: str
    auth: Auth = Auth.SESSION
    body: type[Struct] | None = None
    answer: type[Struct] | None = None
    """None: 204, no content."""
    status: int = 200
    errors: tuple[ErrorCode, ...] = ()
    """Codes beside those that any request may get."""
    query: tuple[Query, ...] = ()
    download: str | None = None
    """Media type, when the answer is a file rather than a Struct."""
    when_unacknowledged: bool = False
    """Works while the account has not acknowledged the policy in force (P04): rights, withdrawals, and what a call in progress needs."""
    when_restricted: bool = False
    """Whether an account that is frozen may do this (P23), or one that is blocked."""
    when_blocked: bool = False
    """Whether an account that is blocked may do this, beside what a frozen one may: ask support about it."""


_E = ErrorCode

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(id="server.info", method="GET", path="/v1/server", summary="What this server is", auth=Auth.NONE, answer=ServerInfo),
    Endpoint(
        id="server.policy",
        method="GET",
        path="/v1/policy",
        summary="The privacy policy in force",
        query=(Query("language", r"^[a-z]{2,3}\Z", "in this language (BCP 47), when it is there"),),
        auth=Auth.NONE,
        answer=Policy,
    ),
    Endpoint(
        id="policy.acknowledge",
        method="PUT",
        path="/v1/policy/acknowledgement",
        summary="Acknowledge the policy in force, for an account that acknowledged an older version (P04)",
        body=AcknowledgePolicy,
        answer=Account,
        errors=(_E.POLICY_NOT_ACKNOWLEDGED,),
        when_unacknowledged=True,
    ),
    Endpoint(
        id="registration.start",
        method="POST",
        path="/v1/registration",
        summary="Start a registration; sends a code to the number and one to the address",
        auth=Auth.NONE,
        body=StartRegistration,
        answer=Registration,
        status=201,
        errors=(
            _E.PHONE_MISSING,
            _E.PHONE_INVALID,
            _E.EMAIL_MISSING,
            _E.EMAIL_INVALID,
            _E.EMAIL_DISPOSABLE,
            _E.POLICY_NOT_ACKNOWLEDGED,
            _E.DELIVERY_FAILED,
        ),
    ),
    Endpoint(
        id="registration.send_code",
        method="POST",
        path="/v1/registration/codes",
        summary="Ask for a new code",
        auth=Auth.REGISTRATION,
        body=SendCode,
        answer=Registration,
        errors=(_E.DELIVERY_FAILED,),
    ),
    Endpoint(
        id="registration.verify",
        method="POST",
        path="/v1/registration/verifications",
        summary="Verify a code",
        auth=Auth.REGISTRATION,
        body=VerifyCode,
        answer=Registration,
        errors=(_E.CODE_WRONG, _E.CODE_EXPIRED, _E.CODE_SPENT, _E.PHONE_TAKEN, _E.EMAIL_TAKEN),
    ),
    Endpoint(
        id="registration.finish",
        method="POST",
        path="/v1/registration/account",
        summary="Create the account with its first device, or sign in anew to one whose number and address were both proven",
        auth=Auth.REGISTRATION,
        body=CreateAccount,
        answer=SignedIn,
        status=201,
        errors=(_E.NOT_VERIFIED, _E.CERTIFICATE_INVALID, _E.DEVICE_EXISTS, _E.PHONE_TAKEN, _E.EMAIL_TAKEN),
    ),
    Endpoint(
        id="account.get",
        method="GET",
        path="/v1/account",
        summary="The user's own account",
        answer=Account,
        when_restricted=True,
        when_unacknowledged=True,
    ),
    Endpoint(
        id="account.export",
        method="POST",
        path="/v1/account/export",
        summary="Everything that is stored about the user, as one ZIP archive: JSON, its schema, and media (P22)",
        body=Proof,
        download="application/zip",
        errors=(_E.PROOF_INVALID,),
        when_restricted=True,
        when_unacknowledged=True,
    ),
    Endpoint(
        id="account.delete",
        method="POST",
        path="/v1/account/deletion",
        summary="Delete the account and everything that belongs to it, at once (P23)",
        body=Proof,
        errors=(_E.PROOF_INVALID,),
        when_restricted=True,
        when_unacknowledged=True,
    ),
    Endpoint(
        id="account.restrict",
        method="PUT",
        path="/v1/account/restriction",
        summary="Freeze the account: nothing is processed and nothing is lost; or unfreeze it (P23)",
        body=ChangeRestriction,
        answer=Account,
        errors=(_E.PROOF_INVALID,),
        when_restricted=True,
        when_unacknowledged=True,
    ),
    Endpoint(
        id="objections.list",
        method="GET",
        path="/v1/objections",
        summary="What is done without consent, and whether the user objects",
        answer=Objections,
        when_restricted=True,
        when_unacknowledged=True,
    ),
    Endpoint(
        id="objections.change",
        method="PUT",
        path="/v1/objections/{interest}",
        summary="Object, or take the objection back; it holds at once",
        body=ChangeObjection,
        answer=Objection,
        errors=(_E.NOT_FOUND,),
        when_restricted=True,
        when_unacknowledged=True,
    ),
    Endpoint(
        id="settings.change",
        method="PATCH",
        path="/v1/settings",
        summary="Change settings",
        body=ChangeSettings,
        answer=Account,
    ),
    Endpoint(
        id="profile.change",
        method="PATCH",
        path="/v1/profile",
        summary="Change name and about text (P03, P15)",
        body=ChangeProfile,
        answer=Account,
    ),
    Endpoint(
        id="profile.set_picture",
        method="PUT",
        path="/v1/profile/picture",
        summary="Set the picture; its metadata is not kept",
        body=SetPicture,
        answer=Account,
        errors=(_E.PICTURE_INVALID,),
    ),
    Endpoint(id="profile.remove_picture", method="DELETE", path="/v1/profile/picture", summary="Remove the picture"),
    Endpoint(
        id="profile.list",
        method="POST",
        path="/v1/profiles",
        summary="Profiles of contacts; those that may not be seen are empty",
        body=AskProfiles,
        answer=Profiles,
    ),
    Endpoint(
        id="profile.picture",
        method="GET",
        path="/v1/accounts/{account}/picture",
        summary="The picture of a contact, or one's own",
        answer=Picture,
        errors=(_E.NOT_FOUND,),
    ),
    Endpoint(
        id="account.start_change",
        method="POST",
        path="/v1/account/changes",
        summary="Begin to change the number or the address; sends a code to the new one and one to the other that stays (P03)",
        body=StartChange,
        answer=ContactChange,
        status=201,
        errors=(
            _E.PHONE_MISSING,
            _E.PHONE_INVALID,
            _E.EMAIL_MISSING,
            _E.EMAIL_INVALID,
            _E.EMAIL_DISPOSABLE,
            _E.DELIVERY_FAILED,
        ),
    ),
    Endpoint(
        id="account.finish_change",
        method="POST",
        path="/v1/account/changes/verification",
        summary="Change the number or the address, with both codes",
        body=VerifyChange,
        answer=Account,
        errors=(_E.NO_CHANGE_PENDING, _E.CODE_WRONG, _E.CODE_EXPIRED, _E.CODE_SPENT, _E.PHONE_TAKEN, _E.EMAIL_TAKEN),
    ),
    Endpoint(
        id="devices.describe",
        method="PUT",
        path="/v1/device",
        summary="Tell about the own device, with the consent `device_details` (P18)",
        body=DeviceInfo,
        errors=(_E.CONSENT_REQUIRED,),
    ),
    Endpoint(
        id="devices.list",
        method="GET",
        path="/v1/devices",
        summary="The user's own devices",
        answer=Devices,
        when_restricted=True,
        when_unacknowledged=True,
    ),
    Endpoint(
        id="devices.revoke",
        method="DELETE",
        path="/v1/devices/{device}",
        summary="Remove a device; its session ends at once",
        errors=(_E.NOT_FOUND,),
        when_restricted=True,
        when_unacknowledged=True,
    ),
    Endpoint(
        id="devices.sign_out",
        method="POST",
        path="/v1/devices/sign-out",
        summary="Sign out everywhere",
        body=SignOut,
        when_restricted=True,
        when_unacknowledged=True,
    ),
    Endpoint(
        id="devices.of_account",
        method="GET",
        path="/v1/accounts/{account}/devices",
        summary="Devices of an account that one may call, or is in a call with",
        answer=AccountDevices,
        errors=(_E.NOT_FOUND,),
        when_unacknowledged=True,
    ),
    Endpoint(
        id="presence.get",
        method="GET",
        path="/v1/accounts/{account}/presence",
        summary="What one may see of another account's presence; one that may not be seen and one that does not exist look alike",
        answer=Presence,
    ),
    Endpoint(
        id="links.open",
        method="POST",
        path="/v1/links",
        summary="Open a link for a further device",
        answer=DeviceLink,
        status=201,
        errors=(_E.TOO_MANY_DEVICES,),
    ),
    Endpoint(
        id="links.claim",
        method="POST",
        path="/v1/links/claim",
        summary="Claim a link, from the new device",
        auth=Auth.NONE,
        body=ClaimLink,
        answer=ClaimedLink,
        errors=(_E.NOT_FOUND, _E.LINK_STATE, _E.DEVICE_EXISTS),
    ),
    Endpoint(
        id="links.outcome",
        method="GET",
        path="/v1/links/outcome",
        summary="What became of the claim; waits up to 25 s for a change",
        auth=Auth.LINK,
        answer=LinkOutcome,
    ),
    Endpoint(
        id="links.status",
        method="GET",
        path="/v1/links/{link}",
        summary="Where a link stands, for the device that opened it",
        answer=LinkStatus,
        errors=(_E.NOT_FOUND,),
    ),
    Endpoint(
        id="links.approve",
        method="POST",
        path="/v1/links/{link}/approval",
        summary="Vouch for the new device",
        body=ApproveLink,
        answer=LinkStatus,
        errors=(_E.NOT_FOUND, _E.LINK_STATE, _E.CERTIFICATE_INVALID, _E.TOO_MANY_DEVICES, _E.DEVICE_EXISTS),
    ),
    Endpoint(
        id="links.refuse",
        method="DELETE",
        path="/v1/links/{link}",
        summary="Refuse the new device, or close the link",
        errors=(_E.NOT_FOUND,),
    ),
    Endpoint(
        id="consents.list",
        method="GET",
        path="/v1/consents",
        summary="The user's consents",
        answer=Consents,
        when_restricted=True,
        when_unacknowledged=True,
    ),
    Endpoint(
        id="tickets.open",
        method="POST",
        path="/v1/tickets",
        summary="Open a support ticket, with what the user chooses to attach",
        body=OpenTicket,
        answer=Ticket,
        status=201,
        errors=(_E.TOO_MANY_TICKETS,),
        when_restricted=True,
        when_unacknowledged=True,
        when_blocked=True,
    ),
    Endpoint(
        id="tickets.list",
        method="GET",
        path="/v1/tickets",
        summary="The user's tickets",
        answer=Tickets,
        when_restricted=True,
        when_unacknowledged=True,
        when_blocked=True,
    ),
    Endpoint(
        id="tickets.get",
        method="GET",
        path="/v1/tickets/{ticket}",
        summary="A ticket with what was said in it",
        answer=Ticket,
        errors=(_E.NOT_FOUND,),
        when_restricted=True,
        when_unacknowledged=True,
        when_blocked=True,
    ),
    Endpoint(
        id="tickets.add_message",
        method="POST",
        path="/v1/tickets/{ticket}/messages",
        summary="Say more; a closed ticket is opened again",
        body=AddTicketMessage,
        answer=Ticket,
        errors=(_E.NOT_FOUND, _E.TOO_MANY_TICKETS),
        when_restricted=True,
        when_unacknowledged=True,
        when_blocked=True,
    ),
    Endpoint(
        id="tickets.attachment",
        method="GET",
        path="/v1/tickets/{ticket}/attachments/{attachment}",
        summary="An attachment of the user's own ticket",
        answer=AttachmentContent,
        errors=(_E.NOT_FOUND,),
        when_restricted=True,
        when_unacknowledged=True,
        when_blocked=True,
    ),
    Endpoint(
        id="tickets.delete",
        method="DELETE",
        path="/v1/tickets/{ticket}",
        summary="Delete a ticket with everything in it",
        errors=(_E.NOT_FOUND,),
        when_restricted=True,
        when_unacknowledged=True,
        when_blocked=True,
    ),
    Endpoint(
        id="announcements.list",
        method="GET",
        path="/v1/announcements",
        summary="News about the service; nothing to who objects",
        answer=Announcements,
    ),
    Endpoint(id="plan.get", method="GET", path="/v1/plan", summary="The account's plan", answer=Plan),
    Endpoint(
        id="plan.start_trial",
        method="POST",
        path="/v1/plan/trial",
        summary="Begin the free trial; it ends by itself",
        answer=Plan,
        errors=(_E.TRIAL_USED,),
    ),
    Endpoint(id="orders.list", method="GET", path="/v1/orders", summary="The account's orders", answer=Orders),
    Endpoint(
        id="orders.place",
        method="POST",
        path="/v1/orders",
        summary="Order a product; the answer says where to pay",
        body=PlaceOrder,
        answer=Order,
        status=201,
        errors=(_E.NOT_FOUND, _E.TOO_MANY_ORDERS),
    ),
    Endpoint(
        id="consents.change",
        method="PUT",
        path="/v1/consents/{purpose}",
        summary="Give or withdraw a consent; withdrawing deletes what was collected under it",
        body=ChangeConsent,
        answer=Consent,
        errors=(_E.NOT_FOUND,),
        when_restricted=True,
        when_unacknowledged=True,
    ),
    Endpoint(
        id="discovery.evaluate",
        method="POST",
        path="/v1/discovery/evaluations",
        summary="Have blinded phone numbers evaluated by the key-holder",
        body=Evaluate,
        answer=Evaluated,
        errors=(_E.CONSENT_REQUIRED, _E.BUDGET_SPENT),
    ),
    Endpoint(
        id="contacts.change",
        method="POST",
        path="/v1/contacts",
        summary="Upload changes of the address book",
        body=ChangeContacts,
        answer=ContactsChange,
        errors=(_E.CONSENT_REQUIRED, _E.ADDRESS_BOOK_FULL),
    ),
    Endpoint(id="contacts.get", method="GET", path="/v1/contacts", summary="The uploaded address book", answer=AddressBook),
    Endpoint(
        id="contacts.delete",
        method="DELETE",
        path="/v1/contacts",
        summary="Delete the address book, at once and for good (P07)",
        when_unacknowledged=True,
    ),
    Endpoint(id="blocks.list", method="GET", path="/v1/blocks", summary="Accounts that the user blocked", answer=Blocks),
    Endpoint(
        id="blocks.add",
        method="PUT",
        path="/v1/blocks/{account}",
        summary="Block an account",
        errors=(_E.NOT_FOUND,),
    ),
    Endpoint(id="blocks.remove", method="DELETE", path="/v1/blocks/{account}", summary="Unblock an account"),
    Endpoint(
        id="calls.history",
        method="GET",
        path="/v1/calls",
        summary="The user's call history, newest first",
        answer=CallHistory,
        query=(
            Query("before", r"^[0-9]{1,16}\.[A-Za-z0-9_-]{22}\Z", "`next` of the page before"),
            Query("limit", r"^([1-9][0-9]?|100)\Z", "calls a page, 1 to 100; default 50"),
        ),
    ),
    Endpoint(
        id="calls.forget",
        method="DELETE",
        path="/v1/calls/{call}",
        summary="Delete one call from the user's history",
        errors=(_E.NOT_FOUND,),
    ),
    Endpoint(
        id="calls.quality",
        method="PUT",
        path="/v1/calls/{call}/quality",
        summary="Tell how well a call of this device worked, with the consent `quality` (P17)",
        body=MeasuredQuality,
        errors=(_E.CONSENT_REQUIRED, _E.UNKNOWN_CALL),
    ),
    Endpoint(
        id="calls.heard",
        method="POST",
        path="/v1/calls/{call}/quality",
        summary="Tell how a call is heard at this device now, every ten seconds, with the consent `quality` (P17)",
        body=HeardNow,
        errors=(_E.CONSENT_REQUIRED, _E.UNKNOWN_CALL),
    ),
    Endpoint(
        id="calls.forget_all", method="DELETE", path="/v1/calls", summary="Delete the user's call history", when_unacknowledged=True
    ),
    Endpoint(id="push.get", method="GET", path="/v1/push", summary="How this device can be woken, and is", answer=PushState),
    Endpoint(
        id="push.set",
        method="PUT",
        path="/v1/push",
        summary="Have this device woken for calls while it has no socket",
        body=SetPush,
        answer=PushState,
    ),
    Endpoint(
        id="push.remove",
        method="DELETE",
        path="/v1/push",
        summary="Do not wake this device any more",
        when_unacknowledged=True,
        when_restricted=True,
    ),
    Endpoint(
        id="calls.relay",
        method="POST",
        path="/v1/calls/{call}/relay",
        summary="The device's leg of the call's relay; with new ICE credentials, an ICE restart of that leg",
        body=JoinRelay,
        answer=RelayLeg,
        errors=(_E.UNKNOWN_CALL, _E.NO_RELAY, _E.NO_RELAY_FREE),
        when_unacknowledged=True,
    ),
    Endpoint(
        id="calls.relay_quality",
        method="GET",
        path="/v1/calls/{call}/relay",
        summary="How well the call arrives at its relay, each way",
        answer=RelayQuality,
        errors=(_E.UNKNOWN_CALL, _E.NO_RELAY),
        when_unacknowledged=True,
    ),
    Endpoint(
        id="echo.get",
        method="GET",
        path="/v1/echo",
        summary="The account that answers test calls",
        auth=Auth.NONE,
        answer=EchoAccount,
        errors=(_E.NOT_FOUND,),
    ),
    Endpoint(
        id="echo.enrol",
        method="PUT",
        path="/v1/echo",
        summary="Become the one device that answers test calls; any other is removed",
        auth=Auth.SERVICE,
        body=EnrolEcho,
        answer=SignedIn,
        errors=(_E.CERTIFICATE_INVALID, _E.DEVICE_EXISTS),
    ),
    Endpoint(
        id="ice.servers",
        method="GET",
        path="/v1/ice-servers",
        summary="STUN and TURN servers with time-limited credentials",
        answer=IceServers,
        query=(
            Query("region", r"^[a-z0-9-]{1,16}\Z", "servers of this region first, when there are several (default: the hub's)"),
        ),
        when_unacknowledged=True,
    ),
)
"""Every REST operation."""
