"""Time-limited TURN credentials, as coturn's ``use-auth-secret`` checks them (draft-uberti-behave-turn-rest-00). Pure."""

import base64
import hashlib
import hmac
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Credential:
    """User name and password for TURN's long-term mechanism (RFC 8656; RFC 8489, section 9.2)."""

    username: str
    """``EXPIRY:USER``; the expiry in seconds since 1970."""
    password: str
    """Base64 of the HMAC-SHA1 of the user name under the shared secret."""


def make_credential(secret: str, *, user: str, expires_at: int) -> Credential:
    """A credential that holds until ``expires_at`` (seconds since 1970). ``user`` must tell a TURN server nothing about a person."""
    username = f"{expires_at}:{user}"
    digest = hmac.digest(secret.encode(), username.encode(), hashlib.sha1)
    return Credential(username, base64.b64encode(digest).decode())
