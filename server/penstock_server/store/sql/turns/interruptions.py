"""Runs whose server is gone: they end as INTERRUPTED, each with an answer that says so."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, literal_column, select

from penstock_server.errors import RunInterrupted
from penstock_server.runs.events import RunStatus
from penstock_server.store.records import Accepted, Ending
from penstock_server.store.sql.keys import from_us
from penstock_server.store.sql.schema import Tables
from penstock_server.store.sql.turns.endings import Endings
from penstock_server.store.sql.turns.said import Sayings
from penstock_server.store.sql.turns.sessionlocks import SessionLocks

RUNS_MAX = 500
"""How many runs one transaction ends."""
RETRY_AFTER_S = 1.0


class Interruptions:
    """Ends runs that nobody executes any more."""

    def __init__(self, tables: Tables, locks: SessionLocks, endings: Endings, sayings: Sayings) -> None:
        runs = tables.runs
        self._locks = locks
        self._endings = endings
        self._sayings = sayings
        self._find = (
            select(runs)
            # A literal, or SQLite would not see that the index of live runs has them all.
            .where(runs.c.status < literal_column(str(RunStatus.SUCCEEDED.value)), runs.c.instance != bindparam("own"))
            .order_by(runs.c.run_key)
            .limit(RUNS_MAX)
        )

    def write(self, connection: Connection, instance: str) -> int:
        """Ends runs of other instances than this one, at most RUNS_MAX; returns how many it found."""
        rows = connection.execute(self._find, {"own": instance}).all()
        endings = [_ending(row, datetime.now(UTC)) for row in rows]
        sessions = self._locks.lock(connection, {each.session for each in endings if each.accepted.turn})
        self._sayings.add(connection, self._endings.write(connection, endings, sessions))
        self._locks.write(connection, sessions.values())
        return len(endings)


def _ending(row: Any, now: datetime) -> Ending:
    text = "the server ended before the run did; send the request again"
    return Ending(
        run=row.run,
        session=row.session,
        accepted=Accepted(run_key=row.run_key, session_key=row.session_key, turn=row.turn, attempt=row.attempt),
        status=RunStatus.INTERRUPTED,
        outputs={},
        text_of="",
        flow=row.flow,
        user=row.user,
        error=RunInterrupted(text, metadata={"run": row.run}, retry_after_s=RETRY_AFTER_S),
        nodes=(),
        input_tokens=0,
        output_tokens=0,
        start_time=None if row.start_time_us is None else from_us(row.start_time_us),
        end_time=now,
    )
