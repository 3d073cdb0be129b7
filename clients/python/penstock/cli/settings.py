"""Settings on the command line: options made from the config classes, and their values from wherever they are set.

A flag wins over the environment (`PENSTOCK_<NAME>`), which wins over the file (`penstock.cli.file`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from penstock.cli import file
from penstock_bridge.config import BridgeConfig
from penstock_server.config import ServerConfig

ENVIRONMENT_PREFIX = "PENSTOCK_"
PLURALS = {"tokens": "token", "cors_origins": "cors-origin", "hosts": "host", "outbound_networks": "outbound-network"}
"""Settings that hold several values, with the flag that gives one of them."""
SWITCHES = {"store": ("--no-store", "none")}
"""Settings with a flag that stands for one of their values."""

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
                command = _option(name, field)(_switch(name)(command))
        return click.option(
            "--config",
            "config_file",
            envvar=f"{ENVIRONMENT_PREFIX}CONFIG",
            default=file.NAME,
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
        click.UsageError: a value is not allowed; it names the flag and the variable, or the file.
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


def default_text(field: FieldInfo) -> str:
    """The default as a user would write it."""
    if isinstance(field.default, bool):
        return "yes" if field.default else "no"
    if isinstance(field.default, tuple):
        return ",".join(field.default)
    return f"{field.default:g}" if isinstance(field.default, float) else str(field.default)


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


def _switch(name: str) -> Callable[[Command], Command]:
    if name not in SWITCHES:
        return lambda command: command
    switch, value = SWITCHES[name]
    return click.option(switch, name, flag_value=value, help=f"The same as --{name} {value}.")


def _read_file(context: click.Context, parameter: click.Parameter, value: str) -> None:
    chosen = context.get_parameter_source(parameter.name or "") is not click.core.ParameterSource.DEFAULT
    types = {name: field.annotation for name, field in fields(ServerConfig, BridgeConfig)}
    context.default_map = file.read(value, types | {"flows": tuple[str, ...], "ready_file": str}, must_exist=chosen)
    context.meta[file.NAME] = value


def _complaint(item: Any) -> str:
    name = str(item["loc"][0])
    return f"{_place(name)} {file.said(item)}; it is {item['input']!r}"


def _place(name: str) -> str:
    """Where the user gave the setting that is wrong."""
    context = click.get_current_context()
    if context.get_parameter_source(name) is click.core.ParameterSource.DEFAULT_MAP:
        return f"{context.meta[file.NAME]}: `{name}`"
    return f"--{PLURALS.get(name, name.replace('_', '-'))} ({variable(name)})"
