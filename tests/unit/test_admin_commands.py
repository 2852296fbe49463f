"""``kloudtalk admin`` can do all that the operators' API can: what has no command needs a browser."""

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from signaling.admin_cli import commands, main
from signaling.admin_cli.commands import COMMANDS, Command
from signaling.wire.admin.endpoints import ADMIN_ENDPOINTS, ADMIN_EVENTS
from signaling.wire.admin.people import RequestKind

NEEDS_A_BROWSER = {
    "admin.ways",  # which ways to sign in the page offers
    "admin.passkey_options", "admin.passkey", "me.passkey_options", "me.add_passkey", "me.remove_passkey",
    "admin.oidc", "admin.oidc_callback",
}  # fmt: skip
KNOWN = {
    "content": "aGk", "signed_in": SimpleNamespace(operator="ada"), "whole": True, "totp_secret": "x", "totp_uri": "x",
}  # fmt: skip
"""What commands look for in answers before they print them."""
ENDPOINTS = {endpoint.id: endpoint for endpoint in ADMIN_ENDPOINTS}


class Asked:
    """Notes what it is asked for, and that path and query are the endpoint's."""

    def __init__(self) -> None:
        self.operations: set[str] = set()
        self.kind = RequestKind.ERASURE

    async def ask(self, operation: str, body: Any = None, query: dict[str, str] | None = None, **path: str) -> Any:
        endpoint = ENDPOINTS[operation]
        assert "{" not in endpoint.path.format(**path)
        assert set(query or {}) <= {parameter.name for parameter in endpoint.query}, operation
        assert (body is not None) == (endpoint.body is not None), operation
        assert body is None or type(body) is endpoint.body, operation
        self.operations.add(operation)
        return b"archive" if endpoint.download is not None else SimpleNamespace(kind=self.kind, **KNOWN)

    async def follow(self, _call: str | None) -> Any:
        self.operations.add("operations.stream")
        yield "overview", b"{}"


def typed(command: Command, folder: Path) -> list[str]:
    """The command with all that it must be given, and the first of what it can be given."""
    words = [word for word in (command.group, command.name) if word]
    for names, options in command.arguments:
        by_type = {int: "1", Path: str(folder / "file")}
        value = str(options["choices"][0]) if "choices" in options else by_type.get(options.get("type"), "x" * 12)
        if not names[0].startswith("-"):
            words.append(value)
        elif options.get("required") or names[0] in ("--hours", "--events", "--phone", "--document", "--role"):
            words += [names[0], value]
    return words


async def test_every_operation_has_a_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("secret", "new_password"):
        monkeypatch.setattr(commands, name, lambda *_: "x" * 12)
    monkeypatch.setattr(commands, "confirm_authenticator", lambda *_: "123456")
    parser = argparse.ArgumentParser()
    main.add_commands(parser.add_subparsers(), lambda _parser: None)
    asked: Any = Asked()
    archive = ["request", "fulfil", "x", "--output", str(tmp_path / "archive.zip")]
    for command, words in [*((command, typed(command, tmp_path)) for command in COMMANDS), (None, archive)]:
        options = parser.parse_args(["admin", *words])
        assert command in (None, options.admin_command)
        asked.kind = RequestKind.ERASURE if command else RequestKind.ACCESS
        await options.admin_command.run(asked, options)
    assert {endpoint.id for endpoint in ADMIN_ENDPOINTS} - asked.operations == NEEDS_A_BROWSER
    assert {stream.id for stream in ADMIN_EVENTS} <= asked.operations
    assert (tmp_path / "archive.zip").read_bytes() == b"archive"
