"""SQLite."""

import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Insert,
    Integer,
    Row,
    Select,
    Table,
    bindparam,
    cast,
    column,
    delete,
    func,
    select,
    table,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DBAPIError

from penstock_server.store.sql.database import ROWS_AT_ONCE
from penstock_server.store.sql.schema import Tables

AILMENTS = {
    sqlite3.SQLITE_BUSY: "another process is writing to it",
    sqlite3.SQLITE_LOCKED: "another process is writing to it",
    sqlite3.SQLITE_PROTOCOL: "another process is writing to it",
    sqlite3.SQLITE_FULL: "its disk is full",
    sqlite3.SQLITE_IOERR: "its disk fails",
    sqlite3.SQLITE_PERM: "its file may not be written",
    sqlite3.SQLITE_READONLY: "its file may not be written",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened",
    sqlite3.SQLITE_CORRUPT: "its file is damaged",
    sqlite3.SQLITE_NOTADB: "its file is no SQLite database",
}
"""What is wrong with the database, by the primary result code."""
PRIMARY = 0xFF
"""The bits of a result code that are the primary one's."""
EPOCH_DAYS = 2440587.5
"""The Julian day with which 1970 begins."""
DAY_US = 86_400e6
MERGED_PAGES_MAX = 500
"""How many pages of words one transaction writes anew: others wait for it."""
COLLISIONS = (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE)


class SqliteDialect:
    """What is SQLite's own (see `database.Dialect`). Words are in an FTS5 table, by row id."""

    name = "sqlite"
    notifies = False

    def now_us(self) -> ColumnElement[int]:
        """See `database.Dialect`. To the millisecond."""
        return cast((func.julianday("now", type_=Double) - EPOCH_DAYS) * DAY_US, Integer)

    def notify(self, connection: Connection, channel: str) -> None:
        """See `database.Dialect`."""

    def insert_new(self, table: Table) -> Insert:
        """See `database.Dialect`."""
        return insert(table).on_conflict_do_nothing()

    def index_words(self, connection: Connection, search: str, words: list[tuple[int, str]]) -> None:
        """See `database.Dialect`."""
        connection.execute(_adding(search), [{"key": key, "said": said} for key, said in words])

    def forget_words(self, connection: Connection, search: str, keys: list[int]) -> None:
        """See `database.Dialect`."""
        connection.execute(delete(_words(search)).where(column("rowid").in_(keys)))

    def find_words(
        self, connection: Connection, search: str, tokens: Sequence[str], *, first: int, below: int, limit: int
    ) -> Sequence[int]:
        """See `database.Dialect`. FTS5 finds in the order of the row ids, either way, and goes on where it is told."""
        words = _words(search)
        asked = " AND ".join(tokens)
        found = select(words.c.rowid).where(
            words.c[search_table(search)].match(asked), words.c.rowid >= first, words.c.rowid < below
        )
        return connection.scalars(found.order_by(words.c.rowid.desc()).limit(limit)).all()

    def streamed(self, connection: Connection, statement: Select[Any]) -> Iterable[Row[Any]]:
        """See `database.Dialect`."""
        return connection.execute(statement, execution_options={"yield_per": ROWS_AT_ONCE})

    def size_bytes(self, connection: Connection, tables: Tables) -> int:
        """See `database.Dialect`. The write-ahead log does not count."""
        pages, page_bytes = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_count", "page_size")
        )
        return int(pages) * int(page_bytes)

    def is_collision(self, error: DBAPIError) -> bool:
        """See `database.Dialect`."""
        return _code(error) in COLLISIONS

    def ailment(self, error: DBAPIError) -> str:
        """See `database.Dialect`."""
        return AILMENTS.get(_code(error) & PRIMARY, "")


def merge_words(connection: Connection, search: str, *, begin: bool) -> bool:
    """Writes a part of the words anew, in one piece and without those that were removed; returns whether there is more.

    FTS5 notes beside a word that it was removed, and drops both when it comes to merge the two.

    Args:
        begin: take all that there is; else go on with what was begun.
    """
    words = _words(search)
    pages = -MERGED_PAGES_MAX if begin else MERGED_PAGES_MAX
    changes = select(func.total_changes())
    before = connection.scalar(changes) or 0
    connection.execute(insert(words).values({words.c[search_table(search)]: "merge", words.c.rank: pages}))
    # FTS5 counts one change where there was nothing to do.
    return (connection.scalar(changes) or 0) - before > 1


def search_table(search: str) -> str:
    """The FTS5 table.

    FTS5 makes further tables, named after it with `_data` and the like: with this ending, no service's name can make
    them those of another.
    """
    return f"{search}_fts"


@lru_cache
def _adding(search: str) -> Insert:
    """Made once: a turn has no time for it."""
    return insert(_words(search)).prefix_with("OR REPLACE").values(rowid=bindparam("key"), words=bindparam("said"))


def _words(search: str) -> Any:
    name = search_table(search)
    # In a MATCH, FTS5 takes the table's own name for a column.
    return table(name, column("rowid"), column("words"), column(name), column("rank"))


def _code(error: DBAPIError) -> int:
    return getattr(error.orig, "sqlite_errorcode", 0)
