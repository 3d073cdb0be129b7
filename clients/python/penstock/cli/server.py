"""`penstock server`: the gRPC server alone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import click

from penstock.cli import lifetime, tokens
from penstock.cli.flows import flows_argument, heading, load
from penstock.cli.ready import ReadyFile, ready_file_option
from penstock.cli.settings import options, resolve
from penstock.cli.store import opened
from penstock.cli.tokens import Tokens
from penstock_server.app import Server, StartError
from penstock_server.config import ServerConfig
from penstock_server.flows.flow import Flow


@click.command(short_help="Serve flows over gRPC alone.")
@flows_argument
@options(ServerConfig)
@ready_file_option
def server(flows: tuple[str, ...], ready_file: str, **given: Any) -> None:
    """Serve flows over gRPC alone.

    FLOW is a folder with a flow.dag.yaml or flow.flex.yaml, or module:callable. The first is the default flow.
    """
    config = resolve(ServerConfig, given)
    found = tokens.resolve(config.tokens, config.tokens_file, auth=config.auth, addresses=[config.grpc])
    loaded = load(flows, config)
    with ReadyFile(ready_file) as ready:
        lifetime.run(lambda stop: _serve(stop, config, loaded, found, ready))


async def _serve(stop: asyncio.Event, config: ServerConfig, flows: list[Flow], found: Tokens, ready: ReadyFile) -> None:
    async with answering(config, flows, found.known) as running:
        lifetime.settle()
        lines = [("", heading(flows, config)), ("gRPC", running.address), *token_lines(found)]
        lifetime.announce(lines, ready, {"grpc": running.address, "token": first_token(found)})
        await stop.wait()


@asynccontextmanager
async def answering(config: ServerConfig, flows: Sequence[Flow], tokens: Sequence[str]) -> AsyncIterator[Server]:
    """A server that answers within the block; after it, however it ends, live runs are drained and all is closed.

    Raises:
        click.ClickException: the store cannot be opened, or the server cannot listen.
    """
    server = Server(config, flows, tokens, await opened(config))
    try:
        await server.start()
        yield server
    except StartError as error:
        raise click.ClickException(str(error)) from None
    finally:
        await server.stop()


def first_token(found: Tokens) -> str:
    """A token for programs to call with; empty where none is needed."""
    return found.known[0] if found.known else ""


def token_lines(found: Tokens) -> list[tuple[str, str]]:
    """What to tell people about the tokens. A token that they gave themselves is not shown."""
    if found.made:
        return [("token", f"{found.known[0]}   (made for this start; --token or PENSTOCK_TOKENS sets your own)")]
    return [("token", "one of those that you gave" if found.known else "none needed (--no-auth)")]
