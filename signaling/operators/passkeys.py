"""Passkeys (WebAuthn Level 3) by the library ``webauthn``: a key in the operator's device or security key that signs for this host only,
and asks for a PIN or a finger: two factors in one.

A challenge is not kept: it carries its time and a MAC, and is good once, for five minutes.
"""

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from msgspec import UNSET
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from signaling.operators.audit import Action, AuditTrail
from signaling.operators.limits import OperatorLimits
from signaling.operators.operator import NoSuchThing, Operator
from signaling.operators.references import new_reference
from signaling.storage.sql import Database
from signaling.storage.tables import operator_passkeys
from signaling.wire import base64url
from signaling.wire.admin.access import Passkey
from signaling.wire.errors import ErrorCode, Refused

_LIFETIME: Final = 300
"""Seconds that a challenge is good for."""
_MAX: Final = 10
"""Passkeys of one operator."""
_DEFECTS: Final = (WebAuthnException, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError, UnicodeError)
"""What the library and its decoders raise for bytes that are not what they should be."""


class Passkeys:
    """Adds, verifies and removes passkeys."""

    def __init__(
        self,
        *,
        database: Database,
        audit: AuditTrail,
        limits: OperatorLimits,
        pepper: bytes,
        server_name: str,
        clock: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database = database
        self._audit = audit
        self._limits = limits
        self._key = hmac.digest(pepper, b"passkey challenges", hashlib.sha256)
        self._server_name = server_name
        self._clock = clock
        self._token_bytes = token_bytes

    async def creation_options(self, operator: Operator, host: str) -> dict[str, Any]:
        """What a browser needs to make a passkey for this host (relying party id)."""
        query = select(operator_passkeys.c.credential).where(operator_passkeys.c.operator == operator.name)
        known = [PublicKeyCredentialDescriptor(id=row.credential) for row in await self._database.fetch(query)]
        options = generate_registration_options(
            rp_id=host,
            rp_name=self._server_name,
            user_id=hashlib.sha256(operator.name.encode()).digest(),
            user_name=operator.name,
            challenge=self._challenge(f"create:{operator.name}"),
            exclude_credentials=known,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
            ),
        )
        return _json(options_to_json(options))

    async def add(self, operator: Operator, name: str, credential: dict[str, Any], *, host: str, origin: str) -> Passkey:
        """Raises ``Refused`` (``passkey_invalid``)."""
        challenge = await self._used(credential, f"create:{operator.name}", ErrorCode.PASSKEY_INVALID)
        try:
            verified = verify_registration_response(
                credential=json.dumps(credential),
                expected_challenge=challenge,
                expected_rp_id=host,
                expected_origin=origin,
                require_user_verification=True,
            )
        except _DEFECTS:
            raise Refused(ErrorCode.PASSKEY_INVALID) from None
        passkey, now = new_reference(self._token_bytes), self._now()
        values = {"id": passkey, "operator": operator.name, "name": name, "created_at": now, "uses": verified.sign_count}
        try:
            async with self._database.begin() as connection:
                mine = select(func.count()).where(operator_passkeys.c.operator == operator.name)
                if (await connection.execute(mine)).scalar_one() >= _MAX:
                    raise Refused(ErrorCode.PASSKEY_INVALID, f"you have {_MAX} passkeys: remove one first")
                await connection.execute(
                    insert(operator_passkeys).values(
                        credential=verified.credential_id, public_key=verified.credential_public_key, **values
                    )
                )
                await self._audit.write(connection, operator, Action.PASSKEY_ADDED, operator.name)
        except IntegrityError:
            raise Refused(ErrorCode.PASSKEY_INVALID) from None
        return Passkey(passkey, name, now)

    def request_options(self, host: str) -> dict[str, Any]:
        """What a browser needs to sign in with a passkey of this host. The same for everybody: it says nothing of who has one."""
        options = generate_authentication_options(
            rp_id=host, challenge=self._challenge("request"), user_verification=UserVerificationRequirement.REQUIRED
        )
        return _json(options_to_json(options))

    async def verify(self, credential: dict[str, Any], *, host: str, origin: str) -> str:
        """The name of the operator whose passkey signed. Raises ``Refused`` (``sign_in_failed``)."""
        challenge = await self._used(credential, "request", ErrorCode.SIGN_IN_FAILED)
        try:
            named = base64url.decode(credential["rawId"])
            rows = await self._database.fetch(select(operator_passkeys).where(operator_passkeys.c.credential == named))
            if not rows:
                raise Refused(ErrorCode.SIGN_IN_FAILED)
            verified = verify_authentication_response(
                credential=json.dumps(credential),
                expected_challenge=challenge,
                expected_rp_id=host,
                expected_origin=origin,
                credential_public_key=rows[0].public_key,
                credential_current_sign_count=rows[0].uses,
                require_user_verification=True,
            )
        except _DEFECTS:
            raise Refused(ErrorCode.SIGN_IN_FAILED) from None
        changed = update(operator_passkeys).where(operator_passkeys.c.id == rows[0].id)
        async with self._database.begin() as connection:
            await connection.execute(changed.values(uses=verified.new_sign_count, used_at=self._now()))
        operator: str = rows[0].operator
        return operator

    async def list(self, name: str) -> list[Passkey]:
        """An operator's passkeys, oldest first."""
        query = select(operator_passkeys).where(operator_passkeys.c.operator == name).order_by(operator_passkeys.c.created_at)
        return [
            Passkey(row.id, row.name, row.created_at, UNSET if row.used_at is None else row.used_at)
            for row in await self._database.fetch(query)
        ]

    async def remove(self, operator: Operator, passkey: str) -> None:
        """Raises ``NoSuchThing``."""
        async with self._database.begin() as connection:
            gone = await connection.execute(
                delete(operator_passkeys).where(operator_passkeys.c.id == passkey, operator_passkeys.c.operator == operator.name)
            )
            if not gone.rowcount:
                raise NoSuchThing("there is no such passkey")
            await self._audit.write(connection, operator, Action.PASSKEY_REMOVED, operator.name)

    def _challenge(self, purpose: str) -> bytes:
        body = self._token_bytes(16) + int(self._clock()).to_bytes(8)
        return body + self._mac(purpose, body)

    async def _used(self, credential: dict[str, Any], purpose: str, code: ErrorCode) -> bytes:
        """The challenge that the credential answers to: one of ours, of this purpose, not too old, and not used before."""
        try:
            told = json.loads(base64url.decode(credential["response"]["clientDataJSON"]))
            challenge = base64url.decode(told["challenge"])
        except _DEFECTS:
            raise Refused(code) from None
        body, mac = challenge[:24], challenge[24:]
        if not hmac.compare_digest(mac, self._mac(purpose, body)) or self._clock() - int.from_bytes(body[16:]) > _LIFETIME:
            raise Refused(code)
        if not await self._limits.once("passkey_challenge", challenge.hex(), _LIFETIME):
            raise Refused(code)
        return challenge

    def _mac(self, purpose: str, body: bytes) -> bytes:
        return hmac.digest(self._key, purpose.encode() + b"\0" + body, hashlib.sha256)[:16]

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _json(text: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(text)
    return parsed
