"""`${env:NAME}` and `${file:NAME}` in documents: values of the server's environment, and files of the flow's folder."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from penstock_server.flows import document
from penstock_server.flows.problems import FlowLoadError, ProblemFound

FILE_BYTES_MAX = 256 * 1024
"""How large a file may be that a document takes in."""


def filled(value: object, folder: Path, environ: Mapping[str, str] = os.environ) -> object:
    """The same value, with each text that is a placeholder replaced, at any depth; the form is prompt flow's.

    `${env:NAME}` may have a default, `${env:NAME:-default}`. A JSON or YAML file becomes its value, any other its text.

    Raises:
        ProblemFound: a variable is not set and has no default, or a file is not one of the folder's that can be read.
    """
    if isinstance(value, dict):
        return {key: filled(item, folder, environ) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, folder, environ) for item in value]
    found = _PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    return _variable(found["body"], environ) if found["kind"] == "env" else file_value(found["body"], folder)


def file_value(name: str, folder: Path) -> object:
    """What a file of a folder holds. Raises like `filled`."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ProblemFound(f"the file `{name}` lies outside the flow's folder")
    try:
        with path.open("rb") as stream:
            data = stream.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            raise ProblemFound(f"the file `{name}` is larger than {FILE_BYTES_MAX} bytes")
        return _parsed(data.decode("utf-8-sig"), path)
    except FlowLoadError as error:
        raise ProblemFound(f"the file `{name}`: {error.problems[0].text}") from None
    except OSError as error:
        raise ProblemFound(f"the file `{name}` cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ProblemFound(f"the file `{name}` is not {path.suffix.removeprefix('.').upper() or 'text'}") from None


def _variable(body: str, environ: Mapping[str, str]) -> str:
    name, dash, default = body.partition(":-")
    text = environ.get(name) or (default if dash else environ.get(name))  # as in shells: what is empty takes a default
    if text is None:
        raise ProblemFound(f"the environment variable {name} is not set")
    return text


def _parsed(text: str, path: Path) -> object:
    if path.suffix.lower() == ".json":
        return json.loads(text)
    return document.parse(text, path.name).plain() if path.suffix.lower() in (".yaml", ".yml") else text


_PLACEHOLDER = re.compile(r"\$\{(?P<kind>env|file):(?P<body>[^}]+)\}")
