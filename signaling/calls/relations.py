"""How two accounts stand to each other, as the call policy asks: one SQL statement and one look into both address books, then remembered.

What changes a relation, here or on another hub, says so (``forget``); besides, a relation is remembered for a minute only.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec
from msgspec import Struct
from sqlalchemy import and_, func, select

from signaling.accounts.standing import takes_part
from signaling.calls.policy import Relation
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, blocks, devices
from signaling.wire.certificate import DeviceCertificate
from signaling.wire.rest import WhoCanCall

_REMEMBERED: Final = 50_000
"""Relations remembered."""
_LIFETIME: Final = 60.0
"""Seconds for which a relation is remembered."""

_callers: Final = accounts.alias("caller")
_callers_devices: Final = devices.alias("caller_device")
_DECODER: Final = msgspec.json.Decoder(DeviceCertificate)


class Books(Protocol):
    """Address books (``contacts/service.py``)."""

    async def are_contacts(self, questions: Sequence[tuple[str, str]]) -> list[bool]:
        """For each (owner, discovery token): whether the owner's book holds the number behind the token."""


class Facts(Struct, frozen=True):
    """What an invite must know: the relation, and the devices of the callee by id."""

    relation: Relation
    certificates: dict[str, DeviceCertificate]
    until: float
    caller_business: bool = False
    """The caller is a business: the callee sees that before taking the call (P30)."""
    caller_devices: int = 1
    """Devices of the caller."""


class Relations:
    """Looks relations up and remembers them.

    Args:
        clock: seconds, only ever growing.
    """

    def __init__(self, *, database: Database, books: Books, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._books = books
        self._clock = clock
        self._facts: dict[tuple[str, str], Facts] = {}
        self._of: dict[str, set[tuple[str, str]]] = {}
        self._generation = 0

    def known(self, caller: str, callee: str) -> Facts | None:
        """What is remembered."""
        facts = self._facts.get((caller, callee))
        return facts if facts is not None and facts.until > self._clock() else None

    def forget(self, account: str) -> None:
        """Something changed about an account: devices, settings, address book, blocks."""
        self._generation += 1
        for key in self._of.pop(account, ()):
            self._facts.pop(key, None)
            other = self._of.get(key[0] if key[1] == account else key[1])
            if other is not None:  # of an account that everyone calls nothing must pile up
                other.discard(key)

    def forget_all(self) -> None:
        """Notices may have been missed."""
        self._generation += 1
        self._facts.clear()
        self._of.clear()

    async def load(self, caller: str, callee: str) -> Facts:
        """Ask the stores. Raises ``SQLAlchemyError``, ``RedisError`` or ``OSError`` when one does not answer."""
        while True:
            generation = self._generation
            facts = await self._ask(caller, callee)
            if generation == self._generation:
                break  # else something changed while we were reading: what we have may be old
        if facts.relation.caller_has_callee or facts.relation.callee_is_service:
            if len(self._facts) >= _REMEMBERED:
                self.forget_all()
            key = (caller, callee)
            self._facts[key] = facts
            for account in key:
                self._of.setdefault(account, set()).add(key)
        return facts

    async def _ask(self, caller: str, callee: str) -> Facts:
        until = self._clock() + _LIFETIME
        if caller == callee:
            return Facts(_nobody(same=True), {}, until)
        query = (
            select(
                accounts.c.discovery_token,
                accounts.c.who_can_call,
                takes_part().label("takes_part"),
                accounts.c.service,
                _callers.c.service.label("caller_service"),
                _callers.c.discovery_token.label("caller_token"),
                _callers.c.business.label("caller_business"),
                blocks.c.at.label("blocked_at"),
                devices.c.certificate,
                select(func.count()).where(_callers_devices.c.account == caller).scalar_subquery().label("caller_devices"),
            )
            .select_from(
                accounts.join(_callers, _callers.c.id == caller)
                .outerjoin(blocks, and_(blocks.c.account == accounts.c.id, blocks.c.blocked == caller))
                .outerjoin(devices, devices.c.account == accounts.c.id)
            )
            .where(accounts.c.id == callee)
        )
        rows = await self._database.fetch(query)
        if not rows:
            return Facts(_nobody(same=False), {}, until)
        row = rows[0]
        found = [_DECODER.decode(row.certificate) for row in rows if row.certificate is not None]
        mine, theirs = await self._books.are_contacts([(caller, row.discovery_token), (callee, row.caller_token)])
        relation = Relation(
            same_account=False,
            callee_exists=bool(found),
            caller_has_callee=mine,
            callee_has_caller=theirs,
            # an account that is frozen, or blocked by an operator, is to the caller as one that blocked them: nobody home (P23)
            blocked=row.blocked_at is not None or not row.takes_part,
            who_can_call=WhoCanCall(row.who_can_call),
            caller_is_service=row.caller_service is not None,
            callee_is_service=row.service is not None,
        )
        return Facts(
            relation,
            {certificate.device: certificate for certificate in found},
            until,
            caller_business=row.caller_business,
            caller_devices=row.caller_devices,
        )


def _nobody(*, same: bool) -> Relation:
    return Relation(
        same_account=same,
        callee_exists=False,
        caller_has_callee=False,
        callee_has_caller=False,
        blocked=False,
        who_can_call=WhoCanCall.NOBODY,
    )
