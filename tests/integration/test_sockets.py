"""Sockets that end or stop reading while others go on, and those that must not come to be."""

import asyncio
import json
import socket
from contextlib import AsyncExitStack

import aiohttp
import pytest
from sqlalchemy import update

from signaling.accounts.blocking import Blocking
from signaling.operators.operator import Operator
from signaling.privacy.restriction import Restriction
from signaling.storage.tables import accounts
from signaling.wire.admin.frame import Role
from signaling.wire.messages import CloseCode, ContactsWanted
from signaling.wire.rest import BlockedFor
from tests.conftest import eventually
from tests.phones import Account, Phone, seed


async def connected(hub, stack: AsyncExitStack, account: Account) -> Phone:
    phone = Phone(account, next(iter(account.devices)))
    stack.push_async_callback(phone.close)
    return await phone.connect(hub.url)


class _ClosedTransport:
    """As uvloop's, once closed: it raises where asyncio's own says nothing."""

    def write(self, data):
        raise RuntimeError("unable to perform operation; the handler is closed")


async def test_what_is_sent_to_a_socket_that_has_just_closed_does_not_hold_up_what_is_sent_to_others(hub, book_redis):
    ann_account, ben_account = await seed(hub.hub.database, book_redis, [1, 1])
    async with AsyncExitStack() as stack:
        ann, ben = await connected(hub, stack, ann_account), await connected(hub, stack, ben_account)
        sockets = hub.hub.sockets
        gone = sockets._connections[ben.device]
        real, gone._out = gone._out, _ClosedTransport()
        for phone in (ben, ann):
            assert sockets.send(phone.device, ContactsWanted())
        await ann.until(lambda: ann.events[-1]["type"] == "contacts.wanted")
        assert not sockets.send(ben.device, ContactsWanted())
        real.abort()


async def test_a_client_that_does_not_read_is_cut_off_and_others_do_not_notice(hub, book_redis):
    ann_account, ben_account = await seed(hub.hub.database, book_redis, [1, 1])
    async with AsyncExitStack() as stack:
        ann = await Phone(ann_account, next(iter(ann_account.devices))).connect(hub.url)
        stack.push_async_callback(ann.close)
        ben = Phone(ben_account, next(iter(ben_account.devices)))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        ws = await http.ws_connect(hub.url + "/v1/ws", protocols=("kloudtalk.v1",))
        ws.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await ws.send_str(json.dumps({"type": "hello", "id": 0, "token": ben_account.devices[ben.device]}))
        while (await ws.receive_json())["type"] != "sync":
            pass
        call = await ann.invite(ben_account)
        assert (await ws.receive_json())["call"] == call
        ws._response.connection.transport.pause_reading()
        at_hub = hub.hub.sockets._connections[ben.device]._out.get_extra_info("socket")
        at_hub.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # so that it is not the kernel that keeps what is not read
        sent = 0
        while hub.hub.sockets.online(ben.device):
            answer = await ann.ask("call.signal", call=call, to=ben.device, payload="s" * 16_000)
            assert answer["type"] == "ok" or answer["code"] == "rate_limited", answer
            sent += 1
            assert sent < 400
        assert (await ann.ask("ping"))["type"] == "ok"
        # and it catches up when it is back
        stack.push_async_callback(ben.close)
        await ben.connect(hub.url)
        assert ben.calls[call] == "inviting"


async def test_a_hello_that_was_overtaken_by_a_newer_one_of_the_device_does_not_take_its_place(hub, book_redis):
    _, account = await seed(hub.hub.database, book_redis, [1, 1])
    sessions = hub.hub.events.sessions
    authenticate = sessions.authenticate
    looked_at, go_on = asyncio.Event(), asyncio.Event()

    async def slow(token):
        sessions.authenticate = authenticate
        looked_at.set()
        await go_on.wait()
        return await authenticate(token)

    sessions.authenticate = slow
    async with AsyncExitStack() as stack:
        old, new = (Phone(account, next(iter(account.devices))) for _ in range(2))
        for phone in (old, new):
            stack.push_async_callback(phone.close)
        connecting = asyncio.create_task(old.connect(hub.url))
        await looked_at.wait()
        await new.connect(hub.url)
        go_on.set()
        await connecting
        assert old.close_code == 4409
        assert (await new.ask("ping"))["type"] == "ok"


async def freeze(hub, account: Account) -> None:
    assert await Restriction(database=hub.hub.database, events=hub.hub.events).set(account.id, restricted=True)


async def block(hub, account: Account) -> None:
    operator = Operator("amira", Role.ADMIN)
    blocking = Blocking(database=hub.hub.database, events=hub.hub.events, audit=hub.hub.audit)
    assert await blocking.set(operator, account.id, "p" * 12, BlockedFor.ABUSE, "a test")


async def remove(hub, account: Account) -> None:
    await hub.hub.erasure.erase_account(account.id)


async def renew(hub, account: Account) -> None:
    async with hub.hub.database.begin() as connection:
        await connection.execute(update(accounts).where(accounts.c.id == account.id).values(phone="+4930999"))
    hub.hub.events.sessions_changed(list(account.devices))


@pytest.mark.parametrize(
    ("happens", "code"),
    [
        (freeze, CloseCode.RESTRICTED),
        (block, CloseCode.BLOCKED),
        (remove, CloseCode.UNAUTHENTICATED),
        (renew, CloseCode.GOING_AWAY),
    ],
)
async def test_who_is_shut_out_while_its_hello_is_looked_at_has_no_socket_after_it(hub, book_redis, monkeypatch, happens, code):
    """Between the look at its token and its place among the connections nobody would find it to close it."""
    ann, ben = await seed(hub.hub.database, book_redis, [1, 1])
    limits, reached, go_on = hub.hub.sockets._limits, asyncio.Event(), asyncio.Event()
    take = limits.take

    async def held(*charges):
        reached.set()
        await go_on.wait()
        return await take(*charges)

    async with AsyncExitStack() as stack:
        phone = Phone(ann, next(iter(ann.devices)))
        stack.push_async_callback(phone.close)
        monkeypatch.setattr(limits, "take", held)
        connecting = asyncio.create_task(phone.connect(hub.url))
        await reached.wait()
        await happens(hub, ann)
        monkeypatch.setattr(limits, "take", take)
        go_on.set()
        await connecting
        assert phone.close_code == code
        await eventually(lambda: not hub.hub.sockets.online(phone.device))
        other = await connected(hub, stack, ben)  # whoever else came then stays
        assert (await other.ask("ping"))["type"] == "ok"


def _handshake(url: str) -> tuple[socket.socket, bytes]:
    """A connection that nobody has read from yet, and the request that makes it a WebSocket."""
    host, port = url.removeprefix("http://").split(":")
    key = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, section 1.3
    request = (
        f"GET /v1/ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: kloudtalk.v1\r\n\r\n"
    )
    return socket.create_connection((host, int(port)), timeout=10), request.encode()


def _until(sock: socket.socket, end: bytes) -> bytes:
    heard = b""
    while end not in heard and (more := sock.recv(4096)):
        heard += more
    return heard


async def test_a_client_that_has_given_up_by_the_time_that_it_is_heard_gets_no_socket(hub):
    sock, request = _handshake(hub.url)
    with sock:
        # both within one turn of the event loop that is the hub's, too: it reads the one when the other is there
        sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
        assert b" 101 " not in await asyncio.to_thread(_until, sock, b"\r\n")
    assert hub.hub.sockets.counts.opened == 0
