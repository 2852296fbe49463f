"""The operators' side of a hub, put together: ``app.py`` gives what it is made of."""

import hashlib
import hmac
from collections.abc import Sequence

from signaling.accounts.blocking import Blocking, BlockingEvents
from signaling.operators.accounts import AccountDesk
from signaling.operators.audit import AuditTrail
from signaling.operators.limits import OperatorLimits
from signaling.operators.login import SignIns
from signaling.operators.oidc import OidcSettings, SingleSignOn
from signaling.operators.passkeys import Passkeys
from signaling.operators.passwords import Passwords
from signaling.operators.pseudonyms import Pseudonyms
from signaling.operators.roles import parse_role
from signaling.operators.sealing import Sealer
from signaling.operators.service import Operators
from signaling.operators.sessions import OperatorSessions, OperatorTokens
from signaling.settings import Settings
from signaling.storage.redis import AnyRedis
from signaling.storage.sql import Database


class OperatorParts:
    """What a hub has for its operators. ``secret``: the hubs' common secret, from which keys are derived."""

    def __init__(
        self,
        settings: Settings,
        *,
        database: Database,
        redis: AnyRedis,
        events: BlockingEvents,
        pseudonyms: Pseudonyms,
        secret: bytes,
    ) -> None:
        pepper = hmac.digest(secret, b"kloudtalk/v1 operators", hashlib.sha256)
        name = settings.server_name
        sealer = Sealer(secret)
        self.audit = AuditTrail(database)
        self.limits = OperatorLimits(redis, pepper)
        self.sessions = OperatorSessions(
            database=database,
            audit=self.audit,
            idle=settings.operator_idle_minutes * 60,
            longest=settings.operator_session_hours * 3600,
        )
        self.tokens = OperatorTokens(database=database, audit=self.audit)
        self.operators = Operators(database=database, audit=self.audit, sessions=self.sessions)
        self.passkeys = Passkeys(database=database, audit=self.audit, limits=self.limits, pepper=pepper, server_name=name)
        self.sign_ins = SignIns(
            database=database,
            audit=self.audit,
            sessions=self.sessions,
            limits=self.limits,
            passwords=Passwords(),
            passkeys=self.passkeys,
            sealer=sealer,
            server_name=name,
        )
        self.sso = None if settings.oidc_issuer is None else SingleSignOn(oidc_settings(settings), sealer)
        blocking = Blocking(database=database, audit=self.audit, events=events)
        self.desk = AccountDesk(database=database, audit=self.audit, pseudonyms=pseudonyms, limits=self.limits, blocking=blocking)

    async def close(self) -> None:
        """Close connections."""
        if self.sso is not None:
            await self.sso.close()


def oidc_settings(settings: Settings) -> OidcSettings:
    """Raises ``ValueError`` when something is missing."""
    if settings.oidc_issuer is None or settings.oidc_client_id is None or not settings.oidc_roles:
        raise ValueError("oidc_issuer needs oidc_client_id and oidc_roles")
    return OidcSettings(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret,
        scopes=_with_openid(settings.oidc_scopes),
        role_claim=settings.oidc_role_claim,
        roles=dict(parse_role(text) for text in settings.oidc_roles),
        name_claim=settings.oidc_name_claim,
        label=settings.oidc_label,
    )


def _with_openid(scopes: Sequence[str]) -> tuple[str, ...]:
    return ("openid", *(scope for scope in scopes if scope != "openid"))
