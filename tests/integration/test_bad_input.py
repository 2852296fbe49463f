"""Everything bad that a client can send has a defined answer; the hub stays up, tells nothing, and logs no personal data."""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest

from signaling.client.client import Client
from signaling.client.media import ToneTrack
from signaling.client.rest import ClientError
from signaling.telemetry.logs import set_levels
from signaling.wire.errors import ErrorCode
from signaling.wire.messages import MAX_FRAME, CallInvite, Reason, Stage
from signaling.wire.rest import MAX_BODY, Evaluate
from tests.integration.hub_fixture import RunningHub, register
from tests.integration.test_client_calls import ALICE, BOB, acquainted, history_of, rung

CALL, OTHER = "C" * 22, "D" * 22
SEALED = "s" * 400


@pytest.fixture(autouse=True)
def _quiet_log(caplog):
    """Whatever a test sends: no personal data and no unhandled exception in the log, with levels as `kloudtalk hub` sets them."""
    set_levels("debug")
    yield
    text = "\n".join(caplog.handler.format(record) for when in ("setup", "call") for record in caplog.get_records(when))
    for secret in (ALICE, BOB, ALICE[1:], BOB[1:], "@kloudtalk.dev", "Authorization", "Traceback"):
        assert secret not in text, f"{secret} is in the log:\n{text}"


@asynccontextmanager
async def socket(hub: RunningHub, **more):
    """A raw WebSocket."""
    async with aiohttp.ClientSession() as http, http.ws_connect(hub.url + "/v1/ws", protocols=("kloudtalk.v1",), **more) as ws:
        yield ws


@asynccontextmanager
async def signed_in(hub: RunningHub, client: Client):
    """A raw WebSocket that has said hello as a client's device, in place of its own."""
    async with socket(hub) as ws:
        await ws.send_str(json.dumps({"type": "hello", "id": 0, "token": client.profile.token}))
        assert (await ws.receive_json())["type"] == "ok"
        assert (await ws.receive_json())["type"] == "sync"
        yield ws


async def answer_to(ws, frame: str | bytes | dict) -> dict:
    """Send one frame, take the next error or ok."""
    if isinstance(frame, bytes):
        await ws.send_bytes(frame)
    else:
        await ws.send_str(frame if isinstance(frame, str) else json.dumps(frame))
    async with asyncio.timeout(10):
        while True:
            message = await ws.receive_json()
            if message["type"] in ("error", "ok"):
                return message


async def code_of(work) -> ErrorCode:
    with pytest.raises(ClientError) as refused:
        await work
    return refused.value.code


# --- before hello ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ("{", "malformed"),
        ("[]", "malformed"),
        ("\u0000", "malformed"),
        ('{"type":"nonsense","id":1}', "unknown_type"),
        ('{"type":"hello","id":1}', "invalid"),
        ('{"type":"hello","id":-1,"token":"' + "t" * 43 + '"}', "invalid"),
        ('{"type":"hello","id":1,"token":"short"}', "invalid"),
        ('{"type":"hello","id":1,"token":"' + "t" * 43 + '"}', "unauthenticated"),
        ('{"type":"call.hangup","id":1,"call":"' + CALL + '"}', "unauthenticated"),
    ],
)
async def test_a_first_frame_that_is_no_valid_hello_closes_the_socket_with_4401(hub, first, code):
    async with socket(hub) as ws:
        assert (await answer_to(ws, first))["code"] == code
        assert (await ws.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        assert ws.close_code == 4401


async def test_binary_before_hello_closes_the_socket(hub):
    async with socket(hub) as ws:
        await ws.send_bytes(b"\x00\xff")
        await ws.receive()
        assert ws.close_code == 4401


async def test_silence_closes_the_socket_with_4401(hub, monkeypatch):
    monkeypatch.setattr("signaling.gateway.socket.HELLO_TIMEOUT", 0.05)
    async with socket(hub) as ws:
        await ws.receive()
        assert ws.close_code == 4401


@pytest.mark.parametrize(
    ("headers", "protocols", "status", "code"),
    [
        ({"Origin": "https://evil.example"}, ("kloudtalk.v1",), 403, "forbidden_origin"),
        ({"Origin": "null"}, ("kloudtalk.v1",), 403, "forbidden_origin"),
        ({}, ("chat",), 400, "malformed"),
        ({}, (), 400, "malformed"),
    ],
)
async def test_a_foreign_origin_or_protocol_gets_no_socket(hub, headers, protocols, status, code):
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(hub.url + "/v1/ws", protocols=protocols, headers=headers)
        assert refused.value.status == status
        async with http.get(hub.url + "/v1/server", headers=headers) as answer:
            assert answer.status == (403 if headers else 200)
            assert not headers or (await answer.json())["code"] == code


# --- after hello -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def alice(hub):
    client = await register(hub, ALICE)
    yield client
    await client.close()


@pytest.mark.parametrize(
    ("frame", "code", "re"),
    [
        ("not json", "malformed", None),
        ("{" * 5000, "malformed", None),
        ("[" * 60000, "malformed", None),
        ('"text"', "malformed", None),
        ("{}", "malformed", None),
        ('{"id":7}', "malformed", 7),
        ('{"type":7,"id":7}', "malformed", None),
        ('{"type":"call.nonsense","id":7}', "unknown_type", 7),
        ('{"type":"ok","id":7}', "unknown_type", 7),
        ('{"type":"hello","id":7,"token":"' + "t" * 43 + '"}', "wrong_stage", 7),
        ('{"type":"call.hangup","id":7}', "invalid", 7),
        ('{"type":"call.hangup","id":7,"call":"short"}', "invalid", 7),
        ('{"type":"call.hangup","id":7,"call":["' + CALL + '"]}', "invalid", 7),
        ('{"type":"call.hangup","id":99999999999999999999,"call":"' + CALL + '"}', "invalid", None),
        ('{"type":"call.hangup","id":7,"call":"' + CALL + '"}', "unknown_call", 7),
        (json.dumps({"type": "call.invite", "id": 7, "call": CALL, "to": OTHER, "payloads": {}}), "invalid", 7),
        (json.dumps({"type": "call.invite", "id": 7, "call": CALL, "to": OTHER, "payloads": {"x": SEALED}}), "invalid", 7),
        (json.dumps({"type": "call.invite", "id": 7, "call": CALL, "to": OTHER, "payloads": {OTHER: "short"}}), "invalid", 7),
        (json.dumps({"type": "call.invite", "id": 7, "call": CALL, "to": OTHER, "payloads": {OTHER: "ü" * 400}}), "invalid", 7),
        (
            json.dumps({"type": "call.invite", "id": 7, "call": CALL, "to": OTHER, "payloads": {OTHER: SEALED}}),
            "callee_unavailable",
            7,
        ),
        (b"\x00\x01", "malformed", None),
    ],
)
async def test_each_bad_frame_has_its_answer_and_the_socket_stays(hub, alice, frame, code, re):
    async with signed_in(hub, alice) as ws:
        answer = await answer_to(ws, frame)
        assert (answer["type"], answer["code"], answer.get("re")) == ("error", code, re)
        again = await answer_to(ws, {"type": "call.hangup", "id": 8, "call": CALL})
        assert (again["code"], again["re"]) == ("unknown_call", 8)


async def test_who_asks_whether_the_hub_is_there_is_answered(hub, alice):
    async with signed_in(hub, alice) as ws:
        assert await answer_to(ws, {"type": "ping", "id": 7}) == {"type": "ok", "re": 7}
        assert (await answer_to(ws, {"type": "ping"}))["code"] == "invalid"
    async with socket(hub) as ws:  # not to strangers
        assert (await answer_to(ws, {"type": "ping", "id": 1}))["code"] == "unauthenticated"


async def test_an_oversized_frame_closes_with_1009(hub, alice):
    async with signed_in(hub, alice) as ws:
        await ws.send_str("x" * (MAX_FRAME + 1))
        await ws.receive()
        assert ws.close_code == 1009


async def test_10_000_frames_in_a_second_are_refused_then_closed_and_others_are_served(hub, alice):
    async with AsyncExitStack() as stack:
        bob = await register(hub, BOB)
        stack.push_async_callback(bob.close)
        async with signed_in(hub, alice) as ws:
            codes: dict[str, int] = {}

            async def read() -> None:
                async for frame in ws:
                    code = json.loads(frame.data)["code"]
                    codes[code] = codes.get(code, 0) + 1

            reading = asyncio.create_task(read())
            try:
                for number in range(10_000):
                    await ws.send_str(json.dumps({"type": "call.hangup", "id": number, "call": CALL}))
            except ConnectionError:
                pass  # the hub has had enough
            async with asyncio.timeout(20):
                await reading
            assert ws.close_code == 4429
            assert 100 <= codes["rate_limited"] <= 200
            assert codes.get("unknown_call", 0) < 400  # what was within the rate; some answers are cut off by the close
        # the hub serves others, and this device again
        assert await code_of(bob._request(CallInvite, call=CALL, to=bob.profile.account, payloads={OTHER: SEALED})) is (
            ErrorCode.CALL_TO_SELF
        )
        async with signed_in(hub, alice) as ws:
            assert (await answer_to(ws, {"type": "call.hangup", "id": 8, "call": CALL}))["code"] == "unknown_call"


# --- calls that must not be -----------------------------------------------------------------------------------------------


async def test_calls_to_oneself_to_strangers_and_to_nobody(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await register(hub, ALICE), await register(hub, BOB)
        for client in (alice, bob):
            stack.push_async_callback(client.close)

        def invite(to: str, device: str = OTHER):
            return alice._request(CallInvite, call=CALL, to=to, payloads={device: SEALED})

        assert await code_of(invite(alice.profile.account)) is ErrorCode.CALL_TO_SELF
        assert await code_of(invite(bob.profile.account, bob.profile.device)) is ErrorCode.NOT_A_CONTACT
        assert await code_of(invite("N" * 22)) is ErrorCode.CALLEE_UNAVAILABLE
        assert await code_of(alice.devices_of(bob.profile.account)) is ErrorCode.NOT_FOUND
        assert bob.incoming.empty()


async def test_a_payload_for_a_device_that_does_not_exist_or_too_few_of_them(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        to = bob.profile.account
        with pytest.raises(ClientError) as refused:
            await alice._request(CallInvite, call=CALL, to=to, payloads={OTHER: SEALED})
        assert (refused.value.code, refused.value.devices) == (ErrorCode.UNKNOWN_DEVICE, [bob.profile.device])
        second = await stack.enter_async_context(Client(hub.url))
        code = await bob.open_link()
        claiming = asyncio.create_task(second.claim_link(code, "second"))
        await bob.approve_link()
        await claiming
        with pytest.raises(ClientError) as refused:
            await alice._request(CallInvite, call=CALL, to=to, payloads={bob.profile.device: SEALED})
        assert refused.value.code is ErrorCode.STALE_DEVICES
        assert refused.value.devices == sorted([bob.profile.device, second.profile.device])


async def test_a_blocked_caller_sees_what_a_caller_of_somebody_offline_sees(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        await bob._ask("blocks.add", session=True, account=alice.profile.account)
        blocked = await alice.call(bob.profile.account, track=ToneTrack(440))
        assert blocked.stage is Stage.INVITING
        await blocked.hangup()
        assert await history_of(alice, blocked.id) is Reason.CANCELLED
        # Bob has heard of nothing, not even afterwards; then of the next call, once unblocked
        await bob._ask("blocks.remove", session=True, account=alice.profile.account)
        call = await alice.call(bob.profile.account, track=ToneTrack(440))
        incoming = await rung(bob)
        assert incoming.id == call.id
        await incoming.decline()
        await history_of(bob, call.id)
        assert [record.call for record in await bob.history()] == [call.id]


async def test_a_call_to_an_account_that_was_deleted(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        account = bob.profile.account
        await alice.devices_of(account)
        await bob.delete_account()
        async with asyncio.timeout(10):
            await bob.revoked.wait()
        invite = alice._request(CallInvite, call=CALL, to=account, payloads={bob.profile.device: SEALED})
        assert await code_of(invite) is ErrorCode.CALLEE_UNAVAILABLE


async def test_messages_in_the_wrong_stage_change_nothing(hub):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        call = await alice.call(bob.profile.account, track=ToneTrack(440))
        incoming = await rung(bob)
        await call.reach(Stage.RINGING)
        async with signed_in(hub, alice) as ws:  # Alice's device again, raw: its client is pushed out
            for kind in ("call.accept", "call.decline", "call.busy", "call.ringing", "call.connected", "call.failed"):
                more = {"payload": SEALED} if kind == "call.accept" else {}
                answer = await answer_to(ws, {"type": kind, "id": 1, "call": call.id, **more})
                assert (kind, answer["code"]) == (kind, "wrong_stage")
            answer = await answer_to(ws, {"type": "call.signal", "id": 2, "call": call.id, "to": OTHER, "payload": SEALED})
            assert answer["code"] == "unknown_device"
            invite = {"type": "call.invite", "id": 3, "call": call.id, "to": bob.profile.account}
            answer = await answer_to(ws, invite | {"payloads": {bob.profile.device: SEALED}})
            assert answer["code"] == "call_exists"
            assert incoming.stage is Stage.RINGING
            assert (await answer_to(ws, {"type": "call.hangup", "id": 4, "call": call.id}))["type"] == "ok"
        await incoming.reach(Stage.ENDED)
        assert incoming.reason is Reason.CANCELLED


# --- REST --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "token", "status", "code"),
    [
        ("GET", "/v1/nothing", None, None, 404, "not_found"),
        ("DELETE", "/v1/server", None, None, 405, "method_not_allowed"),
        ("POST", "/v1/registration", b"{", None, 400, "malformed"),
        ("POST", "/v1/registration", b"\xff\xfe", None, 400, "malformed"),
        ("POST", "/v1/registration", b"[" * 100_000, None, 422, "invalid"),
        ("POST", "/v1/registration", b'{"phone":7}', None, 422, "invalid"),
        ("POST", "/v1/registration", b"{}", None, 422, "phone_missing"),
        ("POST", "/v1/registration", b" " * (MAX_BODY + 1), None, 413, "too_large"),
        ("GET", "/v1/account", None, None, 401, "unauthenticated"),
        ("GET", "/v1/account", None, "short", 401, "unauthenticated"),
        ("GET", "/v1/account", None, "t" * 43, 401, "unauthenticated"),
        ("GET", "/v1/accounts/short/devices", None, "own", 404, "not_found"),
        ("GET", "/v1/accounts/" + OTHER + "/devices", None, "own", 404, "not_found"),
        ("DELETE", "/v1/devices/" + OTHER, None, "own", 404, "not_found"),
        ("GET", "/v1/calls?limit=9999", None, "own", 422, "invalid"),
        ("GET", "/v1/calls?token=x", None, "own", 422, "invalid"),
        ("PUT", "/v1/consents/nonsense", b"{}", "own", 404, "not_found"),
        ("PUT", "/v1/consents/phonebook", b'{"granted":true,"sha256":"' + b"0" * 64 + b'"}', "own", 422, "invalid"),
        ("POST", "/v1/contacts", b'{"add":[]}', "own", 403, "consent_required"),
        ("POST", "/v1/discovery/evaluations", b'{"blinded":[]}', "own", 422, "invalid"),
        ("POST", "/v1/discovery/evaluations", b'{"blinded":["' + b"A" * 43 + b'"]}', "own", 403, "consent_required"),
        ("PUT", "/v1/blocks/" + OTHER, None, "own", 404, "not_found"),
        ("PATCH", "/v1/settings", b'{"who_can_call":"robots"}', "own", 422, "invalid"),
        ("POST", "/v1/links/claim", b"{}", None, 422, "invalid"),
    ],
)
async def test_each_bad_request_has_its_status_and_code(hub, alice, method, path, body, token, status, code):
    headers = {} if token is None else {"Authorization": f"Bearer {alice.profile.token if token == 'own' else token}"}
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, hub.url + path, data=body, headers=headers) as answer,
    ):
        assert (answer.status, (await answer.json())["code"]) == (status, code)
        assert answer.headers["Cache-Control"] == "no-store"


async def test_elements_that_are_none_are_refused_by_the_key_holder(hub, alice):
    await alice.allow_phonebook()
    for element in ("A" * 43, "_" * 42 + "8"):
        with pytest.raises(ClientError) as refused:
            await alice._ask("discovery.evaluate", Evaluate([element]), session=True)
        assert refused.value.code is ErrorCode.INVALID


async def test_a_revoked_token_is_worth_nothing(hub, alice):
    token = alice.profile.token
    await alice._ask("devices.revoke", session=True, device=alice.profile.device)
    async with asyncio.timeout(10):
        await alice.revoked.wait()
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as http, http.get(hub.url + "/v1/account") as answer:
        assert answer.status == 401
    async with socket(hub) as ws:
        assert (await answer_to(ws, {"type": "hello", "id": 1, "token": token}))["code"] == "unauthenticated"


async def test_a_device_connects_while_the_address_books_are_away(hub, alice, monkeypatch):
    async def away(_account):
        raise ConnectionError

    monkeypatch.setattr(hub.hub.events.contacts, "wanted", away)
    async with signed_in(hub, alice) as ws:
        assert (await answer_to(ws, {"type": "call.hangup", "id": 1, "call": CALL}))["code"] == "unknown_call"
