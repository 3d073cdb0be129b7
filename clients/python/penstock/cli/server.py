"""`penstock server`: the gRPC server alone."""

import asyncio
from typing import Any

import click

from penstock.cli import lifetime, tokens
from penstock.cli.flows import flows_argument, load
from penstock.cli.settings import options, resolve
from penstock.cli.tokens import Tokens
from penstock_server.app import Server, StartError
from penstock_server.config import ServerConfig
from penstock_server.flows.flow import Flow


@click.command()
@flows_argument
@options(ServerConfig)
@lifetime.ready_file_option
def server(flows: tuple[str, ...], ready_file: str, **given: Any) -> None:
    """Serve flows over gRPC alone.

    FLOW is a folder with a flow.dag.yaml or flow.flex.yaml, or module:callable. The first is the default flow.
    """
    config = resolve(ServerConfig, given)
    found = tokens.resolve(config.tokens, config.tokens_file, auth=config.auth, addresses=[config.grpc])
    loaded = load(flows, config)
    lifetime.run(lambda stop: _serve(stop, config, loaded, found, ready_file))


async def _serve(stop: asyncio.Event, config: ServerConfig, flows: list[Flow], found: Tokens, ready_file: str) -> None:
    running = Server(config, flows, found.known)
    await start(running)
    token = found.known[0] if found.known else ""
    lines = [("gRPC", running.address), *token_lines(found)]
    lifetime.settle()
    lifetime.announce(lines, ready_file, {"grpc": running.address, "token": token})
    await stop.wait()
    await running.stop()


async def start(running: Server, *, listen: bool = True) -> None:
    """Starts a server; raises click.ClickException where it cannot listen."""
    try:
        await running.start(listen=listen)
    except StartError as error:
        raise click.ClickException(str(error)) from None


def token_lines(found: Tokens) -> list[tuple[str, str]]:
    """What to tell people about the tokens. A token that they gave themselves is not shown."""
    if found.made:
        return [("token", f"{found.known[0]}   (made for this start; --token or PENSTOCK_TOKENS sets your own)")]
    return [("token", "one of those that you gave" if found.known else "none needed (--no-auth)")]
