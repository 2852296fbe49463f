"""The protocol documents are those of the code."""

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from signaling.wire import schema
from signaling.wire.errors import ERRORS, ErrorCode
from signaling.wire.rest import ENDPOINTS, Auth

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["openapi.json", "admin-openapi.json", "asyncapi.json"])
def test_the_documents_are_up_to_date(name):
    assert (DOCS / name).read_text() == schema.documents()[name], "run: python -m signaling.wire.schema docs"


def test_every_schema_is_valid_json_schema():
    for document in (schema.openapi(), schema.admin_openapi(), schema.asyncapi()):
        for component in document["components"]["schemas"].values():
            Draft202012Validator.check_schema(component)


def test_every_error_code_has_a_status_and_a_meaning_and_is_in_the_protocol_document():
    assert set(ERRORS) == set(ErrorCode)
    assert (DOCS / "protocol.md").read_text().partition(schema.MARK)[2] == schema.error_table()


def test_every_refusal_that_the_gateway_makes_by_itself_is_in_the_document():
    paths = schema.openapi()["paths"]
    for endpoint in ENDPOINTS:
        said = " ".join(answer["description"] for answer in paths[endpoint.path][endpoint.method.lower()]["responses"].values())
        if endpoint.auth is Auth.SESSION:
            assert "`policy_not_acknowledged`" in said or endpoint.when_unacknowledged, endpoint.id
            assert "`restricted`" in said or endpoint.when_restricted, endpoint.id
        assert ("`unauthenticated`" in said) == (endpoint.auth is not Auth.NONE), endpoint.id
