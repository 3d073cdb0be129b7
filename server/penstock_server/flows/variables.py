"""The `environment_variables` of flows.

A process has one environment, which all its flows share. What the operator has set stays; two flows that want different
values of a variable cannot be served together, and are told so.
"""

import json
import os
import re
from dataclasses import dataclass

from penstock_server.flows.connections.connections import Connections
from penstock_server.flows.document import Item, Problems
from penstock_server.flows.problems import ProblemFound, did_you_mean


class Variables:
    """The environment variables that one flow has set; closing it takes them back."""

    def __init__(self) -> None:
        self._names: list[str] = []

    def set(self, item: Item | None, connections: Connections, problems: Problems) -> None:
        """Sets the variables that are not set yet.

        A value `${connection.key}` is a connection's; a list or a mapping is written as JSON, as in prompt flow.

        Args:
            item: the mapping; None where the flow has none.
            connections: where values that are references are found.
            problems: where a variable that cannot be set is added.
        """
        if item is not None and not isinstance(item.value, dict):
            problems.add(item, "`environment_variables` must be a mapping of names to values")
        for name, entry in (item.entries() if item else {}).items():
            try:
                self._set(name, _text(entry.plain(), connections))
            except ProblemFound as error:
                problems.add(entry, f"environment variable `{name}`: {error.text}", hint=error.hint)

    def close(self) -> None:
        """Unsets the variables that no other flow uses."""
        while self._names:
            name = self._names.pop()
            given = _GIVEN[name]
            given.users -= 1
            if given.users == 0:
                del _GIVEN[name]
                os.environ.pop(name, None)

    def _set(self, name: str, value: str) -> None:
        given = _GIVEN.get(name)
        if given is None and name in os.environ:
            return
        if given is None:
            try:
                os.environ[name] = value
            except (ValueError, UnicodeEncodeError) as error:
                raise ProblemFound(f"cannot be set: {error}") from None
            given = _GIVEN[name] = _Given(value)
        elif given.value != value:
            raise ProblemFound("another flow has set it to another value", hint="serve them in two processes")
        given.users += 1
        self._names.append(name)


@dataclass(slots=True)
class _Given:
    value: str
    users: int = 0


def _text(value: object, connections: Connections) -> str:
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return str(value)
    connection, key = connections.get(found["connection"]), found["key"]
    try:
        return str(connection[key])
    except KeyError:
        hint = did_you_mean(key, connection.keys())
        raise ProblemFound(f"connection `{connection.name}` has no `{key}`", hint=hint) from None


_GIVEN: dict[str, _Given] = {}
"""The variables that flows of this process have set."""
_REFERENCE = re.compile(r"\$\{(?P<connection>[^\s.{}]+)\.(?P<key>[^\s{}]+)\}")
