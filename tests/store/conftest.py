"""Stores on all three databases. A test that takes `store` or `store_url` runs on each of them."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import insert
from tests.databases import DatabaseServer, MariaDb, PostgreSql, running
from tests.store.numbers import numbers, opened

from penstock_server.store.sql.database import Database
from penstock_server.store.sql.databases.url import parse
from penstock_server.store.sql.schema import Tables
from penstock_server.store.sql.store import SqlStore, StoreSettings
from penstock_server.store.sql.turns import turns

SERVERS = {"mysql": "mariadb", "postgresql": "postgresql"}
DATABASES = ("sqlite", *SERVERS)
SETTINGS = StoreSettings(service="test", store_timeout_s=10.0)
"""Patient, for tests of what a store does; how soon it gives up is tested where that is the point."""

_numbers = count(1)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[DatabaseServer]:
    with running(MariaDb) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[DatabaseServer]:
    with running(PostgreSql) as server:
        yield server


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest) -> str:
    """The database that the test runs on."""
    return str(request.param)


@pytest.fixture
def server(request: pytest.FixtureRequest, database: str) -> DatabaseServer | None:
    """Its server; SQLite has none."""
    return request.getfixturevalue(SERVERS[database]) if database in SERVERS else None


@pytest.fixture(params=[MariaDb, PostgreSql])
def own_server(request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    """A server that the test may hurt."""
    with running(request.param) as server:
        yield server


@pytest.fixture
def empty_url(server: DatabaseServer | None, tmp_path: Path) -> str:
    """The address of a database that holds nothing yet."""
    return server.create(f"test_{next(_numbers)}") if server else f"sqlite:///{tmp_path}/empty/chat_history.db"


@pytest.fixture
def store_url(server: DatabaseServer | None, tmp_path: Path, migrated: Callable[[DatabaseServer | None], str]) -> str:
    """The address of a database with the tables of the service `test`, without rows."""
    url = migrated(server)
    if server is None:
        return f"sqlite:///{shutil.copy(url.removeprefix('sqlite:///'), tmp_path / 'chat_history.db')}"
    tables = Tables(SETTINGS.service)
    quote = "`" if server.kind == "mysql" else '"'
    names = [*tables.metadata.tables, tables.search]
    server.execute(*(f"DELETE FROM {quote}{name}{quote}" for name in names), database=url.rpartition("/")[2])
    return url


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[DatabaseServer | None], str]:
    """A database of each kind with all tables, made when it is first asked for: that takes longer than most tests."""
    made: dict[DatabaseServer | None, str] = {}

    def migrated(server: DatabaseServer | None) -> str:
        if server not in made:
            path = tmp_path_factory.mktemp("migrated") / "chat_history.db"
            made[server] = server.create("migrated") if server else f"sqlite:///{path}"
            asyncio.run(_migrate(made[server]))
        return made[server]

    return migrated


async def _migrate(url: str) -> None:
    store = SqlStore(parse(url), SETTINGS)
    await store.open()
    await store.close()


@pytest.fixture
def settings() -> StoreSettings:
    return SETTINGS


@pytest.fixture
async def store(store_url: str, settings: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqlStore]:
    """An open store without rows."""
    monkeypatch.setattr(turns, "PATIENCE_S", SETTINGS.store_timeout_s)
    store = SqlStore(parse(store_url), settings, instance="instance-of-the-test")
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def db(empty_url: str) -> AsyncIterator[Database]:
    """A database with a table of numbers: 1 and 2, both with the value 0."""
    async with opened(empty_url) as database:
        await database.alone("numbers", numbers.create)
        await database.write(lambda each: each.execute(insert(numbers), [{"id": key, "value": 0} for key in (1, 2)]))
        yield database
