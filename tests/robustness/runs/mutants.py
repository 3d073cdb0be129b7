"""Servers that break their promises, each in one way, to see that the harness finds out.

Run as `python -m tests.robustness.runs.mutants ARGS…`, in place of `penstock ARGS…`. `PENSTOCK_MUTANT` names the one.
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, func, select
from tests.robustness.mutants import acknowledging_early

from penstock.cli import main
from penstock_server.runs.events import Event, RunStatus
from penstock_server.runs.executor import Executor
from penstock_server.runs.recovery import Recovery
from penstock_server.runs.run import Run
from penstock_server.store.records import Acceptance, Orphan
from penstock_server.store.sql.runs.logreader import LogReader
from penstock_server.store.sql.turns.claims import Claims
from penstock_server.store.sql.turns.groupcommit import GroupCommit
from penstock_server.store.sql.turns.queues import Queues
from penstock_server.store.sql.turns.runlocks import LockedRun

VARIABLE = "PENSTOCK_MUTANT"
COMMIT_DELAY_S = 0.3
"""How long a commit is behind its acknowledgement."""


def drop_the_unique_key() -> None:
    """Every request is a new one."""

    def claim(self: Claims, connection: Connection, acceptances: Sequence[Acceptance], rows: Any) -> dict[str, Any]:
        for each in acceptances:
            rows[each.run]["idempotency_key"] = None
            connection.execute(self._insert, rows[each.run])
        return {}

    Claims.claim = claim  # type: ignore[method-assign]


def acknowledge_before_the_commit() -> None:
    """A run is told to be accepted, and then it is stored."""
    commit, early_commit = GroupCommit._commit, acknowledging_early(COMMIT_DELAY_S)

    async def early(self: GroupCommit[Any, Any], group: Any, transaction: Any) -> None:
        accepts = any(isinstance(each.write, Acceptance) for each in group)
        await (early_commit if accepts else commit)(self, group, transaction)

    GroupCommit._commit = early  # type: ignore[method-assign]


def ignore_the_attempt() -> None:
    """Whoever writes is taken for the owner."""
    LockedRun.executed_by = lambda self, accepted: True  # type: ignore[method-assign]


def swallow_a_cancel() -> None:
    """A run that is cancelled is told to be, and goes on."""

    def end(self: Executor, run: Run, status: RunStatus, error: Any) -> bool:
        if not run.decide(status, error):
            return False
        self._tasks.start(self._end(run))
        return True

    Executor.end = end  # type: ignore[method-assign]


def deliver_a_batch_twice() -> None:
    """Who resumes in the middle of a batch gets all of it."""
    read = LogReader._events

    def events(self: LogReader, connection: Connection, run_key: int, after: int) -> list[Event]:
        table = self._mutant_events  # type: ignore[attr-defined]
        begun = select(func.max(table.first_sequence)).where(
            table.run_key == run_key, table.first_sequence <= after + 1
        )
        return read(self, connection, run_key, (connection.scalar(begun) or 1) - 1)

    init = LogReader.__init__

    def remember(self: LogReader, tables: Any) -> None:
        init(self, tables)
        self._mutant_events = tables.events.c  # type: ignore[attr-defined]

    LogReader.__init__ = remember  # type: ignore[method-assign]
    LogReader._events = events  # type: ignore[method-assign]


def forget_the_reservation() -> None:
    """The end of a run whose owner died has the number behind what is stored, whatever the owner had told."""
    interrupt = Recovery.interrupt

    async def at_once(self: Recovery, orphan: Orphan) -> None:
        last = 0
        while (page := await self._store.runs.log(orphan.record.run, last)) is not None and page.events:
            last = page.events[-1].sequence
        await interrupt(self, replace(orphan, sequence_reserved=last))

    Recovery.interrupt = at_once  # type: ignore[method-assign]


def tell_the_end_before_it_is_stored() -> None:
    """Who follows a run is told how it ended, and then that is stored."""
    end = Executor._end

    async def told(self: Executor, run: Run) -> None:
        run.finished()
        await asyncio.sleep(COMMIT_DELAY_S)
        await end(self, run)

    Executor._end = told  # type: ignore[method-assign]


def forget_what_was_said() -> None:
    """A run whose owner died has said nothing."""

    async def nothing(self: Recovery, run: str, said: Any) -> Any:
        return said, []

    Recovery._read = nothing  # type: ignore[method-assign]


def let_nobody_wait() -> None:
    """Runs of a session execute as they come."""

    def live(self: Queues, connection: Connection, session_keys: Any) -> Mapping[int, Any]:
        return {}

    Queues.live = live  # type: ignore[method-assign]


def mutants() -> Iterator[Callable[[], None]]:
    """All of them."""
    yield from (
        drop_the_unique_key,
        acknowledge_before_the_commit,
        ignore_the_attempt,
        swallow_a_cancel,
        deliver_a_batch_twice,
        forget_the_reservation,
        tell_the_end_before_it_is_stored,
        forget_what_was_said,
        let_nobody_wait,
    )


if __name__ == "__main__":
    {each.__name__: each for each in mutants()}[os.environ.pop(VARIABLE)]()
    main()
