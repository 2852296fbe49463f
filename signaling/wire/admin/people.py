"""What operators do for and about users: accounts under pseudonyms, tickets, announcements, written requests, counts."""

from enum import StrEnum
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from signaling.wire.admin.frame import AdminEndpoint, Permission, Pseudonym, Reason
from signaling.wire.errors import ErrorCode
from signaling.wire.ids import E164, AccountId, Millis
from signaling.wire.rest import Announcement, AttachmentContent, BlockedFor, Channel, Query, TicketMessage, TicketState

Phone = Annotated[str, Meta(max_length=40, description="a number, with its country code")]
Email = Annotated[str, Meta(max_length=254, description="an address")]


class LookUp(Struct, frozen=True):
    """Of whom; one of the two."""

    phone: Phone | UnsetType = UNSET
    email: Email | UnsetType = UNSET


class AccountInfo(Struct, frozen=True, omit_defaults=True):
    """What operators see of an account: not who it is."""

    account: Pseudonym
    created_at: Millis
    country: str
    """ISO 3166-1 alpha-2 code of the number's country (P19); empty when it belongs to none."""
    devices: int
    business: bool = False
    restricted_at: Millis | UnsetType = UNSET
    """Frozen by its owner, since."""
    blocked_at: Millis | UnsetType = UNSET
    blocked_for: BlockedFor | UnsetType = UNSET


class Reveal(Struct, frozen=True):
    """Why the operator must know who it is."""

    reason: Reason


class RevealedAccount(Struct, frozen=True, omit_defaults=True):
    """Who an account is."""

    account: AccountId
    phone: E164
    email: str
    name: str | UnsetType = UNSET


class BlockAccount(Struct, frozen=True):
    """``blocked_for`` is told to the user; ``reason`` is for the audit trail."""

    blocked_for: BlockedFor
    reason: Reason


class UnblockAccount(Struct, frozen=True):
    """Why it is over."""

    reason: Reason


class BlockedAccounts(Struct, frozen=True, omit_defaults=True):
    """Accounts that are blocked, the last one first."""

    accounts: list[AccountInfo]
    next: str | UnsetType = UNSET
    """``before`` of the next page; absent on the last."""


class TicketLine(Struct, frozen=True):
    """A ticket in the queue."""

    ticket: str
    account: Pseudonym
    state: TicketState
    subject: str
    changed_at: Millis


class TicketQueue(Struct, frozen=True):
    """Tickets that are not closed, the one that waits longest first."""

    tickets: list[TicketLine]


class OperatorTicket(Struct, frozen=True):
    """A ticket with what was said in it."""

    ticket: str
    account: Pseudonym
    state: TicketState
    subject: str
    opened_at: Millis
    changed_at: Millis
    messages: list[TicketMessage]


class AnswerTicket(Struct, frozen=True):
    """What the user reads, as the service's."""

    text: Annotated[str, Meta(min_length=1, max_length=4000)]


class Announce(Struct, frozen=True):
    """What is new."""

    title: Annotated[str, Meta(min_length=1, max_length=120)]
    text: Annotated[str, Meta(min_length=1, max_length=4000)]


class CurrentAnnouncements(Struct, frozen=True):
    """What is announced now, newest first."""

    announcements: list[Announcement]


class RequestKind(StrEnum):
    """What is asked for (GDPR, articles 15 to 18)."""

    ACCESS = "access"
    ERASURE = "erasure"
    RESTRICTION = "restriction"
    RELEASE = "release"
    """The end of a restriction."""


class RequestDocument(StrEnum):
    """How a person was identified when not by a code. What was seen is not stored."""

    IDENTITY_DOCUMENT = "identity_document"
    IN_PERSON = "in_person"
    COURT_ORDER = "court_order"


class OpenRequest(Struct, frozen=True):
    """A written request, of the person with this number or address; one of the two."""

    kind: RequestKind
    phone: Phone | UnsetType = UNSET
    email: Email | UnsetType = UNSET


class WrittenRequest(Struct, frozen=True, omit_defaults=True):
    """A request as operators see it: never the person's data."""

    id: str
    kind: RequestKind
    state: str
    opened_by: str
    opened_at: Millis
    verified_by: str | UnsetType = UNSET
    evidence: str | UnsetType = UNSET
    confirmed_by: str | UnsetType = UNSET
    closed_at: Millis | UnsetType = UNSET


class WrittenRequests(Struct, frozen=True):
    """Requests, newest first."""

    requests: list[WrittenRequest]


class SendRequestCode(Struct, frozen=True):
    """Where the code goes: to what the account has, not to what the letter says."""

    channel: Channel


class VerifyRequest(Struct, frozen=True):
    """The code that the person told, or what was seen instead; one of the two."""

    code: Annotated[str, Meta(pattern=r"^[0-9]{6}\Z")] | UnsetType = UNSET
    document: RequestDocument | UnsetType = UNSET


class PartnerCounts(Struct, frozen=True):
    """What may be given to partners (P25)."""

    accounts_by_country: dict[str, int]


_E = ErrorCode
_ONE = (_E.NOT_FOUND, _E.NOT_POSSIBLE)

PEOPLE_ENDPOINTS: Final[tuple[AdminEndpoint, ...]] = (
    AdminEndpoint(
        id="accounts.look_up",
        method="POST",
        path="/v1/admin/accounts/lookup",
        summary="The account with a number or an address, as a pseudonym; on the audit trail",
        access=Permission.ACCOUNTS_LOOK_UP,
        body=LookUp,
        answer=AccountInfo,
        errors=(_E.NOT_FOUND,),
    ),
    AdminEndpoint(
        id="accounts.blocked",
        method="GET",
        path="/v1/admin/accounts/blocked",
        summary="Accounts that are blocked",
        access=Permission.ACCOUNTS_READ,
        answer=BlockedAccounts,
        query=(Query("before", r"^[0-9]{1,16}\.[0-9A-Za-z]{22}\Z", "`next` of the page before"),),
    ),
    AdminEndpoint(
        id="accounts.get",
        method="GET",
        path="/v1/admin/accounts/{pseudonym}",
        summary="An account, without who it is",
        access=Permission.ACCOUNTS_READ,
        answer=AccountInfo,
        errors=(_E.NOT_FOUND,),
    ),
    AdminEndpoint(
        id="accounts.reveal",
        method="POST",
        path="/v1/admin/accounts/{pseudonym}/reveal",
        summary="Who an account is; with the reason on the audit trail",
        access=Permission.ACCOUNTS_REVEAL,
        body=Reveal,
        answer=RevealedAccount,
        errors=(_E.NOT_FOUND,),
    ),
    AdminEndpoint(
        id="accounts.block",
        method="POST",
        path="/v1/admin/accounts/{pseudonym}/block",
        summary="Block an account: its calls end, it is told why, and has its rights only (export, deletion)",
        access=Permission.ACCOUNTS_BLOCK,
        body=BlockAccount,
        answer=AccountInfo,
        errors=(_E.NOT_FOUND,),
    ),
    AdminEndpoint(
        id="accounts.unblock",
        method="POST",
        path="/v1/admin/accounts/{pseudonym}/unblock",
        summary="Unblock an account",
        access=Permission.ACCOUNTS_BLOCK,
        body=UnblockAccount,
        answer=AccountInfo,
        errors=(_E.NOT_FOUND,),
    ),
    AdminEndpoint(
        id="desk.queue",
        method="GET",
        path="/v1/admin/tickets",
        summary="Tickets that wait",
        access=Permission.TICKETS,
        answer=TicketQueue,
    ),
    AdminEndpoint(
        id="desk.ticket",
        method="GET",
        path="/v1/admin/tickets/{ticket}",
        summary="A ticket; that it was read is on the audit trail",
        access=Permission.TICKETS,
        answer=OperatorTicket,
        errors=_ONE,
    ),
    AdminEndpoint(
        id="desk.attachment",
        method="GET",
        path="/v1/admin/tickets/{ticket}/attachments/{attachment}",
        summary="An attachment of a ticket",
        access=Permission.TICKETS,
        answer=AttachmentContent,
        errors=_ONE,
    ),
    AdminEndpoint(
        id="desk.answer",
        method="POST",
        path="/v1/admin/tickets/{ticket}/answers",
        summary="Answer a ticket",
        access=Permission.TICKETS,
        body=AnswerTicket,
        errors=_ONE,
    ),
    AdminEndpoint(
        id="desk.close",
        method="POST",
        path="/v1/admin/tickets/{ticket}/close",
        summary="Close a ticket",
        access=Permission.TICKETS,
        errors=_ONE,
    ),
    AdminEndpoint(
        id="news.list",
        method="GET",
        path="/v1/admin/announcements",
        summary="What is announced now",
        access=Permission.ANNOUNCEMENTS,
        answer=CurrentAnnouncements,
    ),
    AdminEndpoint(
        id="news.add",
        method="POST",
        path="/v1/admin/announcements",
        summary="Announce something new to users, for 90 days",
        access=Permission.ANNOUNCEMENTS,
        body=Announce,
        answer=Announcement,
        status=201,
    ),
    AdminEndpoint(
        id="news.withdraw",
        method="DELETE",
        path="/v1/admin/announcements/{announcement}",
        summary="Announce it no more",
        access=Permission.ANNOUNCEMENTS,
        errors=(_E.NOT_FOUND,),
    ),
    AdminEndpoint(
        id="requests.list",
        method="GET",
        path="/v1/admin/requests",
        summary="Written requests (P24)",
        access=Permission.REQUESTS,
        answer=WrittenRequests,
    ),
    AdminEndpoint(
        id="requests.open",
        method="POST",
        path="/v1/admin/requests",
        summary="Open a written request",
        access=Permission.REQUESTS,
        body=OpenRequest,
        answer=WrittenRequest,
        status=201,
        errors=_ONE,
    ),
    AdminEndpoint(
        id="requests.get",
        method="GET",
        path="/v1/admin/requests/{request}",
        summary="A written request",
        access=Permission.REQUESTS,
        answer=WrittenRequest,
        errors=_ONE,
    ),
    AdminEndpoint(
        id="requests.send_code",
        method="POST",
        path="/v1/admin/requests/{request}/code",
        summary="Send a code to the account; it works for ten minutes",
        access=Permission.REQUESTS,
        body=SendRequestCode,
        errors=_ONE,
    ),
    AdminEndpoint(
        id="requests.verify",
        method="POST",
        path="/v1/admin/requests/{request}/verification",
        summary="Say how the person was identified",
        access=Permission.REQUESTS,
        body=VerifyRequest,
        answer=WrittenRequest,
        errors=_ONE,
    ),
    AdminEndpoint(
        id="requests.confirm",
        method="POST",
        path="/v1/admin/requests/{request}/confirmation",
        summary="Agree, as another operator than who opened or verified it",
        access=Permission.REQUESTS,
        answer=WrittenRequest,
        errors=_ONE,
    ),
    AdminEndpoint(
        id="requests.fulfil",
        method="POST",
        path="/v1/admin/requests/{request}/fulfilment",
        summary="Do what was asked: erase, freeze or release",
        access=Permission.REQUESTS,
        answer=WrittenRequest,
        errors=_ONE,
    ),
    AdminEndpoint(
        id="requests.archive",
        method="POST",
        path="/v1/admin/requests/{request}/archive",
        summary="Do what was asked: the archive of an access request, once",
        access=Permission.REQUESTS,
        download="application/zip",
        errors=_ONE,
    ),
    AdminEndpoint(
        id="requests.reject",
        method="POST",
        path="/v1/admin/requests/{request}/rejection",
        summary="End a request without doing it",
        access=Permission.REQUESTS,
        answer=WrittenRequest,
        errors=_ONE,
    ),
    AdminEndpoint(
        id="aggregates.read",
        method="GET",
        path="/v1/admin/aggregates",
        summary="Counts that may be given to partners (P25); on the audit trail",
        access=Permission.AGGREGATES,
        answer=PartnerCounts,
    ),
)
"""Operations for and about users."""
