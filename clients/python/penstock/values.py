"""Python values to `google.protobuf.Struct` and back, with the contract's rules on numbers, text and depth.

A JSON value here is None, bool, int, float, str, a list of them, or a dict of them with string keys. `Struct` holds
every number as a double. So an integer beyond ±2^53 has no exact form and is refused, whole numbers come back as `int`,
and NaN and the infinities, which JSON cannot say, are refused. Values nest at most `DEPTH_MAX` deep, which is what a
message may carry before a protobuf parser gives up on it, and hold at most `VALUES_MAX` values, because each costs far
more time than its bytes tell.
"""

from collections.abc import Mapping, Sequence
from math import isfinite

from google.protobuf.struct_pb2 import ListValue, Struct, Value

JsonValue = None | bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"]

DEPTH_MAX = 32
"""How deep objects and lists may nest; the outermost object counts."""

VALUES_MAX = 100_000
"""How many values one object or list may hold, at all its depths together."""

INTEGER_MAX = 2**53
"""The largest magnitude up to which every integer has an exact double (IEEE 754)."""


class InvalidValue(ValueError):
    """A value that the contract cannot carry.

    Attributes:
        path: where it is, such as `("filters", "tags", 3)`; empty for the value as a whole.
        description: what is wrong with it and what to do instead.
    """

    def __init__(self, description: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(description)
        self.description = description
        self.path = path

    def within(self, key: str | int) -> "InvalidValue":
        """The same complaint, seen from the container that holds the value under `key`."""
        return InvalidValue(self.description, (key, *self.path))

    def field(self, root: str) -> str:
        """The path in the notation of `google.rpc.BadRequest`: `inputs.filters.tags[3]`."""
        return root + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in self.path)

    def __str__(self) -> str:
        where = self.field("").lstrip(".")
        return f"{where}: {self.description}" if where else self.description


class Allowance:
    """How deep and how much a value may still hold: each container asks before it is looked into.

    Attributes:
        left: how many values may still come.
    """

    left = VALUES_MAX

    def enter(self, room: int, count: int) -> None:
        """Lets a container in.

        Args:
            room: how many levels there may still be, this one included.
            count: how many values it holds itself.

        Raises:
            InvalidValue: it lies too deep, or holds more values than may still come.
        """
        if room <= 0:
            raise InvalidValue(f"the value nests more than {DEPTH_MAX} deep")
        self.left -= count
        if self.left < 0:
            raise InvalidValue(TOO_MANY_VALUES)


TOO_MANY_VALUES = f"the whole holds more than {VALUES_MAX} values up to here; put such data into text, or split it"


def to_struct(source: Mapping[str, object], target: Struct | None = None) -> Struct:
    """Writes a JSON object into `target` (a new Struct by default) and returns it.

    Raises:
        InvalidValue: something in `source` is no JSON value, or none that the contract carries, or there is too much.
    """
    struct = Struct() if target is None else target
    _write_object(source, struct, DEPTH_MAX, Allowance())
    return struct


def to_value(source: object, target: Value | None = None) -> Value:
    """Writes a JSON value into `target` (a new Value by default) and returns it. Raises like `to_struct`."""
    value = Value() if target is None else target
    _write(source, value, DEPTH_MAX, Allowance())
    return value


def from_struct(source: Struct, *, exact: bool = False) -> dict[str, object]:
    """Reads a Struct as a dict. Whole numbers become `int`.

    Args:
        exact: refuse whole numbers beyond ±2^53, which may have been another integer before they became a double.

    Raises:
        InvalidValue: a number is not finite, or not exact where that is asked, or the value nests too deep or holds too
            many values.
    """
    return _read_object(source, exact, DEPTH_MAX, Allowance())


def from_value(source: Value, *, exact: bool = False) -> object:
    """Reads a Value. The empty Value reads as None. Raises like `from_struct`."""
    return _read(source, exact, DEPTH_MAX, Allowance())


def _write(source: object, target: Value, room: int, allowance: Allowance) -> None:
    kind = source.__class__
    if kind is str:
        _write_text(source, target)
    elif kind is bool:
        target.bool_value = source  # type: ignore[assignment]
    elif kind is int:
        target.number_value = _exact(source)  # type: ignore[arg-type]
    elif kind is float:
        target.number_value = _finite(source)  # type: ignore[arg-type]
    elif source is None:
        target.null_value = 0  # type: ignore[assignment]
    else:
        _write_other(source, target, room, allowance)


def _write_other(source: object, target: Value, room: int, allowance: Allowance) -> None:
    """Containers, and subclasses of the scalar types (an enum that is a str, numpy's float64)."""
    if isinstance(source, Mapping):
        target.struct_value.SetInParent()
        _write_object(source, target.struct_value, room, allowance)
    elif isinstance(source, (list, tuple)):
        target.list_value.SetInParent()
        _write_list(source, target.list_value, room, allowance)
    elif isinstance(source, str):
        _write_text(source, target)
    elif isinstance(source, int):
        target.number_value = _exact(source)
    elif isinstance(source, float):
        target.number_value = _finite(source)
    else:
        raise InvalidValue(f"a {type(source).__name__} is not a JSON value")


def _write_object(source: Mapping[str, object], target: Struct, room: int, allowance: Allowance) -> None:
    allowance.enter(room, len(source))
    fields = target.fields
    for key, item in source.items():
        try:
            _write(item, fields[key], room - 1, allowance)
        except InvalidValue as error:
            raise error.within(key) from None
        except TypeError:
            raise InvalidValue(f"the key {key!r} is not text; JSON objects have text keys") from None
        except UnicodeEncodeError:
            raise InvalidValue(f"the key {key!r} holds a lone surrogate, which is not valid text") from None


def _write_list(source: Sequence[object], target: ListValue, room: int, allowance: Allowance) -> None:
    allowance.enter(room, len(source))
    add = target.values.add
    for index, item in enumerate(source):
        try:
            _write(item, add(), room - 1, allowance)
        except InvalidValue as error:
            raise error.within(index) from None


def _write_text(source: object, target: Value) -> None:
    try:
        target.string_value = source  # type: ignore[assignment]
    except UnicodeEncodeError:
        raise InvalidValue("the text holds a lone surrogate, which is not valid UTF-8") from None


def _read(source: Value, exact: bool, room: int, allowance: Allowance) -> object:
    kind = source.WhichOneof("kind")
    if kind == "string_value":
        return source.string_value
    if kind == "number_value":
        return _number(source.number_value, exact)
    if kind == "bool_value":
        return source.bool_value
    if kind == "struct_value":
        return _read_object(source.struct_value, exact, room, allowance)
    if kind == "list_value":
        return _read_list(source.list_value, exact, room, allowance)
    return None


def _read_object(source: Struct, exact: bool, room: int, allowance: Allowance) -> dict[str, object]:
    fields = source.fields
    allowance.enter(room, len(fields))
    result: dict[str, object] = {}
    for key, value in fields.items():
        try:
            result[key] = _read(value, exact, room - 1, allowance)
        except InvalidValue as error:
            raise error.within(key) from None
    return result


def _read_list(source: ListValue, exact: bool, room: int, allowance: Allowance) -> list[object]:
    values = source.values
    allowance.enter(room, len(values))
    result: list[object] = []
    for index, value in enumerate(values):
        try:
            result.append(_read(value, exact, room - 1, allowance))
        except InvalidValue as error:
            raise error.within(index) from None
    return result


def _number(number: float, exact: bool) -> int | float:
    if number.is_integer():
        if exact and not -INTEGER_MAX <= number <= INTEGER_MAX:
            raise InvalidValue(_INEXACT.format(int(number)))
        return int(number) if -INTEGER_MAX <= number <= INTEGER_MAX else number
    return _finite(number)


def _exact(number: int) -> int:
    if not -INTEGER_MAX <= number <= INTEGER_MAX:
        shown = str(number) if number.bit_length() < _SHOWN_BITS_MAX else "the number"
        raise InvalidValue(_INEXACT.format(shown))
    return number


def _finite(number: float) -> float:
    if not isfinite(number):
        raise InvalidValue(f"{number} is not a JSON number")
    return number


_INEXACT = "{} is a whole number beyond ±2^53, which JSON's doubles cannot hold exactly; send it as a string"
_SHOWN_BITS_MAX = 1100
