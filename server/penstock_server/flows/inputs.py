"""The inputs of a flow: how callers may send them, and what the flow's code gets."""

import copy
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ConfigDict, TypeAdapter, ValidationError

from penstock.media import File, Image
from penstock.values import INTEGER_MAX, InvalidValue
from penstock_server.errors import InvalidRequest
from penstock_server.flows.flow import JsonSchema
from penstock_server.flows.results import jsonable
from penstock_server.flows.schemas import UnsupportedHint, adapter, modern, schema_of, typed_dict
from penstock_server.flows.uservalidators import has_user_code, may_fetch
from penstock_server.flows.violations import violations

MISSING: Any = object()
"""Stands for a default that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input."""

    name: str
    hint: Any = Any
    """The type hint that its values must satisfy."""
    default: Any = MISSING
    """What the flow's code gets when the caller sends nothing; an input without one is required."""
    description: str = ""


class Inputs:
    """All inputs of one flow.

    Attributes:
        names: the inputs, in the order of their declaration.
        schema: the JSON Schema of the object that holds them.
        has_user_code: whether `bind` may execute code of the flow, such as a validator, which may block.
        may_fetch: whether a value may be an address whose content `bind` needs.
    """

    def __init__(self, inputs: Sequence[Input], *, others: bool = False) -> None:
        """Reads the inputs.

        Args:
            others: whether callers may send inputs that are not declared.

        Raises:
            UnsupportedInput: the hint of an input is nothing that JSON can satisfy.
        """
        for each in inputs:
            _check(each)
        adapted = _adapted(inputs, others)
        self.names = tuple(each.name for each in inputs)
        self.schema: JsonSchema = _schema(adapted, inputs)
        self.has_user_code = has_user_code(adapted)
        self.may_fetch = self.has_user_code or may_fetch(adapted)
        self._validate: Callable[..., dict[str, object]] = adapted.validator.validate_json
        self._defaults = {each.name: each.default for each in inputs if each.default is not MISSING}
        self._copied = tuple(name for name, default in self._defaults.items() if _is_mutable_json(default))

    def bind(self, values: Mapping[str, object]) -> dict[str, object]:
        """Checks JSON values as strictly as JSON allows and returns what the code gets, with the defaults.

        An integer serves for a number, and a number without a fraction for an integer; nothing else is converted.

        Raises:
            InvalidRequest: an input is missing, unknown or of the wrong type; each such input is named.
            Exception: code of the flow raised it, and it is none with which a validator refuses a value.
        """
        arguments = dict(self._defaults)
        for name in self._copied:
            if name not in values:
                arguments[name] = copy.deepcopy(arguments[name])
        try:
            arguments.update(self._validate(orjson.dumps(values), strict=True))
        except ValidationError as error:
            arguments.update(self._second_try(values, error))
        except orjson.JSONEncodeError as error:
            raise InvalidRequest(f"inputs: not JSON: {error}", violations=[("inputs", f"not JSON: {error}")]) from None
        return arguments

    def _second_try(self, values: Mapping[str, object], error: ValidationError) -> dict[str, object]:
        whole = _with_whole_numbers(values, error)
        if whole is None:
            raise InvalidRequest.of(violations(error, values, self.names)) from None
        try:
            return self._validate(orjson.dumps(whole), strict=True)
        except ValidationError as still:
            raise InvalidRequest.of(violations(still, whole, self.names)) from None


class UnsupportedInput(Exception):
    """An input whose type hint is nothing that JSON can satisfy.

    Attributes:
        name: the input.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


def _check(declared: Input) -> None:
    try:
        schema_of(adapter(declared.hint), "validation")
    except UnsupportedHint as error:
        raise UnsupportedInput(declared.name, str(error)) from error


def _adapted(inputs: Sequence[Input], others: bool) -> TypeAdapter[Any]:
    """One adapter for the whole object: a TypedDict, for it takes any name and leaves absent inputs absent."""
    items = {each.name: _item(each) for each in inputs}
    shape = typed_dict("Inputs", items)
    shape.__pydantic_config__ = ConfigDict(extra="allow" if others else "forbid", strict=True)
    return TypeAdapter(shape)


def _item(declared: Input) -> Any:
    presence = typing.Required if declared.default is MISSING else typing.NotRequired
    return presence[modern(declared.hint)]


def _schema(adapted: TypeAdapter[Any], inputs: Sequence[Input]) -> JsonSchema:
    schema = schema_of(adapted, "validation")
    schema.pop("title", None)
    for each in inputs:
        entry = schema["properties"][each.name]
        if each.description:
            entry.setdefault("description", each.description)
        try:
            if each.default is not MISSING and not isinstance(each.default, (Image, File)):
                entry["default"] = jsonable(each.default)
        except InvalidValue:
            continue  # a default that only Python can say: callers know that there is one, as it is not required
    return {"type": "object", "properties": {}, **schema}


def _is_mutable_json(value: object) -> bool:
    if type(value) not in (list, dict):
        return False
    try:
        return jsonable(value) is not None
    except InvalidValue:
        return False


def _with_whole_numbers(values: Mapping[str, object], error: ValidationError) -> dict[str, object] | None:
    """The values with whole floats as integers where integers were asked for; None where that is not what is wrong."""
    found = [
        item["loc"][0]
        for item in error.errors(include_url=False, include_context=False)
        if item["type"] == "int_type" and len(item["loc"]) == 1 and _is_whole(item["input"])
    ]
    if not found:
        return None
    return {name: int(value) if name in found else value for name, value in values.items()}  # type: ignore[call-overload]


def _is_whole(value: object) -> bool:
    return isinstance(value, float) and value.is_integer() and abs(value) <= INTEGER_MAX
