"""What rows say, put in order: session by session, each in the order of time, however much there is.

The order is that of the times that the values mean, and a database knows the values alone: "2.1.2024" is more than
"1.12.2024" to it. So all rows are read before the first is imported, into a temporary file of SQLite's.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from penstock_server.store.errors import StoreError

INTEGER_MAX = 2**63 - 1
DIGITS_MAX = 18
"""Text of so many digits is a number that SQLite can hold."""

Rank = int | float | str | bytes | None
"""What orders what was said at the same time: numbers before text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One message of a row."""

    place: str
    """The row, as it is told to people."""
    session: str
    name: str
    """What the session is called elsewhere, where that is not its id."""
    user: str
    role: int
    text: str
    time: datetime
    rank: Rank


class Spool:
    """Takes what rows say, and gives it back in order; what is equal stays in the order in which it came."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute(
            "CREATE TABLE said (place TEXT, session TEXT, name TEXT, user TEXT, role INTEGER, text TEXT, "
            "time TEXT, rank, number INTEGER PRIMARY KEY)"
        )

    def add(self, said: Said) -> None:
        """Keeps what was said."""
        values = said.place, said.session, said.name, said.user, said.role, said.text, _sortable(said.time), said.rank
        self._connection.execute("INSERT INTO said VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)", values)

    def __iter__(self) -> Iterator[Said]:
        for row in self._connection.execute("SELECT * FROM said ORDER BY session, time, rank, number"):
            place, session, name, user, role, text, time, rank, _ = row
            yield Said(
                place=place,
                session=session,
                name=name,
                user=user,
                role=role,
                text=text,
                time=datetime.fromisoformat(time),
                rank=rank,
            )


@contextmanager
def spool() -> Iterator[Spool]:
    """A spool that is gone behind the block.

    Raises:
        StoreError: the disk has no room for it.
    """
    # Without a name, SQLite deletes the file, and keeps little of it in memory.
    with closing(sqlite3.connect("", isolation_level=None)) as connection:
        try:
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("BEGIN")
            yield Spool(connection)
        except sqlite3.Error as error:
            text = f"the rows cannot be put in order in a temporary file: {error}; TMPDIR names another folder for it"
            raise StoreError(text) from None


def rank(value: object) -> Rank:
    """What a column's value counts in the order: digits are numbers, whatever the column's type."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, Decimal) and value.is_finite():
        value = int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= DIGITS_MAX:
        value = int(value)
    if isinstance(value, int):
        return max(-INTEGER_MAX, min(value, INTEGER_MAX))
    return value if value is None or isinstance(value, float) else str(value)


def _sortable(time: datetime) -> str:
    return time.isoformat(timespec="microseconds")  # UTC, so one form for all
