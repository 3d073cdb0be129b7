"""`penstock serve`: the gRPC server and the bridge, together in one process, or in several."""

import asyncio
import json
import shlex
from collections.abc import Sequence
from functools import partial
from socket import socket
from typing import Any

import click

from penstock.cli import lifetime, tokens
from penstock.cli.bridge import drain, listening
from penstock.cli.flows import flows_argument, heading, load
from penstock.cli.lifetime import Announce, Announcement
from penstock.cli.ready import ReadyFile, ready_file_option
from penstock.cli.sample import PLACEHOLDER, sample_inputs, shown_inputs
from penstock.cli.server import answering, first_token, token_lines
from penstock.cli.service import Service
from penstock.cli.settings import options, resolve
from penstock.cli.tokens import Tokens
from penstock.cli.workers.supervisor import supervise
from penstock_bridge.app import Bridge
from penstock_bridge.config import BridgeConfig
from penstock_server.config import ServerConfig
from penstock_server.flows.flow import Flow

DERIVED = frozenset({"body_bytes_max", "upstream"})
"""Settings of the bridge that follow from the server's, where both are one process."""


@click.command(short_help="Serve flows over gRPC, REST and SSE.")
@flows_argument
@options(ServerConfig, BridgeConfig, hidden=DERIVED)
@ready_file_option
def serve(flows: tuple[str, ...], ready_file: str, **given: Any) -> None:
    """Serve flows over gRPC, REST and SSE, in one process or in several that serve as one (--workers).

    FLOW is a folder with a flow.dag.yaml or flow.flex.yaml, or module:callable. The first is the default flow.
    """
    config = resolve(ServerConfig, given)
    bridge_config = resolve(BridgeConfig, given, body_bytes_max=config.message_bytes_max)
    addresses = [config.grpc, bridge_config.http]
    found = tokens.resolve(config.tokens, config.tokens_file, auth=config.auth, addresses=addresses)
    service = Service(flows=flows, server=config, bridge=bridge_config, tokens=found)
    with ReadyFile(ready_file) as ready:
        if config.workers > 1:
            supervise(service, ready)
        else:
            _alone(service, ready)


def _alone(service: Service, ready: ReadyFile) -> None:
    flows = load(service.flows, service.server)
    inputs = sample_inputs(flows[0])  # here, for it may execute code of the flow, which has no place on the loop
    lifetime.run(lambda stop: serve_all(stop, service, flows, inputs, partial(lifetime.announce, ready=ready)))


async def serve_all(
    stop: asyncio.Event,
    service: Service,
    flows: list[Flow],
    inputs: dict[str, object] | None,
    announce: Announce,
    *,
    sockets: Sequence[socket] = (),
) -> None:
    """Serves flows over gRPC and HTTP until it is to stop.

    Args:
        inputs: those of the call that people are shown.
        sockets: for HTTP, bound by the supervisor; only a worker has them.

    Raises:
        click.ClickException: the store cannot be opened, or one of the two cannot listen.
    """
    config, bridge_config, found = service.server, service.bridge, service.tokens
    assert bridge_config is not None  # noqa: S101 - for the types
    async with answering(config, flows, found.known, worker=bool(sockets)) as server:
        bridge = Bridge(server.channel(), bridge_config)
        async with listening(bridge, bridge_config, sockets) as url:
            lines = [("", heading(flows, config)), *_lines(url, server.address, flows[0], inputs, found)]
            facts = {"http": url, "grpc": server.address, "token": first_token(found)}
            lifetime.settle()
            announce(Announcement(lines=lines, facts=facts))
            await stop.wait()
            # Runs end first, so that their last events still reach the readers behind the bridge.
            await server.drain()
            await drain(bridge, config.write_timeout_s)


def _lines(
    url: str, grpc_address: str, flow: Flow, inputs: dict[str, object] | None, found: Tokens
) -> list[tuple[str, str]]:
    invitation = "Try it:" if inputs is not None else f"Try it, with inputs of {flow.spec.flow} for the dots:"
    return [
        ("REST", f"{url}/"),
        ("docs", f"{url}/docs"),
        ("gRPC", grpc_address),
        *token_lines(found),
        ("", f"\n{invitation}\n"),
        ("", f"  {_curl(url, dict.fromkeys(shown_inputs(flow), PLACEHOLDER) if inputs is None else inputs, found)}\n"),
    ]


def _curl(url: str, inputs: dict[str, object], found: Tokens) -> str:
    shown = found.known[0] if found.made else "$TOKEN"
    auth = f'-H "Authorization: Bearer {shown}" ' if found.known else ""
    body = shlex.quote(json.dumps(inputs, ensure_ascii=False))
    return f"curl {url}/ {auth}-H 'Content-Type: application/json' -d {body}"
