"""What pydantic finds wrong with inputs, in sentences for the caller (google.rpc.BadRequest)."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from penstock.status import Violation
from penstock.values import InvalidValue
from penstock_server.flows.problems import did_you_mean, listed

VIOLATIONS_BYTES_MAX = 1200
"""How large the violations of one error are in all; an error travels in metadata, two or three times over."""

ERRORS_MAX = 1000
"""Of how many errors the violations are worked out; a caller who sends more has other problems than a name."""

FIELD_CHARS_MAX = 120
"""How much of a field's path an error shows."""

TEXT_CHARS_MAX = 300
"""How long the sentence of one violation is."""


def violations(error: ValidationError, values: Mapping[str, object], names: Sequence[str]) -> list[Violation]:
    """The violations, one a field; where a value fits no member of a union, one sentence says what each asks for.

    As many as `VIOLATIONS_BYTES_MAX` allows; a last one, of `inputs`, counts the rest.
    """
    if error.error_count() > ERRORS_MAX:
        return [("inputs", f"there are {error.error_count()} violations; the inputs are: {listed(names)}")]
    texts: dict[tuple[str | int, ...], list[str]] = {}
    for item in error.errors(include_url=False):
        path = _path(item, values)
        texts.setdefault(path, []).append(_sentence(item, names, top=len(path) == 1))
    return _shortened([(_field(path), " or ".join(dict.fromkeys(each))) for path, each in texts.items()])


def _shortened(found: list[Violation]) -> list[Violation]:
    room = VIOLATIONS_BYTES_MAX
    shown: list[Violation] = []
    for field, text in found:
        text = _cut(text, TEXT_CHARS_MAX)
        room -= len(field.encode()) + len(text.encode())
        if room < 0 and shown:
            return [*shown, ("inputs", f"and {len(found) - len(shown)} more violations")]
        shown.append((field, text))
    return shown


def _path(item: Any, values: object) -> tuple[str | int, ...]:
    """The place in the caller's own values: pydantic's, without the names of union members that it puts between."""
    path: list[str | int] = []
    here = values
    for index, part in enumerate(item["loc"]):
        if _holds(here, part):
            here = here[part]  # type: ignore[index]
        elif not (item["type"] == "missing" and index == len(item["loc"]) - 1):
            continue
        path.append(part)
    return tuple(path)


def _holds(container: object, part: object) -> bool:
    if isinstance(container, Mapping):
        return part in container
    return isinstance(container, list) and isinstance(part, int) and part < len(container)


def _field(path: tuple[str | int, ...]) -> str:
    return _cut(InvalidValue("", path).field("inputs"), FIELD_CHARS_MAX)


def _sentence(item: Any, names: Sequence[str], *, top: bool) -> str:
    kind = item["type"]
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        return _unknown(str(item["loc"][-1]), names) if top else "is not a field here"
    text = _EXPECTED.get(kind)
    if text is None:
        text = _reworded(item["msg"])
    return f"{text}, not {json_type(item['input'])}" if kind.endswith("_type") else text


def _unknown(name: str, names: Sequence[str]) -> str:
    text = "is not an input of this flow"
    hint = did_you_mean(name, names)
    return f"{text}; {hint}" if hint else f"{text}; it has none"


def _reworded(message: str) -> str:
    for start, instead in _REWORDED.items():
        if message.startswith(start):
            return instead + message[len(start) :]
    return message[:1].lower() + message[1:]


def json_type(value: object) -> str:
    """What a JSON value is, in words for a caller."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, int):
        return "an integer"
    if isinstance(value, float):
        return "a number with a fraction" if not value.is_integer() else "a number"
    return "an object" if isinstance(value, Mapping) else "a list"


def _cut(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else f"{text[:chars_max]}…"


_EXPECTED = {
    "int_type": "must be an integer",
    "int_from_float": "must be an integer, not a number with a fraction",
    "float_type": "must be a number",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "set_type": "must be a list",
    "frozen_set_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dataclass_type": "must be an object",
    "none_required": "must be null",
}
_REWORDED = {"Input should ": "must ", "Value should ": "must ", "Value error, ": "", "Assertion failed, ": ""}
