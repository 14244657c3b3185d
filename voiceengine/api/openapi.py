"""The OpenAPI document (version 3.1), made from the declared routes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from twisted.web.server import Request

import voiceengine
from voiceengine.api.auth import REALM
from voiceengine.api.conditional import is_unchanged, tag_of
from voiceengine.api.declare import LIMIT, Operation, Param
from voiceengine.api.representation import Field, Representation, camel
from voiceengine.api.routing import Reply, Route, Router
from voiceengine.api.twilio_shape import TWILIO_MOUNT
from voiceengine.config import Settings

DOCUMENT: Final = "openapi"
"""Name of the document below a mount, without `.json`."""

Json = dict[str, Any]

_VARIABLE = re.compile(r"\{(\w+)(?::([^}]*))?\}")
_VERBS: Final = {"GET": "get", "POST": "create", "PUT": "replace", "DELETE": "delete"}
_ERROR: Final[Json] = {
    "type": "object",
    "properties": {
        "message": {"type": "string"},
        "error": {"type": "string", "description": "Symbolic code, when one is known."},
        "code": {"type": "integer", "description": "Number, when one is known."},
        "status": {"type": "integer"},
    },
    "required": ["message", "status"],
    "additionalProperties": False,
}
_ERRORS: Final[Json] = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}


def param_schema(param: Param) -> Json:
    """JSON schema of the value of a parameter."""
    found = _kind_schema(param)
    if param.default is not None:
        found["default"] = param.default
    if param.secret:
        found["format"] = "password"
    return {"type": "array", "items": found} if param.repeated else found


def _kind_schema(param: Param) -> Json:
    match param.kind:
        case "flag":
            return {"type": "boolean"}
        case "integer":
            top = {} if param.maximum is None else {"maximum": param.maximum}
            return {"type": "integer", "minimum": param.minimum or 0, **top}
        case "method":
            return {"type": "string", "enum": ["GET", "POST"]}
        case "url":
            return {"type": "string", "format": "uri"}
        case "choice":
            return {"type": "string", "enum": list(param.allowed)}
        case "sid":
            prefix = param.allowed[0] if param.allowed else "[A-Z]{2}"
            return {"type": "string", "pattern": f"^{prefix}[0-9a-zA-Z]{{32}}$"}
        case "name":
            return {"type": "string", "maxLength": param.maximum or 64}
        case "date":
            return {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2})?$"}
        case _:
            return {"type": "string"}


def _nullable(schema: Json) -> Json:
    kind = schema.get("type")
    if isinstance(kind, str) and "enum" not in schema:
        return {**schema, "type": [kind, "null"]}
    return {"anyOf": [schema, {"type": "null"}]} if schema else {}


def _field_schema(field: Field[Any], *, nulls: bool, twilio: bool) -> Json:
    schema: Json = dict(field.schema) if field.schema is not None else {"type": field.type}
    if twilio and field.twilio_value is not None:
        schema = {}  # another value than the one that is declared
    if nulls:
        schema = _nullable(schema)
    return {**schema, "description": field.doc} if field.doc else schema


def representation_schema(representation: Representation[Any], *, twilio: bool = False) -> Json:
    """JSON schema of one resource."""
    properties: Json = {}
    for field in representation.fields:
        if twilio:
            name = field.json if field.twilio is None else field.twilio
            shown, nulls = bool(name) and field.only != "xml", True
        else:
            name, shown = field.json, field.only in (None, "json")
            nulls = representation.json_nulls if field.json_null is None else field.json_null
        if shown:
            properties[name] = _field_schema(field, nulls=nulls, twilio=twilio)
    found: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    if twilio:
        found["required"] = list(properties)
    return {**found, "description": representation.doc} if representation.doc else found


def page_schema(key: str, item: Json, *, limited: bool, twilio: bool) -> Json:
    """JSON schema of a page of a list."""
    text: Json = {"type": ["string", "null"] if twilio else "string"}
    properties: Json = {name: {"type": "integer"} for name in ("page", "num_pages", "page_size", "total")}
    if limited and not twilio:
        properties["limit"] = {"type": "integer"}
    properties |= {name: {"type": "string"} for name in ("start", "end", "uri", "first_page_uri")}
    properties |= {"previous_page_uri": text, "next_page_uri": text, "last_page_uri": {"type": "string"}}
    properties[key] = {"type": "array", "items": item}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def path_template(route: Route, operation: Operation | None = None) -> str:
    """The path as OpenAPI writes it, with the suffix of JSON."""
    media = operation is not None and operation.media
    plain = _VARIABLE.sub(lambda found: f"{{{found[1]}}}{found[2] or ''}", route.path)
    suffix = "" if media or re.search(r"\}\.\w+$", plain) else ".json"
    return f"/{plain}{suffix}"


class _Builder:
    """Collects what the operations need."""

    def __init__(self, settings: Settings, *, twilio: bool) -> None:
        self._settings = settings
        self._twilio = twilio
        self.schemas: Json = {"Error": _ERROR}
        self._names: dict[int, str] = {}
        self._ids: set[str] = set()

    def _reference(self, representation: Representation[Any]) -> Json:
        name = self._names.get(id(representation))
        if name is None:
            name, number = representation.title, 2
            while name in self.schemas:
                name, number = f"{representation.title}{number}", number + 1
            self._names[id(representation)] = name
            self.schemas[name] = representation_schema(representation, twilio=self._twilio)
        return {"$ref": f"#/components/schemas/{name}"}

    def _key(self, representation: Representation[Any]) -> str:
        return (self._twilio and representation.twilio_key) or representation.list_key

    def _body(self, method: str, operation: Operation) -> Json | None:
        """JSON schema of a success, None when it has no body."""
        representation = operation.returns
        if operation.shape == "other":
            return operation.schema or {}
        if representation is None or operation.shape == "empty" or (self._twilio and method == "DELETE"):
            return None
        one = self._reference(representation)
        if operation.shape == "page" or (operation.shape == "list" and self._twilio and method == "GET"):
            limited = LIMIT in operation.query
            return page_schema(self._key(representation), one, limited=limited, twilio=self._twilio)
        if operation.shape == "list":
            return {"type": "array", "items": one}
        if operation.several and not self._twilio:
            return {"anyOf": [one, {"type": "array", "items": one}]}
        return one

    def _status(self, route: Route, method: str, operation: Operation) -> int:
        if self._twilio and operation.status == 200:
            if method == "DELETE":
                return 204
            if operation.creates or route.action(method) == "Create":
                return 201
        return operation.status

    def _errors(self, route: Route, method: str, operation: Operation) -> list[int]:
        found = {*operation.errors, 500}
        if operation.body or operation.query:
            found.add(400)
        if method in ("POST", "PUT"):
            found |= {400, 413, 415}
        if not route.public(self._settings):
            found |= {401, 403}
        if "{" in route.path:
            found.add(404)
        return sorted(found)

    def _responses(self, route: Route, method: str, operation: Operation) -> Json:
        status = self._status(route, method, operation)
        success: Json = {"description": "Success."}
        schema = self._body(method, operation)
        if operation.media:
            success["content"] = {operation.media: {}}
        elif schema is not None:
            success["content"] = {"application/json": {"schema": schema}}
        found: Json = {str(status): success}
        for code in self._errors(route, method, operation):
            said: Json = {"description": HTTPStatus(code).phrase}
            if code >= 400 and code != 416:
                said["content"] = _ERRORS
            elif code == 206:
                said["content"] = success.get("content", {})
            found[str(code)] = said
        return found

    def _id(self, path: str, method: str, operation: Operation) -> str:
        verb = "list" if operation.shape in ("page", "list") and method == "GET" else _VERBS[method]
        words = [re.sub(r"\W", "", word) for word in path.removesuffix(".json").split("/") if word]
        if words[1:2] == ["account"] and len(words) > 2:
            words = words[2:]
        if method == "POST" and path.removesuffix(".json").endswith("}"):
            verb = "update"
        found = base = verb + "".join(map(camel, words))
        number = 2
        while found in self._ids:
            found, number = f"{base}{number}", number + 1
        self._ids.add(found)
        return found

    def operation(self, route: Route, path: str, method: str, operation: Operation) -> Json:
        """The operation object of one method."""
        notes = [operation.summary]
        if route.super_admin:
            notes.append("Only the super admin may do this.")
        if route.owner_only:
            notes.append("Only the account of the path itself may do this, not those above it.")
        query = (*operation.query, *(operation.twilio_query if self._twilio else ()))
        found: Json = {
            "operationId": self._id(path, method, operation),
            "tags": [route.resource],
            "summary": operation.summary,
            "description": " ".join(notes),
            "responses": self._responses(route, method, operation),
        }
        if query:
            unique = {param.name: param for param in query}
            found["parameters"] = [_query_parameter(param) for param in unique.values()]
        if operation.body:
            found["requestBody"] = _request_body(operation.body)
        if route.public(self._settings):
            found["security"] = []
        return found


def _query_parameter(param: Param) -> Json:
    found: Json = {"name": param.name, "in": "query", "schema": param_schema(param)}
    if param.required is not None:
        found["required"] = True
    return {**found, "description": param.doc} if param.doc else found


def _request_body(params: Sequence[Param]) -> Json:
    properties: Json = {}
    for param in params:
        schema = param_schema(param)
        properties[param.name] = {**schema, "description": param.doc} if param.doc else schema
    required = [param.name for param in params if param.required is not None]
    schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return {
        "required": bool(required),
        "content": {"application/x-www-form-urlencoded": {"schema": schema}},
    }


def _path_parameters(path: str) -> list[Json]:
    return [
        {"name": found[1], "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for found in _VARIABLE.finditer(path)
    ]


def build(
    routes: Sequence[Route], settings: Settings, server: str, *, twilio: bool = False
) -> Mapping[str, Any]:
    """Make the document.

    Args:
        routes: of the API.
        settings: decide which media needs no credentials.
        server: base of the paths, an absolute URL.
        twilio: whether replies have the shape of Twilio.
    """
    builder = _Builder(settings, twilio=twilio)
    paths: Json = {}
    tags: dict[str, None] = {}
    for route in routes:
        for method, operation in route.handlers.items():
            if route.hidden:
                continue
            path = path_template(route, operation)
            item = paths.setdefault(path, {})
            parameters = _path_parameters(path)
            if parameters:
                item["parameters"] = parameters
            item[method.lower()] = builder.operation(route, path, method, operation)
            tags[route.resource] = None
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Call control",
            "version": voiceengine.__version__,
            "description": "Credentials are the sid (or e-mail address) of an account and its AuthToken. "
            "With the suffix .xml instead of .json replies are XML. A client that sends clear passwords may "
            "get 503 while many of them are being checked.",
        },
        "servers": [{"url": server}],
        "security": [{"account": []}],
        "tags": [{"name": name} for name in tags],
        "paths": paths,
        "components": {
            "schemas": builder.schemas,
            "securitySchemes": {"account": {"type": "http", "scheme": "basic", "description": REALM}},
        },
    }


def document_reply(router: Router, prefix: str) -> Reply:
    """Answer the document for the API below a prefix."""
    prefix = prefix.rstrip("/")
    base = router.render("json").base_url
    body = router.documents.get((base, prefix))
    if body is None:
        twilio = prefix == TWILIO_MOUNT
        found = build(router.routes, router.settings, base + prefix, twilio=twilio)
        body = router.documents[base, prefix] = json.dumps(found, indent=1, ensure_ascii=False).encode()
    content = body

    def deliver(request: Request) -> None:
        request.setHeader("Cache-Control", "no-cache")
        if is_unchanged(request, tag_of(content)):
            request.setResponseCode(304)
        else:
            request.setHeader("Content-Type", "application/json")
            request.setHeader("Content-Length", str(len(content)))
            request.write(content)
        request.finish()

    return Reply(deliver=deliver)
