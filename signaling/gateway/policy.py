"""The policy must be acknowledged before the service is used on (P04). Pure."""

from typing import Final

from signaling.gateway.request import Session
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.messages import CallAccept, CallInvite, ClientMessage, PresenceWatch

_USE: Final = (CallInvite, CallAccept, PresenceWatch)
"""Requests that use the service anew. All others belong to a call that is in progress or rings: it is not cut, and can be refused."""


def check_acknowledged(session: Session, message: ClientMessage) -> None:
    """Raises ``Refused(policy_not_acknowledged)`` for what has to wait."""
    if not session.acknowledged and isinstance(message, _USE):
        raise Refused(ErrorCode.POLICY_NOT_ACKNOWLEDGED)
