"""Handlers of the operators' API on written requests (P24) and on what partners may get (P25)."""

from msgspec import UNSET, Struct

from signaling.gateway.admin_request import AdminHandlers, AdminRequest
from signaling.gateway.request import Download
from signaling.operators.operator import OperatorError
from signaling.privacy.aggregates import AggregateService
from signaling.privacy.request_rules import Evidence, Kind
from signaling.privacy.requests import RequestService, RequestView
from signaling.wire.admin.people import OpenRequest, PartnerCounts, VerifyRequest, WrittenRequest, WrittenRequests
from signaling.wire.errors import ErrorCode, Refused


def handlers(requests: RequestService, aggregates: AggregateService) -> AdminHandlers:
    """Every step of a request, and the counts."""

    async def list_requests(_request: AdminRequest) -> Struct:
        return WrittenRequests([_shown(view) for view in await requests.list()])

    async def open_request(request: AdminRequest) -> Struct:
        body: OpenRequest = request.body
        if (body.phone is UNSET) == (body.email is UNSET):
            raise Refused(ErrorCode.INVALID, "say `phone` or `email`, one of the two")
        return _shown(await requests.open(request.operator, body.kind, phone=body.phone or "", email=body.email or ""))

    async def get(request: AdminRequest) -> Struct:
        return _shown(await requests.get(request.path["request"]))

    async def send_code(request: AdminRequest) -> None:
        await requests.send_code(request.operator, request.path["request"], request.body.channel)

    async def verify(request: AdminRequest) -> Struct:
        body: VerifyRequest = request.body
        if body.code is not UNSET and body.document is UNSET:
            return _shown(await requests.verify_code(request.operator, request.path["request"], body.code))
        if body.document is not UNSET and body.code is UNSET:
            return _shown(await requests.verify_document(request.operator, request.path["request"], Evidence(body.document.value)))
        raise Refused(ErrorCode.INVALID, "say `code` or `document`, one of the two")

    async def confirm(request: AdminRequest) -> Struct:
        return _shown(await requests.confirm(request.operator, request.path["request"]))

    async def fulfil(request: AdminRequest) -> Struct:
        async def has_an_archive(_archive: bytes) -> None:
            raise OperatorError("this is an access request: fetch its archive, which fulfils it")

        return _shown(await requests.fulfil(request.operator, request.path["request"], has_an_archive))

    async def archive(request: AdminRequest) -> Struct:
        made: list[bytes] = []

        async def take(content: bytes) -> None:
            made.append(content)

        name = request.path["request"]
        if (await requests.get(name)).kind is not Kind.ACCESS:
            raise OperatorError("only an access request has an archive")
        await requests.fulfil(request.operator, name, take)
        return Download(made[0], f"kloudtalk-export-{name}.zip")

    async def reject(request: AdminRequest) -> Struct:
        return _shown(await requests.reject(request.operator, request.path["request"]))

    async def counts(request: AdminRequest) -> Struct:
        return PartnerCounts((await aggregates.read(request.operator)).accounts_by_country)

    return {
        "requests.list": list_requests,
        "requests.open": open_request,
        "requests.get": get,
        "requests.send_code": send_code,
        "requests.verify": verify,
        "requests.confirm": confirm,
        "requests.fulfil": fulfil,
        "requests.archive": archive,
        "requests.reject": reject,
        "aggregates.read": counts,
    }


def _shown(view: RequestView) -> WrittenRequest:
    return WrittenRequest(
        id=view.id,
        kind=view.kind,
        state=view.state,
        opened_by=view.opened_by,
        opened_at=view.opened_at,
        verified_by=view.verified_by or UNSET,
        evidence=view.evidence or UNSET,
        confirmed_by=view.confirmed_by or UNSET,
        closed_at=view.closed_at or UNSET,
    )
