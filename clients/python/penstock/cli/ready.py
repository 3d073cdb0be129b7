"""The file that tells programs that a service is ready, and where it is."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, Self

import click


def ready_file_option(command: Any) -> Any:
    """The option `--ready-file`."""
    return click.option(
        "--ready-file",
        envvar="PENSTOCK_READY_FILE",
        default="",
        metavar="FILE",
        help="Written when ready, for programs: JSON with the addresses, the token and the process id.",
    )(command)


class ReadyFile:
    """Appears at once and whole when the process is ready, readable by its owner alone.

    To be entered before anything is served: a file that cannot be written is found out then.

    Args:
        path: where; empty for no file.

    Raises:
        click.ClickException: when entered, or written: the file cannot be written.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._unfinished: Path | None = None

    def __enter__(self) -> Self:
        if self._path:
            try:
                self._unfinished = _made_beside(Path(self._path))
            except OSError as error:
                self._refuse(error)
        return self

    def write(self, facts: Mapping[str, str]) -> None:
        """Puts the file in its place; the process id is added to the facts."""
        if self._unfinished is None:
            return
        try:
            self._unfinished.write_text(json.dumps({**facts, "pid": os.getpid()}) + "\n", "utf-8")
            self._unfinished.replace(self._path)
        except OSError as error:
            self._refuse(error)

    def __exit__(self, *_: object) -> None:
        if self._unfinished is not None:
            self._unfinished.unlink(missing_ok=True)

    def _refuse(self, error: OSError) -> NoReturn:
        raise click.ClickException(f"the ready file {self._path} cannot be written: {error.strerror}") from None


def _made_beside(path: Path) -> Path:
    """A new file in the folder of `path`, with a name that nobody else could have prepared."""
    if path.is_dir():
        raise IsADirectoryError(0, "it is a folder")
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:64]}.")
    os.close(handle)
    return Path(name)
