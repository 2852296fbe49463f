"""Values that JSON or HTTP can carry and a store cannot: U+0000, lone surrogates, integers beyond 2**53 and 2**63, bytes that are no UTF-8. In
every field of every endpoint they have an answer that says so; nothing breaks, on either database.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec.inspect
import pytest

from signaling.accounts import contact_change, registration
from signaling.operators import limits
from signaling.wire.admin.endpoints import ADMIN_ENDPOINTS
from signaling.wire.admin.frame import ADMIN_PATHS
from signaling.wire.rest import ENDPOINTS
from tests.databases import new_postgres
from tests.integration.hub_fixture import running_hub, running_keyholder
from tests.operators import signed_in
from tests.phones import seed

TEXTS = [
    *("A" * length for length in (22, 43, 86, 87, 128, 24, 8)), "+4930901820", "image/png", "000000", "0" * 64, "1", "x", "ada", "de",
    "a.b", "AAAA", "1.0.0", "Europe/Berlin", "2026-11-29", "https://push.example/x", "a@b.example",
]  # fmt: skip
BAD_TEXTS: list[Any] = ["\0", "A\0", "\ud800", "\udc00\ud800", "x" * 70_000, "\u2028", "é" * 30, "\U0010ffff", ""]
BAD_NUMBERS: list[Any] = [-1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, 10**30, -(2**63) - 1, 1.5, "1"]
BAD_ANYTHING: list[Any] = [None, True, [], {}, [[]], {"\0": "\0"}, {"\ud800": 1}, 2**64]


def sample(kind: msgspec.inspect.Type) -> Any:
    """Some value of a type, as JSON."""
    inspect = msgspec.inspect
    match kind:
        case inspect.Metadata():
            return sample(kind.type)
        case inspect.StructType():
            return {field.encode_name: sample(field.type) for field in kind.fields}
        case inspect.UnionType():
            return sample(next(one for one in kind.types if not isinstance(one, inspect.NoneType)))
        case inspect.EnumType():
            return next(iter(kind.cls)).value
        case inspect.LiteralType():
            return kind.values[0]
        case inspect.BoolType():
            return True
        case inspect.IntType():
            return max(kind.ge or 0, (kind.gt or 0) + 1)
        case inspect.FloatType():
            return kind.ge or 0.0
        case inspect.StrType():
            fits = (
                text
                for text in TEXTS
                if (kind.pattern is None or re.search(kind.pattern, text))
                and (kind.min_length or 0) <= len(text) <= (kind.max_length or 1_000)
            )
            return next(fits)
        case inspect.ListType() | inspect.SetType() | inspect.FrozenSetType() | inspect.VarTupleType():
            return [sample(kind.item_type)] * max(1, kind.min_length or 0)
        case inspect.DictType():
            return {sample(kind.key_type): sample(kind.value_type)}
        case inspect.AnyType():
            return {}
    raise AssertionError(kind)


def leaves(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Where the values are that are neither object nor array."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list) and value:
        for position, inner in enumerate(value):
            yield from leaves(inner, (*path, position))
    else:
        yield path


def replaced(value: Any, path: tuple, bad: Any) -> Any:
    """The value with another at that place."""
    if not path:
        return bad
    copied = value.copy()
    copied[path[0]] = replaced(value[path[0]], path[1:], bad)
    return copied


def bodies(body: type) -> Iterator[bytes]:
    """Bodies with one bad value each, and some that are bad as a whole."""
    good = sample(msgspec.inspect.type_info(body))
    for path in leaves(good):
        there = good
        for step in path:
            there = there[step]
        kinds = BAD_NUMBERS if isinstance(there, int | float) else BAD_TEXTS
        for bad in [*kinds, *BAD_ANYTHING]:
            yield json.dumps(replaced(good, path, bad)).encode()
    yield from (
        b"",
        b"null",
        b"[]",
        b"\xff",
        b'{"\xed\xa0\x80":1}',
        b"[" * 5_000,
        b'{"a":' * 5_000,
        json.dumps({"\0": 1} | good).encode(),
    )


@pytest.fixture(params=["sqlite", "postgres"])
async def hub(request, state_url, book_url, book_redis, tmp_path, monkeypatch):
    """A running hub on either database, where nothing is refused for its being asked often."""
    monkeypatch.setattr(registration, "LIMITS", dict.fromkeys(registration.LIMITS, 10**9))
    monkeypatch.setattr(contact_change, "LIMITS", dict.fromkeys(registration.LIMITS, 10**9))
    monkeypatch.setattr(contact_change, "CHANGES_AN_HOUR", 10**9)
    for name in ("FAILURES", "ADDRESS_FAILURES", "LOOK_UPS"):
        monkeypatch.setattr(limits, name, 10**9)
    url = f"sqlite+aiosqlite:///{tmp_path}/hub.db"
    if request.param == "postgres":
        url = await new_postgres(request.getfixturevalue("_postgres"), None)
    async with (
        running_keyholder(tmp_path) as keyholder,
        running_hub(tmp_path, keyholder, database_url=url, redis_url=state_url, book_url=book_url, limits_scale=1e6) as running,
    ):
        yield running


async def broken(http: aiohttp.ClientSession, method: str, url: str, headers: dict, bodies: Iterator[bytes | None]) -> set[str]:
    """Bodies to which the answer is a failure of the server."""
    found: set[str] = set()
    gate = asyncio.Semaphore(4)

    async def one(body: bytes | None) -> None:
        async with gate, http.request(method, url, data=body, headers=headers, allow_redirects=False) as answer:
            if answer.status >= 500:
                text = await answer.text()
                if json.loads(text)["code"] != "delivery_failed":
                    found.add(f"{answer.status} {text[:60]} for {body[:200] if body else url!r}")

    await asyncio.gather(*map(one, bodies))
    return found


async def test_no_body_of_the_users_api_breaks_anything(hub, book_redis):
    (account, other) = await seed(hub.hub.database, book_redis, [1, 1])
    token = next(iter(account.devices.values()))
    path = dict.fromkeys(("account", "device", "link", "call", "ticket", "attachment"), "A" * 22)
    path |= {"account": other.id, "interest": "statistics", "purpose": "quality"}
    wrong: dict[str, set[str]] = {}
    async with aiohttp.ClientSession() as http:
        for endpoint in ENDPOINTS:
            url = hub.url + endpoint.path.format(**path)
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            sent = bodies(endpoint.body) if endpoint.body is not None else iter([None])
            if found := await broken(http, endpoint.method, url, headers, sent):
                wrong[endpoint.id] = found
    assert wrong == {}


async def test_no_body_of_the_operators_api_breaks_anything(hub):
    ada = await signed_in(hub, "ada")
    path = dict.fromkeys(ADMIN_PATHS, "A" * 22) | {"operator": "nobody", "pseudonym": "1" * 22}
    wrong: dict[str, set[str]] = {}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        for endpoint in ADMIN_ENDPOINTS:
            if endpoint.body is None:
                continue
            headers = {
                "Cookie": "; ".join(f"{name}={value}" for name, value in ada.cookies.items()),
                "X-CSRF-Token": ada.csrf,
                "Origin": hub.url,
            }
            url = hub.url + endpoint.path.format(**path)
            if found := await broken(http, endpoint.method, url, headers, bodies(endpoint.body)):
                wrong[endpoint.id] = found
    assert wrong == {}


BAD_QUERIES = [
    "%00",
    "%ED%A0%80",
    "%FF",
    "%F4%90%80%80",
    "9" * 16,
    "9" * 16 + "." + "A" * 22,
    "9999999999",
    "%",
    "&&==",
    "a" * 4_000,
    "\u0661",
]


async def test_no_query_and_no_path_breaks_anything(hub, book_redis):
    (account,) = await seed(hub.hub.database, book_redis, [1])
    ada = await signed_in(hub, "ada")
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in ada.cookies.items())}
    bearer = {"Authorization": f"Bearer {next(iter(account.devices.values()))}"}
    wrong: set[str] = set()
    asked = [
        (headers, endpoint.path, [query.name for query in endpoint.query])
        for headers, table in ((bearer, ENDPOINTS), (cookie, ADMIN_ENDPOINTS))
        for endpoint in table
        if endpoint.method == "GET"
    ]
    for headers, path, names in asked:
        for bad in BAD_QUERIES:
            shown = re.sub(r"\{\w+\}", "A" * 22, path)
            targets = [f"{shown}?{name}={bad}" for name in [*names, "unknown"]] + [f"{shown}?{bad}"]
            if "{" in path and "&" not in bad:
                targets.append(re.sub(r"\{\w+\}", bad, path))
            for target in targets:
                head = {**headers, "Connection": "close"}
                status = await raw(hub, f"GET {target} HTTP/1.1", {name: value.encode() for name, value in head.items()})
                if status >= 500:
                    wrong.add(f"{status} for {target}")
    assert wrong == set()


async def raw(hub, line: str, headers: dict[str, bytes], body: bytes = b"") -> int:
    """The status of a request that no library would send."""
    parts = urlsplit(hub.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    sent = {"Host": b"hub", "Connection": b"close", "Content-Length": str(len(body)).encode()} | headers
    head = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in sent.items())
    writer.write(line.encode() + b"\r\n" + head + b"\r\n" + body)
    async with asyncio.timeout(20):
        status = int((await reader.readline()).split()[1])
    writer.transport.abort()
    return status


@pytest.mark.parametrize("bad", [b"\xff\xfe", b"\xed\xa0\x80", "é\u2028".encode(), b"x" * 8_000, b"9" * 400])
async def test_no_header_breaks_anything(hub, bad):
    ada = await signed_in(hub, "ada")
    session = "; ".join(f"{name}={value}" for name, value in ada.cookies.items()).encode()
    login = json.dumps({"operator": "ada", "password": ada.password, "code": await ada.fresh()}).encode()
    asked = [
        ("POST /v1/admin/login HTTP/1.1", {"User-Agent": bad}, login),
        ("POST /v1/admin/login HTTP/1.1", {"Cookie": b"kloudtalk_operator_browser=" + bad}, login),
        ("POST /v1/admin/login HTTP/1.1", {"Cookie": bad}, login),
        ("POST /v1/admin/login HTTP/1.1", {"Origin": bad}, login),
        ("DELETE /v1/admin/session HTTP/1.1", {"Cookie": session, "X-CSRF-Token": bad}, b""),
        ("GET /v1/admin/me HTTP/1.1", {"Authorization": b"Bearer " + bad}, b""),
        ("GET /v1/admin/me HTTP/1.1", {"Cookie": b"kloudtalk_operator=" + bad}, b""),
        ("GET /v1/admin/login/oidc/callback?state=x&code=x HTTP/1.1", {"Cookie": b"kloudtalk_operator_oidc=" + bad}, b""),
        ("GET /v1/admin/stream HTTP/1.1", {"Cookie": bad}, b""),
        ("GET /v1/account HTTP/1.1", {"Authorization": b"Bearer " + bad}, b""),
        ("GET /v1/account HTTP/1.1", {"X-Forwarded-For": bad}, b""),
        ("GET /v1/account HTTP/1.1", {"Origin": bad}, b""),
        ("GET /v1/ws HTTP/1.1", {"Sec-WebSocket-Protocol": bad, "Upgrade": b"websocket", "Connection": b"Upgrade"}, b""),
        ("GET /v1/ws HTTP/1.1", {"Sec-WebSocket-Protocol": b"kloudtalk.v1", "Upgrade": b"websocket", "Connection": b"Upgrade", "Sec-WebSocket-Key": bad}, b""),
        ("POST /webhooks/payments HTTP/1.1", {"webhook-signature": bad, "webhook-id": bad, "webhook-timestamp": bad}, b"{}"),
        ("GET / HTTP/1.1", {"Accept-Language": bad, "If-None-Match": bad}, b""),
    ]  # fmt: skip
    answers = {f"{line} {list(headers)}": await raw(hub, line, headers, body) for line, headers, body in asked}
    assert {what: status for what, status in answers.items() if status >= 500} == {}
