"""Carries what one feature has to tell to those who must know: on this hub at once, on the others over the bus.

Implements ``AccountEvents`` and ``ContactEvents``; ``app.py`` puts the parts in. Most notices are hints, dropped when Redis does not answer:
what they tell is found in the stores anyway. What must not be missed (a removed device, an erasure) is repeated until it is done.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from signaling.accounts.directory import Directory
from signaling.accounts.links import LinkService
from signaling.accounts.sessions import Sessions
from signaling.calls.history import History
from signaling.calls.relations import Relations
from signaling.calls.service import CallService
from signaling.cluster.messages import (
    AccountText,
    Blocked,
    BusMessage,
    DevicesRemoved,
    Drain,
    Invalidated,
    Missed,
    PairChanged,
    Renewed,
    Replaced,
    Restricted,
    Resync,
    Text,
)
from signaling.cluster.service import Cluster
from signaling.contacts.service import ContactService
from signaling.defects import frames_only
from signaling.gateway.socket import SocketGateway
from signaling.presence.service import PresenceService
from signaling.push.sender import Wake
from signaling.push.service import PushService
from signaling.storage.sql import Database
from signaling.storage.tables import devices as device_table
from signaling.wire.codec import encode
from signaling.wire.errors import Refused
from signaling.wire.messages import (
    CloseCode,
    ContactMatch,
    ContactsChanged,
    DevicesChanged,
    LinkClaimed,
    ProfileChanged,
    ServerMessage,
    TicketChanged,
)

log = logging.getLogger(__name__)

STORE_ERRORS: Final = (RedisError, SQLAlchemyError, OSError, TimeoutError)
"""What a store that does not answer raises."""
_CLOSE: Final = 5.0
"""Seconds that what is under way has when the hub ends."""
_ANSWER: Final = 86_400.0
"""Seconds for which a device is told that support has answered."""
_CHUNK: Final = 500
"""Devices looked at, or sent ``sync``, at a time."""


class Events:
    """The parts are set by ``app.py`` before anything is told."""

    def __init__(self, database: Database) -> None:
        self.sessions: Sessions
        self.sockets: SocketGateway
        self.calls: CallService
        self.relations: Relations
        self.history: History
        self.contacts: ContactService
        self.directory: Directory
        self.links: LinkService
        self.presence: PresenceService
        self.cluster: Cluster
        self.push: PushService
        self.drain: Callable[[], object] = lambda: None
        """Ends this hub as SIGTERM does; set by who runs it."""
        self._database = database
        self._tasks: set[asyncio.Task[None]] = set()

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except STORE_ERRORS as error:
                # clients that miss a hint find the truth when they next ask
                log.error("event: a store does not answer (%s)", type(error).__name__)

        self._keep(guarded())

    def _surely(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Do it until it is done: an erasure is not a hint. What a hub's end cuts off, the sweeps of retention do."""

        async def until_done() -> None:
            wait = 1.0
            while True:
                try:
                    await work()
                except STORE_ERRORS as error:
                    log.error("erasure: a store does not answer (%s); trying again in %.0f s", type(error).__name__, wait)
                except Exception as error:
                    log.error("erasure: defect %s; trying again in %.0f s", type(error).__name__, wait, exc_info=frames_only(error))
                else:
                    return
                await asyncio.sleep(wait)
                wait = min(30.0, wait * 2)

        self._keep(until_done())

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_CLOSE)
            for task in late:
                task.cancel()

    def tell_account(self, account: str, message: ServerMessage, but: str = "") -> None:
        """Tell every device of an account, on whatever hub, but one; a hint."""
        text = encode(message)
        self.sockets.send_to_account(account, text, but)
        self.cluster.broadcast(AccountText(account, text, but))

    def send_device(self, device: str, message: ServerMessage) -> bool:
        """Send to a device, on whatever hub; a hint. Returns whether it is on this one."""
        text = encode(message)
        if self.sockets.send_text(device, text):
            return True

        async def elsewhere() -> None:
            node = (await self.cluster.locate([device])).get(device)
            if node is not None:
                self.cluster.send(node, Text(device, text))

        if not self.cluster.alone:
            self._later(elsewhere())
        return False

    def _invalidate(self, account: str) -> None:
        self.relations.forget(account)
        self.cluster.broadcast(Invalidated(account))

    # --- what other hubs say ---------------------------------------------------------------------------------------------

    def heard(self, message: BusMessage) -> None:
        """One message from the bus."""
        match message:
            case PairChanged():
                self.calls.pair_changed(message)
            case Text():
                self.calls.deliver(message)
            case AccountText(account, text, but):
                self.sockets.send_to_account(account, text, but)
            case Replaced(device):
                session = self.sockets.session(device)
                if session is not None:
                    self.sockets.end(device, CloseCode.REPLACED)
                    self.calls.replaced(session)
            case Resync(devices):
                for device in devices:
                    self.sockets.resync(device)
            case DevicesRemoved(account, devices):
                self._removed(account, devices)
            case Invalidated(account):
                self.relations.forget(account)
            case Restricted(account, devices, restricted):
                self.relations.forget(account)
                self._shut_out(devices, CloseCode.RESTRICTED if restricted else None)
            case Blocked(account, devices, blocked):
                self.relations.forget(account)
                self._shut_out(devices, CloseCode.BLOCKED if blocked else None)
            case Renewed(devices):
                self._renewed(devices)
            case Missed():
                self.cluster.nodes.missed()
            case Drain():
                log.warning("an operator drains this hub")
                self.drain()

    def replaced(self, device: str, node: str) -> None:
        """A device is here now that was on another hub."""
        self.cluster.send(node, Replaced(device))

    async def missed(self, away: float) -> None:
        """This hub may have missed notices for ``away`` seconds: forget what could be old, and send every device a new ``sync``."""
        log.warning("cluster: catching up after %.0f s", away)
        self.sessions.forget_all()
        self.relations.forget_all()
        here = self.sockets.here()
        await self.cluster.republish(here)
        await self.calls.recover(away)
        devices = list(here)
        for start in range(0, len(devices), _CHUNK):
            some = devices[start : start + _CHUNK]
            known = {row.id for row in await self._database.fetch(select(device_table.c.id).where(device_table.c.id.in_(some)))}
            for device in some:
                if device in known:
                    self.sockets.resync(device)
                else:
                    self.sockets.end(device)
            await asyncio.sleep(0)

    async def died(self, nodes: list[str]) -> None:
        """Other hubs are gone, and this one cleans up after them."""
        await self.history.take_over(nodes)
        await self.calls.bury()
        for node in nodes:
            self.calls.unread(await self.cluster.leftover(node))

    # --- AccountEvents ---------------------------------------------------------------------------------------------------

    def devices_removed(self, account: str, devices: Sequence[str]) -> None:
        """Sessions, sockets, calls and links of removed devices end, on every hub."""
        self._removed(account, devices)
        self._surely(lambda: self.cluster.surely(DevicesRemoved(account, list(devices))))
        self._surely(lambda: self.links.forget(account, devices))

    def _shut_out(self, devices: Sequence[str], code: int | None) -> None:
        """Sessions are looked up again; with a code, calls end, and sockets with it."""
        for device in devices:
            self.sessions.forget(device)
            if code is not None:
                self.calls.end_device(device)
                self.sockets.end(device, code)

    def _removed(self, account: str, devices: Sequence[str]) -> None:
        for device in devices:
            self.sessions.forget(device)
            self.calls.end_device(device)
            self.sockets.end(device)
        self.relations.forget(account)

    def devices_changed(self, account: str) -> None:
        """The account's own devices and everyone who has it as a contact fetch its devices again."""
        self._invalidate(account)

        async def tell() -> None:
            facts = await self.directory.get(account)
            holders = await self.contacts.holders_of(facts.discovery_token) if facts is not None else frozenset()
            for other in {account, *holders}:
                self.tell_account(other, DevicesChanged(account=account))

        self._later(tell())

    def account_created(self, account: str, discovery_token: str) -> None:
        """Who waits for this number sees the match."""
        self._later(self.contacts.joined(account, discovery_token))
        self.presence_rules_changed(account)

    def account_erased(self, account: str) -> None:
        """An account's rows are gone."""
        self._invalidate(account)

    def account_restricted(self, account: str, devices: list[str], discovery_token: str, *, restricted: bool) -> None:
        """An account was frozen or unfrozen: to others it is as if it had left or joined."""
        self._invalidate(account)
        # on the other hubs, too, its sockets close and what is remembered of its sessions goes; a client that comes back hears why
        self._shut_out(devices, CloseCode.RESTRICTED if restricted else None)
        self._surely(lambda: self.cluster.surely(Restricted(account, list(devices), restricted)))
        self._left_or_joined(account, discovery_token)

    def account_blocked(self, account: str, devices: list[str], discovery_token: str, *, blocked: bool) -> None:
        """An operator blocked an account or unblocked it: calls and sockets end on every hub, and to others it has left or joined."""
        self._invalidate(account)
        self._shut_out(devices, CloseCode.BLOCKED if blocked else None)
        self._surely(lambda: self.cluster.surely(Blocked(account, list(devices), blocked)))
        if blocked:
            self._surely(lambda: self._stop_calls(account))
        self._left_or_joined(account, discovery_token)

    async def _stop_calls(self, account: str) -> None:
        """Also those that still ring, wherever the others are."""
        for call in await self.calls.live_of(account):
            try:
                await self.calls.stop(call.id)
            except Refused as refused:
                raise TimeoutError(refused.code) from None  # Redis did not answer: it is tried again

    def _left_or_joined(self, account: str, discovery_token: str) -> None:
        """Who has the account as a contact is told; it may be frozen and blocked, and one of the two is over."""
        self.presence_rules_changed(account)

        async def tell() -> None:
            facts = await self.directory.get(account)
            work = self.contacts.left if facts is None or facts.restricted else self.contacts.joined
            await work(account, discovery_token)

        self._later(tell())

    def settings_changed(self, account: str) -> None:
        """Who may call, or another setting, changed: the account's other devices fetch it."""
        self._invalidate(account)
        self.tell_account(account, ProfileChanged(account=account))

    async def presence_changed(self, account: str) -> None:
        """Who may see online or last seen changed: done when this returns, or as soon as the store answers."""
        try:
            await self.presence.settings_changed(account)
        except STORE_ERRORS:
            self._surely(lambda: self.presence.settings_changed(account))

    def presence_rules_changed(self, account: str) -> None:
        """Something else that decides who may see an account's presence changed."""
        self._surely(lambda: self.presence.rules_changed(account))

    def profile_changed(self, account: str) -> None:
        """Contacts who may see the profile, and the account's own devices, fetch it again."""

        async def tell() -> None:
            facts = await self.directory.get(account)
            if facts is not None:
                holders = await self.contacts.holders_of(facts.discovery_token)
                for other in {account, *await self.contacts.mutual(account, holders)}:
                    self.tell_account(other, ProfileChanged(account=account))

        self._later(tell())

    def number_changed(self, account: str, devices: Sequence[str], old_token: str, new_token: str) -> None:
        """Who has the old number sees the match go, who has the new one sees it come; the account's devices come back with the new number."""
        self.sessions_changed(devices)
        self._invalidate(account)
        self.presence_rules_changed(account)

        async def tell() -> None:
            for holder in await self.contacts.holders_of(old_token) - {account}:
                self.matches_removed(holder, [account])
            await self.contacts.joined(account, new_token)

        self._later(tell())

    def sessions_changed(self, devices: Sequence[str]) -> None:
        """Devices whose sessions are old come back, on whatever hub they are."""
        self._renewed(devices)
        self._surely(lambda: self.cluster.surely(Renewed(list(devices))))

    def _renewed(self, devices: Sequence[str]) -> None:
        for device in devices:
            self.sessions.forget(device)
            self.sockets.end(device, CloseCode.GOING_AWAY)

    def link_claimed(self, device: str, link: str) -> None:
        """Tell the device that shows the code."""
        self.send_device(device, LinkClaimed(link=link))

    def ticket_changed(self, account: str, ticket: str, answered: bool) -> None:
        """Support did something: the account's devices look, and those without a socket are woken for an answer."""
        self.tell_account(account, TicketChanged(ticket=ticket))

        async def wake() -> None:
            ids = [row.id for row in await self._database.fetch(select(device_table.c.id).where(device_table.c.account == account))]
            away = [device for device in ids if not self.sockets.online(device)]
            elsewhere = {} if self.cluster.alone else await self.cluster.locate(away)
            self.push.wake([device for device in away if device not in elsewhere], _ANSWER, Wake.SUPPORT)

        if answered:
            self._later(wake())

    # --- ContactEvents ---------------------------------------------------------------------------------------------------

    def matches_added(self, account: str, matches: Sequence[ContactMatch]) -> None:
        """Entries of a user's address book became accounts."""
        self._invalidate(account)
        self.tell_account(account, ContactsChanged(added=list(matches)))

    def matches_removed(self, account: str, accounts: Sequence[str]) -> None:
        """Entries of a user's address book are accounts no longer."""
        self._invalidate(account)
        self.tell_account(account, ContactsChanged(removed=list(accounts)))

    def book_changed(self, account: str) -> None:
        """A user's address book changed: whom they may call, and who sees their presence, must be looked up again."""
        self._invalidate(account)
        self.presence_rules_changed(account)

    def blocks_changed(self, account: str) -> None:
        """A user blocked or unblocked someone."""
        self._invalidate(account)
        self.presence_rules_changed(account)
