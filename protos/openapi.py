"""Write docs/openapi.yaml, the description of the REST API: `python protos/openapi.py FILE`.

It is built from the same descriptors as the REST API itself: paths come from google.api.http, texts
from comments, limits from buf.validate, and security from fanfare.auth.v1.access.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import generate
import protovalidate
import yaml
from buf.validate import validate_pb2
from fanfare.auth.v1 import auth_pb2
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message_factory import GetMessageClass
from google.rpc import status_pb2

from core.auth.authorizer import rule_of
from gateway.routes import Route, routes
from gateway.server_sent_events import CONTENT_TYPE, LAST_EVENT_ID

SERVICES = {
    write_pb2.DESCRIPTOR.services_by_name["WriteService"]: "http://127.0.0.1:8081",
    auth_pb2.DESCRIPTOR.services_by_name["AuthService"]: "http://127.0.0.1:8081",
    read_pb2.DESCRIPTOR.services_by_name["ReadService"]: "http://127.0.0.1:8080",
}
STATUS = status_pb2.Status.DESCRIPTOR.full_name
TIMESTAMP = "google.protobuf.Timestamp"
INT64 = {"type": ["string", "integer"], "format": "int64", "pattern": "^-?[0-9]+$"}
INT32 = {"type": "integer", "format": "int32"}
STATUS_SCHEMA = {
    "description": "A google.rpc.Status. Its first detail is a google.rpc.ErrorInfo; "
    "protos/fanfare/errors/v1/errors.proto lists the reasons and shows their metadata.",
    "type": "object",
    "properties": {
        "code": INT32,
        "message": {"type": "string"},
        "details": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["code", "message", "details"],
}

Json = dict[str, Any]
# Returns the names of the fields that a message must have in JSON.
Required = Callable[[Descriptor], list[str]]


def comments(protos: Path) -> dict[str, str]:
    """Return the comments of messages, fields and methods, by full name."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        generate.build_image(protos, image)
        files = FileDescriptorSet.FromString(image.read_bytes())
    found = {}
    for file in files.file:
        for location in file.source_code_info.location:
            if name := _name(file, list(location.path)):
                text = " ".join(location.leading_comments.split())
                found[f"{file.package}.{name}"] = text
    return found


def _name(file: Any, path: list[int]) -> str:
    """Return the name, within its package, of the element at a path of source_code_info."""
    match path:
        case [4, message]:
            return str(file.message_type[message].name)
        case [4, message, 2, field]:
            of = file.message_type[message]
            return f"{of.name}.{of.field[field].name}"
        case [6, service, 2, method]:
            of = file.service[service]
            return f"{of.name}.{of.method[method].name}"
    return ""


def printed(message: Descriptor) -> list[str]:
    """Return the fields that a response always has, even if empty: those without presence."""
    return [field.name for field in message.fields if field.is_repeated or not field.has_presence]


def needed(message: Descriptor) -> list[str]:
    """Return the fields that a request must have: an empty request is refused because of them."""
    violations = protovalidate.collect_violations(GetMessageClass(message)())
    paths = [violation.proto.field for violation in violations]
    refused = {path.elements[0].field_name for path in paths if path is not None}
    return [field.name for field in message.fields if field.name in refused]


class Document:
    """Builds the document from the descriptors of the services."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts
        self._operation_ids: set[str] = set()
        self._schemas: Json = {STATUS: STATUS_SCHEMA}

    def build(self) -> Json:
        """Return the whole document."""
        paths: Json = {}
        for service, server in SERVICES.items():
            for route in routes(service):
                operation = self._operation(route)
                operation["servers"] = [{"url": server}]
                paths.setdefault(route.path, {})[route.verb.lower()] = operation
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "Fanfare",
                "version": "1",
                "description": "Fanfare's REST API. docs/contract.md explains how to use it.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "paths": paths,
            "components": {
                "schemas": dict(sorted(self._schemas.items())),
                "securitySchemes": {"session": {"type": "http", "scheme": "bearer"}},
            },
        }

    def _operation(self, route: Route) -> Json:
        method = route.method
        text = self._texts[method.full_name]
        operation: Json = {
            "operationId": self._operation_id(route),
            "summary": text.partition(". ")[0].rstrip("."),
            "description": f"{text} {_limits(method)}".rstrip(),
            "tags": [method.containing_service.name],
        }
        parameters = list(self._parameters(route))
        if parameters:
            operation["parameters"] = parameters
        if route.has_body:
            body = self._reference(
                method.input_type,
                # A field that is in the path is not required in the body.
                lambda message: [name for name in needed(message) if name not in route.variables],
            )
            operation["requestBody"] = {"required": True, "content": _json(body)}
        success: Json = {"description": "The call succeeded."}
        if method.server_streaming:
            success["content"] = self._events(method.output_type)
        elif route.success != HTTPStatus.NO_CONTENT:
            success["content"] = _json(self._reference(method.output_type, printed))
        error = {"description": "The call failed.", "content": _json(_to(STATUS))}
        operation["responses"] = {str(route.success): success, "default": error}
        if not rule_of(method).public:
            # {}: no authentication is needed if the operator has not turned it on.
            operation["security"] = [{"session": []}, {}]
        return operation

    def _events(self, message: Descriptor) -> Json:
        """Return the content of a stream, for which OpenAPI 3.1 has no schema but text."""
        fields = message.oneofs_by_name["event"].fields
        data = {field.name: self._field(field, printed) for field in fields}
        schema = {
            "description": "Server-Sent Events, which docs/contract.md explains. x-event-data is "
            "the JSON in the data of an event.",
            "type": "string",
        }
        return {CONTENT_TYPE: {"schema": schema, "x-event-data": _one_of(data)}}

    def _operation_id(self, route: Route) -> str:
        # A method can have several bindings, and each needs a name of its own.
        name = route.method.name
        if name in self._operation_ids:
            name = f"{name}By{route.verb.capitalize()}"
        self._operation_ids.add(name)
        return name

    def _parameters(self, route: Route) -> Iterator[Json]:
        message = route.method.input_type
        required = needed(message)
        for field in message.fields:
            in_path = field.name in route.variables
            if in_path or not route.has_body:
                yield {
                    "name": field.name,
                    "in": "path" if in_path else "query",
                    "required": in_path or field.name in required,
                    "description": self._texts[field.full_name],
                    "schema": self._field(field, needed),
                }
        if route.method.server_streaming:
            yield {
                "name": LAST_EVENT_ID,
                "in": "header",
                "required": False,
                "description": "The id of the last event that the client received, which is its "
                "resume_token. Browsers send it by themselves.",
                "schema": {"type": "string"},
            }

    def _reference(self, message: Descriptor, required: Required) -> Json:
        name = message.full_name
        if name not in self._schemas:
            self._schemas[name] = {}  # ends the recursion if a message contains its own type
            self._schemas[name] = {
                "description": self._texts[name],
                "type": "object",
                "properties": {
                    field.name: {"description": self._texts[field.full_name]}
                    | self._field(field, required)
                    for field in message.fields
                },
                # Unknown fields are refused.
                "additionalProperties": False,
            }
            if names := required(message):
                self._schemas[name]["required"] = names
        return _to(name)

    def _field(self, field: FieldDescriptor, required: Required) -> Json:
        rules = field.GetOptions().Extensions[validate_pb2.field]
        if not field.is_repeated:
            return self._one(field, rules, required)
        schema: Json = {"type": "array", "items": self._one(field, rules.repeated.items, required)}
        if rules.repeated.HasField("max_items"):
            schema["maxItems"] = rules.repeated.max_items
        return schema

    def _one(self, field: FieldDescriptor, rules: Any, required: Required) -> Json:
        if field.message_type is not None:
            if field.message_type.full_name == TIMESTAMP:
                return {"type": "string", "format": "date-time"}
            return self._reference(field.message_type, required)
        if field.type == FieldDescriptor.TYPE_INT64:
            positive = rules.int64.HasField("gt") and rules.int64.gt == 0
            return {**INT64, "pattern": "^[0-9]+$", "minimum": 1} if positive else INT64
        if field.type == FieldDescriptor.TYPE_INT32:
            return {**INT32, "minimum": rules.int32.gte} if rules.int32.HasField("gte") else INT32
        if field.type == FieldDescriptor.TYPE_STRING:
            return _text(rules.string)
        raise ValueError(f"{field.full_name} has a type that this generator does not support")


def _limits(method: MethodDescriptor) -> str:
    """Return the sentences about the rate limits of a method."""
    rule = rule_of(method)
    if not rule.calls_per_minute:
        return ""
    by = "address" if rule.by_address else "user, or for each address if no user is known"
    text = (
        f"With authentication on, at most {rule.calls_per_minute} calls per minute for each {by}."
    )
    if rule.items_field:
        text += f" A call counts as one for every {rule.items_per_call} of `{rule.items_field}`."
    if rule.address_calls_per_minute:
        which = f" that set {' or '.join(rule.address_fields)}" if rule.address_fields else ""
        text += (
            f" The users of one address may make {rule.address_calls_per_minute} calls{which} "
            "per minute together."
        )
    return text


def _text(rules: Any) -> Json:
    schema: Json = {"type": "string"}
    names = {"pattern": "pattern", "min_len": "minLength", "max_len": "maxLength"}
    schema |= {to: getattr(rules, name) for name, to in names.items() if rules.HasField(name)}
    if rules.email:
        schema["format"] = "email"
    if rules.uuid:
        schema["format"] = "uuid"
    return schema


def _one_of(properties: Json) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    }


def _to(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


class _Plain(yaml.SafeDumper):
    """Writes a value again wherever it is used, instead of YAML's anchors and aliases."""

    def ignore_aliases(self, _data: object) -> bool:
        """Return True: use no aliases."""
        return True


def document() -> str:
    """Return the text of docs/openapi.yaml."""
    built = Document(comments(generate.PROTOS)).build()
    text = yaml.dump(built, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=100)
    return "# Generated by `make gen`; do not edit.\n" + str(text)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(document())
