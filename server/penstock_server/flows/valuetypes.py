"""The types that a flow's YAML gives to its inputs and outputs."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from penstock_server.flows.casts import CASTS
from penstock_server.flows.document import Item, Problems
from penstock_server.flows.inputs import MISSING, Input
from penstock_server.flows.media.defaults import MEDIA_TYPES
from penstock_server.flows.media.hints import FILE, IMAGE, LIST, OBJECT
from penstock_server.flows.problems import listed, meant

HINTS: Mapping[str, Any] = {
    "int": Annotated[int, BeforeValidator(CASTS["int"])],
    "double": Annotated[float, BeforeValidator(CASTS["double"])],
    "bool": Annotated[bool, BeforeValidator(CASTS["bool"])],
    "string": Annotated[str, BeforeValidator(CASTS["string"])],
    "list": Annotated[LIST, BeforeValidator(CASTS["list"])],
    "object": Annotated[OBJECT, BeforeValidator(CASTS["object"])],
    "image": IMAGE,
    "file": FILE,
}
"""The type hint of each type; values are cast as prompt flow casts them."""

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
    if isinstance(declared.value, str) and declared.value in HINTS:
        return declared.value
    text = f"{what}: the type `{declared.plain()}` is not supported"
    problems.add(declared, text, hint=meant(text_of(declared), list(HINTS)) or f"the types are {listed(list(HINTS))}")
    return ""


def read_flag(what: str, item: Item, key: str, problems: Problems) -> bool:
    """Reads a key that is true or false, and false where it is not there."""
    flag = item.get(key)
    if flag is not None and not isinstance(flag.value, bool):
        problems.add(flag, f"{what}: `{key}` must be true or false")
    return flag is not None and flag.value is True


def read_count(what: str, item: Item, key: str, most: int, problems: Problems) -> int | None:
    """Reads a key that is a whole number from 0 to `most`; None where it is not there."""
    count = item.get(key)
    if count is None or count.value is None:
        return None
    if type(count.value) is not int or not 0 <= count.value <= most:
        problems.add(count, f"{what}: `{key}` must be a whole number from 0 to {most}")
        return None
    return count.value


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
    if not kind or (value == "" and kind != "string"):  # an empty default is none: prompt flow's editor writes it
        return MISSING if kind else value
    try:
        return CASTS[kind](value)
    except ValueError as error:
        problems.add(item, f"input `{name}`: the default {error}")
        return MISSING
