"""Approving a link on both databases: two at once, a commit that fails, a store that goes away half-way (P10, P26)."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
from redis.exceptions import ConnectionError as RedisGone
from sqlalchemy import func, insert, select
from sqlalchemy.exc import OperationalError

from signaling.accounts import links as module
from signaling.accounts.link_store import LinkStore
from signaling.accounts.links import LinkService
from signaling.accounts.sessions import Sessions
from signaling.client.keys import DeviceKeys, certify_linked
from signaling.storage.tables import devices
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.ids import MAX_DEVICES
from signaling.wire.rest import ApproveLink, ClaimLink, CreateAccount, LinkState
from tests.integration.test_registration import PHONE, Heard, World, certificate_of

MAC, SEALED = "m" * 43, "s" * 200


class Owner:
    """An account with one device, its links, and what is needed to vouch for more devices."""

    def __init__(self, database, redis) -> None:
        self.database, self.store, self.events = database, LinkStore(redis), Heard()
        self.links = LinkService(database=database, store=self.store, events=self.events)

    async def register(self, world: World) -> "Owner":
        registration = await world.verify(await world.start(PHONE))
        self.keys = DeviceKeys.generate()
        signed_in = await world.service.finish(
            registration.token, CreateAccount(certificate_of(registration.account, self.keys), "Laptop")
        )
        self.session = await Sessions(self.database).authenticate(signed_in.token)
        return self

    async def claimed(self) -> tuple[str, ApproveLink, str]:
        """A link that a new device has claimed: its id, the approval for it, the claim's token."""
        opened, new = await self.links.open(self.session), DeviceKeys.generate()
        claim = ClaimLink(opened.lookup, new.device, "Tablet", new.signing_key, new.sealing_key, MAC)
        token = (await self.links.claim(claim)).token
        public = {"device": new.device, "signing_key": new.signing_key, "sealing_key": new.sealing_key}
        certificate = certify_linked(self.session.certificate, self.keys, **public, issued_at=1)
        return opened.link, ApproveLink(certificate, MAC, SEALED), token

    async def state(self, link: str) -> LinkState:
        return (await self.links.status(self.session, link)).state

    async def count(self) -> int:
        async with self.database.begin() as connection:
            return (await connection.execute(select(func.count()).select_from(devices))).scalar_one()


@pytest.fixture
async def owner(database, redis, clock):
    return await Owner(database, redis).register(World(database, redis, clock))


async def test_two_approvals_at_once_do_not_pass_the_limit(owner, monkeypatch):
    begin, both, inside = owner.database.begin, asyncio.Event(), []

    @asynccontextmanager
    async def together():
        async with begin() as connection:
            yield connection
            if await connection.scalar(select(devices.c.id).where(devices.c.id.in_(asked))):
                inside.append(1)  # a row is written, not yet committed: give another the time to count the devices
                if len(inside) > 1:
                    both.set()
                with suppress(TimeoutError):
                    await asyncio.wait_for(both.wait(), 0.5)

    links = [await owner.claimed() for _ in range(4)]
    async with owner.database.begin() as connection:
        row = dict((await connection.execute(select(devices))).mappings().one())
        for number in range(MAX_DEVICES - 2):
            await connection.execute(insert(devices).values(**row | {"id": f"{number:022}", "token_hash": bytes([number]) * 32}))
    asked = [approval.certificate.device for _, approval, _ in links]
    monkeypatch.setattr(owner.database, "begin", together)
    approving = (owner.links.approve(owner.session, link, approval) for link, approval, _ in links)
    results = await asyncio.gather(*approving, return_exceptions=True)
    assert await owner.count() == MAX_DEVICES
    codes = sorted(r.code if isinstance(r, Refused) else "approved" for r in results)
    assert codes == ["approved"] + [ErrorCode.TOO_MANY_DEVICES] * 3
    for (link, _, _), result in zip(links, results, strict=True):
        assert await owner.state(link) is (LinkState.CLAIMED if isinstance(result, Refused) else LinkState.APPROVED)


async def test_a_commit_that_fails_leaves_no_approved_link_and_can_be_asked_for_again(owner, monkeypatch):
    link, approval, token = await owner.claimed()
    begin = owner.database.begin

    @asynccontextmanager
    async def failing():
        async with begin() as connection:
            yield connection
            if await connection.scalar(select(devices.c.id).where(devices.c.id == approval.certificate.device)):
                raise OperationalError("COMMIT", {}, Exception("the database went away"))

    monkeypatch.setattr(owner.database, "begin", failing)
    with pytest.raises(OperationalError):
        await owner.links.approve(owner.session, link, approval)
    monkeypatch.setattr(owner.database, "begin", begin)
    assert await owner.count() == 1
    assert await owner.state(link) is LinkState.CLAIMED
    monkeypatch.setattr(module, "_WAIT", 0.1)
    assert (await owner.links.outcome(token)).session is (await owner.links.outcome(token)).approval  # neither is set
    assert (await owner.links.approve(owner.session, link, approval)).state is LinkState.APPROVED
    assert (await owner.links.outcome(token)).session.device == approval.certificate.device
    assert await owner.count() == 2


async def test_a_link_whose_commit_failed_can_be_refused(owner):
    link, _, token = await owner.claimed()
    assert await owner.store.move(link, "claimed", "approving", "{}")  # all that is left when the hub died at that moment
    assert await owner.state(link) is LinkState.CLAIMED
    await owner.links.refuse(owner.session, link)
    assert await owner.state(link) is LinkState.REFUSED
    assert (await owner.links.outcome(token)).state is LinkState.REFUSED


async def test_a_row_that_was_written_approves_even_when_redis_goes_away_then(owner, monkeypatch):
    link, approval, token = await owner.claimed()
    move = owner.store.move

    async def gone(link, before, after, approval=""):
        if after == LinkState.APPROVED:
            raise RedisGone
        return await move(link, before, after, approval)

    monkeypatch.setattr(owner.store, "move", gone)
    assert (await owner.links.approve(owner.session, link, approval)).state is LinkState.APPROVED
    outcome = await owner.links.outcome(token)
    assert (outcome.state, outcome.session.device) == (LinkState.APPROVED, approval.certificate.device)
    with pytest.raises(Refused) as again:
        await owner.links.approve(owner.session, link, approval)
    assert again.value.code is ErrorCode.LINK_STATE


async def test_a_refusal_while_the_row_is_written_undoes_it(owner, monkeypatch):
    link, approval, token = await owner.claimed()
    move = owner.store.move

    async def refused_meanwhile(link, before, after, approval=""):
        if after == LinkState.APPROVED:
            assert await move(link, "approving", LinkState.REFUSED)
        return await move(link, before, after, approval)

    monkeypatch.setattr(owner.store, "move", refused_meanwhile)
    with pytest.raises(Refused) as refused:
        await owner.links.approve(owner.session, link, approval)
    assert refused.value.code is ErrorCode.LINK_STATE
    assert await owner.count() == 1
    assert (await owner.links.outcome(token)).state is LinkState.REFUSED
    assert owner.events.all == [("link_claimed", owner.session.device, link)]


async def test_links_of_removed_devices_go_and_others_stay(owner, redis):
    first, _, _ = await owner.claimed()
    second = await owner.links.open(owner.session)
    await owner.links.forget(owner.session.account, ["Z" * 22])
    assert await owner.state(first) is LinkState.CLAIMED
    assert await owner.state(second.link) is LinkState.WAITING
    await owner.links.forget(owner.session.account, [owner.session.device])
    assert await redis.keys("link*") == []


async def test_no_transaction_is_open_while_redis_is_asked(owner, monkeypatch):
    link, approval, _ = await owner.claimed()
    move, begin, open_ones = owner.store.move, owner.database.begin, []

    @asynccontextmanager
    async def counted():
        async with begin() as connection:
            open_ones.append(connection)
            yield connection
        open_ones.pop()

    async def asked(*arguments):
        assert open_ones == []
        return await move(*arguments)

    monkeypatch.setattr(owner.database, "begin", counted)
    monkeypatch.setattr(owner.store, "move", asked)
    assert (await owner.links.approve(owner.session, link, approval)).state is LinkState.APPROVED
