"""Sample inputs of a flow: values that satisfy its JSON Schema, for a command that people can paste."""

import operator
from collections.abc import Callable, Iterator, Mapping
from math import floor
from typing import Any

from penstock_server.flows.flow import Flow

QUESTION = "What is Penstock?"
"""What the input that holds a chat's question gets."""
WORD = "hello"
PLACEHOLDER = "..."

SHOWN_LENGTH_MAX = 200
"""How long a text, a list or an object may have to be, for a sample that still reads well on one line."""

FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "ada@example.com",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uuid4": "00000000-0000-4000-8000-000000000000",
}
"""A text of each format."""

Schema = Mapping[str, Any]


def sample_inputs(flow: Flow) -> dict[str, object] | None:
    """Inputs that the flow takes: its author's example, or its required ones, or its first one.

    None where no such inputs were found.
    """
    schema = flow.spec.input_schema
    said, example = _said(schema)
    if said and _fits_flow(flow, example):
        return dict(example)
    properties = schema.get("properties", {})
    sampler = _Sampler(schema.get("$defs", {}))
    try:
        inputs = {
            name: sampler.value(properties.get(name, {}), word=QUESTION if name == flow.spec.chat_input else WORD)
            for name in shown_inputs(flow)
        }
        flow.bind(inputs)
    except Exception:  # a type of the flow's own checks its values, and may raise anything
        return None
    return inputs


def _fits_flow(flow: Flow, inputs: Any) -> bool:
    try:
        flow.bind(inputs)
    except Exception:  # as above; an example may also be wrong, or ask for something that is to be fetched
        return False
    return True


def shown_inputs(flow: Flow) -> list[str]:
    """The names of the inputs that a first call should give."""
    schema = flow.spec.input_schema
    names = [flow.spec.chat_input] if flow.spec.chat_input else list(schema.get("properties", {}))[:1]
    return list(schema.get("required", [])) or names


class _NoSample(Exception):
    """No value was found that satisfies a schema."""


class _Sampler:
    """Makes values that satisfy schemas (JSON Schema, draft 2020-12), as far as their keywords say it plainly."""

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions

    def value(self, schema: Schema | bool, within: tuple[str, ...] = (), *, word: str = WORD) -> object:
        """A value; `within` holds the definitions that it is a part of, and `word` is what a free text says."""
        if isinstance(schema, bool):
            schema = {}
        said, value = _said(schema)
        if said:
            return value
        if "$ref" in schema:
            return self._referred(schema, within, word)
        variants = schema.get("anyOf") or schema.get("oneOf")
        if variants:
            return self._variant(schema, variants, within, word)
        if schema.get("allOf"):
            merged = {key: item for part in schema["allOf"] for key, item in part.items()}
            return self.value({**_without(schema, "allOf"), **merged}, within, word=word)
        return self._typed(schema, within, word)

    def _referred(self, schema: Schema, within: tuple[str, ...], word: str) -> object:
        name = str(schema["$ref"]).removeprefix("#/$defs/")
        if name in within or name not in self._definitions:
            raise _NoSample
        return self.value({**self._definitions[name], **_without(schema, "$ref")}, (*within, name), word=word)

    def _variant(self, schema: Schema, variants: list[Schema], within: tuple[str, ...], word: str) -> object:
        rest = _without(schema, "anyOf", "oneOf")
        for variant in sorted(variants, key=lambda each: each.get("type") == "null"):
            try:
                return self.value({**rest, **variant}, within, word=word)
            except _NoSample:
                continue
        raise _NoSample

    def _typed(self, schema: Schema, within: tuple[str, ...], word: str) -> object:
        kind = _kind(schema)
        if kind == "object":
            return self._object(schema, within)
        if kind == "array":
            return self._array(schema, within)
        if kind in ("integer", "number"):
            return _number(schema, whole=kind == "integer")
        return {"boolean": True, "null": None}.get(kind) if kind != "string" else _text(schema, word)

    def _object(self, schema: Schema, within: tuple[str, ...]) -> dict[str, object]:
        """The required properties, and those with a single value, which tell the variants of a union apart."""
        properties = schema.get("properties", {})
        single = [name for name, item in properties.items() if isinstance(item, Mapping) and "const" in item]
        names = dict.fromkeys([*schema.get("required", []), *single])
        made = {name: self.value(properties.get(name, {}), within) for name in names}
        missing = _checked_length(schema.get("minProperties", 0)) - len(made)
        others = {f"key{number}": schema.get("additionalProperties", {}) for number in range(1, missing + 1)}
        return made | {name: self.value(item, within) for name, item in others.items()}

    def _array(self, schema: Schema, within: tuple[str, ...]) -> list[object]:
        first = [self.value(item, within) for item in schema.get("prefixItems", [])]
        missing = _checked_length(schema.get("minItems", 0)) - len(first)
        return first + [self.value(schema.get("items", {}), within) for _ in range(missing)]


def _said(schema: Schema) -> tuple[bool, Any]:
    """Whether the schema itself names a value, and which."""
    if "const" in schema:
        return True, schema["const"]
    examples = schema.get("examples")
    if isinstance(examples, list) and examples:
        return True, examples[0]
    if schema.get("default") is not None:
        return True, schema["default"]
    if schema.get("enum"):
        return True, schema["enum"][0]
    return False, None


def _kind(schema: Schema) -> str:
    kind = schema.get("type", "object" if "properties" in schema else "array" if "prefixItems" in schema else "string")
    return kind if isinstance(kind, str) else next((each for each in kind if each != "null"), "null")


def _text(schema: Schema, word: str) -> str:
    if schema.get("format") in FORMATS:
        return FORMATS[schema["format"]]
    while len(word) < _checked_length(schema.get("minLength", 0)):
        word += word
    return word[: schema.get("maxLength")]


def _number(schema: Schema, *, whole: bool) -> int | float:
    for number in _numbers(schema, whole):
        if _fits(number, schema):
            return number
    raise _NoSample


def _numbers(schema: Schema, whole: bool) -> Iterator[int | float]:
    """Numbers that may fit, the nicest first."""
    bounds = [schema[key] for key in _BOUNDS if key in schema]
    near = [1 if whole else 1.5, 1, *bounds, sum(bounds) / max(len(bounds), 1)]
    near += [bound + side for bound in bounds for side in (1, -1)]
    step = schema.get("multipleOf")
    for number in near:
        yield floor(number) if whole else number
        if step:
            yield step * floor(number / step)
            yield step * (floor(number / step) + 1)


_BOUNDS: Mapping[str, Callable[[float, float], bool]] = {
    "minimum": operator.ge,
    "exclusiveMinimum": operator.gt,
    "maximum": operator.le,
    "exclusiveMaximum": operator.lt,
}
"""How a number stands to each bound."""


def _fits(number: float, schema: Schema) -> bool:
    step = schema.get("multipleOf")
    if step and not (number / step).is_integer():
        return False
    return all(fits(number, schema[key]) for key, fits in _BOUNDS.items() if key in schema)


def _checked_length(length: int) -> int:
    if length > SHOWN_LENGTH_MAX:
        raise _NoSample
    return length


def _without(schema: Schema, *keys: str) -> dict[str, Any]:
    return {key: item for key, item in schema.items() if key not in keys}
