"""Settings on the command line: options made from the config classes, and their values from wherever they are set.

A flag wins over the environment (`PENSTOCK_<NAME>`), which wins over the file `penstock.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

ENVIRONMENT_PREFIX = "PENSTOCK_"
CONFIG_FILE = "penstock.toml"
PLURALS = {"tokens": "token", "cors_origins": "cors-origin", "hosts": "host"}
"""Settings that hold several values, with the flag that gives one of them."""

Command = TypeVar("Command", bound=Callable[..., Any])
Config = TypeVar("Config", bound=BaseModel)


class _Values(click.ParamType[str]):
    """One value on the command line, several with commas between them in the environment."""

    name = "text"
    envvar_list_splitter = ","


def fields(*models: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """The settings of the config classes by name, each name once."""
    seen: dict[str, FieldInfo] = {}
    for model in models:
        for name, field in model.model_fields.items():
            if seen.setdefault(name, field) is field:
                yield name, field


def options(*models: type[BaseModel], hidden: frozenset[str] = frozenset()) -> Callable[[Command], Command]:
    """Gives a command an option for each setting of the config classes, and `--config`."""

    def decorate(command: Command) -> Command:
        for name, field in reversed(list(fields(*models))):
            if name not in hidden:
                command = _option(name, field)(command)
        return click.option(
            "--config",
            "config_file",
            envvar=f"{ENVIRONMENT_PREFIX}CONFIG",
            default=CONFIG_FILE,
            show_default=True,
            metavar="FILE",
            is_eager=True,
            expose_value=False,
            callback=_read_file,
            help="A TOML file with settings, by the names of the flags with underscores.",
        )(command)

    return decorate


def resolve(model: type[Config], given: dict[str, Any], **fixed: Any) -> Config:
    """The config of this class, from the values that options gave; whatever is not given keeps its default.

    Raises:
        click.UsageError: a value is not allowed; it names the flag and the variable.
    """
    values = {name: given[name] for name in model.model_fields if given.get(name) not in (None, ())}
    try:
        return model(**(values | fixed))
    except ValidationError as error:
        raise click.UsageError("\n".join(_complaint(item) for item in error.errors())) from None


def flag(name: str, field: FieldInfo) -> str:
    """The option's declaration: `--drain-s`, `--token`, `--auth/--no-auth`."""
    dashed = PLURALS.get(name, name.replace("_", "-"))
    return f"--{dashed}/--no-{dashed}" if field.annotation is bool else f"--{dashed}"


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return ENVIRONMENT_PREFIX + name.upper()


def _option(name: str, field: FieldInfo) -> Callable[[Command], Command]:
    several = name in PLURALS
    shown = "" if several or field.default == "" else f"  [default: {default_text(field)}]"
    return click.option(
        flag(name, field),
        name,
        envvar=variable(name),
        default=None,
        multiple=several,
        type=bool if field.annotation is bool else _Values(),
        metavar=None if field.annotation is bool else ("TEXT" if field.annotation is str or several else "NUMBER"),
        help=f"{field.description}{shown}",
    )


def default_text(field: FieldInfo) -> str:
    """The default as a user would write it."""
    if isinstance(field.default, bool):
        return "yes" if field.default else "no"
    if isinstance(field.default, tuple):
        return ",".join(field.default)
    return f"{field.default:g}" if isinstance(field.default, float) else str(field.default)


def _read_file(context: click.Context, parameter: click.Parameter, value: str) -> None:
    path = Path(value)
    if not path.exists():
        if context.get_parameter_source(parameter.name or "") is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError(f"there is no file {value}")
        return
    try:
        settings = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise click.UsageError(f"{value}: {error}") from None
    known = {option.name for option in context.command.params if option.name}
    for name in settings:
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f"; did you mean `{close[0]}`?" if close else ""
            raise click.UsageError(f"{value}: there is no setting `{name}` for `{context.info_name}`{hint}")
    context.default_map = settings


def _complaint(item: Any) -> str:
    name = str(item["loc"][0])
    flag_name = PLURALS.get(name, name.replace("_", "-"))
    message = item["msg"].removeprefix("Value error, ").replace("Input should", "should")
    return f"--{flag_name} ({variable(name)}) {message}; it is {item['input']!r}"
