"""Flows on the command line: what to load, and what to say when that fails."""

from collections.abc import Sequence
from typing import Any

import click

from penstock_server.config import ServerConfig
from penstock_server.flows.flow import Flow
from penstock_server.flows.loader import load_all
from penstock_server.flows.problems import FlowLoadError
from penstock_server.flows.settings import FlowSettings


def flows_argument(command: Any) -> Any:
    """Adds the argument that names the flows."""
    return click.argument("flows", nargs=-1, required=True, metavar="FLOW...")(command)


def heading(flows: Sequence[Flow], config: ServerConfig) -> str:
    """What is served, and under which name where it has one of its own."""
    served = ", ".join(flow.spec.flow for flow in flows)
    named = config.service != ServerConfig.model_fields["service"].default
    return f"Penstock serves {served}" + (f" as {config.service}" if named else "")


def load(targets: Sequence[str], config: ServerConfig) -> list[Flow]:
    """Loads the flows.

    Raises:
        click.ClickException: one of them cannot be served; it tells every problem.
    """
    try:
        return load_all(targets, settings=settings_of(config))
    except FlowLoadError as error:
        count = len(error.problems)
        heading = "the flow cannot be served" if count == 1 else f"the flows cannot be served, for {count} reasons"
        raise click.ClickException(f"{heading}:\n{error}") from None


def settings_of(config: ServerConfig) -> FlowSettings:
    """What the server's settings say of flows."""
    return FlowSettings(
        sync_threads_max=config.sync_threads_max,
        node_log_bytes_max=config.node_log_bytes_max,
        error_text=config.error_text,
        connections=config.connections,
        data=config.data,
        model_timeout_s=config.model_timeout_s,
        media_bytes_max=config.media_bytes_max,
        fetch_timeout_s=config.fetch_timeout_s,
        outbound_networks=config.outbound_networks,
    )
