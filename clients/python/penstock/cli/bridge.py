"""`penstock bridge`: the HTTP side alone, in front of a gRPC server."""

import asyncio
from typing import Any

import click

from penstock.cli import lifetime
from penstock.cli.settings import options, resolve
from penstock_bridge.app import Bridge
from penstock_bridge.config import BridgeConfig
from penstock_bridge.upstream import connect

DRAIN_S = 30.0
"""How long requests under way may go on once the bridge was asked to stop."""


@click.command()
@click.option(
    "--upstream",
    envvar="PENSTOCK_UPSTREAM",
    required=True,
    metavar="TARGET",
    help="The gRPC server: HOST:PORT or unix:PATH.",
)
@options(BridgeConfig)
@lifetime.ready_file_option
def bridge(upstream: str, ready_file: str, **given: Any) -> None:
    """Serve REST and SSE in front of a gRPC server."""
    config = resolve(BridgeConfig, given)
    lifetime.run(lambda stop: _serve(stop, config, upstream, ready_file))


async def _serve(stop: asyncio.Event, config: BridgeConfig, upstream: str, ready_file: str) -> None:
    channel = connect(upstream, config)
    running = Bridge(channel, config)
    url = await start(running, config)
    lifetime.settle()
    lines = [("REST", f"{url}/"), ("docs", f"{url}/docs"), ("upstream", upstream)]
    lifetime.announce(lines, ready_file, {"http": url})
    await stop.wait()
    await drain(running, DRAIN_S)
    await running.stop()
    await channel.close(None)


async def start(running: Bridge, config: BridgeConfig) -> str:
    """Starts a bridge and returns its URL; raises click.ClickException where it cannot listen."""
    try:
        await running.start()
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {config.http} for HTTP ({error.strerror or error}): is another server running there? "
            "Choose another with --http HOST:PORT (port 0 takes a free one)"
        ) from None
    host, port = running.address
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{config.prefix}"


async def drain(running: Bridge, drain_s: float) -> None:
    """Lets requests under way finish for `drain_s` seconds."""
    try:
        await asyncio.wait_for(running.drain(), drain_s)
    except TimeoutError:
        lifetime.logger.warning("ending the requests that did not finish within %g s", drain_s)
