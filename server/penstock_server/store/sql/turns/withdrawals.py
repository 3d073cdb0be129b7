"""Acceptances that are taken back: the caller was told that the database did not answer, and it may have committed."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, select, update

from penstock_server.runs.events import RunStatus
from penstock_server.store.sql.database import Dialect
from penstock_server.store.sql.schema import Tables
from penstock_server.store.sql.turns.logs import Logs
from penstock_server.store.sql.turns.sessionlocks import Locked


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """A run that was not acknowledged, and is not executed."""

    run: str
    session: str


class Withdrawals:
    """Removes runs as if they had never been accepted."""

    def __init__(self, tables: Tables, dialect: Dialect, logs: Logs) -> None:
        runs, messages, sessions = tables.runs, tables.messages, tables.sessions
        self._search = tables.search
        self._dialect = dialect
        self._logs = logs
        self._find = (
            select(runs.c.run_key, runs.c.session_key, runs.c.turn, messages.c.message_key)
            .join_from(
                runs,
                messages,
                (messages.c.session_key == runs.c.session_key) & (messages.c.turn == runs.c.turn),
                isouter=True,
            )
            .where(runs.c.run == bindparam("of_run"), runs.c.status < RunStatus.SUCCEEDED.value)
        )
        self._delete_run = delete(runs).where(runs.c.run_key == bindparam("key"))
        self._delete_message = delete(messages).where(messages.c.message_key == bindparam("key"))
        self._uncount = (
            update(sessions)
            .where(sessions.c.session_key == bindparam("key"))
            .values(message_count=sessions.c.message_count - 1)
        )
        self._delete_session = delete(sessions).where(sessions.c.session_key == bindparam("key"))

    def write(self, connection: Connection, withdrawals: Sequence[Withdrawal], sessions: dict[str, Locked]) -> None:
        """Removes runs; those that were never committed are not there.

        Args:
            sessions: the sessions that exist, locked; one that nothing else made is removed.
        """
        for each in withdrawals:
            row = connection.execute(self._find, {"of_run": each.run}).one_or_none()
            if row is None:
                continue
            connection.execute(self._delete_run, {"key": row.run_key})
            self._logs.remove(connection, [row.run_key])
            if row.message_key is None:
                continue
            self._dialect.forget_words(connection, self._search, [row.message_key])
            connection.execute(self._delete_message, {"key": row.message_key})
            session = sessions[each.session]
            alone = session.last_turn == row.turn == 1
            connection.execute(self._delete_session if alone else self._uncount, {"key": row.session_key})
            if alone:
                del sessions[each.session]
