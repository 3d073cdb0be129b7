"""Stores of their own for tests that hurt them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.databases import DatabaseServer, MariaDb, PostgreSql, running
from tests.robustness.stores import ServerStore, SqliteStore, Store

SERVERS: dict[str, type[DatabaseServer]] = {"mysql": MariaDb, "postgresql": PostgreSql}


@pytest.fixture
def store_of(tmp_path: Path) -> Iterator[Callable[[str], Store]]:
    """Makes an empty store of a kind. What it has committed is on the disk, as in production."""
    with ExitStack() as stack:

        def make(kind: str) -> Store:
            if kind == "sqlite":
                return SqliteStore(tmp_path / "store.db")
            return ServerStore(stack.enter_context(running(SERVERS[kind], durable=True)))

        yield make


@pytest.fixture
def database_of(store_of: Callable[[str], Store]) -> Callable[[str], ServerStore]:
    """Makes an empty database on a server of its own."""

    def make(kind: str) -> ServerStore:
        store = store_of(kind)
        assert isinstance(store, ServerStore)
        return store

    return make
