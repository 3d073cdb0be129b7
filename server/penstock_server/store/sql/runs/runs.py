"""Runs, as every instance sees them (see `store.Runs`)."""

from collections.abc import Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    case,
    literal_column,
    select,
    update,
)

from penstock_server.store.records import Cursor, LogPage, Page, RunFilter, RunRecord
from penstock_server.store.sql.database import Database
from penstock_server.store.sql.history.pages import key_bound, take
from penstock_server.store.sql.runs.logreader import LogReader
from penstock_server.store.sql.schema import Tables, live
from penstock_server.store.sql.turns.runrecords import RunRecords, record

WATCHED_AT_ONCE = 500
"""How many runs one transaction notes as followed."""
SECOND_US = 1_000_000
STATUSES = 8
"""More than there are of `RunStatus`."""


class SqlRuns:
    """Reads runs, and writes what others than their owners want of them."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database = database
        self._tables = tables
        self._records = RunRecords(tables)
        self._logs = LogReader(tables)
        self._changes = database.changes(tables.channel)

    async def get(self, run: str) -> RunRecord | None:
        """See `store.Runs`."""
        return await self._database.read(lambda connection: self._records.get(connection, run))

    async def page(self, filter: RunFilter, after: Cursor | None, size: int) -> Page[RunRecord]:
        """See `store.Runs`."""
        runs = self._tables.runs
        large = {"inputs", "outputs", "nodes"}
        statement = select(*(column for column in runs.c if column.name not in large)).where(*self._matching(filter))
        if after is not None:
            statement = statement.where(runs.c.run_key < after[0])
        newest = statement.order_by(runs.c.run_key.desc()).limit(size + 1)
        return await self._database.read(
            lambda connection: take(connection.execute(newest), size, record, lambda row: (row.run_key,))
        )

    async def log(self, run: str, after: int) -> LogPage | None:
        """See `store.Runs`."""
        return await self._database.read(lambda connection: self._logs.page(connection, run, after))

    async def heads(self, runs: Sequence[str]) -> dict[str, int]:
        """See `store.Runs`. A log grows by its numbers, and the last of them is given when the run ends."""
        columns = self._tables.runs.c
        # The status counts, too: a run that begins to execute may have nothing new in its log.
        head = (columns.flushed_sequence + columns.last_sequence) * STATUSES + columns.status
        named = head.label("head")
        statement = select(columns.run, named).where(columns.run.in_(runs))
        return await self._database.read(
            lambda connection: {row.run: row.head for row in connection.execute(statement)}
        )

    async def request_cancel(self, run: str) -> None:
        """See `store.Runs`."""
        runs = self._tables.runs
        asked = update(runs).where(runs.c.run == run, live(self._tables.runs)).values(cancel_requested=1)

        def work(connection: Connection) -> None:
            if connection.execute(asked).rowcount:
                self._database.dialect.notify(connection, self._tables.channel)

        await self._database.write(work)

    async def watch(self, runs: Sequence[str], for_s: float) -> None:
        """See `store.Runs`."""
        for first in range(0, len(runs), WATCHED_AT_ONCE):
            await self._watch(runs[first : first + WATCHED_AT_ONCE], for_s)

    async def watched(self, run: str) -> bool:
        """See `store.Runs`."""
        runs = self._tables.runs.c
        asked = select(runs.watched_until_us > self._database.dialect.now_us()).where(runs.run == run)
        return bool(await self._database.read(lambda connection: connection.scalar(asked)))

    async def changed(self, timeout_s: float) -> None:
        """See `store.Runs`."""
        await self._changes.wait(timeout_s)

    async def close(self) -> None:
        """Listens no more."""
        await self._changes.close()

    def _matching(self, filter: RunFilter) -> list[ColumnElement[bool]]:
        runs = self._tables.runs.c
        conditions: list[ColumnElement[bool]] = []
        for column, value in ((runs.user, filter.scope.user), (runs.session, filter.session), (runs.flow, filter.flow)):
            if value:
                conditions.append(column == value)
        if filter.status is not None:
            conditions.append(runs.status == literal_column(str(filter.status.value)))
            if not filter.status.terminal:
                conditions.append(live(self._tables.runs))
        if filter.accepted.start is not None:
            conditions.append(runs.run_key >= key_bound(filter.accepted.start))
        if filter.accepted.end is not None:
            conditions.append(runs.run_key < key_bound(filter.accepted.end))
        return conditions

    async def _watch(self, runs: Sequence[str], for_s: float) -> None:
        table = self._tables.runs
        find = select(table.c.run_key).where(table.c.run.in_(runs), live(table))
        keys = await self._database.read(lambda connection: sorted(connection.scalars(find)))
        ours = table.c.run_key.in_(keys)
        # Locked by rising keys, as by those who write to these runs.
        lock = select(table.c.run_key).where(ours).order_by(table.c.run_key).with_for_update()
        until_us = self._database.dialect.now_us() + int(for_s * SECOND_US)
        later = case((table.c.watched_until_us < until_us, until_us), else_=table.c.watched_until_us)
        note = update(table).where(ours).values(watched_until_us=later)
        if keys:
            await self._database.write(lambda connection: (connection.execute(lock), connection.execute(note)))
