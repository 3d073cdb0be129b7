"""`penstock bridge`: the HTTP side alone, in front of a gRPC server."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from socket import socket
from typing import Any

import click

from penstock.cli import lifetime, tokens
from penstock.cli.ready import ReadyFile, ready_file_option
from penstock.cli.settings import options, resolve
from penstock_bridge.app import Bridge
from penstock_bridge.config import BridgeConfig
from penstock_bridge.upstream import connect

DRAIN_S = 30.0
"""How long requests under way may go on once the bridge was asked to stop."""


@click.command(short_help="Serve REST and SSE in front of a gRPC server.")
@options(BridgeConfig)
@ready_file_option
def bridge(ready_file: str, **given: Any) -> None:
    """Serve REST and SSE in front of a gRPC server."""
    config = resolve(BridgeConfig, given)
    if not config.auth:
        tokens.refuse_unless_local([config.http])
    with ReadyFile(ready_file) as ready:
        lifetime.run(lambda stop: _serve(stop, config, ready))


async def _serve(stop: asyncio.Event, config: BridgeConfig, ready: ReadyFile) -> None:
    async with AsyncExitStack() as stack:
        channel = connect(config.upstream, config)
        stack.push_async_callback(channel.close, None)
        running = Bridge(channel, config)
        url = await stack.enter_async_context(listening(running, config))
        lifetime.settle()
        lines = [("REST", f"{url}/"), ("docs", f"{url}/docs"), ("upstream", config.upstream)]
        lifetime.announce(lifetime.Announcement(lines=lines, facts={"http": url}), ready)
        await stop.wait()
        await drain(running, DRAIN_S)


@asynccontextmanager
async def listening(bridge: Bridge, config: BridgeConfig, sockets: Sequence[socket] = ()) -> AsyncIterator[str]:
    """The URL of a bridge that listens within the block; after it, however it ends, every call is ended and closed.

    Args:
        sockets: bound ones to listen on; none to bind the address of the config.

    Raises:
        click.ClickException: the bridge cannot listen.
    """
    try:
        await _start(bridge, config, sockets)
        host, port = bridge.address
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}{config.prefix}"
    finally:
        await bridge.stop()


async def _start(bridge: Bridge, config: BridgeConfig, sockets: Sequence[socket]) -> None:
    try:
        await bridge.start(sockets)
    except (OSError, UnicodeError) as error:  # the latter for a host that no name server could be asked for
        raise cannot_listen(config.http, error) from None


def cannot_listen(address: str, error: Exception) -> click.ClickException:
    """Why there is no bridge on an address, and what to do."""
    reason = getattr(error, "strerror", None) or error
    return click.ClickException(
        f"cannot listen on {address} for HTTP ({reason}): is another server running there? "
        "Choose another with --http HOST:PORT (port 0 takes a free one)"
    )


async def drain(bridge: Bridge, drain_s: float) -> None:
    """Lets requests under way finish for `drain_s` seconds."""
    try:
        await asyncio.wait_for(bridge.drain(), drain_s)
    except TimeoutError:
        lifetime.logger.warning("ending the requests that did not finish within %g s", drain_s)
