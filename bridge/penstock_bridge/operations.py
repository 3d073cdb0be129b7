"""One route as an operation of an OpenAPI document."""

from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from penstock_bridge.binding import WHOLE, Binding
from penstock_bridge.calls import media_types
from penstock_bridge.codec import fields
from penstock_bridge.comments import Comments, summary
from penstock_bridge.cursor import LAST_EVENT_ID
from penstock_bridge.deferral import LOCATION, Deferral
from penstock_bridge.errors import HTTP_STATUS
from penstock_bridge.events import DONE, ERROR, Entries, entries_of
from penstock_bridge.flow_schemas import FlowSchemas
from penstock_bridge.form_content import form_content
from penstock_bridge.frames import FRAMES
from penstock_bridge.methods import FLOW, INPUTS, Method, calls_flow
from penstock_bridge.negotiation import FORM, JSON, NDJSON, SSE
from penstock_bridge.query import FieldPath, takes_text
from penstock_bridge.schemas import COMPONENTS, Schema, Schemas, is_required
from penstock_bridge.transcoder import Route

OUTPUTS = "outputs"
"""The field of a response with the outputs of a flow."""

Operation = dict[str, Any]

_SESSION_HEADER, _USER_HEADER, _RUN_HEADER = "Chat-Session-Id", "Chat-User-Id", "Penstock-Run-Id"


class Operations:
    """Describes routes; what they share goes into the components of the document.

    Args:
        schemas: where messages are described.
        comments: what the contract says of methods and fields.
    """

    def __init__(self, schemas: Schemas, comments: Comments) -> None:
        self._schemas = schemas
        self._comments = comments

    def describe(self, route: Route, id: str, flow: FlowSchemas | None = None) -> Operation:
        """The operation of a route.

        Args:
            id: its operationId.
            flow: the flow that it calls, where that is known; its inputs and outputs are typed then.
        """
        method = route.binding.method
        comment = self._comments.get(method.descriptor.full_name, method.descriptor.name)
        operation: Operation = {
            "operationId": id,
            "tags": [method.descriptor.containing_service.name],
            "summary": summary(comment) + (f" ({flow.flow})" if flow else ""),
            "description": "\n\n".join(filter(None, [comment, flow.description if flow else ""])),
            "parameters": list(self._parameters(route, flow)),
            "responses": self._responses(route, flow),
        }
        if method.public_schema:
            operation["security"] = [{}, {"bearerAuth": []}]
        if route.binding.body:
            operation["requestBody"] = self._request_body(route.binding, flow)
        return operation

    def _parameters(self, route: Route, flow: FlowSchemas | None) -> Iterator[Schema]:
        binding = route.binding
        for path, field in binding.variables:
            if flow is None or path != (FLOW,):
                yield self._parameter("path", ".".join(path), field, required=True)
        if binding.body != WHOLE:
            bound = {path for path, _ in binding.variables} | {(binding.body,)}
            for path, names, field in _leaves(binding.method.input, bound):
                yield self._parameter("query", ".".join(names), field, required=is_required(field) and len(path) == 1)
        headers = ["Grpc-Timeout"]
        if not binding.method.public_schema:
            headers.insert(0, _USER_HEADER)
        if calls_flow(binding.method):
            headers.insert(0, _SESSION_HEADER)
        if route.streamed is not None and route.streamed.resumes_after:
            headers.append(LAST_EVENT_ID)
        yield from ({"$ref": f"#/components/parameters/{name}"} for name in headers)

    def _parameter(self, place: str, name: str, field: FieldDescriptor, *, required: bool) -> Schema:
        schema = self._schemas.field(field)
        description = schema.pop("description", "") if "$ref" not in schema else schema.get("description", "")
        return {"name": name, "in": place, "required": required, "description": description, "schema": schema}

    def _request_body(self, binding: Binding, flow: FlowSchemas | None) -> Schema:
        message = binding.method.input
        if binding.body == WHOLE:
            bound = {path[0] for path, _ in binding.variables if len(path) == 1}
            schema = self._schemas.object([field for field in message.fields if field.name not in bound])
            if flow is not None:
                schema["properties"][INPUTS] = flow.inputs
        elif flow is not None and binding.body == INPUTS:
            schema = flow.inputs
        else:
            schema = self._schemas.field(message.fields_by_name[binding.body])
        content = {JSON: {"schema": schema}}
        if binding.takes_form:
            known = self._schemas.components[flow.inputs["$ref"].removeprefix(COMPONENTS)] if flow else schema
            content[FORM] = form_content(known)
        return {"required": flow is not None and flow.needs_inputs, "content": content}

    def _responses(self, route: Route, flow: FlowSchemas | None) -> Schema:
        answers = {"200": self._success(route, flow)}
        if route.deferral is not None:
            answers["202"] = self._deferred(route.binding, route.deferral)
        codes = map(str, _failures(route.binding))
        return answers | {code: {"$ref": "#/components/responses/Error"} for code in codes}

    def _success(self, route: Route, flow: FlowSchemas | None) -> Schema:
        method = route.binding.method
        success: Schema = {
            "description": self._comments.get(method.output.full_name, "The answer."),
            "content": {kind: self._content(route, kind, flow) for kind in media_types(route)},
        }
        headers = _returned_headers(method)
        return success | ({"headers": _headers(headers)} if headers else {})

    def _deferred(self, binding: Binding, deferral: Deferral) -> Schema:
        return {
            "description": f"The call asked for `{deferral.when}`: the work goes on.",
            "headers": _headers([LOCATION, *_returned_headers(binding.method)]),
            "content": {JSON: {"schema": self._schemas.message(binding.method.output)}},
        }

    def _content(self, route: Route, kind: str, flow: FlowSchemas | None) -> Schema:
        if kind == JSON:
            return {"schema": self._answer(route.binding, flow)}
        output = (route.stream or route.binding.method).output
        simple = bool(route.binding.response_body)
        schema = {"type": "string", "description": _STREAM_TEXTS[kind]}
        entries = entries_of(output)
        of_runs = entries is not None and entries.of_runs
        if entries is None:
            events = {"message": self._schemas.message(output)}
        elif of_runs and simple:
            events = {"message": self._answer(route.binding, flow)}
        else:
            events = self._events(entries)
        content: Schema = {"schema": schema, "x-events": events | _terminal_events()}
        return content | ({"example": _example(kind, simple=simple)} if of_runs else {})

    def _answer(self, binding: Binding, flow: FlowSchemas | None) -> Schema:
        output = binding.method.output
        if not binding.response_body:
            return self._schemas.message(output)
        if flow is not None and binding.response_body == OUTPUTS:
            return flow.outputs
        return self._schemas.field(output.fields_by_name[binding.response_body])

    def _events(self, entries: Entries) -> dict[str, Schema]:
        return {kind.name: self._schemas.message(fields.message_type(kind)) for kind in entries.kinds}


def _leaves(
    message: Descriptor, bound: set[FieldPath], path: FieldPath = (), names: FieldPath = ()
) -> Iterator[tuple[FieldPath, FieldPath, FieldDescriptor]]:
    """The fields that parameters can carry: their paths, the names of the steps in JSON, and the last field."""
    for field in message.fields:
        here = (*path, field.name)
        if here in bound or len(here) > _PARAMETER_DEPTH_MAX:
            continue
        if takes_text(field):
            yield here, (*names, field.json_name), field
        elif not fields.is_repeated(field) and fields.type_name(field) not in fields.SPECIAL:
            yield from _leaves(fields.message_type(field), bound, here, (*names, field.json_name))


_PARAMETER_DEPTH_MAX = 4
"""Deeper parameters work, but are not listed: messages may nest without end."""


def _returned_headers(method: Method) -> list[str]:
    return [_SESSION_HEADER, _RUN_HEADER] if calls_flow(method) else []


def _headers(names: Iterable[str]) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _failures(binding: Binding) -> Iterable[str | int]:
    codes = set(HTTP_STATUS.values()) - {200}
    codes |= {406, 413, 415} if binding.body else {406}
    return [*sorted(codes), "default"]


def _terminal_events() -> dict[str, Schema]:
    return {DONE: {"$ref": COMPONENTS + "StreamDone"}, ERROR: {"$ref": COMPONENTS + "StreamError"}}


def _example(kind: str, *, simple: bool) -> str:
    frame = FRAMES[kind]
    name, delta = ("", b'{"answer":"Hello"}') if simple else ("output_delta", b'{"outputs":{"answer":"Hello"}}')
    outcome = b'{"run":"...","status":"SUCCEEDED"}'
    finished = b"" if simple else frame("run_finished", 3, outcome)
    return (frame(name, 2, delta) + finished + frame(DONE, 3, outcome)).decode()


_STREAM_TEXTS = {
    SSE: (
        "Server-sent events. `x-events` gives the schema of `data` for each `event`; `message` stands for events "
        "without a name. The stream ends with one `done` or one `error`; without either the connection was cut. "
        "Comments (`: ping`) keep it open."
    ),
    NDJSON: (
        'One object a line: `{"event", "id", "data"}`. `x-events` gives the schema of `data` for each `event`. '
        "The last line is one `done` or one `error`; without either the connection was cut."
    ),
}
