"""The types that a flow's YAML gives to its inputs and outputs."""

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

from penstock_server.flows.document import Item, Problems
from penstock_server.flows.inputs import MISSING, Input
from penstock_server.flows.media.defaults import MEDIA_TYPES
from penstock_server.flows.media.hints import FILE, IMAGE, LIST, OBJECT
from penstock_server.flows.problems import listed

HINTS: Mapping[str, Any] = {
    "int": int,
    "double": float,
    "bool": bool,
    "string": str,
    "list": LIST,
    "object": OBJECT,
    "image": IMAGE,
    "file": FILE,
}
"""The type hint of each type."""

SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    "int": {"type": "integer"},
    "double": {"type": "number"},
    "bool": {"type": "boolean"},
    "string": {"type": "string"},
    "list": {"type": "array", "items": {}},
    "object": {"type": "object"},
    "image": {"type": "object"},
    "file": {"type": "object"},
}
"""The JSON Schema of each type."""


def read_input(name: str, item: Item, problems: Problems) -> Input:
    """Reads the declaration of an input: `type`, `default` and `description`; of no type is any value."""
    kind = read_type(f"input `{name}`", item, problems)
    return Input(
        name=name,
        hint=HINTS[kind] if kind else Any,
        default=_default(name, kind, item.get("default"), problems),
        description=text_of(item.get("description")),
    )


def read_type(what: str, item: Item, problems: Problems) -> str:
    """Reads the `type` of a declaration; empty if it has none, or none that exists."""
    declared = item.get("type")
    if declared is None:
        return ""
    if declared.value in HINTS:
        return str(declared.value)
    text = f"{what}: the type `{declared.plain()}` is not supported"
    problems.add(declared, text, hint=f"the types are {listed(list(HINTS))}")
    return ""


def text_of(item: Item | None) -> str:
    """The text of a scalar; empty where there is none."""
    return "" if item is None or isinstance(item.value, (dict, list)) else str(item.value).strip()


def _default(name: str, kind: str, item: Item | None, problems: Problems) -> Any:
    """The default as a value of the type; text is read as the type's own notation, as prompt flow does.

    Those that are images or files are read by `media.defaults`, which knows the folder.
    """
    if item is None or kind in MEDIA_TYPES:
        return MISSING
    value = item.plain()
    if isinstance(value, str) and kind not in ("", "string"):
        value = _parsed(value)
    if not _fits(value, kind):
        problems.add(item, f"input `{name}`: the default is not of the type `{kind}`")
        return MISSING
    return float(value) if kind == "double" and isinstance(value, int) else value


def _parsed(text: str) -> object:
    try:
        return json.loads(text.lower() if text in ("True", "False") else text)
    except ValueError:
        return text


def _fits(value: object, kind: str) -> bool:
    if kind == "bool" or isinstance(value, bool):
        return kind in ("bool", "") and isinstance(value, bool)
    if kind == "double":
        return isinstance(value, (int, float)) and isfinite(value)
    python: Mapping[str, type] = {"int": int, "string": str, "list": list, "object": dict}
    return not kind or isinstance(value, python[kind])
