"""JSON to messages, strictly.

Names may be lowerCamelCase or those of the contract. What is unknown, of the wrong type, given twice, or null where a
value must stand, is an error that names its place; null for a field means that the field is not set.
"""

from collections.abc import Callable
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from penstock.values import InvalidValue, to_struct, to_value
from penstock_bridge.codec import fields
from penstock_bridge.codec.scalars import Read, kind_of, reader

Decode = Callable[[object, Any], None]
"""Writes a JSON value into a message; raises InvalidValue."""

Set = Callable[[Any, object], None]
"""Writes a JSON value into one field of a message; raises InvalidValue."""

_decoders: dict[Descriptor, Decode] = {}


def decoder(descriptor: Descriptor) -> Decode:
    """The function that fills a message of this type from JSON."""
    decode = _decoders.get(descriptor)
    if decode is None:
        decode = _decoders[descriptor] = _compile(descriptor)
    return decode


def field_decoder(field: FieldDescriptor) -> Set:
    """The function that sets one field of a message from JSON."""
    if fields.is_map(field):
        return _map(field)
    if fields.is_repeated(field):
        return _list(field)
    name = field.name
    if fields.is_message(field):
        return _message(field)
    read = _nullable(field, reader(field))

    def set_scalar(target: Any, value: object) -> None:
        try:
            setattr(target, name, read(value))
        except UnicodeEncodeError:
            raise InvalidValue("the text holds a lone surrogate, which is not valid UTF-8") from None

    return set_scalar


def _compile(descriptor: Descriptor) -> Decode:
    special = _SPECIAL.get(descriptor.full_name)
    if special is not None:
        return special
    if descriptor.full_name in fields.WRAPPERS:
        set_value = field_decoder(descriptor.fields_by_name["value"])
        return lambda value, target: set_value(target, value)
    known: dict[str, tuple[FieldDescriptor, Set]] = {}

    def decode(value: object, target: Message) -> None:
        _decode_object(value, target, known)

    # Known before its fields are looked at: a message may hold its own kind.
    _decoders[descriptor] = decode
    for name, field in fields.lookup(list(descriptor.fields)).items():
        known[name] = (field, field_decoder(field))
    return decode


def _decode_object(value: object, target: Message, known: dict[str, tuple[FieldDescriptor, Set]]) -> None:
    if value.__class__ is not dict:
        raise InvalidValue(f"must be an object, not {kind_of(value)}")
    seen: set[int] = set()
    for key, item in value.items():
        entry = known.get(key)
        if entry is None:
            raise InvalidValue(_unknown(known), (key,))
        field, set_field = entry
        if field.number in seen:
            raise InvalidValue(f"is given twice, as {field.json_name} and as {field.name}", (field.json_name,))
        seen.add(field.number)
        if item is None and not _takes_null(field):
            continue
        try:
            _refuse_second_member(field, target)
            set_field(target, item)
        except InvalidValue as error:
            raise error.within(field.json_name) from None


def _unknown(known: dict[str, tuple[FieldDescriptor, Set]]) -> str:
    names = dict.fromkeys(field.json_name for field, _ in known.values())
    return "there is no such field" + (f"; there are {', '.join(names)}" if names else "")


def _refuse_second_member(field: FieldDescriptor, target: Message) -> None:
    oneof = field.containing_oneof
    if oneof is None:
        return
    other = target.WhichOneof(oneof.name)
    if other is not None and other != field.name:
        raise InvalidValue(f"excludes {other}, which is given, too")


def _takes_null(field: FieldDescriptor) -> bool:
    """`Value` and `NullValue` have null among their values."""
    return fields.type_name(field) in (fields.VALUE, fields.NULL_VALUE) and not fields.is_repeated(field)


def _nullable(field: FieldDescriptor, read: Read) -> Read:
    if fields.type_name(field) != fields.NULL_VALUE:
        return read
    return lambda value: 0 if value is None else read(value)


def _message(field: FieldDescriptor) -> Set:
    name, kind = field.name, fields.message_type(field)

    def set_message(target: Any, value: object) -> None:
        inner = getattr(target, name)
        inner.SetInParent()
        decoder(kind)(value, inner)

    return set_message


def _list(field: FieldDescriptor) -> Set:
    name, add = field.name, _item(field)

    def set_list(target: Any, value: object) -> None:
        if value.__class__ is not list:
            raise InvalidValue(f"must be a list, not {kind_of(value)}")
        items = getattr(target, name)
        for index, item in enumerate(value):
            try:
                add(items, item)
            except InvalidValue as error:
                raise error.within(index) from None

    return set_list


def _item(field: FieldDescriptor) -> Set:
    if not fields.is_message(field):
        read = _nullable(field, reader(field))
        return lambda items, value: items.append(read(value))
    kind = fields.message_type(field)

    def add_message(items: Any, value: object) -> None:
        decoder(kind)(value, items.add())

    return add_message


def _map(field: FieldDescriptor) -> Set:
    name = field.name
    entry = fields.message_type(field).fields_by_name
    key, value_field = entry["key"], entry["value"]
    read_key = _map_key(key)
    put = _entry(value_field)

    def set_map(target: Any, value: object) -> None:
        if value.__class__ is not dict:
            raise InvalidValue(f"must be an object, not {kind_of(value)}")
        entries = getattr(target, name)
        for text, item in value.items():
            try:
                put(entries, read_key(text), item)
            except InvalidValue as error:
                raise error.within(text) from None

    return set_map


def _entry(field: FieldDescriptor) -> Callable[[Any, object, object], None]:
    if not fields.is_message(field):
        read = _nullable(field, reader(field))

        def put_scalar(entries: Any, key: object, value: object) -> None:
            entries[key] = read(value)

        return put_scalar
    kind = fields.message_type(field)

    def put_message(entries: Any, key: object, value: object) -> None:
        decoder(kind)(value, entries[key])

    return put_message


def _map_key(field: FieldDescriptor) -> Read:
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        read = reader(field)
        return lambda text: read({"true": True, "false": False}.get(text, text))  # type: ignore[call-overload]
    return reader(field)


def _struct(value: object, target: Any) -> None:
    if value.__class__ is not dict:
        raise InvalidValue(f"must be an object, not {kind_of(value)}")
    to_struct(value, target)


def _value(value: object, target: Any) -> None:
    to_value(value, target)


def _list_value(value: object, target: Any) -> None:
    if value.__class__ is not list:
        raise InvalidValue(f"must be a list, not {kind_of(value)}")
    target.CopyFrom(to_value(value).list_value)


def _text_form(example: str) -> Decode:
    """Messages that read their own JSON text: Timestamp, Duration, FieldMask."""

    def decode(value: object, target: Any) -> None:
        try:
            target.FromJsonString(value)
        except (ValueError, TypeError, AttributeError):
            raise InvalidValue(f"must be text such as {example!r}") from None

    return decode


def _any(value: object, target: Any) -> None:
    if value.__class__ is not dict:
        raise InvalidValue(f"must be an object, not {kind_of(value)}")
    entries: dict[str, object] = dict(value)
    url = entries.pop("@type", None)
    try:
        kind = descriptor_pool.Default().FindMessageTypeByName(str(url).rpartition("/")[2])
    except KeyError:
        raise InvalidValue("must be the URL of a known message type", ("@type",)) from None
    inner = message_factory.GetMessageClass(kind)()
    decoder(kind)(entries.get("value") if kind.full_name in fields.SPECIAL else entries, inner)
    target.type_url, target.value = url, inner.SerializeToString(deterministic=True)


_SPECIAL: dict[str, Decode] = {
    fields.STRUCT: _struct,
    fields.VALUE: _value,
    fields.LIST_VALUE: _list_value,
    fields.ANY: _any,
    fields.TIMESTAMP: _text_form("2026-11-23T15:30:00Z"),
    fields.DURATION: _text_form("1.5s"),
    fields.FIELD_MASK: _text_form("title,labels"),
}
