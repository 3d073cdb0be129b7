"""What checking a value executes: code of the user's (validators, constructors and the like), or ours that fetches."""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum, EnumMeta
from typing import Any

from pydantic import TypeAdapter

from penstock_server.flows.casts import CASTS
from penstock_server.flows.media.hints import VALIDATORS


def has_user_code(adapted: TypeAdapter[Any]) -> bool:
    """Whether validating JSON with this adapter may execute anything but pydantic's core.

    What is not known to be free of it counts as user code, so the answer may be yes where no is true, as for the types
    that pydantic checks in Python itself (paths, URLs); never the other way round.
    """
    return not _is_core(adapted.core_schema)


def may_fetch(adapted: TypeAdapter[Any]) -> bool:
    """Whether validating JSON with this adapter may need what lies at an address, unless code of the user's says so."""
    return _makes_media(adapted.core_schema)


def _makes_media(schema: Any) -> bool:
    is_media = schema["type"].startswith("function-") and schema["function"]["function"] in VALIDATORS
    return is_media or any(map(_makes_media, _inner(schema)))


def _is_core(schema: Any) -> bool:
    check = _CHECKS.get(schema["type"])
    return check is not None and check(schema) and all(map(_is_core, _inner(schema)))


def _inner(node: Mapping[str, Any]) -> Iterable[Any]:
    """The schemas right below a schema."""
    for key, value in node.items():
        if key not in _NOT_VALIDATION:
            yield from _schemas(value)


def _schemas(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        if isinstance(value.get("type"), str):
            yield value
        else:  # fields by name
            for item in value.values():
                yield from _schemas(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _schemas(item)


def _is_plain_model(schema: Any) -> bool:
    # Fields are written into the instance's `__dict__`, past every other method of the class.
    is_plain = not schema.get("post_init") and not schema.get("custom_init")
    return is_plain and schema["cls"].__new__ is object.__new__


def _has_plain_default(schema: Any) -> bool:
    """A default that cannot be hashed is copied each time, which a class may define."""
    return schema.get("default_factory") in (None, list, dict, set) and _is_plain(schema.get("default"))


def _is_plain(value: object) -> bool:
    if type(value) is dict:
        return all(map(_is_plain, (*value.keys(), *value.values())))
    if type(value) in (list, tuple, set, frozenset):
        return all(map(_is_plain, value))  # type: ignore[call-overload]
    return type(value) in _SCALARS or isinstance(value, Enum)


def _is_plain_enum(schema: Any) -> bool:
    kind = schema["cls"]
    return type(kind) is EnumMeta and kind._missing_.__func__ is Enum._missing_.__func__  # type: ignore[attr-defined]


def _has_plain_values(schema: Any) -> bool:
    return all(type(value) in _SCALARS for value in schema["expected"])


def _has_plain_tag(schema: Any) -> bool:
    return not callable(schema["discriminator"])


def _has_plain_items(schema: Any) -> bool:
    """Items of a set are hashed and compared, which classes may define."""
    return "items_schema" not in schema or schema["items_schema"]["type"] in _VALUES


def _has_plain_keys(schema: Any) -> bool:
    return "keys_schema" not in schema or schema["keys_schema"]["type"] in _VALUES


def _is_ours(schema: Any) -> bool:
    return schema["function"]["function"] in _OURS


def _always(schema: Any) -> bool:
    return True


_OURS = VALIDATORS | frozenset(CASTS.values())
"""Functions of our own that validate."""
_SCALARS = (type(None), bool, int, float, str)
_VALUES = frozenset({
    "any", "none", "bool", "int", "float", "decimal", "str", "bytes", "date", "time", "datetime", "timedelta", "uuid",
})  # fmt: skip
"""Schemas of values that are made of the parser's own types."""
_STRUCTURES = frozenset({
    "list", "tuple", "nullable", "union", "chain", "lax-or-strict", "json-or-python", "definitions", "definition-ref",
    "typed-dict", "typed-dict-field", "model-fields", "model-field", "dataclass-args", "dataclass-field",
})  # fmt: skip
"""Schemas that are as free of user code as those below them."""
_CHECKS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(_VALUES | _STRUCTURES, _always),
    "model": _is_plain_model,
    "dataclass": _is_plain_model,
    "default": _has_plain_default,
    "enum": _is_plain_enum,
    "literal": _has_plain_values,
    "tagged-union": _has_plain_tag,
    "function-plain": _is_ours,
    "function-after": _is_ours,
    "function-before": _is_ours,
    "set": _has_plain_items,
    "frozenset": _has_plain_items,
    "dict": _has_plain_keys,
}
"""Every schema that may be free of user code (`pydantic_core.core_schema`), with the condition."""
_NOT_VALIDATION = frozenset({
    "serialization", "computed_fields", "metadata", "config", "default", "expected", "members", "function",
    "json_schema_input_schema",
})  # fmt: skip
"""Entries of a schema that hold no schemas, or none that validating uses."""
