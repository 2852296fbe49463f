"""Devices as the protocol sees them: raw frames over real sockets, no media, no keys; and accounts that know each other, put into the stores."""

import asyncio
import hashlib
import itertools
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp
import msgspec
from redis.asyncio import Redis
from sqlalchemy import insert

from signaling.contacts.store import ContactStore
from signaling.privacy.purposes import text_hash
from signaling.settings import Settings
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, consents, devices
from signaling.wire import base64url
from signaling.wire.certificate import CertificateLink, DeviceCertificate
from signaling.wire.rest import Purpose

SEALED = "s" * 400


def new_id() -> str:
    return base64url.encode(secrets.token_bytes(16))


@dataclass
class Account:
    """A seeded account: id, discovery token, and its devices with their session tokens."""

    id: str
    token: str
    devices: dict[str, str] = field(default_factory=dict)


async def seed(database: Database, book_redis: Redis, counts: Sequence[int]) -> list[Account]:
    """One account for each number, with so many devices; everyone has everyone in the address book."""
    made = []
    async with database.begin() as connection:
        for number, count in enumerate(counts):
            account = Account(new_id(), base64url.encode(secrets.token_bytes(64)))
            made.append(account)
            await connection.execute(
                insert(accounts).values(
                    id=account.id, phone=f"+4930{number:07}", email=f"u{number}@kloudtalk.dev", identity_key="k" * 43,
                    discovery_token=account.token, policy_version=Settings().policy_version, who_can_call="contacts", created_at=0,
                )
            )  # fmt: skip
            await connection.execute(
                insert(consents).values(
                    account=account.id,
                    purpose="phonebook",
                    granted=True,
                    policy_version=Settings().policy_version,
                    text_sha256=text_hash(Purpose.PHONEBOOK),
                    at=0,
                )
            )  # the sweep of address books without a consent would take these
            for _ in range(count):
                device, token = new_id(), base64url.encode(secrets.token_bytes(32))
                account.devices[device] = token
                chain = (CertificateLink(device, "k" * 43, "k" * 43, 1, "s" * 86),)
                await connection.execute(
                    insert(devices).values(
                        id=device, account=account.id, name="phone", token_hash=hashlib.sha256(token.encode()).digest(), created_at=0,
                        certificate=msgspec.json.encode(DeviceCertificate(account.id, "k" * 43, chain)).decode(),
                    )
                )  # fmt: skip
    store = ContactStore(book_redis)
    for owner in made:
        others = {other.token: "x" * 40 for other in made if other is not owner}
        await store.change(owner.id, others, [], reset=False, limit=1000)
    return made


class Phone:
    """One device. ``calls`` is what it knows of its calls: a stage, or ``ended:REASON``."""

    def __init__(self, account: Account, device: str) -> None:
        self.account, self.device = account, device
        self.calls: dict[str, str] = {}
        self.incoming: asyncio.Queue[str] = asyncio.Queue()
        self.elsewhere: dict[str, dict] = {}
        """Calls of the account at other devices, by id, as this one was told."""
        self.events: list[dict] = []
        self.syncs = 0
        self.close_code: int | None = None
        self._changed = asyncio.Condition()
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict]] = {}
        self._http: aiohttp.ClientSession | None = None
        self._ws: aiohttp.ClientWebSocketResponse | None = None
        self._reader: asyncio.Task[None] | None = None

    async def connect(self, url: str) -> "Phone":
        """Connect, say hello, wait for `sync`."""
        await self.close()
        self._http = aiohttp.ClientSession()
        self._ws = await self._http.ws_connect(url + "/v1/ws", protocols=("kloudtalk.v1",))
        self.close_code = None
        synced = self.syncs
        self._reader = asyncio.create_task(self._read(self._ws))
        await self._ws.send_str(json.dumps({"type": "hello", "id": 0, "token": self.account.devices[self.device]}))
        await self.until(lambda: self.syncs > synced or self.close_code is not None)
        return self

    async def close(self) -> None:
        """Close the socket."""
        if self._ws is not None:
            await self._ws.close()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
            self._reader = None
        if self._http is not None:
            await self._http.close()

    async def _read(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        async for frame in ws:
            message = json.loads(frame.data)
            async with self._changed:
                self._take(message)
                self._changed.notify_all()
        async with self._changed:
            self.close_code = ws.close_code
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_result({"type": "error", "code": "closed"})
            self._changed.notify_all()

    def _take(self, message: dict) -> None:
        self.events.append(message)
        kind, call = message["type"], message.get("call", "")
        if kind in ("ok", "error"):
            answer = self._answers.pop(message.get("re", -1), None)
            if answer is not None and not answer.done():
                answer.set_result(message)
        elif kind == "sync":
            self.syncs += 1
            live = {view["call"]: view for view in message["calls"]}
            self.elsewhere = {view["call"]: view for view in message.get("elsewhere", ())}
            for known, stage in self.calls.items():
                if not stage.startswith("ended") and known not in live:
                    self.calls[known] = "ended:sync"
            for view in live.values():
                if view["call"] not in self.calls and not view["outgoing"] and view["stage"] in ("inviting", "ringing"):
                    self.incoming.put_nowait(view["call"])
                self.calls[view["call"]] = view["stage"]
        elif kind == "call.incoming":
            if call not in self.calls:
                self.incoming.put_nowait(call)
            self.calls[call] = "connecting" if message.get("accepted") else "inviting"
        elif kind == "call.elsewhere":
            self.elsewhere[call] = message
        elif kind == "call.elsewhere_over":
            self.elsewhere.pop(call, None)
        elif kind == "call.ended":
            self.calls[call] = f"ended:{message['reason']}"
        elif kind.startswith("call."):
            stage = {
                "call.rings": "ringing",
                "call.answered": "connecting",
                "call.taken_over": "connecting",
                "call.up": "connected",
            }.get(kind)
            if stage is not None:
                self.calls[call] = stage

    async def until(self, condition, timeout: float = 15.0) -> None:
        """Wait until ``condition()`` is true after a message."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(condition)

    async def ask(self, kind: str, **fields) -> dict:
        """Send one request, wait for its answer."""
        assert self._ws is not None
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._ws.send_str(json.dumps({"type": kind, "id": number, **fields}))
        async with asyncio.timeout(15):
            return await answer

    async def invite(self, callee: Account, call: str | None = None) -> str:
        """Call an account; the call's id."""
        call = call or new_id()
        self.calls[call] = "inviting"
        answer = await self.ask("call.invite", call=call, to=callee.id, payloads=dict.fromkeys(callee.devices, SEALED))
        assert answer["type"] == "ok", answer
        return call

    async def rings(self) -> str:
        """The next call that comes in."""
        async with asyncio.timeout(15):
            return await self.incoming.get()

    async def accept(self, call: str) -> dict:
        """Take a call."""
        answer = await self.ask("call.accept", call=call, payload=SEALED)
        if answer["type"] == "ok" and not self.calls[call].startswith("ended"):  # it may be over by now
            self.calls[call] = "connecting"
        return answer

    async def move(self, call: str, old: str, to: str) -> dict:
        """Take a call over from another device of the account."""
        before, self.calls[call] = self.calls.get(call, "ended:elsewhere"), "connecting"
        answer = await self.ask("call.take_over", call=call, device=old, to=to, payload=SEALED)
        if answer["type"] != "ok":
            self.calls[call] = before
        return answer

    async def reaches(self, call: str, *stages: str) -> str:
        """Wait until a call is at one of these stages; which."""
        await self.until(lambda: self.calls.get(call) in stages)
        return self.calls[call]
