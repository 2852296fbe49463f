"""Contacts: the uploaded phonebook, who of it is here (P06), who joins later (P08), and whom the user blocked."""

import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

from msgspec import UNSET
from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from signaling.accounts.directory import Directory
from signaling.contacts.discovery import Discovery
from signaling.contacts.events import ContactEvents
from signaling.contacts.store import ContactStore
from signaling.storage.sql import Database
from signaling.storage.tables import accounts, blocks
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.messages import ContactMatch
from signaling.wire.rest import MAX_BOOK, AddressBook, Blocks, ChangeContacts, ContactsChange, Entry, Evaluated, Purpose


class Consents(Protocol):
    """Whether a user gave a consent (``privacy/consents.py``)."""

    async def granted(self, account: str, purpose: Purpose) -> bool:
        """True only after an explicit yes, to the words that are asked now, that was not withdrawn."""

    async def withdrawn(self, account: str, purpose: Purpose) -> bool:
        """Whether nothing that was collected may stay."""


class OwedBooks(Protocol):
    """Address books that must go, and have not yet (``privacy/owed.py``)."""

    def __contains__(self, account: object) -> bool:
        """Whether this account's is one of them: nothing of it is shown or counts any more."""

    def keys(self) -> frozenset[str]:
        """Their accounts."""


class ContactService:
    """Address books and blocks of all users.

    Args:
        owed: books that must go, and have not yet.
        settle: does what is owed of an account's book; raises ``RedisError`` or ``OSError`` when the store does not answer.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: ContactStore,
        directory: Directory,
        discovery: Discovery,
        consents: Consents,
        events: ContactEvents,
        owed: OwedBooks,
        settle: Callable[[str], Awaitable[None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._store = store
        self._directory = directory
        self._discovery = discovery
        self._consents = consents
        self._events = events
        self._clock = clock
        self._owed = owed
        self._settle = settle

    # --- the address book ------------------------------------------------------------------------------------------------

    async def evaluate(self, account: str, phone: str, blinded: list[str]) -> Evaluated:
        """Have blinded numbers evaluated by the key-holder, on the budget of the account's own number (E.164)."""
        await self._require_consent(account)
        return await self._discovery.evaluate(phone, blinded)

    async def change(self, account: str, body: ChangeContacts) -> ContactsChange:
        """Apply changes of the book; answers which of the added entries are accounts."""
        await self._require_consent(account)
        await self._settle(account)  # a new book is taken only after the old one is gone
        add = {entry.token: entry.entry for entry in body.add}
        count = await self._store.change(account, add, body.remove, reset=body.reset, limit=MAX_BOOK)
        if count is None:
            raise Refused(ErrorCode.ADDRESS_BOOK_FULL)
        # withdrawn while we wrote? Then what was written goes, whichever of the two came last
        if await self._consents.withdrawn(account, Purpose.PHONEBOOK):
            await self._store.delete(account, known=await self._directory.get(account) is not None)
            raise Refused(ErrorCode.CONSENT_REQUIRED)
        found = await self._directory.by_tokens(add)
        self._events.book_changed(account)
        return ContactsChange(
            count=count, matches=[ContactMatch(token, other) for token, other in found.items() if other != account]
        )

    async def get(self, account: str) -> AddressBook:
        """The uploaded book, matches marked."""
        await self._settle(account)
        book = await self._store.get(account)
        found = await self._directory.by_tokens(book)
        entries = []
        for token, entry in book.items():
            other = found.get(token)
            entries.append(Entry(token=token, entry=entry, account=UNSET if other is None or other == account else other))
        return AddressBook(entries)

    async def delete(self, account: str) -> None:
        """Delete the book, at once and for good (P07): there is no backup of it."""
        await self._store.delete(account, known=True)
        self._events.book_changed(account)

    async def erase_book(self, account: str, *, known: bool) -> None:
        """Empty a book; ``known`` as for ``ContactStore.delete``. Raises ``RedisError`` or ``OSError``."""
        await self._store.delete(account, known=known)
        self._events.book_changed(account)

    async def answers(self) -> None:
        """Raises ``RedisError`` or ``OSError`` when the store does not answer."""
        await self._store.ping()

    async def _require_consent(self, account: str) -> None:
        if not await self._consents.granted(account, Purpose.PHONEBOOK):
            raise Refused(ErrorCode.CONSENT_REQUIRED)

    async def wanted(self, account: str) -> bool:
        """Whether the user's clients should upload again: consent is given, and the live store was lost since."""
        return not await self._store.uploaded(account) and await self._consents.granted(account, Purpose.PHONEBOOK)

    # --- what other features ask -------------------------------------------------------------------------------------------

    async def is_contact(self, owner: str, token: str) -> bool:
        """Whether ``owner``'s book holds the number behind ``token``."""
        return owner not in self._owed and await self._store.holds(owner, token)

    async def are_contacts(self, questions: Sequence[tuple[str, str]]) -> list[bool]:
        """For each (owner, discovery token), as ``is_contact``, in one round trip."""
        held = await self._store.hold(questions)
        return [yes and owner not in self._owed for (owner, _), yes in zip(questions, held, strict=True)]

    async def tokens_in_book(self, owner: str, tokens: Sequence[str]) -> frozenset[str]:
        """Those of the tokens that ``owner``'s book holds."""
        return frozenset() if owner in self._owed else await self._store.held(owner, tokens)

    async def holders_among(self, token: str, accounts: Sequence[str]) -> frozenset[str]:
        """Those of the accounts whose book holds ``token``."""
        return await self._store.holders_among(token, [account for account in accounts if account not in self._owed])

    async def holders_of(self, token: str) -> frozenset[str]:
        """Accounts whose book holds ``token``: those to tell when that account's devices change."""
        return await self._store.holders(token) - self._owed.keys()

    async def mutual(self, account: str, others: Collection[str]) -> frozenset[str]:
        """Those of the others that have ``account`` in their books and are in its book, where neither has blocked the other."""
        tokens = await self._directory.tokens_of({account, *others})
        own = tokens.pop(account, None)
        if own is None or not tokens:
            return frozenset()
        in_book = await self.tokens_in_book(account, list(tokens.values()))
        candidates = [other for other, token in tokens.items() if token in in_book]
        query = select(blocks.c.account, blocks.c.blocked).where((blocks.c.account == account) | (blocks.c.blocked == account))
        async with self._database.begin() as connection:
            apart = {other for row in await connection.execute(query) for other in row}
        return await self.holders_among(own, candidates) - apart

    async def joined(self, account: str, token: str) -> None:
        """An account was created: whoever waits for its number sees the match."""
        for holder in await self.holders_of(token) - {account}:
            self._events.matches_added(holder, [ContactMatch(token, account)])

    async def left(self, account: str, token: str) -> None:
        """An account is nobody's match any more: who has its number is told."""
        for holder in await self.holders_of(token) - {account}:
            self._events.matches_removed(holder, [account])

    async def forget_account(self, account: str, token: str | None) -> None:
        """The account was deleted: its book goes, and who had it as a contact is told (P23). Raises as ``erase_book``."""
        await self.erase_book(account, known=False)
        if token is not None:
            await self.left(account, token)

    async def sweep(self) -> int:
        """Delete what must not be here: books of accounts that are gone or whose consent was withdrawn (P05, P23).

        A deletion that this store could not do at its time, because it did not answer or the hub died, is made up for here; run at every
        start. Returns how many accounts were cleared.
        """
        cleared = 0
        async for account in self._store.accounts():
            exists = await self._directory.get(account) is not None
            if not exists or (await self._store.has_book(account) and await self._consents.withdrawn(account, Purpose.PHONEBOOK)):
                await self._store.delete(account, known=exists)
                cleared += 1
        return cleared

    # --- blocks --------------------------------------------------------------------------------------------------------------

    async def blocked(self, account: str) -> Blocks:
        """Whom the user blocked, oldest first."""
        query = select(blocks.c.blocked).where(blocks.c.account == account).order_by(blocks.c.at, blocks.c.blocked)
        async with self._database.begin() as connection:
            return Blocks([row.blocked for row in await connection.execute(query)])

    async def block(self, account: str, other: str) -> None:
        """Block an account; doing so twice is doing so once."""
        if other == account:
            raise Refused(ErrorCode.NOT_FOUND)
        try:
            async with self._database.begin() as connection:
                if (await connection.execute(select(accounts.c.id).where(accounts.c.id == other))).first() is None:
                    raise Refused(ErrorCode.NOT_FOUND)
                await connection.execute(insert(blocks).values(account=account, blocked=other, at=int(self._clock() * 1000)))
        except IntegrityError:
            return
        self._events.blocks_changed(account)

    async def unblock(self, account: str, other: str) -> None:
        """Unblock an account; one that is not blocked stays so."""
        async with self._database.begin() as connection:
            await connection.execute(delete(blocks).where(blocks.c.account == account, blocks.c.blocked == other))
        self._events.blocks_changed(account)

    async def has_blocked(self, owner: str, other: str) -> bool:
        """Whether ``owner`` blocked ``other``."""
        query = select(blocks.c.at).where(blocks.c.account == owner, blocks.c.blocked == other)
        async with self._database.begin() as connection:
            return (await connection.execute(query)).first() is not None
