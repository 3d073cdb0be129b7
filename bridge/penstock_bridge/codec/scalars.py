"""JSON values, and the text of query parameters, to the values of scalar fields."""

import re
import struct
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from math import isinf

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from penstock.values import InvalidValue
from penstock_bridge.codec import fields

Read = Callable[[object], object]


def reader(field: FieldDescriptor) -> Read:
    """The function that checks a JSON value and turns it into the field's; it raises InvalidValue."""
    if field.cpp_type in fields.INTEGER_RANGES:
        return _integer(*fields.INTEGER_RANGES[field.cpp_type])
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return _enum(fields.enum_type(field))
    return _READERS[field.type]


def text_reader(field: FieldDescriptor) -> Callable[[str], object]:
    """The same for text in a path or a query, where numbers and booleans have no form of their own."""
    read = reader(field)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return _bool_text
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return lambda text: read(int(text) if _DECIMAL.fullmatch(text) else text)
    return read


def kind_of(value: object) -> str:
    """What a JSON value is, for people."""
    return _KINDS.get(value.__class__, "a number")


def _integer(low: int, high: int) -> Read:
    def read(value: object) -> int:
        number = value
        if (number.__class__ is str and _DECIMAL.fullmatch(number)) or (
            number.__class__ is float and number.is_integer()
        ):
            number = int(number)
        if number.__class__ is not int:
            raise InvalidValue(f"must be a whole number, not {_shown(value)}")
        if not low <= number <= high:
            raise InvalidValue(f"must lie between {low} and {high}")
        return number

    return read


def _enum(kind: EnumDescriptor) -> Read:
    numbers = {value.name: value.number for value in kind.values}
    known = ", ".join(value.name for value in kind.values if value.number != 0)

    def read(value: object) -> int:
        if value.__class__ is str and value in numbers:
            return numbers[value]
        if value.__class__ is int and value in kind.values_by_number:
            return value
        raise InvalidValue(f"must be one of {known}, not {_shown(value)}")

    return read


def _float(value: object) -> float:
    number = _double(value)
    try:
        struct.pack("<f", number)
    except OverflowError:
        raise InvalidValue("must fit into a 32-bit float") from None
    return number


def _double(value: object) -> float:
    if value.__class__ is float or value.__class__ is int:
        return float(value)
    if value.__class__ is str:
        special = _SPECIAL_FLOATS.get(value)
        if special is not None:
            return float(special)
        if _NUMBER.fullmatch(value) and not isinf(float(value)):
            return float(value)
    raise InvalidValue(f"must be a number, not {_shown(value)}")


def _bool(value: object) -> bool:
    if value.__class__ is not bool:
        raise InvalidValue(f"must be true or false, not {_shown(value)}")
    return value


def _bool_text(text: str) -> bool:
    if text not in ("true", "false"):
        raise InvalidValue(f"must be true or false, not {_shown(text)}")
    return text == "true"


def _string(value: object) -> str:
    if value.__class__ is not str:
        raise InvalidValue(f"must be a string, not {kind_of(value)}")
    return value


def _bytes(value: object) -> bytes:
    """Base64, in either alphabet, with or without padding."""
    text = _string(value).rstrip("=").translate(_URL_SAFE)
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (Base64Error, ValueError):
        raise InvalidValue("must be base64") from None


def _shown(value: object) -> str:
    if value.__class__ is str:
        text = value[:_SHOWN_MAX]
        return repr(text) + ("…" if len(value) > _SHOWN_MAX else "")
    if value.__class__ is int or value.__class__ is float:
        return str(value)
    return kind_of(value)


_SHOWN_MAX = 40
_DECIMAL = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_SPECIAL_FLOATS = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}
_URL_SAFE = str.maketrans("-_", "+/")
_KINDS = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
_READERS: dict[int, Read] = {
    FieldDescriptor.TYPE_FLOAT: _float,
    FieldDescriptor.TYPE_DOUBLE: _double,
    FieldDescriptor.TYPE_BOOL: _bool,
    FieldDescriptor.TYPE_STRING: _string,
    FieldDescriptor.TYPE_BYTES: _bytes,
}
