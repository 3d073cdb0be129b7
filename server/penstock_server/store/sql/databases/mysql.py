"""MySQL 8 and MariaDB."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from hashlib import blake2b
from math import ceil
from typing import Any

from sqlalchemy import (
    URL,
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Insert,
    Row,
    Select,
    Table,
    bindparam,
    column,
    delete,
    func,
    literal_column,
    select,
    table,
)
from sqlalchemy.dialects.mysql import insert
from sqlalchemy.exc import DBAPIError

from penstock_server.store.sql.database import ROWS_AT_ONCE, Changes
from penstock_server.store.sql.databases import fulltext, tls
from penstock_server.store.sql.databases.packets import limit_packets
from penstock_server.store.sql.databases.silence import Silence
from penstock_server.store.sql.databases.url import option
from penstock_server.store.sql.schema import Tables

COLLISIONS = (1020, 1062, 1205, 1213)
"""The row was changed meanwhile; the key is taken; the lock is held for too long; deadlock."""
LATE = (188, 1969, 3024)
"""The query has taken longer than it may: MariaDB's FULLTEXT index says so, MariaDB, and MySQL."""
AILMENTS = {
    188: "the query took too long",
    1021: "its disk is full",
    1040: "it has too many connections",
    1044: "the user has no right to this database, or there is none of this name",
    1045: "the user or the password is wrong, or this user must connect encrypted (set sslmode)",
    1049: "there is no such database; create it first",
    1053: "it is stopping",
    1114: "its disk is full",
    1129: "it has blocked this host",
    1130: "it does not let this host in",
    1142: "the user has not all rights that are needed on this database",
    1203: "the user has too many connections",
    1205: "a lock is held for too long",
    1290: "it is read-only",
    1317: "it has ended the query",
    1836: "it is read-only",
    1969: "the query took too long",
    2003: "no connection to it comes about",
    3024: "the query took too long",
    3159: tls.REQUIRED,
}
"""What is wrong with the database, by the number of its error."""

SESSION = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO'"
# Each takes the one comment for its own and leaves the other.
LIMITS = (
    ", innodb_lock_wait_timeout = {seconds} /*M!100101 , max_statement_time = {seconds} */"
    " /*!80000 , max_execution_time = {milliseconds} */"
)


class MysqlDialect:
    """What is MySQL's own (see `database.Dialect`). Words are in a FULLTEXT index."""

    name = "mysql"
    notifies = False

    def now_us(self) -> ColumnElement[int]:
        """See `database.Dialect`."""
        return literal_column("TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))", BigInteger)

    def notify(self, connection: Connection, channel: str) -> None:
        """See `database.Dialect`."""

    def changes(self, url: URL, channel: str, timeout_s: float) -> Changes:
        """See `NetworkedDialect`."""
        return Silence()

    def insert_new(self, table: Table) -> Insert:
        """See `database.Dialect`. INSERT IGNORE would ignore everything."""
        (key,) = table.primary_key.columns
        return insert(table).on_duplicate_key_update({key.name: key})

    def index_words(self, connection: Connection, search: str, words: list[tuple[int, str]]) -> None:
        """See `database.Dialect`."""
        connection.execute(_adding(search), [{"key": key, "said": said} for key, said in words])

    def forget_words(self, connection: Connection, search: str, keys: list[int]) -> None:
        """See `database.Dialect`."""
        words = _words(search)
        connection.execute(delete(words).where(words.c.message_key.in_(keys)))

    def find_words(
        self, connection: Connection, search: str, tokens: Sequence[str], *, first: int, below: int, limit: int
    ) -> Sequence[int]:
        """See `database.Dialect`."""
        return fulltext.find(connection, _words(search), tokens, first=first, below=below, limit=limit)

    def streamed(self, connection: Connection, statement: Select[Any]) -> Iterable[Row[Any]]:
        """See `database.Dialect`."""
        return connection.execute(statement, execution_options={"yield_per": ROWS_AT_ONCE})

    def size_bytes(self, connection: Connection, tables: Tables) -> int:
        """See `database.Dialect`. As the database estimates it; without the index of the words, which it hides."""
        known = table("TABLES", *map(column, ("TABLE_SCHEMA", "TABLE_NAME", "DATA_LENGTH", "INDEX_LENGTH")))
        known.schema = "information_schema"
        names = [*tables.metadata.tables, tables.search, tables.revision]
        ours = func.database() == known.c.TABLE_SCHEMA, known.c.TABLE_NAME.in_(names)
        return int(connection.scalar(select(func.sum(known.c.DATA_LENGTH + known.c.INDEX_LENGTH)).where(*ours)) or 0)

    def driver_url(self, url: URL) -> URL:
        """See `NetworkedDialect`."""
        return url.set(drivername="mysql+asyncmy", query={})

    def connect_args(self, url: URL, timeout_s: float) -> dict[str, Any]:
        """See `NetworkedDialect`."""
        limits = LIMITS.format(seconds=ceil(timeout_s), milliseconds=ceil(timeout_s * 1000)) if timeout_s else ""
        given: dict[str, Any] = {"charset": "utf8mb4", "init_command": SESSION + limits}
        if path := option(url, "unix_socket"):
            given["unix_socket"] = path
        if encryption := tls.context(url):
            given["ssl"] = encryption
        return given

    def prepare(self, engine: Engine) -> None:
        """See `NetworkedDialect`."""
        limit_packets(engine)

    def is_collision(self, error: DBAPIError) -> bool:
        """See `database.Dialect`."""
        return _number(error) in COLLISIONS

    def is_late(self, error: DBAPIError) -> bool:
        """See `NetworkedDialect`."""
        return _number(error) in LATE

    def ailment(self, error: DBAPIError) -> str:
        """See `database.Dialect`."""
        return AILMENTS.get(_number(error), "")

    @contextmanager
    def alone(self, connection: Connection, name: str, wait_s: float) -> Iterator[None]:
        """See `NetworkedDialect`. A lock by name, for changes of the schema commit transactions under way."""
        database = connection.engine.url.database
        lock = blake2b(f"{database}/{name}".encode(), digest_size=16).hexdigest()  # names of locks are the server's
        if connection.scalar(select(func.get_lock(lock, ceil(wait_s)))) != 1:
            raise TimeoutError("another process migrates it")
        connection.commit()
        try:
            with connection.begin():
                yield
        finally:
            connection.scalar(select(func.release_lock(lock)))


@lru_cache
def _adding(search: str) -> Insert:
    """Made once: a turn has no time for it."""
    to = _words(search)
    added = insert(to).values(message_key=bindparam("key"), words=bindparam("said"))
    return added.on_duplicate_key_update(message_key=to.c.message_key)


def _words(search: str) -> Any:
    return table(search, column("message_key", BigInteger), column("words"))


def _number(error: DBAPIError) -> int:
    args = getattr(error.orig, "args", ())
    return args[0] if args and isinstance(args[0], int) else 0
