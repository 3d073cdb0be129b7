"""Where work on a database is done: transactions, connections, and what their failures mean.

Work is a function of a SQLAlchemy Core connection, written once for all databases. SQLite executes it in threads of its
own (`databases/embedded.py`); the others execute it on the event loop, each wait handing the loop to others
(`databases/networked.py`).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import ColumnElement, Connection, Insert, Row, Select, Table
from sqlalchemy.exc import DBAPIError

from penstock_server.store.sql.schema import Tables

T = TypeVar("T")
Work = Callable[[Connection], T]

ATTEMPTS_MAX = 4
"""How often work is executed that meets deadlocks, lock timeouts or colliding keys."""
ALONE_WAIT_S = 60.0
"""How long work waits for its turn to be alone."""
ROWS_AT_ONCE = 16
"""How many rows are fetched at once where each may be megabytes."""


class Collided(Exception):
    """Raised by work that writes where another's has come in between: it is executed again, from its beginning."""


class Dialect(Protocol):
    """In what the databases differ."""

    name: str
    """`sqlite`, `mysql` or `postgresql`."""
    notifies: bool
    """Whether the database can tell other connections that something has changed."""

    def now_us(self) -> ColumnElement[int]:
        """The database's clock when the statement is executed, in microseconds since 1970."""

    def notify(self, connection: Connection, channel: str) -> None:
        """Tells those who listen that something has changed, once the transaction is committed (`Database.changes`).

        Commits that tell something wait for each other. Does nothing where the database cannot.
        """

    def insert_new(self, table: Table) -> Insert:
        """An INSERT that leaves rows alone that are there already."""

    def index_words(self, connection: Connection, search: str, words: list[tuple[int, str]]) -> None:
        """Adds the words of messages, by message key, to the search table; what is there already stays one.

        The words of a message are tokens of 3 to 60 of `a-z 0-9` with a space between them (`history/words.py`).
        """

    def forget_words(self, connection: Connection, search: str, keys: list[int]) -> None:
        """Removes the words of these messages."""

    def find_words(
        self, connection: Connection, search: str, tokens: Sequence[str], *, first: int, below: int, limit: int
    ) -> Sequence[int]:
        """The keys of the newest messages that hold every token, the newest first.

        Args:
            first: only this key and those above.
            below: only keys below this one.
            limit: how many at most.
        """

    def streamed(self, connection: Connection, statement: Select[Any]) -> Iterable[Row[Any]]:
        """The rows of a SELECT, fetched a few at a time as they are taken: each may be megabytes. For reading only."""

    def size_bytes(self, connection: Connection, tables: Tables) -> int:
        """What the tables of a service need on disk, with their indexes; with SQLite, the whole file."""

    def is_collision(self, error: DBAPIError) -> bool:
        """Whether the work met another's, and may succeed if it is executed again. Nothing of it was committed."""

    def ailment(self, error: DBAPIError) -> str:
        """What is wrong with the database, in words; empty where it is the work that is wrong."""


class Changes(Protocol):
    """What the database tells of itself."""

    async def wait(self, timeout_s: float) -> None:
        """Returns when something has been told since the last wait; else, or where nothing can be told, in `timeout_s`.

        Those who wait at the same time all return. Connections that break are made again.
        """

    async def close(self) -> None:
        """Listens no more."""


class Database(Protocol):
    """Executes work."""

    writers_max: int
    """How many transactions that write are worth having at once."""
    shared: bool
    """Whether several instances may use it."""

    @property
    def dialect(self) -> Dialect:
        """What is this database's own."""

    @property
    def possession(self) -> tuple[int, ...]:
        """Handles of the operating system; none where instances may share the database.

        Once it is open, other instances are refused for as long as some process has one of these or a copy open.
        """

    async def open(self) -> None:
        """Connects. Raises StoreError."""

    async def close(self) -> None:
        """Closes every connection once it is idle."""

    async def read(self, work: "Work[T]") -> T:
        """Executes work that only reads. Repeated once on a connection that turned out to be dead.

        Raises:
            StoreUnavailable: the database does not answer.
        """

    async def search(self, work: "Work[T]") -> T:
        """Executes work that only reads, and may have much to read, as `read` does.

        A few such works are executed at once, the others wait; none keeps a connection from `read` and `write`.

        Raises:
            SearchTimeout: it has not been done within `search_timeout_s`.
            StoreUnavailable: the database does not answer.
        """

    async def write(self, work: "Work[T]") -> T:
        """Executes work in one transaction and returns once that is committed.

        Work that met a deadlock, a lock timeout or a colliding key, or that raises Collided, is executed again, so it
        must build all that it writes anew.

        Raises:
            StoreUnavailable: the database does not answer; whether the transaction was committed is not known.
        """

    async def scrub(self, search: str) -> None:
        """Has what was deleted leave the disk, as far as that is not the database's own business.

        Args:
            search: the search table.

        Raises:
            StoreUnavailable: the database does not answer.
        """

    async def alone(self, name: str, work: "Work[T]") -> T:
        """Executes work that writes while no other process executes work of this name, however long it takes.

        The work is one transaction where the database can change its schema in one (MySQL cannot).

        Raises:
            StoreUnavailable: the database does not answer, or the other process takes longer than `ALONE_WAIT_S`.
        """

    def changes(self, channel: str) -> Changes:
        """What is told on a channel (`Dialect.notify`). It is listened from the first wait on."""
