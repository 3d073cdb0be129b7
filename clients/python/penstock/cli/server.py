"""`penstock server`: the gRPC server alone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import click

from penstock.cli import lifetime, tokens
from penstock.cli.flows import flows_argument, heading, load
from penstock.cli.lifetime import Announce, Announcement
from penstock.cli.ready import ReadyFile, ready_file_option
from penstock.cli.service import Service
from penstock.cli.settings import options, resolve
from penstock.cli.store import opened
from penstock.cli.tokens import Tokens
from penstock.cli.workers.supervisor import supervise
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
    service = Service(flows=flows, server=config, bridge=None, tokens=found)
    with ReadyFile(ready_file) as ready:
        if config.workers > 1:
            supervise(service, ready)
        else:
            _alone(service, ready)


def _alone(service: Service, ready: ReadyFile) -> None:
    flows = load(service.flows, service.server)
    lifetime.run(lambda stop: serve_grpc(stop, service, flows, partial(lifetime.announce, ready=ready)))


async def serve_grpc(
    stop: asyncio.Event, service: Service, flows: list[Flow], announce: Announce, *, worker: bool = False
) -> None:
    """Serves flows over gRPC until it is to stop.

    Raises:
        click.ClickException: the store cannot be opened, or the server cannot listen.
    """
    config, found = service.server, service.tokens
    async with answering(config, flows, found.known, worker=worker) as running:
        lifetime.settle()
        lines = [("", heading(flows, config)), ("gRPC", running.address), *token_lines(found)]
        announce(Announcement(lines=lines, facts={"grpc": running.address, "token": first_token(found)}))
        await stop.wait()


@asynccontextmanager
async def answering(
    config: ServerConfig, flows: Sequence[Flow], tokens: Sequence[str], *, worker: bool = False
) -> AsyncIterator[Server]:
    """A server that answers within the block; after it, however it ends, live runs are drained and all is closed.

    Args:
        worker: whether it shares the port and the store with other workers of one supervisor, which holds both.

    Raises:
        click.ClickException: the store cannot be opened, or the server cannot listen.
    """
    server = Server(config, flows, tokens, await opened(config, shared=worker))
    try:
        await server.start(share_port=worker)
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
