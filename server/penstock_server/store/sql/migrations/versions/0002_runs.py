"""Logs of runs, instances, and what a run needs that waits, is followed, or is cancelled from elsewhere."""

from collections.abc import Iterator

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    inspect,
    text,
)
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"

# As they were in this revision: what `schema.py` calls so may change.
MYSQL = ("mysql", "mariadb")
KEY = BigInteger().with_variant(Integer(), "sqlite")
IDENTIFIER = LargeBinary().with_variant(mysql.VARBINARY(255), *MYSQL)
WORDS = Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), *MYSQL)

LIVE = text("status < 3")


def upgrade() -> None:
    """Makes them.

    MySQL keeps what a migration has made that was then broken off: what is there is left as it is.
    """
    options = op.get_context().opts
    connection, service = op.get_bind(), options["tables"].service
    named = options["store_dialect"].name != "mysql"  # it names no primary keys, and says so whenever one has a name
    for table in _tables(service, named=named):
        table.create(connection, checkfirst=True)
    runs = f"penstock_chat_run_{service}"
    there = {column["name"] for column in inspect(connection).get_columns(runs)}
    for column in _columns():
        if column.name not in there:
            op.add_column(runs, column)
    changed = Table(runs, MetaData(), autoload_with=connection)
    for index in _indexes(f"penstock_ix_run_{service}", changed):
        index.create(connection, checkfirst=True)
    Index(f"penstock_ix_run_{service}_live", changed.c.status).drop(connection, checkfirst=True)


def _tables(service: str, *, named: bool) -> Iterator[Table]:
    metadata = MetaData()
    yield Table(
        f"penstock_chat_event_{service}",
        metadata,
        Column("run_key", KEY, autoincrement=False),
        Column("first_sequence", Integer, autoincrement=False),
        Column("last_sequence", Integer, nullable=False),
        Column("payload", WORDS, nullable=False),
        PrimaryKeyConstraint("run_key", "first_sequence", name=f"penstock_ix_event_{service}_pk" if named else None),
    )
    yield Table(
        f"penstock_chat_instance_{service}",
        metadata,
        Column("instance", IDENTIFIER),
        Column("beat", BigInteger, nullable=False),
        PrimaryKeyConstraint("instance", name=f"penstock_ix_instance_{service}_pk" if named else None),
    )


def _columns() -> Iterator[Column[int]]:
    yield Column("sequence_reserved", Integer, nullable=False, server_default="0")
    yield Column("flushed_sequence", Integer, nullable=False, server_default="0")
    yield Column("last_sequence", Integer, nullable=False, server_default="0")
    yield Column("cancel_requested", SmallInteger, nullable=False, server_default="0")
    yield Column("watched_until_us", BigInteger, nullable=False, server_default="0")
    yield Column("on_disconnect", SmallInteger, nullable=False, server_default="1")


def _indexes(index: str, runs: Table) -> Iterator[Index]:
    """MySQL has no partial indexes; there, they are whole."""
    yield Index(f"{index}_session", runs.c.session, runs.c.run_key)
    yield Index(f"{index}_busy", runs.c.session_key, runs.c.status, sqlite_where=LIVE, postgresql_where=LIVE)
    yield Index(
        f"{index}_owned",
        runs.c.status,
        runs.c.instance,
        runs.c.cancel_requested,
        sqlite_where=LIVE,
        postgresql_where=LIVE,
    )
