"""The OpenAPI document: valid, complete, and served."""

from __future__ import annotations

import re
from typing import Any

import pytest
import pytest_twisted
from openapi_spec_validator import validate

from voiceengine.api import RESOURCES
from voiceengine.api.declare import Operation, Param
from voiceengine.api.openapi import build, page_schema, param_schema, representation_schema
from voiceengine.api.representation import Field, Representation, plain
from voiceengine.api.routing import Route
from voiceengine.config import Settings

Api = Any

ROUTES = [route for module in RESOURCES for route in module.routes()]
SERVER = "https://host/restcomm/2012-04-24"


def operations(document: Any) -> list[Any]:
    return [
        operation
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]


@pytest.mark.unit
@pytest.mark.parametrize("twilio", [False, True], ids=["own", "twilio"])
def test_the_document_is_valid(twilio: bool) -> None:
    document = build(ROUTES, Settings(), SERVER, twilio=twilio)
    validate(document)
    found = operations(document)
    ids = [operation["operationId"] for operation in found]

    assert len(ids) == len(set(ids))
    assert len(found) == sum(len(route.handlers) for route in ROUTES if not route.hidden)


@pytest.mark.unit
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_every_operation_is_declared_in_words(route: Route) -> None:
    for method, operation in route.handlers.items():
        assert isinstance(operation, Operation), method
        assert operation.summary.endswith("."), method
        names = [param.name for param in operation.query]
        assert len(names) == len(set(names)), method
        names = [param.name for param in operation.body]
        assert len(names) == len(set(names)), method
        assert [param.name for param in (*operation.query, *operation.body) if not param.doc] == [], method
        if operation.returns is not None:
            assert [field.json for field in operation.returns.fields if not field.doc] == [], method


@pytest.mark.unit
@pytest.mark.parametrize(
    ("param", "schema"),
    [
        (Param("A", "flag", default=False), {"type": "boolean", "default": False}),
        (Param("A", "integer", minimum=1, maximum=9), {"type": "integer", "minimum": 1, "maximum": 9}),
        (
            Param("A", "method", default="POST"),
            {"type": "string", "enum": ["GET", "POST"], "default": "POST"},
        ),
        (Param("A", "url"), {"type": "string", "format": "uri"}),
        (Param("A", "sid", allowed=("AP",)), {"type": "string", "pattern": "^AP[0-9a-zA-Z]{32}$"}),
        (Param("A", "name"), {"type": "string", "maxLength": 64}),
        (Param("A", secret=True), {"type": "string", "format": "password"}),
        (Param("A", repeated=True), {"type": "array", "items": {"type": "string"}}),
        (Param("A", "choice", allowed=("x", "y")), {"type": "string", "enum": ["x", "y"]}),
    ],
)
def test_the_schema_of_a_parameter(param: Param, schema: dict[str, Any]) -> None:
    assert param_schema(param) == schema


@pytest.mark.unit
def test_the_schema_of_a_resource_in_both_shapes() -> None:
    row: Representation[Any] = Representation(
        item="Row",
        items="Rows",
        list_key="rows",
        fields=(
            plain("sid", doc="Its sid."),
            plain("count", type="integer", json_null=True),
            plain("state", schema={"type": "string", "enum": ["a"]}, twilio="status"),
            plain("price", only="xml"),
            plain("own", twilio=""),
            Field("label", lambda _row, _render: None, only="twilio"),
        ),
    )

    assert representation_schema(row) == {
        "type": "object",
        "properties": {
            "sid": {"type": "string", "description": "Its sid."},
            "count": {"type": ["integer", "null"]},
            "state": {"type": "string", "enum": ["a"]},
            "own": {"type": "string"},
        },
        "additionalProperties": False,
    }
    found = representation_schema(row, twilio=True)
    assert found["required"] == ["sid", "count", "status", "label"]
    assert found["properties"]["status"] == {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}]}
    assert "limit" in page_schema("rows", {}, limited=True, twilio=False)["required"]
    assert "limit" not in page_schema("rows", {}, limited=True, twilio=True)["required"]


@pytest.mark.loopback
@pytest_twisted.ensureDeferred
async def test_it_is_served_at_the_root_and_under_every_mount(guarded_api: Api) -> None:
    mounts = ["/restcomm/2012-04-24", "/api/2012-04-24", "/2012-04-24", "/voice/v1", "/2010-04-01"]
    for mount in mounts:
        answer = await guarded_api.get(mount + "/openapi.json", by=None)
        assert (answer.code, answer.header("Content-Type")) == (200, "application/json"), mount
        assert answer.json["servers"] == [{"url": "https://host" + mount}]
    root = await guarded_api.get("/openapi.json", by=None)
    assert root.json["servers"] == [{"url": "https://host/voice/v1"}]
    # Media needs credentials with these settings.
    paths = root.json["paths"]
    assert "security" not in paths["/Accounts/{account}/Recordings/{sid}.wav"]["get"]
    assert paths["/Accounts/{account}/Calls/{sid}.json"]["parameters"][1]["name"] == "sid"
    assert (await guarded_api.post("/openapi.json", by=None)).code == 405
    assert (await guarded_api.get("/restcomm/2012-04-24/openapi.xml")).code == 404


@pytest.mark.loopback
@pytest_twisted.ensureDeferred
async def test_it_has_a_validator(api: Api) -> None:
    first = await api.get("/openapi.json", by=None)
    head = await api.ask("HEAD", "/openapi.json", by=None)
    again = await api.get("/openapi.json", by=None, headers={"If-None-Match": first.header("ETag")})
    other = await api.get("/openapi.json", by=None, headers={"If-None-Match": '"x"'})

    assert re.fullmatch(r'"[0-9a-f]{32}"', first.header("ETag"))
    assert (head.code, head.raw, head.header("Content-Length")) == (200, b"", str(len(first.raw)))
    assert (again.code, again.raw, again.header("ETag")) == (304, b"", first.header("ETag"))
    assert (other.code, other.raw) == (200, first.raw)
