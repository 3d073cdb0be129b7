"""JSON Schemas (draft 2020-12) of type hints."""

import sys
import typing
from collections.abc import Mapping
from types import GenericAlias, UnionType
from typing import Annotated, Any, Literal

import typing_extensions
from pydantic import TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError
from pydantic.json_schema import GenerateJsonSchema

INLINED_VALUES_MAX = 5_000
"""How many values a schema holds at most once its definitions are written where they are used."""

INLINED_DEPTH_MAX = 26
"""How deep such a schema nests at most; a message carries values that nest 32 deep."""


class UnsupportedHint(Exception):
    """A type hint that no JSON value can satisfy."""


def adapter(hint: Any) -> TypeAdapter[Any]:
    """A pydantic adapter of a type hint.

    Raises:
        UnsupportedHint: pydantic cannot read such values from JSON.
    """
    try:
        return TypeAdapter(modern(hint))
    except (PydanticUserError, TypeError, NameError, RecursionError) as error:
        raise UnsupportedHint(str(error).partition("\n")[0]) from error


def schema_of(adapted: TypeAdapter[Any], mode: Literal["validation", "serialization"]) -> dict[str, Any]:
    """The schema of an adapted hint, with definitions written where they are used unless they refer to themselves.

    Raises:
        UnsupportedHint: pydantic has no JSON Schema for it.
    """
    try:
        return inlined(adapted.json_schema(mode=mode, schema_generator=_Untitled))
    except (PydanticUserError, PydanticInvalidForJsonSchema) as error:
        raise UnsupportedHint(str(error).partition("\n")[0]) from error


def output_schema_of(hint: Any) -> dict[str, Any]:
    """The schema of a value that a flow returns; any value where nothing is known of it."""
    try:
        return schema_of(adapter(hint), "serialization")
    except UnsupportedHint:
        return {}


def modern(hint: Any) -> Any:
    """The hint with `typing.TypedDict`s replaced by their namesakes from typing_extensions.

    Before Python 3.12 pydantic accepts those alone, and people write the others.
    """
    if typing.is_typeddict(hint):
        return _modern_typed_dict(hint)
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is Annotated:
        return Annotated[(modern(arguments[0]), *arguments[1:])]
    if not arguments or typing.get_origin(hint) is Literal:
        return hint
    new = tuple(modern(argument) if _is_hint(argument) else argument for argument in arguments)
    if all(one is other for one, other in zip(new, arguments, strict=True)):
        return hint
    if isinstance(hint, UnionType):
        return typing.Union[new]  # noqa: UP007
    if isinstance(hint, GenericAlias):
        return GenericAlias(typing.get_origin(hint), new)
    return hint.copy_with(new)


def typed_dict(name: str, items: Mapping[str, Any]) -> Any:
    """A TypedDict made at run time."""
    make: Any = typing_extensions.TypedDict
    return make(name, dict(items))


def inlined(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without `$defs`, each definition written where it is referred to; those that nest themselves stay.

    A schema that would become too large or too deep that way stays as it is.
    """
    try:
        return _Inliner(schema.get("$defs", {})).inlined(schema)
    except _TooLarge:
        return dict(schema)


class _TooLarge(Exception):
    """A schema that is better left with its definitions apart."""


class _Inliner:
    """Writes definitions out."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._recursive: set[str] = set()
        self._count = 0

    def inlined(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        body = self._inline({key: item for key, item in schema.items() if key != "$defs"}, (), 0)
        kept = {name: self._inline(self._definitions[name], (name,), 2) for name in sorted(self._recursive)}
        return {**body, "$defs": kept} if kept else dict(body)

    def _inline(self, schema: Any, within: tuple[str, ...], depth: int) -> Any:
        self._count += 1
        if self._count > INLINED_VALUES_MAX or depth > INLINED_DEPTH_MAX:
            raise _TooLarge
        if isinstance(schema, list):
            return [self._inline(item, within, depth + 1) for item in schema]
        if not isinstance(schema, dict):
            return schema
        rest = {key: self._inline(item, within, depth + 1) for key, item in schema.items()}
        name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
        if name not in self._definitions:
            return rest
        if name in within:
            self._recursive.add(name)
            return rest
        del rest["$ref"]
        return {**self._inline(self._definitions[name], (*within, name), depth), **rest}


class _Untitled(GenerateJsonSchema):
    """Leaves out the titles, which only repeat the names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _modern_typed_dict(hint: Any) -> Any:
    if sys.version_info >= (3, 12) or type(hint).__module__ != "typing":
        return hint
    fields = typing.get_type_hints(hint, include_extras=True)
    wrappers = {True: typing_extensions.Required, False: typing_extensions.NotRequired}
    items = {name: wrappers[name in hint.__required_keys__][modern(_bare(item))] for name, item in fields.items()}
    replaced = typed_dict(hint.__name__, items)
    replaced.__doc__ = hint.__doc__
    return replaced


def _bare(hint: Any) -> Any:
    """The hint without Required and NotRequired."""
    while typing.get_origin(hint) in (typing.Required, typing.NotRequired):
        hint = typing.get_args(hint)[0]
    return hint


def _is_hint(argument: Any) -> bool:
    return not isinstance(argument, (str, int, list, tuple)) and argument is not Ellipsis
