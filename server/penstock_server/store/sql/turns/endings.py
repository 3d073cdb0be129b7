"""Runs that end: the status, the rest of the log, and the assistant's message."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, bindparam, delete, update

from penstock_server.errors import DEFECT_MESSAGE, Defect, Failure
from penstock_server.runs.events import RunStatus
from penstock_server.store.records import Ending, Role
from penstock_server.store.sql import documents
from penstock_server.store.sql.database import Dialect
from penstock_server.store.sql.keys import to_us
from penstock_server.store.sql.schema import Tables
from penstock_server.store.sql.turns.logs import Logs
from penstock_server.store.sql.turns.runlocks import LockedRun
from penstock_server.store.sql.turns.said import Said
from penstock_server.store.sql.turns.sessionlocks import Locked


class Endings:
    """Writes batches of endings."""

    def __init__(self, tables: Tables, dialect: Dialect, logs: Logs) -> None:
        runs = tables.runs
        self._channel = tables.channel
        self._dialect = dialect
        self._logs = logs
        self._delete = delete(runs).where(runs.c.run_key.in_(bindparam("keys", expanding=True)))
        self._update = (
            update(runs)
            .where(runs.c.run_key == bindparam("key"))
            .values(
                {
                    name: bindparam(f"new_{name}")
                    for name in (
                        "status", "outputs", "nodes", "error", "input_tokens", "output_tokens", "start_time_us",
                        "end_time_us", "flushed_sequence", "last_sequence",
                    )
                }
            )
        )  # fmt: skip

    def write(
        self,
        connection: Connection,
        endings: Sequence[Ending],
        runs: Mapping[int, LockedRun],
        sessions: Mapping[str, Locked],
    ) -> tuple[list[bool], list[Said]]:
        """Writes endings in one transaction, but for the answers: it returns them for the caller to add.

        A run that was erased stays so, and so does a session. A run whose question was deleted goes, too. A run that
        has ended, or that another attempt executes, keeps what it has: the same ending may have been committed before.

        Args:
            runs: the runs that exist, locked.
            sessions: the sessions that exist, locked. The caller writes them back.

        Returns:
            Whether each run ended so, and the answers.
        """
        ours: list[tuple[LockedRun, Ending]] = []
        outcomes: list[bool] = []
        for each in endings:
            run = runs.get(each.accepted.run_key)
            if run is not None and run.executed_by(each.accepted):
                _end(run, each)
                ours.append((run, each))
            outcomes.append(run is not None and _ended_so(run, each))
        kept = [(run, each) for run, each in ours if not run.forgotten]
        self._logs.add(connection, [(run, each.events) for run, each in kept])
        if kept:
            connection.execute(self._update, [_changes(run, each) for run, each in kept])
        if len(kept) < len(ours):
            self._remove(connection, [run.run_key for run, _ in ours if run.forgotten])
        if any(run.watched or run.awaited for run, _ in ours):
            self._dialect.notify(connection, self._channel)
        return outcomes, list(_answers([each for _, each in kept], sessions))

    def _remove(self, connection: Connection, run_keys: Collection[int]) -> None:
        connection.execute(self._delete, {"keys": run_keys})
        self._logs.remove(connection, run_keys)


def bare(ending: Ending, cause: Exception) -> Ending:
    """The ending without all that can be long: what is left when the database does not take it otherwise.

    A run that has succeeded has not, if nobody is ever to see what it said.
    """
    failure = cause if isinstance(cause, Failure) else Defect(DEFECT_MESSAGE, metadata={"incident": ending.run})
    failure.metadata["run"] = ending.run
    nodes = (replace(node, inputs={}, output=None, error=None, logs="") for node in ending.nodes)
    ended = replace(ending, outputs={}, nodes=tuple(nodes), events=())
    if ending.status is not RunStatus.SUCCEEDED:
        return ended
    return replace(ended, status=RunStatus.FAILED, error=failure)


def _end(run: LockedRun, ending: Ending) -> None:
    run.status = ending.status
    run.end_time_us = to_us(ending.end_time)
    run.last_sequence = ending.last_sequence


def _ended_so(run: LockedRun, ending: Ending) -> bool:
    return (run.attempt, run.status, run.end_time_us, run.last_sequence) == (
        ending.accepted.attempt,
        ending.status,
        to_us(ending.end_time),
        ending.last_sequence,
    )


def _answers(endings: Sequence[Ending], sessions: Mapping[str, Locked]) -> Iterator[Said]:
    for each in endings:
        session = sessions.get(each.session)
        if each.accepted.turn and session is not None and session.session_key == each.accepted.session_key:
            session.answer(to_us(each.end_time))
            yield _answer(each, session)


def _changes(run: LockedRun, ending: Ending) -> dict[str, Any]:
    return {
        "key": run.run_key,
        "new_status": ending.status.value,
        "new_outputs": None if ending.accepted.turn else documents.dump(ending.outputs),
        "new_nodes": documents.dump_nodes(ending.nodes),
        "new_error": documents.dump_error(ending.error),
        "new_input_tokens": ending.input_tokens,
        "new_output_tokens": ending.output_tokens,
        "new_start_time_us": None if ending.start_time is None else to_us(ending.start_time),
        "new_end_time_us": run.end_time_us,
        "new_flushed_sequence": run.flushed_sequence,
        "new_last_sequence": run.last_sequence,
    }


def _answer(ending: Ending, session: Locked) -> Said:
    return Said(
        session=session.session,
        session_key=session.session_key,
        user=session.user,
        turn=ending.accepted.turn,
        role=Role.ASSISTANT,
        run=ending.run,
        flow=ending.flow,
        status=ending.status,
        text_of=ending.text_of,
        content=ending.outputs,
        input_tokens=ending.input_tokens,
        output_tokens=ending.output_tokens,
        time_us=to_us(ending.end_time),
    )
