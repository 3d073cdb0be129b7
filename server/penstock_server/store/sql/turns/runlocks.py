"""The runs that a transaction writes to: found, and locked until it ends, in the order of their keys.

SQLite has a single writer, which needs no locks.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, bindparam, exists, literal, select

from penstock_server.runs.events import RunStatus
from penstock_server.store.records import Accepted
from penstock_server.store.sql.database import Dialect
from penstock_server.store.sql.schema import Tables, forgotten, place, queued


@dataclass(slots=True, kw_only=True)
class LockedRun:
    """A run that is locked, as it will stand when the transaction is committed."""

    run_key: int
    attempt: int
    status: RunStatus
    sequence_reserved: int
    flushed_sequence: int
    last_sequence: int
    end_time_us: int | None
    watched: bool
    """Whether somebody follows the run."""
    awaited: bool
    """Whether runs of its session wait for its end. Only known where the database tells others of it."""
    forgotten: bool
    """Whether its question was deleted while it lived: then its end leaves nothing."""

    def executed_by(self, accepted: Accepted) -> bool:
        """Whether the run is live, and this execution of it the newest."""
        return self.attempt == accepted.attempt and not self.status.terminal


class RunLocks:
    """Locks runs."""

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        runs, later = tables.runs, tables.runs.alias("later")
        waits = exists().where(
            queued(later),
            later.c.session_key == runs.c.session_key,
            place(later) > place(runs),
        )
        self._lock = (
            select(
                runs.c.run_key,
                runs.c.attempt,
                runs.c.status,
                runs.c.sequence_reserved,
                runs.c.flushed_sequence,
                runs.c.last_sequence,
                runs.c.end_time_us,
                (runs.c.watched_until_us > dialect.now_us()).label("watched"),
                forgotten(runs).label("forgotten"),
                (and_(runs.c.turn != 0, waits) if dialect.notifies else literal(False)).label("awaited"),
            )
            .where(runs.c.run_key.in_(bindparam("keys", expanding=True)))
            .order_by(runs.c.run_key)
            .with_for_update()
        )

    def lock(self, connection: Connection, run_keys: Collection[int]) -> dict[int, LockedRun]:
        """Those of the runs that exist, by key."""
        if not run_keys:
            return {}
        return {row.run_key: _locked(row) for row in connection.execute(self._lock, {"keys": sorted(run_keys)})}


def _locked(row: Any) -> LockedRun:
    return LockedRun(
        run_key=row.run_key,
        attempt=row.attempt,
        status=RunStatus(row.status),
        sequence_reserved=row.sequence_reserved,
        flushed_sequence=row.flushed_sequence,
        last_sequence=row.last_sequence,
        end_time_us=row.end_time_us,
        watched=bool(row.watched),
        awaited=bool(row.awaited),
        forgotten=bool(row.forgotten),
    )
