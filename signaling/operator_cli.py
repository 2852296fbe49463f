"""What operators do on the command line: ``kloudtalk operator``, ``kloudtalk request``. Thin: every rule is in the services, so that an
operator's page can sit on the same ones.

Who acts is said with ``--as NAME`` and proven with the operator's secret, which is asked for, or read from standard input.
"""

import argparse
import getpass
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from signaling.operators.audit import broken_at
from signaling.operators.service import Operator, OperatorError
from signaling.privacy.request_rules import Evidence, Kind
from signaling.settings import Settings
from signaling.supervisor import embedded_stores
from signaling.wire.rest import Channel

if TYPE_CHECKING:
    from signaling.app import Hub

Action = Callable[["Hub", Operator, argparse.Namespace], Awaitable[None]]
"""One command, by an operator who has proven who they are."""


def add_commands(commands: Any, common: Callable[[argparse.ArgumentParser], None]) -> None:
    """Add the commands to the parser; ``common`` adds the options that every command has."""
    groups = {
        "operator": (
            "add and remove operators",
            "For who administers the machine. Operators answer users and act on written requests.",
        ),
        "request": (
            "act on a written request for data, deletion or restriction (P24)",
            "open, then verify who asks (by code or document), then another operator confirms, then fulfil. Every step is on record.",
        ),
    }
    groups |= {
        "ticket": (
            "read and answer support tickets",
            "What users asked, with what they chose to attach. That a ticket was read is on record.",
        ),
        "announcement": ("announce new features to users", "Shown in the app for 90 days to who does not object."),
    }
    parsers: dict[str, Any] = {}
    for name, (summary, detail) in groups.items():
        group = commands.add_parser(name, help=summary, description=detail)
        parsers[name] = group.add_subparsers(dest="action", required=True, metavar="ACTION")

    def command(group: str, name: str, summary: str, *arguments: tuple[tuple[str, ...], dict[str, Any]], by: bool = True) -> None:
        parser = parsers[group].add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        common(parser)
        if by:
            parser.add_argument("--as", dest="operator", required=True, metavar="NAME", help="the operator who acts")
        for names, options in arguments:
            parser.add_argument(*names, **options)

    request = (("request",), {"metavar": "ID", "help": "the request's reference"})
    command("operator", "add", "add an operator and print the secret, once", (("name",), {}), by=False)
    command("operator", "remove", "remove an operator", (("name",), {}), by=False)
    command("operator", "list", "list operators", by=False)
    command("operator", "aggregates", "print the counts that may be given to partners (P25)")
    command("operator", "audit", "print the audit trail and check that it is whole", by=False)
    command(
        "request",
        "open",
        "open a request about the account with a number or an address",
        (("kind",), {"choices": [kind.value for kind in Kind], "help": "what is asked for"}),
        (("--phone",), {"default": "", "help": "the number, with its country code"}),
        (("--email",), {"default": "", "help": "the address"}),
    )
    channels = [channel.value for channel in Channel]
    command(
        "request", "send-code", "send a code to the account", request, (("--channel",), {"choices": channels, "default": "phone"})
    )
    documents = [evidence.value for evidence in Evidence if evidence is not Evidence.CODE]
    command(
        "request",
        "verify",
        "say how the person was identified",
        request,
        (("--code",), {"default": "", "help": "the code that the person told you"}),
        (("--document",), {"choices": documents, "help": "what you have seen instead"}),
    )
    command("request", "confirm", "agree, as another operator", request)
    output = (("--output",), {"type": Path, "metavar": "FILE", "help": "where the archive of an access request is written"})
    command("request", "fulfil", "do what was asked", request, output)
    command("request", "reject", "end the request without doing it", request)
    command("request", "show", "show a request", request)
    ticket = (("ticket",), {"metavar": "ID", "help": "the ticket"})
    command("ticket", "list", "list tickets that are not closed, the one that waits longest first")
    command("ticket", "show", "print a ticket", ticket)
    output = (("--output",), {"type": Path, "metavar": "FILE", "required": True, "help": "where it is written"})
    command("ticket", "save", "save an attachment", ticket, (("attachment",), {"metavar": "ATTACHMENT"}), output)
    command("ticket", "answer", "answer a ticket", ticket, (("text",), {"help": "what the user reads"}))
    command("ticket", "close", "close a ticket", ticket)
    command("announcement", "add", "announce something", (("title",), {}), (("text",), {}))
    command("announcement", "list", "list what is announced now")
    command("announcement", "withdraw", "announce it no more", (("announcement",), {"metavar": "ID"}))
    command("request", "list", "list requests, newest first")


async def run(settings: Settings, options: argparse.Namespace) -> None:
    """Run one command. Raises ``OperatorError`` with a message for the operator, and the stores' errors."""
    from signaling.app import make_hub  # with everything behind it: not for who asks for help

    hub = make_hub(embedded_stores(settings))
    try:
        if options.command == "operator" and options.action in _OPERATOR:
            await _OPERATOR[options.action](hub, options)
            return
        operator = await hub.operators.authenticate(options.operator, _secret())
        await _ACTIONS[options.command][options.action](hub, operator, options)
    finally:
        await hub.close_stores()


def _secret() -> str:
    return getpass.getpass("Operator's secret: ") if sys.stdin.isatty() else sys.stdin.readline()


def show(thing: Struct) -> None:
    """One line for each field that has a value."""
    for name in thing.__struct_fields__:
        value = getattr(thing, name)
        if value is not None:
            shown = when(value) if name.endswith("_at") else value
            print(f"{name.replace('_', ' '):12} {shown}")


def when(milliseconds: int) -> str:
    """A time for people, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(milliseconds / 1000))


# --- operators ---------------------------------------------------------------------------------------------------------------------------


async def _add(hub: "Hub", options: argparse.Namespace) -> None:
    print(await hub.operators.add(options.name))
    print("This secret is shown once; the operator keeps it.", file=sys.stderr)


async def _remove(hub: "Hub", options: argparse.Namespace) -> None:
    await hub.operators.remove(options.name)


async def _list(hub: "Hub", _options: argparse.Namespace) -> None:
    for name in await hub.operators.list():
        print(name)


async def _audit(hub: "Hub", _options: argparse.Namespace) -> None:
    entries = await hub.audit.read()
    for entry in entries:
        print(f"{entry.seq:6} {when(entry.at)} {entry.operator:16} {entry.action:22} {entry.subject}")
    broken = broken_at(entries)
    if broken is not None:
        raise OperatorError(f"the trail was changed: entry {broken} does not follow from the one before")
    print(f"{len(entries)} entries, whole", file=sys.stderr)


_OPERATOR: dict[str, Callable[["Hub", argparse.Namespace], Awaitable[None]]] = {
    "add": _add,
    "remove": _remove,
    "list": _list,
    "audit": _audit,
}


# --- written requests --------------------------------------------------------------------------------------------------------------------


async def _open(hub: "Hub", operator: Operator, options: argparse.Namespace) -> None:
    if bool(options.phone) == bool(options.email):
        raise OperatorError("say --phone or --email, one of the two")
    show(await hub.requests.open(operator, Kind(options.kind), phone=options.phone, email=options.email))


async def _send_code(hub: "Hub", operator: Operator, options: argparse.Namespace) -> None:
    await hub.requests.send_code(operator, options.request, Channel(options.channel))
    print(f"a code is on its way by {options.channel}; it works for ten minutes")


async def _verify(hub: "Hub", operator: Operator, options: argparse.Namespace) -> None:
    if bool(options.code) == bool(options.document):
        raise OperatorError("say --code or --document, one of the two")
    if options.code:
        show(await hub.requests.verify_code(operator, options.request, options.code))
    else:
        show(await hub.requests.verify_document(operator, options.request, Evidence(options.document)))


async def _confirm(hub: "Hub", operator: Operator, options: argparse.Namespace) -> None:
    show(await hub.requests.confirm(operator, options.request))


async def _fulfil(hub: "Hub", operator: Operator, options: argparse.Namespace) -> None:
    async def write(archive: bytes) -> None:
        if options.output is None:
            raise OperatorError("say with --output where the archive is to be written")
        _save(options.output, archive)

    view = await hub.requests.fulfil(operator, options.request, write)
    show(view)
    if view.kind is Kind.ACCESS:
        print(f"Written to {options.output}: hand it to the person, then delete it.", file=sys.stderr)
    else:
        print("A running hub does it within seconds; without one, the next that starts.", file=sys.stderr)


async def _reject(hub: "Hub", operator: Operator, options: argparse.Namespace) -> None:
    show(await hub.requests.reject(operator, options.request))


async def _show(hub: "Hub", _operator: Operator, options: argparse.Namespace) -> None:
    show(await hub.requests.get(options.request))


async def _list_requests(hub: "Hub", _operator: Operator, _options: argparse.Namespace) -> None:
    for view in await hub.requests.list():
        print(f"{view.id}  {when(view.opened_at)}  {view.kind:12} {view.state:10} {view.opened_by}")


def _save(path: Path, content: bytes) -> None:
    """Write a new file that only its owner may read. Raises ``FileExistsError``."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


# --- support and announcements -----------------------------------------------------------------------------------------------------------


async def _queue(hub: "Hub", _operator: Operator, _options: argparse.Namespace) -> None:
    for line in await hub.tickets.queue():
        print(f"{line.ticket}  {when(line.changed_at)}  {line.state:9} {printable(line.subject)}")


async def _show_ticket(hub: "Hub", operator: Operator, options: argparse.Namespace) -> None:
    ticket = await hub.tickets.read(operator, options.ticket)
    print(f"{printable(ticket.subject)} ({ticket.state})")
    for message in ticket.messages or []:
        print(f"\n{'service' if message.from_operator else 'user'}, {when(message.at)}:")
        print(printable(message.text))
        for file in message.attachments:
            print(f"  attached: {printable(file.name)} ({file.media_type}, {file.bytes} bytes)  {file.attachment}")


async def _save_attachment(hub: "Hub", operator: Operator, options: argparse.Namespace) -> None:
    _save(options.output, await hub.tickets.read_attachment(operator, options.ticket, options.attachment))


async def _answer(hub: "Hub", operator: Operator, options: argparse.Namespace) -> None:
    await hub.tickets.answer(operator, options.ticket, options.text)


async def _close_ticket(hub: "Hub", operator: Operator, options: argparse.Namespace) -> None:
    await hub.tickets.close(operator, options.ticket)


async def _announce(hub: "Hub", operator: Operator, options: argparse.Namespace) -> None:
    print((await hub.announcements.add(operator, options.title, options.text)).announcement)


async def _list_announcements(hub: "Hub", _operator: Operator, _options: argparse.Namespace) -> None:
    for one in await hub.announcements.current():
        print(f"{one.announcement}  {when(one.at)}  {one.title}")


async def _withdraw(hub: "Hub", operator: Operator, options: argparse.Namespace) -> None:
    await hub.announcements.withdraw(operator, options.announcement)


def printable(text: str) -> str:
    """What a user wrote, without what could steer the operator's terminal."""
    return "".join(c if c == "\n" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


async def _aggregates(hub: "Hub", operator: Operator, _options: argparse.Namespace) -> None:
    print(msgspec.json.encode(await hub.aggregates.read(operator)).decode())


_ACTIONS: dict[str, dict[str, Action]] = {
    "operator": {"aggregates": _aggregates},
    "ticket": {
        "list": _queue,
        "show": _show_ticket,
        "save": _save_attachment,
        "answer": _answer,
        "close": _close_ticket,
    },
    "announcement": {"add": _announce, "list": _list_announcements, "withdraw": _withdraw},
    "request": {
        "open": _open,
        "send-code": _send_code,
        "verify": _verify,
        "confirm": _confirm,
        "fulfil": _fulfil,
        "reject": _reject,
        "show": _show,
        "list": _list_requests,
    },
}
