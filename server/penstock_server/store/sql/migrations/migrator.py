"""Brings the tables of a service to the revision that this Penstock needs."""

from collections.abc import Awaitable
from typing import TypeVar

from sqlalchemy import Connection

from penstock_server.errors import StoreUnavailable
from penstock_server.store.errors import StoreError
from penstock_server.store.sql import migrations
from penstock_server.store.sql.database import Database
from penstock_server.store.sql.schema import Tables

T = TypeVar("T")


class Migrator:
    """The revisions of one service's tables. Each method raises StoreError where the database does not let it."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database = database
        self._tables = tables

    async def current(self) -> str:
        """The revision of the tables; empty where there are none."""
        return await self._told(self._database.read(lambda connection: migrations.current(connection, self._tables)))

    async def check(self) -> None:
        """Raises StoreError, with what to do, unless the tables are of the newest revision."""
        revision = await self.current()
        if revision != migrations.HEAD:
            raise migrations.unfit(revision, self._tables)

    async def upgrade(self) -> str:
        """Makes the tables, or brings them to the newest revision; of several processes, one at a time.

        Returns:
            The revision before.
        """
        revision = await self.current()
        if revision != migrations.HEAD:
            await self._told(self._database.alone(self._tables.revision, self._upgrade))
        return revision

    def _upgrade(self, connection: Connection) -> None:
        migrations.upgrade(connection, self._tables, self._database.dialect)

    async def _told(self, doing: Awaitable[T]) -> T:
        try:
            return await doing
        except StoreUnavailable as failure:
            raise StoreError(f"the tables cannot be read or changed: {failure.message}") from None
