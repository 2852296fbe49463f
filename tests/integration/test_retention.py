"""What has outlived its lifetime goes; what is frozen stays (P23)."""

import re
from contextlib import AsyncExitStack

from sqlalchemy import insert, select, update

from signaling.privacy.retention import Retention, rules
from signaling.storage.tables import accounts, call_records
from tests.everything import use_everything
from tests.integration.hub_fixture import register
from tests.integration.test_client_calls import ALICE, BOB
from tests.inventory import key_patterns

DAY = 86_400_000
ANN, BEN = "A" * 22, "B" * 22


async def account(database, name: str) -> None:
    async with database.begin() as connection:
        await connection.execute(
            insert(accounts).values(
                id=name, phone=name[:16], email=name, identity_key="k", discovery_token=name, policy_version="1",
                who_can_call="contacts", created_at=0,
            )
        )  # fmt: skip


async def lines(database) -> set[tuple[str, str]]:
    async with database.begin() as connection:
        rows = await connection.execute(select(call_records.c.account, call_records.c.call))
        return {(row.account[0], row.call) for row in rows}


async def test_old_lines_go_and_those_of_a_frozen_account_stay(database, clock):
    now = int(clock() * 1000)
    for name in (ANN, BEN):
        await account(database, name)
        async with database.begin() as connection:
            for call, days in (("old", 366), ("young", 364)):
                at = now - days * DAY
                await connection.execute(
                    insert(call_records).values(
                        account=name, call=call, peer="x", outgoing=True, reason="missed", started_at=at, ended_at=at
                    )
                )
    async with database.begin() as connection:
        await connection.execute(update(accounts).where(accounts.c.id == BEN).values(restricted_at=now))
    retention = Retention(database=database, rules=rules(call_history_days=365), sweeps={}, clock=clock)
    assert (await retention.once())["call history"] == 1
    assert await lines(database) == {("A", "young"), ("B", "old"), ("B", "young")}
    async with database.begin() as connection:
        await connection.execute(update(accounts).values(restricted_at=None))
    assert (await retention.once())["call history"] == 1
    forever = Retention(database=database, rules=rules(call_history_days=0), sweeps={}, clock=clock)
    assert "call history" not in await forever.once()


SECONDS = {"s": 1, "min": 60, "an hour": 3600, "h": 3600, "days": 86_400}


def longest(lifetime: str) -> int | None:
    """Seconds that the inventory allows a key to live by itself; None when an event ends it."""
    if "an hour" in lifetime:
        return 3600
    found = re.search(r"(\d+) (s|min|h|days)\b", lifetime)
    return int(found[1]) * SECONDS[found[2]] if found else None


async def test_every_key_with_a_lifetime_expires_within_it(hub, redis):
    async with AsyncExitStack() as stack:
        alice, bob = await register(hub, ALICE), await register(hub, BOB)
        for client in (alice, bob):
            stack.push_async_callback(client.close)
        await use_everything(alice, bob, hub.url, stack)
        patterns = {name: longest(row[2]) for name, row in key_patterns().items()}
        seen = set()
        for key in await redis.keys("*"):
            name = next(
                n for n in patterns if re.fullmatch(re.sub(r"[A-Z][A-Z0-9]*", "[^:]+", re.sub(r"([{}])", r"\\\1", n)), key.decode())
            )
            seen.add(name)
            most = patterns[name]
            if most is not None and "dead hub" not in key_patterns()[name][2]:
                assert 0 < await redis.ttl(key) <= most, name
        assert {
            "registration:HMAC",
            "registrations:HMAC",
            "limit:KIND:HMAC",
            "link:LINK",
            "link_lookup:CODE",
            "links:ACCOUNT",
        } <= seen
