"""The file of settings, `penstock.toml`. One file can serve every command, so it may hold settings of them all."""

import json
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_origin

import click
from pydantic import TypeAdapter, ValidationError

NAME = "penstock.toml"


def read(path: str, types: Mapping[str, Any], *, must_exist: bool) -> dict[str, Any]:
    """The settings in a file; none where there is no file.

    Args:
        path: the file.
        types: every setting that there is, with its type. A text is taken for a list of one.
        must_exist: whether a file that is missing is an error.

    Raises:
        click.UsageError: the file cannot be read, or holds what is no setting, or one of another type; it names both.
    """
    if not must_exist and not Path(path).exists():
        return {}
    return {name: _checked(path, name, value, types) for name, value in _parsed(path).items()}


def said(item: Any) -> str:
    """What pydantic says of a wrong value, to be read after the setting's name."""
    return str(item["msg"]).removeprefix("Value error, ").replace("Input should", "should")


def _parsed(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError:
        raise click.UsageError(f"there is no file {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise click.UsageError(f"{path}: {error}") from None


def _checked(path: str, name: str, value: Any, types: Mapping[str, Any]) -> Any:
    if name not in types:
        close = get_close_matches(name, types, 1)
        hint = f"; did you mean `{close[0]}`?" if close else ""
        raise click.UsageError(f"{path}: there is no setting `{name}`{hint}")
    if get_origin(types[name]) is tuple and isinstance(value, str):
        return [value]
    try:
        # TOML has the types of JSON, and dates, which no setting is.
        TypeAdapter(types[name]).validate_json(json.dumps(value, default=repr), strict=True)
    except ValidationError as error:
        raise click.UsageError(f"{path}: `{name}` {said(error.errors()[0])}; it is {value!r}") from None
    return value
