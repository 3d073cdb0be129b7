"""What a callable returns, as the outputs of a flow.

A result that is an object gives its keys as the outputs: a TypedDict, a dataclass or a pydantic model, and any dict,
whether the annotation says so or not. Anything else is one output: `answer` in a chat flow, `output` elsewhere.
An output streams where the annotation, or `yield`, says that it is an iterator; its chunks are what it yields, and its
whole is their text, or the list of them where they are not all text. An iterator that nothing announced is run to its
end, and its whole is told at once: callers have been promised a whole.
"""

import collections.abc
import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from types import UnionType
from typing import Any

from pydantic import BaseModel

from penstock_server.flows.flow import JsonSchema
from penstock_server.flows.results import fields_of
from penstock_server.flows.schemas import output_schema_of
from penstock_server.flows.usercode import Form

UNKNOWN: Any = object()
"""Stands for an annotation that is not there."""


class Returns:
    """The outputs of a callable, read from its return annotation.

    Attributes:
        name: the output that a plain result is.
        streaming: the outputs that stream.
        schema: the JSON Schema of the object of outputs.
    """

    def __init__(self, hint: Any, form: Form, name: str) -> None:
        self.name = name
        self.streaming, self.schema = _read(hint, form, name)

    def outputs(self, result: object) -> Mapping[str, object]:
        """The result by output, each as it is."""
        if result.__class__ is str:
            return {self.name: result}
        if isinstance(result, BaseModel):
            result = result.model_dump(mode="json", by_alias=True)
        fields: Mapping[Any, object] | None = fields_of(result)
        return {self.name: result} if fields is None else fields


def is_streaming(hint: Any, form: Form) -> bool:
    """Whether code of this form, with this return annotation, announces a stream."""
    return form in (Form.GENERATOR, Form.ASYNC_GENERATOR) or stream_item(_awaited(hint)) is not UNKNOWN


def whole_schema(hint: Any, form: Form) -> dict[str, Any]:
    """The schema of the whole that code of this form returns, with this return annotation."""
    hint = _awaited(hint)
    if form in (Form.GENERATOR, Form.ASYNC_GENERATOR):
        return _stream_schema(_yielded(hint))
    item = stream_item(hint)
    if item is not UNKNOWN:
        return _stream_schema(item)
    return {} if hint is UNKNOWN else output_schema_of(hint)


def stream_item(hint: Any) -> Any:
    """What an iterator hint yields, such as `str` of `Iterator[str]`; UNKNOWN if the hint is no iterator.

    Of a union the first member that is an iterator counts: code that may stream is announced as streaming.
    """
    if typing.get_origin(hint) in (typing.Union, UnionType):
        items = [stream_item(member) for member in typing.get_args(hint)]
        return next((item for item in items if item is not UNKNOWN), UNKNOWN)
    if typing.get_origin(hint) is typing.Annotated:
        return stream_item(typing.get_args(hint)[0])
    origin = typing.get_origin(hint) or hint
    if origin not in _STREAMS:
        return UNKNOWN
    arguments = typing.get_args(hint)
    return arguments[0] if arguments else Any


def _read(hint: Any, form: Form, name: str) -> tuple[tuple[str, ...], JsonSchema]:
    if is_streaming(hint, form):
        return (name,), _object({name: whole_schema(hint, form)}, (name,))
    hint = _awaited(hint)
    if hint is UNKNOWN or hint is Any:
        return (), {"type": "object", "properties": {name: {}}, "additionalProperties": True}
    fields = _fields(hint)
    if fields is not None:
        return _read_fields(hint, fields)
    schema = output_schema_of(hint)
    if schema.get("type") == "object":
        return (), {"properties": {}, **schema}
    return (), _object({name: schema}, (name,))


def _read_fields(hint: Any, fields: Mapping[str, Any]) -> tuple[tuple[str, ...], JsonSchema]:
    """The outputs of a TypedDict or a dataclass, whose fields may be iterators."""
    streams = {name: stream_item(field) for name, field in fields.items()}
    properties = {
        name: output_schema_of(field) if streams[name] is UNKNOWN else _stream_schema(streams[name])
        for name, field in fields.items()
    }
    streaming = tuple(name for name, item in streams.items() if item is not UNKNOWN)
    if not streaming:
        whole = output_schema_of(hint)
        if whole.get("type") == "object":
            return (), {"properties": {}, **whole}
    required = getattr(hint, "__required_keys__", tuple(fields))
    return streaming, _object(properties, tuple(name for name in fields if name in required))


def _fields(hint: Any) -> Mapping[str, Any] | None:
    if not (typing.is_typeddict(hint) or (isinstance(hint, type) and is_dataclass(hint))):
        return None
    try:
        return typing.get_type_hints(hint)
    except NameError:
        return None


def _stream_schema(item: Any) -> dict[str, Any]:
    """The schema of the whole of a stream of `item`s."""
    if item is str:
        return {"type": "string"}
    return {} if item is Any else {"type": "array", "items": output_schema_of(item)}


def _yielded(hint: Any) -> Any:
    """What a generator function yields, by its return annotation."""
    item = stream_item(hint)
    if item is UNKNOWN and typing.get_origin(hint) is collections.abc.Iterable:
        item = typing.get_args(hint)[0]
    return Any if item is UNKNOWN else item


def _awaited(hint: Any) -> Any:
    if typing.get_origin(hint) in (collections.abc.Awaitable, collections.abc.Coroutine):
        return typing.get_args(hint)[-1]
    return hint


def _object(properties: Mapping[str, Any], required: tuple[str, ...]) -> JsonSchema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


_STREAMS = (
    collections.abc.Iterator,
    collections.abc.Generator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncGenerator,
    collections.abc.AsyncIterable,
)
