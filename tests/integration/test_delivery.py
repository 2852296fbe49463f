"""Codes reach phones and mailboxes through real sockets, and what fails is said so (P01)."""

import asyncio
import email
import email.policy
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from signaling.accounts.delivery import ConsoleDelivery, DeliveryError, HttpSmsDelivery, SmtpDelivery
from signaling.client.client import Client
from signaling.client.rest import ClientError
from signaling.wire.errors import ErrorCode
from signaling.wire.rest import Channel, StartRegistration


class MailServer:
    """As much of SMTP (RFC 5321) as a submission needs; keeps what it is given."""

    def __init__(self, refuse: bool = False) -> None:
        self.port = 0
        self.refuse = refuse
        self.mails: list[tuple[str, str, email.message.EmailMessage]] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(line: str) -> None:
            writer.write(f"{line}\r\n".encode())

        say("220 test ESMTP")
        sender = recipient = ""
        while line := (await reader.readline()).decode().strip():
            match line.split(":")[0].split()[0].upper():
                case "EHLO" | "HELO":
                    say("250 test")
                case "MAIL":
                    sender = line.split("<")[1].split(">")[0]
                    say("250 ok")
                case "RCPT":
                    recipient = line.split("<")[1].split(">")[0]
                    say("550 no such mailbox" if self.refuse else "250 ok")
                case "DATA":
                    say("354 go on")
                    data = (await reader.readuntil(b"\r\n.\r\n"))[:-5]
                    self.mails.append((sender, recipient, email.message_from_bytes(data, policy=email.policy.default)))
                    say("250 ok")
                case "QUIT":
                    say("221 bye")
                    break
                case _:
                    say("250 ok")
        writer.close()


@asynccontextmanager
async def mail_server(refuse: bool = False):
    mails = MailServer(refuse)
    server = await asyncio.start_server(mails.talk, "127.0.0.1", 0)
    mails.port = server.sockets[0].getsockname()[1]
    async with server:
        yield mails


def smtp(port: int) -> SmtpDelivery:
    return SmtpDelivery(
        host="127.0.0.1",
        port=port,
        username=None,
        password=None,
        sender="codes@talk.example",
        tls="none",
        server_name="Talk",
    )


async def test_a_code_is_mailed():
    async with mail_server() as server:
        delivery = smtp(server.port)
        await delivery.send("zoë@example.org".replace("ë", "e"), "123456")
        await delivery.close()
    ((sender, recipient, mail),) = server.mails
    assert (sender, recipient) == ("codes@talk.example", "zoe@example.org")
    assert mail["To"] == "zoe@example.org"
    assert "123456" in mail["Subject"] + mail.get_content()
    assert "Talk" in mail.get_content()


async def test_a_mail_server_that_refuses_or_is_not_there_is_an_error_without_the_address():
    async with mail_server(refuse=True) as server:
        with pytest.raises(DeliveryError) as refused:
            await smtp(server.port).send("ann@example.org", "123456")
        assert "ann@" not in str(refused.value)
        assert "123456" not in str(refused.value)
        assert server.mails == []
    with pytest.raises(DeliveryError):
        await smtp(server.port).send("ann@example.org", "123456")


@asynccontextmanager
async def gateway(status: int):
    got: list[tuple[str | None, dict]] = []

    async def take(request: web.Request) -> web.Response:
        got.append((request.headers.get("Authorization"), await request.json()))
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})

    app = web.Application()
    app.router.add_post("/sms", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/sms", got
    await runner.cleanup()


async def test_a_code_goes_to_the_sms_gateway():
    async with gateway(202) as (url, got):
        delivery = HttpSmsDelivery(url=url, authorization="Key abc", server_name="Talk")
        await delivery.send("+4930123456", "654321")
        await delivery.close()
    ((authorization, body),) = got
    assert authorization == "Key abc"
    assert body["to"] == "+4930123456"
    assert "654321" in body["text"]


@pytest.mark.parametrize("status", [302, 400, 401, 500])
async def test_a_gateway_that_does_not_take_it_is_an_error_without_the_number(status):
    async with gateway(status) as (url, _):
        delivery = HttpSmsDelivery(url=url, authorization=None, server_name="Talk")
        with pytest.raises(DeliveryError) as refused:
            await delivery.send("+4930123456", "654321")
        await delivery.close()
    assert "4930123456" not in str(refused.value)
    assert "654321" not in str(refused.value)


async def test_the_console_prints_one_line(capsys):
    await ConsoleDelivery().send("+4930123456", "654321")
    assert capsys.readouterr().out == "code 654321 for +4930123456\n"


@pytest.mark.parametrize("broken", list(Channel))
async def test_whom_a_code_cannot_be_sent_is_told_so_and_can_try_again(hub, caplog, redis, broken):
    async with (
        mail_server(refuse=broken is Channel.EMAIL) as server,
        gateway(500 if broken is Channel.PHONE else 200) as (url, got),
    ):
        hub.hub.delivery[Channel.EMAIL] = smtp(server.port)
        hub.hub.delivery[Channel.PHONE] = HttpSmsDelivery(url=url, authorization=None, server_name="Talk")
        async with Client(hub.url) as client:
            start = StartRegistration("+4930901820", "ann@example.org", hub.hub.settings.policy_version)
            with pytest.raises(ClientError) as refused:
                await client._ask("registration.start", start)
            assert refused.value.code is ErrorCode.DELIVERY_FAILED
            assert await redis.keys("registration:*") == []
            server.refuse = False
            if broken is Channel.EMAIL:
                assert (await client._ask("registration.start", start)).email == "ann@example.org"
                ((_, recipient, mail),) = server.mails
                assert recipient == "ann@example.org"
                assert got[-1][1]["text"].split()[0] not in mail.get_content()  # a code of its own for each way
    assert "4930901820" not in caplog.text
    assert "ann@" not in caplog.text
