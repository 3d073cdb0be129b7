"""`connections.yaml`: connections by name. A document of prompt flow's, which is one connection, is read as well."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from penstock.connections import Connection, CustomConnection
from penstock_server.flows import document
from penstock_server.flows.connections.declaration import TYPES, Declaration, type_of
from penstock_server.flows.document import Item, Problems
from penstock_server.flows.problems import FlowLoadError, did_you_mean, listed
from penstock_server.flows.valuetypes import read_flag

FILE_BYTES_MAX = 512 * 1024

_PROMPT_FLOW_KEYS = ("$schema", "module")
"""What prompt flow's documents hold beside the values."""
_COMMON_KEYS = ("name", "type", "optional")
"""What every connection may have beside its values."""
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
    kind = _type(name, item, problems)
    if kind is None:
        return None
    entries = {key: each for key, each in item.entries().items() if key not in (*_COMMON_KEYS, *_PROMPT_FLOW_KEYS)}
    what = f"connection `{name}`"
    is_custom = kind is CustomConnection
    values = _custom_values(what, entries, problems) if is_custom else _typed_values(what, kind, entries, problems)
    optional = read_flag(what, item, "optional", problems)
    origin = f"{problems.file}:{item.line}"
    return Declaration(name=name, type=kind.TYPE, values=values, origin=origin, optional=optional)


def _type(name: str, item: Item, problems: Problems) -> type[Connection] | None:
    declared = item.get("type")
    if declared is None:
        problems.add(item, f"connection `{name}` has no `type`", hint=f"the types are {listed(list(TYPES))}")
        return None
    kind = type_of(str(declared.value))
    if kind is None:
        text = f"connection `{name}`: there is no type `{declared.plain()}`"
        problems.add(declared, text, hint=did_you_mean(str(declared.plain()), list(TYPES)))
    return kind


def _typed_values(
    what: str, kind: type[Connection], entries: Mapping[str, Item], problems: Problems
) -> dict[str, object]:
    """The values as text, which all of them are, whatever they look like."""
    known = kind.parameters()
    secret = {name for field in kind.FIELDS if field.secret for name in (field.name, *field.aliases)}
    values: dict[str, object] = {}
    for key, item in entries.items():
        if key not in known:
            problems.add(item, f"{what} has no `{key}`", hint=did_you_mean(key, known))
        elif item.value is not None:
            values[key] = str(_scalar(what, key, item, problems, is_secret=key in secret))
    return values


def _custom_values(what: str, entries: Mapping[str, Item], problems: Problems) -> dict[str, object]:
    """The two mappings of a custom connection."""
    values: dict[str, object] = {}
    for key, item in entries.items():
        if key not in _CUSTOM_KEYS:
            problems.add(item, f"{what} has no `{key}`", hint=did_you_mean(key, list(_CUSTOM_KEYS)))
        elif not isinstance(item.value, dict):
            problems.add(item, f"{what}: `{key}` must be a mapping")
        else:
            is_secret = key == "secrets"
            given = item.entries().items()
            values[key] = {name: _scalar(what, name, each, problems, is_secret=is_secret) for name, each in given}
    return values


def _scalar(what: str, key: str, item: Item, problems: Problems, *, is_secret: bool) -> object:
    """A value; a secret must be text already, for YAML reads `0123` as 123, and nobody would find out why it fails."""
    value = item.plain()
    if isinstance(value, (dict, list)):
        problems.add(item, f"{what}: `{key}` must be a text or a number")
    elif is_secret and value is not None and not isinstance(value, str):
        problems.add(item, f"{what}: `{key}` must be text", hint="put it in quotes")
    return value
