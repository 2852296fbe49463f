"""Single sign-on against an identity provider that really signs: discovery, PKCE, nonce, roles, and what a forged answer gets."""

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from signaling.operators.oidc import wrong_in
from tests.integration.hub_fixture import RunningHub, beside
from tests.operators import Person, signed_in

CLIENT, SECRET = "kloudtalk", "a secret & more"


class Provider:
    """An OpenID Connect provider that signs in whoever ``claims`` says, and checks what it is sent."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.kid = "1"
        self.claims: dict = {"sub": "7", "preferred_username": "Ada", "groups": ["talk-admins"]}
        self.changes: dict = {}
        self.algorithm = "ES256"
        self.userinfo: dict = {}
        self.asked: dict[str, str] = {}
        self.begun: dict[str, dict[str, str]] = {}
        self.url = ""
        self.metadata: dict = {}

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self.discovery)
        app.router.add_get("/keys", self.keys)
        app.router.add_post("/token", self.token)
        app.router.add_get("/userinfo", self.who)
        return app

    async def discovery(self, request: web.Request) -> web.StreamResponse:
        """In two pieces, as a longer one would come."""
        metadata = {
            "issuer": self.url, "authorization_endpoint": self.url + "/authorize?x=1", "token_endpoint": self.url + "/token",
            "jwks_uri": self.url + "/keys", "userinfo_endpoint": self.url + "/userinfo",
        } | self.metadata  # fmt: skip
        body = json.dumps(metadata).encode()
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (body[:20], body[20:]):
            await response.write(piece)
            await asyncio.sleep(0.01)
        return response

    async def keys(self, _request: web.Request) -> web.Response:
        public = json.loads(ECAlgorithm.to_jwk(self.key.public_key()))
        return web.json_response({"keys": [public | {"kid": self.kid, "use": "sig", "alg": "ES256"}]})

    def authorize(self, location: str) -> dict[str, str]:
        """What the person's browser does at the provider; the query of the way back."""
        assert location.startswith(self.url + "/authorize?x=1&")
        query = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        assert (query["response_type"], query["client_id"], query["code_challenge_method"]) == ("code", CLIENT, "S256")
        code = f"code{len(self.begun)}"
        self.begun[code] = query
        return {"code": code, "state": query["state"], "iss": self.url}

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        begun = self.begun.pop(str(form["code"]), None)
        verifier = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        expected = "Basic " + base64.b64encode(b"kloudtalk:a+secret+%26+more").decode()
        if (
            begun is None
            or base64.urlsafe_b64encode(verifier).rstrip(b"=").decode() != begun["code_challenge"]
            or form["redirect_uri"] != begun["redirect_uri"]
            or request.headers.get("Authorization") != expected
        ):
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = int(time.time())
        claims = (
            {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": begun["nonce"]} | self.claims | self.changes
        )
        signing = b"x" * 32 if self.algorithm == "HS256" else None if self.algorithm == "none" else self.key
        signed = jwt.encode(claims, signing, algorithm=self.algorithm, headers={"kid": self.kid})
        return web.json_response({"id_token": signed, "access_token": "a", "token_type": "Bearer"})

    async def who(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer a"
        return web.json_response(self.userinfo)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    made = Provider()
    runner = web.AppRunner(made.application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def service(hub: RunningHub, provider: Provider) -> AsyncIterator[RunningHub]:
    """A hub with single sign-on."""
    async with beside(
        hub,
        admin_url="https://talk.example",
        oidc_issuer=provider.url,
        oidc_client_id=CLIENT,
        oidc_client_secret=SECRET,
        oidc_roles=("talk-admins=admin", "talk-desk=support"),
        oidc_label="Our staff",
    ) as running:
        yield running


async def sign_on(service: RunningHub, provider: Provider, **query: str) -> tuple[Person, str]:
    """The whole way of a browser; where it ends. ``query``: what is changed on the way back."""
    person = Person(service.url, origin="https://talk.example")
    begun = await person.ask("admin.oidc", headers={"Origin": None})
    assert begun.status == 302, begun.body
    cookie = begun.headers["Set-Cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=Lax", "Secure", "Path=/v1/admin/login/oidc", "Max-Age=600"))
    back = provider.authorize(begun.headers["Location"]) | query
    answer = await person.ask(
        "admin.oidc_callback", query={name: value for name, value in back.items() if value}, headers={"Origin": None}
    )
    assert answer.status == 302, answer.body
    assert "kloudtalk_operator_oidc" not in person.cookies
    return person, answer.headers["Location"]


async def test_who_has_a_role_at_the_provider_is_an_operator_here(service, provider):
    ways = (await Person(service.url).ask("admin.ways")).body
    assert ways == {"server_name": "KloudTalk", "single_sign_on": "Our staff"}
    person, end = await sign_on(service, provider)
    assert end == "/operator/"
    me = (await person.ask("me.get")).body
    assert (me["signed_in"]["operator"], me["signed_in"]["role"], me["signed_in"]["method"]) == ("ada", "admin", "oidc")
    assert not me["has_password"]
    person.csrf = me["signed_in"]["csrf"]
    assert (await person.ask("operators.add", {"operator": "bea", "role": "viewer"})).status == 201
    provider.claims["groups"] = ["talk-desk", "others"]
    provider.key, provider.kid = ec.generate_private_key(ec.SECP256R1()), "2"  # the provider's keys change
    service.hub.operators.sso._keys_at -= 60
    person, _ = await sign_on(service, provider)
    me = (await person.ask("me.get")).body
    assert (me["signed_in"]["operator"], me["signed_in"]["role"]) == ("ada", "support")
    listed = {o["operator"]: o for o in (await (await signed_in(service, "root")).ask("operators.list")).body["operators"]}
    assert listed["ada"]["single_sign_on"]
    assert [(e.action, e.reason) for e in await service.hub.audit.read() if e.subject == "ada"] == [
        ("operator_added", "admin, by single sign-on"), ("signed_in", "oidc"),
        ("operator_changed", "role support, by single sign-on"), ("signed_in", "oidc"),
    ]  # fmt: skip


async def test_roles_may_come_from_userinfo_of_the_same_person(service, provider):
    del provider.claims["groups"]
    provider.userinfo = {"sub": "8", "groups": ["talk-admins"]}
    assert (await sign_on(service, provider))[1] == "/operator/#refused=sign_in_failed"
    provider.userinfo["sub"] = "7"
    assert (await sign_on(service, provider))[1] == "/operator/"


async def test_what_is_forged_stale_or_of_no_role_is_refused(service, provider):
    refused = "/operator/#refused=sign_in_failed"
    for query in ({"state": "x"}, {"code": "made-up"}, {"iss": "https://evil.example"}, {"code": "", "error": "access_denied"}):
        assert (await sign_on(service, provider, **query))[1] == refused, query
    now = int(time.time())
    for changes in (
        {"nonce": "another"}, {"aud": "another"}, {"iss": "https://evil.example"}, {"exp": now - 120}, {"iat": now + 600}, {"azp": "another"},
        {"groups": []}, {"preferred_username": "local"}, {"sub": 7},
    ):  # fmt: skip
        provider.changes = changes
        assert (await sign_on(service, provider))[1] == refused, changes
    provider.changes = {}
    for algorithm in ("HS256", "none"):
        provider.algorithm = algorithm
        assert (await sign_on(service, provider))[1] == refused, algorithm
    provider.algorithm = "ES256"
    assert (await sign_on(service, provider))[1] == "/operator/"
    provider.key = ec.generate_private_key(ec.SECP256R1())  # not the one that it named
    assert (await sign_on(service, provider))[1] == refused
    stranger = Person(service.url, origin="https://talk.example")
    answer = await stranger.ask("admin.oidc_callback", query={"code": "c", "state": "s"})
    assert answer.headers["Location"] == refused


async def test_a_name_that_somebody_has_is_not_taken_over(service, provider):
    await signed_in(service, "ada")
    assert (await sign_on(service, provider))[1] == "/operator/#refused=sign_in_failed"


async def test_a_disabled_operator_stays_out_and_without_a_provider_there_is_no_way(service, provider, hub):
    await sign_on(service, provider)
    root = await signed_in(service, "root")
    assert (await root.ask("operators.change", {"disabled": True}, operator="ada")).status == 200
    assert (await sign_on(service, provider))[1] == "/operator/#refused=sign_in_failed"
    assert (await root.ask("operators.invite", operator="ada")).code == "not_possible"
    assert (await Person(hub.url).ask("admin.oidc")).code == "not_found"


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "https://evil.example"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": None},
        {"token_endpoint": "ftp://idp.example/token"},
        {"token_endpoint": "https://"},
        {"jwks_uri": ["https://idp.example/keys"]},
        {"jwks_uri": "https://name:word@idp.example/keys"},
        {"userinfo_endpoint": "/userinfo"},
        {"token_endpoint_auth_methods_supported": 7},
        {"padding": "x" * 300_000},
    ],
)
async def test_a_discovery_document_that_is_not_as_it_should_be_is_not_used(service, provider, wrong):
    provider.metadata = wrong
    answer = await Person(service.url, origin="https://talk.example").ask("admin.oidc", headers={"Origin": None})
    assert answer.code == "unavailable" or answer.headers["Location"] == "/operator/#refused=unavailable", answer.body
    provider.metadata = {}
    assert (await sign_on(service, provider))[1] == "/operator/"


def test_addresses_of_a_provider_that_is_not_on_this_machine_are_encrypted():
    issuer = "https://idp.example"
    good = {"issuer": issuer} | dict.fromkeys(("authorization_endpoint", "token_endpoint", "jwks_uri"), issuer + "/x")
    assert wrong_in(good, issuer) is None
    for name in good.keys() - {"issuer"}:
        assert wrong_in(good | {name: "http://idp.example/x"}, issuer) == f"{name} is not an address that begins with https://"
