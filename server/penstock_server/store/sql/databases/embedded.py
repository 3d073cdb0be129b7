"""SQLite's files: one thread writes, a few read, and none waits for another (WAL).

What is committed is on the disk (`synchronous=FULL`), and what is deleted is overwritten (`secure_delete`). Work is
synchronous; async drivers for SQLite do the same in threads, and cost twice the processor time.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from penstock_server.errors import SearchTimeout, StoreUnavailable
from penstock_server.store.errors import StoreError
from penstock_server.store.sql.database import ALONE_WAIT_S, ATTEMPTS_MAX, Changes, Collided, Dialect, Work
from penstock_server.store.sql.databases.availability import Availability
from penstock_server.store.sql.databases.instance import InstanceLock
from penstock_server.store.sql.databases.interruptible import Interruptible
from penstock_server.store.sql.databases.silence import Silence
from penstock_server.store.sql.databases.sqlite import PRIMARY, merge_words
from penstock_server.store.sql.databases.threads import Threads

READERS = 4
"""How many threads read."""
SEARCHERS = 2
"""How many threads search."""
WRITER_PATIENCE_S = 0.002
"""How long SQLite itself waits for other writers; we ask it again until the time is over. Left to itself, it looks ever
more seldom, down to every 100 ms, and may for seconds miss the moment between two transactions of a busy process."""
STATEMENTS_CACHED = 256
"""How many prepared statements a connection keeps."""
WAL_BYTES_MAX = 64 * 1024 * 1024
"""What the write-ahead log is cut down to once it has been worked off; a long read lets it grow beyond."""
SCRUB_TRIES = 100
SCRUB_PAUSE_S = 0.1
"""How often, and how long apart, it is tried to empty the write-ahead log after an erasure, while others read."""

logger = logging.getLogger("penstock.store")
T = TypeVar("T")


class EmbeddedDatabase:
    """A file.

    Args:
        create: make the file, and its folder, where they are missing.
        instance: take possession of the file: no second instance may serve it. False for tools.
        shared: whether several instances use it after all. They are workers of one supervisor, which took possession of
            the file for them.
        timeout_s: how long a write waits for another process that writes, in seconds.
        search_timeout_s: how long a search may take, in seconds.
    """

    writers_max = 1

    def __init__(
        self,
        path: Path,
        dialect: Dialect,
        *,
        create: bool,
        instance: bool,
        shared: bool,
        timeout_s: float,
        search_timeout_s: float,
    ) -> None:
        self.dialect = dialect
        self.shared = shared
        self._path = path.absolute()
        self._create = create
        self._timeout_s = timeout_s
        self._search_timeout_s = search_timeout_s
        self._lock = InstanceLock(self._path.resolve()) if instance and not shared else None
        self._availability = Availability(str(self._path))

    @property
    def possession(self) -> tuple[int, ...]:
        """See `database.Database`."""
        return () if self._lock is None else (self._lock.handle,)

    async def open(self) -> None:
        """See `database.Database`."""
        self._check_file()
        if self._lock is not None:
            self._lock.acquire()
        self._writer = Threads("penstock-store-writer", 1, self._connector(read_only=False))
        self._readers = Threads("penstock-store-reader", READERS, self._connector(read_only=True))
        self._searchers = Threads("penstock-store-searcher", SEARCHERS, self._connector(read_only=True))
        try:
            await self._writer.submit(self._prepare)
        except (DBAPIError, StoreUnavailable) as error:
            await self.close()
            raise StoreError(f"the store {self._path} cannot be opened: {self._reason(error)}") from None
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """See `database.Database`."""
        await self._searchers.close()
        await self._readers.close()
        await self._writer.close()
        if self._lock is not None:
            self._lock.release()

    async def read(self, work: Work[T]) -> T:
        """See `database.Database`. Each statement sees the newest commit."""
        result = await self._readers.submit(lambda connection: self._read(connection, work))
        self._availability.worked()
        return result

    async def search(self, work: Work[T]) -> T:
        """See `database.Database`. A search that is late, or that nobody waits for any more, is broken off."""
        execution = Interruptible()

        def search(connection: Connection) -> T:
            with execution.of(_raw(connection)):
                return self._read(connection, work)

        try:
            async with asyncio.timeout(self._search_timeout_s):
                result = await self._searchers.submit(search)
        except TimeoutError:
            raise SearchTimeout.after(self._search_timeout_s) from None
        finally:
            execution.interrupt()
        self._availability.worked()
        return result

    async def write(self, work: Work[T]) -> T:
        """See `database.Database`."""
        result = await self._writer.submit(lambda connection: self._write(connection, work))
        self._availability.worked()
        return result

    async def scrub(self, search: str) -> None:
        """See `database.Database`. What is deleted is overwritten at once; the words and the log remember it longer."""
        merge = partial(merge_words, search=search)
        more = await self.write(partial(merge, begin=True))
        while more:
            more = await self.write(partial(merge, begin=False))
        for _ in range(SCRUB_TRIES):
            if await self._writer.submit(self._empty_log):
                return
            await asyncio.sleep(SCRUB_PAUSE_S)
        logger.warning(
            "what was erased stays in %s-wal until nobody reads for a while, or the service stops", self._path
        )

    async def alone(self, name: str, work: Work[T]) -> T:
        """See `database.Database`. Whoever writes is alone here; only the wait for it is longer."""

        def alone(connection: Connection) -> T:
            with _patience(_raw(connection), ALONE_WAIT_S):
                return self._write(connection, work)

        return await self._writer.submit(alone)

    def changes(self, channel: str) -> Changes:
        """See `database.Database`."""
        return Silence()

    def _empty_log(self, connection: Connection) -> bool:
        """Brings all that was committed to the file; False where somebody still reads what was before."""
        raw = _raw(connection)
        with _patience(raw, 0):
            try:
                busy, _, _ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.OperationalError:  # the next write tells what is wrong
                return False
        return not busy

    def _read(self, connection: Connection, work: Work[T]) -> T:
        try:
            return work(connection)
        except DBAPIError as error:
            raise self._failed(error) from error
        finally:
            connection.rollback()

    def _write(self, connection: Connection, work: Work[T]) -> T:
        attempt = 1
        while True:
            try:
                with connection.begin():
                    return work(connection)
            except Collided:
                if attempt == ATTEMPTS_MAX:
                    raise
            except DBAPIError as error:
                if attempt == ATTEMPTS_MAX or not self.dialect.is_collision(error):
                    raise self._failed(error) from error
            attempt += 1

    def _failed(self, error: DBAPIError) -> Exception:
        reason = self.dialect.ailment(error)
        return self._availability.failed(reason) if reason else error

    def _reason(self, error: DBAPIError | StoreUnavailable) -> str:
        return error.message if isinstance(error, StoreUnavailable) else self.dialect.ailment(error) or str(error.orig)

    def _check_file(self) -> None:
        try:
            if self._path.is_dir():
                raise StoreError(
                    f"the store {self._path} is a folder; name a file in it: sqlite:///{self._path}/NAME.db"
                )
            if not self._create and not self._path.exists():
                raise StoreError(f"there is no store {self._path}; `penstock db upgrade` makes it")
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch(mode=0o600)
        except OSError as error:
            raise StoreError(f"the store {self._path} cannot be opened: {error.strerror}") from None

    def _prepare(self, connection: Connection) -> None:
        """The journal's mode is kept in the file; a file that is no database shows itself here."""
        raw = _raw(connection)
        with _patience(raw, self._timeout_s):
            mode = raw.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != ("wal",):
            raise StoreError(f"the store {self._path} has no write-ahead log: is it on a disk of this machine?")

    def _connector(self, *, read_only: bool) -> Callable[[], Connection]:
        engine = self._engine(read_only=read_only)

        def connect() -> Connection:
            try:
                return engine.connect()
            except DBAPIError as error:
                raise self._failed(error) from error

        return connect

    def _engine(self, *, read_only: bool) -> Engine:
        engine = create_engine(
            "sqlite+pysqlite://",
            creator=lambda: self._connect(read_only=read_only),
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",  # SQLite's own; a writer begins its transactions itself
            skip_autocommit_rollback=read_only,
            hide_parameters=True,  # what users say is not for the log
        )
        if not read_only:
            event.listen(engine, "begin", self._begin)
        return engine

    def _connect(self, *, read_only: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode=rw",  # a file that is gone is not to come back empty
            uri=True,
            timeout=self._timeout_s,
            cached_statements=STATEMENTS_CACHED,
            isolation_level=None,
        )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_MAX}")
        connection.execute(f"PRAGMA query_only = {read_only}")
        if not read_only:
            _set_patience(connection, WRITER_PATIENCE_S)
        return connection

    def _begin(self, connection: Connection) -> None:
        deadline = time.monotonic() + self._timeout_s
        raw = _raw(connection)
        while time.monotonic() < deadline:
            try:
                raw.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & PRIMARY != sqlite3.SQLITE_BUSY:
                    break
            else:
                return
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # whose error is SQLAlchemy's


@contextmanager
def _patience(connection: sqlite3.Connection, timeout_s: float) -> Iterator[None]:
    """Within the block, SQLite waits this long for other processes."""
    _set_patience(connection, timeout_s)
    try:
        yield
    finally:
        _set_patience(connection, WRITER_PATIENCE_S)


def _set_patience(connection: sqlite3.Connection, timeout_s: float) -> None:
    connection.execute(f"PRAGMA busy_timeout = {int(timeout_s * 1000)}")


def _raw(connection: Connection) -> sqlite3.Connection:
    """The driver's connection, for what must not begin a transaction."""
    raw = connection.connection.dbapi_connection
    assert isinstance(raw, sqlite3.Connection)  # noqa: S101 - for the types
    return raw
