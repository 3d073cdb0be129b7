"""The store of one service in a database."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL

from penstock_server.config import ServerConfig
from penstock_server.errors import StoreUnavailable
from penstock_server.store.errors import StoreError
from penstock_server.store.sql.database import Database
from penstock_server.store.sql.databases.embedded import EmbeddedDatabase
from penstock_server.store.sql.databases.sqlite import SqliteDialect
from penstock_server.store.sql.history.messages import SqlMessages
from penstock_server.store.sql.history.retention import SqlRetention
from penstock_server.store.sql.history.sessions import SqlSessions
from penstock_server.store.sql.migrations.migrator import Migrator
from penstock_server.store.sql.runs.leases import SqlLeases
from penstock_server.store.sql.runs.runs import SqlRuns
from penstock_server.store.sql.schema import Tables
from penstock_server.store.sql.turns.turns import SqlTurns

if TYPE_CHECKING:
    from penstock_server.store.sql.databases.networked import NetworkedDialect


def _default(name: str) -> Any:
    return ServerConfig.model_fields[name].default


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """How a store is used; `ServerConfig` says what the fields mean, and has their defaults."""

    service: str
    shared: bool = False
    """Whether other instances use the same SQLite file: workers of one supervisor, which has taken possession of it."""
    migrate: bool = _default("migrate")
    store_pool_size: int = _default("store_pool_size")
    store_timeout_s: float = _default("store_timeout_s")
    search_timeout_s: float = _default("search_timeout_s")
    idempotency_window_s: float = _default("idempotency_window_s")


class SqlStore:
    """Sessions, messages and runs of one service (see `store.Store`).

    Args:
        instance: the name of the instance that executes runs; empty for a tool, which does not.
    """

    def __init__(self, url: URL, settings: StoreSettings, *, instance: str = "") -> None:
        self.database = database_of(url, settings, instance=bool(instance))
        self.tables = Tables(settings.service)
        self._settings = settings
        self._instance = instance

    async def open(self) -> None:
        """Connects and migrates. Raises StoreError."""
        await self.database.open()
        try:
            await self._open()
        except StoreUnavailable as failure:
            await self.database.close()
            raise StoreError(f"the store cannot be opened: {failure.message}") from None
        except BaseException:
            await self.database.close()
            raise

    async def close(self) -> None:
        """Waits for writes under way, and lets go of every connection."""
        await self.runs.close()
        await self.turns.close()
        await self.database.close()

    async def _open(self) -> None:
        database, tables, settings = self.database, self.tables, self._settings
        migrator = Migrator(database, tables)
        await (migrator.upgrade() if settings.migrate else migrator.check())
        window_s = settings.idempotency_window_s
        self.turns = SqlTurns(database, tables, instance=self._instance, idempotency_window_s=window_s)
        self.sessions = SqlSessions(database, tables)
        self.messages = SqlMessages(database, tables)
        self.retention = SqlRetention(database, tables)
        self.runs = SqlRuns(database, tables)
        self.leases = SqlLeases(database, tables, instance=self._instance)

    @property
    def shared(self) -> bool:
        """See `store.Store`."""
        return self.database.shared


def database_of(url: URL, settings: StoreSettings, *, instance: bool) -> Database:
    """The database at an address.

    Args:
        instance: whether a server is to use it, and not a tool.

    Raises:
        StoreError: a certificate that the address names cannot be read.
    """
    limits = {"timeout_s": settings.store_timeout_s, "search_timeout_s": settings.search_timeout_s}
    if url.drivername == "sqlite":
        path = Path(url.database or "")
        create, shared = settings.migrate, settings.shared
        return EmbeddedDatabase(path, SqliteDialect(), create=create, instance=instance, shared=shared, **limits)
    # Each brings its driver, and both the asynchronous half of SQLAlchemy.
    from penstock_server.store.sql.databases.networked import NetworkedDatabase

    return NetworkedDatabase(url, _dialect(url), pool_size=settings.store_pool_size, **limits)


def _dialect(url: URL) -> "NetworkedDialect":
    if url.drivername == "mysql":
        from penstock_server.store.sql.databases.mysql import MysqlDialect

        return MysqlDialect()
    from penstock_server.store.sql.databases.postgresql import PostgresqlDialect

    return PostgresqlDialect()
