"""Every command of ``kloudtalk admin``: what it asks the API for, and how the answer is shown."""

import argparse
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec import UNSET, Struct

from signaling.admin_cli import operations, show
from signaling.admin_cli.client import AdminClient, AdminError, write_private
from signaling.admin_cli.prompts import confirm_authenticator, new_password, secret
from signaling.wire import base64url
from signaling.wire.admin import access, people
from signaling.wire.admin.frame import Permission, Role
from signaling.wire.messages import Reason as EndReason
from signaling.wire.rest import BlockedFor, Channel

Answer = Struct | None
Run = Callable[[AdminClient, argparse.Namespace], Awaitable[Answer]]
"""Asks; the answer is shown by the command's ``shown``, or as JSON."""
Argument = tuple[tuple[str, ...], dict[str, Any]]


class Command(NamedTuple):
    """One command."""

    group: str
    """Empty: right below ``admin``."""
    name: str
    summary: str
    run: Run
    arguments: tuple[Argument, ...] = ()
    shown: Callable[[Any], str] = show.fields


GROUPS: Final = {
    "call": (
        "calls that go on, and those that ended",
        "A call's id is what its user's client shows. Accounts stand under pseudonyms.",
    ),
    "hub": ("hubs", "A hub that is drained hands its clients over to the others and ends; what supervises it starts it again."),
    "relay": ("relays", "A relay that is drained has its calls move to the others and ends; what supervises it starts it again."),
    "operator": ("operators and their roles", "Who may do what: viewers see, support helps users, admins do all of it."),
    "token": ("tokens for programs", "A token does what its scopes say and its owner may, whichever is less."),
    "audit": ("the audit trail", "What operators did. Nobody can change it through the service."),
    "account": ("accounts, under pseudonyms", "Who one is, is revealed for a reason, which goes on the audit trail."),
    "ticket": ("support tickets", "What users asked, with what they chose to attach. That a ticket was read is on record."),
    "announcement": ("news for users", "Shown in the app for 90 days to who does not object."),
    "request": (
        "written requests for data, deletion or restriction (P24)",
        "open, then verify who asks (by code or document), then another operator confirms, then fulfil. Every step is on record.",
    ),
    "session": ("your own sessions", "Where you are signed in."),
}


def _argument(*names: str, **options: Any) -> Argument:
    return names, options


_NAME = _argument("name", help="the operator")
_TICKET = _argument("ticket", metavar="ID", help="the ticket")
_REQUEST = _argument("request", metavar="ID", help="the request's reference")
_ACCOUNT = _argument("account", metavar="PSEUDONYM", help="the account, as `look-up` says")
_REASON = _argument("--reason", required=True, help="why, for the audit trail; without names and numbers")
_PHONE = _argument("--phone", help="the number, with its country code")
_EMAIL = _argument("--email", help="the address")
_CALL = _argument("call", metavar="ID", help="the call")
_ROLE = {"choices": [role.value for role in Role]}


# --- signing in --------------------------------------------------------------------------------------------------------------------------


async def _login(client: AdminClient, options: argparse.Namespace) -> Answer:
    name = options.name or secret("Operator: ").strip()
    body = access.Login(name, secret("Password: "), secret("Code of the authenticator: "))
    return await _asked(client, "admin.login", body)


async def _enrol(client: AdminClient, options: argparse.Namespace) -> Answer:
    code = secret("Code of the invitation: ").strip()
    enrolment: access.Enrolment = await client.ask("admin.enrol", access.Enrol(options.name, code))
    password = new_password(options.name)
    given = confirm_authenticator(enrolment.totp_secret, enrolment.totp_uri)
    return await _asked(client, "admin.finish_enrolment", access.FinishEnrolment(options.name, code, password, given))


async def _password(client: AdminClient, _options: argparse.Namespace) -> Answer:
    me: access.Me = await client.ask("me.get")
    old, code = secret("Password: "), secret("Code of the authenticator: ")
    body = access.ChangePassword(old, code, new_password(me.signed_in.operator))
    return await _asked(client, "me.change_password", body)


async def _asked(client: AdminClient, operation: str, body: Struct | None = None, **path: str) -> Answer:
    answer: Answer = await client.ask(operation, body, None, **path)
    return answer


def _plain(operation: str, *path: str, **names: str) -> Run:
    """An operation without a body; ``path``: parameters that have the same name as the option, ``names``: those that have not."""

    async def run(client: AdminClient, options: argparse.Namespace) -> Answer:
        taken = {name: getattr(options, name) for name in path} | {key: getattr(options, name) for key, name in names.items()}
        return await _asked(client, operation, **taken)

    return run


# --- operators, tokens, the trail --------------------------------------------------------------------------------------------------------


async def _add_operator(client: AdminClient, options: argparse.Namespace) -> Answer:
    return await _asked(client, "operators.add", access.AddOperator(options.name, Role(options.role)))


async def _change_operator(client: AdminClient, options: argparse.Namespace) -> Answer:
    if options.role is None and options.disabled is None:
        raise AdminError("say what changes: --role, --disable or --enable")
    body = access.ChangeOperator(
        UNSET if options.role is None else Role(options.role), UNSET if options.disabled is None else options.disabled
    )
    return await _asked(client, "operators.change", body, operator=options.name)


async def _add_token(client: AdminClient, options: argparse.Namespace) -> Answer:
    body = access.AddToken(options.name, [Permission(scope) for scope in options.scope], options.days)
    return await _asked(client, "admin_tokens.add", body)


async def _trail(client: AdminClient, options: argparse.Namespace) -> Answer:
    query = {"limit": str(options.limit)} | ({} if options.before is None else {"before": str(options.before)})
    page: access.AuditPage = await client.ask("audit.list", query=query)
    return page


async def _verify_trail(client: AdminClient, _options: argparse.Namespace) -> Answer:
    found: access.AuditVerification = await client.ask("audit.verify")
    if not found.whole:
        raise AdminError(f"the trail was changed: entry {found.broken_at} does not follow from the one before")
    return found


# --- users ---------------------------------------------------------------------------------------------------------------------------------


def _whom(options: argparse.Namespace) -> tuple[Any, Any]:
    if (options.phone is None) == (options.email is None):
        raise AdminError("say --phone or --email, one of the two")
    return (UNSET, options.email) if options.phone is None else (options.phone, UNSET)


async def _look_up(client: AdminClient, options: argparse.Namespace) -> Answer:
    return await _asked(client, "accounts.look_up", people.LookUp(*_whom(options)))


async def _reveal(client: AdminClient, options: argparse.Namespace) -> Answer:
    return await _asked(client, "accounts.reveal", people.Reveal(options.reason), pseudonym=options.account)


async def _block(client: AdminClient, options: argparse.Namespace) -> Answer:
    body = people.BlockAccount(BlockedFor(options.what), options.reason)
    return await _asked(client, "accounts.block", body, pseudonym=options.account)


async def _unblock(client: AdminClient, options: argparse.Namespace) -> Answer:
    return await _asked(client, "accounts.unblock", people.UnblockAccount(options.reason), pseudonym=options.account)


async def _save_attachment(client: AdminClient, options: argparse.Namespace) -> Answer:
    file = await client.ask("desk.attachment", ticket=options.ticket, attachment=options.attachment)
    write_private(options.output, base64url.decode(file.content))
    return None


async def _answer(client: AdminClient, options: argparse.Namespace) -> Answer:
    return await _asked(client, "desk.answer", people.AnswerTicket(options.text), ticket=options.ticket)


async def _announce(client: AdminClient, options: argparse.Namespace) -> Answer:
    return await _asked(client, "news.add", people.Announce(options.title, options.text))


async def _open_request(client: AdminClient, options: argparse.Namespace) -> Answer:
    return await _asked(client, "requests.open", people.OpenRequest(people.RequestKind(options.kind), *_whom(options)))


async def _send_code(client: AdminClient, options: argparse.Namespace) -> Answer:
    body = people.SendRequestCode(Channel(options.channel))
    return await _asked(client, "requests.send_code", body, request=options.request)


async def _verify(client: AdminClient, options: argparse.Namespace) -> Answer:
    if (options.code is None) == (options.document is None):
        raise AdminError("say --code or --document, one of the two")
    document = UNSET if options.document is None else people.RequestDocument(options.document)
    body = people.VerifyRequest(UNSET if options.code is None else options.code, document)
    return await _asked(client, "requests.verify", body, request=options.request)


async def _fulfil(client: AdminClient, options: argparse.Namespace) -> Answer:
    view: people.WrittenRequest = await client.ask("requests.get", request=options.request)
    if view.kind is not people.RequestKind.ACCESS:
        print("A running hub does it within seconds.", file=sys.stderr)
        return await _asked(client, "requests.fulfil", request=options.request)
    if options.output is None:
        raise AdminError("say with --output where the archive is to be written")
    if options.output.exists():
        raise AdminError(f"{options.output} exists")
    write_private(options.output, await client.ask("requests.archive", request=options.request))
    print(f"Written to {options.output}: hand it to the person, then delete it.", file=sys.stderr)
    return await _asked(client, "requests.get", request=options.request)


def _ticket_text(ticket: people.OperatorTicket) -> str:
    lines = [f"{show.printable(ticket.subject)} ({ticket.state}), account {ticket.account}"]
    for message in ticket.messages:
        lines += ["", f"{'service' if message.from_operator else 'user'}, {show.when(message.at)}:", show.printable(message.text)]
        for file in message.attachments:
            lines.append(f"  attached: {show.printable(file.name)} ({file.media_type}, {file.bytes} bytes)  {file.attachment}")
    return "\n".join(lines)


def _rows(field: str, *columns: str) -> Callable[[Any], str]:
    return lambda answer: show.table(getattr(answer, field), columns)


def _trail_text(page: access.AuditPage) -> str:
    more = "" if page.next is UNSET else f"\n… more with --before {page.next}"
    return show.table(page.entries, ("seq", "at", "operator", "action", "subject", "reason", "via")) + more


def _me_text(me: access.Me) -> str:
    who = me.signed_in
    return (
        f"{who.operator}, {who.role}, signed in by {who.method} until {show.when(who.expires_at)}\nmay {' '.join(who.permissions)}"
    )


COMMANDS: Final[tuple[Command, ...]] = (
    Command("", "login", "sign in", _login, (_argument("name", nargs="?", help="who you are"),), lambda who: f"signed in as {who.operator}"),
    Command("", "enrol", "choose password and authenticator, with an invitation", _enrol, (_NAME,), lambda who: f"signed in as {who.operator}"),
    Command("", "logout", "sign out", _plain("admin.logout")),
    Command("", "me", "who you are here, and what you may do", _plain("me.get"), (), _me_text),
    Command("", "password", "change your password", _password),
    Command("", "aggregates", "print the counts that may be given to partners (P25)", _plain("aggregates.read"), (), show.as_json),
    Command("", "overview", "how the service does now", _plain("operations.overview"), (), operations.overview_text),
    Command(
        "", "figures", "how calls went: success, set-up time, reasons, ways, countries", operations.figures,
        (_argument("--hours", type=int, choices=(1, 6, 24), default=1, help="of the last 1, 6 or 24 hours (default: 1)"),), operations.figures_text,
    ),
    Command(
        "", "watch", "print what goes on as it changes, one line of JSON each", operations.watch,
        (
            _argument("--call", metavar="ID", help="follow a call with its time line, too"),
            _argument("--events", type=int, metavar="N", help="end after so many (default: when the service ends it, within half an hour)"),
        ),
    ),
    Command("call", "live", "list calls that go on", _plain("operations.live"), (), operations.live_text),
    Command(
        "call", "list", "list calls that ended, newest first", operations.ended,
        (
            _argument("--before", type=int, metavar="MILLISECONDS", help="go on from there"),
            _argument("--why", choices=[reason.value for reason in EndReason], help="only those that ended so"),
            _argument("--account", metavar="PSEUDONYM", help="only those of this account"),
        ),
        operations.ended_text,
    ),
    Command("call", "show", "show a call with its time line", _plain("operations.call", "call"), (_CALL,), operations.call_text),
    Command("call", "end", "end a call; both sides see that it ended", operations.end_call, (_CALL, _REASON)),
    Command("hub", "list", "list hubs with their load", _plain("operations.overview"), (), operations.hubs_text),
    Command("hub", "drain", "drain a hub", operations.drain_hub, (_argument("hub", metavar="ID", help="the hub"), _REASON)),
    Command("relay", "list", "list relays with their load", _plain("operations.overview"), (), operations.relays_text),
    Command("relay", "drain", "drain a relay", operations.drain_relay, (_argument("relay", metavar="ID", help="the relay"), _REASON)),
    Command("session", "list", "list your sessions", _plain("me.sessions"), (), _rows("sessions", "session", "method", "agent", "seen_at", "current")),
    Command("session", "end", "end one of them", _plain("me.end_session", "session"), (_argument("session", metavar="ID"),)),
    Command("operator", "list", "list operators", _plain("operators.list"), (), _rows("operators", "operator", "role", "enrolled", "passkeys", "disabled_at")),
    Command("operator", "add", "invite an operator", _add_operator, (_NAME, _argument("--role", required=True, **_ROLE))),
    Command(
        "operator", "change", "change the role, disable or enable", _change_operator,
        (
            _NAME, _argument("--role", **_ROLE),
            _argument("--disable", dest="disabled", action="store_const", const=True, help="may not sign in; sessions end"),
            _argument("--enable", dest="disabled", action="store_const", const=False, help="may sign in again"),
        ),
    ),
    Command("operator", "invite", "invite anew: what they sign in with is void", _plain("operators.invite", operator="name"), (_NAME,)),
    Command("operator", "remove", "remove an operator for good", _plain("operators.remove", operator="name"), (_NAME,)),
    Command("operator", "sessions", "list an operator's sessions", _plain("operators.sessions", operator="name"), (_NAME,), _rows("sessions", "session", "method", "agent", "seen_at")),
    Command("operator", "end-sessions", "end them all", _plain("operators.end_sessions", operator="name"), (_NAME,)),
    Command("token", "list", "list tokens", _plain("admin_tokens.list"), (), _rows("tokens", "id", "operator", "name", "expires_at", "used_at", "scopes")),
    Command(
        "token", "add", "make a token of yours and print it, once", _add_token,
        (
            _argument("name", help="what it is for"),
            _argument("--scope", action="append", required=True, choices=[p.value for p in Permission], help="what it may do; can be repeated"),
            _argument("--days", type=int, default=90, help="for how long (default: 90)"),
        ),
        lambda made: f"{made.token}\n{show.fields(made.info)}",
    ),
    Command("token", "revoke", "revoke a token", _plain("admin_tokens.revoke", "token"), (_argument("token", metavar="ID"),)),
    Command(
        "audit", "list", "print the trail, newest first", _trail,
        (_argument("--limit", type=int, default=100, help="entries, 500 at most"), _argument("--before", type=int, metavar="SEQ", help="go on from there")),
        _trail_text,
    ),
    Command("audit", "verify", "check that the trail is whole", _verify_trail),
    Command("account", "look-up", "find an account by a number or an address that somebody told you", _look_up, (_PHONE, _EMAIL)),
    Command("account", "show", "show an account, without who it is", _plain("accounts.get", pseudonym="account"), (_ACCOUNT,)),
    Command("account", "reveal", "show who an account is", _reveal, (_ACCOUNT, _REASON)),
    Command("account", "block", "block an account; its user is told what for", _block, (_ACCOUNT, _argument("what", choices=[b.value for b in BlockedFor]), _REASON)),
    Command("account", "unblock", "unblock an account", _unblock, (_ACCOUNT, _REASON)),
    Command("account", "blocked", "list blocked accounts", _plain("accounts.blocked"), (), _rows("accounts", "account", "blocked_at", "blocked_for")),
    Command("ticket", "list", "list tickets that are not closed, the one that waits longest first", _plain("desk.queue"), (), _rows("tickets", "ticket", "changed_at", "state", "account", "subject")),
    Command("ticket", "show", "print a ticket", _plain("desk.ticket", "ticket"), (_TICKET,), _ticket_text),
    Command(
        "ticket", "save", "save an attachment", _save_attachment,
        (_TICKET, _argument("attachment", metavar="ATTACHMENT"), _argument("--output", type=Path, metavar="FILE", required=True, help="where it is written")),
    ),
    Command("ticket", "answer", "answer a ticket", _answer, (_TICKET, _argument("text", help="what the user reads"))),
    Command("ticket", "close", "close a ticket", _plain("desk.close", "ticket"), (_TICKET,)),
    Command("announcement", "add", "announce something", _announce, (_argument("title"), _argument("text"))),
    Command("announcement", "list", "list what is announced now", _plain("news.list"), (), _rows("announcements", "announcement", "at", "title")),
    Command("announcement", "withdraw", "announce it no more", _plain("news.withdraw", "announcement"), (_argument("announcement", metavar="ID"),)),
    Command("request", "list", "list requests, newest first", _plain("requests.list"), (), _rows("requests", "id", "opened_at", "kind", "state", "opened_by")),
    Command(
        "request", "open", "open a request about the account with a number or an address", _open_request,
        (_argument("kind", choices=[kind.value for kind in people.RequestKind], help="what is asked for"), _PHONE, _EMAIL),
    ),
    Command("request", "show", "show a request", _plain("requests.get", "request"), (_REQUEST,)),
    Command(
        "request", "send-code", "send a code to the account; it works for ten minutes", _send_code,
        (_REQUEST, _argument("--channel", choices=[channel.value for channel in Channel], default="phone")),
    ),
    Command(
        "request", "verify", "say how the person was identified", _verify,
        (
            _REQUEST, _argument("--code", help="the code that the person told you"),
            _argument("--document", choices=[d.value for d in people.RequestDocument], help="what you have seen instead"),
        ),
    ),
    Command("request", "confirm", "agree, as another operator", _plain("requests.confirm", "request"), (_REQUEST,)),
    Command(
        "request", "fulfil", "do what was asked", _fulfil,
        (_REQUEST, _argument("--output", type=Path, metavar="FILE", help="where the archive of an access request is written")),
    ),
    Command("request", "reject", "end the request without doing it", _plain("requests.reject", "request"), (_REQUEST,)),
)  # fmt: skip
"""In the order of the help."""
