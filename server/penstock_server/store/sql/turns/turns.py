"""Runs and their turns, written in groups (see `store.Turns`)."""

import asyncio
from collections.abc import Sequence

from sqlalchemy import Connection

from penstock_server.errors import Failure, StoreUnavailable
from penstock_server.store.records import Acceptance, Accepted, Ending, RunRecord
from penstock_server.store.sql.database import Database
from penstock_server.store.sql.keys import Keys
from penstock_server.store.sql.schema import Tables
from penstock_server.store.sql.turns.acceptances import Acceptances
from penstock_server.store.sql.turns.endings import Endings
from penstock_server.store.sql.turns.groupcommit import GroupCommit
from penstock_server.store.sql.turns.interruptions import RUNS_MAX, Interruptions
from penstock_server.store.sql.turns.runrecords import RunRecords
from penstock_server.store.sql.turns.said import Sayings
from penstock_server.store.sql.turns.sessionlocks import SessionLocks
from penstock_server.store.sql.turns.withdrawals import Withdrawal, Withdrawals

PATIENCE_S = 0.8
"""How long a caller is kept waiting for a database that does not answer. It should know within a second."""
TRIED_S = 60.0
"""How long an ending is tried: what a flow has done is worth more patience than a caller has."""
CLOSE_S = 5.0
"""How long a stopping server waits for writes under way."""

Write = Acceptance | Ending | Withdrawal
Outcome = Accepted | RunRecord | None


class SqlTurns:
    """Writes runs and turns.

    Args:
        instance: who executes the runs.
        idempotency_window_s: how long an idempotency key is kept.
    """

    def __init__(self, database: Database, tables: Tables, *, instance: str, idempotency_window_s: float) -> None:
        keys = Keys()
        self._database = database
        self._instance = instance
        self._records = RunRecords(tables)
        self._locks = SessionLocks(tables, database.dialect)
        self._sayings = Sayings(tables, database.dialect, keys)
        self._endings = Endings(tables)
        self._acceptances = Acceptances(
            tables, database.dialect, keys, instance=instance, idempotency_window_s=idempotency_window_s
        )
        self._withdrawals = Withdrawals(tables, database.dialect)
        self._interruptions = Interruptions(tables, self._locks, self._endings, self._sayings)
        self._commits: GroupCommit[Write, Outcome] = GroupCommit(database, self._write)

    async def accept(self, acceptance: Acceptance) -> Accepted | RunRecord:
        """See `store.Turns`."""
        pending = self._commits.submit(acceptance, patience_s=PATIENCE_S, tried_s=PATIENCE_S)
        try:
            outcome = await asyncio.shield(pending.committed)
        except (asyncio.CancelledError, StoreUnavailable):
            pending.when_over(lambda outcome: self._withdraw(acceptance, outcome))
            raise
        assert outcome is not None  # noqa: S101 - acceptances come to something
        return outcome

    async def finish(self, ending: Ending) -> None:
        """See `store.Turns`."""
        await asyncio.shield(self._commits.submit(ending, patience_s=PATIENCE_S, tried_s=TRIED_S).committed)

    async def run(self, run: str) -> RunRecord | None:
        """See `store.Turns`."""
        return await self._database.read(lambda connection: self._records.get(connection, run))

    async def interrupt_others(self) -> int:
        """Ends every live run of other instances as INTERRUPTED; for a database that only one instance uses."""
        ended = 0
        while found := await self._database.write(lambda each: self._interruptions.write(each, self._instance)):
            ended += found
            if found < RUNS_MAX:
                break
        return ended

    async def close(self) -> None:
        """Waits for the writes under way."""
        await self._commits.close(CLOSE_S)

    def _withdraw(self, acceptance: Acceptance, outcome: Outcome | Exception) -> None:
        """Nobody was told of the run. It is taken back if it was committed, or if that is not known."""
        if isinstance(outcome, (StoreUnavailable, Accepted)):
            withdrawal = Withdrawal(run=acceptance.run, session=acceptance.session)
            self._commits.submit(withdrawal, patience_s=TRIED_S, tried_s=TRIED_S)

    def _write(self, connection: Connection, writes: Sequence[Write], repeated: bool) -> Sequence[Outcome | Failure]:
        """One transaction. It locks in the order of `sessionlocks.py`."""
        acceptances = [each for each in writes if isinstance(each, Acceptance)]
        endings = [each for each in writes if isinstance(each, Ending)]
        withdrawals = [each for each in writes if isinstance(each, Withdrawal)]
        batch = self._acceptances.claim(connection, acceptances, repeated=repeated)
        sessions = self._locks.lock(connection, _named(batch.undecided(acceptances), endings, withdrawals))
        answers = self._endings.write(connection, endings, sessions)
        self._withdrawals.write(connection, withdrawals, sessions)
        accepted = iter(self._acceptances.write(connection, acceptances, batch, sessions))
        self._sayings.add(connection, [*answers, *batch.said])
        self._locks.write(connection, sessions.values())
        return [next(accepted) if isinstance(each, Acceptance) else None for each in writes]


def _named(acceptances: Sequence[Acceptance], endings: Sequence[Ending], withdrawals: Sequence[Withdrawal]) -> set[str]:
    """The sessions that may exist already."""
    return {
        *(each.session for each in acceptances if not each.session_is_new),
        *(each.session for each in endings if each.accepted.turn),
        *(each.session for each in withdrawals),
    }
