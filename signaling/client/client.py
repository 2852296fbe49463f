"""A whole client in Python: register, link, find people, call. It believes no more of the hub than the browser's client does.

async with Client("http://localhost:8440") as client:
await client.register(phone="+49 30 901820", email="me@example.org", code=ask_the_user, device_name="Robot")
await client.allow_phonebook()
matches = await client.find({"+442079460018": "Bob"})
call = await client.call(matches["+442079460018"], track=ToneTrack(440))
await call.reach(Stage.CONNECTED)
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import UNSET

from signaling.accounts.certificates import CertificateInvalid, verify_chain
from signaling.client import linking
from signaling.client.address_book import BookEntry, EntryInvalid, decrypt_entry, encrypt_entry
from signaling.client.keys import DeviceKeys, certify_first, certify_linked
from signaling.client.ladder import Via
from signaling.client.profile import Profile
from signaling.client.rest import ClientError, RestClient
from signaling.client.safety_number import grouped, safety_number
from signaling.client.sdp import Ice
from signaling.client.sealing import Route, SealError
from signaling.client.security import Notice, Security, SecurityNotice, Verdict
from signaling.client.socket import Socket
from signaling.contacts import oprf
from signaling.privacy import proof
from signaling.tasks import steady
from signaling.wire import base64url
from signaling.wire.certificate import DeviceCertificate
from signaling.wire.errors import ErrorCode
from signaling.wire.messages import (
    CallAccept,
    CallAnswered,
    CallBusy,
    CallConnected,
    CallDecline,
    CallElsewhere,
    CallElsewhereOver,
    CallEnded,
    CallFailed,
    CallHangup,
    CallIncoming,
    CallInvite,
    CallIsElsewhere,
    CallRelayEnding,
    CallRinging,
    CallRings,
    CallSignal,
    CallSignalled,
    CallTakenOver,
    CallTakeOver,
    CallUp,
    ContactsChanged,
    DevicesChanged,
    LinkClaimed,
    Peer,
    Presence,
    PresenceChanged,
    PresenceWatch,
    Reason,
    RelayLeg,
    Request,
    ServerMessage,
    Stage,
    Sync,
)
from signaling.wire.rest import (
    MAX_EVALUATIONS,
    Account,
    AcknowledgePolicy,
    ApproveLink,
    AskProfiles,
    CallRecord,
    ChangeConsent,
    ChangeContacts,
    ChangeProfile,
    ChangeRestriction,
    ChangeSettings,
    Channel,
    ClaimLink,
    ContactChange,
    CreateAccount,
    DeviceInfo,
    DeviceLink,
    EchoAccount,
    EnrolEcho,
    Entry,
    Evaluate,
    JoinRelay,
    LinkState,
    Picture,
    Proof,
    Purpose,
    SendCode,
    SetPicture,
    StartChange,
    StartRegistration,
    VerifyChange,
    VerifyCode,
)
from signaling.wire.rest import Profile as PublicProfile

if TYPE_CHECKING:
    from aiortc.mediastreams import MediaStreamTrack
    from av import AudioFrame

    from signaling.client.media import Arrived, AudioMedia
    from signaling.client.route import Route as MediaRoute

_ORDER: Final = list(Stage)
_NOTICES: Final = 1_000
"""Security notices kept, the newest: a hub that lies could make them without end."""
_REMEMBERED: Final = 500
"""Calls that are over of which a late invite is known for a replay."""


class Call:
    """One call of this client, as it stands now."""

    def __init__(self, client: "Client", call: str, *, outgoing: bool, account: str) -> None:
        self.id = call
        self.outgoing = outgoing
        self.account = account
        self.stage = Stage.INVITING
        self.reason: Reason | None = None
        self.phone: str | None = None
        """The caller's verified number, E.164, of an incoming call."""
        self.business = False
        """Whether the caller of an incoming call is a business (P30)."""
        self.identity_changed = False
        """The peer's identity key is not the pinned one: ``accept`` refuses until ``Client.accept_identity_change``."""
        self.peer_muted = False
        self.peer_held = False
        self.devices: dict[str, DeviceCertificate] = {}
        self.peer: DeviceCertificate | None = None
        self._client = client
        self._media: AudioMedia | None = None
        self._route: MediaRoute | None = None
        self._peer_moves = self._peer_hidden = False
        self._sound: tuple[MediaStreamTrack, Callable[[AudioFrame], None]] | None = None
        self._moving = False
        self._leads = outgoing
        self._since = 0
        self._former: set[str] = set()
        self._offer: str | None = None
        self._early: list[Mapping[str, Any]] = []
        self._news = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def reach(self, stage: Stage, timeout: float = 30.0) -> None:
        """Wait until the call has reached ``stage``. Raises ``TimeoutError``, and ``ConnectionError`` when it ended before."""
        async with asyncio.timeout(timeout), self._news:
            await self._news.wait_for(lambda: _ORDER.index(self.stage) >= _ORDER.index(stage))
        if self.stage is Stage.ENDED and stage is not Stage.ENDED:
            raise ConnectionError(f"the call ended: {self.reason}")

    async def accept(self, *, track: "MediaStreamTrack", heard: "Callable[[AudioFrame], None]" = lambda _: None) -> None:
        """Take an incoming call. Raises ``ClientError``."""
        await self._client._accept(self, track, heard)

    async def decline(self) -> None:
        """Refuse an incoming call, on every device."""
        await self._client._leave(self, CallDecline, Reason.DECLINED)

    async def hangup(self) -> None:
        """End the call, or stop calling."""
        early = self.outgoing and self.stage in (Stage.INVITING, Stage.RINGING)
        await self._client._leave(self, CallHangup, Reason.CANCELLED if early else Reason.HANGUP)

    async def send_state(self, *, muted: bool = False, held: bool = False) -> None:
        """Tell the other side, sealed, whether the microphone is off and whether it is on hold."""
        await self._client._signal(self, "state", {"muted": muted, "held": held})

    async def signal(self, kind: str, body: dict[str, object]) -> None:
        """Tell the other side something of a kind of one's own, sealed. Clients leave out kinds that they do not know."""
        await self._client._signal(self, kind, body)

    async def received(self) -> "Arrived":
        """What has come of the other side so far. Raises ``ConnectionError`` when the call has no media."""
        if self._media is None:
            raise ConnectionError("no media")
        return await self._media.arrived()

    @property
    def over_relay(self) -> bool:
        """Whether the way of now is a relay of the server's, and carries."""
        return self._route is not None and self._route.carried and self._route.via is Via.RELAY

    async def carried(self, over_relay: bool = False, timeout: float = 20.0) -> None:
        """Wait until media flow, over a relay if so asked. Raises ``TimeoutError``."""
        async with asyncio.timeout(timeout):
            while self._route is None or not self._route.carried or (over_relay and not self.over_relay):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    def safety_number(self) -> str:
        """60 digits to compare with the other side."""
        return self._client.safety_number(self.account)

    async def _become(self, stage: Stage, reason: Reason | None = None) -> None:
        async with self._news:
            if self.stage is not Stage.ENDED and _ORDER.index(stage) >= _ORDER.index(self.stage):
                self.stage, self.reason = stage, reason
                self._news.notify_all()

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Client:
    """One device of one account.

    Args:
        url: of the hub, as ``https://talk.example.org``.
        profile: a device that was signed in before.
        max_calls: calls at a time; more are answered ``busy``.
        always_relay: the other side must not learn this device's addresses: TURN servers and relays only.
    """

    def __init__(self, url: str, profile: Profile | None = None, *, max_calls: int = 1, always_relay: bool = False) -> None:
        self.url = url
        self.profile = profile
        self.max_calls = max_calls
        self.always_relay = always_relay
        self.notices: list[SecurityNotice] = []
        self.incoming: asyncio.Queue[Call] = asyncio.Queue()
        """Calls that ring here."""
        self.elsewhere: dict[str, CallElsewhere] = {}
        """Connected calls of the account at its other devices, by id: ``take_over`` continues one here."""
        self.matches: dict[str, str] = {}
        """Accounts of contacts, by discovery token, as the hub told."""
        self.presences: dict[str, Presence] = {}
        """What the hub shows of the accounts that are watched, by account."""
        self.policy_wanted = False
        """The policy in force was not acknowledged yet (P04): show it to the user, then ``acknowledge_policy``."""
        self.revoked = asyncio.Event()
        """Set when the hub does not know this device's session any more."""
        self.replaced = asyncio.Event()
        """Set when this device connected elsewhere: this connection is over for good."""
        self._news = asyncio.Condition()
        self._http: aiohttp.ClientSession | None = None
        self._rest: RestClient | None = None
        self._socket: Socket | None = None
        self._security = Security({} if profile is None else profile.pins, self._notify)
        self._calls: dict[str, Call] = {}
        self._over: dict[str, None] = {}
        self._inbox: asyncio.Queue[ServerMessage] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None
        self._claimed: set[str] = set()
        self._watched: list[str] = []
        self._link: tuple[DeviceLink, str] | None = None

    async def __aenter__(self) -> "Client":
        await self.open()
        return self

    async def open(self) -> None:
        """Make ready to ask, and connect if there is a profile."""
        self._http = aiohttp.ClientSession()
        self._rest = RestClient(self._http, self.url)
        self._worker = asyncio.create_task(steady("client: messages", self._work, again=0.0))
        if self.profile is not None:
            await self.connect()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """End calls, close everything. The profile stays valid."""
        for call in list(self._calls.values()):
            with contextlib.suppress(ClientError):
                await self._leave(call, CallHangup if call.outgoing or call._media else CallDecline, Reason.HANGUP)
        if self._socket is not None:
            await self._socket.close()
            self._socket = None
        if self._worker is not None:
            self._worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._worker
        if self._http is not None:
            await self._http.close()

    # --- signing in ----------------------------------------------------------------------------------------------------

    async def register(self, *, phone: str, email: str, code: Callable[[Channel, str], Awaitable[str]], device_name: str) -> None:
        """Register and connect. ``code`` is asked for the six digits that were sent to a number or an address. Raises ``ClientError``."""
        info = await self._ask("server.info")
        state = await self._ask("registration.start", StartRegistration(phone, email, info.policy_version))
        for channel, to in ((Channel.PHONE, state.phone), (Channel.EMAIL, state.email)):
            while not (state.phone_verified if channel is Channel.PHONE else state.email_verified):
                try:
                    digits = await code(channel, to)
                    state = await self._ask("registration.verify", VerifyCode(channel, digits), token=state.token)
                except ClientError as error:
                    if error.code in (ErrorCode.CODE_EXPIRED, ErrorCode.CODE_SPENT):
                        state = await self._ask("registration.send_code", SendCode(channel), token=state.token)
                    elif error.code is not ErrorCode.CODE_WRONG:
                        raise
        keys = DeviceKeys.generate()
        # made, used once, and forgotten: devices vouch for devices, so nobody needs the identity key again
        certificate = certify_first(state.account, Ed25519PrivateKey.generate(), keys, _now())
        session = await self._ask("registration.finish", CreateAccount(certificate, device_name), token=state.token)
        await self._sign_in(keys, certificate, session.token, state.phone, secrets.token_bytes(32))

    async def claim_link(self, code: str, device_name: str) -> None:
        """Join an account with a code that another device of it shows; waits until that device has decided.

        Raises ``ClientError`` (``link_state`` when refused), ``ValueError`` for what is no code, ``PermissionError`` when the approval does
        not prove that the other device made it.
        """
        lookup, secret = linking.parse(code)
        link_key, keys = linking.link_key(secret), DeviceKeys.generate()
        mac = linking.claim_mac(
            link_key,
            device=keys.device,
            signing_key=keys.signing_key,
            sealing_key=keys.sealing_key,
            device_name=device_name,
        )
        claim = ClaimLink(lookup, keys.device, device_name, keys.signing_key, keys.sealing_key, mac)
        token = (await self._ask("links.claim", claim)).token
        outcome = await self._ask("links.outcome", token=token)
        while outcome.state is LinkState.CLAIMED:
            outcome = await self._ask("links.outcome", token=token)
        if outcome.state is not LinkState.APPROVED:
            raise ClientError(ErrorCode.LINK_STATE, "the other device refused")
        approval: ApproveLink = outcome.approval
        certificate = approval.certificate
        if not linking.same_mac(approval.mac, linking.approval_mac(link_key, certificate, approval.sealed)):
            raise PermissionError("the approval does not come from the device that showed the code")
        try:
            verify_chain(certificate)
            leaf, voucher = certificate.leaf, certificate.chain[-2]
            if (leaf.device, leaf.signing_key, leaf.sealing_key) != (keys.device, keys.signing_key, keys.sealing_key):
                raise CertificateInvalid("for other keys")
            route = Route(lookup, voucher.device, keys.device)
            book_key = linking.open_secrets(route, approval.sealed, keys.sealing, voucher.signing_key)
        except (CertificateInvalid, SealError, IndexError):
            raise PermissionError("the approval is not what it should be") from None
        await self._sign_in(keys, certificate, outcome.session.token, "", book_key)
        account = await self._ask("account.get", session=True)
        self._profile().phone = account.phone

    async def _sign_in(self, keys: DeviceKeys, certificate: DeviceCertificate, token: str, phone: str, book_key: bytes) -> None:
        self.profile = Profile(
            account=certificate.account,
            device=certificate.device,
            token=token,
            phone=phone,
            stored=keys.export(),
            certificate=certificate,
            book_key=base64url.encode(book_key),
        )
        self._security = Security(self.profile.pins, self._notify)
        await self.connect()

    async def enrol_as_echo(self, token: str) -> None:
        """Become the device that answers test calls, and connect. ``token``: what the hub and its services derive from their secret.

        A profile that is there keeps its keys. Raises ``ClientError``, and ``PermissionError`` when another process is the echo.
        """
        try:
            echo: EchoAccount | None = await self._ask("echo.get")
        except ClientError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise
            echo = None
        if echo is not None and (echo.online or (self.profile and echo.identity_key != self.profile.certificate.identity_key)):
            raise PermissionError("another process answers the test calls of this service")
        if self.profile is not None and (echo is None or echo.account == self.profile.account):
            keys, certificate = self.profile.keys, self.profile.certificate
        else:
            keys, account = DeviceKeys.generate(), _new_id() if echo is None else echo.account
            certificate = certify_first(account, Ed25519PrivateKey.generate(), keys, _now())
        session = await self._ask("echo.enrol", EnrolEcho(certificate), token=token)
        await self._sign_in(keys, certificate, session.token, "", secrets.token_bytes(32))

    @property
    def online(self) -> bool:
        """Whether the hub is connected now, and has told what is live."""
        return self._socket is not None and self._socket.connected

    async def connect(self) -> None:
        """Connect with the profile, and wait until the hub has told what is live."""
        if self._http is None:
            raise RuntimeError("use `async with Client(…)`")
        self._socket = Socket(
            self._http,
            self.url,
            self._profile().token,
            take=self._inbox.put_nowait,
            revoked=self.revoked.set,
            replaced=self.replaced.set,
        )
        self._socket.start()
        await self._socket.online()

    # --- the old device's side of linking ---------------------------------------------------------------------------------

    async def open_link(self) -> str:
        """Open a link; answers the code to show."""
        link: DeviceLink = await self._ask("links.open", session=True)
        self._link = link, linking.make_secret()
        return linking.show(link.lookup, self._link[1])

    async def approve_link(self, timeout: float = 60.0) -> str:
        """Wait for a device to use the code, and vouch for it; answers its name.

        Raises ``PermissionError`` when the device does not prove that it knows the code (it is refused then).
        """
        if self._link is None:
            raise ClientError(ErrorCode.LINK_STATE, "no link is open")
        (link, secret), profile = self._link, self._profile()
        async with asyncio.timeout(timeout), self._news:
            await self._news.wait_for(lambda: link.link in self._claimed)
        claim: ClaimLink = (await self._ask("links.status", session=True, link=link.link)).claim
        link_key, keys = linking.link_key(secret), profile.keys
        fields = {"device": claim.device, "signing_key": claim.signing_key, "sealing_key": claim.sealing_key}
        if not linking.same_mac(claim.mac, linking.claim_mac(link_key, **fields, device_name=claim.device_name)):
            await self._ask("links.refuse", session=True, link=link.link)
            raise PermissionError("the device does not know the code")
        certificate = certify_linked(profile.certificate, keys, **fields, issued_at=_now())
        route = Route(link.lookup, profile.device, claim.device)
        sealed = linking.seal_secrets(base64url.decode(profile.book_key), route, keys.signing, claim.sealing_key)
        approval = ApproveLink(certificate, linking.approval_mac(link_key, certificate, sealed), sealed)
        await self._ask("links.approve", approval, session=True, link=link.link)
        self._link = None
        return str(claim.device_name)

    # --- rights (P22, P23) ----------------------------------------------------------------------------------------------------

    async def export(self) -> bytes:
        """Everything that the server stores about this account: a ZIP archive with ``export.json``, its schema, and media."""
        content: bytes = await self._ask("account.export", self._prove(proof.EXPORT), session=True)
        return content

    async def delete_account(self) -> None:
        """Delete the account and everything of it, at once and for good."""
        await self._ask("account.delete", self._prove(proof.DELETE), session=True)

    async def restrict(self, restricted: bool = True) -> None:
        """Freeze the account: nothing is processed and nothing is lost; or unfreeze it. ``connect`` again after that."""
        proven = self._prove(proof.RESTRICT if restricted else proof.UNRESTRICT)
        await self._ask("account.restrict", ChangeRestriction(restricted, proven), session=True)

    def _prove(self, act: str) -> Proof:
        profile = self._profile()
        return proof.prove(act, profile.account, profile.device, profile.keys.signing, _now())

    # --- contacts -----------------------------------------------------------------------------------------------------------

    async def allow_phonebook(self, *, granted: bool = True) -> None:
        """Give (or withdraw) the consent to use the phonebook: the caller has asked the user with the server's own text (P05)."""
        await self.allow(Purpose.PHONEBOOK, granted=granted)

    async def allow(self, purpose: Purpose, *, granted: bool = True) -> None:
        """Give (or withdraw) a consent: the caller has asked the user with the server's own text (P21)."""
        info = await self._ask("server.info")
        text = next(text for text in info.purposes if text.purpose == purpose)
        await self._ask("consents.change", ChangeConsent(granted, text.sha256), session=True, purpose=purpose.value)

    async def find(self, phonebook: Mapping[str, str]) -> dict[str, str]:
        """Upload names by E.164 number, without showing either to the hub (P08); answers accounts by number, for those who are here."""
        profile = self._profile()
        unknown = [phone for phone in phonebook if phone not in profile.tokens]
        for at in range(0, len(unknown), MAX_EVALUATIONS):
            some = unknown[at : at + MAX_EVALUATIONS]
            blinded = [oprf.blind(phone.encode(), secrets.token_bytes(64)) for phone in some]
            answer = await self._ask("discovery.evaluate", Evaluate([base64url.encode(b) for _, b in blinded]), session=True)
            for phone, (scalar, _), evaluated in zip(some, blinded, answer.evaluated, strict=True):
                token = oprf.finalize(phone.encode(), scalar, base64url.decode(evaluated))
                profile.tokens[phone] = base64url.encode(token)
        key = base64url.decode(profile.book_key)
        tokens = {phone: profile.tokens[phone] for phone in phonebook}
        entries = [Entry(token, encrypt_entry(key, token, BookEntry(phonebook[p], p))) for p, token in tokens.items()]
        for at in range(0, len(entries), 500):
            change = await self._ask("contacts.change", ChangeContacts(add=entries[at : at + 500]), session=True)
            self.matches |= {match.token: match.account for match in change.matches}
        return {phone: self.matches[token] for phone, token in tokens.items() if token in self.matches}

    async def address_book(self) -> dict[str, str]:
        """The book as the hub keeps it, decrypted: names by number. What does not open with the account's key is left out."""
        key = base64url.decode(self._profile().book_key)
        entries = (await self._ask("contacts.get", session=True)).entries
        book = {}
        for entry in entries:
            with contextlib.suppress(EntryInvalid):
                opened = decrypt_entry(key, entry.token, entry.entry)
                book[opened.phone] = opened.name
        return book

    async def joined(self, phone: str, timeout: float = 20.0) -> str:
        """Wait until a number of the address book has an account (P08); answers the account."""
        token = self._profile().tokens[phone]
        async with asyncio.timeout(timeout), self._news:
            await self._news.wait_for(lambda: token in self.matches)
        return self.matches[token]

    # --- presence and settings (P16) -------------------------------------------------------------------------------------------

    async def watch(self, *accounts: str) -> None:
        """Be told of the presence of these accounts, and of no others, in ``presences``; also after a lost connection. Raises ``ClientError``."""
        self._watched = list(accounts)
        self.presences = {account: seen for account, seen in self.presences.items() if account in accounts}
        await self._request(PresenceWatch, accounts=self._watched)

    async def sees(self, account: str, wanted: Callable[[Presence], bool], timeout: float = 20.0) -> Presence:
        """Wait until a watched account is seen as wanted."""
        async with asyncio.timeout(timeout), self._news:
            await self._news.wait_for(lambda: account in self.presences and wanted(self.presences[account]))
        return self.presences[account]

    async def presence_of(self, account: str) -> Presence:
        """What may be seen of an account now. Raises ``ClientError``."""
        presence: Presence = await self._ask("presence.get", session=True, account=account)
        return presence

    async def change_settings(self, change: ChangeSettings) -> Account:
        """Change settings of the account; answers it as it is then. Raises ``ClientError``."""
        account: Account = await self._ask("settings.change", change, session=True)
        return account

    # --- the own account (P03) and what contacts show ------------------------------------------------------------------------

    async def account(self) -> Account:
        """The own account. Raises ``ClientError``."""
        account: Account = await self._ask("account.get", session=True)
        return account

    async def acknowledge_policy(self, version: str) -> Account:
        """The user has read this version of the policy. The connection is made anew then. Raises ``ClientError``."""
        account: Account = await self._ask("policy.acknowledge", AcknowledgePolicy(version), session=True)
        return account

    async def change_profile(self, change: ChangeProfile) -> Account:
        """Change name and about text. Raises ``ClientError``."""
        account: Account = await self._ask("profile.change", change, session=True)
        return account

    async def set_picture(self, image: bytes) -> Account:
        """Set the picture: JPEG, PNG, WebP or GIF. Raises ``ClientError``."""
        account: Account = await self._ask("profile.set_picture", SetPicture(base64url.encode(image)), session=True)
        return account

    async def picture_of(self, account: str) -> bytes:
        """The picture of a contact. Raises ``ClientError`` (``not_found`` when there is none, or it may not be seen)."""
        picture: Picture = await self._ask("profile.picture", session=True, account=account)
        return base64url.decode(picture.image)

    async def profiles_of(self, *accounts: str) -> list[PublicProfile]:
        """Name, about text and when picture and about text changed, of contacts. Raises ``ClientError``."""
        profiles: list[PublicProfile] = (await self._ask("profile.list", AskProfiles(list(accounts)), session=True)).profiles
        return profiles

    async def start_change(self, channel: Channel, to: str) -> ContactChange:
        """Begin to change the number or the address: a code goes to the new one, and one to the other, which stays. Raises ``ClientError``."""
        change: ContactChange = await self._ask("account.start_change", StartChange(channel, to), session=True)
        return change

    async def finish_change(self, channel: Channel, *, code: str, confirmation: str) -> Account:
        """Change it, with the code of the new one and that of the other. Raises ``ClientError``."""
        account: Account = await self._ask("account.finish_change", VerifyChange(channel, code, confirmation), session=True)
        self._profile().phone = account.phone
        return account

    async def describe_device(self, info: DeviceInfo) -> None:
        """Tell about this device, with the user's consent (P18). Raises ``ClientError`` (``consent_required``)."""
        await self._ask("devices.describe", info, session=True)

    def safety_number(self, account: str) -> str:
        """60 digits to compare with another account. Raises ``LookupError`` before its identity key is known."""
        pin, own = self._security.pins[account], self._profile().certificate
        theirs = (account, pin.changed_to or pin.identity_key)
        return grouped(safety_number((own.account, own.identity_key), theirs))

    def forget(self, account: str) -> None:
        """Forget an account's identity key: it is pinned anew when it is seen again."""
        self._security.forget(account)

    def accept_identity_change(self, account: str) -> None:
        """The user accepts the new identity key of an account."""
        self._security.accept_change(account)
        for call in self._calls.values():
            if call.account == account:
                call.identity_changed = False

    # --- calls ----------------------------------------------------------------------------------------------------------------

    async def call(
        self, account: str, *, track: "MediaStreamTrack", heard: "Callable[[AudioFrame], None]" = lambda _: None
    ) -> Call:
        """Call an account. Raises ``ClientError``, and ``PermissionError`` when its devices cannot be trusted."""
        devices = await self.devices_of(account)
        call = Call(self, _new_id(), outgoing=True, account=account)
        call.devices = devices
        call._media = await self._make_media(call, track, heard)
        self._calls[call.id] = call
        try:
            offer = await call._media.offer()
            try:
                await self._invite(call, offer)
            except ClientError as error:
                # their devices changed since we asked: ask once more
                if error.code not in (ErrorCode.STALE_DEVICES, ErrorCode.UNKNOWN_DEVICE):
                    raise
                call.devices = await self.devices_of(account)
                await self._invite(call, offer)
        except BaseException:
            await self._ended(call, Reason.FAILED)
            raise
        return call

    async def take_over(
        self, call_id: str, *, track: "MediaStreamTrack", heard: "Callable[[AudioFrame], None]" = lambda _: None
    ) -> Call:
        """Continue a call of ``elsewhere`` on this device. Raises ``ClientError``, and ``PermissionError`` as ``call`` does."""
        there = self.elsewhere.get(call_id)
        if there is None or self._calls:
            raise ClientError(ErrorCode.UNKNOWN_CALL if there is None else ErrorCode.TOO_MANY_CALLS)
        profile = self._profile()
        call = Call(self, call_id, outgoing=there.outgoing, account=there.peer.account)
        call.devices = await self.devices_of(call.account)
        call.peer = call.devices.get("" if there.peer.device is UNSET else there.peer.device)
        if call.peer is None:
            raise ClientError(ErrorCode.UNKNOWN_DEVICE)
        call.stage, call._moving, call._leads, call._since = Stage.CONNECTING, True, True, there.seq
        call._media = await self._make_media(call, track, heard)
        self._calls[call.id] = call
        self._security.resume(call.id, call.peer.device, _now())
        try:
            body = self._described(await call._media.offer())
            payload = self._security.seal(call.id, profile.device, profile.keys, call.peer, "take_over", body)
            await self._request(CallTakeOver, call=call.id, device=there.device, to=call.peer.device, payload=payload)
        except BaseException:
            await self._ended(call, Reason.FAILED)
            raise
        self.elsewhere.pop(call_id, None)
        return call

    async def _invite(self, call: Call, offer: str) -> None:
        profile = self._profile()
        payloads = {
            device: self._security.seal(call.id, profile.device, profile.keys, certificate, "offer", self._described(offer))
            for device, certificate in call.devices.items()
        }
        await self._request(CallInvite, call=call.id, to=call.account, payloads=payloads)

    async def devices_of(self, account: str) -> dict[str, DeviceCertificate]:
        """The devices of a contact, every one trusted. Raises ``PermissionError`` when one is not, or the identity key has changed."""
        certificates = (await self._ask("devices.of_account", session=True, account=account)).certificates
        verdict = self._security.judge(account, certificates)
        if verdict is Verdict.REFUSED:
            raise PermissionError("the server shows a device that this person did not add")
        if verdict is Verdict.CHANGED:
            raise PermissionError("the identity key of this person has changed")
        return {certificate.device: certificate for certificate in certificates}

    async def history(self) -> list[CallRecord]:
        """The newest calls, newest first."""
        calls: list[CallRecord] = (await self._ask("calls.history", session=True)).calls
        return calls

    async def _accept(self, call: Call, track: "MediaStreamTrack", heard: "Callable[[AudioFrame], None]") -> None:
        if call.peer is None or call._offer is None or call._media is not None:
            raise ClientError(ErrorCode.WRONG_STAGE)
        if call.identity_changed:
            raise PermissionError("the identity key of this person has changed")
        profile = self._profile()
        call._media = await self._make_media(call, track, heard)
        try:
            answer = await call._media.answer(call._offer)
            payload = self._security.seal(call.id, profile.device, profile.keys, call.peer, "answer", self._described(answer))
            await self._request(CallAccept, call=call.id, payload=payload)
        except ValueError:
            await self._leave(call, CallDecline, Reason.FAILED)
            raise ClientError(ErrorCode.INVALID, "the offer cannot be used") from None
        except ClientError:
            await self._ended(call, Reason.FAILED)
            raise
        await call._become(Stage.CONNECTING)
        self._settled(call)
        early, call._early = call._early, []
        await call._media.add(early)

    async def _make_media(self, call: Call, track: "MediaStreamTrack", heard: "Callable[[AudioFrame], None]") -> "AudioMedia":
        from signaling.client.media import AudioMedia
        from signaling.client.route import Route as MediaRoute

        def failed() -> None:
            if call.stage is Stage.CONNECTING:
                call._spawn(self._leave(call, CallFailed, Reason.FAILED))

        call._sound = track, heard

        def changed(state: str) -> None:
            if state == "connected":
                call._spawn(self._quietly(CallConnected, call))
            elif state == "failed":
                failed()

        def lost() -> None:
            if call._route is not None:
                call._route.lost()

        async def leg(ufrag: str, pwd: str) -> Ice:
            answer: RelayLeg = await self._ask("calls.relay", JoinRelay(ufrag, pwd), session=True, call=call.id)
            return Ice(answer.ufrag, answer.pwd, tuple(answer.candidates))

        ways = await self._ask("ice.servers", session=True)
        media = AudioMedia(ways, track, heard=heard, changed=changed, lost=lost, hidden=self.always_relay)
        call._route = MediaRoute(
            media,
            leader=call._leads,
            relay=ways.relay,
            servers=any(url.startswith("turn") for server in ways.ice_servers for url in server.urls),
            say=lambda kind, body: self._signal(call, kind, body),
            leg=leg,
            exhausted=failed,
        )
        return media

    def _described(self, sdp: str) -> dict[str, object]:
        """An offer or answer, and what the other side must know of this one (docs/security.md)."""
        return {"sdp": sdp, "moves": True, "hidden": self.always_relay}

    def _understand(self, call: Call, body: Mapping[str, Any]) -> None:
        call._peer_moves, call._peer_hidden = body.get("moves") is True, body.get("hidden") is True

    def _settled(self, call: Call) -> None:
        """Offer and answer are exchanged."""
        if call._route is not None:
            call._route.answered(hidden=self.always_relay or call._peer_hidden, moves=call._peer_moves)

    async def _leave(self, call: Call, kind: type[Request], reason: Reason) -> None:
        try:
            try:
                await self._request(kind, call=call.id)
            except ClientError as error:
                if error.code is not ErrorCode.UNAVAILABLE:
                    raise
                await self._request(kind, call=call.id)  # the connection broke meanwhile, or the hub ended
        except ClientError as error:
            if error.code not in (ErrorCode.UNKNOWN_CALL, ErrorCode.ANSWERED_ELSEWHERE):
                raise
        finally:
            await self._ended(call, reason)

    async def _ended(self, call: Call, reason: Reason) -> None:
        self._calls.pop(call.id, None)
        self._over[call.id] = None
        while len(self._over) > _REMEMBERED:
            self._over.pop(next(iter(self._over)))
        self._security.end_call(call.id)
        media, call._media = call._media, None
        if call._route is not None:
            call._route.close()
        await call._become(Stage.ENDED, reason)
        if media is not None:
            await media.close()

    async def _signal(self, call: Call, kind: str, body: dict[str, object]) -> None:
        profile = self._profile()
        for certificate in [call.peer] if call.peer is not None else list(call.devices.values()):
            payload = self._security.seal(call.id, profile.device, profile.keys, certificate, kind, body)
            await self._request(CallSignal, call=call.id, to=certificate.device, payload=payload)

    async def _quietly(self, kind: type[Request], call: Call) -> None:
        """A report that may be late: the call may be over, or the connection may be lost; ``sync`` then tells."""
        with contextlib.suppress(ClientError):
            await self._request(kind, call=call.id)

    # --- what the hub says, in its order ---------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            message = await self._inbox.get()
            with contextlib.suppress(ClientError, PermissionError):
                await self._take(message)

    async def _take(self, message: ServerMessage) -> None:
        if isinstance(message, CallEnded | CallUp | CallTakenOver):
            known = self._calls.get(message.call)
            if known is not None and message.seq <= known._since:
                return  # of the time before this device took the call over, and late
        match message:
            case Sync():
                self.policy_wanted = message.policy_wanted
                await self._sync(message)
                if self._watched and not self.policy_wanted:
                    await self._request(PresenceWatch, accounts=self._watched)
            case PresenceChanged():
                async with self._news:
                    self.presences |= {seen.account: seen for seen in message.presences if seen.account in self._watched}
                    self._news.notify_all()
            case CallIncoming():
                await self._incoming(message.call, message.peer, message.payload)
            case CallRings():
                if call := self._calls.get(message.call):
                    await call._become(Stage.RINGING)
            case CallAnswered():
                await self._answered(message.call, message.peer, message.payload)
            case CallSignalled():
                await self._signalled(message.call, message.device, message.payload)
            case CallRelayEnding():
                if (call := self._calls.get(message.call)) and call._route is not None:
                    call._route.relay_ending()
            case CallTakenOver():
                await self._moved(message.call, message.peer, message.payload)
            case CallIsElsewhere() if message.device != self._profile().device:
                self.elsewhere[message.call] = message
            case CallElsewhereOver():
                self.elsewhere.pop(message.call, None)
            case CallUp():
                if call := self._calls.get(message.call):
                    await call._become(Stage.CONNECTED)
            case CallEnded():
                if call := self._calls.get(message.call):
                    await self._ended(call, message.reason)
            case ContactsChanged():
                async with self._news:
                    self.matches |= {match.token: match.account for match in message.added}
                    self.matches = {t: a for t, a in self.matches.items() if a not in message.removed}
                    self._news.notify_all()
            case DevicesChanged():
                if message.account in self._security.pins:
                    await self.devices_of(message.account)
            case LinkClaimed():
                async with self._news:
                    self._claimed.add(message.link)
                    self._news.notify_all()
            case _:
                pass

    async def _incoming(self, call_id: str, peer: Peer, payload: str) -> None:
        profile = self._profile()
        if call_id in self._over:
            self._notify(SecurityNotice(Notice.REPLAYED, peer.account, None, call_id))
            return
        if call_id in self._calls:
            return
        if len(self._calls) >= self.max_calls:
            await self._request(CallBusy, call=call_id)
            return
        certificate = peer.certificate
        if not isinstance(certificate, DeviceCertificate) or (certificate.account, certificate.device) != (
            peer.account,
            peer.device,
        ):
            self._notify(SecurityNotice(Notice.CERTIFICATE_INVALID, peer.account, None, call_id))
            return
        verdict = self._security.judge(peer.account, [certificate], call_id)
        if verdict is Verdict.REFUSED:
            return
        content = self._security.open(call_id, certificate, profile.device, profile.keys, payload)
        if content is None or content.kind != "offer" or not isinstance(content.body.get("sdp"), str):
            return
        call = Call(self, call_id, outgoing=False, account=peer.account)
        call.peer, call._offer, call.identity_changed = certificate, content.body["sdp"], verdict is Verdict.CHANGED
        self._understand(call, content.body)
        call.phone = None if peer.phone is UNSET else peer.phone
        call.business = peer.business
        call.stage = Stage.RINGING
        self._calls[call_id] = call
        self.incoming.put_nowait(call)
        await self._request(CallRinging, call=call_id)

    async def _answered(self, call_id: str, peer: Peer, payload: str, *, again: bool = False) -> None:
        call, profile = self._calls.get(call_id), self._profile()
        if call is None or not call.outgoing or call.peer is not None or call._media is None:
            return
        certificate = call.devices.get("" if peer.device is UNSET else peer.device)
        if certificate is None or peer.account != call.account:
            device = None if peer.device is UNSET else peer.device
            self._notify(SecurityNotice(Notice.GHOST_DEVICE, call.account, device, call_id))
            await self._leave(call, CallHangup, Reason.FAILED)
            return
        content = self._security.open(call_id, certificate, profile.device, profile.keys, payload, again=again)
        if content is None or content.kind != "answer" or not isinstance(content.body.get("sdp"), str):
            await self._leave(call, CallFailed, Reason.FAILED)
            return
        call.peer = certificate
        self._understand(call, content.body)
        await call._become(Stage.CONNECTING)
        try:
            await call._media.accept(content.body["sdp"])
        except ValueError:
            await self._leave(call, CallFailed, Reason.FAILED)
            return
        self._settled(call)

    async def _signalled(self, call_id: str, device: str, payload: str, *, again: bool = False) -> None:
        call, profile = self._calls.get(call_id), self._profile()
        if call is None:
            return
        sender = call.peer or call.devices.get(device)
        if device in call._former:
            return  # it was on its way when the call moved
        if sender is None or sender.device != device:
            self._notify(SecurityNotice(Notice.WRONG_SENDER, call.account, device, call_id))
            return
        content = self._security.open(call_id, sender, profile.device, profile.keys, payload, again=again)
        if content is None:
            return
        body = content.body
        if content.kind == "candidates" and isinstance(body.get("candidates"), list):
            candidates = [c for c in body["candidates"][:100] if isinstance(c, dict)]
            if call._media is None:
                call._early = (call._early + candidates)[:100]
            else:
                await call._media.add(candidates, _number(body, "epoch"))
        elif content.kind == "answer" and call._moving and call._media is not None and isinstance(body.get("sdp"), str):
            call._moving = False
            self._understand(call, body)
            try:
                await call._media.accept(body["sdp"])
            except ValueError:
                await self._leave(call, CallFailed, Reason.FAILED)
                return
            self._settled(call)
        elif content.kind == "take_over" and isinstance(body.get("sdp"), str):
            await self._follow(call, sender, body)
        elif content.kind == "state":
            call.peer_muted, call.peer_held = body.get("muted") is True, body.get("held") is True
            async with call._news:
                call._news.notify_all()
        elif content.kind in ("restart", "restart_answer", "relay", "wish") and call._route is not None:
            sdp = body.get("sdp")
            via = Via.RELAY if body.get("via") == "relay" else Via.DIRECT
            await call._route.heard(content.kind, _number(body, "epoch"), sdp=sdp if isinstance(sdp, str) else None, via=via)

    async def _moved(self, call_id: str, peer: Peer, payload: str, *, again: bool = False) -> None:
        """The other side goes on at another of its devices, if that one is of the same identity and signed its offer for this call."""
        call, profile, certificate = self._calls.get(call_id), self._profile(), peer.certificate
        if call is None or call._media is None:
            return
        if not isinstance(certificate, DeviceCertificate) or (certificate.account, certificate.device) != (
            call.account,
            peer.device,
        ):
            self._notify(SecurityNotice(Notice.CERTIFICATE_INVALID, call.account, None, call_id))
            return
        if self._security.judge(call.account, [certificate], call_id) is not Verdict.TRUSTED:
            return
        content = self._security.open(call_id, certificate, profile.device, profile.keys, payload, again=again)
        if content is not None and content.kind == "take_over" and isinstance(content.body.get("sdp"), str):
            await self._follow(call, certificate, content.body)

    async def _follow(self, call: Call, peer: DeviceCertificate, body: dict[str, Any]) -> None:
        """A new connection, with the device that made this offer."""
        if call._media is None or call._sound is None:
            return
        if call._route is not None:
            call._route.close()
        await call._media.close(keep_track=True)
        if call.peer is not None:
            call._former.add(call.peer.device)
        call._former.discard(peer.device)
        call.peer, call.devices[peer.device], call._moving, call._leads = peer, peer, False, False
        self._understand(call, body)
        call.peer_muted = call.peer_held = False
        call._media = await self._make_media(call, *call._sound)
        try:
            await self._signal(call, "answer", self._described(await call._media.answer(body["sdp"])))
        except ValueError:
            await self._leave(call, CallFailed, Reason.FAILED)
            return
        self._settled(call)

    async def _sync(self, sync: Sync) -> None:
        views = {view.call: view for view in sync.calls}
        self.elsewhere = {view.call: view for view in sync.elsewhere}
        for call in list(self._calls.values()):
            if call.id not in views and call.stage is not Stage.INVITING and not call._moving:
                moved = call.id in self.elsewhere
                await self._ended(call, Reason.MOVED if moved else await self._how_it_ended(call))
        for view in views.values():
            mine = self._calls.get(view.call)
            rings = view.stage in (Stage.INVITING, Stage.RINGING)
            if mine is None:
                if not view.outgoing and rings and view.payloads:
                    await self._incoming(view.call, view.peer, view.payloads[0].payload)
                    for sealed in view.payloads[1:]:
                        await self._signalled(view.call, sealed.device, sealed.payload, again=True)
                else:  # its media are gone with the process that had it
                    kind = CallHangup if view.outgoing or not rings else CallDecline
                    await self._request(kind, call=view.call)
                continue
            for sealed in view.payloads:
                if mine.outgoing and mine.peer is None and view.peer.device == sealed.device:
                    await self._answered(view.call, view.peer, sealed.payload, again=True)
                elif mine.peer is not None and mine.peer.device != sealed.device == view.peer.device:
                    await self._moved(view.call, view.peer, sealed.payload, again=True)
                elif mine.peer is not None:
                    await self._signalled(view.call, sealed.device, sealed.payload, again=True)
            if mine.id in self._calls:
                await mine._become(view.stage)

    async def _how_it_ended(self, call: Call) -> Reason:
        """Why a call is over that ended while there was no connection: the history knows."""
        with contextlib.suppress(ClientError):
            for record in await self.history():
                if record.call == call.id:
                    return record.reason
        return Reason.LOST

    # --- helpers ------------------------------------------------------------------------------------------------------------------

    def _notify(self, notice: SecurityNotice) -> None:
        self.notices.append(notice)
        del self.notices[:-_NOTICES]

    def _profile(self) -> Profile:
        if self.profile is None:
            raise ClientError(ErrorCode.UNAUTHENTICATED, "not signed in")
        return self.profile

    async def _ask(self, endpoint: str, body: Any = None, *, token: str | None = None, session: bool = False, **path: str) -> Any:
        if self._rest is None:
            raise RuntimeError("use `async with Client(…)`")
        return await self._rest.ask(endpoint, body, token=self._profile().token if session else token, path=path)

    async def _request(self, kind: type[Request], **fields: Any) -> None:
        if self._socket is None:
            raise ClientError(ErrorCode.UNAUTHENTICATED, "not signed in")
        await self._socket.request(kind, **fields)


def _number(body: Mapping[str, Any], field: str) -> int:
    """0 where there is none: the first way is the only one that older clients know."""
    value = body.get(field)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else 0


def _new_id() -> str:
    return base64url.encode(secrets.token_bytes(16))


def _now() -> int:
    return time.time_ns() // 1_000_000
