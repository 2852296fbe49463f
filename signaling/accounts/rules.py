"""Rules of registration (P01) as plain functions: numbers, addresses, codes. No I/O, no clock, no randomness."""

import hashlib
import hmac
from typing import Final

import phonenumbers
from disposable_email_domains import blocklist
from email_validator import EmailNotValidError, validate_email
from phonenumbers import NumberParseException, PhoneNumberFormat

from signaling.wire.errors import ErrorCode, Refused

CODE_LIFETIME: Final = 600
"""Seconds for which a code works."""
CODE_TRIES: Final = 5
"""Wrong tries until a code is spent."""
RESEND_AFTER: Final = 60
"""Seconds between two codes for the same channel of a registration."""
REGISTRATION_LIFETIME: Final = 3600
"""Seconds until an unfinished registration is forgotten."""


def normalise_phone(text: str) -> str:
    """A number as the user typed it, with its country code, as E.164. Raises ``Refused`` (``phone_missing``, ``phone_invalid``)."""
    if not text.strip():
        raise Refused(ErrorCode.PHONE_MISSING)
    try:
        number = phonenumbers.parse(text, None)
    except NumberParseException:
        raise Refused(ErrorCode.PHONE_INVALID) from None
    if not phonenumbers.is_valid_number(number) or number.extension:
        raise Refused(ErrorCode.PHONE_INVALID)
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def normalise_email(text: str) -> str:
    """An address in the one form that it is stored in: NFC, case-folded, domain in lower case. Raises ``Refused``.

    Codes: ``email_missing``, ``email_invalid``, ``email_disposable``. That mail arrives is proven by the code, not by DNS.
    """
    if not text.strip():
        raise Refused(ErrorCode.EMAIL_MISSING)
    try:
        address = validate_email(text.strip(), check_deliverability=False, allow_smtputf8=True)
    except EmailNotValidError:
        raise Refused(ErrorCode.EMAIL_INVALID) from None
    labels = address.ascii_domain.lower().split(".") if address.ascii_domain else []
    if any(".".join(labels[i:]) in blocklist for i in range(len(labels) - 1)):
        raise Refused(ErrorCode.EMAIL_DISPOSABLE)
    normalised = address.normalized.casefold()
    if len(normalised) > 254:
        raise Refused(ErrorCode.EMAIL_INVALID)
    return normalised


def code_from_random(random: bytes) -> str:
    """Six decimal digits from 8 random bytes (the bias of the modulo is below 10^-13)."""
    return f"{int.from_bytes(random, 'big') % 1_000_000:06d}"


def code_digest(pepper: bytes, registration: str, channel: str, code: str) -> str:
    """What is stored in place of a code: useless without the server's pepper, and for any other registration or channel."""
    return hmac.digest(pepper, f"{registration}\0{channel}\0{code}".encode(), hashlib.sha256).hex()


def check_code(*, stored: str, given: str, sent_at: float, tries: int, now: float) -> None:
    """Whether a code holds. ``tries`` counts this one. Raises ``Refused`` (``code_spent``, ``code_expired``, ``code_wrong``)."""
    if tries > CODE_TRIES:
        raise Refused(ErrorCode.CODE_SPENT)
    if now >= sent_at + CODE_LIFETIME:
        raise Refused(ErrorCode.CODE_EXPIRED)
    if not hmac.compare_digest(stored, given):
        left = CODE_TRIES - tries
        if left == 0:
            raise Refused(ErrorCode.CODE_SPENT)
        raise Refused(ErrorCode.CODE_WRONG, tries_left=left)
