"""The completed rounds of a session."""

from sqlalchemy import Connection, bindparam, select

from penstock_server.runs.events import RunStatus
from penstock_server.store.records import Accepted, Role, Round
from penstock_server.store.sql import documents
from penstock_server.store.sql.schema import Tables


class Rounds:
    """Reads what a run is told of its session: a range of the index, however long the session is."""

    def __init__(self, tables: Tables) -> None:
        question, answer = tables.messages.alias("question"), tables.messages.alias("answer")
        self._latest = (
            select(
                question.c.content.label("inputs"),
                question.c.text_of.label("question_of"),
                answer.c.content.label("outputs"),
                answer.c.text_of.label("answer_of"),
                answer.c.flow,
            )
            .join_from(
                answer,
                question,
                (question.c.session_key == answer.c.session_key)
                & (question.c.turn == answer.c.turn)
                & (question.c.role == Role.USER.value),
            )
            .where(
                answer.c.session_key == bindparam("session_key"),
                answer.c.role == Role.ASSISTANT.value,
                answer.c.status == RunStatus.SUCCEEDED.value,
            )
            .order_by(answer.c.turn.desc())
            .limit(bindparam("rounds_max"))
        )

    def before(self, connection: Connection, accepted: Accepted, rounds_max: int) -> list[Round]:
        """The rounds that a run is told when it begins."""
        if not accepted.session_key or accepted.turn == 1 or not rounds_max:  # the first turn follows nothing
            return []
        return self.latest(connection, accepted.session_key, rounds_max)

    def latest(self, connection: Connection, session_key: int, rounds_max: int) -> list[Round]:
        """The latest rounds whose runs succeeded, the oldest first."""
        rows = connection.execute(self._latest, {"session_key": session_key, "rounds_max": rounds_max}).all()
        return [
            Round(
                flow=row.flow,
                inputs=documents.load(row.inputs),
                outputs=documents.load(row.outputs),
                question_of=row.question_of,
                answer_of=row.answer_of,
            )
            for row in reversed(rows)
        ]
