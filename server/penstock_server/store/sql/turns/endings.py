"""Runs that end: the status, and the assistant's message."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from penstock_server.runs.events import RunStatus
from penstock_server.store.records import Ending, Role
from penstock_server.store.sql import documents
from penstock_server.store.sql.keys import to_us
from penstock_server.store.sql.schema import Tables
from penstock_server.store.sql.turns.said import Said
from penstock_server.store.sql.turns.sessionlocks import Locked


class Endings:
    """Writes batches of endings."""

    def __init__(self, tables: Tables) -> None:
        runs = tables.runs
        self._find = (
            select(runs.c.run_key, runs.c.attempt, runs.c.status)
            .where(runs.c.run_key.in_(bindparam("keys", expanding=True)))
            .order_by(runs.c.run_key)
            .with_for_update()
        )
        self._update = (
            update(runs)
            .where(runs.c.run_key == bindparam("key"))
            .values(
                {
                    name: bindparam(f"new_{name}")
                    for name in (
                        "status", "outputs", "nodes", "error", "input_tokens", "output_tokens", "start_time_us",
                        "end_time_us",
                    )
                }
            )
        )  # fmt: skip

    def write(self, connection: Connection, endings: Sequence[Ending], sessions: dict[str, Locked]) -> list[Said]:
        """Writes endings in one transaction, but for the answers: it returns them for the caller to add.

        A run that was erased stays so, and so does a session. A run that has ended, or that another attempt executes,
        keeps what it has: the same ending may have been committed before.

        Args:
            sessions: the sessions that exist, locked. The caller writes them back.
        """
        if not endings:
            return []
        rows = connection.execute(self._find, {"keys": sorted(each.accepted.run_key for each in endings)})
        open_runs = {row.run_key: row.attempt for row in rows if not RunStatus(row.status).terminal}
        ours = [each for each in endings if open_runs.get(each.accepted.run_key) == each.accepted.attempt]
        if not ours:
            return []
        connection.execute(self._update, [_changes(each) for each in ours])
        said = []
        for each in ours:
            session = sessions.get(each.session)
            if each.accepted.turn and session is not None and session.session_key == each.accepted.session_key:
                session.answer(to_us(each.end_time))
                said.append(_answer(each, session))
        return said


def _changes(ending: Ending) -> dict[str, Any]:
    return {
        "key": ending.accepted.run_key,
        "new_status": ending.status.value,
        "new_outputs": None if ending.accepted.turn else documents.dump(ending.outputs),
        "new_nodes": documents.dump_nodes(ending.nodes),
        "new_error": documents.dump_error(ending.error),
        "new_input_tokens": ending.input_tokens,
        "new_output_tokens": ending.output_tokens,
        "new_start_time_us": None if ending.start_time is None else to_us(ending.start_time),
        "new_end_time_us": to_us(ending.end_time),
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
