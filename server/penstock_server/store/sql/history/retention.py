"""What may go, and how much there is (see `store.Retention`)."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Table,
    func,
    literal,
    literal_column,
    select,
    update,
)

from penstock_server.runs.events import RunStatus
from penstock_server.store.records import Erased, StoreStats
from penstock_server.store.sql.database import Database
from penstock_server.store.sql.history.erasure import ROWS_MAX, Erasure
from penstock_server.store.sql.history.pages import key_bound
from penstock_server.store.sql.keys import to_us
from penstock_server.store.sql.schema import Tables
from penstock_server.store.sql.turns.logs import Logs

DAY_US = timedelta(days=1) // timedelta(microseconds=1)


class SqlRetention:
    """Removes what is past its time, and counts the rest.

    Runs are looked through from the oldest on, each once while the server lives, so that a sweep costs as much as there
    is to remove, however much is to stay.
    """

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database = database
        self._tables = tables
        self._erasure = Erasure(database, tables)
        self._logs = Logs(tables)
        self._runs_swept = 0
        self._idempotency_keys_swept = 0

    async def expire(self, now: datetime, keep_days: int) -> Erased:
        """See `store.Retention`."""
        erased = await self._expire_by_own_retention(to_us(now))
        if erased.sessions or not keep_days:
            return erased
        kept_from = now - timedelta(days=keep_days)
        erased = await self._expire_sessions(to_us(kept_from))
        return erased if erased.sessions else Erased(runs=await self._expire_runs(key_bound(kept_from)))

    async def expire_logs(self, window_s: float) -> int:
        """See `store.Retention`."""
        ended_before = datetime.now(UTC) - timedelta(seconds=window_s)
        found = await self._database.read(lambda connection: self._logs.expired(connection, ended_before, ROWS_MAX))
        if found:
            await self._database.write(lambda connection: self._logs.remove_batches(connection, found))
        return len(found)

    async def forget_idempotency_keys(self, before: datetime) -> int:
        """See `store.Retention`."""
        runs, end = self._tables.runs, key_bound(before)
        keys = await self._run_keys(self._idempotency_keys_swept, end, runs.c.idempotency_key.is_not(None))
        if keys:
            forget = update(runs).where(runs.c.run_key.in_(keys)).values(idempotency_key=None, request_digest=None)
            await self._database.write(lambda connection: connection.execute(forget))
        self._idempotency_keys_swept = keys[-1] + 1 if keys else end
        return len(keys)

    async def stats(self) -> StoreStats:
        """See `store.Retention`."""
        return await self._database.read(self._stats)

    async def _expire_by_own_retention(self, now_us: int) -> Erased:
        sessions = self._tables.sessions.c
        # A literal, or SQLite would not see that the index of sessions with a retention of their own has them all.
        own = sessions.retention_days > literal_column("0")
        kept_until_us = sessions.update_time_us + sessions.retention_days * literal(DAY_US, BigInteger)
        past = kept_until_us < literal(now_us, BigInteger)
        found = await self._erasure.first_sessions(sessions.retention_days, own, past)
        return await self._erasure.sessions(found, own, past)

    async def _expire_sessions(self, kept_from_us: int) -> Erased:
        sessions = self._tables.sessions.c
        past = sessions.update_time_us < kept_from_us, sessions.retention_days == 0
        found = await self._erasure.first_sessions(sessions.update_time_us, *past)
        return await self._erasure.sessions(found, *past)

    async def _expire_runs(self, end: int) -> int:
        runs = self._tables.runs
        no_turn = runs.c.session_key == 0, runs.c.status >= RunStatus.SUCCEEDED.value
        keys = await self._run_keys(self._runs_swept, end, *no_turn)
        if keys:
            await self._erasure.runs(runs.c.run_key.in_(keys))
        self._runs_swept = keys[-1] + 1 if keys else end
        return len(keys)

    async def _run_keys(self, first: int, end: int, *conditions: ColumnElement[bool]) -> Sequence[int]:
        runs = self._tables.runs.c
        found = select(runs.run_key).where(runs.run_key >= first, runs.run_key < end, *conditions)
        oldest = found.order_by(runs.run_key).limit(ROWS_MAX)
        return await self._database.search(lambda connection: connection.scalars(oldest).all())

    def _stats(self, connection: Connection) -> StoreStats:
        tables = self._tables

        def count(table: Table) -> int:
            return connection.scalar(select(func.count()).select_from(table)) or 0

        return StoreStats(
            sessions=count(tables.sessions),
            messages=count(tables.messages),
            runs=count(tables.runs),
            size_bytes=self._database.dialect.size_bytes(connection, tables),
        )
