"""The tables of a service. Migrations make them (`migrations/`); a test compares the two.

Every table carries the service's name, so that many services share a database. Identifiers are bytes: no collation
decides who `alice` is. Keys are numbers that begin with the time (`keys.py`), so that their order is the order of time.
Times are microseconds since 1970, UTC.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    FromClause,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    and_,
    func,
    literal_column,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from penstock_server.runs.events import OnDisconnect, RunStatus

IDENTIFIER_BYTES_MAX = 255
"""The longest id of the contract."""
DIGEST_BYTES = 32
"""SHA-256."""
SERVICE_CHARS_MAX = 36
"""The longest service name: an index is called `penstock_ix_history_<service>_turn`, and PostgreSQL cuts names after 63
characters. Indexes do not begin as tables do, or that of one service could be called like a table of another."""

MYSQL = ("mysql", "mariadb")


class Identifier(TypeDecorator[str]):
    """Text that is stored and compared as bytes."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """MySQL calls short bytes VARBINARY; only those can have an index over the whole."""
        binary = mysql.VARBINARY(IDENTIFIER_BYTES_MAX) if dialect.name in MYSQL else LargeBinary()
        return dialect.type_descriptor(binary)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        """To the database."""
        return None if value is None else value.encode()

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:
        """From the database."""
        return None if value is None else bytes(value).decode()


KEY = BigInteger().with_variant(Integer(), "sqlite")
"""A number of `keys.py`. SQLite takes only an INTEGER as the row's own id."""
TIME_US = BigInteger()
DIGEST = LargeBinary(DIGEST_BYTES).with_variant(mysql.VARBINARY(DIGEST_BYTES), *MYSQL)
WORDS = Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), *MYSQL)
"""Text for people; it holds no NUL, which PostgreSQL cannot store."""
DOCUMENT = WORDS
"""A JSON document; NUL is escaped in it."""
BLOB = LargeBinary().with_variant(mysql.LONGBLOB(), *MYSQL)
NONE = "0"
CANCEL = str(OnDisconnect.CANCEL.value)
"""What runs have that were accepted before there was the column."""


class Tables:
    """The tables of one service.

    Args:
        service: its name, at most `SERVICE_CHARS_MAX` characters of `a-z 0-9 _ -`.
    """

    def __init__(self, service: str) -> None:
        self.service = service
        self.metadata = MetaData()
        self.sessions = _sessions(service, self.metadata)
        self.messages = _messages(service, self.metadata)
        self.runs = _runs(service, self.metadata)
        self.events = _events(service, self.metadata)
        self.instances = _instances(service, self.metadata)
        self.search = f"penstock_chat_search_{service}"
        """The words of the messages. Its form is each database's own (`databases/`)."""
        self.revision = f"penstock_alembic_{service}"
        """Which migrations have been made."""
        self.channel = f"penstock_{service}"
        """Where changes are told, in databases that can."""


def live(runs: FromClause) -> ColumnElement[bool]:
    """That a run has not ended. A literal, or SQLite would not see that the indexes of live runs have them all."""
    return runs.c.status < literal_column(str(RunStatus.SUCCEEDED.value), SmallInteger)


def owned(runs: FromClause, instance: str) -> ColumnElement[bool]:
    """That a run has not ended, and is this instance's. Each status by itself leads further into the index."""
    statuses = [literal_column(str(each.value), SmallInteger) for each in (RunStatus.QUEUED, RunStatus.RUNNING)]
    return and_(live(runs), runs.c.status.in_(statuses), runs.c.instance == instance)


def forgotten(runs: FromClause) -> ColumnElement[bool]:
    """That a run's question was deleted while it lived. The run keeps its place in its session, but not the turn."""
    return runs.c.turn < 0


def place(runs: FromClause) -> ColumnElement[int]:
    """A run's place among those of its session: the turn that it has, or had."""
    return func.abs(runs.c.turn)


def queued(runs: FromClause) -> ColumnElement[bool]:
    """That a run waits to be executed."""
    return and_(live(runs), runs.c.status == literal_column(str(RunStatus.QUEUED.value), SmallInteger))


def _sessions(service: str, metadata: MetaData) -> Table:
    own_retention = text("retention_days > 0")
    index = f"penstock_ix_session_{service}"
    return Table(
        f"penstock_chat_session_{service}",
        metadata,
        Column("session_key", KEY, autoincrement=False),
        Column("session", Identifier, nullable=False),
        Column("user", Identifier, nullable=False),
        Column("flow", Identifier, nullable=False),
        Column("title", WORDS, nullable=False),
        Column("metadata", DOCUMENT, nullable=False),
        Column("message_count", Integer, nullable=False),
        Column("last_turn", Integer, nullable=False),
        Column("retention_days", Integer, nullable=False),
        Column("create_time_us", TIME_US, nullable=False),
        Column("update_time_us", TIME_US, nullable=False),
        PrimaryKeyConstraint("session_key", name=f"{index}_pk"),
        UniqueConstraint("session", name=f"{index}_id"),
        Index(f"{index}_user", "user", "session_key"),
        Index(f"{index}_time", "update_time_us", "session_key"),
        Index(f"{index}_keep", "retention_days", sqlite_where=own_retention, postgresql_where=own_retention),
    )


def _messages(service: str, metadata: MetaData) -> Table:
    index = f"penstock_ix_history_{service}"
    return Table(
        f"penstock_chat_history_{service}",
        metadata,
        Column("message_key", KEY, autoincrement=False),
        Column("session_key", KEY, nullable=False),
        Column("turn", Integer, nullable=False),
        Column("role", SmallInteger, nullable=False),
        Column("run", Identifier, nullable=False),
        Column("flow", Identifier, nullable=False),
        Column("status", SmallInteger, nullable=False),  # of the run, on answers; 0 on questions
        Column("text_of", WORDS, nullable=False),
        Column("content", DOCUMENT, nullable=False),
        Column("input_tokens", Integer, nullable=False),
        Column("output_tokens", Integer, nullable=False),
        Column("create_time_us", TIME_US, nullable=False),
        Column("rating", SmallInteger, nullable=False),
        Column("rating_comment", WORDS, nullable=False),
        PrimaryKeyConstraint("message_key", name=f"{index}_pk"),
        UniqueConstraint("session_key", "turn", "role", name=f"{index}_turn"),
    )


def _runs(service: str, metadata: MetaData) -> Table:
    going = text("status < 3")
    keyed = text("idempotency_key IS NOT NULL")
    index = f"penstock_ix_run_{service}"
    return Table(
        f"penstock_chat_run_{service}",
        metadata,
        Column("run_key", KEY, autoincrement=False),
        Column("run", Identifier, nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("status", SmallInteger, nullable=False),
        Column("instance", Identifier, nullable=False),
        Column("flow", Identifier, nullable=False),
        Column("snapshot", Identifier, nullable=False),
        Column("session", Identifier, nullable=False),
        Column("session_key", KEY, nullable=False),  # 0 without a turn
        Column("turn", Integer, nullable=False),  # 0 without a turn
        Column("user", Identifier, nullable=False),
        Column("principal", Identifier, nullable=False),
        Column("idempotency_key", Identifier, nullable=True),
        Column("request_digest", DIGEST, nullable=True),
        Column("inputs", DOCUMENT, nullable=True),  # NULL where the turn's messages hold them
        Column("outputs", DOCUMENT, nullable=True),
        Column("nodes", DOCUMENT, nullable=True),
        Column("error", BLOB, nullable=True),  # a google.rpc.Status
        Column("input_tokens", Integer, nullable=False),
        Column("output_tokens", Integer, nullable=False),
        Column("create_time_us", TIME_US, nullable=False),
        Column("start_time_us", TIME_US, nullable=True),
        Column("end_time_us", TIME_US, nullable=True),
        Column("sequence_reserved", Integer, nullable=False, server_default=NONE),
        Column("flushed_sequence", Integer, nullable=False, server_default=NONE),  # the last number in the log
        Column("last_sequence", Integer, nullable=False, server_default=NONE),  # of the terminal event; 0 before it
        Column("cancel_requested", SmallInteger, nullable=False, server_default=NONE),
        Column("watched_until_us", TIME_US, nullable=False, server_default=NONE),  # by the database's clock
        Column("on_disconnect", SmallInteger, nullable=False, server_default=CANCEL),
        PrimaryKeyConstraint("run_key", name=f"{index}_pk"),
        UniqueConstraint("run", name=f"{index}_id"),
        Index(f"{index}_user", "user", "run_key"),
        Index(f"{index}_session", "session", "run_key"),
        # MySQL has no partial indexes; there, NULLs do not collide and every status is listed.
        Index(f"{index}_busy", "session_key", "status", sqlite_where=going, postgresql_where=going),
        Index(f"{index}_owned", "status", "instance", "cancel_requested", sqlite_where=going, postgresql_where=going),
        Index(
            f"{index}_key",
            "principal",
            "user",
            "idempotency_key",
            unique=True,
            sqlite_where=keyed,
            postgresql_where=keyed,
        ),
    )


def _events(service: str, metadata: MetaData) -> Table:
    """The logs of runs: one row a batch of events."""
    return Table(
        f"penstock_chat_event_{service}",
        metadata,
        Column("run_key", KEY, autoincrement=False),
        Column("first_sequence", Integer, autoincrement=False),
        Column("last_sequence", Integer, nullable=False),
        Column("payload", DOCUMENT, nullable=False),
        PrimaryKeyConstraint("run_key", "first_sequence", name=f"penstock_ix_event_{service}_pk"),
    )


def _instances(service: str, metadata: MetaData) -> Table:
    """Who is alive."""
    return Table(
        f"penstock_chat_instance_{service}",
        metadata,
        Column("instance", Identifier),
        Column("beat", BigInteger, nullable=False),
        PrimaryKeyConstraint("instance", name=f"penstock_ix_instance_{service}_pk"),
    )
