"""Work on an SQLite connection that another thread can break off."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class Interruptible:
    """One execution of work, from its beginning on the thread of a connection to its end."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._interrupted = False

    @contextmanager
    def of(self, connection: sqlite3.Connection) -> Iterator[None]:
        """The work is what is done with the connection in the block. Raises InterruptedError if it is not to begin."""
        with self._lock:
            if self._interrupted:
                raise InterruptedError
            self._connection = connection
        try:
            yield
        finally:
            with self._lock:  # the next work on the connection is another's
                self._connection = None

    def interrupt(self) -> None:
        """Keeps the work from beginning, or ends the statement that it executes, which fails with SQLITE_INTERRUPT."""
        with self._lock:
            self._interrupted = True
            if self._connection is not None:
                self._connection.interrupt()
