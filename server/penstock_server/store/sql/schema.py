"""The tables of a service. Migrations make them (`migrations/`); a test compares the two.

Every table carries the service's name, so that many services share a database. Identifiers are bytes: no collation
decides who `alice` is. Keys are numbers that begin with the time (`keys.py`), so that their order is the order of time.
Times are microseconds since 1970, UTC.
"""

from typing import Any

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
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

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
        self.search = f"penstock_chat_search_{service}"
        """The words of the messages. Its form is each database's own (`databases/`)."""
        self.revision = f"penstock_alembic_{service}"
        """Which migrations have been made."""


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
    live = text("status < 3")
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
        PrimaryKeyConstraint("run_key", name=f"{index}_pk"),
        UniqueConstraint("run", name=f"{index}_id"),
        Index(f"{index}_user", "user", "run_key"),
        # MySQL has no partial indexes; there, NULLs do not collide and every status is listed.
        Index(f"{index}_live", "status", sqlite_where=live, postgresql_where=live),
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
