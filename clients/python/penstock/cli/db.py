"""`penstock db`: the tables of a service, apart from its start."""

import asyncio
from typing import Any

import click

from penstock.cli.settings import options, resolve
from penstock.cli.store import migrator
from penstock_server.config import ServerConfig
from penstock_server.store.sql.migrations import known

OTHER_SETTINGS = frozenset(ServerConfig.model_fields) - {"service", "data", "store", "connections"}


@click.group(short_help="Make the store's tables, and bring them up to date.")
def db() -> None:
    """Make the store's tables, and bring them up to date.

    `penstock serve` does so by itself when it starts; with --no-migrate it leaves that to these commands.
    """


@db.command(short_help="Bring the tables up to date.")
@options(ServerConfig, hidden=OTHER_SETTINGS)
def upgrade(**given: Any) -> None:
    """Make the tables of a service, or bring them to the newest revision.

    What is up to date is left as it is. Several processes at once wait for each other.
    """
    asyncio.run(_upgrade(resolve(ServerConfig, given)))


@db.command(short_help="Tell which revision the tables are of.")
@options(ServerConfig, hidden=OTHER_SETTINGS)
def current(**given: Any) -> None:
    """Tell which revision the tables of a service are of. The exit code is 1 if another is needed."""
    asyncio.run(_current(resolve(ServerConfig, given)))


@db.command(short_help="List all revisions.")
@options(ServerConfig, hidden=OTHER_SETTINGS)
def history(**given: Any) -> None:
    """List all revisions, the oldest first. A * marks the one that the tables of the service are of."""
    asyncio.run(_history(resolve(ServerConfig, given)))


async def _upgrade(config: ServerConfig) -> None:
    async with migrator(config, create=True) as service:
        before = await service.upgrade()
        now = await service.current()
    click.echo(f"revision {now}, {'as before' if now == before else f'from {before}' if before else 'newly made'}")


async def _current(config: ServerConfig) -> None:
    async with migrator(config, create=False) as service:
        await service.check()
        click.echo(f"revision {await service.current()}, the newest")


async def _history(config: ServerConfig) -> None:
    async with migrator(config, create=False) as service:
        current = await service.current()
    for revision, what in known().items():
        click.echo(f"{'*' if revision == current else ' '} {revision}  {what}")
