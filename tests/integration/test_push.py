"""Waking devices: subscriptions over REST, web push, APNs and FCM at stand-ins of those services, calls to somebody offline (P09, P10)."""

import asyncio
import json
import logging
import os
import socket
import struct
from contextlib import AsyncExitStack
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import insert, select

from signaling.client.client import Client
from signaling.client.media import ToneTrack
from signaling.client.rest import ClientError
from signaling.gateway.request import Session
from signaling.operators.operator import Operator
from signaling.push.apns import AppleNotifications
from signaling.push.configured import make_senders
from signaling.push.encryption import public_bytes
from signaling.push.fcm import FirebaseMessaging
from signaling.push.resolver import PublicResolver
from signaling.push.rules import Outcome, Result
from signaling.push.sender import Wake
from signaling.push.service import PushService
from signaling.push.store import PushStore, Subscription
from signaling.push.vapid import Vapid
from signaling.push.web import WebPush
from signaling.settings import Settings
from signaling.storage.tables import accounts, devices, push_subscriptions
from signaling.wire import base64url
from signaling.wire.errors import ErrorCode
from signaling.wire.messages import Reason, Stage
from signaling.wire.rest import OpenTicket, PushKind, SetPush
from tests.conftest import eventually
from tests.integration.hub_fixture import register
from tests.integration.test_client_calls import ALICE, acquainted, history_of, rung
from tests.push_services import Authority, apple, push_service, reason


class Browser:
    """What a browser makes when a page subscribes, and how it opens what comes (RFC 8291)."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.public, self.auth = public_bytes(self.key.public_key()), os.urandom(16)

    @property
    def subscription(self) -> SetPush:
        return SetPush(PushKind.WEB, self.endpoint, base64url.encode(self.public), base64url.encode(self.auth))

    def open(self, body: bytes) -> bytes:
        salt, (_, length) = body[:16], struct.unpack("!IB", body[16:21])
        sender, content = body[21 : 21 + length], body[21 + length :]

        def hkdf(key, salt, info, length):
            return HKDF(hashes.SHA256(), length, salt, info).derive(key)

        secret = self.key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
        ikm = hkdf(secret, self.auth, b"WebPush: info\0" + self.public + sender, 32)
        key, nonce = hkdf(ikm, salt, b"Content-Encoding: aes128gcm\0", 16), hkdf(ikm, salt, b"Content-Encoding: nonce\0", 12)
        plain = AESGCM(key).decrypt(nonce, content, None)
        assert plain.endswith(b"\x02")
        return plain[:-1]


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def service(authority):
    async with push_service(authority) as running:
        yield running


@pytest.fixture
def vapid() -> Vapid:
    return Vapid(b"the secret of a test", "mailto:ops@example.org")


@pytest.fixture
async def pushing(hub, authority):
    """The hub sends to the stand-in, as an operator allows it for a push service of their own."""
    hub.hub.push._senders[PushKind.WEB] = WebPush(
        Vapid(hub.hub.settings.keyholder_secret.encode(), "mailto:ops@example.org"), allow_private=True, tls=authority.client
    )
    hub.hub.push._allow_private, hub.hub.push._hosts = True, ("localhost",)
    return hub


async def sleeping(client: Client, browser: Browser) -> None:
    """The device subscribes, and loses its socket."""
    state = await client._ask("push.set", browser.subscription, session=True)
    assert state.subscribed is PushKind.WEB
    await client._socket.close()


async def wake(client: Client) -> None:
    await client.connect()


# --- calls to somebody offline ------------------------------------------------------------------------------------------------


async def test_a_call_wakes_a_sleeping_device_and_rings_when_it_connects(pushing, service):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(pushing, stack)
        browser = Browser(f"{service.url}/wpush/v2/abc")
        await sleeping(bob, browser)
        await eventually(lambda: not pushing.hub.sockets.online(bob.profile.device))
        call = await alice.call(bob.profile.account, track=ToneTrack(440))
        await service.count(1)
        assert call.stage is Stage.INVITING
        await wake(bob)
        incoming = await rung(bob)
        assert incoming.id == call.id
        await incoming.accept(track=ToneTrack(620))
        await asyncio.gather(call.reach(Stage.CONNECTED), incoming.reach(Stage.CONNECTED))
        await call.hangup()

        (got,) = service.got
        assert got.path == "/wpush/v2/abc"
        # who pushes, for how long it is of use, and no word about who calls
        token, _, key = got.headers["Authorization"].removeprefix("vapid t=").partition(", k=")
        assert key == (await alice._ask("push.get", session=True)).vapid_key
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), base64url.decode(key))
        assert jwt.decode(token, public, algorithms=["ES256"], audience=service.url)["sub"] == "mailto:ops@example.org"
        assert 30 <= int(got.headers["TTL"]) <= 45
        assert (got.headers["Urgency"], got.headers["Topic"], got.headers["Content-Encoding"]) == ("high", "call", "aes128gcm")
        assert browser.open(got.body) == Wake.CALL.payload
        told = json.dumps(got.headers) + got.path
        for secret in (
            alice.profile.account,
            bob.profile.account,
            alice.profile.phone,
            bob.profile.phone,
            call.id,
            bob.profile.device,
        ):
            assert secret not in told


async def test_who_does_not_wake_in_time_finds_the_missed_call_in_the_history(pushing, service, monkeypatch):
    monkeypatch.setattr("signaling.calls.machine.RING_TIMEOUT", 1.5)
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(pushing, stack)
        await sleeping(bob, Browser(f"{service.url}/x"))
        await eventually(lambda: not pushing.hub.sockets.online(bob.profile.device))
        call = await alice.call(bob.profile.account, track=ToneTrack(440))
        await service.count(1)
        await call.reach(Stage.ENDED)
        assert call.reason is Reason.MISSED
        await wake(bob)
        assert await history_of(bob, call.id) is await history_of(alice, call.id) is Reason.MISSED
        assert bob.incoming.empty()


async def test_an_answer_of_support_wakes_a_device_that_is_away(pushing, service):
    """The push says that support has answered, in as many bytes as for a call, and not what (P27)."""
    async with await register(pushing, ALICE) as alice:
        ticket = (await alice._ask("tickets.open", OpenTicket("Echo", "It echoes."), session=True)).ticket
        browser = Browser(f"{service.url}/wpush/v2/abc")
        await sleeping(alice, browser)
        await eventually(lambda: not pushing.hub.sockets.online(alice.profile.device))
        await pushing.hub.tickets.answer(Operator("ada"), ticket, "Use headphones.")
        await service.count(1)
        (got,) = service.got
        assert (got.headers["Urgency"], got.headers["Topic"]) == ("normal", "support")
        assert json.loads(browser.open(got.body)) == {"wake": "support"}
        assert len({len(wake.payload) for wake in Wake}) == 1


async def test_only_devices_without_a_socket_are_woken_and_none_of_who_does_not_want_the_call(pushing, service):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(pushing, stack)
        await bob._ask("push.set", Browser(f"{service.url}/awake").subscription, session=True)
        call = await alice.call(bob.profile.account, track=ToneTrack(440))
        await (await rung(bob)).decline()
        await call.reach(Stage.ENDED)
        await bob._ask("blocks.add", session=True, account=alice.profile.account)
        await bob._socket.close()
        await eventually(lambda: not pushing.hub.sockets.online(bob.profile.device))
        blocked = await alice.call(bob.profile.account, track=ToneTrack(440))
        await blocked.hangup()
        await bob._ask("blocks.remove", session=True, account=alice.profile.account)
        again = await alice.call(bob.profile.account, track=ToneTrack(440))
        await service.count(1)
        await again.hangup()
        assert [request.path for request in service.got] == ["/awake"]


async def test_a_subscription_goes_with_its_device_and_on_request(pushing, service):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(pushing, stack)

        async def kept() -> list[str]:
            async with pushing.hub.database.begin() as connection:
                return [row.endpoint for row in await connection.execute(select(push_subscriptions))]

        for client, path in ((alice, "/a"), (bob, "/b"), (bob, "/c")):
            await client._ask("push.set", Browser(service.url + path).subscription, session=True)
        assert sorted(await kept()) == [service.url + "/a", service.url + "/c"]
        await alice._ask("push.remove", session=True)
        await alice._ask("push.remove", session=True)
        assert "subscribed" not in str(await alice._ask("push.get", session=True)) or await kept() == [service.url + "/c"]
        await bob.delete_account()
        assert await kept() == []


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"endpoint": "http://fcm.googleapis.com/x"}, "https"),
        ({"endpoint": "https://10.0.0.1/x"}, "list"),
        ({"endpoint": "https://evil.example/x"}, "list"),
        ({"endpoint": "https://fcm.googleapis.com/" + "x" * 1024}, "endpoint"),
        ({"p256dh": "A" * 87}, "not a key"),
        ({"p256dh": None}, "needed"),
        ({"auth": "short"}, "auth"),
        ({"kind": "apns", "endpoint": "abcdef"}, "apns"),
        ({"kind": "smoke"}, "kind"),
    ],
)
async def test_what_is_no_subscription_is_refused(hub, body, word):
    async with AsyncExitStack() as stack:
        alice, _ = await acquainted(hub, stack)
        good = Browser("https://fcm.googleapis.com/fcm/send/abc").subscription
        values = {"kind": "web", "endpoint": good.endpoint, "p256dh": good.p256dh, "auth": good.auth} | body
        answer = await alice._http.put(
            hub.url + "/v1/push",
            json={k: v for k, v in values.items() if v is not None},
            headers={"Authorization": f"Bearer {alice.profile.token}"},
        )
        said = await answer.json()
        assert (answer.status, said["code"]) == (422, "invalid")
        assert word in said["message"]
        with pytest.raises(ClientError) as stranger:
            await alice._rest.ask("push.get", None, token="t" * 43, path={})
        assert stranger.value.code is ErrorCode.UNAUTHENTICATED


# --- the service on both databases --------------------------------------------------------------------------------------------


class Script:
    """A way to wake that answers what it is told to."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes, self.sent = list(outcomes), []

    async def send(self, to: Subscription, ttl: float, _wake: Wake = Wake.CALL) -> Outcome:
        self.sent.append((to.endpoint, ttl))
        return self.outcomes.pop(0) if self.outcomes else Outcome(Result.SENT)

    async def close(self) -> None: ...


@pytest.fixture
async def world(database, monkeypatch):
    """(service, script, store) with one device that is subscribed."""
    account, device = "A" * 22, "D" * 22
    async with database.begin() as connection:
        await connection.execute(
            insert(accounts).values(
                id=account, phone="+4930901820", email="a@example.org", identity_key="k" * 43, discovery_token="t" * 86,
                policy_version="1", who_can_call="contacts", created_at=1,
            )
        )  # fmt: skip
        await connection.execute(
            insert(devices).values(id=device, account=account, name="x", certificate="{}", token_hash=bytes(32), created_at=1)
        )
    store, script = PushStore(database), Script()
    await store.put("A" * 22, Subscription(device, PushKind.APNS, "token"), 1)
    monkeypatch.setattr("signaling.push.rules._FIRST_WAIT", 0.001)
    service = PushService(store=store, senders={PushKind.APNS: script})
    yield service, script, store
    await service.close()


async def done(service: PushService) -> None:
    await asyncio.gather(*service._tasks)


async def test_a_push_is_tried_three_times_at_most(world):
    service, script, store = world
    script.outcomes = [Outcome(Result.AGAIN)] * 5
    service.wake(["D" * 22], 30.0)
    await done(service)
    assert len(script.sent) == 3
    assert len(await store.of(["D" * 22])) == 1


async def test_a_push_that_is_refused_is_not_tried_again(world, caplog):
    service, script, store = world
    caplog.set_level(logging.WARNING)
    script.outcomes = [Outcome(Result.REFUSED, why="BadTopic")]
    service.wake(["D" * 22], 30.0)
    await done(service)
    assert len(script.sent) == 1
    assert "BadTopic" in caplog.text
    assert "token" not in caplog.text.replace("taken", "")
    assert len(await store.of(["D" * 22])) == 1


async def test_a_subscription_that_is_gone_is_forgotten_but_a_newer_one_is_not(world):
    service, script, store = world
    script.outcomes = [Outcome(Result.GONE)]
    service.wake(["D" * 22], 30.0)
    await done(service)
    assert await store.of(["D" * 22]) == []
    await store.put("A" * 22, Subscription("D" * 22, PushKind.APNS, "newer"), 2)
    await store.remove("D" * 22, "token")
    assert [one.endpoint for one in await store.of(["D" * 22])] == ["newer"]


async def test_a_push_that_would_come_too_late_is_not_sent(world):
    service, script, _ = world
    script.outcomes = [Outcome(Result.AGAIN, after=60.0)]
    service.wake(["D" * 22], 30.0)
    service.wake(["D" * 22], 0.0)
    await done(service)
    assert len(script.sent) == 1


async def test_a_device_is_woken_so_often_and_not_more(world):
    service, script, _ = world
    for _ in range(20):
        service.wake(["D" * 22], 30.0)
    await done(service)
    assert len(script.sent) == 6


async def test_nobody_is_woken_who_did_not_ask(world):
    service, script, _ = world
    service.wake(["E" * 22], 30.0)
    service.wake([], 30.0)
    await done(service)
    assert script.sent == []
    state = await service.state(Session("A" * 22, "E" * 22, "+4930901820", None))
    assert (state.kinds, "subscribed" in repr(state)) == ([PushKind.APNS], True)


# --- the ways -------------------------------------------------------------------------------------------------------------------


def web_subscription(endpoint: str) -> Subscription:
    made = Browser(endpoint).subscription
    return Subscription("D" * 22, PushKind.WEB, endpoint, made.p256dh, made.auth)


async def test_web_push_takes_the_services_word(service, authority, vapid):
    sender = WebPush(vapid, allow_private=True, tls=authority.client)
    service.answers = [
        (410, {}, b""),
        (404, {}, b""),
        (429, {"Retry-After": "3"}, b""),
        (403, {}, b"no"),
        (307, {"Location": service.url + "/2"}, b""),
    ]
    results = [await sender.send(web_subscription(service.url + "/1"), 30.0) for _ in range(6)]
    assert [(r.result, r.after) for r in results] == [
        (Result.GONE, 0.0), (Result.GONE, 0.0), (Result.AGAIN, 3.0), (Result.REFUSED, 0.0), (Result.REFUSED, 0.0), (Result.SENT, 0.0),
    ]  # fmt: skip
    assert {request.path for request in service.got} == {"/1"}  # a redirect is not followed
    await sender.close()


async def test_web_push_reaches_no_private_address_whatever_the_name_says(service, authority, vapid):
    sender = WebPush(vapid, tls=authority.client)
    outcome = await sender.send(web_subscription(service.url + "/1"), 30.0)
    assert outcome.result is Result.AGAIN
    assert service.got == []
    await sender.close()


async def test_a_name_with_public_and_private_addresses_is_reached_at_the_public_ones():
    class Names:
        async def resolve(self, host, port=0, family=socket.AF_INET):
            addresses = ["10.0.0.1", "8.8.8.8", "fe80::1%eth0", "2607:f8b0::1"]
            return [{"hostname": host, "host": a, "port": port, "family": family, "proto": 0, "flags": 0} for a in addresses]

        async def close(self): ...

    found = await PublicResolver(Names()).resolve("push.example.org", 443)
    assert [one["host"] for one in found] == ["8.8.8.8", "2607:f8b0::1"]


async def test_web_push_to_a_service_that_is_not_there_or_not_trusted(authority, vapid, service):
    sender = WebPush(vapid, allow_private=True, tls=authority.client)
    assert (await sender.send(web_subscription("https://localhost:1/x"), 30.0)).result is Result.AGAIN
    await sender.close()
    untrusting = WebPush(vapid, allow_private=True)
    assert (await untrusting.send(web_subscription(service.url + "/x"), 30.0)).result is Result.AGAIN
    assert service.got == []
    await untrusting.close()


@pytest.mark.parametrize("topic", ["org.example.talk", "org.example.talk.voip"])
async def test_apns_by_http2(authority, topic):
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"https://localhost:{port}"
    sender = AppleNotifications(key=pem, key_id="KEY", team_id="TEAM", topic=topic, url=url, tls=authority.client)
    to = Subscription("D" * 22, PushKind.APNS, "ab" * 32)
    async with apple(authority, port) as service:
        service.answers = [
            (201, {}, b""), (410, {}, reason("Unregistered")), (400, {}, reason("BadDeviceToken")), (429, {}, reason("TooManyRequests")),
            (403, {}, reason("InvalidProviderToken")), (503, {}, reason("ServiceUnavailable")),
        ]  # fmt: skip
        results = [(await sender.send(to, 30.0)).result for _ in range(6)]
        assert results == [Result.SENT, Result.GONE, Result.GONE, Result.AGAIN, Result.REFUSED, Result.AGAIN]
        got = service.got[0]
        assert got.path == f"/3/device/{'ab' * 32}"
        assert (got.headers["apns-topic"], got.headers["apns-priority"]) == (topic, "10")
        assert got.headers["apns-push-type"] == ("voip" if topic.endswith(".voip") else "alert")
        claims = jwt.decode(got.headers["authorization"].removeprefix("bearer "), key.public_key(), algorithms=["ES256"])
        assert claims["iss"] == "TEAM"
        assert jwt.get_unverified_header(got.headers["authorization"].removeprefix("bearer "))["kid"] == "KEY"
        assert len({request.headers["authorization"] for request in service.got}) == 1  # Apple refuses who makes many
        assert set(json.loads(got.body)) == {"aps", "wake"}
        assert int(got.headers["apns-expiration"]) > 0
        await sender.close()
    assert (await sender.send(to, 30.0)).result is Result.AGAIN
    await sender.close()


async def test_fcm_as_a_service_account(authority, service):
    key = rsa.generate_private_key(65537, 2048)
    credentials = {
        "type": "service_account", "project_id": "talk", "private_key_id": "1", "client_email": "hub@talk.iam.gserviceaccount.com",
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(), "token_uri": service.url + "/token",
    }  # fmt: skip
    sender = FirebaseMessaging(credentials, url=service.url, tls=authority.client)
    to = Subscription("D" * 22, PushKind.FCM, "token:x")
    unregistered = json.dumps({"error": {"status": "NOT_FOUND", "details": [{"errorCode": "UNREGISTERED"}]}}).encode()
    service.answers = [
        (200, {}, b"{}"),
        (404, {}, unregistered),
        (400, {}, unregistered),
        (429, {"Retry-After": "9"}, b""),
        (401, {}, b""),
    ]
    results = [await sender.send(to, 30.0) for _ in range(5)]
    assert [r.result for r in results] == [Result.SENT, Result.GONE, Result.GONE, Result.AGAIN, Result.REFUSED]
    assert results[3].after == 9.0
    got = service.got[0]
    assert (got.path, got.headers["Authorization"]) == ("/v1/projects/talk/messages:send", "Bearer granted")
    assert json.loads(got.body) == {
        "message": {
            "token": "token:x",
            "data": {"wake": "call"},
            "android": {"priority": "HIGH", "ttl": "30s", "collapse_key": "call"},
        }
    }
    await sender.close()
    broken = FirebaseMessaging(credentials | {"token_uri": "https://localhost:1/token"}, url=service.url, tls=authority.client)
    assert (await broken.send(to, 30.0)).result in (Result.AGAIN, Result.REFUSED)
    await broken.close()


def test_settings_that_do_not_go_together_are_named(vapid, tmp_path: Path):
    assert sorted(make_senders(Settings(), vapid)) == [PushKind.WEB]
    with pytest.raises(ValueError, match="push_allow_private"):
        make_senders(Settings(push_allow_private=True, push_hosts=("*",)), vapid)
    with pytest.raises(ValueError, match="apns_topic"):
        make_senders(Settings(apns_key_file=tmp_path / "key.p8", apns_key_id="x", apns_team_id="y"), vapid)
