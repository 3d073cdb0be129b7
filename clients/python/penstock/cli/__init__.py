"""The command line. `penstock serve` is the one place that puts the server and the bridge together.

Each command is a module of its own, imported when it is called: the client's install has the commands that call a
service, `penstock[server]` the others as well.
"""

import os
from importlib import import_module

import click

from penstock import __version__

# gRPC's core writes its own log lines to standard error; ours say the same things in words that help.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# Connections are watched by gRPC's older event loop, which hands each event through fewer threads: a tenth less
# processor time for a call at the server, and a third less at the bridge (docs/performance.md). A version of gRPC that
# no longer knows a switch ignores it.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener,-event_engine_client")

COMMANDS = {
    "serve": ("penstock.cli.serve", "serve"),
    "server": ("penstock.cli.server", "server"),
    "bridge": ("penstock.cli.bridge", "bridge"),
    "init": ("penstock.cli.init", "init"),
    "invoke": ("penstock.cli.invoke", "invoke"),
    "history": ("penstock.cli.history", "history"),
    "db": ("penstock.cli.db", "db"),
    "check": ("penstock.cli.check", "check"),
    "graph": ("penstock.cli.graph", "graph"),
    "knowledge": ("penstock.cli.knowledge", "knowledge"),
    "connections": ("penstock.cli.connections", "connections"),
    "config-reference": ("penstock.cli.reference", "config_reference"),
}


class _Commands(click.Group):
    """Looks commands up in COMMANDS, and imports them when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        try:
            command: click.Command = getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            return _unavailable(cmd_name, error)
        return command


def _unavailable(name: str, error: ModuleNotFoundError) -> click.Command:
    @click.command(
        name,
        short_help="Not installed: needs penstock[server].",
        help=f"Not installed: needs penstock[server] (there is no module {error.name}).",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    def unavailable() -> None:
        raise click.ClickException(
            f"`penstock {name}` needs the server, which is not installed (there is no module {error.name}): "
            "pip install 'penstock[server]'"
        )

    return unavailable


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="penstock")
def main() -> None:
    """Serve LLM application flows over gRPC, REST and SSE."""
