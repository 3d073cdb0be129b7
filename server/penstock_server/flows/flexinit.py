"""What a flex flow's class is made with: the values of `init`, with connections in place of their names."""

import inspect
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from penstock.connections import Connection
from penstock.modelconfig import CONFIGURATIONS, ModelConfiguration
from penstock_server.flows.connections.declaration import type_of
from penstock_server.flows.dag import keys
from penstock_server.flows.document import Item, Problems
from penstock_server.flows.placeholders import filled
from penstock_server.flows.problems import ProblemFound, did_you_mean
from penstock_server.flows.valuetypes import text_of

Connect = Callable[[str], Connection]
"""Finds a connection by its name; raises ProblemFound."""


def init_values(yaml: Item, target: Any, folder: Path, connect: Connect, problems: Problems) -> dict[str, object]:
    """The arguments for the class, each as the class wants it.

    A value of `init` goes before one of `sample`'s `init`, which goes before the default of a declaration, as in prompt
    flow; the class's own defaults come last.

    Args:
        yaml: the document.
        target: the entry; what is no class takes no such values.
        folder: where the files are that values may name.
        connect: finds connections by their names.
        problems: where a value that cannot be used is added.
    """
    declared = _entries(yaml.get("init"), "init", problems)
    sample = yaml.get("sample")
    sampled = _entries(sample.get("init") if sample else None, "sample: init", problems)
    given = {name: item for name, item in declared.items() if not _is_declaration(item)}
    defaults = {name: item.get("default") for name, item in declared.items() if _is_declaration(item)}
    chosen = {name: item for name, item in {**defaults, **sampled, **given}.items() if item is not None}
    if not isinstance(target, type):
        return {}
    _check_names(chosen, target, problems)
    hints = _hints(target)
    types = {name: _type_name(declared.get(name), hints.get(name)) for name in chosen}
    return {name: _value(name, item, types[name], folder, connect, problems) for name, item in chosen.items()}


def _entries(item: Item | None, what: str, problems: Problems) -> Mapping[str, Item]:
    if item is not None and not isinstance(item.value, dict):
        problems.add(item, f"`{what}` must be a mapping of names to values")
    return item.entries() if item else {}


def _is_declaration(item: Item) -> bool:
    """Whether it says what kind of value is wanted, rather than being the value: that may have a `type` as well."""
    return item.get("type") is not None and set(item.entries()) <= set(keys.INPUT)


def _check_names(values: Mapping[str, Item], target: type, problems: Problems) -> None:
    try:
        parameters = inspect.signature(target).parameters
    except ValueError:  # a class of C code, which checks for itself
        return
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return
    for name, item in values.items():
        if name not in parameters:
            text = f"`init`: `{target.__name__}` takes no `{name}`"
            problems.add(item, text, hint=did_you_mean(name, list(parameters)))


def _hints(target: type) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(target.__init__)  # type: ignore[misc]
    except (NameError, TypeError):  # one of them names something unknown; the others still count
        return dict(getattr(target.__init__, "__annotations__", {}))  # type: ignore[misc]


def _type_name(declared: Item | None, hint: Any) -> str:
    """What kind of value is wanted: what the document says, else what the class says."""
    if declared is not None and _is_declaration(declared):
        return text_of(declared.get("type"))
    kinds = [each for each in (hint, *typing.get_args(hint)) if isinstance(each, type)]
    wanted = (Connection, ModelConfiguration)
    return next((each.__name__ for each in kinds if issubclass(each, wanted)), "")


def _value(name: str, item: Item, type_name: str, folder: Path, connect: Connect, problems: Problems) -> object:
    value = item.plain()
    try:
        value = filled(value, folder)
        if type_name in CONFIGURATIONS:
            return _configuration(type_name, value, connect)
        return connect(value) if isinstance(value, str) and _is_connection(type_name) else value
    except ProblemFound as error:
        problems.add(item, f"`init`, `{name}`: {error.text}", hint=error.hint)
        return None


def _is_connection(type_name: str) -> bool:
    is_kind = type_name.endswith(Connection.__name__) and type_of(type_name) is not None
    return is_kind or type_name == Connection.__name__


def _configuration(type_name: str, value: object, connect: Connect) -> object:
    """A model configuration; one that names a connection takes its address and its key from there."""
    if not isinstance(value, Mapping):
        raise ProblemFound(f"must be a mapping: it stands for a {type_name}")
    kind = CONFIGURATIONS[type_name]
    known = kind.keys()
    unknown = [key for key in value if key not in known]
    if unknown:
        raise ProblemFound(f"a {type_name} has no `{unknown[0]}`", hint=did_you_mean(unknown[0], known))
    if not value.get(kind.MODEL):
        raise ProblemFound(f"a {type_name} needs `{kind.MODEL}`")
    try:
        made = kind(**value)
    except ValueError as error:
        raise ProblemFound(f"a {type_name} is wrong: {error}") from None
    name = value.get("connection")
    return kind.from_connection(connect(name), value[kind.MODEL]) if name else made
