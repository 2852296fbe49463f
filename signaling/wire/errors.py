"""Every way the service says no: one code per failure that a caller can act on, with its HTTP status and its meaning.

The table below is the only list; the REST layer, the WebSocket layer, the OpenAPI document and ``docs/protocol.md`` use it.
"""

from enum import StrEnum
from typing import Final, NamedTuple


class ErrorCode(StrEnum):
    """What went wrong, as sent in ``error.code``."""

    # any request
    MALFORMED = "malformed"
    UNKNOWN_TYPE = "unknown_type"
    INVALID = "invalid"
    TOO_LARGE = "too_large"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN_ORIGIN = "forbidden_origin"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"
    FORBIDDEN = "forbidden"
    NOT_POSSIBLE = "not_possible"
    POLICY_NOT_ACKNOWLEDGED = "policy_not_acknowledged"
    # registration (P01)
    PHONE_MISSING = "phone_missing"
    PHONE_INVALID = "phone_invalid"
    EMAIL_MISSING = "email_missing"
    EMAIL_INVALID = "email_invalid"
    EMAIL_DISPOSABLE = "email_disposable"
    PHONE_TAKEN = "phone_taken"
    EMAIL_TAKEN = "email_taken"
    CODE_WRONG = "code_wrong"
    CODE_EXPIRED = "code_expired"
    CODE_SPENT = "code_spent"
    NOT_VERIFIED = "not_verified"
    DELIVERY_FAILED = "delivery_failed"
    NO_CHANGE_PENDING = "no_change_pending"
    # profile (P03)
    PICTURE_INVALID = "picture_invalid"
    # devices
    CERTIFICATE_INVALID = "certificate_invalid"
    DEVICE_EXISTS = "device_exists"
    TOO_MANY_DEVICES = "too_many_devices"
    LINK_STATE = "link_state"
    # rights (P22, P23)
    PROOF_INVALID = "proof_invalid"
    RESTRICTED = "restricted"
    BLOCKED = "blocked"
    # support and plans (P27, P29)
    TOO_MANY_TICKETS = "too_many_tickets"
    TRIAL_USED = "trial_used"
    TOO_MANY_ORDERS = "too_many_orders"
    # contacts (P05, P08)
    CONSENT_REQUIRED = "consent_required"
    BUDGET_SPENT = "budget_spent"
    ADDRESS_BOOK_FULL = "address_book_full"
    # calls
    CALL_TO_SELF = "call_to_self"
    NOT_A_CONTACT = "not_a_contact"
    CALLEE_UNAVAILABLE = "callee_unavailable"
    UNKNOWN_DEVICE = "unknown_device"
    STALE_DEVICES = "stale_devices"
    CALL_EXISTS = "call_exists"
    UNKNOWN_CALL = "unknown_call"
    WRONG_STAGE = "wrong_stage"
    ANSWERED_ELSEWHERE = "answered_elsewhere"
    TOO_MANY_CALLS = "too_many_calls"
    NO_RELAY = "no_relay"
    NO_RELAY_FREE = "no_relay_free"
    # operators
    SIGN_IN_FAILED = "sign_in_failed"
    CSRF_TOKEN_WRONG = "csrf_token_wrong"  # noqa: S105 - no token
    ENROLMENT_INVALID = "enrolment_invalid"
    PASSWORD_WEAK = "password_weak"  # noqa: S105 - no password
    PASSKEY_INVALID = "passkey_invalid"


class ErrorInfo(NamedTuple):
    """HTTP status and plain meaning of one code."""

    status: int
    meaning: str


ERRORS: Final[dict[ErrorCode, ErrorInfo]] = {
    ErrorCode.MALFORMED: ErrorInfo(400, "The bytes are not UTF-8 JSON of the expected shape."),
    ErrorCode.UNKNOWN_TYPE: ErrorInfo(400, "The message type does not exist in this protocol version."),
    ErrorCode.INVALID: ErrorInfo(422, "A field is missing, of the wrong type, or out of its bounds; the message names the field."),
    ErrorCode.TOO_LARGE: ErrorInfo(413, "The body or frame is over the limit."),
    ErrorCode.NOT_FOUND: ErrorInfo(404, "There is no such thing, or it is not yours to see."),
    ErrorCode.METHOD_NOT_ALLOWED: ErrorInfo(405, "The path exists, with other methods."),
    ErrorCode.UNAUTHENTICATED: ErrorInfo(401, "The bearer token is missing, unknown, expired or revoked."),
    ErrorCode.FORBIDDEN_ORIGIN: ErrorInfo(403, "The page's origin is not on the server's list."),
    ErrorCode.RATE_LIMITED: ErrorInfo(429, "Too many requests; `retry_after` says when to try again (seconds)."),
    ErrorCode.UNAVAILABLE: ErrorInfo(503, "A store that this needs does not answer; nothing was changed. Try again."),
    ErrorCode.INTERNAL: ErrorInfo(500, "A defect of the server; it was logged. Nothing about it is your fault."),
    ErrorCode.FORBIDDEN: ErrorInfo(403, "Your role, or your token's scopes, do not allow this."),
    ErrorCode.NOT_POSSIBLE: ErrorInfo(409, "This cannot be done as things stand; the message says why."),
    ErrorCode.POLICY_NOT_ACKNOWLEDGED: ErrorInfo(409, "The current privacy policy must be acknowledged first (P04)."),
    ErrorCode.PHONE_MISSING: ErrorInfo(422, "A phone number is required (P01)."),
    ErrorCode.PHONE_INVALID: ErrorInfo(422, "Not a phone number that can exist, with its country code."),
    ErrorCode.EMAIL_MISSING: ErrorInfo(422, "An e-mail address is required (P01)."),
    ErrorCode.EMAIL_INVALID: ErrorInfo(422, "Not a well-formed e-mail address."),
    ErrorCode.EMAIL_DISPOSABLE: ErrorInfo(422, "Addresses of throw-away mail services are not accepted."),
    ErrorCode.PHONE_TAKEN: ErrorInfo(
        409, "This number has an account with another e-mail address. Said only to who proved to hold the number."
    ),
    ErrorCode.EMAIL_TAKEN: ErrorInfo(
        409, "This address belongs to an account with another number. Said only to who proved to hold the address."
    ),
    ErrorCode.CODE_WRONG: ErrorInfo(422, "The code does not match; `tries_left` says how many tries remain."),
    ErrorCode.CODE_EXPIRED: ErrorInfo(410, "The code is older than ten minutes; ask for a new one."),
    ErrorCode.CODE_SPENT: ErrorInfo(410, "Five wrong tries; ask for a new code."),
    ErrorCode.NOT_VERIFIED: ErrorInfo(409, "Phone and e-mail must both be verified first."),
    ErrorCode.DELIVERY_FAILED: ErrorInfo(502, "The code could not be handed to the mail or SMS service; try again."),
    ErrorCode.NO_CHANGE_PENDING: ErrorInfo(404, "No change of the number or the address was begun, or it expired."),
    ErrorCode.PICTURE_INVALID: ErrorInfo(422, "Not a JPEG, PNG, WebP or GIF picture that can be read, or one of too many pixels."),
    ErrorCode.CERTIFICATE_INVALID: ErrorInfo(422, "The device certificate does not verify, or is for another account or device."),
    ErrorCode.DEVICE_EXISTS: ErrorInfo(409, "This device id is in use; make a new one."),
    ErrorCode.TOO_MANY_DEVICES: ErrorInfo(409, "The account has as many devices as it may have; remove one first."),
    ErrorCode.LINK_STATE: ErrorInfo(409, "The link is not in the state that this step needs (used, refused or not claimed yet)."),
    ErrorCode.PROOF_INVALID: ErrorInfo(
        403, "Not signed by this device's key for this act, or its time is over an hour off the server's."
    ),
    ErrorCode.RESTRICTED: ErrorInfo(
        403, "The account is frozen by its owner (P23): only rights can be exercised until it is unfrozen."
    ),
    ErrorCode.BLOCKED: ErrorInfo(
        403, "The account is blocked by who runs the service: only rights can be exercised. `GET /v1/account` says what for."
    ),
    ErrorCode.TOO_MANY_TICKETS: ErrorInfo(409, "The account has as many open tickets as it may have: close or delete one first."),
    ErrorCode.TRIAL_USED: ErrorInfo(409, "The free trial was used already, or there is none."),
    ErrorCode.TOO_MANY_ORDERS: ErrorInfo(409, "There are unpaid orders enough: pay one, or wait until they expire."),
    ErrorCode.CONSENT_REQUIRED: ErrorInfo(403, "This needs a consent that was not given or was withdrawn (P05, P21)."),
    ErrorCode.BUDGET_SPENT: ErrorInfo(429, "The discovery budget of this account is used up; `retry_after` says when it refills."),
    ErrorCode.ADDRESS_BOOK_FULL: ErrorInfo(409, "The address book holds as many entries as it may hold."),
    ErrorCode.CALL_TO_SELF: ErrorInfo(422, "An account cannot call itself."),
    ErrorCode.NOT_A_CONTACT: ErrorInfo(403, "The callee is not a contact match of the caller (P09)."),
    ErrorCode.CALLEE_UNAVAILABLE: ErrorInfo(404, "The callee's account does not exist any more, or has no device."),
    ErrorCode.UNKNOWN_DEVICE: ErrorInfo(
        409, "A sealed payload is addressed to a device that does not exist; `devices` lists those that do."
    ),
    ErrorCode.STALE_DEVICES: ErrorInfo(409, "A device of the callee has no sealed payload; `devices` lists all that need one."),
    ErrorCode.CALL_EXISTS: ErrorInfo(409, "This call id is in use."),
    ErrorCode.UNKNOWN_CALL: ErrorInfo(404, "There is no such live call for this device."),
    ErrorCode.WRONG_STAGE: ErrorInfo(409, "The call is not at a stage where this device may do that."),
    ErrorCode.ANSWERED_ELSEWHERE: ErrorInfo(409, "Another device of the account took or refused the call first."),
    ErrorCode.TOO_MANY_CALLS: ErrorInfo(429, "This device takes part in as many calls as it may."),
    ErrorCode.NO_RELAY: ErrorInfo(404, "No relay runs here, or none carries this call: the call has its direct ways and TURN."),
    ErrorCode.NO_RELAY_FREE: ErrorInfo(503, "Every relay carries as many calls as it can; `retry_after` says when to try again."),
    ErrorCode.SIGN_IN_FAILED: ErrorInfo(403, "What was given does not belong together, or this operator may not sign in."),
    ErrorCode.CSRF_TOKEN_WRONG: ErrorInfo(403, "A request that changes something needs the session's `X-CSRF-Token`."),
    ErrorCode.ENROLMENT_INVALID: ErrorInfo(403, "The invitation is unknown, used or expired: ask for a new one."),
    ErrorCode.PASSWORD_WEAK: ErrorInfo(422, "The password is too easy to guess; the message says what it needs."),
    ErrorCode.PASSKEY_INVALID: ErrorInfo(422, "The passkey could not be verified, or is known already; begin again."),
}


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not a defect
    """A request that is answered with an error code. Raised by services; the gateway turns it into a response.

    Args:
        code: which failure.
        message: for a developer's eyes; never holds personal data. Defaults to the code's meaning.
        retry_after: seconds until trying again can succeed.
        devices: the callee's device ids (``unknown_device``, ``stale_devices``).
        tries_left: tries that remain (``code_wrong``).
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str | None = None,
        *,
        retry_after: float | None = None,
        devices: list[str] | None = None,
        tries_left: int | None = None,
    ) -> None:
        self.code = code
        self.message = message or ERRORS[code].meaning
        self.retry_after = retry_after
        self.devices = devices
        self.tries_left = tries_left
        super().__init__(f"{code}: {self.message}")
