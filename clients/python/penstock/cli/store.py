"""The store on the command line: opened as the settings say."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from penstock.connections import DatabaseConnection
from penstock_server.config import ServerConfig
from penstock_server.flows.problems import FlowLoadError, ProblemFound
from penstock_server.ids import new_id
from penstock_server.store.errors import StoreError
from penstock_server.store.store import Store

if TYPE_CHECKING:
    from penstock_server.store.sql.databases.url import Address
    from penstock_server.store.sql.migrations.migrator import Migrator
    from penstock_server.store.sql.store import SqlStore, StoreSettings

FILE = "chat_history.db"
"""The store in the data folder that is used where no other is named."""
NONE = "none"
"""Names no store at all."""


async def opened(config: ServerConfig, *, shared: bool = False) -> Store | None:
    """The store of a server, open; None where nothing is to be kept.

    Args:
        shared: the server is a worker, and its supervisor has taken possession of the store.

    Raises:
        click.ClickException: it cannot be opened.
    """
    if config.store == NONE:
        return None
    return await _opened(config, migrate=config.migrate, instance=new_id(), shared=shared)


async def possessed(config: ServerConfig) -> tuple[int, ...]:
    """Makes the store ready for workers: its tables are up to date, and an SQLite file is no other supervisor's.

    Returns:
        Handles of the operating system. An SQLite file is taken for as long as some process has them open.

    Raises:
        click.ClickException: it cannot be opened.
    """
    if config.store == NONE:
        return ()
    store = await _opened(config, migrate=config.migrate, instance=new_id())
    try:
        return tuple(os.dup(handle) for handle in store.database.possession)
    finally:
        await store.close()


@asynccontextmanager
async def opened_for_tool(config: ServerConfig, *, migrate: bool) -> "AsyncIterator[SqlStore]":
    """The store within the block, for what is no server; a server may use it at the same time.

    Args:
        migrate: make what is missing, the file and the tables. Without, that is an error.

    Raises:
        click.ClickException: it cannot be opened, or there is none.
    """
    store = await _opened(config, migrate=migrate, instance="")
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def migrator(config: ServerConfig, *, create: bool) -> "AsyncIterator[Migrator]":
    """What changes the tables of the service, within the block.

    Args:
        create: make a missing SQLite file.

    Raises:
        click.ClickException: the database cannot be opened, or what is done in the block fails; or there is no store.
    """
    from penstock_server.store.sql.migrations.migrator import Migrator
    from penstock_server.store.sql.schema import Tables
    from penstock_server.store.sql.store import database_of

    with _told():
        database = database_of(_url(config), _settings(config, migrate=create), instance=False)
        await database.open()
        try:
            yield Migrator(database, Tables(config.service))
        finally:
            await database.close()


async def _opened(config: ServerConfig, *, migrate: bool, instance: str, shared: bool = False) -> "SqlStore":
    # SQLAlchemy is worth a third of a start, so it is imported where there is a store only.
    from penstock_server.store.sql.store import SqlStore

    with _told():
        settings = _settings(config, migrate=migrate, shared=shared)
        store = SqlStore(_url(config), settings, instance=instance)
        await store.open()
    return store


def _url(config: ServerConfig) -> "Address":
    from penstock_server.store.sql.databases.url import parse

    if config.store == NONE:
        raise click.UsageError("there is no store: --store is none")
    address = config.store or f"sqlite:///{Path(config.data) / FILE}"
    return parse(address, resolve=lambda name: _connection(config, name))


def _connection(config: ServerConfig, name: str) -> str:
    """The address that a connection stands for."""
    from penstock_server.flows.connections.connections import load

    try:
        connection = load(explicit=config.connections, data=Path(config.data)).get(name)
    except ProblemFound as problem:
        raise StoreError(f"--store connection:{name}: {problem.text}; {problem.hint}".rstrip("; ")) from None
    except FlowLoadError as error:
        raise StoreError(f"--store connection:{name}: the connections cannot be read:\n{error}") from None
    if not isinstance(connection, DatabaseConnection):
        kind = type(connection).__name__
        raise StoreError(f"--store connection:{name} is a {kind}; a store needs one of type mysql or postgresql")
    return connection.url


def _settings(config: ServerConfig, *, migrate: bool, shared: bool = False) -> "StoreSettings":
    from penstock_server.store.sql.store import StoreSettings

    return StoreSettings(
        service=config.service,
        migrate=migrate,
        shared=shared,
        store_pool_size=config.store_pool_size,
        store_timeout_s=config.store_timeout_s,
        search_timeout_s=config.search_timeout_s,
        idempotency_window_s=config.idempotency_window_s,
    )


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise click.ClickException(str(error)) from None
