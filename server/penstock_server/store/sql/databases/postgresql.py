"""PostgreSQL."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from hashlib import blake2b
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
    String,
    Table,
    bindparam,
    cast,
    column,
    delete,
    func,
    select,
    table,
    text,
)
from sqlalchemy.dialects.postgresql import REGCLASS, TSQUERY, TSVECTOR, insert
from sqlalchemy.exc import DBAPIError

from penstock_server.store.sql.database import ROWS_AT_ONCE, Changes
from penstock_server.store.sql.databases import tls
from penstock_server.store.sql.databases.listener import Listener
from penstock_server.store.sql.databases.url import option
from penstock_server.store.sql.history.newest import IndexUse, newest
from penstock_server.store.sql.schema import Tables

COLLISIONS = ("23505", "40001", "40P01", "55P03")
"""The key is taken; the row was changed meanwhile; deadlock; the lock is held for too long."""
LATE = "57014"
"""The query has taken longer than it may, or an administrator has ended it."""
AILMENTS = {
    "08": "the connection broke",
    "25006": "it is read-only",
    "28000": "it does not let this user in from here",
    "28": "the user or the password is wrong",
    "3D000": "there is no such database; create it first",
    "3F000": "the user has no schema in this database",
    "42501": "the user has not all rights that are needed on this database",
    "53100": "its disk is full",
    "53300": "it has too many connections",
    "53": "it lacks resources",
    "55P03": "a lock is held for too long",
    "57014": "the query took too long",
    "57P": "it is stopping or starting",
    "58": "its disk fails",
    "XX001": "its files are damaged",
}
"""What is wrong with the database, by its SQLSTATE or the beginning of that."""
REFUSED = "28000"
UNENCRYPTED = ("no encryption", "SSL off")
"""How it says of a connection which it refused that it was not encrypted; from version 14 on, and before."""
AVOIDED_S = 0.06
"""How long a search may look through messages to spare the index, in seconds."""


class PostgresqlDialect:
    """What is PostgreSQL's own (see `database.Dialect`). Words are a `tsvector` with a GIN index."""

    name = "postgresql"
    notifies = True

    def now_us(self) -> ColumnElement[int]:
        """See `database.Dialect`."""
        return cast(func.extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger)

    def notify(self, connection: Connection, channel: str) -> None:
        """See `database.Dialect`."""
        connection.execute(_NOTIFY, {"channel": channel})

    def changes(self, url: URL, channel: str, timeout_s: float) -> Changes:
        """See `NetworkedDialect`."""
        return Listener(url, self.connect_args(url, timeout_s), channel)

    def insert_new(self, table: Table) -> Insert:
        """See `database.Dialect`."""
        return insert(table).on_conflict_do_nothing()

    def index_words(self, connection: Connection, search: str, words: list[tuple[int, str]]) -> None:
        """See `database.Dialect`. The words are taken as they are, and not parsed again."""
        connection.execute(_adding(search), [{"key": key, "said": said} for key, said in words])

    def forget_words(self, connection: Connection, search: str, keys: list[int]) -> None:
        """See `database.Dialect`."""
        words = _words(search)
        connection.execute(delete(words).where(words.c.message_key.in_(keys)))

    def find_words(
        self, connection: Connection, search: str, tokens: Sequence[str], *, first: int, below: int, limit: int
    ) -> Sequence[int]:
        """See `database.Dialect`. The words stand in the statement, so that the planner knows how rare they are."""
        words = _words(search)
        asked = bindparam("asked", " & ".join(f"'{token}'" for token in tokens), type_=String, literal_execute=True)
        looked_at = func.coalesce(words.c.words, cast("", TSVECTOR)).bool_op("@@")(cast(asked, TSQUERY))
        indexed = words.c.words.bool_op("@@")(cast(asked, TSQUERY))
        return newest(
            connection,
            words,
            looked_at,
            lambda sample: IndexUse(condition=indexed, avoided_s=AVOIDED_S),
            first=first,
            below=below,
            limit=limit,
        )

    def streamed(self, connection: Connection, statement: Select[Any]) -> Iterable[Row[Any]]:
        """See `database.Dialect`. A cursor lives in a transaction, and connections that read have none otherwise."""
        connection.rollback()
        connection.execution_options(isolation_level="READ COMMITTED")
        return connection.execute(statement, execution_options={"yield_per": ROWS_AT_ONCE})

    def size_bytes(self, connection: Connection, tables: Tables) -> int:
        """See `database.Dialect`."""
        quote = connection.dialect.identifier_preparer.quote
        names = [*tables.metadata.tables, tables.search, tables.revision]
        sizes = [func.pg_total_relation_size(cast(quote(name), REGCLASS)) for name in names]
        return sum(connection.execute(select(*sizes)).one())

    def driver_url(self, url: URL) -> URL:
        """See `NetworkedDialect`."""
        return url.set(drivername="postgresql+asyncpg", query={})

    def connect_args(self, url: URL, timeout_s: float) -> dict[str, Any]:
        """See `NetworkedDialect`."""
        limit_ms = int(timeout_s * 1000)
        settings = {
            "application_name": "penstock",
            "jit": "off",  # compiling takes longer than any query of ours
            "statement_timeout": limit_ms,
            "idle_in_transaction_session_timeout": limit_ms,
            "lock_timeout": limit_ms // 2,  # there is to be time for another try
        }
        given: dict[str, Any] = {
            "server_settings": {name: str(value) for name, value in settings.items()},
            "ssl": tls.context(url) or False,
        }
        if path := option(url, "host"):
            given["host"] = path
        return given

    def prepare(self, engine: Engine) -> None:
        """See `NetworkedDialect`."""

    def is_collision(self, error: DBAPIError) -> bool:
        """See `database.Dialect`."""
        return _state(error) in COLLISIONS

    def is_late(self, error: DBAPIError) -> bool:
        """See `NetworkedDialect`."""
        return _state(error) == LATE

    def ailment(self, error: DBAPIError) -> str:
        """See `database.Dialect`."""
        state = _state(error)
        if state == REFUSED and any(words in str(error.orig) for words in UNENCRYPTED):
            return tls.REQUIRED
        return next((words for known, words in AILMENTS.items() if state.startswith(known)), "")

    @contextmanager
    def alone(self, connection: Connection, name: str, wait_s: float) -> Iterator[None]:
        """See `NetworkedDialect`. The lock is the transaction's."""
        lock = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), signed=True)
        with connection.begin():
            connection.execute(text(f"SET LOCAL lock_timeout = {int(wait_s * 1000)}"))
            connection.execute(select(func.pg_advisory_xact_lock(lock)))
            yield


_NOTIFY = select(func.pg_notify(bindparam("channel", type_=String), ""))


@lru_cache
def _adding(search: str) -> Insert:
    """Made once: a turn has no time for it."""
    said = func.array_to_tsvector(func.string_to_array(bindparam("said", type_=String), " "))
    added = insert(_words(search)).values(message_key=bindparam("key", type_=BigInteger), words=said)
    return added.on_conflict_do_nothing()


def _words(search: str) -> Any:
    return table(search, column("message_key", BigInteger), column("words", TSVECTOR))


def _state(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""
