"""Parameters that ask for connections, by their type hints: our classes, and prompt flow's where it is installed."""

from collections.abc import Sequence
from typing import Any

from penstock.connections import Connection, CustomConnection
from penstock_server.flows.connections.declaration import type_of
from penstock_server.flows.problems import ProblemFound

STRONG_TYPE = "CustomStrongTypeConnection"
"""The base, in prompt flow, of classes that name the values of a custom connection."""


def is_connection(hint: Any) -> bool:
    """Whether a type hint asks for a connection."""
    if not isinstance(hint, type):
        return False
    names = [base.__name__ for base in hint.__mro__]
    return issubclass(hint, Connection) or STRONG_TYPE in names or type_of(hint.__name__) is not None


def connection_for(connection: Connection, hints: Sequence[Any]) -> object:
    """A connection as the first of the hints that it fits wants it.

    Raises:
        ProblemFound: it fits none of them.
    """
    for hint in hints:
        if isinstance(connection, hint):
            return connection
        if is_connection(hint) and _has_values(connection, hint):
            return _converted(connection, hint)
    wanted = " or ".join(f"a {getattr(hint, '__name__', hint)}" for hint in hints)
    raise ProblemFound(f"`{connection.name}` is a {type(connection).__name__}, and the tool wants {wanted}")


def _has_values(connection: Connection, hint: type) -> bool:
    if STRONG_TYPE in [base.__name__ for base in hint.__mro__]:
        return isinstance(connection, CustomConnection)
    return type_of(hint.__name__) is type(connection)


def _converted(connection: Connection, hint: type) -> object:
    """An object of another package's class, with the same values."""
    secrets, configs = dict(connection.secrets.items()), dict(connection.configs)
    is_custom = isinstance(connection, CustomConnection)
    try:
        if is_custom:
            return hint(secrets=secrets, configs=configs, name=connection.name)
        return hint(**configs, **secrets, name=connection.name)
    except (TypeError, ValueError) as error:
        raise ProblemFound(f"connection `{connection.name}` does not make a {hint.__name__}: {error}") from None
