"""prompt flow's casts of inputs to the types of its YAML.

They are those of `promptflow.contracts.tool.ValueType.parse` in 1.18.5, with these exceptions: null is no text, an
object is an object, and a number is one that JSON has.
"""

import json
from collections.abc import Callable, Mapping
from math import isfinite

from penstock.values import INTEGER_MAX
from penstock_server.flows.violations import json_type


def to_int(value: object) -> int:
    """A whole number: of text that is one, of a number without its fraction, of a boolean.

    Raises:
        ValueError: it is none; the text says what it must be, as in all the others.
    """
    try:
        number = int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"must be an integer, not {json_type(value)}") from None
    if abs(number) > INTEGER_MAX:
        raise ValueError("must be an integer within ±2^53, which JSON carries exactly")
    return int(number)


def to_double(value: object) -> float:
    """A number: of text that is one, or of a boolean."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"must be a number, not {json_type(value)}") from None
    if not isfinite(number):
        raise ValueError("must be a finite number")
    return number


def to_bool(value: object) -> bool:
    """True or false, also as text in any case."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {json_type(value)}")
    return value


def to_string(value: object) -> str:
    """Text; of anything else what Python prints."""
    if value is None:
        raise ValueError("must be a string, not null")
    return str(value)


def to_list(value: object) -> list[object]:
    """A list, also as JSON text."""
    found = _parsed(value)
    if not isinstance(found, list):
        raise ValueError(f"must be a list, not {json_type(value)}")
    return found


def to_object(value: object) -> dict[str, object]:
    """An object, also as JSON text."""
    found = _parsed(value)
    if not isinstance(found, dict):
        raise ValueError(f"must be an object, not {json_type(value)}")
    return found


CASTS: Mapping[str, Callable[[object], object]] = {
    "int": to_int,
    "double": to_double,
    "bool": to_bool,
    "string": to_string,
    "list": to_list,
    "object": to_object,
}
"""The casts, by the names of the types."""


def _parsed(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return value


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
