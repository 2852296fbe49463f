"""Several hubs and devices around one Redis, for the model of calls: what is real is the call service, its store and SQL; what is the model's
is the network between hubs (the same inboxes in Redis, emptied when the model says so), the map of devices, sockets, and time.
"""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from redis.asyncio import Redis

from signaling.calls.history import History, Line
from signaling.calls.machine import Call
from signaling.calls.relations import Relations
from signaling.calls.service import CallService
from signaling.calls.store import CallStore
from signaling.cluster.bus import inbox
from signaling.cluster.messages import BusMessage, PairChanged, Replaced, Resync, Text, decode_bus, encode_bus
from signaling.gateway.request import Session
from signaling.limits.service import Limits
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, devices
from signaling.wire import messages as m
from signaling.wire.certificate import CertificateLink, DeviceCertificate
from signaling.wire.codec import decode_server
from tests.conftest import Clock

SEALED = "s" * 128
ACCOUNTS = ("A", "B")
DEVICES = ("a1", "a2", "b1", "b2", "b3")
_lines = msgspec.msgpack.Decoder(Line)


def name(text: str) -> str:
    return text.ljust(22, "_")


def session(device: str) -> Session:
    account = name(device[0].upper())
    chain = (CertificateLink(name(device), "k" * 43, "k" * 43, 1, "s" * 86),)
    return Session(account, name(device), "+4930901820", DeviceCertificate(account, "k" * 43, chain))


SESSIONS = {device: session(device) for device in DEVICES}


@dataclass
class Client:
    """What a device knows. ``live``: its calls by id, as `sync` and events say; every event of a call that it was told."""

    live: dict[str, m.Stage] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)
    ended: dict[str, list[m.Reason]] = field(default_factory=lambda: defaultdict(list))
    complaints: list[str] = field(default_factory=list)
    seqs: dict[str, int] = field(default_factory=dict)
    """The newest change of each call of its own that it knows: what is older and comes late is not heeded."""
    hints: dict[str, int] = field(default_factory=dict)
    """The same of calls elsewhere: what it takes over, it takes over as it was then."""

    def sync(self, views: list[m.CallView], elsewhere: list[m.CallElsewhere]) -> None:
        for view in views:
            self._must_live(view.call, "sync")
            self.seqs[view.call] = max(view.seq, self.seqs.get(view.call, 0))
        for one in elsewhere:
            self.hints[one.call] = max(one.seq, self.hints.get(one.call, 0))
        self.live = {view.call: view.stage for view in views}
        self.elsewhere = {view.call: view.device for view in elsewhere}

    def hears(self, message: m.ServerMessage) -> None:
        seq = getattr(message, "seq", None)
        if seq is not None:
            if seq <= self.seqs.get(message.call, 0):
                return
            self.seqs[message.call] = seq
        match message:
            case m.CallIncoming():
                self._must_live(message.call, "incoming")
                self.live[message.call] = m.Stage.CONNECTING if message.accepted else m.Stage.INVITING
            case m.CallEnded():
                if message.call in self.live:
                    del self.live[message.call]
                    self.ended[message.call].append(message.reason)
                elif message.reason in self.ended[message.call] and message.reason is not m.Reason.MOVED:
                    self.complaints.append(f"{message.call}: ended twice as {message.reason}")
            case m.CallRings() | m.CallAnswered() | m.CallUp() | m.CallTakenOver():
                self._must_live(message.call, type(message).__name__)
                if message.call in self.live:
                    stages = {m.CallRings: m.Stage.RINGING, m.CallAnswered: m.Stage.CONNECTING}
                    self.live[message.call] = stages.get(type(message), m.Stage.CONNECTED)

    def _must_live(self, call: str, what: str) -> None:
        over = [reason for reason in self.ended[call] if reason not in (m.Reason.MOVED, m.Reason.ANSWERED_ELSEWHERE)]
        if over:
            self.complaints.append(f"{call}: {what} after it ended as {over[0]}")


class Hub:
    """One call service, and its place among the others."""

    alone = False

    def __init__(self, town: "Town", number: int) -> None:
        self.town = town
        self.node = f"hub{number}"
        self.time = town.clock
        self.online: set[str] = set()
        self.broken: set[str] = set()
        """Devices whose socket here is open and leads nowhere: they have gone to another hub."""
        self.dead = False
        self.waiting: list[tuple[str, BusMessage]] = []
        self.resyncs: list[str] = []
        # connections of its own: what a dead hub was about to read is nobody else's answer
        self.redis = Redis.from_url(town.url)
        self.service = CallService(
            store=CallStore(self.redis),
            relations=town.relations,
            history=History(database=town.database, redis=self.redis, node=self.node),
            cluster=self,
            limits=Limits(self.redis, b"pepper", 1e6),
            send=self._send,
            online=self.online.__contains__,
            resync=self.resyncs.append,
            tell_account=town.tell_account,
        )

    # what the service asks of the cluster

    def lives(self, node: str) -> bool:
        return any(hub.node == node for hub in self.town.hubs)

    async def locate(self, wanted) -> dict[str, str]:
        await asyncio.sleep(0)
        return {device: self.town.routes[device] for device in wanted if device in self.town.routes}

    def send(self, node: str, message: BusMessage) -> None:
        self.waiting.append((node, message))

    def missed(self) -> None:
        raise AssertionError("the store of the model loses nothing")

    def _send(self, device: str, text: bytes) -> bool:
        if self.dead or device not in self.online:
            return False
        if device in self.broken:
            return True
        message = decode_server(text)
        self.town.clients[device].hears(message)
        self.town.take_down(device, message)
        return True

    # what the model does to it

    async def flush(self) -> bool:
        """Put what it says to others into their inboxes."""
        some, self.waiting = self.waiting, []
        for node, message in some:
            await self.town.redis.rpush(inbox(node), encode_bus(message))
        return bool(some)

    async def hear(self, most: int) -> int:
        """Take so many messages from its inbox."""
        texts = await self.town.redis.lpop(inbox(self.node), most) or []
        for text in texts:
            match decode_bus(text):
                case PairChanged() as message:
                    self.service.pair_changed(message)
                case Text() as message:
                    self.service.deliver(message)
                case Replaced(device):
                    self.let_go(device)
                case Resync(some):
                    self.resyncs += [device for device in some if device in self.online - self.broken]
        return len(texts)

    def let_go(self, device: str, *, told: bool = True) -> None:
        """It hears that a device has come to another hub, or finds that its socket leads nowhere."""
        if device in self.broken:
            self.broken.discard(device)
            self.online.discard(device)
            who = self.town.session(device)
            if told:
                self.service.replaced(who)
            self.service.leaving(who)
            if device in self.town.routes:
                self.service.moved(who)
            else:
                self.service.detach(who)

    async def dies_untold(self) -> None:
        """What it was asked for is stored, with what other hubs are told in one go; then it dies, and tells nobody anything."""
        self.service._tell = self.service._latecomers = lambda *_: None
        while tasks := [task for task in self.service._tasks if not task.done()]:
            await asyncio.wait(tasks, timeout=5)
        await self.town.crash(self)

    async def settle(self) -> None:
        """Until nothing is under way."""
        while tasks := [task for task in self.service._tasks if not task.done()]:
            await asyncio.wait(tasks, timeout=5)
        while self.resyncs:
            device = self.resyncs.pop()
            if device in self.online - self.broken:
                self.town.clients[device].sync(*await self.service.attach(self.town.session(device)))

    async def crash(self) -> None:
        """As by kill -9: nothing is said, nothing is finished."""
        self.dead = True
        service = self.service
        service._closing = True
        if service._timer is not None:
            service._timer.cancel()
        for task in service._tasks:
            task.cancel()
        self.waiting.clear()
        if service._tasks:
            await asyncio.wait(service._tasks)
        await self.redis.aclose()


class Town:
    """Hubs, devices and the Redis between them."""

    def __init__(self, url: str, redis: Redis, database: Database, clock: Clock, hubs: int = 3) -> None:
        self.url = url
        self.redis, self.database, self.clock = redis, database, clock
        self.relations = Relations(database=database, books=self)
        self.routes: dict[str, str] = {}
        """Hubs of devices by the map in Redis: those of a dead hub stay until it is buried."""
        self.clients: dict[str, Client] = {name(device): Client() for device in DEVICES}
        self.seen: dict[tuple[str, int], set[str]] = defaultdict(set)
        """What was told under each number of each call."""
        self.placed: set[str] = set()
        self._numbers = itertools.count()
        self._requests = itertools.count(1)
        self.hubs: list[Hub] = []
        for _ in range(hubs):
            self.hubs.append(Hub(self, next(self._numbers)))
        self.unburied: list[str] = []

    async def are_contacts(self, questions) -> list[bool]:
        return [True for _ in questions]

    def session(self, device: str) -> Session:
        return next(s for s in SESSIONS.values() if s.device == device)

    def tell_account(self, account: str, message: m.ServerMessage, but: str) -> None:
        for who in SESSIONS.values():
            if who.account == account and who.device != but and self.hub_of(who.device) is not None:
                client = self.clients[who.device]
                client.hints[message.call] = max(message.seq, client.hints.get(message.call, 0))

    def hub_of(self, device: str) -> Hub | None:
        return next((hub for hub in self.hubs if device in hub.online - hub.broken), None)

    def take_down(self, device: str, message: m.ServerMessage) -> None:
        """What a number stands for: the same to everyone."""
        kind = {
            m.CallRings: "rings", m.CallAnswered: "answered", m.CallUp: "up", m.CallTakenOver: "moved",
        }.get(type(message))  # fmt: skip
        if isinstance(message, m.CallEnded):
            taken = message.reason is m.Reason.ANSWERED_ELSEWHERE and message.superseded_by is msgspec.UNSET
            kind = "moved" if message.reason is m.Reason.MOVED else "" if taken else f"ended {message.reason}"
        if kind:
            self.seen[message.call, message.seq].add(kind)

    # --- things that happen ----------------------------------------------------------------------------------------------

    def request(self, make: Callable[[int], m.ClientMessage], device: str) -> m.ServerMessage | None:
        """Hand a request to the device's hub; nothing is waited for."""
        hub = self.hub_of(device)
        if hub is None:
            return
        client = self.clients[device]
        message = make(next(self._requests))

        def reply(answer: m.ServerMessage) -> None:
            if isinstance(answer, m.Error):
                assert answer.code != "internal", message
                return
            if isinstance(message, m.CallInvite) and answer.stage is not m.Stage.ENDED:
                self.placed.add(message.call)
            stage = getattr(answer, "stage", None)
            if isinstance(message, m.CallInvite | m.CallAccept | m.CallTakeOver) and stage is not m.Stage.ENDED and not hub.dead:
                client.live.setdefault(message.call, stage) if isinstance(message, m.CallInvite) else client.live.update(
                    {message.call: stage}
                )

            if isinstance(message, m.CallTakeOver):
                client.seqs[message.call] = max(client.hints.get(message.call, 0), client.seqs.get(message.call, 0))

        if isinstance(message, m.CallInvite):
            self.placed.add(message.call)
        hub.service.submit(self.session(device), message, reply)

    async def connect(self, device: str, hub: Hub, *, noticed: bool = True) -> None:
        """A device comes to a hub, from wherever it was; that one has noticed, or is told so."""
        old = self.hub_of(device)
        who = self.session(device)
        for one in self.hubs:
            if device in one.broken and (one is hub or noticed):
                one.let_go(device)
        if old is not None and old is not hub and not noticed:
            old.broken.add(device)
            hub.send(old.node, Replaced(device))
            old = None
        if old is not None:
            old.online.discard(device)
            old.service.leaving(who)
        self.routes[device] = hub.node
        hub.online.add(device)
        if old is hub:
            hub.service.moved(who)
        elif old is not None:
            old.service.moved(who)
        self.clients[device].sync(*await hub.service.attach(who))

    def disconnect(self, device: str) -> None:
        """A device loses its socket, and its hub notices."""
        hub = self.hub_of(device)
        if hub is not None:
            hub.online.discard(device)
            hub.service.leaving(self.session(device))
            self.routes.pop(device, None)
            hub.service.detach(self.session(device))

    async def crash(self, hub: Hub) -> None:
        """A hub dies, and another one is started in its place; the others do not know yet."""
        await hub.crash()
        self.hubs.remove(hub)
        self.unburied.append(hub.node)
        self.hubs.append(Hub(self, next(self._numbers)))

    async def bury(self) -> None:
        """The others find out."""
        if self.unburied:
            self.routes = {device: node for device, node in self.routes.items() if node not in self.unburied}
            dead, self.unburied = self.unburied, []
            await self.hubs[0].service.bury()
            for node in dead:
                left = await self.redis.lpop(inbox(node), 1000) or []
                self.hubs[0].service.unread([message for data in left if (message := decode_bus(data)) is not None])
            await self.settle()

    async def settle(self) -> None:
        """What hubs have begun is done; what they say to each other stays in the inboxes."""
        for hub in self.hubs:
            await hub.settle()
            await hub.flush()

    async def quiet(self) -> None:
        """Everything was heard and done, and everything that is due has happened."""
        await self.bury()
        for _ in range(30):
            await self.settle()
            if not sum([await hub.hear(1000) for hub in self.hubs]):
                nowhere = [(hub, device) for hub in self.hubs for device in hub.broken]
                if not nowhere:
                    break
                for hub, device in nowhere:  # whoever was to say that the device is elsewhere is dead
                    hub.let_go(device, told=False)
        else:
            raise AssertionError("hubs never stop talking")

    async def compare(self) -> None:
        """Hubs compare what they know with what is stored, as they do every few seconds."""
        for _ in range(2):
            for hub in self.hubs:
                await hub.service.compare()
        await self.quiet()

    async def wait(self, seconds: float) -> None:
        """Time passes, and hubs look at their clocks; the last look is that for calls that nobody looks after."""
        self.clock.advance(seconds)
        for hub in self.hubs:
            hub.service.tick()
        await self.settle()

    async def sweep(self) -> None:
        """What a hub does once a second."""
        for hub in self.hubs:
            await hub.service.sweep()
            await hub.service.compare()
        await self.settle()

    # --- what is true --------------------------------------------------------------------------------------------------------

    async def stored(self) -> dict[str, Call]:
        """Live calls in Redis."""
        store = CallStore(self.redis)
        return {call.id: call for _, calls in await store.load(await store.every()) for call in calls.values()}

    async def history(self) -> dict[str, list[Line]]:
        """Lines of ended calls, by call."""
        found: dict[str, list[Line]] = defaultdict(list)
        for raw in await self.redis.lrange("{c0}:call_history", 0, -1):
            line = _lines.decode(raw)
            found[line.call].append(line)
        return found


async def people(database: Database) -> None:
    """Accounts and devices in SQL."""
    async with database.begin() as connection:
        for account in ACCOUNTS:
            await connection.execute(
                accounts.insert().values(
                    id=name(account), phone=account, email=account, identity_key="k", discovery_token=account, policy_version="1",
                    who_can_call="contacts", created_at=0,
                )
            )  # fmt: skip
        for number, who in enumerate(SESSIONS.values()):
            await connection.execute(
                devices.insert().values(
                    id=who.device, account=who.account, name="d", token_hash=bytes([number]) * 32, created_at=number,
                    certificate=msgspec.json.encode(who.certificate).decode(),
                )
            )  # fmt: skip
