"""Runs and their turns, written in groups (see `store.Turns`)."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from penstock_server.errors import Failure, StoreUnavailable
from penstock_server.runs.events import RunStatus
from penstock_server.store.records import Acceptance, Accepted, Appending, Ending, RunRecord, Start
from penstock_server.store.sql.database import Database
from penstock_server.store.sql.keys import Keys
from penstock_server.store.sql.schema import Tables
from penstock_server.store.sql.turns.acceptances import Acceptances
from penstock_server.store.sql.turns.appends import Appends
from penstock_server.store.sql.turns.endings import Endings, bare
from penstock_server.store.sql.turns.groupcommit import GroupCommit, Pending
from penstock_server.store.sql.turns.logs import Logs
from penstock_server.store.sql.turns.queues import Queues
from penstock_server.store.sql.turns.rounds import Rounds
from penstock_server.store.sql.turns.runlocks import RunLocks
from penstock_server.store.sql.turns.said import Sayings
from penstock_server.store.sql.turns.sessionlocks import SessionLocks
from penstock_server.store.sql.turns.starts import Starts
from penstock_server.store.sql.turns.withdrawals import Withdrawal, Withdrawals

logger = logging.getLogger("penstock.store")

PATIENCE_S = 0.8
"""How long a caller is kept waiting for a database that does not answer. It should know within a second."""
TRIED_S = 60.0
"""How long an ending is tried: what a flow has done is worth more patience than a caller has."""
BARE_TRIED_S = 3600.0
"""How long the ending of a run is tried whose answer the database has not taken. It needs next to no memory."""
APPENDINGS_MAX = 256
"""How many logs one transaction adds to."""
CLOSE_S = 5.0
"""How long a stopping server waits for writes under way."""

Write = Acceptance | Start | Ending | Withdrawal
Outcome = Accepted | RunRecord | bool | None


class SqlTurns:
    """Writes runs and turns.

    Args:
        instance: who executes the runs.
        idempotency_window_s: how long an idempotency key is kept.
    """

    def __init__(self, database: Database, tables: Tables, *, instance: str, idempotency_window_s: float) -> None:
        dialect, keys, logs = database.dialect, Keys(), Logs(tables)
        queues = Queues(tables)
        self._run_locks = RunLocks(tables, dialect)
        self._session_locks = SessionLocks(tables, dialect)
        self._sayings = Sayings(tables, dialect, keys)
        self._rounds = Rounds(tables)
        self._starts = Starts(tables, queues)
        self._endings = Endings(tables, dialect, logs)
        self._acceptances = Acceptances(
            tables, dialect, keys, queues, instance=instance, idempotency_window_s=idempotency_window_s
        )
        self._withdrawals = Withdrawals(tables, dialect, logs)
        self._commits: GroupCommit[Write, Outcome] = GroupCommit(database, self._write)
        appends = Appends(tables, dialect, self._run_locks, logs)
        # Turns do not wait behind logs, of which there is more.
        self._appends: GroupCommit[Appending, bool] = GroupCommit(database, appends.write, group_max=APPENDINGS_MAX)

    async def accept(self, acceptance: Acceptance) -> Accepted | RunRecord:
        """See `store.Turns`."""
        pending = self._commits.submit(acceptance, patience_s=PATIENCE_S, tried_s=PATIENCE_S)
        try:
            outcome = await asyncio.shield(pending.committed)
        except (asyncio.CancelledError, StoreUnavailable):
            pending.when_over(lambda outcome: self._withdraw(acceptance, outcome, unsure=pending.unsure))
            raise
        assert isinstance(outcome, Accepted | RunRecord)  # noqa: S101 - what acceptances come to
        return outcome

    async def start(self, start: Start) -> Accepted | None:
        """See `store.Turns`."""
        pending = self._commits.submit(start, patience_s=PATIENCE_S, tried_s=PATIENCE_S)
        outcome = await asyncio.shield(pending.committed)
        assert outcome is None or isinstance(outcome, Accepted)  # noqa: S101 - what starts come to
        return outcome

    async def append(self, appending: Appending) -> bool:
        """See `store.Turns`."""
        pending = self._appends.submit(appending, patience_s=PATIENCE_S, tried_s=PATIENCE_S)
        return await asyncio.shield(pending.committed)

    async def finish(self, ending: Ending) -> bool:
        """See `store.Turns`."""
        pending = self._commits.submit(ending, patience_s=PATIENCE_S, tried_s=TRIED_S)
        try:
            return bool(await asyncio.shield(pending.committed))
        except (asyncio.CancelledError, StoreUnavailable):
            pending.when_over(lambda outcome: self._end_at_least(ending, outcome))
            raise
        except Exception as error:
            await asyncio.shield(self._end_bare(ending, error).committed)
            return False

    async def close(self) -> None:
        """Waits for the writes under way."""
        await asyncio.gather(self._appends.close(CLOSE_S), self._commits.close(CLOSE_S))

    def _end_at_least(self, ending: Ending, outcome: Outcome | Exception) -> None:
        if isinstance(outcome, Exception):
            self._end_bare(ending, outcome)

    def _end_bare(self, ending: Ending, cause: Exception) -> Pending[Write, Outcome]:
        """What a run has said cannot be stored: at least it ends. Else its session would wait for it for ever."""
        logger.error("run %s ends without what it has said, which cannot be stored: %s", ending.run, cause)
        pending = self._commits.submit(bare(ending, cause), patience_s=PATIENCE_S, tried_s=BARE_TRIED_S)
        pending.when_over(lambda outcome: _log_failure(f"how run {ending.run} ended was not stored", outcome))
        return pending

    def _withdraw(self, acceptance: Acceptance, outcome: Outcome | Exception, *, unsure: bool) -> None:
        """Nobody was told of the run. It is taken back if it was committed, or if that is not known."""
        if isinstance(outcome, Accepted) or (isinstance(outcome, StoreUnavailable) and unsure):
            withdrawal = Withdrawal(run=acceptance.run, session=acceptance.session)
            pending = self._commits.submit(withdrawal, patience_s=TRIED_S, tried_s=TRIED_S)
            text = f"run {acceptance.run}, of which its caller was not told, may not have been taken back"
            pending.when_over(lambda outcome: _log_failure(text, outcome))

    def _write(self, connection: Connection, writes: Sequence[Write], repeated: bool) -> Sequence[Outcome | Failure]:
        """One transaction. It locks in the order of `sessionlocks.py`."""
        acceptances = [each for each in writes if isinstance(each, Acceptance)]
        starts = [each for each in writes if isinstance(each, Start)]
        endings = [each for each in writes if isinstance(each, Ending)]
        withdrawals = [each for each in writes if isinstance(each, Withdrawal)]
        batch = self._acceptances.claim(connection, acceptances, repeated=repeated)
        self._acceptances.make_sessions(connection, acceptances, batch)
        sessions = self._session_locks.lock(connection, _named(batch.undecided(acceptances), endings, withdrawals))
        interrupted = self._acceptances.interrupted(connection, acceptances, batch, sessions)
        runs = self._run_locks.lock(connection, interrupted | _executed(starts, endings))
        ended, answers = self._endings.write(connection, endings, runs, sessions)
        started = self._starts.write(connection, starts, runs)
        self._withdrawals.write(connection, withdrawals, sessions)
        accepted = self._acceptances.write(connection, acceptances, batch, sessions)
        self._sayings.add(connection, [*answers, *batch.said])
        self._session_locks.write(connection, sessions.values())
        outcomes = {Acceptance: iter(accepted), Start: iter(started), Ending: iter(ended)}
        return [
            None if isinstance(each, Withdrawal) else self._with_rounds(connection, each, next(outcomes[type(each)]))
            for each in writes
        ]

    def _with_rounds(self, connection: Connection, write: Write, outcome: Outcome | Failure) -> Outcome | Failure:
        """A run that begins is told the rounds before it: those, too, that this transaction has completed."""
        if not isinstance(outcome, Accepted) or outcome.status is not RunStatus.RUNNING:
            return outcome
        rounds = self._rounds.before(connection, outcome, _rounds_max(write))
        return replace(outcome, rounds=rounds) if rounds else outcome


def _log_failure(what: str, outcome: Outcome | Exception) -> None:
    if isinstance(outcome, Exception):
        logger.error("%s: %s", what, outcome)


def _rounds_max(write: Write) -> int:
    if isinstance(write, Start):
        return write.history_rounds_max
    return write.question.history_rounds_max if isinstance(write, Acceptance) and write.question else 0


def _executed(starts: Sequence[Start], endings: Sequence[Ending]) -> set[int]:
    """The keys of the runs that begin or end."""
    return {*(each.accepted.run_key for each in starts), *(each.accepted.run_key for each in endings)}


def _named(acceptances: Sequence[Acceptance], endings: Sequence[Ending], withdrawals: Sequence[Withdrawal]) -> set[str]:
    """The sessions that may exist already."""
    return {
        *(each.session for each in acceptances if not each.session_is_new),
        *(each.session for each in endings if each.accepted.turn),
        *(each.session for each in withdrawals),
    }
