"""Registration over real Redis and SQL: who gets an account, and who learns what (P01)."""

import asyncio

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import func, select

from signaling.accounts.delivery import DeliveryError
from signaling.accounts.registration import RegistrationService
from signaling.accounts.registration_store import RegistrationStore
from signaling.accounts.sessions import Sessions
from signaling.client.keys import DeviceKeys, certify_first
from signaling.storage.tables import accounts, devices
from signaling.wire import base64url
from signaling.wire.certificate import DeviceCertificate
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.rest import Channel, CreateAccount, StartRegistration

PEPPER = b"p" * 32
PHONE, PHONE_2 = "+4930901820", "+4989636480"


class Mailbox:
    """A delivery that keeps the codes for the test; ``broken`` refuses like a service that is down."""

    def __init__(self) -> None:
        self.codes: dict[str, str] = {}
        self.sent = 0
        self.broken = False

    async def send(self, to: str, code: str) -> None:
        if self.broken:
            raise DeliveryError("503")
        self.codes[to] = code
        self.sent += 1

    async def close(self) -> None: ...


class Heard:
    """Keeps what the service told."""

    def __init__(self) -> None:
        self.all: list[tuple] = []

    def __getattr__(self, name):
        return lambda *arguments: self.all.append((name, *arguments))


class Tokens:
    async def token_of(self, e164: str) -> str:
        return base64url.encode(e164.encode().ljust(64, b"\0"))


class World:
    def __init__(self, database, redis, clock) -> None:
        self.mailbox, self.events, self.database = Mailbox(), Heard(), database
        self.service = RegistrationService(
            database=database,
            store=RegistrationStore(redis, PEPPER),
            delivery={Channel.PHONE: self.mailbox, Channel.EMAIL: self.mailbox},
            tokens=Tokens(),
            events=self.events,
            policy_version="1",
            pepper=PEPPER,
            book_lost=self.book_lost,
            clock=clock,
        )

    async def book_lost(self, account: str) -> None:
        self.events.all.append(("book_lost", account))

    async def start(self, phone=PHONE, email="ada@example.org", ip="192.0.2.1"):
        return await self.service.start(StartRegistration(phone, email, "1"), ip)

    async def verify(self, registration, *channels):
        for channel in channels or tuple(Channel):
            to = registration.phone if channel is Channel.PHONE else registration.email
            registration = await self.service.verify(registration.token, channel, self.mailbox.codes[to])
        return registration

    async def register(self, phone=PHONE, email="ada@example.org", device=None):
        registration = await self.verify(await self.start(phone, email))
        return await self.service.finish(registration.token, CreateAccount(certificate(registration.account, device), "Laptop"))

    async def count(self, table) -> int:
        async with self.database.begin() as connection:
            return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


def certificate(account: str, device: str | None = None) -> DeviceCertificate:
    keys = DeviceKeys.generate()
    keys.device = device or keys.device
    return certificate_of(account, keys)


def certificate_of(account: str, keys: DeviceKeys) -> DeviceCertificate:
    return certify_first(account, Ed25519PrivateKey.generate(), keys, 1)


@pytest.fixture
def world(database, redis, clock):
    return World(database, redis, clock)


async def refused(code: ErrorCode, awaitable) -> Refused:
    with pytest.raises(Refused) as info:
        await awaitable
    assert info.value.code is code
    return info.value


@pytest.mark.parametrize(
    ("phone", "email", "code"),
    [
        ("", "ada@example.org", ErrorCode.PHONE_MISSING),
        ("  ", "ada@example.org", ErrorCode.PHONE_MISSING),
        ("030 901820", "ada@example.org", ErrorCode.PHONE_INVALID),  # no country code
        ("+49 1", "ada@example.org", ErrorCode.PHONE_INVALID),
        ("+999 123456", "ada@example.org", ErrorCode.PHONE_INVALID),
        ("call me", "ada@example.org", ErrorCode.PHONE_INVALID),
        (PHONE, "", ErrorCode.EMAIL_MISSING),
        (PHONE, "ada", ErrorCode.EMAIL_INVALID),
        (PHONE, "ada@", ErrorCode.EMAIL_INVALID),
        (PHONE, "ada@exa mple.org", ErrorCode.EMAIL_INVALID),
        (PHONE, "ada@mailinator.com", ErrorCode.EMAIL_DISPOSABLE),
        (PHONE, "ada@x.mailinator.com", ErrorCode.EMAIL_DISPOSABLE),
    ],
)
async def test_bad_input_is_named_and_nothing_is_sent(world, phone, email, code):
    await refused(code, world.start(phone, email))
    assert world.mailbox.sent == 0


async def test_both_codes_make_an_account_whose_token_signs_in(world):
    signed_in = await world.register()
    session = await Sessions(world.database).authenticate(signed_in.token)
    assert (session.account, session.device, session.phone) == (signed_in.account, signed_in.device, PHONE)
    assert world.events.all == [("account_created", signed_in.account, await Tokens().token_of(PHONE))]
    async with world.database.begin() as connection:
        stored = (await connection.execute(select(devices))).mappings().one()
    assert signed_in.token not in repr(stored)  # only its hash is kept


async def test_one_code_is_not_enough(world):
    registration = await world.verify(await world.start(), Channel.PHONE)
    body = CreateAccount(certificate("A" * 22), "Laptop")
    await refused(ErrorCode.NOT_VERIFIED, world.service.finish(registration.token, body))
    assert await world.count(accounts) == 0


async def test_the_policy_must_be_acknowledged(world):
    await refused(ErrorCode.POLICY_NOT_ACKNOWLEDGED, world.service.start(StartRegistration(PHONE, "a@example.org", "0"), "x"))


async def test_five_wrong_tries_spend_a_code_even_when_made_at_once(world):
    registration = await world.start()
    right = world.mailbox.codes[PHONE]
    wrong = "000000" if right != "000000" else "000001"
    tries = [world.service.verify(registration.token, Channel.PHONE, wrong) for _ in range(20)]
    codes = [error.code for error in await asyncio.gather(*tries, return_exceptions=True)]
    assert codes.count(ErrorCode.CODE_WRONG) == 4
    assert codes.count(ErrorCode.CODE_SPENT) == 16
    await refused(ErrorCode.CODE_SPENT, world.service.verify(registration.token, Channel.PHONE, right))


async def test_a_wrong_code_says_how_many_tries_are_left(world):
    registration = await world.start()
    wrong = "000000" if world.mailbox.codes[PHONE] != "000000" else "000001"
    assert (await refused(ErrorCode.CODE_WRONG, world.service.verify(registration.token, Channel.PHONE, wrong))).tries_left == 4


async def test_a_code_works_for_ten_minutes_and_a_new_one_replaces_it(world, clock):
    registration = await world.start()
    first = world.mailbox.codes[PHONE]
    clock.advance(600)
    await refused(ErrorCode.CODE_EXPIRED, world.service.verify(registration.token, Channel.PHONE, first))
    registration = await world.service.send_code(registration.token, Channel.PHONE, "192.0.2.1")
    assert registration.resend_in[Channel.PHONE] == 60
    assert (await world.verify(registration, Channel.PHONE)).phone_verified


async def test_a_new_code_is_sent_after_a_minute_at_the_earliest(world, clock):
    registration = await world.start()
    error = await refused(ErrorCode.RATE_LIMITED, world.service.send_code(registration.token, Channel.EMAIL, "192.0.2.1"))
    assert error.retry_after == 60
    clock.advance(60)
    await world.service.send_code(registration.token, Channel.EMAIL, "192.0.2.1")


async def test_codes_are_limited_per_number_per_address_and_per_ip(world):
    for i in range(5):
        await world.start(PHONE, f"a{i}@example.org", ip=f"192.0.2.{i}")
    assert (await refused(ErrorCode.RATE_LIMITED, world.start(PHONE, "new@example.org", ip="192.0.2.99"))).retry_after > 0
    for i in range(5):
        await world.start(f"+49309018{30 + i}", "same@example.org", ip=f"198.51.100.{i}")
    await refused(ErrorCode.RATE_LIMITED, world.start(PHONE_2, "same@example.org", ip="198.51.100.99"))
    for i in range(30):
        await world.start(f"+493090190{i:02d}", f"b{i}@example.org", ip="203.0.113.1")
    await refused(ErrorCode.RATE_LIMITED, world.start("+4930901950", "c@example.org", ip="203.0.113.1"))


async def test_resent_codes_count_for_the_limits_of_their_number_and_ip(world, clock):
    registration = await world.start()
    for _ in range(4):
        clock.advance(60)
        await world.service.send_code(registration.token, Channel.PHONE, "192.0.2.1")
    clock.advance(60)
    error = await refused(ErrorCode.RATE_LIMITED, world.service.send_code(registration.token, Channel.PHONE, "192.0.2.1"))
    assert 0 < error.retry_after <= 3600
    await world.service.send_code(registration.token, Channel.EMAIL, "192.0.2.1")  # the address has its own count
    await refused(ErrorCode.RATE_LIMITED, world.start(PHONE, "other@example.org", ip="198.51.100.1"))


async def test_a_code_that_could_not_be_resent_need_not_be_waited_for(world, clock):
    registration = await world.start()
    clock.advance(60)
    world.mailbox.broken = True
    await refused(ErrorCode.DELIVERY_FAILED, world.service.send_code(registration.token, Channel.PHONE, "192.0.2.1"))
    world.mailbox.broken = False
    await world.service.send_code(registration.token, Channel.PHONE, "192.0.2.1")
    assert (await world.verify(registration, Channel.PHONE)).phone_verified


async def test_a_code_proves_its_own_channel_of_its_own_registration_only(world):
    first, second = await world.start(), await world.start(PHONE_2, "b@example.org")
    code = world.mailbox.codes[PHONE]
    if code not in (
        world.mailbox.codes["ada@example.org"],
        world.mailbox.codes[PHONE_2],
    ):  # one in half a million: they are the same
        await refused(ErrorCode.CODE_WRONG, world.service.verify(first.token, Channel.EMAIL, code))
        await refused(ErrorCode.CODE_WRONG, world.service.verify(second.token, Channel.PHONE, code))
    assert (await world.verify(first, Channel.PHONE)).phone_verified


async def test_until_a_channel_is_proven_nothing_tells_that_it_is_taken(world):
    await world.register()
    free, taken = await world.start(PHONE_2, "new@example.org"), await world.start(PHONE, "new2@example.org")
    assert {k: v for k, v in msgspec.to_builtins(free).items() if k not in ("token", "phone", "email")} == {
        k: v for k, v in msgspec.to_builtins(taken).items() if k not in ("token", "phone", "email")
    }
    email_first = await world.verify(taken, Channel.EMAIL)  # proves the new address only: still nothing
    assert email_first.email_verified
    await refused(ErrorCode.PHONE_TAKEN, world.verify(taken, Channel.PHONE))
    await refused(ErrorCode.EMAIL_TAKEN, world.verify(await world.start(PHONE_2, "ada@example.org"), Channel.EMAIL))
    assert await world.count(accounts) == 1


async def test_an_address_is_the_same_in_any_case(world):
    await world.register(email="Ada@Example.org")
    await refused(ErrorCode.EMAIL_TAKEN, world.verify(await world.start(PHONE_2, "ADA@EXAMPLE.ORG"), Channel.EMAIL))


async def test_who_proves_both_keeps_the_account_and_loses_the_old_devices(world):
    first = await world.register()
    sessions = Sessions(world.database)
    assert await sessions.authenticate(first.token)
    second = await world.register()
    assert second.account == first.account
    assert second.device != first.device
    sessions.forget(first.device)
    assert await sessions.authenticate(first.token) is None
    assert [event[0] for event in world.events.all[1:]] == ["devices_removed", "book_lost", "devices_changed"]
    assert await world.count(accounts) == 1


async def test_a_number_that_two_finish_at_once_becomes_one_account(world):
    a, b = (
        await world.verify(await world.start(PHONE, "a@example.org")),
        await world.verify(await world.start(PHONE, "b@example.org")),
    )
    results = await asyncio.gather(
        *(world.service.finish(r.token, CreateAccount(certificate(r.account), "x")) for r in (a, b)), return_exceptions=True
    )
    assert sorted(type(r).__name__ for r in results) == ["Refused", "SignedIn"]
    assert next(r for r in results if isinstance(r, Refused)).code is ErrorCode.PHONE_TAKEN
    assert await world.count(accounts) == 1


async def test_a_certificate_that_does_not_verify_or_names_another_account_makes_no_account(world):
    registration = await world.verify(await world.start())
    good = certificate(registration.account)
    forged = msgspec.structs.replace(good, chain=(msgspec.structs.replace(good.chain[0], issued_at=2),))
    for bad in (certificate("B" * 22), forged):
        await refused(ErrorCode.CERTIFICATE_INVALID, world.service.finish(registration.token, CreateAccount(bad, "x")))
    assert await world.count(accounts) == 0


async def test_a_device_id_in_use_is_refused(world):
    first = await world.register()
    await refused(ErrorCode.DEVICE_EXISTS, world.register(PHONE_2, "b@example.org", device=first.device))
    assert await world.count(accounts) == 1


async def test_a_service_that_does_not_take_the_code_is_said_and_leaves_nothing(world, redis):
    world.mailbox.broken = True
    await refused(ErrorCode.DELIVERY_FAILED, world.start())
    assert await redis.keys("registration:*") == []


async def test_redis_keys_hold_neither_number_nor_address_and_expire(world, redis):
    await world.start()
    for key in await redis.keys("*"):
        assert b"4930901820" not in key
        assert b"ada" not in key
        assert 0 < await redis.ttl(key) <= 3600


async def test_an_unknown_token_is_unauthenticated(world):
    await refused(ErrorCode.UNAUTHENTICATED, world.service.verify("A" * 43, Channel.PHONE, "123456"))


async def test_what_has_expired_is_not_revived_by_a_late_write(redis, database, clock):
    """Two requests of one registration, and the hour is over between them: what the second writes would stay for ever."""
    world = World(database, redis, clock)
    store, registration = world.service._store, await world.start()
    load = store.load

    async def then_it_expires(token: str) -> dict[str, str]:
        record = await load(token)
        await redis.flushall()
        return record

    store.load = then_it_expires
    with pytest.raises(Refused) as refused:
        await world.service.verify(registration.token, Channel.PHONE, world.mailbox.codes[PHONE])
    assert refused.value.code is ErrorCode.UNAUTHENTICATED
    assert await redis.keys("*") == []
    assert not await store.update(registration.token, {"account": "a" * 22})
    assert await store.count_try(registration.token, "phone") == 0
    assert await redis.keys("*") == []


async def test_a_deleted_account_s_registrations_are_forgotten_under_every_name_that_they_have(redis, database, clock):
    """One with the account's number and another address, for example a change of the address that was begun."""
    world = World(database, redis, clock)
    store = world.service._store
    await world.start(email="ada@example.org")
    await world.start(email="byron@example.org")
    await store.forget_all(store.handles(PHONE, "ada@example.org"))
    assert [key for key in await redis.keys("*") if key.startswith(b"registration")] == []
