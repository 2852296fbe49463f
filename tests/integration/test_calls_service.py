"""The call service over real Redis and SQL: what devices are told, what is stored, and what happens when Redis dies."""

import asyncio
import itertools

import msgspec
import pytest
from redis.asyncio import Redis

from signaling.calls.history import History
from signaling.calls.pair import decode_state, pair_key
from signaling.calls.relations import Relations
from signaling.calls.service import CallService
from signaling.calls.store import CallStore
from signaling.gateway.request import Session
from signaling.limits.service import Limits
from signaling.storage.embedded import EmbeddedValkey
from signaling.storage.tables import accounts, blocks, devices
from signaling.wire import messages as m
from signaling.wire.certificate import CertificateLink, DeviceCertificate
from signaling.wire.codec import decode_server
from signaling.wire.errors import ErrorCode
from signaling.wire.rest import WhoCanCall
from tests.conftest import eventually

ids = itertools.count()
SEALED = "s" * 128


def name(text: str) -> str:
    return text.ljust(22, "_")


def certificate(account: str, device: str) -> DeviceCertificate:
    return DeviceCertificate(account, "k" * 43, (CertificateLink(device, "k" * 43, "k" * 43, 1, "s" * 86),))


def session(account: str, device: str) -> Session:
    return Session(name(account), name(device), "+4930901820", certificate(name(account), name(device)))


A1, B1, B2 = session("A", "a1"), session("B", "b1"), session("B", "b2")


class Alone:
    """The cluster of a hub without others, with a clock that the test moves."""

    node = "this"
    alone = True

    def __init__(self, clock) -> None:
        self.time = clock

    async def locate(self, devices):
        return {}

    def send(self, node, message):
        raise AssertionError("there is no other hub")

    def missed(self):
        raise AssertionError("the store has lost nothing")


class World:
    """Accounts, address books and sockets of the test; service, stores and SQL are the real ones."""

    limits_scale = 1.0

    def __init__(self, redis, database, clock) -> None:
        self.redis, self.database, self.clock = redis, database, clock
        self.online_devices = {s.device for s in (A1, B1, B2)}
        self.who = dict.fromkeys(("A", "B"), WhoCanCall.CONTACTS)
        self.books = {(name("A"), "B"), (name("B"), "A")}
        self.blocked: set[tuple[str, str]] = set()
        self.inbox: dict[str, list] = {s.device: [] for s in (A1, B1, B2)}
        self.resynced: list[str] = []
        self.accounts_told: list[tuple[str, object, str]] = []
        self.service = self.make()

    def make(self) -> CallService:
        store = CallStore(self.redis)
        self.history = History(database=self.database, redis=self.redis)
        self.relations = Relations(database=self.database, books=self)
        return CallService(
            store=store, relations=self.relations, history=self.history, cluster=Alone(self.clock), send=self.send,
            limits=Limits(self.redis, b"pepper", self.limits_scale),
            online=lambda device: device in self.online_devices, resync=self.resynced.append, tell_account=self.tell_account,
        )  # fmt: skip

    async def are_contacts(self, questions):
        return [question in self.books for question in questions]

    async def write(self):
        """Settings and blocks, as they are now, into SQL."""
        async with self.database.begin() as connection:
            await connection.execute(blocks.delete())
            for account, blocked in self.blocked:
                await connection.execute(blocks.insert().values(account=account, blocked=blocked, at=0))
            for letter, who in self.who.items():
                await connection.execute(accounts.update().where(accounts.c.id == name(letter)).values(who_can_call=who))

    def send(self, device, text):
        self.inbox[device].append(decode_server(text))
        return device in self.online_devices

    def tell_account(self, account, message, but):
        self.accounts_told.append((account, message, but))

    async def ask(self, who: Session, message):
        answer = asyncio.get_running_loop().create_future()
        self.service.submit(who, message, answer.set_result)
        return await asyncio.wait_for(answer, 10)

    async def invite(self, call="c", to="B", devices=(B1, B2), who=A1):
        await self.write()
        payloads = {d.device: SEALED for d in devices}
        return await self.ask(who, m.CallInvite(next(ids), name(call), name(to), payloads))

    def took(self, who: Session):
        messages, self.inbox[who.device] = self.inbox[who.device], []
        return messages

    async def add_accounts(self):
        async with self.database.begin() as connection:
            for letter in "AB":
                await connection.execute(
                    accounts.insert().values(
                        id=name(letter), phone=letter, email=letter, identity_key="k", discovery_token=letter, policy_version="1",
                        who_can_call="contacts", created_at=0,
                    )
                )  # fmt: skip
            for number, who in enumerate((A1, B1, B2)):
                await connection.execute(
                    devices.insert().values(
                        id=who.device, account=who.account, name="d", token_hash=bytes([number]) * 32, created_at=number,
                        certificate=msgspec.json.encode(who.certificate).decode(),
                    )
                )  # fmt: skip


@pytest.fixture
async def world(redis, database, clock):
    world = World(redis, database, clock)
    await world.add_accounts()
    await world.service.start()
    yield world
    await world.service.close()


def kinds(messages) -> list[str]:
    return [type(message).__name__ for message in messages]


async def test_a_call_from_invite_to_hangup(world):
    assert (await world.invite()).stage is m.Stage.INVITING
    (incoming,) = world.took(B1)
    assert (incoming.peer.account, incoming.peer.phone, incoming.payload) == (A1.account, A1.phone, SEALED)
    assert incoming.peer.certificate == A1.certificate
    assert (await world.ask(B1, m.CallRinging(1, name("c")))).stage is m.Stage.RINGING
    await world.ask(B1, m.CallAccept(2, name("c"), "x" * 128))
    assert kinds(world.took(B2)) == ["CallIncoming", "CallEnded"]
    rings, answered = world.took(A1)
    assert (answered.payload, answered.peer.device, answered.peer.certificate) == ("x" * 128, B1.device, B1.certificate)
    assert answered.seq > rings.seq
    await world.ask(A1, m.CallSignal(3, name("c"), B1.device, "y" * 128))
    assert world.took(B1) == [m.CallSignalled(name("c"), A1.device, "y" * 128)]
    await world.ask(A1, m.CallConnected(4, name("c")))
    assert (await world.ask(B1, m.CallConnected(5, name("c")))).stage is m.Stage.CONNECTED
    await world.ask(B1, m.CallHangup(6, name("c")))
    assert kinds(world.took(A1)) == kinds(world.took(B1)) == ["CallUp", "CallEnded"]
    passing = (b"{c0}:call_history", b"{limits}:")
    left = {key for key in await world.redis.keys("*") if not key.startswith(passing)}
    # a version without a call, so that a hub that was cut off learns of the end; nothing that names anyone
    assert left == {f"{{c0}}:pair:{pair_key(A1.account, B1.account)}".encode()}
    assert decode_state(await world.redis.get(left.pop()))[1] == {}
    for who, outgoing in ((A1, True), (B1, False)):
        (line,) = (await world.history.page(who.account, before=None, limit=10)).calls
        assert (line.outgoing, line.reason, line.connected_at is not msgspec.UNSET) == (outgoing, m.Reason.HANGUP, True)


@pytest.mark.parametrize(
    ("change", "to", "code"),
    [
        (lambda w: None, "A", ErrorCode.CALL_TO_SELF),
        (lambda w: None, "Z", ErrorCode.CALLEE_UNAVAILABLE),
        (lambda w: w.books.discard((name("A"), "B")), "B", ErrorCode.NOT_A_CONTACT),
    ],
)
async def test_calls_that_may_not_be_have_their_error(world, change, to, code):
    change(world)
    assert (await world.invite(to=to)).code is code
    assert await world.redis.keys("*") == []
    assert len(world.service) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.blocked.add((B1.account, A1.account)),
        lambda w: w.who.update(B=WhoCanCall.NOBODY),
        lambda w: w.books.discard((B1.account, "A")),
    ],
    ids=["blocked", "nobody", "not in the callee's book"],
)
async def test_who_is_not_wanted_waits_as_for_someone_offline_and_the_callee_never_knows(world, change, clock):
    change(world)
    assert await world.invite() == m.Ok(re=next(ids) - 1, stage=m.Stage.INVITING)
    (view,), _ = await world.service.attach(A1)
    assert view.stage is m.Stage.INVITING
    assert await world.service.attach(B1) == ([], [])
    assert (await world.ask(A1, m.CallSignal(1, name("c"), B1.device, SEALED))).stage is m.Stage.INVITING
    clock.advance(45)
    world.service.tick()
    await world.ask(A1, m.CallHangup(2, name("c")))
    assert world.took(A1) == [m.CallEnded(name("c"), 2, m.Reason.MISSED)]
    assert world.took(B1) == world.took(B2) == []
    assert len((await world.history.page(A1.account, before=None, limit=10)).calls) == 1
    assert (await world.history.page(B1.account, before=None, limit=10)).calls == []


async def test_everyone_may_call_who_allows_everyone(world):
    world.who["B"] = WhoCanCall.EVERYONE
    world.books.discard((B1.account, "A"))
    await world.invite()
    assert kinds(world.took(B1)) == ["CallIncoming"]


async def test_payloads_must_be_for_exactly_the_devices_that_exist(world):
    stale = await world.invite(devices=(B1,))
    assert (stale.code, stale.devices) == (ErrorCode.STALE_DEVICES, [B1.device, B2.device])
    unknown = await world.invite(devices=(B1, B2, A1))
    assert unknown.code is ErrorCode.UNKNOWN_DEVICE
    await world.invite()
    assert (await world.ask(A1, m.CallSignal(1, name("c"), A1.device, SEALED))).code is ErrorCode.UNKNOWN_DEVICE


async def test_ids_stages_and_strangers(world):
    await world.invite()
    assert (await world.invite()).code is ErrorCode.CALL_EXISTS
    assert (await world.ask(A1, m.CallConnected(1, name("c")))).code is ErrorCode.WRONG_STAGE
    assert (await world.ask(session("Z", "z1"), m.CallHangup(1, name("c")))).code is ErrorCode.UNKNOWN_CALL
    assert (await world.ask(A1, m.CallHangup(1, name("nope")))).code is ErrorCode.UNKNOWN_CALL


async def test_a_device_places_four_calls_at_most(world):
    for call in "1234":
        await world.invite(call)
    assert (await world.invite("5")).code is ErrorCode.TOO_MANY_CALLS


async def test_an_offline_device_gets_the_call_when_it_connects_in_time_and_never_after(world, clock):
    world.online_devices = {A1.device}
    await world.invite()
    world.inbox[B1.device].clear()
    world.online_devices |= {B1.device, B2.device}
    (view,), _ = await world.service.attach(B1)
    assert (view.outgoing, view.payloads) == (False, [m.SealedFrom(A1.device, SEALED)])
    assert view.expires_in == 45
    clock.advance(45)
    assert await world.service.attach(B2) == ([], [])  # past its time, even before the timer has run


async def test_deadlines_end_calls_and_both_sides_are_told_the_same(world, clock):
    await world.invite()
    clock.advance(46)
    world.service.tick()
    await world.ask(A1, m.CallHangup(1, name("c")))
    assert world.took(A1)[-1].reason is world.took(B1)[-1].reason is m.Reason.MISSED


@pytest.mark.parametrize("first", ["1", "9"], ids=["the first call survives", "the second call survives"])
async def test_glare_leaves_one_call_that_both_are_in(world, first):
    second = "5"
    await world.invite(first)
    stage = (await world.invite(second, to="A", devices=(A1,), who=B1)).stage
    survivor = min(first, second)
    if survivor == first:
        assert stage is m.Stage.ENDED
        taker, waiter = B1, A1
    else:
        assert stage is m.Stage.CONNECTING
        taker, waiter = A1, B1
    # the payload of a call that was there before is read from the store
    await eventually(lambda: any(isinstance(t, m.CallIncoming) and t.accepted for t in world.inbox[taker.device]))
    told = world.took(taker)
    assert any(isinstance(t, m.CallEnded) and t.superseded_by == name(survivor) for t in told)
    offered = next(t for t in told if isinstance(t, m.CallIncoming) and t.accepted)
    assert (offered.call, offered.payload) == (name(survivor), SEALED)
    await world.ask(taker, m.CallAccept(1, name(survivor), "x" * 128))
    answered = next(t for t in world.took(waiter) if isinstance(t, m.CallAnswered))
    assert answered.peer.certificate == taker.certificate
    for who in (taker, waiter):
        await world.ask(who, m.CallConnected(2, name(survivor)))
    assert len(world.service) == 1
    assert not [t for t in world.took(B2) if isinstance(t, m.CallIncoming) and t.accepted]


async def test_a_hub_that_starts_takes_up_the_calls_and_ends_those_whose_parties_do_not_return(world, clock):
    await world.invite()
    await world.ask(B1, m.CallAccept(1, name("c"), "x" * 128))
    for who in (A1, B1):
        await world.ask(who, m.CallConnected(2, name("c")))
    await world.service.close()
    world.online_devices = set()
    world.service = world.make()
    await world.service.start()
    world.online_devices = {A1.device}
    (view,), _ = await world.service.attach(A1)
    assert (view.stage, view.outgoing, view.peer.certificate) == (m.Stage.CONNECTED, True, B1.certificate)
    assert [p.payload for p in view.payloads] == ["x" * 128]
    clock.advance(61)
    world.took(A1)
    world.service.tick()
    await world.ask(A1, m.CallHangup(1, name("c")))
    assert world.took(A1)[-1].reason is m.Reason.LOST


async def test_what_was_sealed_while_the_call_was_being_looked_at_is_in_sync_too(world):
    await world.invite()
    await world.ask(B1, m.CallAccept(1, name("c"), "x" * 128))
    for who in (A1, B1):
        await world.ask(who, m.CallConnected(2, name("c")))
    # reported a second time, which changes nothing; the payload waits for its turn behind it
    again = asyncio.create_task(world.ask(B1, m.CallConnected(3, name("c"))))
    await asyncio.sleep(0)
    await world.ask(A1, m.CallSignal(4, name("c"), B1.device, "o" * 128))
    await again
    (view,), _ = await world.service.attach(B1)
    assert [p.payload for p in view.payloads][-1] == "o" * 128


async def test_a_call_moves_to_another_device_and_sync_says_the_same(world, clock):
    await world.invite()
    await world.ask(B1, m.CallAccept(1, name("c"), "x" * 128))
    await world.ask(A1, m.CallSignal(2, name("c"), B1.device, "o" * 128))
    for who in (A1, B1):
        await world.ask(who, m.CallConnected(3, name("c")))
    ((account, told, but),) = world.accounts_told
    assert (account, but, told.device, told.peer.device) == (B1.account, B1.device, B1.device, A1.device)
    clock.advance(30)
    views, (other,) = await world.service.attach(B2)
    assert (views, other.device, other.connected_for) == ([], B1.device, 30)
    for who in (A1, B1, B2):
        world.took(who)
    moved = await world.ask(B2, m.CallTakeOver(4, name("c"), B1.device, A1.device, "m" * 128))
    assert moved.stage is m.Stage.CONNECTED
    (ended,), (event,) = world.took(B1), world.took(A1)
    assert (ended.reason, event.payload, event.peer.device) == (m.Reason.MOVED, "m" * 128, B2.device)
    assert (ended.seq, event.peer.certificate) == (event.seq, B2.certificate)
    # nothing that was sealed for the old connection is kept
    (view,), elsewhere = await world.service.attach(A1)
    assert ([p.payload for p in view.payloads], view.peer.certificate, elsewhere) == (["m" * 128], B2.certificate, [])
    assert (await world.ask(A1, m.CallSignal(5, name("c"), B2.device, "n" * 128))).stage is m.Stage.CONNECTED
    (view,), _ = await world.service.attach(B2)
    assert [p.payload for p in view.payloads] == ["n" * 128]
    views, (other,) = await world.service.attach(B1)
    assert (views, other.device) == ([], B2.device)
    for who in (A1, B2):
        await world.ask(who, m.CallConnected(6, name("c")))
    assert kinds(world.took(A1)) == ["CallUp"]
    await world.ask(B2, m.CallHangup(7, name("c")))
    assert kinds(world.took(B1)) == []  # it heard its end already
    assert world.accounts_told[-1][1] == m.CallElsewhereOver(name("c"), world.took(A1)[-1].seq)
    (line,) = (await world.history.page(B1.account, before=None, limit=10)).calls
    assert line.reason is m.Reason.HANGUP


async def test_a_moved_call_that_nobody_connects_is_lost_on_both_sides(world, clock):
    await world.invite()
    await world.ask(B1, m.CallAccept(1, name("c"), "x" * 128))
    for who in (A1, B1):
        await world.ask(who, m.CallConnected(2, name("c")))
    await world.ask(B2, m.CallTakeOver(3, name("c"), B1.device, A1.device, "m" * 128))
    clock.advance(21)
    world.service.tick()
    await world.service.drain()
    assert world.took(A1)[-1].reason is world.took(B2)[-1].reason is m.Reason.LOST


async def test_moves_that_may_not_be_have_their_error(world):
    await world.invite()
    move = m.CallTakeOver(1, name("c"), B1.device, A1.device, "m" * 128)
    assert (await world.ask(B2, move)).code is ErrorCode.WRONG_STAGE
    assert (await world.ask(session("Z", "z1"), move)).code is ErrorCode.UNKNOWN_CALL
    await world.ask(B1, m.CallAccept(2, name("c"), "x" * 128))
    for who in (A1, B1):
        await world.ask(who, m.CallConnected(3, name("c")))
    wrong = await world.ask(B2, m.CallTakeOver(4, name("c"), B1.device, name("a9"), "m" * 128))
    assert (wrong.code, wrong.devices) == (ErrorCode.UNKNOWN_DEVICE, [A1.device])
    assert (
        await world.ask(B2, m.CallTakeOver(5, name("c"), name("b9"), A1.device, "m" * 128))
    ).code is ErrorCode.ANSWERED_ELSEWHERE
    assert (await world.ask(B2, m.CallTakeOver(6, name("nope"), B1.device, A1.device, "m" * 128))).code is ErrorCode.UNKNOWN_CALL


async def test_the_index_of_live_calls_loses_those_that_expired(world):
    await world.invite()
    await world.redis.zadd("{c0}:calls", {"expired": 1})
    assert await world.service.prune() == 1
    assert await world.redis.zrange("{c0}:calls", 0, -1) == [pair_key(A1.account, B1.account).encode()]


async def test_a_revoked_device_loses_its_calls(world):
    await world.invite()
    world.service.end_device(A1.device)
    await world.ask(B1, m.CallRinging(1, name("c")))
    assert world.took(B1)[-1].reason is m.Reason.CANCELLED


async def test_changes_of_policy_hold_for_the_next_call(world):
    await world.invite("1")
    world.blocked.add((B1.account, A1.account))
    world.relations.forget(B1.account)
    world.took(B1)
    await world.invite("2")
    assert world.took(B1) == []


async def test_an_invite_and_its_cancel_keep_their_order_while_the_policy_is_read(world):
    answers = []
    world.service.submit(A1, m.CallInvite(1, name("c"), B1.account, {B1.device: SEALED, B2.device: SEALED}), answers.append)
    world.service.submit(A1, m.CallHangup(2, name("c")), answers.append)
    await world.ask(A1, m.CallHangup(3, name("other")))
    while len(answers) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert [a.re for a in answers] == [1, 2]
    assert all(isinstance(a, m.Ok) for a in answers)
    assert len(world.service) == 0


async def test_history_pages_and_forgets(world):
    for call in "12345":
        await world.invite(call)
        await world.ask(A1, m.CallHangup(1, name(call)))
        world.clock.advance(1)
    first = await world.history.page(A1.account, before=None, limit=2)
    rest = await world.history.page(A1.account, before=first.next, limit=50)
    assert [c.call[0] for c in (*first.calls, *rest.calls)] == ["5", "4", "3", "2", "1"]
    assert rest.next is msgspec.UNSET
    await world.history.forget(A1.account, name("3"))
    await world.history.forget_all(B1.account)
    assert len((await world.history.page(A1.account, before=None, limit=50)).calls) == 4
    assert (await world.history.page(B1.account, before=None, limit=50)).calls == []


async def test_when_redis_dies_nothing_is_told_that_was_not_stored_and_calls_go_on_when_it_is_back(tmp_path, database, clock):
    valkey = EmbeddedValkey(tmp_path / "v", persistent=True)
    valkey.start()
    redis = Redis.from_url(valkey.url, socket_timeout=2)
    world = World(redis, database, clock)
    await world.add_accounts()
    await world.service.start()
    try:
        await world.invite()
        await world.invite("2")
        world.took(B1), world.took(A1)
        valkey.stop()
        refused = await world.ask(B1, m.CallAccept(1, name("c"), "x" * 128))
        assert (refused.code, world.took(A1), world.took(B1), world.took(B2)[2:]) == (ErrorCode.UNAVAILABLE, [], [], [])
        assert (await world.ask(A1, m.CallHangup(1, name("2")))).code is ErrorCode.UNAVAILABLE
        # what needs no store goes on, and is kept for `sync` later
        passed_on = await world.ask(A1, m.CallSignal(1, name("c"), B1.device, "late" * 32))
        assert (passed_on.stage, kinds(world.took(B1))) == (m.Stage.INVITING, ["CallSignalled"])
        valkey.start()
        key = pair_key(name("A"), name("B"))
        await eventually(lambda: not world.service._unkept, timeout=20)
        await world.service.drain()
        sealed = await world.service._store.sealed(key, name("c"))
        assert [record.payload for record in sealed if hasattr(record, "payload")][-1] == "late" * 32
        assert (await world.ask(B1, m.CallAccept(1, name("c"), "x" * 128))).stage is m.Stage.CONNECTING
        assert kinds(world.took(A1)) == ["CallAnswered"]
        assert (await world.ask(A1, m.CallHangup(1, name("2")))).stage is m.Stage.ENDED
    finally:
        await world.service.close()
        await redis.aclose()
        valkey.stop()


async def test_a_change_that_was_done_but_whose_answer_was_lost_is_done_once(world, monkeypatch):
    commit = CallStore.commit

    async def twice(self, changes):
        await commit(self, changes)  # as the client does that asks again after a time-out
        return await commit(self, changes)

    monkeypatch.setattr(CallStore, "commit", twice)
    assert (await world.invite()).stage is m.Stage.INVITING
    assert kinds(world.took(B1)) == ["CallIncoming"]
    assert (await world.ask(B1, m.CallAccept(next(ids), name("c"), SEALED))).stage is m.Stage.CONNECTING
    assert kinds(world.took(A1)) == ["CallAnswered"]


async def test_an_invite_costs_one_command_whatever_its_policy_and_a_sealed_payload_is_passed_on_before_any(world):
    await world.invite()
    world.service._looking.cancel()
    await world.redis.config_resetstat()
    payloads = {d.device: SEALED for d in (B1, B2)}
    assert (await world.ask(A1, m.CallInvite(next(ids), name("2"), name("B"), payloads))).stage is m.Stage.INVITING
    assert (await world.redis.info("commandstats"))["cmdstat_evalsha"]["calls"] == 1
    world.took(B1)
    answers: list[object] = []
    world.service.submit(A1, m.CallSignal(next(ids), name("2"), B1.device, SEALED), answers.append)
    assert (kinds(answers), kinds(world.took(B1))) == (["Ok"], ["CallSignalled"])  # nothing was awaited
