"""Literals of a node's inputs, as the parameters of its function want them: prompt flow's casts, and connections."""

import contextlib
import json
import typing
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from inspect import Parameter
from types import UnionType
from typing import Any

from penstock.connections import Connection
from penstock_server.flows.casts import CASTS
from penstock_server.flows.connections.connections import Connections
from penstock_server.flows.connections.hints import connection_for, is_connection
from penstock_server.flows.dag.graph import Binding
from penstock_server.flows.problems import ProblemFound


def converted(binding: Binding, parameter: Parameter | None, hint: Any, connections: Connections) -> Binding:
    """A binding whose literal is of the type that its parameter asks for; of another type stays what is no literal.

    Args:
        parameter: the parameter; None where the function takes any name.
        hint: the parameter's type hint; `Parameter.empty` where there is none.
        connections: what a parameter that asks for a connection is given, by name.

    Raises:
        ProblemFound: the literal is nothing of the kind.
    """
    if binding.reference is not None or parameter is None or binding.literal in (None, ""):
        return binding
    wanted = _wanted(parameter, hint)
    if any(is_connection(kind) for kind in wanted):
        return replace(binding, literal=_connection(binding.literal, wanted, connections))
    return replace(binding, literal=_cast(binding.literal, wanted[0]))


def _wanted(parameter: Parameter, hint: Any) -> tuple[Any, ...]:
    """The types that a parameter asks for; where it has no hint, that of its default."""
    if hint is Parameter.empty:
        return (type(parameter.default),) if parameter.default is not Parameter.empty else (Any,)
    members = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, UnionType) else (hint,)
    return tuple(member for member in members if member is not type(None))


def _connection(name: object, wanted: tuple[Any, ...], connections: Connections) -> object:
    if isinstance(name, Connection):
        return name
    if not isinstance(name, str):
        raise ProblemFound("it takes the name of a connection")
    found = connections.find(name)
    return None if found is None else connection_for(found, wanted)


def _cast(value: object, kind: Any) -> object:
    """Prompt flow's casts: of the five plain types; any other one takes JSON, and text that is none as it is."""
    cast = _PLAIN.get(kind)
    if cast is not None:
        try:
            return cast(value)
        except ValueError as error:
            raise ProblemFound(str(error)) from None
    is_text = isinstance(kind, type) and issubclass(kind, (str, Enum))
    if isinstance(value, str) and not is_text:
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return value


_PLAIN: Mapping[Any, Any] = {
    int: CASTS["int"],
    float: CASTS["double"],
    bool: CASTS["bool"],
    str: CASTS["string"],
    list: CASTS["list"],
}
