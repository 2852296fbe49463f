"""How operators get in, over real HTTP: enrolment, both factors, limits, sessions, CSRF, passkeys, tokens."""

import asyncio

import pytest
from sqlalchemy import select, update

from signaling.operators.limits import ADDRESS_FAILURES, FAILURES
from signaling.storage.tables import operator_sessions, operators
from signaling.wire.admin.access import SESSION_COOKIE, ChangeOperator
from signaling.wire.admin.frame import Permission, Role
from tests.operators import Authenticator, Person, signed_in


async def test_an_invitation_is_used_once_and_gives_password_and_second_factor(hub):
    invitation = await hub.hub.operators.operators.add(None, "ada", Role.SUPPORT)
    ada = Person(hub.url, "ada")
    assert (await ada.enrol("0" * 64)).code == "enrolment_invalid"
    begun = await ada.ask("admin.enrol", {"operator": "ada", "code": invitation.code})
    assert begun.body["totp_uri"].startswith("otpauth://totp/KloudTalk:ada?")
    assert begun.body["totp_qr"].startswith("data:image/svg+xml")
    ada.secret = begun.body["totp_secret"]
    finish = {"operator": "ada", "code": invitation.code, "password": "short", "totp_code": ada.code()}
    assert (await ada.ask("admin.finish_enrolment", finish)).code == "password_weak"
    wrong = "000000" if finish["totp_code"] != "000000" else "000001"
    assert (await ada.ask("admin.finish_enrolment", finish | {"password": ada.password, "totp_code": wrong})).code == "code_wrong"
    answer = await ada.enrol(invitation.code)
    assert (answer.status, answer.body["role"], answer.body["method"]) == (200, "support", "password")
    cookie = answer.headers.getall("Set-Cookie")[0]
    assert cookie.startswith(f"{SESSION_COOKIE}=")
    assert all(part in cookie for part in ("HttpOnly", "SameSite=Strict", "Path=/v1/admin"))
    assert "Secure" not in cookie  # this page came by http
    assert (await ada.enrol(invitation.code)).code == "enrolment_invalid"
    me = (await ada.ask("me.get")).body
    assert (me["signed_in"]["operator"], me["has_password"], me["passkeys"]) == ("ada", True, [])
    async with hub.hub.database.begin() as connection:
        row = (await connection.execute(select(operators))).one()
    assert row.password_hash.startswith("$argon2id$")
    assert ada.secret.encode() not in row.totp_secret


async def test_both_factors_are_needed_a_code_works_once_and_refusals_are_alike(hub):
    ada = await signed_in(hub, "ada")
    used = await ada.fresh()
    assert (await ada.login(code=used)).status == 200
    refusals = [
        await ada.login(code=used),  # replayed
        await ada.login(password="not her password"),
        await ada.login(operator="nobody"),
    ]
    assert {(answer.status, answer.body["message"]) for answer in refusals} == {
        (403, "What was given does not belong together, or this operator may not sign in.")
    }
    await hub.hub.operators.operators.change(None, "ada", ChangeOperator(disabled=True))
    assert (await ada.login()).code == "sign_in_failed"
    assert (await ada.ask("me.get")).code == "unauthenticated"


async def test_who_guesses_locks_out_guessers_and_not_the_operator_in_their_own_browser(hub):
    ada = await signed_in(hub, "ada")
    authenticator = await with_passkey(ada)
    stranger = Person(hub.url, "ada", secret=ada.secret, running=hub, password="wrong password")
    for _ in range(FAILURES):
        assert (await stranger.login(code="000000")).code == "sign_in_failed"
    stranger.password = ada.password
    locked = await stranger.login(code="000000")
    assert (locked.status, locked.code) == (429, "rate_limited")
    assert 0 < locked.body["retry_after"] <= 900
    assert (await ada.login()).status == 200  # a browser she has signed in with before
    assert (await Person(hub.url).sign(authenticator)).status == 200
    forged = Person(
        hub.url, "ada", secret=ada.secret, running=hub, cookies={"kloudtalk_operator_browser": "x" * 22 + "." + "y" * 43}
    )
    assert (await forged.login()).status == 429
    await hub.hub.operators.limits.unlock("ada")
    assert (await forged.login()).status == 200
    actions = [(entry.action, entry.subject) for entry in await hub.hub.audit.read()]
    assert actions.count(("locked_out", "ada")) == 1


async def test_what_a_session_changes_needs_the_csrf_token_and_the_own_origin(hub):
    ada = await signed_in(hub, "ada")
    body = {"operator": "bea", "role": "viewer"}
    csrf, ada.csrf = ada.csrf, ""
    assert (await ada.ask("operators.add", body)).code == "csrf_token_wrong"
    ada.csrf = csrf[:-1] + ("A" if csrf[-1] != "A" else "B")
    assert (await ada.ask("operators.add", body)).code == "csrf_token_wrong"
    ada.csrf = csrf
    for origin in ("https://evil.example", "null"):
        ada.origin = origin
        assert (await ada.ask("operators.add", body)).code == "forbidden_origin"
        assert (await ada.ask("me.get")).code == "forbidden_origin"
    ada.origin = None
    assert (await ada.ask("operators.add", body)).status == 201


async def test_sessions_are_seen_ended_and_end_by_themselves(hub):
    ada = await signed_in(hub, "ada")
    other = Person(hub.url, "ada", secret=ada.secret, running=hub)
    assert (await other.login()).status == 200
    listed = (await ada.ask("me.sessions")).body["sessions"]
    assert sorted((s["method"], s["agent"], s["current"]) for s in listed) == [
        ("password", "a test's browser", False), ("password", "a test's browser", True),
    ]  # fmt: skip
    theirs = next(s["session"] for s in listed if not s["current"])
    assert (await ada.ask("me.end_session", session=theirs)).status == 204
    assert (await ada.ask("me.end_session", session=theirs)).code == "not_found"
    assert (await other.ask("me.get")).code == "unauthenticated"
    changed = {"password": ada.password, "code": await ada.fresh(), "new_password": "another horse, 4 staples"}
    assert (await ada.ask("me.change_password", changed | {"new_password": "ada ada ada ada"})).code == "password_weak"
    assert (await ada.ask("me.change_password", changed)).status == 204
    assert (await ada.ask("me.get")).status == 200
    before = ada.cookies[SESSION_COOKIE]
    answer = await ada.ask("admin.logout")
    assert (answer.status, SESSION_COOKIE in ada.cookies) == (204, False)
    ada.cookies[SESSION_COOKIE] = before
    assert (await ada.ask("me.get")).code == "unauthenticated"
    for column, ago in ((operator_sessions.c.seen_at, 30 * 60), (operator_sessions.c.created_at, 12 * 3600)):
        bea = await signed_in(hub, "bea", Role.VIEWER)
        async with hub.hub.database.begin() as connection:
            await connection.execute(update(operator_sessions).values({column: column - ago * 1000}))
        assert (await bea.ask("me.get")).code == "unauthenticated"


async def with_passkey(person: Person) -> Authenticator:
    authenticator = Authenticator()
    options = (await person.ask("me.passkey_options", {"password": person.password})).body["options"]
    made = await person.ask("me.add_passkey", {"name": "a key", "credential": authenticator.create(options, person.url)})
    assert made.status == 201, made.body
    return authenticator


async def test_a_passkey_signs_in_alone_for_this_host_once_and_only_verified(hub):
    ada = await signed_in(hub, "ada")
    assert (await ada.ask("me.passkey_options", {"password": "wrong"})).code == "sign_in_failed"
    authenticator = await with_passkey(ada)
    browser = Person(hub.url)
    answer = await browser.sign(authenticator)
    assert (answer.status, answer.body["operator"], answer.body["method"]) == (200, "ada", "passkey")
    options = (await browser.ask("admin.passkey_options")).body["options"]
    credential = authenticator.get(options, hub.url)
    assert (await browser.ask("admin.passkey", {"credential": credential})).status == 200
    refused = {
        "used again": credential,
        "of another page": authenticator.get((await browser.ask("admin.passkey_options")).body["options"], "https://evil.example"),
        "made up": authenticator.get(options | {"challenge": options["challenge"][::-1]}, hub.url),
        "unknown": Authenticator().get((await browser.ask("admin.passkey_options")).body["options"], hub.url),
        "nonsense": {"rawId": 7, "response": []},
    }
    authenticator.uses = 1
    refused["copied"] = authenticator.get((await browser.ask("admin.passkey_options")).body["options"], hub.url)
    authenticator.flags, authenticator.uses = 0x01, 50
    refused["without the finger"] = authenticator.get((await browser.ask("admin.passkey_options")).body["options"], hub.url)
    for why, what in refused.items():
        assert (await browser.ask("admin.passkey", {"credential": what})).code == "sign_in_failed", why
    (passkey,) = (await ada.ask("me.get")).body["passkeys"]
    assert passkey["used_at"]
    options = (await ada.ask("me.passkey_options", {"password": ada.password})).body["options"]
    unverified = Authenticator(verified=False).create(options, hub.url)
    assert (await ada.ask("me.add_passkey", {"name": "x", "credential": unverified})).code == "passkey_invalid"
    assert (await ada.ask("me.remove_passkey", passkey=passkey["passkey"])).status == 204
    authenticator.flags, authenticator.uses = 0x05, 60
    assert (await browser.sign(authenticator)).code == "sign_in_failed"


async def test_a_token_does_what_its_scopes_say_and_its_owner_may(hub):
    ada = await signed_in(hub, "ada")
    made = (await ada.ask("admin_tokens.add", {"name": "export", "scopes": ["audit.read", "tickets"], "days": 1})).body
    program = Person(hub.url, token=made["token"], origin=hub.url)
    assert made["token"].startswith("kta_")
    assert (await program.ask("audit.list")).status == 200
    assert (await program.ask("desk.queue")).status == 200
    for operation in ("aggregates.read", "operators.list", "me.get"):
        assert (await program.ask(operation)).code == "forbidden", operation
    refused = await ada.ask("admin_tokens.add", {"name": "x", "scopes": ["operators"]})
    assert (refused.status, refused.code) == (409, "not_possible")
    assert (await program.ask("desk.close", ticket="x" * 22)).code == "not_found"  # no CSRF token: it has no cookie
    listed = (await ada.ask("admin_tokens.list")).body["tokens"]
    assert [(t["name"], t["scopes"]) for t in listed] == [("export", ["tickets", "audit.read"])]
    assert made["token"] not in str(listed)
    await hub.hub.operators.operators.change(None, "ada", ChangeOperator(role=Role.SUPPORT))
    assert (await program.ask("audit.list")).code == "forbidden"  # the owner may not any more
    await hub.hub.operators.operators.change(None, "ada", ChangeOperator(role=Role.ADMIN))
    assert (await ada.ask("admin_tokens.revoke", token=made["info"]["id"])).status == 204
    assert (await program.ask("audit.list")).code == "unauthenticated"


async def test_administrators_look_after_operators_and_never_themselves(hub):
    ada = await signed_in(hub, "ada")
    invited = (await ada.ask("operators.add", {"operator": "bea", "role": "support"})).body
    bea = Person(hub.url, "bea", running=hub)
    assert (await bea.enrol(invited["code"])).status == 200
    for body in ({"role": "viewer"}, {"disabled": True}):
        assert (await ada.ask("operators.change", body, operator="ada")).code == "not_possible"
    assert (await ada.ask("operators.remove", operator="ada")).code == "not_possible"
    assert (await ada.ask("operators.add", {"operator": "local", "role": "viewer"})).code == "not_possible"
    assert (await ada.ask("operators.add", {"operator": "Bea", "role": "viewer"})).code == "invalid"
    changed = (await ada.ask("operators.change", {"role": "viewer"}, operator="bea")).body
    assert changed["role"] == "viewer"
    assert Permission.TICKETS not in (await bea.ask("me.get")).body["signed_in"]["permissions"]  # at once
    assert (await ada.ask("operators.change", {"disabled": True}, operator="bea")).status == 200
    assert (await bea.ask("me.get")).code == "unauthenticated"
    assert (await ada.ask("operators.change", {"disabled": False}, operator="bea")).status == 200
    assert (await bea.login()).status == 200
    again = (await ada.ask("operators.invite", operator="bea")).body
    assert (await bea.login()).code == "sign_in_failed"
    assert (await bea.enrol(again["code"])).status == 200
    assert len((await ada.ask("operators.sessions", operator="bea")).body["sessions"]) == 1
    assert (await ada.ask("operators.end_sessions", operator="bea")).status == 204
    assert (await bea.ask("me.get")).code == "unauthenticated"
    assert [(o["operator"], o["role"], o["enrolled"]) for o in (await ada.ask("operators.list")).body["operators"]] == [
        ("ada", "admin", True), ("bea", "viewer", True),
    ]  # fmt: skip
    assert (await ada.ask("operators.remove", operator="bea")).status == 204
    assert (await ada.ask("operators.add", {"operator": "bea", "role": "viewer"})).code == "not_possible"  # names mean one person
    checked = (await ada.ask("audit.verify")).body
    assert checked["whole"]
    newest = (await ada.ask("audit.list", query={"limit": "2"})).body
    assert [entry["action"] for entry in newest["entries"]] == ["operator_removed", "sessions_ended"]
    older = (await ada.ask("audit.list", query={"limit": "500", "before": str(newest["next"])})).body
    assert len(newest["entries"]) + len(older["entries"]) == checked["entries"]


@pytest.mark.parametrize("body", [{}, {"operator": "ada"}, [], {"operator": "a" * 100, "password": "x", "code": "123456"}])
async def test_nonsense_is_refused(hub, body):
    answer = await Person(hub.url).ask("admin.login", body)
    assert answer.status in (400, 422)


async def test_guesses_at_the_same_time_are_as_few_as_one_after_the_other(hub):
    ada = await signed_in(hub, "ada")
    stranger = Person(hub.url, "ada", secret=ada.secret, running=hub, password="wrong password")
    answers = await asyncio.gather(*(stranger.login(code="000000") for _ in range(3 * FAILURES)))
    assert sorted(answer.code for answer in answers) == ["rate_limited"] * 2 * FAILURES + ["sign_in_failed"] * FAILURES
    assert [entry.action for entry in await hub.hub.audit.read() if entry.subject == "ada"].count("locked_out") == 1


async def test_sign_ins_that_are_right_do_not_use_up_the_tries_of_their_address(hub):
    ada = await signed_in(hub, "ada")
    ada.cookies.clear()
    for _ in range(ADDRESS_FAILURES + 1):
        assert (await ada.login()).status == 200
        ada.cookies.clear()
