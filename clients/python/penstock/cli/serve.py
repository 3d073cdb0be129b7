"""`penstock serve`: the gRPC server and the bridge in one process."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import click

from penstock.cli import bridge as bridge_command
from penstock.cli import lifetime, tokens
from penstock.cli.flows import flows_argument, load
from penstock.cli.server import start, token_lines
from penstock.cli.settings import options, resolve
from penstock.cli.tokens import Tokens
from penstock_bridge.app import Bridge
from penstock_bridge.config import BridgeConfig
from penstock_server.app import Server
from penstock_server.config import ServerConfig
from penstock_server.flows.flow import Flow

DERIVED = frozenset({"require_bearer", "body_bytes_max"})
"""Settings of the bridge that follow from the server's, where both are one process."""


@click.command()
@flows_argument
@options(ServerConfig, BridgeConfig, hidden=DERIVED)
@lifetime.ready_file_option
def serve(flows: tuple[str, ...], ready_file: str, **given: Any) -> None:
    """Serve flows over gRPC, REST and SSE in one process.

    FLOW is a folder with a flow.dag.yaml or flow.flex.yaml, or module:callable. The first is the default flow.
    """
    config = resolve(ServerConfig, given)
    bridge_config = resolve(BridgeConfig, given, require_bearer=config.auth, body_bytes_max=config.message_bytes_max)
    addresses = [config.grpc, bridge_config.http]
    found = tokens.resolve(config.tokens, config.tokens_file, auth=config.auth, addresses=addresses)
    loaded = load(flows, config)
    lifetime.run(lambda stop: _serve(stop, config, bridge_config, loaded, found, ready_file))


async def _serve(
    stop: asyncio.Event,
    config: ServerConfig,
    bridge_config: BridgeConfig,
    flows: list[Flow],
    found: Tokens,
    ready_file: str,
) -> None:
    async with AsyncExitStack() as stack:
        server = Server(config, flows, found.known)
        await start(server)
        stack.push_async_callback(server.stop)
        bridge = Bridge(server.channel(), bridge_config)
        url = await bridge_command.start(bridge, bridge_config)
        stack.push_async_callback(bridge.stop)
        lifetime.settle()
        _announce(url, server.address, flows, found, ready_file)
        await stop.wait()
        # Runs end first, so that their last events still reach the readers behind the bridge.
        await server.drain()
        await bridge_command.drain(bridge, config.write_timeout_s)


def _announce(url: str, grpc_address: str, flows: list[Flow], found: Tokens, ready_file: str) -> None:
    token = found.known[0] if found.known else ""
    names = ", ".join(flow.spec.flow for flow in flows)
    lines = [
        ("", f"Penstock serves {names}"),
        ("REST", f"{url}/"),
        ("docs", f"{url}/docs"),
        ("gRPC", grpc_address),
        *token_lines(found),
        ("", "\nTry it:\n"),
        ("", f"  {_curl(url, flows[0], found)}\n"),
    ]
    lifetime.announce(lines, ready_file, {"http": url, "grpc": grpc_address, "token": token})


def _curl(url: str, flow: Flow, found: Tokens) -> str:
    body = json.dumps(_sample(flow), ensure_ascii=False).replace("'", "'\\''")
    shown = found.known[0] if found.made else "$TOKEN"
    auth = f'-H "Authorization: Bearer {shown}" ' if found.known else ""
    return f"curl {url}/ {auth}-H 'Content-Type: application/json' -d '{body}'"


def _sample(flow: Flow) -> dict[str, object]:
    """Inputs that the flow takes: its required ones, with values of their types."""
    schema = flow.spec.input_schema
    properties = schema.get("properties", {})
    chosen = schema.get("required", []) or list(properties)[:1]
    return {name: _sample_value(name, properties.get(name, {}), flow) for name in chosen}


def _sample_value(name: str, schema: dict[str, Any], flow: Flow) -> object:
    if name == flow.spec.chat_input:
        return "What is Penstock?"
    if schema.get("examples"):
        return schema["examples"][0]
    if "default" in schema:
        return schema["default"]
    return {"integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}.get(
        schema.get("type", ""), "hello"
    )
