"""``kloudtalk admin`` as people type it, beside a running service: the first operator, the second, a written request, a token."""

import asyncio
import json
import os
from contextlib import AsyncExitStack
from pathlib import Path

from tests.integration.test_call_traces import connected, phones
from tests.integration.test_client_calls import ALICE
from tests.integration.test_erasure_bytes import Codes
from tests.integration.test_erasure_bytes import register as register_at
from tests.integration.test_serve import ROOT, kloudtalk, ready
from tests.operators import PASSWORD, signed_in


async def admin(home: Path, url: str, *arguments: str, typed: str = "", token: str = "") -> tuple[int, str, str]:
    """One command of somebody whose home is this folder: status, output, what it said besides."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KLOUDTALK_")}
    environment |= {"XDG_CONFIG_HOME": str(home), "KLOUDTALK_ADMIN_URL": url} | ({"KLOUDTALK_ADMIN_TOKEN": token} if token else {})
    process = await asyncio.create_subprocess_exec(
        str(ROOT / ".venv/bin/kloudtalk"), "admin", *arguments, env=environment, cwd=home.parent,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        said, besides = await process.communicate(typed.encode())
    assert process.returncode is not None
    return process.returncode, said.decode(), besides.decode()


async def test_from_the_first_operator_to_an_erasure(tmp_path: Path):
    folder, ada, bea = tmp_path / "d", tmp_path / "ada", tmp_path / "bea"
    status, _, wrong = await admin(ada, "", "create", "ada", "--data-dir", str(tmp_path / "nowhere"), typed=PASSWORD + "\n")
    assert (status, "not the folder" in wrong) == (1, True)
    async with kloudtalk("serve", "--port", "0", "--data-dir", str(folder)) as process:
        url = await ready(process)
        codes = Codes(process)
        async with AsyncExitStack() as stack:
            anne = await register_at(url, ALICE, codes, stack)
            status, _, wrong = await admin(ada, url, "create", "ada", "--data-dir", str(folder), typed="short\n")
            assert (status, "12 characters" in wrong) == (1, True)
            status, said, wrong = await admin(ada, url, "create", "ada", "--data-dir", str(folder), typed=PASSWORD + "\n")
            assert status == 0, wrong
            assert "otpauth://totp/KloudTalk:ada?" in said
            status, _, wrong = await admin(ada, url, "me")
            assert (status, "kloudtalk admin login" in wrong) == (1, True)
            # the code that enrolled her is used up: she is invited anew rather than waiting for the next
            status, code, _ = await admin(ada, url, "reset", "ada", "--data-dir", str(folder))
            assert status == 0
            status, said, wrong = await admin(ada, url, "enrol", "ada", typed=f"{code}{PASSWORD}\n")
            assert (status, "signed in as ada" in said) == (0, True), wrong
            assert (ada / "kloudtalk/admin.json").stat().st_mode & 0o777 == 0o600
            status, said, _ = await admin(ada, url, "operator", "add", "bea", "--role", "support", "--json")
            invited = json.loads(said)
            status, said, wrong = await admin(bea, url, "enrol", "bea", typed=f"{invited['code']}\n{PASSWORD}\n")
            assert status == 0, wrong
            status, _, wrong = await admin(bea, url, "operator", "list")
            assert (status, "do not allow" in wrong) == (1, True)

            status, _, wrong = await admin(ada, url, "request", "open", "erasure")
            assert (status, "--phone or --email" in wrong) == (1, True)
            status, said, wrong = await admin(ada, url, "request", "open", "erasure", "--phone", ALICE, "--json")
            assert status == 0, wrong
            request = json.loads(said)["id"]
            for who, arguments in (
                (ada, ("verify", request, "--document", "identity_document")),
                (bea, ("confirm", request)),
                (ada, ("fulfil", request)),
            ):
                status, _, wrong = await admin(who, url, "request", *arguments)
                assert status == 0, wrong
            async with asyncio.timeout(20):
                await anne.revoked.wait()

            status, said, _ = await admin(
                ada, url, "token", "add", "nightly", "--scope", "aggregates", "--scope", "audit.read", "--days", "7"
            )
            token = said.split()[0]
            status, said, _ = await admin(tmp_path, url, "aggregates", token=token)
            assert (status, said.strip()) == (0, '{"accounts_by_country":{}}')
            status, said, _ = await admin(tmp_path, url, "audit", "list", token=token)
            assert "fulfilled" in said
            assert "token_added" in said
            status, said, _ = await admin(tmp_path, url, "audit", "verify", token=token)
            assert (status, "whole          yes" in said) == (0, True)
            assert (await admin(ada, url, "logout"))[0] == 0
            assert (await admin(ada, url, "me"))[0] == 1
            assert not (ada / "kloudtalk/admin.json").exists()
    status, _, wrong = await admin(bea, url, "me")
    assert (status, "does not answer" in wrong) == (1, True)


async def test_what_goes_on_and_what_is_done_about_it(hub, tmp_path: Path):
    ada = await signed_in(hub, "ada")
    scopes = {"name": "t", "scopes": ["operations.read", "calls.end", "hubs.drain"]}
    token = (await ada.ask("admin_tokens.add", scopes)).body["token"]

    async def asked(*arguments: str) -> str:
        status, said, wrong = await admin(tmp_path / "home", hub.url, *arguments, token=token)
        assert status == 0, wrong
        return said

    async with AsyncExitStack() as stack:
        alice, bob = await phones(hub, stack, hub.url, hub.url)
        call = await connected(alice, bob)
        await hub.hub.operations._loads.say(0.001)
        assert "2 devices; live calls: 1 connected" in await asked("overview")
        assert hub.hub.cluster.node in await asked("hub", "list")
        assert await asked("relay", "list") == "no relay is alive\n"
        live = await asked("call", "live")
        assert call in live
        assert hub.hub.pseudonyms.of(alice.account.id) in live
        events = [json.loads(line) for line in (await asked("watch", "--call", call, "--events", "3")).splitlines()]
        assert {event["event"] for event in events} == {"overview", "calls", "call"}
        assert [e["data"]["call"]["call"] for e in events if e["event"] == "call"] == [call]
        assert await asked("call", "end", call, "--reason", "asked for in ticket 7") == ""
        assert await alice.reaches(call, "ended:unavailable")
        shown = await asked("call", "show", call)
        for line in ("rang callee", "media caller", "connected\n", "ended\n", "reason         unavailable"):
            assert line in shown, shown
        assert call in await asked("call", "list", "--why", "unavailable")
        assert await asked("call", "list", "--why", "declined") == "none\n"
        await hub.hub.operations.written()
        assert "success 100.0 %" in await asked("figures", "--hours", "6")
        for words, why in (
            (("hub", "drain", hub.hub.cluster.node), "the only hub"),
            (("relay", "drain", "r" * 12), "no such relay"),
            (("call", "end", call), "no call with this id goes on"),
        ):
            status, _, wrong = await admin(tmp_path / "home", hub.url, *words, "--reason", "update", token=token)
            assert (status, why in wrong) == (1, True), wrong


async def test_commands_of_old_say_where_they_are(tmp_path: Path):
    async with kloudtalk("ticket", "list") as process:
        said, _ = await process.communicate()
    assert process.returncode == 2
    assert b"kloudtalk admin ticket" in said
