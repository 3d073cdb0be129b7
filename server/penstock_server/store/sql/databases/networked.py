"""MySQL, MariaDB and PostgreSQL: work is executed on the event loop, each wait of it handing the loop to others.

A call has `timeout_s` for everything: a connection, the work, its repetitions, the commit. A database that hangs so
costs no caller more than that; what is left to tidy up goes on behind the caller's back. Searches have connections and
a limit of their own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager
from math import inf
from socket import gaierror
from time import monotonic
from typing import Any, Protocol, TypeVar

from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.engine.interfaces import Dialect as SqlAlchemyDialect
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from penstock_server.errors import SearchTimeout
from penstock_server.store.errors import NotConnected
from penstock_server.store.sql.database import ALONE_WAIT_S, ATTEMPTS_MAX, Changes, Collided, Dialect, Work
from penstock_server.store.sql.databases.availability import Availability
from penstock_server.store.sql.databases.url import shown

WRITERS_MAX = 4
"""How many transactions that write are under way at once, at most: more only wait for each other's rows."""
SEARCHERS_MAX = 4
"""How many searches are under way at once, at most."""
RECYCLE_S = 1800
"""How old a connection gets: firewalls and servers forget those that lie idle."""
PING_IDLE_S = 1.0
"""How long a connection may have lain idle and still be used unasked."""

T = TypeVar("T")


class NetworkedDialect(Dialect, Protocol):
    """What `NetworkedDatabase` must know of a database."""

    def driver_url(self, url: URL) -> URL:
        """The address as SQLAlchemy's driver wants it."""

    def connect_args(self, url: URL, timeout_s: float) -> dict[str, Any]:
        """How the driver connects.

        Args:
            timeout_s: how long the server may execute a statement or wait for a lock, in seconds; 0 is no limit.
        """

    def changes(self, url: URL, channel: str, timeout_s: float) -> Changes:
        """What the database tells on a channel, over a connection of its own.

        Args:
            timeout_s: how long it may take to connect, in seconds.
        """

    def prepare(self, engine: Engine) -> None:
        """Adds to the connections of an engine what this database needs."""

    def is_late(self, error: DBAPIError) -> bool:
        """Whether the database has given the work up because its time was over."""

    def alone(self, connection: Connection, name: str, wait_s: float) -> AbstractContextManager[None]:
        """A transaction in which no other connection can be alone under this name."""


class NetworkedDatabase:
    """A database on a server.

    Args:
        pool_size: how many connections there are at most; a third of them, at most `WRITERS_MAX`, are for writing, and
            a quarter, at most `SEARCHERS_MAX`, for searches.
        timeout_s: how long a call may take, in seconds.
        search_timeout_s: how long a search may take, in seconds.
    """

    shared = True
    possession = ()

    def __init__(
        self, url: URL, dialect: NetworkedDialect, *, pool_size: int, timeout_s: float, search_timeout_s: float
    ) -> None:
        self.dialect = dialect
        self.writers_max = max(1, min(WRITERS_MAX, pool_size // 3))
        self._url = url
        self._timeout_s = timeout_s
        self._search_timeout_s = search_timeout_s
        self._availability = Availability(shown(url))
        searchers = max(1, min(SEARCHERS_MAX, pool_size // 4))
        readers = max(1, pool_size - self.writers_max - searchers)
        # A connection that only reads needs no transaction, and so fewer round trips.
        self._writing = self._pool("READ COMMITTED", self.writers_max, timeout_s=timeout_s)
        self._reading = self._pool("AUTOCOMMIT", readers, timeout_s=timeout_s)
        self._searching = self._pool("AUTOCOMMIT", searchers, timeout_s=search_timeout_s)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """See `database.Database`."""
        try:
            async with asyncio.timeout(self._timeout_s), self._reading.connect():
                pass
        except (SQLAlchemyError, OSError) as error:
            await self.close()
            raise NotConnected(shown(self._url), self._reason(error)) from None

    async def close(self) -> None:
        """See `database.Database`."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        for pool in (self._reading, self._searching, self._writing):
            await pool.dispose()

    async def read(self, work: Work[T]) -> T:
        """See `database.Database`."""
        return await self._bounded(self._read(self._reading, work))

    async def search(self, work: Work[T]) -> T:
        """See `database.Database`. The server ends the statement of a search that is late."""
        try:
            result = await self._within(self._search_timeout_s, self._read(self._searching, work))
        except (SQLAlchemyError, OSError) as error:
            if self._is_late(error):
                raise SearchTimeout.after(self._search_timeout_s) from error
            raise self._failed(error) from error
        self._availability.worked()
        return result

    async def write(self, work: Work[T]) -> T:
        """See `database.Database`."""

        async def attempt(this: _Attempt) -> T:
            async with self._writing.begin() as connection:
                result = await connection.run_sync(work)
                this.committing = True
                return result

        return await self._bounded(self._repeated(attempt))

    async def scrub(self, search: str) -> None:
        """See `database.Database`. These have their own ways, and times, of reusing what was deleted."""

    async def alone(self, name: str, work: Work[T]) -> T:
        """See `database.Database`. Its connection is one of its own, without limits of time."""

        def alone(connection: Connection) -> T:
            with self.dialect.alone(connection, name, ALONE_WAIT_S):
                return work(connection)

        engine = self._engine("READ COMMITTED", timeout_s=0, poolclass=NullPool)
        try:
            async with engine.connect() as connection:
                return await connection.run_sync(alone)
        except (DBAPIError, OSError) as error:
            raise self._failed(error) from error
        finally:
            await engine.dispose()

    def changes(self, channel: str) -> Changes:
        """See `database.Database`."""
        return self.dialect.changes(self._url, channel, self._timeout_s)

    async def _read(self, pool: AsyncEngine, work: Work[T]) -> T:
        async def attempt(_: _Attempt) -> T:
            async with pool.connect() as connection:
                return await connection.run_sync(work)

        return await self._repeated(attempt)

    async def _repeated(self, execute: "Callable[[_Attempt], Awaitable[T]]") -> T:
        for _ in range(1, ATTEMPTS_MAX):
            attempt = _Attempt()
            try:
                return await execute(attempt)
            except Collided:
                continue
            except DBAPIError as error:
                lost = error.connection_invalidated and not attempt.committing
                if not (lost or self.dialect.is_collision(error)):
                    raise
        return await execute(_Attempt())

    async def _bounded(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What it returns, within the time of a call."""
        try:
            result = await self._within(self._timeout_s, coroutine)
        except (SQLAlchemyError, OSError) as error:
            raise self._failed(error) from error
        self._availability.worked()
        return result

    async def _within(self, timeout_s: float, coroutine: Coroutine[Any, Any, T]) -> T:
        """What it returns, or TimeoutError. It is given up in a task of its own, for that can take a while."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        try:
            await asyncio.wait((task,), timeout=timeout_s)
        finally:
            task.cancel()
        if not task.done():
            raise TimeoutError
        try:
            return task.result()
        finally:
            del task  # its exception holds this frame: together they would be left to the garbage collector

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # nobody else asks, where the caller has left

    def _is_late(self, error: Exception) -> bool:
        """Whether a search was not done in time."""
        if isinstance(error, DBAPIError):
            return self.dialect.is_late(error)
        return isinstance(error, TimeoutError | PoolTimeoutError)

    def _failed(self, error: Exception) -> Exception:
        reason = self._ailment(error)
        return self._availability.failed(reason) if reason else error

    def _reason(self, error: Exception) -> str:
        """What went wrong, for who runs the service: in our words and in the driver's."""
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        said = str(cause.args[-1] if cause.args else cause)
        ours = self._ailment(error)
        return f"{ours} ({said})" if ours and said and said != ours else ours or said

    def _ailment(self, error: Exception) -> str:
        """What is wrong with the database; empty where it is the work that is wrong."""
        match error:
            case PoolTimeoutError():
                return "all connections to it are in use"
            case DBAPIError():
                return self.dialect.ailment(error) or ("the connection broke" if error.connection_invalidated else "")
            case gaierror():
                return f"the host {self._url.host} is not known"
            case ConnectionRefusedError():
                return "nothing listens there"
            case TimeoutError():
                return str(error) or f"it has taken longer than {self._timeout_s:g} s"
            case OSError():
                return error.strerror or str(error)
            case _:
                return ""

    def _engine(self, isolation_level: IsolationLevel, *, timeout_s: float, **pool: Any) -> AsyncEngine:
        engine = create_async_engine(
            self.dialect.driver_url(self._url),
            isolation_level=isolation_level,
            skip_autocommit_rollback=True,
            connect_args=self.dialect.connect_args(self._url, timeout_s),
            hide_parameters=True,  # what users say is not for the log
            **pool,
        )
        name_resets(engine.sync_engine)
        self.dialect.prepare(engine.sync_engine)
        return engine

    def _pool(self, isolation_level: IsolationLevel, size: int, *, timeout_s: float) -> AsyncEngine:
        engine = self._engine(
            isolation_level,
            timeout_s=timeout_s,
            pool_size=size,
            max_overflow=0,
            pool_timeout=timeout_s,
            pool_recycle=RECYCLE_S,
        )
        ping_idle(engine.sync_engine)
        return engine


class _Attempt:
    """How far an execution of work got."""

    committing = False


def name_resets(engine: Engine) -> None:
    """Has a connection that is reset while it is made fail as others do: asyncmy calls that a RuntimeError."""

    @event.listens_for(engine, "do_connect")
    def connect(dialect: SqlAlchemyDialect, _: Any, args: Any, kwargs: Any) -> Any:
        try:
            return dialect.connect(*args, **kwargs)
        except RuntimeError as error:
            raise ConnectionResetError(f"the connection was reset: {error}") from error


def ping_idle(engine: Engine) -> None:
    """Has a connection that lay idle asked whether it still lives, before it is used.

    One that has just been used is not: if it dies all the same, the work is executed again on another.
    """

    @event.listens_for(engine, "checkin")
    def remember(_: Any, record: ConnectionPoolEntry) -> None:
        record.info["used_s"] = monotonic()

    @event.listens_for(engine, "checkout")
    def ask(connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
        if monotonic() - record.info.get("used_s", inf) < PING_IDLE_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except (engine.dialect.loaded_dbapi.Error, OSError) as error:
            raise DisconnectionError from error  # the pool makes another
