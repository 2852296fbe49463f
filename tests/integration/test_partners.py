"""What leaves the service about users is aggregate only (P25)."""

from sqlalchemy import insert

from signaling.operators.audit import AuditTrail
from signaling.operators.operator import Operator
from signaling.privacy.aggregates import AggregateService
from signaling.storage.tables import accounts, objections


async def people(database, count: int, prefix: str, *, objecting: int = 0, frozen: int = 0) -> None:
    async with database.begin() as connection:
        for n in range(count):
            name = f"{prefix}{n:04}".ljust(22, "x")
            await connection.execute(
                insert(accounts).values(
                    id=name, phone=f"{prefix}{n:04}", email=name, identity_key="k", discovery_token=name, policy_version="1",
                    who_can_call="contacts", created_at=0, restricted_at=1 if n < frozen else None,
                )
            )  # fmt: skip
            if count - n <= objecting:
                await connection.execute(insert(objections).values(account=name, interest="statistics", at=0))


async def test_counts_leave_out_who_objects_who_is_frozen_and_who_is_few(database):
    await people(database, 47, "+4915112300", objecting=5, frozen=2)
    await people(database, 25, "+447400120")
    await people(database, 21, "+3361234500", objecting=2)
    trail = AuditTrail(database)
    given = await AggregateService(database=database, audit=trail).read(Operator("ada"))
    # 40 Germans are counted; 19 French are too few, so 25 Britons hide them
    assert given.accounts_by_country == {"DE": 40, "other": 40}
    assert [(entry.operator, entry.action) for entry in await trail.read()] == [("ada", "aggregates_read")]
