"""Sessions, messages, runs, and the words to search by."""

from collections.abc import Iterable, Iterator
from typing import Any

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None

# As they were in this revision: what `schema.py` calls so may change.
MYSQL = ("mysql", "mariadb")
KEY = BigInteger().with_variant(Integer(), "sqlite")
IDENTIFIER = LargeBinary().with_variant(mysql.VARBINARY(255), *MYSQL)
DIGEST = LargeBinary(32).with_variant(mysql.VARBINARY(32), *MYSQL)
WORDS = Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), *MYSQL)
BLOB = LargeBinary().with_variant(mysql.LONGBLOB(), *MYSQL)


def upgrade() -> None:
    """Makes them.

    MySQL keeps what a migration has made that was then broken off: what is there is left as it is.
    """
    options = op.get_context().opts
    connection, tables, dialect = op.get_bind(), options["tables"], options["store_dialect"].name
    named = dialect != "mysql"  # it names no primary keys, and says so whenever one has a name
    for table in _tables(tables.service, named=named):
        indexes = list(table.indexes)
        table.indexes.clear()
        table.create(connection, checkfirst=True)
        for index in indexes:
            index.create(connection, checkfirst=True)
    _SEARCH[dialect](connection, tables.search)


def _tables(service: str, *, named: bool) -> Iterator[Table]:
    metadata = MetaData()
    for kind, columns, constraints in (
        ("session", _SESSION, _session_keys),
        ("history", _HISTORY, _history_keys),
        ("run", _RUN, _run_keys),
    ):
        index = f"penstock_ix_{kind}_{service}"
        key, *_ = columns
        primary = PrimaryKeyConstraint(key, name=f"{index}_pk" if named else None)
        yield Table(
            f"penstock_chat_{kind}_{service}",
            metadata,
            *(_column(*each) for each in columns.items()),
            primary,
            *constraints(index),
        )


def _column(name: str, kind: TypeEngine[Any]) -> Column[Any]:
    return Column(name, kind, nullable=name in _OPTIONAL, autoincrement=False)


_SESSION: dict[str, TypeEngine[Any]] = {
    "session_key": KEY,
    "session": IDENTIFIER,
    "user": IDENTIFIER,
    "flow": IDENTIFIER,
    "title": WORDS,
    "metadata": WORDS,
    "message_count": Integer(),
    "last_turn": Integer(),
    "retention_days": Integer(),
    "create_time_us": BigInteger(),
    "update_time_us": BigInteger(),
}
_HISTORY: dict[str, TypeEngine[Any]] = {
    "message_key": KEY,
    "session_key": KEY,
    "turn": Integer(),
    "role": SmallInteger(),
    "run": IDENTIFIER,
    "flow": IDENTIFIER,
    "status": SmallInteger(),
    "text_of": WORDS,
    "content": WORDS,
    "input_tokens": Integer(),
    "output_tokens": Integer(),
    "create_time_us": BigInteger(),
    "rating": SmallInteger(),
    "rating_comment": WORDS,
}
_RUN: dict[str, TypeEngine[Any]] = {
    "run_key": KEY,
    "run": IDENTIFIER,
    "attempt": Integer(),
    "status": SmallInteger(),
    "instance": IDENTIFIER,
    "flow": IDENTIFIER,
    "snapshot": IDENTIFIER,
    "session": IDENTIFIER,
    "session_key": KEY,
    "turn": Integer(),
    "user": IDENTIFIER,
    "principal": IDENTIFIER,
    "idempotency_key": IDENTIFIER,
    "request_digest": DIGEST,
    "inputs": WORDS,
    "outputs": WORDS,
    "nodes": WORDS,
    "error": BLOB,
    "input_tokens": Integer(),
    "output_tokens": Integer(),
    "create_time_us": BigInteger(),
    "start_time_us": BigInteger(),
    "end_time_us": BigInteger(),
}
_OPTIONAL = {
    *("idempotency_key", "request_digest", "inputs", "outputs", "nodes", "error"),
    *("start_time_us", "end_time_us"),
}


def _session_keys(index: str) -> Iterable[UniqueConstraint | Index]:
    return (
        UniqueConstraint("session", name=f"{index}_id"),
        Index(f"{index}_user", "user", "session_key"),
        Index(f"{index}_time", "update_time_us", "session_key"),
        _partial(f"{index}_keep", "retention_days", where="retention_days > 0"),
    )


def _history_keys(index: str) -> Iterable[UniqueConstraint | Index]:
    return (UniqueConstraint("session_key", "turn", "role", name=f"{index}_turn"),)


def _run_keys(index: str) -> Iterable[UniqueConstraint | Index]:
    claim = ("principal", "user", "idempotency_key")
    return (
        UniqueConstraint("run", name=f"{index}_id"),
        Index(f"{index}_user", "user", "run_key"),
        _partial(f"{index}_live", "status", where="status < 3"),
        _partial(f"{index}_key", *claim, where="idempotency_key IS NOT NULL", unique=True),
    )


def _partial(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """MySQL has no partial indexes; there, it is whole."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


def _search_sqlite(connection: Connection, search: str) -> None:
    # A word is found or not: where it stands and how often, nobody asks.
    options = "tokenize = 'ascii', detail = none, columnsize = 0"
    connection.exec_driver_sql(f'CREATE VIRTUAL TABLE "{search}_fts" USING fts5(words, {options})')


def _search_mysql(connection: Connection, search: str) -> None:
    connection.exec_driver_sql(
        f"CREATE TABLE IF NOT EXISTS `{search}` (message_key BIGINT NOT NULL PRIMARY KEY, "
        "words LONGTEXT CHARACTER SET ascii NOT NULL, FULLTEXT KEY words (words)) ENGINE = InnoDB"
    )


def _search_postgresql(connection: Connection, search: str) -> None:
    index = search.replace("_chat_", "_ix_", 1)
    connection.exec_driver_sql(
        f'CREATE TABLE "{search}" (message_key BIGINT NOT NULL, words TSVECTOR NOT NULL, '
        f'CONSTRAINT "{index}_pk" PRIMARY KEY (message_key))'
    )
    # What is not yet in its place is looked through by every search, so it must not be much (512 KiB).
    pending = "WITH (gin_pending_list_limit = 512)"
    connection.exec_driver_sql(f'CREATE INDEX "{index}_words" ON "{search}" USING gin (words) {pending}')


_SEARCH = {"sqlite": _search_sqlite, "mysql": _search_mysql, "postgresql": _search_postgresql}
