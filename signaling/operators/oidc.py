"""Single sign-on by OpenID Connect (Core 1.0): code flow with PKCE (RFC 7636), state and nonce; ID tokens checked by PyJWT against the keys
of the provider, which its discovery document names. The role comes from a claim, anew with every sign-in.

What a sign-in under way needs (state, nonce, code verifier) is sealed into a cookie of the browser that began it: nothing is kept here.
"""

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import aiohttp
import jwt
import msgspec
from msgspec import Struct

from signaling.operators.operator import LOCAL
from signaling.operators.sealing import Sealer
from signaling.wire import base64url
from signaling.wire.admin.frame import ADMIN_PATHS, Role
from signaling.wire.errors import ErrorCode, Refused

LIFETIME: Final = 600
"""Seconds that a sign-in at the provider may take."""
_FRESH: Final = 3600.0
"""Seconds for which the provider's documents are good; unknown keys are looked for at once, but no more often than ``_AGAIN``."""
_AGAIN: Final = 30.0
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)
_MOST: Final = 262_144
"""Bytes of one answer."""
_LEEWAY: Final = 60
"""Seconds by which clocks may differ."""
_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures of the provider's own; never MACs, and never none."""
_CONTEXT: Final = "oidc"
_RANK: Final = (Role.VIEWER, Role.SUPPORT, Role.ADMIN)


class OidcSettings(Struct, frozen=True):
    """How this service is known to the provider. ``roles``: what a value of the claim gives."""

    issuer: str
    client_id: str
    client_secret: str | None
    scopes: tuple[str, ...]
    role_claim: str
    roles: Mapping[str, Role]
    name_claim: str
    label: str


class Begun(Struct, frozen=True):
    """A sign-in under way."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str
    at: int


class Identity(Struct, frozen=True):
    """Who the provider says it is."""

    issuer: str
    subject: str
    name: str
    role: Role


def role_of(claims: Mapping[str, Any], claim: str, roles: Mapping[str, Role]) -> Role | None:
    """The highest role that the claim's values give; None when they give none. Dots lead into objects (``realm_access.roles``) (pure)."""
    found: Any = claims.get(claim)
    if found is None:
        found = claims
        for part in claim.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    values = found if isinstance(found, list) else [found]
    given = {roles[value] for value in values if isinstance(value, str) and value in roles}
    return max(given, key=_RANK.index, default=None)


def name_of(claims: Mapping[str, Any], claim: str) -> str | None:
    """An operator's name made of a claim: of an address what is before the ``@``; None when nothing is left (pure)."""
    value = claims.get(claim)
    if not isinstance(value, str):
        return None
    name = re.sub(r"[^a-z0-9.-]+", "-", value.partition("@")[0].lower()).strip("-.")[:32]
    return name if re.match(ADMIN_PATHS["operator"], name) and name != LOCAL else None


def wrong_in(metadata: Mapping[str, Any], issuer: str) -> str | None:
    """What is wrong with a discovery document (OpenID Connect Discovery 1.0, sections 3 and 4.3), for the operator; None when it can be used
    (pure).

    Addresses are encrypted, unless the issuer's own, which the settings allow on this machine only, is not.
    """
    if metadata.get("issuer") != issuer:
        return "its issuer is not what oidc_issuer says"
    scheme = urlsplit(issuer).scheme
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"):
        if name not in metadata and name == "userinfo_endpoint":
            continue
        if not _is_address(metadata.get(name), {"https", scheme}):
            return f"{name} is not an address that begins with https://"
    methods = metadata.get("token_endpoint_auth_methods_supported", [])
    if not isinstance(methods, list):
        return "token_endpoint_auth_methods_supported is not a list"
    return None


def _is_address(value: Any, schemes: Collection[str]) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in schemes and bool(parts.hostname) and parts.username is None and not parts.fragment
    except ValueError:
        return False


class SingleSignOn:
    """One identity provider. Raises ``Refused`` (``sign_in_failed``, ``unavailable``)."""

    def __init__(self, settings: OidcSettings, sealer: Sealer, *, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self._sealer = sealer
        self._clock = clock
        self._http: aiohttp.ClientSession | None = None
        self._lock = asyncio.Lock()
        self._metadata: dict[str, Any] = {}
        self._metadata_at = 0.0
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._keys_at = 0.0

    async def close(self) -> None:
        """Close connections."""
        if self._http is not None:
            await self._http.close()

    async def begin(self, redirect_uri: str) -> tuple[str, str]:
        """The address at the provider to go to, and what the browser's cookie keeps until it is back."""
        metadata = await self._discover()
        begun = Begun(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            redirect_uri=redirect_uri,
            at=int(self._clock()),
        )
        challenge = base64url.encode(hashlib.sha256(begun.verifier.encode()).digest())
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self.settings.client_id,
                "redirect_uri": redirect_uri,
                "scope": " ".join(self.settings.scopes),
                "state": begun.state,
                "nonce": begun.nonce,
                "code_challenge": challenge,
                "code_challenge_method": "S256",
            }
        )
        where = str(metadata["authorization_endpoint"])
        sealed = self._sealer.seal(msgspec.json.encode(begun), _CONTEXT)
        return f"{where}{'&' if '?' in where else '?'}{query}", base64url.encode(sealed)

    async def finish(self, kept: str, query: Mapping[str, str]) -> Identity:
        """Who came back from the provider. ``kept``: the cookie; ``query``: what the provider sent along."""
        begun = self._opened(kept)
        if begun is None or not hmac.compare_digest(query.get("state", "").encode(), begun.state.encode()):
            raise Refused(ErrorCode.SIGN_IN_FAILED, "this sign-in was not begun in this browser, or too long ago: begin again")
        if query.get("iss", self.settings.issuer) != self.settings.issuer:
            raise Refused(ErrorCode.SIGN_IN_FAILED, "the answer came from another identity provider")
        if "code" not in query:
            raise Refused(ErrorCode.SIGN_IN_FAILED, "the identity provider did not sign you in")
        metadata = await self._discover()
        tokens = await self._exchange(metadata, query["code"], begun)
        claims = await self._verified(metadata, tokens.get("id_token"), begun.nonce)
        role = role_of(claims, self.settings.role_claim, self.settings.roles)
        if (role is None or name_of(claims, self.settings.name_claim) is None) and "userinfo_endpoint" in metadata:
            more = await self._ask(
                "GET", str(metadata["userinfo_endpoint"]), headers={"Authorization": f"Bearer {tokens.get('access_token')}"}
            )
            if more.get("sub") == claims["sub"]:
                claims = more | claims
                role = role_of(claims, self.settings.role_claim, self.settings.roles)
        name = name_of(claims, self.settings.name_claim)
        if role is None or name is None:
            raise Refused(ErrorCode.SIGN_IN_FAILED, "the identity provider gives you no role here")
        return Identity(self.settings.issuer, claims["sub"], name, role)

    def _opened(self, kept: str) -> Begun | None:
        try:
            clear = self._sealer.open(base64url.decode(kept), _CONTEXT)
        except ValueError:
            return None
        if clear is None:
            return None
        begun = msgspec.json.decode(clear, type=Begun)
        return begun if 0 <= self._clock() - begun.at <= LIFETIME else None

    async def _exchange(self, metadata: Mapping[str, Any], code: str, begun: Begun) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": begun.redirect_uri,
            "code_verifier": begun.verifier,
            "client_id": self.settings.client_id,
        }
        headers = {}
        secret = self.settings.client_secret
        methods = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if secret is not None and "client_secret_basic" in methods:
            pair = f"{_form_encoded(self.settings.client_id)}:{_form_encoded(secret)}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        elif secret is not None:
            form["client_secret"] = secret
        return await self._ask("POST", str(metadata["token_endpoint"]), data=form, headers=headers)

    async def _verified(self, metadata: Mapping[str, Any], token: Any, nonce: str) -> dict[str, Any]:
        """The ID token's claims (OpenID Connect Core, section 3.1.3.7)."""
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in _ALGORITHMS:
                raise Refused(ErrorCode.SIGN_IN_FAILED, "the identity provider signs in a way that is not taken")
            claims: dict[str, Any] = jwt.decode(
                token,
                await self._key(metadata, header.get("kid")),
                algorithms=[header["alg"]],
                audience=self.settings.client_id,
                issuer=self.settings.issuer,
                leeway=_LEEWAY,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, TypeError, ValueError):
            raise Refused(ErrorCode.SIGN_IN_FAILED, "the identity provider's word could not be verified") from None
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise Refused(ErrorCode.SIGN_IN_FAILED, "the identity provider's word is for another sign-in")
        if claims.get("azp", self.settings.client_id) != self.settings.client_id or not isinstance(claims["sub"], str):
            raise Refused(ErrorCode.SIGN_IN_FAILED, "the identity provider's word is for somebody else")
        return claims

    async def _key(self, metadata: Mapping[str, Any], kid: str | None) -> jwt.PyJWK:
        async with self._lock:
            age = self._clock() - self._keys_at
            if age > _FRESH or (kid not in self._keys and age > _AGAIN):
                found = jwt.PyJWKSet.from_dict(await self._ask("GET", str(metadata["jwks_uri"])))
                self._keys = {key.key_id: key for key in found.keys if key.public_key_use in (None, "sig")}
                self._keys_at = self._clock()
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        if kid not in self._keys:
            raise Refused(ErrorCode.SIGN_IN_FAILED, "the identity provider's word is signed with a key it does not name")
        return self._keys[kid]

    async def _discover(self) -> dict[str, Any]:
        async with self._lock:
            if self._clock() - self._metadata_at > _FRESH:
                found = await self._ask("GET", self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration")
                wrong = wrong_in(found, self.settings.issuer)
                if wrong is not None:
                    raise Refused(ErrorCode.UNAVAILABLE, f"the identity provider's discovery document: {wrong}")
                self._metadata, self._metadata_at = found, self._clock()
            return self._metadata

    async def _ask(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        """One request to the provider; its JSON object."""
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=_TIMEOUT)
        try:
            async with self._http.request(method, url, allow_redirects=False, **options) as response:
                if response.status != 200:
                    raise Refused(ErrorCode.SIGN_IN_FAILED, f"the identity provider refused ({response.status})")
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > _MOST:
                        raise Refused(ErrorCode.UNAVAILABLE, "the identity provider's answer is too long")
                return msgspec.json.decode(body, type=dict[str, Any])
        except (aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError, UnicodeError, RecursionError):
            raise Refused(ErrorCode.UNAVAILABLE, "the identity provider does not answer as it should", retry_after=5.0) from None


def _form_encoded(text: str) -> str:
    """RFC 6749, section 2.3.1."""
    return urlencode({"": text})[1:]
