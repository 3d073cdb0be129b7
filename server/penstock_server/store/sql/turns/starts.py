"""Queued runs that begin to execute."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, bindparam, update

from penstock_server.runs.events import RunStatus
from penstock_server.store.records import Accepted, Start
from penstock_server.store.sql.keys import to_us
from penstock_server.store.sql.schema import Tables
from penstock_server.store.sql.turns.queues import LiveRun, Queues
from penstock_server.store.sql.turns.runlocks import LockedRun


class Starts:
    """Writes batches of starts."""

    def __init__(self, tables: Tables, queues: Queues) -> None:
        runs = tables.runs
        self._queues = queues
        self._update = (
            update(runs)
            .where(runs.c.run_key == bindparam("key"))
            .values(status=RunStatus.RUNNING.value, start_time_us=bindparam("new_start_time_us"))
        )

    def write(
        self, connection: Connection, starts: Sequence[Start], runs: Mapping[int, LockedRun]
    ) -> list[Accepted | None]:
        """Lets those begin that may; the outcomes come without rounds. Endings must have been written before.

        Args:
            runs: the runs that exist, locked.
        """
        sessions = {each.accepted.session_key for each in starts if each.accepted.turn}
        queues = self._queues.live(connection, sessions)
        outcomes: list[Accepted | None] = []
        begun: list[dict[str, Any]] = []
        for each in starts:
            accepted, run = each.accepted, runs.get(each.accepted.run_key)
            if run is None or not run.executed_by(accepted):
                outcomes.append(None)
                continue
            # One that executes already was let begin by the same write before.
            if run.status is RunStatus.QUEUED and not _blocked(accepted, queues):
                run.status = RunStatus.RUNNING
                begun.append({"key": run.run_key, "new_start_time_us": to_us(each.start_time)})
            outcomes.append(replace(accepted, status=run.status))
        if begun:
            connection.execute(self._update, begun)
        return outcomes


def _blocked(accepted: Accepted, queues: Mapping[int, Sequence[LiveRun]]) -> bool:
    """Whether a run before this one is live in its session."""
    live = queues.get(accepted.session_key, ()) if accepted.turn else ()
    return any(run.turn < accepted.turn for run in live)
