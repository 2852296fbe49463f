"""The parser of ``kloudtalk admin``, and the way of one command."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any, Final

from signaling.admin_cli import show
from signaling.admin_cli.client import (
    DEFAULT_URL,
    TOKEN_VARIABLE,
    URL_VARIABLE,
    AdminClient,
    AdminError,
    load_session,
    save_session,
)
from signaling.admin_cli.commands import COMMANDS, GROUPS, Command
from signaling.settings import Settings
from signaling.wire.admin.frame import Role

_LOCAL: Final = ("create", "reset", "unlock")
"""Commands that open the stores of this machine."""
_SIGNS: Final = ("login", "enrol", "logout", "password")
"""Commands that begin or end a session."""


def add_commands(commands: Any, common: Callable[[argparse.ArgumentParser], None]) -> None:
    """Add ``admin`` to the parser; ``common`` adds the options of commands that open the stores."""
    admin = commands.add_parser(
        "admin",
        help="look after users, calls and operators",
        description="What operators do. Signs in at a running service (--url); `create`, `reset` and `unlock` are for who administers "
        "its machine, and open its stores.",
        epilog=f"For programs: {TOKEN_VARIABLE} holds a token, {URL_VARIABLE} the address. docs/operators.md tells more.",
    )
    actions = admin.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, summary in (
        ("create", "add an operator on this machine: the first one, say"),
        ("reset", "invite an operator anew, when password or authenticator are lost"),
        ("unlock", "forget wrong tries to sign in"),
    ):
        parser = _parser(actions, name, summary)
        common(parser)
        parser.add_argument("name", help="the operator")
        if name == "create":
            parser.add_argument("--role", choices=[role.value for role in Role], default=Role.ADMIN.value, help="default: admin")
            parser.add_argument("--invite", action="store_true", help="print an invitation instead of asking for a password")
    groups: dict[str, Any] = {"": actions}
    for name, (summary, detail) in GROUPS.items():
        group = actions.add_parser(name, help=summary, description=detail)
        groups[name] = group.add_subparsers(dest="subaction", required=True, metavar="ACTION")
    for command in COMMANDS:
        parser = _parser(groups[command.group], command.name, command.summary)
        parser.add_argument("--url", help=f"the service (default: ${URL_VARIABLE}, where you signed in, or {DEFAULT_URL})")
        parser.add_argument("--json", action="store_true", help="the answer as JSON")
        for names, options in command.arguments:
            parser.add_argument(*names, **options)
        parser.set_defaults(admin_command=command)


def _parser(actions: Any, name: str, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    return parser


def is_local(options: argparse.Namespace) -> bool:
    """Whether a command opens the stores of this machine."""
    return options.action in _LOCAL


def run_local(settings: Settings, options: argparse.Namespace) -> int:
    """A command on the stores; its exit status."""
    from redis.exceptions import RedisError
    from sqlalchemy.exc import SQLAlchemyError

    from signaling.admin_cli import local
    from signaling.supervisor import ServeError

    try:
        asyncio.run(local.run(settings, options))
    except (AdminError, ServeError, OSError, ValueError, EOFError) as error:
        return _failed(str(error) or "stopped")
    except (RedisError, SQLAlchemyError) as error:
        return _failed(f"a store does not answer ({type(error).__name__}): is the service running?")
    return 0


def run_remote(options: argparse.Namespace) -> int:
    """A command on the API; its exit status."""
    try:
        asyncio.run(_remote(options.admin_command, options))
    except (AdminError, OSError, EOFError) as error:
        return _failed(str(error) or "stopped")
    except KeyboardInterrupt:
        return _failed("stopped")
    return 0


async def _remote(command: Command, options: argparse.Namespace) -> None:
    saved = load_session()
    url = options.url or os.environ.get(URL_VARIABLE) or (DEFAULT_URL if saved is None else saved.url)
    token = None if command.name in _SIGNS else os.environ.get(TOKEN_VARIABLE) or None
    async with AdminClient(url, token=token, saved=saved) as client:
        answer = await command.run(client, options)
        if command.group == "" and command.name in _SIGNS:
            save_session(client.saved)
    if answer is not None:
        print(show.as_json(answer) if options.json else command.shown(answer))


def _failed(message: str) -> int:
    print(f"kloudtalk admin: {message}", file=sys.stderr)
    return 1
