"""The OpenAPI 3.1 document: the routes of the transcoder, described."""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import orjson
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from penstock import __version__
from penstock.v1.flow_pb2 import Flow
from penstock_bridge.comments import Comments, comments
from penstock_bridge.cursor import LAST_EVENT_ID
from penstock_bridge.deferral import LOCATION
from penstock_bridge.events import LOST_AFTER
from penstock_bridge.flow_schemas import FlowSchemas, flow_schemas
from penstock_bridge.methods import FLOW, PACKAGE, calls_flow
from penstock_bridge.operations import Operation, Operations
from penstock_bridge.schemas import Schema, Schemas
from penstock_bridge.templates import Template
from penstock_bridge.transcoder import Route


class OpenApi:
    """Writes the document of a service.

    Args:
        routes: everything that it answers.
        contract: where the comments are.
        prefix: the base path.
    """

    def __init__(self, routes: list[Route], contract: FileDescriptorSet, prefix: str) -> None:
        self._routes = routes
        self._comments: Comments = comments(contract)
        self._prefix = prefix

    def document(self, flows: Iterable[Flow]) -> bytes:
        """The document as JSON, with the inputs and outputs of these flows; the first one is the default flow."""
        schemas = Schemas(self._comments, PACKAGE)
        schemas.components |= _own_schemas()
        typed = flow_schemas(flows, schemas.components)
        paths = self._paths(Operations(schemas, self._comments), typed)
        return orjson.dumps(
            {
                "openapi": "3.1.0",
                "info": {"title": "Penstock", "version": __version__, "description": _DESCRIPTION},
                "servers": [{"url": self._prefix or "/"}],
                "security": [{"bearerAuth": []}],
                "tags": self._tags(),
                "paths": paths,
                "components": _components(schemas.components),
            }
        )

    def _paths(self, operations: Operations, flows: list[FlowSchemas]) -> dict[str, dict[str, Operation]]:
        paths: dict[str, dict[str, Operation]] = {}
        ids: set[str] = set()
        for route in self._routes:
            for path, name, flow in _variants(route, flows):
                operation = operations.describe(route, _unused(name, ids), flow)
                paths.setdefault(path, {})[route.binding.http_method.lower()] = operation
        return paths

    def _tags(self) -> list[Schema]:
        services = {route.binding.method.descriptor.containing_service for route in self._routes}
        return [
            {"name": service.name, "description": self._comments.get(service.full_name, "")}
            for service in sorted(services, key=lambda service: service.full_name)
        ]


def _variants(route: Route, flows: list[FlowSchemas]) -> Iterable[tuple[str, str, FlowSchemas | None]]:
    """The paths that a route is shown under: path, name and flow.

    A route that names its flow is shown for any flow, and once more for each flow that is served.
    """
    binding = route.binding
    descriptor = binding.method.descriptor
    name = f"{descriptor.containing_service.name}_{descriptor.name}"
    if not calls_flow(binding.method):
        yield _shown(binding.template, {}), name, None
    elif (FLOW,) in [path for path, _ in binding.variables]:
        yield _shown(binding.template, {}), name, None
        for flow in flows:
            yield _shown(binding.template, {FLOW: quote(flow.flow, safe="")}), f"{name}_{_identifier(flow.flow)}", flow
    else:
        yield _shown(binding.template, {}), name, flows[0] if flows else None


def _shown(template: Template, values: dict[str, str]) -> str:
    """A template as OpenAPI writes it: one pair of braces a variable."""
    names = [".".join(variable.field) for variable in template.variables]
    # A wildcard that binds nothing has no form in OpenAPI; it is shown as itself.
    return template.write([values.get(name, f"{{{name}}}") for name in names])


def _identifier(text: str) -> str:
    return re.sub(r"\W", "_", text)


def _unused(name: str, taken: set[str]) -> str:
    unused, number = name, 1
    while unused in taken:
        number += 1
        unused = f"{name}_{number}"
    taken.add(unused)
    return unused


_DESCRIPTION = (
    "Errors follow AIP-193. Streams are chosen by `Accept`: `text/event-stream` or `application/x-ndjson` on every "
    "path that lists them."
)


def _header(description: str, **schema: Any) -> Schema:
    return {"description": description, "schema": {"type": "string"} | schema}


_SESSION = _header(
    "The conversation. The service assigns one where the call names none.",
    minLength=32,
    maxLength=255,
    pattern="^[A-Za-z0-9_:-]+$",
)
_USER = _header("The owner of the conversation; anything but printable ASCII is percent-encoded.", maxLength=255)
_RUN = _header("The run, once it was accepted.")
_TIMEOUT = _header("A deadline in gRPC's form: `1500m` is a second and a half.", pattern="^[0-9]{1,8}[HMSmun]$")
_LAST_EVENT = _header(
    "The id of the last event that the caller has: the stream begins behind it. It comes before the parameter that "
    "says the same, since a browser that connects again sends the newer one here.",
    pattern="^[0-9]+$",
)
_LOCATION = _header("Where to ask later how the work stands.", format="uri-reference")

_ERROR: Schema = {"$ref": "#/components/schemas/Error"}


def _components(schemas: dict[str, Schema]) -> Schema:
    parameters = {
        "Chat-Session-Id": _SESSION,
        "Chat-User-Id": _USER,
        "Grpc-Timeout": _TIMEOUT,
        LAST_EVENT_ID: _LAST_EVENT,
    }
    return {
        "schemas": schemas,
        "parameters": {name: {"name": name, "in": "header"} | header for name, header in parameters.items()},
        "headers": {"Chat-Session-Id": _SESSION, "Penstock-Run-Id": _RUN, LOCATION: _LOCATION},
        "responses": {
            "Error": {"description": "The call failed.", "content": {"application/json": {"schema": _ERROR}}}
        },
        "securitySchemes": {"bearerAuth": {"type": "http", "scheme": "bearer"}},
    }


def _own_schemas() -> dict[str, Schema]:
    """What the bridge says itself, outside any message of the contract."""
    text = {"type": "string"}
    details = {"type": "array", "items": {"type": "object", "properties": {"@type": text}, "required": ["@type"]}}
    lost_after = {
        "type": "integer",
        "description": "Set where events are missing because a server died: those after this number, up to the last.",
    }
    error = {
        "type": "object",
        "required": ["code", "status", "message"],
        "properties": {
            "code": {"type": "integer", "description": "The HTTP status."},
            "status": text | {"description": "The name of the gRPC code."},
            "message": text | {"description": "For people; it may change."},
            "details": details | {"description": "`google.rpc.ErrorInfo` with the reason, and what else is known."},
        },
    }
    return {
        "Error": {
            "type": "object",
            "description": "A failure (AIP-193).",
            "required": ["error"],
            "properties": {"error": error},
        },
        "StreamDone": {
            "type": "object",
            "description": "The end of a stream that told everything.",
            "properties": {"run": text, "status": {"$ref": "#/components/schemas/Run.Status"}, LOST_AFTER: lost_after},
        },
        "StreamError": {
            "description": "The end of a stream that failed, or whose run did not succeed.",
            "allOf": [{"$ref": "#/components/schemas/Error"}],
            "properties": {LOST_AFTER: lost_after},
        },
    }
