"""What a line of the log belongs to."""

import secrets
from contextvars import ContextVar
from typing import Final

REQUEST: Final[ContextVar[str]] = ContextVar("request", default="")
"""Id of the REST request that is being answered: random, and told to the client in ``X-Request-Id``."""


def new_request() -> str:
    """Begin another request; its id."""
    made = secrets.token_hex(8)
    REQUEST.set(made)
    return made
