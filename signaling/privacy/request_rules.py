"""A written request of somebody who does not use the service any more, as a machine (pure, P24).

``opened -> verified -> confirmed -> fulfilled``, or ``rejected`` at any time before the end. Whoever confirms is not who opened or verified it:
no operator alone can have a person's data, or delete it.
"""

from enum import StrEnum

from msgspec import Struct

from signaling.wire.admin.people import RequestKind

Kind = RequestKind


class State(StrEnum):
    """Where a request stands."""

    OPENED = "opened"
    VERIFIED = "verified"
    CONFIRMED = "confirmed"
    FULFILLED = "fulfilled"
    REJECTED = "rejected"


class Evidence(StrEnum):
    """How the person was identified."""

    CODE = "code"
    """By a code that was sent to the account's number or address."""
    IDENTITY_DOCUMENT = "identity_document"
    IN_PERSON = "in_person"
    COURT_ORDER = "court_order"


class RuleBroken(Exception):  # noqa: N818 - what it is
    """A step that the rules do not allow now; the message says why, for the operator."""


class Request(Struct, frozen=True):
    """What the rules look at."""

    state: State
    opened_by: str
    verified_by: str | None = None
    confirmed_by: str | None = None


def may_verify(request: Request) -> None:
    """Raises ``RuleBroken`` unless the person's identity is what is missing."""
    if request.state is not State.OPENED:
        raise RuleBroken(f"the request is {request.state}: there is nothing to verify")


def may_confirm(request: Request, operator: str) -> None:
    """Raises ``RuleBroken`` unless this operator may be the second pair of eyes."""
    if request.state is not State.VERIFIED:
        raise RuleBroken(f"the request is {request.state}: it is confirmed once its author's identity is verified")
    if operator in (request.opened_by, request.verified_by):
        raise RuleBroken("another operator must confirm: not who opened or verified it")


def may_fulfil(request: Request) -> None:
    """Raises ``RuleBroken`` unless two operators agreed."""
    if request.state is not State.CONFIRMED:
        raise RuleBroken(f"the request is {request.state}: it is fulfilled once another operator has confirmed it")


def may_reject(request: Request) -> None:
    """Raises ``RuleBroken`` when the request is over."""
    if request.state in (State.FULFILLED, State.REJECTED):
        raise RuleBroken(f"the request is {request.state} already")
