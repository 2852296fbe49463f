"""Tickets, announcements, business accounts (P27, P28, P30)."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import select

from signaling.client.media import ToneTrack
from signaling.operators.operator import Operator, OperatorError
from signaling.privacy.retention import Retention, rules
from signaling.storage.tables import ticket_attachments, ticket_messages, tickets
from signaling.support.tickets import MAX_OPEN
from signaling.wire import base64url
from signaling.wire.errors import ErrorCode
from signaling.wire.messages import TicketChanged
from signaling.wire.rest import (
    AddTicketMessage,
    AskProfiles,
    Attachment,
    ChangeObjection,
    ChangeSettings,
    Interest,
    OpenTicket,
    TicketState,
    WhoCanCall,
)
from tests.conftest import Clock
from tests.integration.hub_fixture import register
from tests.integration.test_client_calls import ALICE, BOB, acquainted, history_of, rung
from tests.integration.test_rest_account import code_of, hearing

ADA = Operator("ada")
PICTURE = bytes(range(256)) * 4


@pytest.fixture
async def alice(hub):
    async with await register(hub, ALICE) as client:
        yield client


def question(text: str = "It echoes.") -> OpenTicket:
    return OpenTicket("Echo", text, [Attachment("screen ✓.png", "image/png", base64url.encode(PICTURE))])


async def test_a_ticket_is_asked_answered_closed_and_opened_again(hub, alice):
    opened = await alice._ask("tickets.open", question(), session=True)
    assert (opened.state, opened.messages[0].text, opened.messages[0].from_operator) == (TicketState.OPEN, "It echoes.", False)
    (file,) = opened.messages[0].attachments
    assert (file.name, file.media_type, file.bytes) == ("screen ✓.png", "image/png", len(PICTURE))
    content = await alice._ask("tickets.attachment", session=True, ticket=opened.ticket, attachment=file.attachment)
    assert base64url.decode(content.content) == PICTURE
    assert [line.ticket for line in await hub.hub.tickets.queue()] == [opened.ticket]
    assert await hub.hub.tickets.read_attachment(ADA, opened.ticket, file.attachment) == content
    await hub.hub.tickets.answer(ADA, opened.ticket, "Use headphones.")
    answered = await alice._ask("tickets.get", session=True, ticket=opened.ticket)
    assert answered.state is TicketState.ANSWERED
    assert [(m.from_operator, m.text) for m in answered.messages] == [(False, "It echoes."), (True, "Use headphones.")]
    await hub.hub.tickets.close(ADA, opened.ticket)
    assert await hub.hub.tickets.queue() == []
    again = await alice._ask("tickets.add_message", AddTicketMessage("Still."), session=True, ticket=opened.ticket)
    assert again.state is TicketState.OPEN
    (listed,) = (await alice._ask("tickets.list", session=True)).tickets
    assert listed.ticket == opened.ticket
    done = [(e.operator, e.action) for e in await hub.hub.audit.read()]
    assert done == [("ada", "ticket_read"), ("ada", "ticket_answered"), ("ada", "ticket_closed")]


async def test_a_ticket_is_its_owner_s_and_goes_with_everything_in_it(hub, alice):
    ticket = (await alice._ask("tickets.open", question(), session=True)).ticket
    async with await register(hub, BOB) as bob:
        for work in (
            bob._ask("tickets.get", session=True, ticket=ticket),
            bob._ask("tickets.add_message", AddTicketMessage("mine?"), session=True, ticket=ticket),
            bob._ask("tickets.delete", session=True, ticket=ticket),
            bob._ask("tickets.attachment", session=True, ticket=ticket, attachment="A" * 22),
        ):
            assert await code_of(work) is ErrorCode.NOT_FOUND
        assert (await bob._ask("tickets.list", session=True)).tickets == []
    await alice._ask("tickets.delete", session=True, ticket=ticket)
    async with hub.hub.database.begin() as connection:
        for table in (tickets, ticket_messages, ticket_attachments):
            assert (await connection.execute(select(table))).all() == []
    with pytest.raises(OperatorError, match="no such"):
        await hub.hub.tickets.answer(ADA, ticket, "Hello?")


@pytest.mark.parametrize(
    "body",
    [
        OpenTicket("", "x"),
        OpenTicket("x", ""),
        OpenTicket("x", "y" * 4001),
        OpenTicket("x", "y", [Attachment("a/b", "image/png", "AA")]),
        OpenTicket("x", "y", [Attachment("a", "text/html", "AA")]),
        OpenTicket("x", "y", [Attachment("a", "image/png", "A")]),
        OpenTicket("x", "y", [Attachment("a", "image/png", "AA")] * 6),
    ],
)
async def test_a_ticket_out_of_bounds_is_invalid_and_leaves_nothing(hub, alice, body):
    assert await code_of(alice._ask("tickets.open", body, session=True)) is ErrorCode.INVALID
    assert (await alice._ask("tickets.list", session=True)).tickets == []


async def test_the_user_is_told_of_an_answer_on_every_device_until_it_is_read(hub, alice):
    ticket = (await alice._ask("tickets.open", question(), session=True)).ticket
    told = hearing(alice, TicketChanged)
    await hub.hub.tickets.answer(ADA, ticket, "Use headphones.")
    async with asyncio.timeout(10):
        assert (await told.get()).ticket == ticket
    assert [line.unread for line in (await alice._ask("tickets.list", session=True)).tickets] == [True]
    assert (await alice._ask("tickets.get", session=True, ticket=ticket)).unread, "it was, until now"
    async with asyncio.timeout(10):
        assert (await told.get()).ticket == ticket  # the other devices put it away, too
    assert [line.unread for line in (await alice._ask("tickets.list", session=True)).tickets] == [False]
    await hub.hub.tickets.answer(ADA, ticket, "Or a cable.")
    assert [line.unread for line in (await alice._ask("tickets.list", session=True)).tickets] == [True]


async def test_open_tickets_are_limited_and_large_ones_refused(hub, alice):
    for _ in range(MAX_OPEN):
        await alice._ask("tickets.open", OpenTicket("x", "y"), session=True)
    assert await code_of(alice._ask("tickets.open", OpenTicket("x", "y"), session=True)) is ErrorCode.TOO_MANY_TICKETS
    large = Attachment("a", "application/zip", "A" * 700_000)
    two = AddTicketMessage("x", [large, large])
    ticket = (await alice._ask("tickets.list", session=True)).tickets[0].ticket
    assert await code_of(alice._ask("tickets.add_message", two, session=True, ticket=ticket)) is ErrorCode.TOO_LARGE


async def test_a_closed_ticket_goes_after_its_lifetime(hub, alice):
    old = (await alice._ask("tickets.open", question(), session=True)).ticket
    await alice._ask("tickets.open", question(), session=True)
    await hub.hub.tickets.close(ADA, old)
    import time

    retention = Retention(
        database=hub.hub.database, rules=rules(call_history_days=0), sweeps={}, clock=Clock(time.time() + 181 * 86_400)
    )
    assert (await retention.once())["closed tickets"] == 1
    assert len((await alice._ask("tickets.list", session=True)).tickets) == 1


async def test_announcements_reach_who_does_not_object(hub, alice):
    made = await hub.hub.announcements.add(ADA, "Groups", "You can now talk with several people.")
    assert (await alice._ask("announcements.list", session=True)).announcements == [made]
    await alice._ask("objections.change", ChangeObjection(True), session=True, interest=Interest.ANNOUNCEMENTS)
    assert (await alice._ask("announcements.list", session=True)).announcements == []
    await alice._ask("objections.change", ChangeObjection(False), session=True, interest=Interest.ANNOUNCEMENTS)
    assert len((await alice._ask("announcements.list", session=True)).announcements) == 1
    await hub.hub.announcements.withdraw(ADA, made.announcement)
    assert (await alice._ask("announcements.list", session=True)).announcements == []
    with pytest.raises(OperatorError, match="no such"):
        await hub.hub.announcements.withdraw(ADA, made.announcement)
    with pytest.raises(OperatorError, match="title"):
        await hub.hub.announcements.add(ADA, "", "x")


async def test_a_business_is_marked_where_others_meet_it(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        changed = await bob._ask("settings.change", ChangeSettings(business=True), session=True)
        assert changed.business
        account = bob.profile.account
        assert (await alice._ask("devices.of_account", session=True, account=account)).business
        assert [p.business for p in (await alice._ask("profile.list", AskProfiles([account]), session=True)).profiles] == [True]
        call = await alice.call(account, track=ToneTrack(440))
        await (await rung(bob)).decline()
        await history_of(alice, call.id)
        await history_of(bob, call.id)
        assert [record.business for record in await alice.history()] == [True]
        assert [record.business for record in await bob.history()] == [False]


async def test_who_is_called_sees_that_a_business_calls_before_taking_the_call(hub):
    """Also of one that is not in the address book (P30)."""
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        await alice._ask("settings.change", ChangeSettings(who_can_call=WhoCanCall.EVERYONE), session=True)
        await alice._ask("contacts.delete", session=True)
        call = await bob.call(alice.profile.account, track=ToneTrack(440))
        assert not (await rung(alice)).business
        await call.hangup()
        await bob._ask("settings.change", ChangeSettings(business=True), session=True)
        call = await bob.call(alice.profile.account, track=ToneTrack(440))
        assert (await rung(alice)).business
        await call.hangup()
