"""Stored runs, read whole."""

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, bindparam, select

from penstock_server.runs.events import RunStatus
from penstock_server.store.records import Role, RunRecord
from penstock_server.store.sql import documents
from penstock_server.store.sql.keys import from_us
from penstock_server.store.sql.schema import Tables


class RunRecords:
    """Reads runs. What a turn's messages hold is read from them: nothing that was said is stored twice."""

    def __init__(self, tables: Tables) -> None:
        runs, messages = tables.runs, tables.messages
        self._run = select(runs).where(runs.c.run == bindparam("of_run"))
        self._said = select(messages.c.role, messages.c.content).where(
            messages.c.session_key == bindparam("of_session"), messages.c.turn == bindparam("of_turn")
        )

    def get(self, connection: Connection, run: str) -> RunRecord | None:
        """The run of this id."""
        row = connection.execute(self._run, {"of_run": run}).one_or_none()
        return None if row is None else self.read(connection, row)

    def read(self, connection: Connection, row: Any) -> RunRecord:
        """The run of a row of the runs' table, with what its messages hold."""
        said: dict[int, str] = {}
        if row.turn > 0:
            turn = {"of_session": row.session_key, "of_turn": row.turn}
            said = {each.role: each.content for each in connection.execute(self._said, turn)}
        return replace(
            record(row),
            inputs=documents.load(row.inputs or said.get(Role.USER)),
            outputs=documents.load(row.outputs or said.get(Role.ASSISTANT)),
            nodes=documents.load_nodes(row.nodes),
        )


def record(row: Any) -> RunRecord:
    """The run of a row, without inputs, outputs and nodes."""
    return RunRecord(
        run=row.run,
        flow=row.flow,
        session=row.session,
        user=row.user,
        status=RunStatus(row.status),
        inputs={},
        outputs={},
        error=documents.load_error(row.error),
        nodes=(),
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        create_time=from_us(row.create_time_us),
        start_time=None if row.start_time_us is None else from_us(row.start_time_us),
        end_time=None if row.end_time_us is None else from_us(row.end_time_us),
        snapshot=row.snapshot,
    )
