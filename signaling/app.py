"""The composition root: settings in, one running hub out. The only place where parts are wired together."""

import asyncio
import gc
import hashlib
import hmac
import ipaddress
import secrets
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web
from msgspec import UNSET
from redis.asyncio import Redis
from redis.exceptions import RedisError

import signaling.accounts.api
import signaling.calls.api
import signaling.calls.relays
import signaling.contacts.api
import signaling.operations.api
import signaling.operators.accounts_api
import signaling.operators.api
import signaling.plans.api
import signaling.presence.api
import signaling.privacy.admin_api
import signaling.privacy.api
import signaling.push.api
import signaling.support.admin_api
import signaling.support.api
from signaling.accounts.contact_change import ContactChangeService
from signaling.accounts.delivery import ConsoleDelivery, CountedDelivery, Delivery, HttpSmsDelivery, SmtpDelivery
from signaling.accounts.device_details import DeviceDetailsService
from signaling.accounts.devices import DeviceService
from signaling.accounts.directory import Directory
from signaling.accounts.link_store import LinkStore
from signaling.accounts.links import LinkService
from signaling.accounts.location import Locator
from signaling.accounts.profile import ProfileService
from signaling.accounts.public_profile import PublicProfileService
from signaling.accounts.registration import RegistrationService
from signaling.accounts.registration_store import RegistrationStore
from signaling.accounts.services import ECHO, EchoAccountService, service_token
from signaling.accounts.sessions import Sessions
from signaling.calls.history import History
from signaling.calls.quality import QualityService
from signaling.calls.relations import Relations
from signaling.calls.relays import RelayService
from signaling.calls.samples import HeardSamples
from signaling.calls.service import CallService
from signaling.calls.store import CallStore
from signaling.calls.trace import Trace, rung_of
from signaling.calls.traces import Traces
from signaling.cluster.service import Cluster
from signaling.contacts.discovery import Discovery
from signaling.contacts.service import ContactService
from signaling.contacts.store import ContactStore
from signaling.descriptors import raise_limit
from signaling.events import Events
from signaling.gateway.admin import AdminGateway
from signaling.gateway.admin_stream import PATH as STREAM
from signaling.gateway.admin_stream import AdminStream
from signaling.gateway.pages import OPERATOR_HEADERS, Pages, to_operator_page
from signaling.gateway.request import Handlers, RestRequest, Session
from signaling.gateway.rest import AddressLimiter, RestGateway
from signaling.gateway.socket import PATH, SocketGateway
from signaling.limits.service import Limits
from signaling.operations.wiring import Operations
from signaling.operators.configured import OperatorParts
from signaling.operators.pseudonyms import Pseudonyms
from signaling.plans.payments import PaymentProvider, StandardWebhooks
from signaling.plans.rules import parse_product
from signaling.plans.service import PlanService
from signaling.presence.bus import RedisBus
from signaling.presence.service import PresenceService
from signaling.presence.store import PresenceStore
from signaling.privacy.aggregates import AggregateService
from signaling.privacy.consents import ConsentService
from signaling.privacy.erasure import Erasure, Step
from signaling.privacy.export import Exporter, Live
from signaling.privacy.export_sections import (
    SECTIONS,
    AddressBookSection,
    CallsHeardSection,
    CallTrace,
    CallTracesSection,
    HeardAt,
    HeardCall,
    LinksSection,
    LiveCall,
    LiveCallsSection,
    OpenLink,
    PresenceSection,
)
from signaling.privacy.objections import ObjectionService
from signaling.privacy.owed import Owed, OwedErasures, What
from signaling.privacy.requests import RequestService
from signaling.privacy.restriction import Restriction
from signaling.privacy.retention import Retention, rules
from signaling.privacy.returned import Returned
from signaling.privacy.rights import Rights
from signaling.push.configured import make_senders
from signaling.push.sender import Sender
from signaling.push.service import PushService
from signaling.push.store import PushStore
from signaling.push.vapid import Vapid
from signaling.settings import Settings
from signaling.storage.latency import Measured
from signaling.storage.migrate import migrate
from signaling.storage.persistence import check_not_persistent
from signaling.storage.redis import AnyRedis, any_redis_client, redis_client
from signaling.storage.scrub import AppendOnlyFile, scrub_sql, vacuum
from signaling.storage.sql import Database, configured_database
from signaling.support.announcements import AnnouncementService
from signaling.support.tickets import TicketService
from signaling.telemetry.hub import HubMetrics
from signaling.telemetry.hub_wiring import call_traces, hub_health
from signaling.telemetry.server import Ready, lives, telling
from signaling.telemetry.steps import Steps
from signaling.wire.rest import Channel, ClaimLink, IceServer, IceServers, LinkState, Purpose, PushKind
from turn_config.ice_servers import ice_servers

_PSEUDONYMS: Final = 50_000
"""Pseudonyms of accounts that call, remembered."""
_SHUTDOWN: Final = 5.0
"""Seconds that open requests have to finish when the hub ends."""
_BACKLOG: Final = 65_535
"""Connections that may wait to be taken, should all clients come at once; the kernel allows no more than ``net.core.somaxconn``."""
_KEEP_ALIVE: Final = 150.0
"""Seconds that a connection may be open without a request being there, whole: longer than reverse proxies keep theirs."""


class Hub:
    """All parts of one hub, wired. ``start`` before use, ``close`` after."""

    def __init__(
        self,
        settings: Settings,
        *,
        database: Database,
        redis: AnyRedis,
        book_redis: Redis,
        delivery: dict[Channel, Delivery] | None = None,
        senders: dict[PushKind, Sender] | None = None,
    ) -> None:
        self.settings = settings
        self.database = database
        self.redis = redis
        self.book_redis = book_redis
        if settings.keyholder_url is None or settings.keyholder_secret is None:
            raise ValueError("keyholder_url and keyholder_secret are needed")
        # one secret to keep: what the hub needs besides is derived from it
        pepper = hmac.digest(settings.keyholder_secret.encode(), b"kloudtalk/v1 pepper", hashlib.sha256)
        codes = self._codes = {c: CountedDelivery(d) for c, d in (delivery or make_delivery(settings)).items()}
        self.delivery: dict[Channel, Delivery] = dict(codes)

        events = self.events = Events(database)
        sessions = events.sessions = Sessions(database, settings.policy_version)
        directory = events.directory = Directory(database)
        self.discovery = Discovery(url=settings.keyholder_url, secret=settings.keyholder_secret)
        store = ContactStore(book_redis)
        owed = self.owed = OwedErasures(database)

        async def on_withdrawn(account: str, purpose: str) -> None:
            await erasures[Purpose(purpose)](account)

        consents = ConsentService(database=database, policy_version=settings.policy_version, on_withdrawn=on_withdrawn)
        contacts = events.contacts = ContactService(
            database=database,
            store=store,
            directory=directory,
            discovery=self.discovery,
            consents=consents,
            events=events,
            owed=owed,
            settle=lambda account: self.erasure.settle(account, What.ADDRESS_BOOK),
        )
        self.cluster = events.cluster = Cluster(redis, handle=events.heard, on_gap=events.missed, on_death=events.died)
        pseudonyms = self.pseudonyms = Pseudonyms(settings.keyholder_secret.encode())
        limits = Limits(redis, pepper, settings.limits_scale)
        tracing = self._tracing = call_traces(settings, self.cluster.node)
        self.steps = Steps(self.cluster.time, None if tracing is None else tracing.take)
        call_store = CallStore(redis, trace_seconds=settings.call_trace_hours * 3600, clock=self.cluster.time)
        self.traces = Traces(redis, pseudonym=pseudonyms.of, shards=call_store.shards)
        self.history = events.history = History(database=database, redis=redis, node=self.cluster.node, shards=call_store.shards)
        relations = events.relations = Relations(database=database, books=contacts)
        calls = events.calls = self.calls = CallService(
            store=call_store,
            relations=relations,
            history=self.history,
            cluster=self.cluster,
            limits=limits,
            send=lambda device, text: self.sockets.send_text(device, text),
            online=lambda device: self.sockets.online(device),
            resync=lambda device: self.sockets.resync(device),
            tell_account=events.tell_account,
            unreached=lambda devices, ttl: self.push.wake(devices, ttl),
            pseudonym=lru_cache(_PSEUDONYMS)(pseudonyms.of) if settings.call_trace_hours else None,
            finished=lambda call: self.operations.finished(call),
            stepped=self.steps.take,
        )
        vapid = Vapid(settings.keyholder_secret.encode(), settings.push_contact)
        self.push = events.push = PushService(
            store=PushStore(database),
            senders=make_senders(settings, vapid) if senders is None else senders,
            vapid_key=vapid.public_key,
            hosts=settings.push_hosts,
            allow_private=settings.push_allow_private,
        )
        self.presence = events.presence = PresenceService(
            store=PresenceStore(redis),
            database=database,
            contacts=contacts,
            bus=RedisBus(redis),
            send=lambda device, message: self.sockets.send(device, message),
        )
        details = DeviceDetailsService(
            database=database,
            locator=Locator(settings.geoip_database),
            consents=lambda account: consents.granted(account, Purpose.DEVICE_DETAILS),
        )

        async def erase_book(account: str) -> None:
            await self.erasure.erase_address_book(account)

        self.heard = HeardSamples(redis, kept=settings.call_trace_hours * 3600)
        qualities = QualityService(
            database=database,
            consents=lambda account: consents.granted(account, Purpose.QUALITY),
            write_history=self.history.write_all,
            party=calls.party,
            samples=self.heard,
            clock=self.cluster.time,
        )

        # what was collected under a consent goes when it is withdrawn: a purpose without an entry here stops the hub from starting
        erasures: dict[Purpose, Callable[[str], Awaitable[object]]] = {
            Purpose.PHONEBOOK: erase_book,
            Purpose.DEVICE_DETAILS: details.forget,
            Purpose.QUALITY: qualities.forget,
        }
        if erasures.keys() != set(Purpose):
            raise ValueError(f"purposes without an erasure: {sorted(set(Purpose) - erasures.keys())}")
        registrations = RegistrationStore(redis, pepper)
        changes = ContactChangeService(
            database=database, store=registrations, delivery=self.delivery, tokens=self.discovery, events=events, pepper=pepper
        )
        link_store = LinkStore(redis)
        restriction = Restriction(database=database, events=events)
        returned = Returned(redis=redis, database=database, erase=lambda account: self.erasure.erase_account(account))
        self.erasure = Erasure(
            database=database,
            owed=owed,
            events=events,
            handles=registrations.handles,
            steps=erasure_steps(
                contacts=contacts,
                calls=calls,
                history=self.history,
                links=link_store,
                registrations=registrations,
                presence=self.presence,
                forget_traces=self._forget_traces,
                returned=returned,
                left=lambda account: self.sockets.gone(account),
            ),
            books_answer=contacts.answers,
            restrict=lambda account, restricted: restriction.set(account, restricted=restricted),
            scrub=self._scrub_after_erasure,
        )
        self._append_only_file = AppendOnlyFile(redis)
        self.retention = Retention(
            database=database,
            rules=rules(call_history_days=settings.call_history_days),
            sweeps={
                "deleted accounts": returned.sweep,
                "address books": contacts.sweep,
                "presence": self.presence.sweep,
                "live calls": calls.prune,
                "traces of calls": self.traces.sweep,
                "files": self._scrub,
                "space of deleted rows": lambda: vacuum(database),
            },
        )
        profile = ProfileService(
            database=database,
            events=events,
            policy_version=settings.policy_version,
            presence_changed=events.presence_changed,
        )
        exporter = Exporter(
            database=database,
            server_name=settings.server_name,
            live=export_sections(
                calls=calls,
                contacts=contacts,
                links=link_store,
                presence=PresenceStore(redis),
                traces=self.traces,
                heard=self.heard,
            ),
            before=self.history.write_all,
        )
        self.operators = OperatorParts(
            settings,
            database=database,
            redis=redis,
            events=events,
            pseudonyms=pseudonyms,
            secret=settings.keyholder_secret.encode(),
        )
        self.audit = self.operators.audit
        self.requests = RequestService(
            database=database, audit=self.audit, owed=owed, exporter=exporter, delivery=self.delivery, pepper=pepper
        )
        objections = ObjectionService(database=database)
        self.tickets = TicketService(database=database, audit=self.audit, on_changed=events.ticket_changed)
        self.announcements = AnnouncementService(database=database, audit=self.audit, objections=objections)
        self.plans = PlanService(
            database=database,
            products=[parse_product(product) for product in settings.products],
            trial_days=settings.trial_days,
            provider=make_provider(settings),
        )
        self.aggregates = AggregateService(database=database, audit=self.audit)
        rights = Rights(
            exporter=exporter,
            erasure=self.erasure,
            restriction=restriction,
        )
        self.relays = RelayService(
            redis=redis,
            limits=limits,
            party=calls.party,
            lives=calls.lives,
            send=events.send_device,
            qualities=qualities,
            traced=(lambda _call: nullcontext("")) if tracing is None else tracing.leg,
            kept=settings.call_trace_hours * 3600,
        )
        self.operations = Operations(
            redis=redis,
            database=database,
            cluster=self.cluster,
            calls=calls,
            relays=self.relays,
            traces=self.traces,
            heard=self.heard,
            pseudonym=pseudonyms.of,
            devices=lambda: len(self.sockets),
            draining=lambda: self.sockets.draining,
            drain=lambda: self.events.drain(),
        )
        registration = RegistrationService(
            database=database,
            store=registrations,
            delivery=self.delivery,
            tokens=self.discovery,
            events=events,
            policy_version=settings.policy_version,
            pepper=pepper,
            book_lost=self.erasure.erase_address_book,
        )

        async def may_see(session: Session, account: str) -> bool:
            if await calls.in_call_with(session, account):
                return True
            facts = await directory.get(account)
            return facts is not None and (facts.service or await contacts.is_contact(session.account, facts.discovery_token))

        devices = DeviceService(
            database=database,
            directory=directory,
            events=events,
            connected=self._connected,
            may_see=may_see,
        )
        echo = EchoAccountService(
            database=database,
            events=events,
            token=service_token(settings.echo_secret or settings.keyholder_secret, ECHO),
            policy_version=settings.policy_version,
            connected=self._connected,
        )
        links = events.links = LinkService(database=database, store=link_store, events=events)
        handlers: Handlers = {
            **signaling.accounts.api.handlers(
                registration=registration,
                profile=profile,
                devices=devices,
                links=links,
            ),
            **signaling.accounts.api.profile_handlers(
                account=profile,
                profiles=PublicProfileService(database=database, events=events, limits=registrations, mutual=contacts.mutual),
                changes=changes,
                details=details,
            ),
            **signaling.accounts.api.echo_handlers(echo),
            **signaling.contacts.api.handlers(contacts),
            **signaling.presence.api.handlers(self.presence),
            **signaling.privacy.api.handlers(
                consents, server_name=settings.server_name, policy_version=settings.policy_version, policy_file=settings.policy_file
            ),
            **signaling.privacy.api.rights_handlers(rights, objections, profile.get),
            **signaling.support.api.handlers(self.tickets, self.announcements),
            **signaling.plans.api.handlers(self.plans),
            **signaling.calls.api.handlers(self.history, qualities),
            **signaling.calls.relays.handlers(self.relays),
            **signaling.push.api.handlers(self.push),
            "ice.servers": self._ice_servers,
        }
        self.rest = RestGateway(
            handlers=handlers,
            sessions=sessions,
            limits=limits,
            limiter=AddressLimiter(scale=settings.limits_scale),
            origins=settings.origins,
            proxies=[ipaddress.ip_network(network) for network in settings.trusted_proxies],
        )

        self.admin = AdminGateway(
            handlers={
                **signaling.operators.api.handlers(self.operators, settings.server_name),
                **signaling.operators.accounts_api.handlers(self.operators.desk),
                **signaling.support.admin_api.handlers(self.tickets, self.announcements, pseudonyms),
                **signaling.privacy.admin_api.handlers(self.requests, self.aggregates),
                **signaling.operations.api.handlers(self.operations.view, self.operations.actions),
            },
            sessions=self.operators.sessions,
            tokens=self.operators.tokens,
            audit=self.audit,
            limits=limits,
            limiter=self.rest.limiter,
            counts=self.rest.counts,
            admin_url=settings.admin_url,
            proxies=self.rest.proxies,
        )
        self.stream = AdminStream(self.admin, self.operations.watched)

        async def contacts_wanted(account: str) -> bool:
            try:
                return await contacts.wanted(account)
            except (RedisError, OSError):
                return False  # while address books are away, people can still be called; the next `sync` asks again

        self.sockets = events.sockets = SocketGateway(
            sessions=sessions,
            calls=calls,
            presence=self.presence,
            relays=self.relays,
            rest=self.rest,
            routes=self.cluster,
            limits=limits,
            contacts_wanted=contacts_wanted,
            replaced=events.replaced,
        )

        self.health = hub_health(
            redis=redis,
            book_redis=book_redis,
            database=database,
            discovery=self.discovery,
            relays=self.relays.directory,
            settings=settings,
            draining=lambda: self.sockets.draining,
        )

    def metrics(self) -> HubMetrics:
        """What the parts have counted."""
        stores = {"redis": self.redis, "address_book": self.book_redis, "sql": self.database}
        return HubMetrics(
            sockets=self.sockets,
            rest=self.rest.counts,
            calls=self.calls,
            counts=self.steps.counts,
            nodes=self.cluster.nodes,
            stores={name: store.latency for name, store in stores.items() if isinstance(store, Measured)},
            delivery=self._codes,
            pushes=self.push.counts,
            legs=self.relays.counts,
        )

    async def _forget_traces(self, account: str) -> None:
        for call in await self.traces.forget(account):
            await self.relays.forget(call)
        await self.heard.forget(account)

    async def _connected(self, devices: Sequence[str]) -> frozenset[str]:
        """Those of these devices that have a socket, on whatever hub."""
        here = {device for device in devices if self.sockets.online(device)}
        if self.cluster.alone or len(here) == len(devices):
            return frozenset(here)
        return frozenset(here | (await self.cluster.locate(devices)).keys())

    async def _ice_servers(self, request: RestRequest) -> IceServers:
        """STUN and TURN for one device; the TURN user name is random, so that a TURN server learns no account."""
        settings = self.settings
        servers = ice_servers(
            stun_urls=settings.stun_urls,
            turn_urls=settings.turn_urls,
            secret=settings.turn_secret,
            lifetime=settings.turn_lifetime,
            user=secrets.token_hex(8),
            now=time.time(),
            regions=[region for region in (request.query.get("region"), settings.turn_region) if region is not None],
        )
        wire = [
            IceServer(urls=list(s.urls))
            if s.username is None or s.credential is None
            else IceServer(urls=list(s.urls), username=s.username, credential=s.credential)
            for s in servers
        ]
        return IceServers(ice_servers=wire, expires_in=float(settings.turn_lifetime), relay=await self.relays.available())

    async def start(self) -> None:
        """Check the stores and take up the calls that live in Redis. Raises when a store must not be used (P07) or does not answer."""
        await migrate(self.database)
        await self.redis.ping()
        await check_not_persistent(self.book_redis)
        await self.discovery.ping()
        await self.cluster.start()
        await self.calls.start()
        await self.presence.start()
        self.relays.start()
        self.operations.start()
        self.erasure.start()
        self.retention.start()

    async def _scrub(self) -> None:
        """Files hold nothing any more of what was deleted (P23)."""
        await scrub_sql(self.database)
        await self._append_only_file.rewrite()

    async def _scrub_after_erasure(self) -> None:
        await self._scrub()
        if not self.cluster.alone:
            self._append_only_file.rewrite_again()

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application()
        pages = Pages(self.settings.web_root or default_root("demo"))
        operator = Pages(self.settings.operator_root or default_root("operator"), prefix="/operator/", headers=OPERATOR_HEADERS)
        app.router.add_get(PATH, self.sockets.handle)
        app.router.add_post(signaling.plans.api.WEBHOOK_PATH, signaling.plans.api.Webhook(self.plans).handle)
        app.router.add_get(STREAM, self.stream.handle)
        app.router.add_routes(self.admin.routes())
        app.router.add_routes(self.rest.routes())
        app.router.add_get("/healthz", lives)
        app.router.add_get("/readyz", Ready(self.health).handle)
        app.router.add_get("/operator", to_operator_page)
        app.router.add_get("/operator/{path:.*}", operator.handle)
        app.router.add_get("/{path:.*}", pages.handle)
        app.on_shutdown.append(self._end_streams)
        return app

    async def _end_streams(self, _app: web.Application) -> None:
        """Before open requests are waited for: these would not end by themselves."""
        await self.stream.close()

    async def close(self) -> None:
        """End sockets, calls' writers and connections, in that order."""
        await self.sockets.close()
        await self.presence.close()
        await self.relays.close()
        await self.operations.close()
        await self.retention.close()
        await self.erasure.close()
        await self._append_only_file.close()
        await self.calls.close()
        await self.push.close()
        await self.events.close()
        await self.cluster.close()
        if self._tracing is not None:
            await self._tracing.close()
        await self.close_stores()

    async def close_stores(self) -> None:
        """Close connections only: for who has not started the hub."""
        await self.discovery.close()
        await self.operators.close()
        for delivery in self.delivery.values():
            await delivery.close()
        await self.redis.aclose()
        await self.book_redis.aclose()
        await self.database.close()


def erasure_steps(
    *,
    contacts: ContactService,
    calls: CallService,
    history: History,
    links: LinkStore,
    registrations: RegistrationStore,
    presence: PresenceService,
    forget_traces: Callable[[str], Awaitable[None]],
    returned: Returned,
    left: Callable[[str], Awaitable[None]],
) -> dict[What, list[Step]]:
    """What each store beside SQL does when an account or an address book is erased (P23)."""

    async def leave(note: Owed) -> None:
        await left(note.account)  # where its devices were connected is in Redis until then

    async def end_calls(note: Owed) -> None:
        await calls.drain()  # the devices' calls end with the devices; here they have
        await calls.end_account(note.account)  # and at hubs that have not heard of it yet
        await history.write_all()  # lines of an account that is gone are dropped
        await forget_traces(note.account)

    async def forget_links(note: Owed) -> None:
        await links.forget(note.account)

    async def forget_registrations(note: Owed) -> None:
        await registrations.forget_all(note.handles)

    async def forget_presence(note: Owed) -> None:
        await presence.forget_account(note.account)

    async def forget_contacts(note: Owed) -> None:
        await contacts.forget_account(note.account, note.discovery_token)

    async def empty_book(note: Owed) -> None:
        await contacts.erase_book(note.account, known=note.known)

    of_account: list[Step] = [
        returned.remember,
        leave,
        end_calls,
        forget_links,
        forget_registrations,
        forget_presence,
        forget_contacts,
    ]
    return {What.ACCOUNT: of_account, What.ADDRESS_BOOK: [empty_book]}


def export_sections(
    *, calls: CallService, contacts: ContactService, links: LinkStore, presence: PresenceStore, traces: Traces, heard: HeardSamples
) -> dict[str, Live]:
    """Readers of what an export holds beside the rows of SQL (P22)."""

    async def address_book(account: str) -> AddressBookSection:
        return AddressBookSection((await contacts.get(account)).entries)

    async def open_links(account: str) -> LinksSection:
        found = []
        for fields in await links.of_account(account):
            claim = msgspec.json.decode(fields["claim"], type=ClaimLink) if "claim" in fields else None
            name = UNSET if claim is None else claim.device_name
            found.append(OpenLink(fields["link"], LinkState(fields["state"]), fields["device"], name))
        return LinksSection(found)

    async def live_calls(account: str) -> LiveCallsSection:
        return LiveCallsSection(
            [
                LiveCall(
                    call=call.id,
                    peer=call.callee if call.caller == account else call.caller,
                    outgoing=call.caller == account,
                    stage=call.stage,
                    started_at=int(call.created_at * 1000),
                )
                for call in await calls.live_of(account)
            ]
        )

    async def call_traces(account: str) -> CallTracesSection:
        return CallTracesSection([_call_trace(trace) for trace in await traces.known_to(account)])

    async def calls_heard(account: str) -> CallsHeardSection:
        found = await heard.of_account(account)
        return CallsHeardSection(
            [
                HeardCall(
                    call,
                    [
                        HeardAt(int(one.at * 1000), one.loss, one.jitter, one.mos, UNSET if one.rtt is None else one.rtt)
                        for one in samples
                    ],
                )
                for call, samples in found.items()
            ]
        )

    async def seen(account: str) -> PresenceSection:
        now = (await presence.read([account]))[account]
        return PresenceSection(now.online, [minute for minute in (now.last_seen, now.before) if minute is not None])

    sections: dict[str, Live] = {
        "address_book": address_book,
        "call_traces": call_traces,
        "calls_heard": calls_heard,
        "links": open_links,
        "live_calls": live_calls,
        "presence": seen,
    }
    if sections.keys() != SECTIONS.keys():
        raise ValueError(f"sections of the export without a reader: {sorted(SECTIONS.keys() ^ sections.keys())}")
    return sections


def _call_trace(trace: Trace) -> CallTrace:
    rung = rung_of(trace.trail)
    return CallTrace(
        call=trace.id,
        started_at=int(trace.created_at * 1000),
        ended_at=int(trace.ended_at * 1000),
        reason=trace.reason,
        marks=[" ".join(map(str, (m.what, m.at, m.side, m.rung or ""))).rstrip() for m in trace.trail],
        rung=UNSET if rung is None else rung,
    )


def default_root(page: str) -> Path | None:
    """A built page beside the package (a checkout), if there is one."""
    root = Path(__file__).parent.parent / "web" / page / "dist"
    return root if root.is_dir() else None


def make_provider(settings: Settings) -> PaymentProvider | None:
    """The payment provider that the settings name."""
    if settings.payment_checkout_url is None or settings.payment_secret is None:
        return None
    return StandardWebhooks(checkout=settings.payment_checkout_url, secret=settings.payment_secret)


def make_delivery(settings: Settings) -> dict[Channel, Delivery]:
    """The adapters that the settings name."""
    phone: Delivery = ConsoleDelivery()
    email: Delivery = ConsoleDelivery()
    if settings.phone_delivery == "http":
        if settings.sms_url is None:
            raise ValueError("phone_delivery is http: sms_url is needed")
        phone = HttpSmsDelivery(url=settings.sms_url, authorization=settings.sms_authorization, server_name=settings.server_name)
    if settings.email_delivery == "smtp":
        if settings.smtp_host is None or settings.smtp_from is None:
            raise ValueError("email_delivery is smtp: smtp_host and smtp_from are needed")
        email = SmtpDelivery(
            host=settings.smtp_host,
            port=settings.smtp_port,
            username=settings.smtp_username,
            password=settings.smtp_password,
            sender=settings.smtp_from,
            tls=settings.smtp_tls,
            server_name=settings.server_name,
        )
    return {Channel.PHONE: phone, Channel.EMAIL: email}


def make_hub(settings: Settings) -> Hub:
    """A hub on the stores that the settings name, not started. Raises ``ValueError`` when a store's URL is missing."""
    if settings.redis_url is None or settings.address_book_redis_url is None:
        raise ValueError("redis_url and address_book_redis_url are needed")
    return Hub(
        settings,
        database=configured_database(settings),
        redis=any_redis_client(settings.redis_url),
        book_redis=redis_client(settings.address_book_redis_url),
    )


async def run_hub(settings: Settings) -> None:
    """Run one hub until SIGTERM (its clients are handed over to other hubs, if there are any) or SIGINT (at once).

    The stores' URLs and the key-holder's must be set (``kloudtalk serve`` sets them).
    """
    hub = make_hub(settings)
    stop: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def asked(drain: float) -> None:
        if not stop.done():
            stop.set_result(drain)

    loop = asyncio.get_running_loop()
    hub.events.drain = lambda: asked(settings.drain_seconds)
    loop.add_signal_handler(signal.SIGTERM, asked, settings.drain_seconds)
    loop.add_signal_handler(signal.SIGINT, asked, 0.0)
    hub.sockets.capacity = raise_limit()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(hub.close)
        await hub.start()
        await stack.enter_async_context(
            telling("hub", hub.metrics(), health=hub.health, host=settings.metrics_host, port=settings.metrics_port)
        )
        runner = web.AppRunner(
            hub.application(), access_log=None, shutdown_timeout=_SHUTDOWN, keepalive_timeout=_KEEP_ALIVE, handle_signals=False
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, settings.host, settings.port, backlog=_BACKLOG, reuse_port=settings.workers > 1 or None)
        await site.start()
        addresses = runner.addresses
        # a hub keeps hundreds of thousands of objects for its connections, and makes hardly any cycles: with Python's defaults a third
        # of its time went into looking for them
        gc.freeze()
        gc.set_threshold(100_000, 20, 50)
        port = addresses[0][1] if addresses else settings.port
        shown = "localhost" if settings.host in ("127.0.0.1", "0.0.0.0", "::1", "::") else settings.host
        print(f"listening on http://{shown}:{port}", flush=True)
        drain = await stop
        await site.stop()  # no new clients: they find the other hubs
        await hub.sockets.close(over=0.0 if hub.cluster.alone else drain)
