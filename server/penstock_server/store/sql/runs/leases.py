"""Who is alive, and who owns which runs (see `store.Leases`)."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, and_, delete, exists, insert, select, update

from penstock_server.runs.events import OnDisconnect, RunStatus
from penstock_server.store.records import Accepted, Errands, Orphan
from penstock_server.store.sql import failpoints
from penstock_server.store.sql.database import Database
from penstock_server.store.sql.schema import Tables, live, owned, place, queued
from penstock_server.store.sql.turns.runrecords import RunRecords

ADOPTED_AT_ONCE = 100
"""How many runs one transaction takes over."""


class SqlLeases:
    """The leases of one instance.

    Args:
        instance: its name.
    """

    def __init__(self, database: Database, tables: Tables, *, instance: str) -> None:
        self._database = database
        self._tables = tables
        self._instance = instance
        self._records = RunRecords(tables)

    async def beat(self) -> bool:
        """See `store.Leases`."""
        return await failpoints.around(self._database.write(self._beat), ["beat"])

    async def beats(self) -> Mapping[str, int]:
        """See `store.Leases`."""
        return await self._database.read(self._beats)

    async def adopt(self, instance: str, beat: int) -> Sequence[Orphan]:
        """See `store.Leases`."""
        if instance == self._instance:
            return ()
        commit = self._database.write(lambda connection: self._adopt(connection, instance, beat))
        return await failpoints.around(commit, ["adoption"])

    async def owned(self) -> Sequence[str]:
        """See `store.Leases`."""
        runs = self._tables.runs
        own = select(runs.c.run).where(owned(runs, self._instance))
        return await self._database.read(lambda connection: connection.scalars(own).all())

    async def retake(self, run: str) -> Orphan | None:
        """See `store.Leases`."""
        runs = self._tables.runs
        own = select(runs).where(owned(runs, self._instance), runs.c.run == run).with_for_update()
        return next(iter(await self._database.write(lambda connection: self._take(connection, own))), None)

    async def errands(self) -> Errands:
        """See `store.Leases`."""
        return await self._database.read(self._errands)

    async def retire(self) -> None:
        """See `store.Leases`."""
        table = self._tables.instances
        forgotten = delete(table).where(table.c.instance == self._instance)
        await self._database.write(lambda connection: connection.execute(forgotten))

    def _beat(self, connection: Connection) -> bool:
        table = self._tables.instances
        beating = update(table).where(table.c.instance == self._instance).values(beat=table.c.beat + 1)
        if connection.execute(beating).rowcount:
            return True
        connection.execute(insert(table).values(instance=self._instance, beat=1))
        return False

    def _beats(self, connection: Connection) -> Mapping[str, int]:
        """The owners are read first: an instance that has just come beats before it owns anything."""
        table, runs = self._tables.instances, self._tables.runs
        owners = connection.scalars(select(runs.c.instance).where(live(runs)).distinct()).all()
        beats = dict.fromkeys(owners, 0) | {row.instance: row.beat for row in connection.execute(select(table))}
        beats.pop(self._instance, None)
        return beats

    def _adopt(self, connection: Connection, instance: str, beat: int) -> Sequence[Orphan]:
        table, runs = self._tables.instances, self._tables.runs
        its = table.c.instance == instance
        if (connection.scalar(select(table.c.beat).where(its).with_for_update()) or 0) != beat:
            return ()
        # Ordered by no index: SQLite would read all runs in their order, hoping to find live ones soon.
        oldest = select(runs).where(owned(runs, instance)).order_by(runs.c.run_key + 0).limit(ADOPTED_AT_ONCE)
        orphans = self._take(connection, oldest.with_for_update())
        if len(orphans) < ADOPTED_AT_ONCE:
            connection.execute(delete(table).where(its))
        return orphans

    def _take(self, connection: Connection, found: Select[Any]) -> Sequence[Orphan]:
        runs = self._tables.runs
        rows = connection.execute(found).all()
        if rows:
            taken = update(runs).where(runs.c.run_key.in_([row.run_key for row in rows]))
            connection.execute(taken.values(instance=self._instance, attempt=runs.c.attempt + 1))
        return [
            Orphan(
                record=self._records.read(connection, row),
                accepted=Accepted(
                    run_key=row.run_key,
                    session_key=row.session_key,
                    turn=abs(row.turn),
                    attempt=row.attempt + 1,
                    status=RunStatus(row.status),
                ),
                on_disconnect=OnDisconnect(row.on_disconnect),
                sequence_reserved=row.sequence_reserved,
            )
            for row in rows
        ]

    def _errands(self, connection: Connection) -> Errands:
        runs, before = self._tables.runs, self._tables.runs.alias("before")
        cancel = select(runs.c.run).where(owned(runs, self._instance), runs.c.cancel_requested == 1)
        blocked = exists().where(live(before), before.c.session_key == runs.c.session_key, place(before) < place(runs))
        waiting = select(runs.c.run).where(queued(runs), runs.c.instance == self._instance)
        start = waiting.where(~and_(runs.c.turn != 0, blocked)).order_by(runs.c.run_key)
        return Errands(cancel=connection.scalars(cancel).all(), start=connection.scalars(start).all())
