"""`penstock config-reference`: the page that documents every setting, made from the config classes."""

import click
from pydantic import BaseModel

from penstock.cli.settings import default_text, fields, flag, variable
from penstock_bridge.config import BridgeConfig
from penstock_server.config import ServerConfig

HEADING = """\
# Configuration

Every setting can be a flag, an environment variable, or a line of `penstock.toml` in the current folder (`--config`
names another file), where its name is the flag's with underscores. A flag wins over the environment, which wins over
the file. Settings with several values take the flag several times, values with commas between them in the environment,
and a list in the file, or just the text where it is one. `penstock serve` takes the settings of both tables.

One file can serve all commands: what is a setting of another command is left alone, what is none at all is refused.
It may also hold `flows`, the list of flows to serve, and `ready_file`.

This page is generated: `penstock config-reference > docs/configuration.md`.
"""


@click.command(short_help="Print the reference of all settings.")
def config_reference() -> None:
    """Print the reference of all settings, in Markdown."""
    click.echo(HEADING)
    click.echo(_table("`penstock server`", ServerConfig))
    click.echo(_table("`penstock bridge`", BridgeConfig), nl=False)


def _table(title: str, model: type[BaseModel]) -> str:
    rows = [
        f"| `{flag(name, field)}` | `{variable(name)}` | {_default(default_text(field))} | {field.description} |"
        for name, field in fields(model)
    ]
    lines = [f"## {title}", "", (model.__doc__ or "").strip(), ""]
    return "\n".join([*lines, "| flag | environment | default | meaning |", "|---|---|---|---|", *rows, ""])


def _default(text: str) -> str:
    return f"`{text}`" if text else ""
