"""References that operators type on a command line."""

from collections.abc import Callable

from signaling.wire import base64url


def new_reference(token_bytes: Callable[[int], bytes]) -> str:
    """128 random bits, base64url. It never begins with a dash, which a command line would take for an option."""
    while (made := base64url.encode(token_bytes(16))).startswith("-"):
        pass
    return made
