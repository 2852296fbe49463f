"""The protocol documents, generated from the Structs: OpenAPI 3.1 for REST (users, operators), AsyncAPI 3.0 for the WebSocket.

``python -m signaling.wire.schema docs`` writes them; a test fails when they are not up to date.
"""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from signaling.wire.admin.access import CSRF_HEADER, SESSION_COOKIE
from signaling.wire.admin.endpoints import ADMIN_ENDPOINTS, ADMIN_EVENTS
from signaling.wire.admin.frame import Access, AdminEndpoint, AdminEvents
from signaling.wire.errors import ERRORS, ErrorCode
from signaling.wire.messages import SUBPROTOCOL, ClientMessage, ServerMessage
from signaling.wire.rest import ENDPOINTS, Auth, Endpoint, ErrorBody

VERSION: Final = "1"
"""Version of the protocol documents: the ``v1`` of ``kloudtalk.v1`` and ``/v1/``."""

ANY_REQUEST: Final = (
    ErrorCode.MALFORMED, ErrorCode.INVALID, ErrorCode.TOO_LARGE, ErrorCode.FORBIDDEN_ORIGIN, ErrorCode.RATE_LIMITED,
    ErrorCode.UNAVAILABLE, ErrorCode.INTERNAL,
)  # fmt: skip
"""Codes that any request may get."""


def portable(schema: Any) -> Any:
    r"""JSON Schema patterns are ECMA-262, which has no ``\Z``; there ``$`` without the m flag means the same."""
    if isinstance(schema, dict):
        return {
            key: value.replace(r"\Z", "$") if key == "pattern" and isinstance(value, str) else portable(value)
            for key, value in schema.items()
        }
    if isinstance(schema, list):
        return [portable(item) for item in schema]
    return schema


def openapi() -> dict[str, Any]:
    """The OpenAPI 3.1 document of the users' API."""
    return _document(
        ENDPOINTS,
        title="KloudTalk",
        summary="Accounts, devices, contacts, call history: everything that is not real time.",
        schemes={
            auth.value: {"type": "http", "scheme": "bearer", "description": text}
            for auth, text in (
                (Auth.SESSION, "The token of a device's session."),
                (Auth.REGISTRATION, "The token of a registration under way."),
                (Auth.LINK, "The token that a new device got for its claim."),
                (Auth.SERVICE, "The token that the server and a service of its operator derive from their secret."),
            )
        },
    )


def admin_openapi() -> dict[str, Any]:
    """The OpenAPI 3.1 document of the operators' API."""
    return _document(
        ADMIN_ENDPOINTS,
        title="KloudTalk for operators",
        summary="Operators and how they sign in; users' accounts under pseudonyms, support, written requests; calls and hubs.",
        schemes={
            "operator_session": {
                "type": "apiKey",
                "in": "cookie",
                "name": SESSION_COOKIE,
                "description": f"A person's session. What is not a GET needs `{CSRF_HEADER}` besides.",
            },
            "operator_token": {"type": "http", "scheme": "bearer", "description": "A program's token, `kta_…`, with scopes."},
        },
        streams=ADMIN_EVENTS,
    )


def _document(
    endpoints: Sequence[Endpoint | AdminEndpoint],
    *,
    title: str,
    summary: str,
    schemes: dict[str, dict[str, str]],
    streams: Sequence[AdminEvents] = (),
) -> dict[str, Any]:
    structs = {s for e in endpoints for s in (e.body, e.answer) if s is not None} | {ErrorBody}
    structs |= {struct for stream in streams for struct in stream.events.values()}
    ordered = sorted(structs, key=lambda s: s.__name__)
    refs, components = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    ref = dict(zip(ordered, refs, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, ref)
    for stream in streams:
        paths.setdefault(stream.path, {})["get"] = _stream(stream, ref)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": VERSION,
            "summary": summary,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": portable(components), "securitySchemes": schemes},
    }


def _who(endpoint: Endpoint | AdminEndpoint) -> tuple[list[dict[str, list[str]]], set[ErrorCode]]:
    """Who may ask, and the codes that others get."""
    if isinstance(endpoint, Endpoint):
        if endpoint.auth is Auth.NONE:
            return [], set()
        codes = {ErrorCode.UNAUTHENTICATED}
        if endpoint.auth is Auth.SESSION and not endpoint.when_restricted:
            codes |= {ErrorCode.RESTRICTED} if endpoint.when_blocked else {ErrorCode.RESTRICTED, ErrorCode.BLOCKED}
        if endpoint.auth is Auth.SESSION and not endpoint.when_unacknowledged:
            codes.add(ErrorCode.POLICY_NOT_ACKNOWLEDGED)
        return [{endpoint.auth.value: []}], codes
    if endpoint.access is Access.PUBLIC:
        return [], set()
    codes = {ErrorCode.UNAUTHENTICATED, ErrorCode.FORBIDDEN}
    if endpoint.method != "GET":
        codes.add(ErrorCode.CSRF_TOKEN_WRONG)
    if endpoint.access is Access.SELF:
        return [{"operator_session": []}], codes
    return [{"operator_session": []}, {"operator_token": [endpoint.access.value]}], codes


def _stream(stream: AdminEvents, ref: dict[Any, Any]) -> dict[str, Any]:
    """OpenAPI 3.1 has no words for the events of a stream: they are text, and ``x-events`` says what each one's data is."""
    looks = AdminEndpoint(
        id=stream.id, method="GET", path=stream.path, summary=stream.summary, access=stream.access, query=stream.query
    )
    operation = _operation(looks, ref)
    del operation["responses"]["204"]
    told = {"schema": {"type": "string"}, "x-events": {name: ref[struct] for name, struct in stream.events.items()}}
    described = 'Server-sent events (`x-events`: their data by their name; `{"refused": CODE}` where it cannot be told now).'
    operation["responses"] = {"200": {"description": described, "content": {"text/event-stream": told}}} | operation["responses"]
    return operation


def _operation(endpoint: Endpoint | AdminEndpoint, ref: dict[Any, Any]) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", endpoint.path)
    ]
    parameters += [
        {"name": q.name, "in": "query", "description": q.description, "schema": portable({"type": "string", "pattern": q.pattern})}
        for q in endpoint.query
    ]
    security, refusals = _who(endpoint)
    responses: dict[str, Any] = {}
    if endpoint.download is not None:
        file = {"schema": {"type": "string", "format": "binary"}}
        responses[str(endpoint.status)] = {"description": "A file.", "content": {endpoint.download: file}}
    elif endpoint.answer is None:
        found = endpoint.status == 302
        responses["302" if found else "204"] = {"description": "Elsewhere." if found else "Done."}
    else:
        responses[str(endpoint.status)] = {
            "description": (endpoint.answer.__doc__ or "Done.").splitlines()[0],
            "content": {"application/json": {"schema": ref[endpoint.answer]}},
        }
    by_status: dict[int, list[ErrorCode]] = {}
    for code in sorted({*ANY_REQUEST, *endpoint.errors, *refusals}):
        by_status.setdefault(ERRORS[code].status, []).append(code)
    for status, listed in sorted(by_status.items()):
        responses[str(status)] = {
            "description": " ".join(f"`{code}`: {ERRORS[code].meaning}" for code in listed),
            "content": {"application/json": {"schema": ref[ErrorBody]}},
        }
    operation: dict[str, Any] = {
        "operationId": endpoint.id,
        "summary": endpoint.summary,
        "tags": [endpoint.id.partition(".")[0]],
        "responses": responses,
    }
    if parameters:
        operation["parameters"] = parameters
    if security:
        operation["security"] = security
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": ref[endpoint.body]}}}
    return operation


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document."""
    client, server = ClientMessage.__args__, ServerMessage.__args__
    refs, components = msgspec.json.schema_components([*client, *server], ref_template="#/components/schemas/{name}")
    messages = {}
    for struct, reference in zip([*client, *server], refs, strict=True):
        tag = struct.__struct_config__.tag
        messages[tag] = {"name": tag, "summary": " ".join((struct.__doc__ or "").split()), "payload": reference}

    def listed(structs: tuple[Any, ...]) -> list[dict[str, str]]:
        return [{"$ref": f"#/channels/socket/messages/{s.__struct_config__.tag}"} for s in structs]

    return {
        "asyncapi": "3.0.0",
        "info": {"title": "KloudTalk", "version": VERSION, "description": f"WebSocket subprotocol `{SUBPROTOCOL}`."},
        "channels": {
            "socket": {
                "address": "/v1/ws",
                "messages": {tag: {"$ref": f"#/components/messages/{tag}"} for tag in messages},
                "bindings": {"ws": {"method": "GET"}},
            }
        },
        "operations": {
            "fromClient": {"action": "receive", "channel": {"$ref": "#/channels/socket"}, "messages": listed(client)},
            "fromHub": {"action": "send", "channel": {"$ref": "#/channels/socket"}, "messages": listed(server)},
        },
        "components": {"messages": messages, "schemas": portable(components)},
    }


def documents() -> dict[str, str]:
    """File names and texts."""
    return {
        "openapi.json": json.dumps(openapi(), indent=2) + "\n",
        "admin-openapi.json": json.dumps(admin_openapi(), indent=2) + "\n",
        "asyncapi.json": json.dumps(asyncapi(), indent=2) + "\n",
    }


def error_table() -> str:
    """The table of error codes in ``docs/protocol.md``."""
    rows = [f"| `{code}` | {info.status} | {info.meaning} |" for code, info in ERRORS.items()]
    return "\n".join(["| Code | Status | Meaning |", "|---|---|---|", *rows]) + "\n"


MARK: Final = "<!-- errors: generated by signaling.wire.schema -->\n"
"""What follows this line in ``docs/protocol.md`` is ``error_table()``."""


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for name, text in documents().items():
        (folder / name).write_text(text)
    protocol = folder / "protocol.md"
    protocol.write_text(protocol.read_text().partition(MARK)[0] + MARK + error_table())
