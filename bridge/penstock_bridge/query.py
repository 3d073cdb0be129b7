"""Query parameters to the fields of a request, as `google.api.http` prescribes."""

import re
from typing import Any
from urllib.parse import unquote_to_bytes

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from penstock.values import InvalidValue
from penstock_bridge.codec import fields
from penstock_bridge.codec.decode import decoder
from penstock_bridge.codec.scalars import text_reader
from penstock_bridge.errors import Problem, invalid_request, invalid_value

FieldPath = tuple[str, ...]

_TEXT_MESSAGES = frozenset({fields.TIMESTAMP, fields.DURATION, fields.FIELD_MASK}) | fields.WRAPPERS
"""Messages whose JSON is one scalar, so that a parameter can carry it."""

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Query:
    """Binds the query strings of one HTTP mapping.

    Parameters are the fields that neither the path nor the body binds. Names are paths of fields, such as
    `options.onDisconnect`, in lowerCamelCase or as in the contract; repeated fields repeat their parameter.
    """

    def __init__(self, message: Descriptor, body: str, path_fields: list[FieldPath]) -> None:
        self._message = message
        self._body = body
        self._path_fields = set(path_fields)

    def bind(self, request: Message, query: str) -> None:
        """Writes the parameters of a raw query string into a request.

        Raises:
            Problem: INVALID_REQUEST, a parameter is unknown, repeated, or not of its field's type; it is named.
        """
        seen: set[FieldPath] = set()
        for pair in query.split("&"):
            if not pair:
                continue
            name, _, value = pair.partition("=")
            self._set(request, _decode(name), _decode(value), seen)

    def _set(self, request: Message, name: str, value: str, seen: set[FieldPath]) -> None:
        steps = self._resolve(name)
        path = tuple(field.name for field in steps)
        leaf = steps[-1]
        if path in seen and not fields.is_repeated(leaf):
            raise _wrong(name, "is given twice")
        seen.add(path)
        target: Any = request
        for field in steps[:-1]:
            target = getattr(target, field.name)
        try:
            _write(target, leaf, value)
        except InvalidValue as error:
            raise invalid_value(error, name) from None

    def _resolve(self, name: str) -> list[FieldDescriptor]:
        message: Descriptor | None = self._message
        steps: list[FieldDescriptor] = []
        for part in name.split("."):
            field = None if message is None else _field(message, part)
            if field is None:
                raise _wrong(name, "is no parameter of this path")
            steps.append(field)
            message = None if fields.is_repeated(field) else field.message_type
        if not takes_text(steps[-1]):
            raise _wrong(name, "cannot be sent as a parameter")
        if self._body == "*" or steps[0].name == self._body:
            raise _wrong(name, "belongs into the body")
        if tuple(field.name for field in steps) in self._path_fields:
            raise _wrong(name, "is given by the path")
        return steps


def _field(message: Descriptor, name: str) -> FieldDescriptor | None:
    for field in message.fields:
        if name in (field.json_name, field.name):
            return field
    return None


def takes_text(field: FieldDescriptor) -> bool:
    """Whether a parameter can carry the field: a scalar, a list of scalars, or a message whose JSON is one."""
    return not fields.is_message(field) or (fields.type_name(field) in _TEXT_MESSAGES and not fields.is_repeated(field))


def _write(target: Any, field: FieldDescriptor, text: str) -> None:
    if fields.is_message(field):
        inner = getattr(target, field.name)
        inner.SetInParent()
        _write_message(inner, field, text)
    elif fields.is_repeated(field):
        getattr(target, field.name).append(text_reader(field)(text))
    else:
        setattr(target, field.name, text_reader(field)(text))


def _write_message(inner: Any, field: FieldDescriptor, text: str) -> None:
    kind = fields.message_type(field)
    if kind.full_name in fields.WRAPPERS:
        inner.value = text_reader(kind.fields_by_name["value"])(text)
    else:
        decoder(kind)(text, inner)


def _decode(text: str) -> str:
    if text.isascii() and "%" not in text:
        return text.replace("+", " ")
    if _BAD_ESCAPE.search(text):
        raise invalid_request("The query holds a percent sign that starts no escape; send it as %25")
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeError:
        raise invalid_request("The query is not percent-encoded UTF-8") from None


def _wrong(name: str, why: str) -> Problem:
    return invalid_request(f"The query parameter {name!r} {why}", violations=[(name, why)])
