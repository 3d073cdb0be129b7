"""Work to do on a database: a table of numbers, and what to expect of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, insert, select, update

from penstock_server.errors import StoreUnavailable
from penstock_server.store.sql.database import Database
from penstock_server.store.sql.databases.url import parse
from penstock_server.store.sql.store import StoreSettings, database_of

TIMEOUT_S = 1.0
PATIENCE_S = 10.0
"""How long anything may take on a machine that has other things to do."""

numbers = Table("numbers", MetaData(), Column("id", Integer, primary_key=True), Column("value", Integer))


@asynccontextmanager
async def opened(url: str, **settings: Any) -> AsyncIterator[Database]:
    defaults = {"store_timeout_s": TIMEOUT_S, "store_pool_size": 6}
    database = database_of(parse(url), StoreSettings(service="test", **defaults | settings), instance=False)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def count(connection: Connection) -> int:
    return len(connection.execute(select(numbers)).all())


def adding(*keys: int) -> Callable[[Connection], None]:
    def add(connection: Connection) -> None:
        connection.execute(insert(numbers), [{"id": key, "value": 0} for key in keys])

    return add


async def fails(doing: Any) -> tuple[StoreUnavailable, float]:
    """The failure, and how long it took to come."""
    start_s = time.monotonic()
    with pytest.raises(StoreUnavailable) as failed:
        await doing
    return failed.value, time.monotonic() - start_s


async def healed(database: Database) -> None:
    """Returns once the database reads and writes again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await database.read(count)
                await database.write(lambda each: each.execute(update(numbers).values(value=1)))
                return
            except StoreUnavailable:
                await asyncio.sleep(0.05)


def touch(connection: Connection) -> None:
    connection.execute(update(numbers).where(numbers.c.id == 1).values(value=numbers.c.value + 1))
