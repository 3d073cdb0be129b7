"""One HTTP mapping of an RPC, checked at start-up and compiled into a function from request to message."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from google.api import http_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from penstock.values import InvalidValue
from penstock_bridge.body import Body
from penstock_bridge.codec import fields
from penstock_bridge.codec.decode import Set, decoder, field_decoder
from penstock_bridge.codec.document import TooManyValues
from penstock_bridge.codec.document import parse as parse_json
from penstock_bridge.codec.encode import encoder, field_encoder, struct_json
from penstock_bridge.codec.scalars import text_reader
from penstock_bridge.errors import Problem, invalid_request, invalid_value
from penstock_bridge.methods import INPUTS, Method, calls_flow
from penstock_bridge.query import Query
from penstock_bridge.templates import InvalidPath, Template, parse

WHOLE = "*"

FieldPath = tuple[str, ...]


class InvalidBinding(ValueError):
    """An HTTP mapping that contradicts its RPC's messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """How HTTP requests of one method and path become requests of an RPC."""

    method: Method
    http_method: str
    template: Template
    path: str
    """The template as it is written in the contract."""
    body: str
    """The field that the body holds, `*` for the whole request; empty where there is no body."""
    response_body: str
    """The field of the response that is the answer; empty for the whole response."""
    query: Query
    variables: tuple[tuple[FieldPath, FieldDescriptor], ...]
    fill: Callable[[Message, Body], None]
    """Writes the body into a request."""

    @property
    def takes_form(self) -> bool:
        """The body is the inputs of a flow, which may be a form as well."""
        return self.body == INPUTS and calls_flow(self.method)

    def bind(self, segments: list[str], query: str, body: Body) -> Message:
        """Builds the request: from the body first, then the query, then the path.

        Args:
            segments: the raw segments of the path.
            query: the raw query string.
            body: the body, parsed where it is a form; empty where there is none.

        Raises:
            Problem: INVALID_REQUEST, something does not fit; the field is named.
        """
        request = self.method.request()
        if body:
            self.fill(request, body)
        if query:
            self.query.bind(request, query)
        if self.variables:
            self._bind_path(request, segments)
        return request

    def _bind_path(self, request: Message, segments: list[str]) -> None:
        try:
            values = self.template.bind(segments)
        except InvalidPath as error:
            raise invalid_request(f"The path: {error}") from None
        for (path, field), (_, text) in zip(self.variables, values, strict=True):
            _bind_variable(request, path, field, text)


def bindings(method: Method) -> list[Binding]:
    """The HTTP mappings of a method: the first one, then `additional_bindings`.

    Raises:
        InvalidBinding, InvalidTemplate: a mapping is not valid; the message names the method.
    """
    rule = method.rule
    if any(extra.additional_bindings for extra in rule.additional_bindings):
        raise InvalidBinding(f"{method.path}: additional_bindings nest only one level deep")
    return [_binding(method, each) for each in (rule, *rule.additional_bindings)]


def scalar_field(message: Descriptor, path: FieldPath, shown: str) -> FieldDescriptor:
    """The field that an option of the contract names: one scalar, perhaps within other messages.

    Args:
        shown: the option, as an error names it.

    Raises:
        InvalidBinding: there is no such field, or it is a list or a message.
    """
    inner: Descriptor | None = message
    field = None
    for name in path:
        if inner is None or name not in inner.fields_by_name:
            raise InvalidBinding(f"{shown} names no field of {message.full_name}")
        field = inner.fields_by_name[name]
        if fields.is_repeated(field):
            raise InvalidBinding(f"{shown} passes through a repeated field")
        inner = field.message_type
    if field is None or fields.is_message(field):
        raise InvalidBinding(f"{shown} is no scalar")
    return field


def whole_encoder(message: Descriptor) -> Callable[[Any], bytes]:
    """The function that turns messages of this type into JSON."""
    encode = encoder(message)
    return lambda response: orjson.dumps(encode(response))


def response_encoder(binding: Binding) -> Callable[[Any], bytes]:
    """The function that turns a response into the body of the answer."""
    if not binding.response_body:
        return whole_encoder(binding.method.output)
    field = binding.method.output.fields_by_name[binding.response_body]
    if fields.type_name(field) == fields.STRUCT:
        name = field.name
        return lambda response: struct_json(getattr(response, name))
    encode = field_encoder(field)
    return lambda response: orjson.dumps(encode(response))


def _binding(method: Method, rule: http_pb2.HttpRule) -> Binding:
    http_method, path = _pattern(method, rule)
    template = parse(path)
    variables = tuple((v.field, _variable_field(method, v.field)) for v in template.variables)
    _check_body(method, rule.body, [path for path, _ in variables])
    _check_field(method.output, rule.response_body, f"{method.path}: response_body")
    return Binding(
        method=method,
        http_method=http_method,
        template=template,
        path=path,
        body=rule.body,
        response_body=rule.response_body,
        query=Query(method.input, rule.body, [path for path, _ in variables]),
        variables=variables,
        fill=_filler(method.input, rule.body),
    )


def _pattern(method: Method, rule: http_pb2.HttpRule) -> tuple[str, str]:
    kind = rule.WhichOneof("pattern")
    if kind is None:
        raise InvalidBinding(f"{method.path}: the HTTP rule has no path")
    if kind != "custom":
        return kind.upper(), getattr(rule, kind)
    if not rule.custom.kind.isalpha():
        raise InvalidBinding(f"{method.path}: the HTTP method {rule.custom.kind!r} is not supported")
    return rule.custom.kind.upper(), rule.custom.path


def _variable_field(method: Method, path: FieldPath) -> FieldDescriptor:
    return scalar_field(method.input, path, f"{method.path}: the path variable {'.'.join(path)}")


def _check_body(method: Method, body: str, bound: list[FieldPath]) -> None:
    _check_field(method.input, "" if body == WHOLE else body, f"{method.path}: body")
    if (body,) in bound:
        raise InvalidBinding(f"{method.path}: {body} is bound to the path and to the body")


def _check_field(message: Descriptor, name: str, shown: str) -> None:
    if name and name not in message.fields_by_name:
        raise InvalidBinding(f"{shown}: {name} is no field of {message.full_name}")


def _filler(message: Descriptor, body: str) -> Callable[[Message, Body], None]:
    if not body:
        return _refuse_body
    root = "" if body == WHOLE else message.fields_by_name[body].json_name
    fill: Set
    if body == WHOLE:
        decode = decoder(message)

        def fill(target: Any, value: object) -> None:
            decode(value, target)

    else:
        fill = field_decoder(message.fields_by_name[body])

    def read(target: Message, data: Body) -> None:
        try:
            document = parse_json(data) if isinstance(data, bytes) else data
        except TooManyValues as error:
            raise invalid_value(error, root) from None
        except InvalidValue as error:
            raise invalid_value(error) from None
        try:
            fill(target, document)
        except InvalidValue as error:
            raise invalid_value(error, root) from None

    return read


def _refuse_body(target: Message, data: Body) -> None:
    raise invalid_request("This path takes no body")


def _bind_variable(request: Message, path: FieldPath, field: FieldDescriptor, text: str) -> None:
    name = ".".join(path)
    try:
        value = text_reader(field)(text)
    except InvalidValue as error:
        raise invalid_value(error, name) from None
    target: Any = request
    for step in path[:-1]:
        target = getattr(target, step)
    given = getattr(target, path[-1])
    if given != field.default_value and given != value:
        raise _contradiction(name)
    setattr(target, path[-1], value)


def _contradiction(name: str) -> Problem:
    text = "the body contradicts the path"
    return invalid_request(f"{name}: {text}", violations=[(name, text)])
