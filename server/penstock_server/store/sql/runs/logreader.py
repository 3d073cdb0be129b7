"""The logs of runs, as they are read: from any position, a part at a time."""

from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from penstock_server.errors import CursorExpired
from penstock_server.runs.events import Event, RunFinished, RunStatus
from penstock_server.store.records import LogPage
from penstock_server.store.sql import documents
from penstock_server.store.sql.database import ROWS_AT_ONCE
from penstock_server.store.sql.keys import from_us
from penstock_server.store.sql.schema import Tables

PAGE_CHARS_MAX = 256 * 1024
"""A page ends with the batch that brings it to so many characters."""


class LogReader:
    """Reads logs."""

    def __init__(self, tables: Tables) -> None:
        runs, events = tables.runs.c, tables.events.c
        self._run = select(
            runs.run,
            runs.run_key,
            runs.status,
            runs.sequence_reserved,
            runs.flushed_sequence,
            runs.last_sequence,
            runs.error,
            runs.input_tokens,
            runs.output_tokens,
            runs.end_time_us,
        ).where(runs.run == bindparam("of_run"))
        # The batch that holds what follows may begin before it.
        first = (
            select(func.max(events.first_sequence))
            .where(events.run_key == bindparam("key"), events.first_sequence <= bindparam("next"))
            .scalar_subquery()
        )
        self._batches = (
            select(events.first_sequence, events.last_sequence, events.payload)
            .where(events.run_key == bindparam("key"), events.first_sequence >= first)
            .order_by(events.first_sequence)
            .limit(ROWS_AT_ONCE)
        )

    def page(self, connection: Connection, run: str, after: int) -> LogPage | None:
        """What follows in the log of a run. See `store.Runs`.

        The run is read before its log. So what is added meanwhile is read, too, or with the next page, and no end is
        told without what comes before it.
        """
        row = connection.execute(self._run, {"of_run": run}).one_or_none()
        if row is None:
            return None
        end = _end(row) if RunStatus(row.status).terminal else None
        if after < 0 or after > (end.sequence if end else max(row.sequence_reserved, row.flushed_sequence)):
            raise _expired(run, f"there is no event {after} in the log of the run")
        if after >= row.flushed_sequence:
            return LogPage(events=(), end=end)
        events = self._events(connection, row.run_key, after)
        if not events:
            raise _expired(run, f"what follows the event {after} is not kept any more; GetRun tells how the run stands")
        return LogPage(events=events, end=end if events[-1].sequence >= row.flushed_sequence else None)

    def _events(self, connection: Connection, run_key: int, after: int) -> list[Event]:
        events: list[Event] = []
        chars, following = 0, after + 1
        for row in connection.execute(self._batches, {"key": run_key, "next": following}):
            if chars >= PAGE_CHARS_MAX or not row.first_sequence <= following <= row.last_sequence:
                break
            batch = documents.load_events(row.payload, row.first_sequence)
            events += batch[following - row.first_sequence :]
            following = row.last_sequence + 1
            chars += len(row.payload)
        return events


def _end(row: Any) -> RunFinished:
    # A run of before there were logs has no number for its end: it is the only event that is told of it.
    last = row.last_sequence or row.flushed_sequence + 1
    return RunFinished(
        run=row.run,
        status=RunStatus(row.status),
        error=documents.load_error(row.error),
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        end_time=from_us(row.end_time_us),
        lost_after=row.flushed_sequence if last > row.flushed_sequence + 1 else None,
        sequence=last,
    )


def _expired(run: str, text: str) -> CursorExpired:
    return CursorExpired(text, metadata={"run": run})
