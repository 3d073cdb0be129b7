"""`penstock connections`: what flows may connect to."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from penstock.cli.settings import options, resolve
from penstock_server.config import ServerConfig
from penstock_server.flows.connections import connections as loading
from penstock_server.flows.connections.check import Finding
from penstock_server.flows.connections.check import check as try_all
from penstock_server.flows.problems import FlowLoadError

OFFERED = frozenset({"connections", "data"})
"""Settings that say where connections are found."""


@click.group(short_help="Try the connections that flows may name.")
def connections() -> None:
    """The connections that flows may name: models, databases, and whatever else they talk to."""


@connections.command(short_help="Try connections and tell what is wrong.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--flow", "folder", metavar="FOLDER", help="The folder of a flow that has a connections.yaml of its own.")
@options(ServerConfig, hidden=frozenset(ServerConfig.model_fields) - OFFERED)
def check(names: tuple[str, ...], folder: str | None, **given: Any) -> None:
    """Try connections, all of them or those named, and tell what is wrong with each.

    Models are asked for their list of models, databases for their version, Milvus for its collections: each with the
    connection's credentials, and each step for 10 seconds at most. The exit code is 1 where a connection failed.
    """
    config = resolve(ServerConfig, given)
    try:
        found = loading.load(Path(folder) if folder else None, explicit=config.connections, data=Path(config.data))
    except FlowLoadError as error:
        raise click.ClickException(f"the connections cannot be read:\n{error}") from None
    wanted = list(names) or found.names
    if not wanted:
        raise click.ClickException(f"there are no connections: declare some in {loading.FILE}")
    findings = asyncio.run(try_all(found, wanted, probe_database=_probe))
    click.echo(_table(findings))
    sys.exit(0 if all(each.ok for each in findings) else 1)


async def _probe(address: str, *, timeout_s: float) -> str:
    from penstock_server.store.sql.databases.probe import probe  # SQLAlchemy takes a while, and few need it

    return await probe(address, timeout_s=timeout_s)


def _table(findings: Sequence[Finding]) -> str:
    rows = [(each.name, each.type, "ok" if each.ok else "FAILED", each.text) for each in findings]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row[3]]) for row in rows
    )
