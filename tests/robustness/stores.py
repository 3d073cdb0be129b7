"""The stores that faults are tried on, seen from outside: by SQL, past the service."""

import sqlite3
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from tests.databases import USER, DatabaseServer

SERVICE = "robust"
RUNS = f"penstock_chat_run_{SERVICE}"
DATABASE = "robust"
LIVE_RUNS = f"SELECT count(*) FROM {RUNS} WHERE status < 3"

UNIQUE_KEYS = f"SELECT indexname FROM pg_indexes WHERE tablename = '{RUNS}' AND indexdef LIKE '%idempotency_key%'"


class Store(ABC):
    """A store of the service `SERVICE`."""

    url: str

    @abstractmethod
    def count(self, query: str) -> int:
        """The number that a query gives."""

    def live_runs(self) -> int:
        """How many runs have not ended."""
        return self.count(LIVE_RUNS)


class SqliteStore(Store):
    """A file."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}"
        self._path = path

    def count(self, query: str) -> int:
        """See Store."""
        return int(self.execute(query)[0][0])

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Executes one statement."""
        connection = sqlite3.connect(self._path)
        try:
            with connection:
                return connection.execute(statement).fetchall()
        finally:
            connection.close()


class ServerStore(Store):
    """A database of a server that belongs to the test."""

    def __init__(self, server: DatabaseServer) -> None:
        self.server = server
        self.url = server.create(DATABASE)

    def count(self, query: str) -> int:
        """See Store."""
        return int(self.server.execute(query, database=DATABASE))

    def connections(self) -> int:
        """How many connections the service has."""
        return int(self.server.execute(CONNECTIONS[self.server.kind]))

    def drop_unique_keys(self) -> None:
        """Takes the uniqueness of idempotency keys away. PostgreSQL only."""
        name = self.server.execute(UNIQUE_KEYS, database=DATABASE)
        self.server.execute(f"DROP INDEX {name}", database=DATABASE)

    def through(self, port: int) -> str:
        """The address by way of a proxy."""
        return self.url.replace(f":{self.server.port}/", f":{port}/")


CONNECTIONS = {
    "mysql": f"SELECT count(*) FROM information_schema.processlist WHERE user = '{USER}'",
    "postgresql": f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{USER}'",
}
