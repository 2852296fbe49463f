"""Operators for tests: people who sign in over HTTP as their browsers do, and a software authenticator for passkeys."""

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import cbor2
import msgspec
import pyotp
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import update

from signaling.operators.operator import OperatorError
from signaling.storage.tables import operators
from signaling.wire import base64url
from signaling.wire.admin.access import SESSION_COOKIE
from signaling.wire.admin.endpoints import ADMIN_ENDPOINTS
from signaling.wire.admin.frame import Role

PASSWORD = "a horse, a battery & 3 staples"
ENDPOINTS = {endpoint.id: endpoint for endpoint in ADMIN_ENDPOINTS}


@dataclass
class Answer:
    """Status, JSON body (or bytes), headers."""

    status: int
    body: Any
    headers: Any

    @property
    def code(self) -> str | None:
        """The error code of a refusal."""
        return self.body.get("code") if isinstance(self.body, dict) and self.status >= 400 else None


@dataclass
class Person:
    """An operator with a browser: cookies, the CSRF token, an authenticator app."""

    url: str
    name: str = ""
    csrf: str = ""
    secret: str = ""
    password: str = PASSWORD
    token: str | None = None
    origin: str | None = None
    cookies: dict[str, str] = field(default_factory=dict)
    running: Any = None
    """The hub, when the test has it: its memory of used codes is cleared, so that nobody waits half a minute for the next."""

    async def ask(
        self, operation: str, body: Any = None, *, query: dict | None = None, headers: dict | None = None, **path: str
    ) -> Answer:
        """One operation of the table."""
        endpoint = ENDPOINTS[operation]
        return await self.send(endpoint.method, endpoint.path.format(**path), body, query=query, headers=headers)

    async def send(
        self, method: str, path: str, body: Any = None, *, query: dict | None = None, headers: dict | None = None
    ) -> Answer:
        """Any request, with what a browser adds."""
        sent = {"Origin": self.origin or self.url, "User-Agent": "a test's browser"}
        if self.csrf:
            sent["X-CSRF-Token"] = self.csrf
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        elif self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {name: value for name, value in (sent | (headers or {})).items() if value is not None}
        data = None if body is None else msgspec.json.encode(body)
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
            http.request(method, self.url + path, data=data, params=query, headers=sent, allow_redirects=False) as response,
        ):
            content = await response.read()
            for name, morsel in response.cookies.items():
                if morsel.value:
                    self.cookies[name] = morsel.value
                else:
                    self.cookies.pop(name, None)
            is_json = response.content_type == "application/json"
            return Answer(response.status, json.loads(content) if is_json else content, response.headers)

    def code(self) -> str:
        """What the authenticator shows."""
        return pyotp.TOTP(self.secret).now()

    async def fresh(self) -> str:
        """The same, and the hub has not seen it yet."""
        async with self.running.hub.database.begin() as connection:
            await connection.execute(update(operators).values(totp_step=0))
        return self.code()

    async def login(self, **changes: str) -> Answer:
        """Sign in with password and authenticator."""
        body = {"operator": self.name, "password": self.password, "code": changes.pop("code", None) or await self.fresh()} | changes
        return self._signed(await self.ask("admin.login", body))

    def _signed(self, answer: Answer) -> Answer:
        if answer.status == 200:
            self.csrf = answer.body["csrf"]
        return answer

    async def enrol(self, invitation: str) -> Answer:
        """Choose the password, take the second factor, sign in."""
        begun = await self.ask("admin.enrol", {"operator": self.name, "code": invitation})
        if begun.status != 200:
            return begun
        self.secret = begun.body["totp_secret"]
        body = {"operator": self.name, "code": invitation, "password": self.password, "totp_code": self.code()}
        return self._signed(await self.ask("admin.finish_enrolment", body))

    async def sign(self, authenticator: "Authenticator") -> Answer:
        """Sign in with a passkey."""
        options = (await self.ask("admin.passkey_options")).body["options"]
        return self._signed(await self.ask("admin.passkey", {"credential": authenticator.get(options, self.origin or self.url)}))


async def signed_in(running, name: str, role: Role = Role.ADMIN) -> Person:
    """An operator of this role, invited on the machine, enrolled and signed in."""
    person = Person(running.url, name, running=running)
    try:
        invitation = (await running.hub.operators.operators.add(None, name, role)).code
    except OperatorError:
        invitation = (await running.hub.operators.operators.invite(None, name)).code
    answer = await person.enrol(invitation)
    assert answer.status == 200, answer.body
    assert SESSION_COOKIE in person.cookies
    return person


class Authenticator:
    """A passkey in software (WebAuthn Level 3): one ES256 key, user verified."""

    def __init__(self, *, verified: bool = True) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.id = secrets.token_bytes(32)
        self.uses = 0
        self.flags = 0x01 | (0x04 if verified else 0)

    def create(self, options: dict, origin: str) -> dict:
        """``navigator.credentials.create`` with ``toJSON``."""
        numbers = self.key.public_key().public_numbers()
        cose = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")})
        attested = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + cose
        data = self._data(options["rp"]["id"], 0x40) + attested
        told = self._told("webauthn.create", options["challenge"], origin)
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        return self._json({"clientDataJSON": base64url.encode(told), "attestationObject": base64url.encode(attestation)})

    def get(self, options: dict, origin: str) -> dict:
        """``navigator.credentials.get`` with ``toJSON``."""
        self.uses += 1
        data = self._data(options["rpId"])
        told = self._told("webauthn.get", options["challenge"], origin)
        signature = self.key.sign(data + hashlib.sha256(told).digest(), ec.ECDSA(hashes.SHA256()))
        parts = {"clientDataJSON": told, "authenticatorData": data, "signature": signature}
        return self._json({name: base64url.encode(value) for name, value in parts.items()})

    def _data(self, host: str, more: int = 0) -> bytes:
        return hashlib.sha256(host.encode()).digest() + bytes([self.flags | more]) + self.uses.to_bytes(4, "big")

    def _told(self, kind: str, challenge: str, origin: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": origin, "crossOrigin": False}).encode()

    def _json(self, response: dict) -> dict:
        name = base64url.encode(self.id)
        return {"id": name, "rawId": name, "type": "public-key", "response": response, "clientExtensionResults": {}}
