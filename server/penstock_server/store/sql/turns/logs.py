"""The logs of runs, as they are written: one row a batch of events."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, or_, select

from penstock_server.runs.events import Event, RunStatus
from penstock_server.store.sql import documents
from penstock_server.store.sql.history.pages import key_bound
from penstock_server.store.sql.keys import to_us
from penstock_server.store.sql.schema import Tables
from penstock_server.store.sql.turns.runlocks import LockedRun

BATCH_EVENTS_MAX = 64
"""How many events a row holds at most."""
BATCH_CHARS_MAX = 64 * 1024
"""How long a row is at most, unless it is a single event: who reads it has it in memory whole."""
ROWS_WITH_RUNS_MAX = 100
"""How many rows of logs go in the transaction that removes their runs."""


class Logs:
    """Adds to logs, and removes them."""

    def __init__(self, tables: Tables) -> None:
        self._events = tables.events
        self._insert = insert(tables.events)
        self._delete = delete(tables.events).where(
            tables.events.c.run_key == bindparam("key"), tables.events.c.first_sequence <= bindparam("last")
        )
        runs, events = tables.runs.c, tables.events.c
        self._oldest = (
            select(events.run_key, events.first_sequence)
            .where(events.run_key > bindparam("after"), events.run_key < bindparam("below"))
            .order_by(events.run_key, events.first_sequence)
            .limit(bindparam("rows_max"))
        )
        self._kept = select(runs.run_key).where(
            runs.run_key.in_(bindparam("keys", expanding=True)),
            or_(runs.status < RunStatus.SUCCEEDED.value, runs.end_time_us >= bindparam("ended_from_us")),
        )

    def add(self, connection: Connection, added: Sequence[tuple[LockedRun, Sequence[Event]]]) -> None:
        """Adds what the logs of locked runs do not have yet. The caller writes their `flushed_sequence`.

        Args:
            added: the events of each run, in order and without gaps. Those that do not follow what its log has are left
                out: a log has no gaps, and its end tells what is missing.
        """
        rows = [row for run, events in added for row in _rows(run, events)]
        if rows:
            connection.execute(self._insert, rows)

    def remove(self, connection: Connection, run_keys: Collection[int]) -> None:
        """Removes the logs of runs that the transaction has removed before: then nothing is added any more."""
        if run_keys:
            connection.execute(delete(self._events).where(self._events.c.run_key.in_(sorted(run_keys))))

    def shorten(self, connection: Connection, run_keys: Collection[int], rows_max: int) -> bool:
        """Removes the beginning of logs that are to be removed, `rows_max` rows, where they have more than a few.

        Returns:
            Whether it did; else they are short enough to be removed with their runs (`ROWS_WITH_RUNS_MAX`).
        """
        first = select(self._events.c.run_key, self._events.c.first_sequence).where(
            self._events.c.run_key.in_(sorted(run_keys))
        )
        ordered = first.order_by(self._events.c.run_key, self._events.c.first_sequence).limit(rows_max)
        rows = connection.execute(ordered).all() if run_keys else ()
        if len(rows) <= ROWS_WITH_RUNS_MAX:
            return False
        self.remove_batches(connection, [(row.run_key, row.first_sequence) for row in rows])
        return True

    def expired(self, connection: Connection, ended_before: datetime, rows_max: int) -> Sequence[tuple[int, int]]:
        """Batches of runs that ended before this, or are gone, by run and first number; those of the oldest runs.

        What was accepted later has not ended before this, and is not looked at. What is to stay is passed over, by no
        join: a database might look through all runs for the few that have a log.
        """
        after, below, ended_from_us = 0, key_bound(ended_before), to_us(ended_before)
        while True:
            some = {"after": after, "below": below, "rows_max": rows_max}
            rows = connection.execute(self._oldest, some).all()
            keys = sorted({row.run_key for row in rows})
            kept = set(connection.scalars(self._kept, {"keys": keys, "ended_from_us": ended_from_us}))
            expired = [(row.run_key, row.first_sequence) for row in rows if row.run_key not in kept]
            if expired or len(rows) < rows_max:
                return expired
            after = keys[-1]

    def remove_batches(self, connection: Connection, batches: Sequence[tuple[int, int]]) -> None:
        """Removes batches, with those before them."""
        last = dict(sorted(batches))
        connection.execute(self._delete, [{"key": key, "last": number} for key, number in last.items()])


def _rows(run: LockedRun, events: Sequence[Event]) -> Iterator[Mapping[str, Any]]:
    if not events or events[0].sequence > run.flushed_sequence + 1:
        return
    new = events[run.flushed_sequence + 1 - events[0].sequence :]
    for start in range(0, len(new), BATCH_EVENTS_MAX):
        for batch, payload in _batches(new[start : start + BATCH_EVENTS_MAX]):
            run.flushed_sequence = batch[-1].sequence
            yield {
                "run_key": run.run_key,
                "first_sequence": batch[0].sequence,
                "last_sequence": batch[-1].sequence,
                "payload": payload,
            }


def _batches(events: Sequence[Event]) -> Iterator[tuple[Sequence[Event], str]]:
    payload = documents.dump_events(events)
    if len(payload) <= BATCH_CHARS_MAX or len(events) == 1:
        yield events, payload
        return
    half = len(events) // 2
    yield from _batches(events[:half])
    yield from _batches(events[half:])
