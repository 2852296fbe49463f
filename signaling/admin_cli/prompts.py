"""Asks a person for secrets: on the terminal without showing them; without a terminal, line by line from standard input."""

import getpass
import sys
import time

from signaling.admin_cli.client import AdminError
from signaling.wire.errors import Refused


def secret(prompt: str) -> str:
    """One secret."""
    return getpass.getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")


def new_password(name: str) -> str:
    """Asked for twice on a terminal, else the next line of standard input. Raises ``AdminError`` for one that is too weak."""
    from signaling.operators.passwords import check_password

    password = secret("New password (12 characters or more): ")
    try:
        check_password(password, name)
    except Refused as refused:
        raise AdminError(refused.message) from None
    if sys.stdin.isatty() and getpass.getpass("The same again: ") != password:
        raise AdminError("the two are not the same: nothing was done")
    return password


def confirm_authenticator(key: str, uri: str) -> str:
    """Show the second factor, once, and have a code of it. Without a terminal nobody is asked."""
    import pyotp

    from signaling.operators import totp

    print("The second factor, shown once: scan it with an authenticator app, or type the secret into one.", file=sys.stderr)
    if sys.stderr.isatty():
        print(totp.drawn(uri), file=sys.stderr)
    print(f"secret {key}")
    print(uri)
    if sys.stdin.isatty():
        return input("The code that it shows now: ").strip()
    return pyotp.TOTP(key, interval=totp.STEP).at(int(time.time()))
