"""What live runs add to their logs, and the numbers that they reserve."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, update

from penstock_server.errors import Defect, Failure
from penstock_server.store.records import Appending
from penstock_server.store.sql.database import Dialect
from penstock_server.store.sql.schema import Tables
from penstock_server.store.sql.turns.logs import Logs
from penstock_server.store.sql.turns.runlocks import LockedRun, RunLocks


class Appends:
    """Writes batches of what runs add to their logs."""

    def __init__(self, tables: Tables, dialect: Dialect, locks: RunLocks, logs: Logs) -> None:
        runs = tables.runs
        self._channel = tables.channel
        self._dialect = dialect
        self._locks = locks
        self._logs = logs
        self._update = (
            update(runs)
            .where(runs.c.run_key == bindparam("key"))
            .values(flushed_sequence=bindparam("flushed"), sequence_reserved=bindparam("reserved"))
        )

    def write(self, connection: Connection, appendings: Sequence[Appending], _: bool) -> Sequence[bool | Failure]:
        """One transaction. For each, whether its run takes it."""
        runs = self._locks.lock(connection, {each.accepted.run_key for each in appendings})
        taken = [(runs[key], each) for each in appendings if _takes(runs.get(key := each.accepted.run_key), each)]
        self._logs.add(connection, [(run, each.events) for run, each in taken])
        for run, each in taken:
            run.sequence_reserved = max(run.sequence_reserved, each.sequence_reserved)
        changed = {run.run_key: run for run, _ in taken}
        if changed:
            connection.execute(self._update, [_changes(changed[key]) for key in sorted(changed)])
        if any(run.watched for run in changed.values()):
            self._dialect.notify(connection, self._channel)
        return [_outcome(runs.get(each.accepted.run_key), each) for each in appendings]


def _takes(run: LockedRun | None, appending: Appending) -> bool:
    return run is not None and run.executed_by(appending.accepted)


def _outcome(run: LockedRun | None, appending: Appending) -> bool | Failure:
    if run is None or not run.executed_by(appending.accepted):
        return False
    events = appending.events
    if events and events[-1].sequence > run.flushed_sequence:
        missing = f"{run.flushed_sequence + 1} to {events[0].sequence - 1}"
        return Defect(f"the events {missing} of a run were never added to its log")
    return True


def _changes(run: LockedRun) -> dict[str, int]:
    return {"key": run.run_key, "flushed": run.flushed_sequence, "reserved": run.sequence_reserved}
