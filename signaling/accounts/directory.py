"""What other features may know of accounts."""

from collections.abc import Iterable

import msgspec
from msgspec import Struct
from sqlalchemy import select

from signaling.accounts.standing import is_out, takes_part
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, devices
from signaling.wire.certificate import DeviceCertificate
from signaling.wire.rest import WhoCanCall


class AccountFacts(Struct, frozen=True):
    """One account, as the hub's other features need it."""

    account: str
    phone: str
    discovery_token: str
    who_can_call: WhoCanCall
    devices: tuple[DeviceCertificate, ...]
    business: bool = False
    """A business: who deals with it sees that (P30)."""
    restricted: bool = False
    """Frozen by its owner, or blocked by an operator: it is called by nobody and is nobody's match (P23)."""
    service: bool = False
    """A service of the operator's, as the test call: everyone may call it."""


class Directory:
    """Reads accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, account: str) -> AccountFacts | None:
        """One account with its devices' certificates; None when it does not exist."""
        async with self._database.begin() as connection:
            row = (await connection.execute(select(accounts).where(accounts.c.id == account))).first()
            if row is None:
                return None
            certificates = await connection.execute(
                select(devices.c.certificate).where(devices.c.account == account).order_by(devices.c.created_at, devices.c.id)
            )
            decoded = tuple(msgspec.json.decode(c, type=DeviceCertificate) for (c,) in certificates)
        return AccountFacts(
            account=row.id,
            phone=row.phone,
            discovery_token=row.discovery_token,
            who_can_call=WhoCanCall(row.who_can_call),
            devices=decoded,
            business=row.business,
            restricted=is_out(row),
            service=row.service is not None,
        )

    async def tokens_of(self, ids: Iterable[str]) -> dict[str, str]:
        """Discovery tokens by account, of those accounts that exist; frozen ones are left out."""
        wanted = list(ids)
        found: dict[str, str] = {}
        async with self._database.begin() as connection:
            for start in range(0, len(wanted), 500):
                query = select(accounts.c.id, accounts.c.discovery_token).where(
                    accounts.c.id.in_(wanted[start : start + 500]), takes_part()
                )
                found.update({row.id: row.discovery_token for row in await connection.execute(query)})
        return found

    async def by_tokens(self, tokens: Iterable[str]) -> dict[str, str]:
        """Accounts by discovery token, of those tokens that are accounts; frozen ones are left out."""
        wanted = list(tokens)
        found: dict[str, str] = {}
        async with self._database.begin() as connection:
            for start in range(0, len(wanted), 500):  # SQLite bounds the parameters of one statement
                query = select(accounts.c.discovery_token, accounts.c.id).where(
                    accounts.c.discovery_token.in_(wanted[start : start + 500]), takes_part()
                )
                found.update({row.discovery_token: row.id for row in await connection.execute(query)})
        return found
