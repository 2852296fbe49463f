"""Handlers of the operators' API on operators themselves: sign-in, one's own account, other operators, tokens, the audit trail."""

from msgspec import UNSET, Struct

from signaling.gateway.admin_request import AdminHandlers, AdminRequest, Cookie, Redirect, WithCookies
from signaling.operators.audit import AuditTrail, Entry
from signaling.operators.configured import OperatorParts
from signaling.operators.limits import OperatorLimits
from signaling.operators.login import SignIns
from signaling.operators.oidc import LIFETIME, SingleSignOn
from signaling.operators.passkeys import Passkeys
from signaling.operators.service import Operators
from signaling.operators.sessions import NewSession, OperatorSessions, OperatorTokens, SignedIn
from signaling.wire.admin import access
from signaling.wire.admin.access import SESSION_COOKIE, AuditEntry, AuditPage, AuditVerification, Me, SignedInOperator, SignInWays
from signaling.wire.admin.frame import Permission
from signaling.wire.errors import ErrorCode, Refused

_MARK = "kloudtalk_operator_browser"
"""Cookie: this browser has seen the operator sign in (``limits.py``)."""
_OIDC = "kloudtalk_operator_oidc"
"""Cookie: a single sign-on under way."""
_PATH = "/v1/admin"
_OIDC_PATH = "/v1/admin/login/oidc"
_MARK_DAYS = 180


def handlers(parts: OperatorParts, server_name: str) -> AdminHandlers:
    """All of them."""
    return {
        **sign_in_handlers(
            sign_ins=parts.sign_ins, passkeys=parts.passkeys, limits=parts.limits, sso=parts.sso, server_name=server_name
        ),
        **own_handlers(sign_ins=parts.sign_ins, sessions=parts.sessions, passkeys=parts.passkeys),
        **operator_handlers(operators=parts.operators, sessions=parts.sessions, tokens=parts.tokens, audit=parts.audit),
    }


def sign_in_handlers(
    *, sign_ins: SignIns, passkeys: Passkeys, limits: OperatorLimits, sso: SingleSignOn | None, server_name: str
) -> AdminHandlers:
    """Ways in."""

    def started(new: NewSession, mark: str = "") -> tuple[Cookie, ...]:
        # the browser forgets the session when it ends; the hub when it has lasted too long
        cookies = [Cookie(SESSION_COOKIE, new.token, _PATH)]
        if mark:
            cookies.append(Cookie(_MARK, mark, _PATH, max_age=_MARK_DAYS * 86_400))
        return tuple(cookies)

    def remembered(new: NewSession) -> WithCookies:
        return WithCookies(shown(new.signed_in), started(new, limits.new_mark(new.signed_in.operator.name)))

    async def ways(_request: AdminRequest) -> Struct:
        return SignInWays(server_name, UNSET if sso is None else sso.settings.label)

    async def login(request: AdminRequest) -> Struct:
        mark = request.cookies.get(_MARK, "")
        return remembered(await sign_ins.with_password(request.body, address=request.address, mark=mark, agent=request.agent))

    async def enrol(request: AdminRequest) -> Struct:
        return await sign_ins.enrol(request.body.operator, request.body.code, request.address)

    async def finish_enrolment(request: AdminRequest) -> Struct:
        return remembered(await sign_ins.finish_enrolment(request.body, request.address, request.agent))

    async def passkey_options(request: AdminRequest) -> Struct:
        return access.PasskeyOptions(passkeys.request_options(request.host))

    async def passkey(request: AdminRequest) -> Struct:
        new = await sign_ins.with_passkey(request.body.credential, host=request.host, origin=request.origin, agent=request.agent)
        return remembered(new)

    async def oidc(request: AdminRequest) -> Struct:
        if sso is None:
            raise Refused(ErrorCode.NOT_FOUND, "there is no single sign-on here")
        location, kept = await sso.begin(request.origin + _OIDC_PATH + "/callback")
        return Redirect(location, (Cookie(_OIDC, kept, _OIDC_PATH, max_age=LIFETIME, lax=True),))

    async def oidc_callback(request: AdminRequest) -> Struct:
        if sso is None:
            raise Refused(ErrorCode.NOT_FOUND, "there is no single sign-on here")
        over = Cookie(_OIDC, "", _OIDC_PATH, lax=True)
        try:
            who = await sso.finish(request.cookies.get(_OIDC, ""), request.query)
            new = await sign_ins.with_single_sign_on(
                issuer=who.issuer, subject=who.subject, name=who.name, role=who.role, agent=request.agent
            )
        except Refused as refused:  # a person looks at this: the page says what went wrong
            return Redirect(f"/operator/#refused={refused.code}", (over,))
        return Redirect("/operator/", (over, *started(new)))

    return {
        "admin.ways": ways,
        "admin.login": login,
        "admin.enrol": enrol,
        "admin.finish_enrolment": finish_enrolment,
        "admin.passkey_options": passkey_options,
        "admin.passkey": passkey,
        "admin.oidc": oidc,
        "admin.oidc_callback": oidc_callback,
    }


def own_handlers(*, sign_ins: SignIns, sessions: OperatorSessions, passkeys: Passkeys) -> AdminHandlers:
    """What everyone may do for themselves."""

    async def logout(request: AdminRequest) -> Struct:
        await sessions.end(request.operator, request.signed_in.session)
        return WithCookies(None, (Cookie(SESSION_COOKIE, "", _PATH),))

    async def me(request: AdminRequest) -> Struct:
        name = request.operator.name
        return Me(shown(request.signed_in), await passkeys.list(name), await sign_ins.has_password(name))

    async def change_password(request: AdminRequest) -> None:
        await sign_ins.change_password(request.operator, request.signed_in.session, request.body)

    async def passkey_options(request: AdminRequest) -> Struct:
        await sign_ins.prove_password(request.operator, request.body.password)
        return access.PasskeyOptions(await passkeys.creation_options(request.operator, request.host))

    async def add_passkey(request: AdminRequest) -> Struct:
        body: access.AddPasskey = request.body
        return await passkeys.add(request.operator, body.name, body.credential, host=request.host, origin=request.origin)

    async def remove_passkey(request: AdminRequest) -> None:
        await passkeys.remove(request.operator, request.path["passkey"])

    async def list_sessions(request: AdminRequest) -> Struct:
        return access.OperatorSessions(await sessions.list(request.operator.name, request.signed_in.session))

    async def end_session(request: AdminRequest) -> None:
        await sessions.end(request.operator, request.path["session"])

    return {
        "admin.logout": logout,
        "me.get": me,
        "me.change_password": change_password,
        "me.passkey_options": passkey_options,
        "me.add_passkey": add_passkey,
        "me.remove_passkey": remove_passkey,
        "me.sessions": list_sessions,
        "me.end_session": end_session,
    }


def operator_handlers(
    *, operators: Operators, sessions: OperatorSessions, tokens: OperatorTokens, audit: AuditTrail
) -> AdminHandlers:
    """What administrators do."""

    async def list_operators(_request: AdminRequest) -> Struct:
        return access.OperatorList(await operators.list())

    async def add(request: AdminRequest) -> Struct:
        return await operators.add(request.operator, request.body.operator, request.body.role)

    async def change(request: AdminRequest) -> Struct:
        return await operators.change(request.operator, request.path["operator"], request.body)

    async def invite(request: AdminRequest) -> Struct:
        return await operators.invite(request.operator, request.path["operator"])

    async def remove(request: AdminRequest) -> None:
        await operators.remove(request.operator, request.path["operator"])

    async def list_sessions(request: AdminRequest) -> Struct:
        name = (await operators.get(request.path["operator"])).operator
        return access.OperatorSessions(await sessions.list(name, request.signed_in.session))

    async def end_sessions(request: AdminRequest) -> None:
        await operators.end_sessions(request.operator, request.path["operator"])

    async def list_tokens(_request: AdminRequest) -> Struct:
        return access.TokenList(await tokens.list())

    async def add_token(request: AdminRequest) -> Struct:
        return await tokens.add(request.operator, request.body)

    async def revoke_token(request: AdminRequest) -> None:
        await tokens.revoke(request.operator, request.path["token"])

    async def trail(request: AdminRequest) -> Struct:
        limit = int(request.query.get("limit", "100"))
        before = request.query.get("before")
        entries = await audit.page(before=None if before is None else int(before), limit=limit)
        more = len(entries) == limit and entries[-1].seq > 1
        return AuditPage([_line(entry) for entry in entries], entries[-1].seq if more else UNSET)

    async def verify(_request: AdminRequest) -> Struct:
        found = await audit.verify()
        broken = UNSET if found.broken_at is None else found.broken_at
        return AuditVerification(found.entries, found.broken_at is None, found.head, broken)

    return {
        "operators.list": list_operators,
        "operators.add": add,
        "operators.change": change,
        "operators.invite": invite,
        "operators.remove": remove,
        "operators.sessions": list_sessions,
        "operators.end_sessions": end_sessions,
        "admin_tokens.list": list_tokens,
        "admin_tokens.add": add_token,
        "admin_tokens.revoke": revoke_token,
        "audit.list": trail,
        "audit.verify": verify,
    }


def shown(signed_in: SignedIn) -> SignedInOperator:
    """Who is signed in, as the page sees it."""
    operator = signed_in.operator
    return SignedInOperator(
        operator=operator.name,
        role=operator.role,
        permissions=[permission for permission in Permission if permission in operator.permissions],
        csrf=signed_in.csrf,
        method=signed_in.method,
        expires_at=signed_in.expires_at,
    )


def _line(entry: Entry) -> AuditEntry:
    return AuditEntry(entry.seq, entry.at, entry.operator, entry.action, entry.subject, entry.reason, entry.via)
