"""Messages to JSON.

Names are lowerCamelCase; unset scalars, lists and maps are printed, unset messages and unset fields with presence are
not; enums print as names, 64-bit integers as strings, bytes as base64. Maps have no order of their own: their keys are
sorted, so that equal messages have equal JSON.
"""

import struct
from base64 import b64encode
from collections.abc import Callable
from math import isfinite, isnan
from typing import Any

import orjson
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

# The import lets the details of an error, which travel in `Any`, be found by their names.
from google.rpc import error_details_pb2  # noqa: F401

from penstock.values import from_struct, from_value
from penstock_bridge.codec import fields
from penstock_bridge.codec.times import timestamp_text

Json = Any
"""What `orjson.dumps` takes: JSON values, and fragments that are JSON already."""

Convert = Callable[[Any], Json]
Emit = Callable[[Message, dict[str, Json]], None]

_encoders: dict[Descriptor, Convert] = {}


def encoder(descriptor: Descriptor) -> Convert:
    """The function that turns a message of this type into JSON."""
    convert = _encoders.get(descriptor)
    if convert is None:
        convert = _encoders[descriptor] = _compile(descriptor)
    return convert


def field_encoder(field: FieldDescriptor) -> Convert:
    """The function that turns one field of a message into JSON, set or not."""
    name = field.name
    if fields.is_map(field):
        entries = _map(field)
        return lambda message: entries(getattr(message, name))
    convert = _value(field)
    if fields.is_repeated(field):
        return lambda message: [convert(item) for item in getattr(message, name)]
    return lambda message: convert(getattr(message, name))


def to_json(message: Message) -> bytes:
    """A message as JSON text."""
    kind: Any = message.DESCRIPTOR
    return orjson.dumps(encoder(kind)(message))


def struct_json(message: Any) -> bytes:
    """A Struct as JSON text, its keys sorted."""
    entries = message.fields
    if len(entries) == 1:
        # A piece of text for one output: what nearly every event of a stream holds.
        [name] = entries
        value = entries[name]
        if value.HasField("string_value"):
            return orjson.dumps({name: value.string_value})
    return orjson.dumps(from_struct(message), option=orjson.OPT_SORT_KEYS)


def _compile(descriptor: Descriptor) -> Convert:
    special = _SPECIAL.get(descriptor.full_name)
    if special is not None:
        return special
    if descriptor.full_name in fields.WRAPPERS:
        return field_encoder(descriptor.fields_by_name["value"])
    emitters: list[Emit] = []

    def convert(message: Message) -> dict[str, Json]:
        out: dict[str, Json] = {}
        for emit in emitters:
            emit(message, out)
        return out

    # Known before its fields are looked at: a message may hold its own kind.
    _encoders[descriptor] = convert
    emitters.extend(_emitter(field) for field in descriptor.fields)
    return convert


def _emitter(field: FieldDescriptor) -> Emit:
    name, key = field.name, field.json_name
    value = field_encoder(field)

    def always(message: Message, out: dict[str, Json]) -> None:
        out[key] = value(message)

    def plain(message: Message, out: dict[str, Json]) -> None:
        out[key] = getattr(message, name)

    def present(message: Message, out: dict[str, Json]) -> None:
        if message.HasField(name):
            out[key] = value(message)

    if field.has_presence:
        return present
    return plain if field.cpp_type in _PLAIN and not fields.is_repeated(field) else always


def _value(field: FieldDescriptor) -> Convert:
    if fields.is_message(field):
        # Looked up when it is called, because the types of messages may form a circle.
        kind = fields.message_type(field)
        return lambda message: encoder(kind)(message)
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return _enum(fields.enum_type(field))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda data: b64encode(data).decode()
    return _SCALARS.get(field.cpp_type, lambda value: value)


def _enum(kind: EnumDescriptor) -> Convert:
    if kind.full_name == fields.NULL_VALUE:
        return lambda number: None
    names: dict[int, str | int] = {value.number: value.name for value in reversed(kind.values)}
    return lambda number: names.get(number, number)


def _map(field: FieldDescriptor) -> Convert:
    entry = fields.message_type(field).fields_by_name
    key, value = entry["key"], entry["value"]
    convert = _value(value)
    text: Callable[[Any], str] = str
    if key.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        text = {False: "false", True: "true"}.__getitem__
    return lambda entries: {text(name): convert(entries[name]) for name in sorted(entries)}


def _double(value: float) -> float | str:
    if isfinite(value):
        return value
    return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _float(value: float) -> float | str:
    if not isfinite(value):
        return _double(value)
    # The shortest text that reads back as the same 32-bit number: at most nine digits (IEEE 754).
    candidates = (float(f"{value:.{digits}g}") for digits in range(6, 9))
    return next((short for short in candidates if _to_32_bits(short) == value), float(f"{value:.9g}"))


def _to_32_bits(value: float) -> float | None:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return None


def _any(message: Any) -> Json:
    out: dict[str, Json] = {"@type": message.type_url}
    try:
        kind = descriptor_pool.Default().FindMessageTypeByName(message.type_url.rpartition("/")[2])
        inner = message_factory.GetMessageClass(kind).FromString(message.value)
    except (KeyError, DecodeError):
        # A type that this contract does not know still reaches the caller, undecoded.
        return out | {"value": b64encode(message.value).decode()}
    encoded = encoder(kind)(inner)
    return out | ({"value": encoded} if kind.full_name in fields.SPECIAL else encoded)


_PLAIN = frozenset({FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_BOOL})
"""Kinds whose Python value is their JSON value. Strings share a kind with bytes, so they are not among them."""

_SCALARS: dict[int, Convert] = {
    FieldDescriptor.CPPTYPE_INT64: str,
    FieldDescriptor.CPPTYPE_UINT64: str,
    FieldDescriptor.CPPTYPE_DOUBLE: _double,
    FieldDescriptor.CPPTYPE_FLOAT: _float,
}

_SPECIAL: dict[str, Convert] = {
    fields.STRUCT: lambda message: orjson.Fragment(struct_json(message)),
    fields.VALUE: lambda message: orjson.Fragment(orjson.dumps(from_value(message), option=orjson.OPT_SORT_KEYS)),
    fields.LIST_VALUE: lambda message: [encoder(item.DESCRIPTOR)(item) for item in message.values],
    fields.ANY: _any,
    fields.TIMESTAMP: timestamp_text,
    fields.DURATION: lambda message: message.ToJsonString(),
    fields.FIELD_MASK: lambda message: message.ToJsonString(),
}
