"""Connections in the environment: `<NAME>_TYPE` declares one, `<NAME>_<KEY>` gives or replaces a value of it."""

import re
from collections.abc import Mapping
from dataclasses import replace

from penstock.connections import CustomConnection
from penstock_server.flows.connections.declaration import Declaration, type_of

_TYPE = "_TYPE"


def declarations(declared: Mapping[str, Declaration], environ: Mapping[str, str]) -> dict[str, Declaration]:
    """The declarations with the values that the environment gives, and those that it makes itself."""
    found = {name: _with_values(each, environ) for name, each in declared.items()}
    taken = {variable(name, "type") for name in declared}
    for key, kind in environ.items():
        if key.endswith(_TYPE) and key not in taken and type_of(kind) is not None:
            name = key.removesuffix(_TYPE).lower()
            found[name] = _with_values(_new(name, kind, environ), environ)
    return found


def variable(name: str, key: str) -> str:
    """The environment variable of a value: `my-model` and `api_key` give `MY_MODEL_API_KEY`."""
    return re.sub(r"[^A-Z0-9]", "_", f"{name}_{key}".upper())


def _new(name: str, type: str, environ: Mapping[str, str]) -> Declaration:
    """A declaration of the environment alone; of a custom connection, every value counts as a secret."""
    values: dict[str, object] = {}
    if type_of(type) is CustomConnection:
        prefix = variable(name, "")
        names = [key for key in environ if key.startswith(prefix) and key != prefix + _TYPE.removeprefix("_")]
        values["secrets"] = {key.removeprefix(prefix).lower(): "" for key in names}
    return Declaration(name=name, type=type, values=values, origin=f"environment, {variable(name, 'type')}")


def _with_values(declared: Declaration, environ: Mapping[str, str]) -> Declaration:
    type_name = environ.get(variable(declared.name, "type")) or declared.type
    kind = type_of(type_name)
    if kind is None:
        return declared
    if kind is CustomConnection:
        values = {key: _updated(declared.name, part, environ) for key, part in declared.values.items()}
    else:
        values = {**declared.values, **_given(declared.name, kind.parameters(), environ)}
    return replace(declared, type=type_name, values=values)


def _updated(name: str, part: object, environ: Mapping[str, str]) -> object:
    """The configs or the secrets of a custom connection; those that are declared can be replaced."""
    return {**part, **_given(name, list(part), environ)} if isinstance(part, Mapping) else part


def _given(name: str, keys: list[str], environ: Mapping[str, str]) -> dict[str, object]:
    return {key: environ[variable(name, key)] for key in keys if environ.get(variable(name, key))}
