"""Who may call whom (pure)."""

from msgspec import Struct

from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.rest import WhoCanCall


class Relation(Struct, frozen=True):
    """What the rule looks at: how caller and callee stand to each other."""

    same_account: bool
    callee_exists: bool
    """The account exists and has a device."""
    caller_has_callee: bool
    """The callee's number is in the caller's address book."""
    callee_has_caller: bool
    blocked: bool
    """The callee blocked the caller."""
    who_can_call: WhoCanCall
    caller_is_service: bool = False
    callee_is_service: bool = False
    """A service of the operator's, as the test call: called by everyone, and calls nobody."""


def may_ring(relation: Relation) -> bool:
    """Whether the callee is told of the call; when not, the caller waits as for someone who is offline, and cannot tell.

    Raises ``Refused`` for what the caller may know: ``call_to_self``, ``callee_unavailable``, ``not_a_contact`` (P09).
    """
    if relation.same_account:
        raise Refused(ErrorCode.CALL_TO_SELF)
    if not relation.callee_exists:
        raise Refused(ErrorCode.CALLEE_UNAVAILABLE)
    if relation.caller_is_service or not (relation.caller_has_callee or relation.callee_is_service):
        raise Refused(ErrorCode.NOT_A_CONTACT)
    if relation.blocked:
        return False
    return relation.who_can_call is WhoCanCall.EVERYONE or (
        relation.who_can_call is WhoCanCall.CONTACTS and relation.callee_has_caller
    )
