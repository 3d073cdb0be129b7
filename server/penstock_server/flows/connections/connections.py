"""The connections that flows may name."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from penstock.connections import Connection, IncompleteConnection, InvalidConnection
from penstock_server.flows.connections import environment, file
from penstock_server.flows.connections.declaration import Declaration
from penstock_server.flows.problems import ProblemFound, did_you_mean, listed
from penstock_server.flows.settings import FlowSettings

FILE = "connections.yaml"
"""What the file is called in a flow's folder and in the data folder."""


class Connections:
    """What a flow may connect to, by name. A connection is made when it is first asked for.

    Args:
        declared: the declarations of files.
        environ: where `${env:X}`, and `<NAME>_TYPE`, `<NAME>_<KEY>` are found; the process's own by default.
    """

    def __init__(
        self, declared: Mapping[str, Declaration] = MappingProxyType({}), environ: Mapping[str, str] | None = None
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._declared = environment.declarations(declared, self._environ)
        self._made: dict[str, Connection] = {}

    @property
    def names(self) -> list[str]:
        """The names that are known, those of files first."""
        return list(self._declared)

    def get(self, name: str) -> Connection:
        """The connection of this name.

        Raises:
            ProblemFound: there is none, or its declaration is wrong or incomplete; it says what to do, and no secret.
        """
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self._make(name)
        return made

    def find(self, name: str) -> Connection | None:
        """The same; None where the connection is optional, and values that it needs are not set."""
        try:
            return self.get(name)
        except _NotSet:
            if self._declared[name].optional:
                return None
            raise

    def _make(self, name: str) -> Connection:
        declared = self._declared.get(name)
        if declared is None:
            raise ProblemFound(f"there is no connection `{name}`", hint=self._hint(name))
        try:
            return declared.make(self._environ)
        except InvalidConnection as error:
            kind = _NotSet if isinstance(error, IncompleteConnection) else ProblemFound
            raise kind(f"connection `{name}` ({declared.origin}): {error}") from None

    def _hint(self, name: str) -> str:
        if self._declared:
            close = did_you_mean(name, self.names)
            return close if close.startswith("did") else f"known are: {listed(self.names)}"
        return f"declare it in {FILE}, or set {environment.variable(name, 'type')}"


class _NotSet(ProblemFound):
    """A connection lacks values that it needs."""


def load(
    folder: Path | None = None,
    *,
    explicit: str = "",
    data: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Connections:
    """The connections for the flow in a folder: of the explicit file first, then the folder's, then the data folder's.

    What the environment says of a connection goes before every file. A file need not be there, but for the explicit
    one.

    Raises:
        FlowLoadError: a file cannot be read, or is wrong; it holds every problem of it.
    """
    declared: dict[str, Declaration] = {}
    for path in _files(folder, data):
        declared.update(file.read(path))
    if explicit:
        declared.update(file.read(Path(explicit)))
    return Connections(declared, environ)


def of_flow(folder: Path, settings: FlowSettings) -> Connections:
    """The connections for a flow in a folder, from the files that the settings name. Raises as `load` does."""
    return load(folder, explicit=settings.connections, data=Path(settings.data))


def _files(*folders: Path | None) -> Sequence[Path]:
    """The files that there are, the one that counts least first."""
    paths = [folder / FILE for folder in reversed(folders) if folder is not None]
    return [path for path in paths if path.is_file()]
