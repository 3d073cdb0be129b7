"""`connections.yaml`: connections by name. A document of prompt flow's, which is one connection, is read as well."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from penstock.connections import Connection, CustomConnection
from penstock_server.flows import document
from penstock_server.flows.connections.declaration import TYPES, Declaration, type_of
from penstock_server.flows.document import Item, Problems
from penstock_server.flows.problems import FlowLoadError, did_you_mean, listed

FILE_BYTES_MAX = 512 * 1024

_PROMPT_FLOW_KEYS = ("$schema", "module")
"""What prompt flow's documents hold beside the values."""
_CUSTOM_KEYS = ("configs", "secrets")


def read(path: Path, shown: str = "") -> dict[str, Declaration]:
    """The connections in a file, by name.

    Args:
        path: the file.
        shown: its name in problems; the path by default.

    Raises:
        FlowLoadError: it cannot be read, or is wrong; it holds every problem. None tells a value.
    """
    file = shown or str(path)
    problems = Problems(file)
    root = _document(path, file)
    declared = [_declaration(name, item, problems) for name, item in _entries(root, problems).items()]
    problems.check()
    return {each.name: each for each in declared if each is not None}


def _document(path: Path, file: str) -> Item:
    try:
        return document.read(path, file, FILE_BYTES_MAX)
    except FlowLoadError as error:
        # What YAML says of a document quotes it, and here that may be a key.
        text = "the file cannot be read as YAML; values with special characters need quotes"
        raise FlowLoadError([replace(each, text=text) if each.line else each for each in error.problems]) from None


def _entries(root: Item, problems: Problems) -> Mapping[str, Item]:
    if root.value is None:
        return {}
    if not isinstance(root.value, dict):
        problems.add(root, "the document must be a mapping of names to connections")
    name = root.get("name")
    if name is not None and not isinstance(name.value, (dict, list)):
        return {str(name.value): root}
    return root.entries()


def _declaration(name: str, item: Item, problems: Problems) -> Declaration | None:
    if not isinstance(item.value, dict):
        problems.add(item, f"connection `{name}` must be a mapping, with its `type`")
        return None
    declared = item.get("type")
    kind = type_of(str(declared.value)) if declared else None
    if declared is None:
        problems.add(item, f"connection `{name}` has no `type`", hint=f"the types are {listed(list(TYPES))}")
    elif kind is None:
        text = f"connection `{name}`: there is no type `{declared.plain()}`"
        problems.add(declared, text, hint=did_you_mean(str(declared.plain()), list(TYPES)))
    if declared is None or kind is None:
        return None
    values = {key: each for key, each in item.entries().items() if key not in ("name", "type", *_PROMPT_FLOW_KEYS)}
    _check_keys(name, kind, values, problems)
    plain = {key: each.plain() for key, each in values.items()}
    return Declaration(name=name, type=kind.TYPE, values=plain, origin=f"{problems.file}:{item.line}")


def _check_keys(name: str, kind: type[Connection], values: Mapping[str, Item], problems: Problems) -> None:
    known = _CUSTOM_KEYS if kind is CustomConnection else kind.parameters()
    for key, item in values.items():
        if key not in known:
            problems.add(item, f"connection `{name}` has no `{key}`", hint=did_you_mean(key, list(known)))
        elif isinstance(item.value, (dict, list)) is not (kind is CustomConnection):
            form = "a mapping" if kind is CustomConnection else "a text or a number"
            problems.add(item, f"connection `{name}`: `{key}` must be {form}")
        for inner, value in item.entries().items():
            if isinstance(value.value, (dict, list)):
                problems.add(value, f"connection `{name}`: `{inner}` must be a text or a number")
