"""Operators and how they get in: sign-in, enrolment, one's own account, other operators, tokens, the audit trail."""

from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from signaling.wire.admin.frame import Access, AdminEndpoint, OperatorName, Permission, Role
from signaling.wire.errors import ErrorCode
from signaling.wire.ids import ID_PATTERN, Millis
from signaling.wire.rest import Query

SESSION_COOKIE: Final = "kloudtalk_operator"
"""The cookie of a session."""
CSRF_HEADER: Final = "X-CSRF-Token"
"""The header that must come with what a session changes."""
MAX_TOKEN_DAYS: Final = 366
"""Days for which a token can hold."""

Password = Annotated[str, Meta(min_length=1, max_length=256, description="a password")]
TotpCode = Annotated[str, Meta(pattern=r"^[0-9]{6}\Z", description="6 digits of an authenticator app (RFC 6238)")]
EnrolmentCode = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", description="256 bits, hex: what an invited operator was given")]
Id = Annotated[str, Meta(pattern=ID_PATTERN, description="128 bits, base64url")]
Label = Annotated[str, Meta(min_length=1, max_length=64, description="so that it is known again")]


class SignInWays(Struct, frozen=True, omit_defaults=True):
    """Ways to sign in here."""

    server_name: str
    single_sign_on: str | UnsetType = UNSET
    """What the button says, when there is a single sign-on: ``GET /v1/admin/login/oidc``."""


class Login(Struct, frozen=True):
    """Both factors at once: a wrong answer does not say which of them was wrong."""

    operator: Annotated[str, Meta(max_length=64)]
    password: Password
    code: TotpCode


class PasskeyOptions(Struct, frozen=True):
    """For ``navigator.credentials``, as JSON (WebAuthn Level 3, ``parseCreationOptionsFromJSON`` and ``parseRequestOptionsFromJSON``)."""

    options: dict[str, Any]


class PasskeyAnswer(Struct, frozen=True):
    """What the browser's credential gives as JSON (``PublicKeyCredential.toJSON``)."""

    credential: dict[str, Any]


class Enrol(Struct, frozen=True):
    """Begin an enrolment."""

    operator: OperatorName
    code: EnrolmentCode


class Enrolment(Struct, frozen=True):
    """The second factor of an operator who enrols; another each time it is asked for."""

    operator: str
    role: Role
    totp_secret: str
    """Base32 (RFC 4648), to be typed."""
    totp_uri: str
    """``otpauth://…``, to be scanned."""
    totp_qr: str
    """The same as a picture: ``data:image/svg+xml;…``."""


class FinishEnrolment(Struct, frozen=True):
    """The password of the operator's choice, and proof that the authenticator has the secret."""

    operator: OperatorName
    code: EnrolmentCode
    password: Password
    totp_code: TotpCode


class SignedInOperator(Struct, frozen=True):
    """Who is signed in. The session itself is in a cookie that scripts cannot read."""

    operator: str
    role: Role
    permissions: list[Permission]
    csrf: str
    """To be sent as ``X-CSRF-Token`` with everything that is not a GET."""
    method: str
    """``password``, ``passkey``, ``oidc``, or ``token``."""
    expires_at: Millis
    """When it ends at the latest."""


class Passkey(Struct, frozen=True, omit_defaults=True):
    """A passkey of the operator."""

    passkey: str
    name: str
    created_at: Millis
    used_at: Millis | UnsetType = UNSET


class Me(Struct, frozen=True):
    """The operator's own account."""

    signed_in: SignedInOperator
    passkeys: list[Passkey]
    has_password: bool
    """Whether the operator signs in here, rather than through the single sign-on."""


class ChangePassword(Struct, frozen=True):
    """A new password; every other session of the operator ends."""

    password: Password
    code: TotpCode
    new_password: Password


class ProvePassword(Struct, frozen=True):
    """The operator's password once more: a session that was left open adds no passkey."""

    password: Password


class AddPasskey(Struct, frozen=True):
    """A new passkey as the browser made it."""

    name: Label
    credential: dict[str, Any]


class OperatorSession(Struct, frozen=True):
    """A session of an operator."""

    session: str
    operator: str
    method: str
    agent: str
    """What the browser or program calls itself."""
    created_at: Millis
    seen_at: Millis
    """To the minute."""
    current: bool
    """The one that asks."""


class OperatorSessions(Struct, frozen=True):
    """Sessions, newest first."""

    sessions: list[OperatorSession]


class OperatorInfo(Struct, frozen=True, omit_defaults=True):
    """An operator, for who looks after operators."""

    operator: str
    role: Role
    created_at: Millis
    enrolled: bool
    """Has a password and a second factor, or comes from the single sign-on."""
    single_sign_on: bool = False
    passkeys: int = 0
    disabled_at: Millis | UnsetType = UNSET


class OperatorList(Struct, frozen=True):
    """Operators by name."""

    operators: list[OperatorInfo]


class AddOperator(Struct, frozen=True):
    """A new operator."""

    operator: OperatorName
    role: Role


class Invitation(Struct, frozen=True):
    """Shown once: the operator enrols with it, at ``/operator/#enrol``."""

    operator: str
    code: str
    expires_at: Millis


class ChangeOperator(Struct, frozen=True, omit_defaults=True):
    """What changes; what is left out stays."""

    role: Role | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class AddToken(Struct, frozen=True):
    """A token for a program. It may do what its scopes say and its owner may, whichever is less."""

    name: Label
    scopes: Annotated[list[Permission], Meta(min_length=1, max_length=32)]
    days: Annotated[int, Meta(ge=1, le=MAX_TOKEN_DAYS)] = 90


class TokenInfo(Struct, frozen=True, omit_defaults=True):
    """A token, without what it is."""

    id: str
    name: str
    operator: str
    """Whose it is."""
    scopes: list[Permission]
    created_at: Millis
    expires_at: Millis
    used_at: Millis | UnsetType = UNSET
    """To the minute."""


class NewToken(Struct, frozen=True):
    """Shown once; a hash of it is kept. Sent as ``Authorization: Bearer …``."""

    token: str
    info: TokenInfo


class TokenList(Struct, frozen=True):
    """Tokens that hold, newest first."""

    tokens: list[TokenInfo]


class AuditEntry(Struct, frozen=True, omit_defaults=True):
    """One line of the audit trail."""

    seq: int
    at: Millis
    operator: str
    """Who did it; ``local``: who administers the machine, on its command line."""
    action: str
    subject: str = ""
    """Whom or what it concerned: a request, a ticket, an operator, the pseudonym of an account."""
    reason: str = ""
    via: str = ""
    """The token that was used, if one was."""


class AuditPage(Struct, frozen=True, omit_defaults=True):
    """Entries, newest first."""

    entries: list[AuditEntry]
    next: int | UnsetType = UNSET
    """``before`` of the next page; absent on the last."""


class AuditVerification(Struct, frozen=True, omit_defaults=True):
    """Whether the trail is what was written."""

    entries: int
    whole: bool
    head: str
    """Digest of the newest entry: kept elsewhere, it shows later whether entries at the end were taken away."""
    broken_at: int | UnsetType = UNSET
    """The first entry that does not follow from the one before."""


_E = ErrorCode

ACCESS_ENDPOINTS: Final[tuple[AdminEndpoint, ...]] = (
    AdminEndpoint(
        id="admin.ways", method="GET", path="/v1/admin/login", summary="Ways to sign in", access=Access.PUBLIC, answer=SignInWays
    ),
    AdminEndpoint(
        id="admin.login",
        method="POST",
        path="/v1/admin/login",
        summary="Sign in with password and authenticator",
        access=Access.PUBLIC,
        body=Login,
        answer=SignedInOperator,
        errors=(_E.SIGN_IN_FAILED,),
    ),
    AdminEndpoint(
        id="admin.passkey_options",
        method="POST",
        path="/v1/admin/login/passkey/options",
        summary="Begin to sign in with a passkey",
        access=Access.PUBLIC,
        answer=PasskeyOptions,
    ),
    AdminEndpoint(
        id="admin.passkey",
        method="POST",
        path="/v1/admin/login/passkey",
        summary="Sign in with a passkey",
        access=Access.PUBLIC,
        body=PasskeyAnswer,
        answer=SignedInOperator,
        errors=(_E.SIGN_IN_FAILED,),
    ),
    AdminEndpoint(
        id="admin.oidc",
        method="GET",
        path="/v1/admin/login/oidc",
        summary="Begin the single sign-on (OpenID Connect): to the identity provider",
        access=Access.PUBLIC,
        status=302,
        errors=(_E.NOT_FOUND,),
    ),
    AdminEndpoint(
        id="admin.oidc_callback",
        method="GET",
        path="/v1/admin/login/oidc/callback",
        summary="Back from the identity provider; on to the operators' page",
        access=Access.PUBLIC,
        status=302,
        query=(
            Query("code", r"^[\x20-\x7e]{1,2048}\Z", "authorization code (RFC 6749)"),
            Query("state", r"^[\x20-\x7e]{1,512}\Z", "as it was sent"),
            Query("error", r"^[\x20-\x7e]{1,256}\Z", "why there is no code"),
            Query("error_description", r"^.{0,2048}\Z", "the same for people"),
            Query("error_uri", r"^.{0,2048}\Z", "the same, longer"),
            Query("iss", r"^[\x20-\x7e]{1,512}\Z", "issuer (RFC 9207)"),
            Query("session_state", r"^[\x20-\x7e]{0,512}\Z", "not used"),
        ),
        errors=(_E.NOT_FOUND, _E.SIGN_IN_FAILED),
    ),
    AdminEndpoint(
        id="admin.enrol",
        method="POST",
        path="/v1/admin/enrolment",
        summary="Begin an enrolment: a second factor to put into an authenticator",
        access=Access.PUBLIC,
        body=Enrol,
        answer=Enrolment,
        errors=(_E.ENROLMENT_INVALID,),
    ),
    AdminEndpoint(
        id="admin.finish_enrolment",
        method="PUT",
        path="/v1/admin/enrolment",
        summary="Finish an enrolment, and sign in",
        access=Access.PUBLIC,
        body=FinishEnrolment,
        answer=SignedInOperator,
        errors=(_E.ENROLMENT_INVALID, _E.PASSWORD_WEAK, _E.CODE_WRONG),
    ),
    AdminEndpoint(id="admin.logout", method="POST", path="/v1/admin/logout", summary="End this session", access=Access.SELF),
    AdminEndpoint(
        id="me.get", method="GET", path="/v1/admin/me", summary="The operator's own account", access=Access.SELF, answer=Me
    ),
    AdminEndpoint(
        id="me.change_password",
        method="PUT",
        path="/v1/admin/me/password",
        summary="Change the password; other sessions end",
        access=Access.SELF,
        body=ChangePassword,
        errors=(_E.SIGN_IN_FAILED, _E.PASSWORD_WEAK),
    ),
    AdminEndpoint(
        id="me.passkey_options",
        method="POST",
        path="/v1/admin/me/passkeys/options",
        summary="Begin to add a passkey",
        access=Access.SELF,
        body=ProvePassword,
        answer=PasskeyOptions,
        errors=(_E.SIGN_IN_FAILED,),
    ),
    AdminEndpoint(
        id="me.add_passkey",
        method="POST",
        path="/v1/admin/me/passkeys",
        summary="Add the passkey",
        access=Access.SELF,
        body=AddPasskey,
        answer=Passkey,
        status=201,
        errors=(_E.PASSKEY_INVALID,),
    ),
    AdminEndpoint(
        id="me.remove_passkey",
        method="DELETE",
        path="/v1/admin/me/passkeys/{passkey}",
        summary="Remove a passkey",
        access=Access.SELF,
        errors=(_E.NOT_FOUND,),
    ),
    AdminEndpoint(
        id="me.sessions",
        method="GET",
        path="/v1/admin/me/sessions",
        summary="The operator's sessions",
        access=Access.SELF,
        answer=OperatorSessions,
    ),
    AdminEndpoint(
        id="me.end_session",
        method="DELETE",
        path="/v1/admin/me/sessions/{session}",
        summary="End one of the operator's sessions",
        access=Access.SELF,
        errors=(_E.NOT_FOUND,),
    ),
    AdminEndpoint(
        id="operators.list",
        method="GET",
        path="/v1/admin/operators",
        summary="Operators",
        access=Permission.OPERATORS,
        answer=OperatorList,
    ),
    AdminEndpoint(
        id="operators.add",
        method="POST",
        path="/v1/admin/operators",
        summary="Invite an operator",
        access=Permission.OPERATORS,
        body=AddOperator,
        answer=Invitation,
        status=201,
        errors=(_E.NOT_POSSIBLE,),
    ),
    AdminEndpoint(
        id="operators.change",
        method="PATCH",
        path="/v1/admin/operators/{operator}",
        summary="Change the role, disable or enable; sessions of a disabled operator end",
        access=Permission.OPERATORS,
        body=ChangeOperator,
        answer=OperatorInfo,
        errors=(_E.NOT_FOUND, _E.NOT_POSSIBLE),
    ),
    AdminEndpoint(
        id="operators.invite",
        method="POST",
        path="/v1/admin/operators/{operator}/enrolment",
        summary="Invite an operator anew: password, authenticator, passkeys and sessions until now are void",
        access=Permission.OPERATORS,
        answer=Invitation,
        errors=(_E.NOT_FOUND, _E.NOT_POSSIBLE),
    ),
    AdminEndpoint(
        id="operators.remove",
        method="DELETE",
        path="/v1/admin/operators/{operator}",
        summary="Remove an operator for good; the name is not used again",
        access=Permission.OPERATORS,
        errors=(_E.NOT_FOUND, _E.NOT_POSSIBLE),
    ),
    AdminEndpoint(
        id="operators.sessions",
        method="GET",
        path="/v1/admin/operators/{operator}/sessions",
        summary="An operator's sessions",
        access=Permission.OPERATORS,
        answer=OperatorSessions,
        errors=(_E.NOT_FOUND,),
    ),
    AdminEndpoint(
        id="operators.end_sessions",
        method="DELETE",
        path="/v1/admin/operators/{operator}/sessions",
        summary="End all sessions of an operator",
        access=Permission.OPERATORS,
        errors=(_E.NOT_FOUND,),
    ),
    AdminEndpoint(
        id="admin_tokens.list",
        method="GET",
        path="/v1/admin/tokens",
        summary="Tokens for programs",
        access=Permission.TOKENS,
        answer=TokenList,
    ),
    AdminEndpoint(
        id="admin_tokens.add",
        method="POST",
        path="/v1/admin/tokens",
        summary="Make a token; it is shown once",
        access=Permission.TOKENS,
        body=AddToken,
        answer=NewToken,
        status=201,
        errors=(_E.NOT_POSSIBLE,),
    ),
    AdminEndpoint(
        id="admin_tokens.revoke",
        method="DELETE",
        path="/v1/admin/tokens/{token}",
        summary="Revoke a token",
        access=Permission.TOKENS,
        errors=(_E.NOT_FOUND,),
    ),
    AdminEndpoint(
        id="audit.list",
        method="GET",
        path="/v1/admin/audit",
        summary="The audit trail, newest first",
        access=Permission.AUDIT_READ,
        answer=AuditPage,
        query=(
            Query("before", r"^[1-9][0-9]{0,8}\Z", "`next` of the page before"),
            Query("limit", r"^([1-9][0-9]?|[1-4][0-9][0-9]|500)\Z", "entries a page, 1 to 500; default 100"),
        ),
    ),
    AdminEndpoint(
        id="audit.verify",
        method="GET",
        path="/v1/admin/audit/verification",
        summary="Check that the trail is whole",
        access=Permission.AUDIT_READ,
        answer=AuditVerification,
    ),
)
"""Operations on operators."""
