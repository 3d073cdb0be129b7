"""Tables of other systems, read row by row."""

import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    ColumnClause,
    Connection,
    Select,
    column,
    create_engine,
    inspect,
    select,
    table,
)
from sqlalchemy.exc import DBAPIError, NoSuchTableError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from penstock_server.store.errors import StoreError
from penstock_server.store.sql.databases import url as addresses
from penstock_server.store.sql.databases.mysql import MysqlDialect
from penstock_server.store.sql.databases.networked import NetworkedDialect
from penstock_server.store.sql.databases.postgresql import PostgresqlDialect

ROWS_AT_ONCE = 500
"""How many rows are fetched at a time."""
DIALECTS: Mapping[str, Callable[[], NetworkedDialect]] = {"mysql": MysqlDialect, "postgresql": PostgresqlDialect}

Row = Mapping[str, Any]
"""A row's values by the names of their columns."""


class ForeignTable:
    """A table of another system.

    Args:
        source: the address of its database, or the path of an SQLite file. It is only read.
        name: the table; with its schema and a dot before it where it has one.
        columns: what is read.

    Raises:
        StoreError: the source is none.
    """

    def __init__(self, source: str, name: str, columns: Sequence[str]) -> None:
        self._url = addresses.parse(source if "://" in source else addresses.file(Path(source).absolute()))
        self._schema, _, self._name = name.rpartition(".")
        self._columns = list(dict.fromkeys(columns))

    async def rows(self) -> AsyncGenerator[Row]:
        """The rows, in no order; text that is not UTF-8 comes as bytes.

        Raises:
            StoreError: the source cannot be read, or has no such table or column.
        """
        with _explained(self._url):
            if self._url.drivername == "sqlite":
                for row in self._read_file():
                    yield row
            else:
                async with aclosing(self._read_server()) as rows:
                    async for row in rows:
                        yield row

    def _read_file(self) -> Iterator[Row]:
        path = Path(self._url.database or "").absolute()
        if not path.is_file():
            raise StoreError(f"there is no file {path}")
        engine = create_engine("sqlite+pysqlite://", creator=lambda: _open(path), poolclass=NullPool)
        with engine.connect() as connection:
            self._check(connection)
            for row in connection.execute(self._query(), execution_options={"yield_per": ROWS_AT_ONCE}):
                yield row._asdict()

    async def _read_server(self) -> AsyncGenerator[Row]:
        dialect = DIALECTS[self._url.drivername]()
        engine = create_async_engine(
            dialect.driver_url(self._url), connect_args=dialect.connect_args(self._url, 0), poolclass=NullPool
        )
        try:
            async with engine.connect() as connection:
                await connection.run_sync(self._check)
                result = await connection.stream(self._query(), execution_options={"yield_per": ROWS_AT_ONCE})
                try:
                    async for row in result:
                        yield row._asdict()
                except BaseException:
                    # Whoever leaves early waits for no rest: MySQL would send it all first.
                    await connection.invalidate()
                    raise
        finally:
            await engine.dispose()

    def _check(self, connection: Connection) -> None:
        found = [each["name"] for each in inspect(connection).get_columns(self._name, self._schema or None)]
        missing = [name for name in self._columns if name not in found]
        if missing:
            raise StoreError(f"the table {self._name} has no column {missing[0]!r}; it has {', '.join(found)}")

    def _query(self) -> Select[Any]:
        columns: dict[str, ColumnClause[Any]] = {name: column(name) for name in self._columns}
        return select(*columns.values()).select_from(table(self._name, *columns.values(), schema=self._schema or None))


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    connection.text_factory = _text
    return connection


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


@contextmanager
def _explained(url: URL) -> Iterator[None]:
    try:
        yield
    except NoSuchTableError as error:
        raise StoreError(f"{addresses.shown(url)} has no table {error}") from None
    except (DBAPIError, OSError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise StoreError(f"{addresses.shown(url)} cannot be read: {reason}") from None
