"""Removes what was said, in transactions of a few hundred rows.

A transaction locks sessions by their ids, then deletes runs, then messages: the order of `turns/sessionlocks.py`. The
one that finds the last of a session's messages deletes the session, too, while its lock keeps turns from being added.
So nothing is orphaned, and what was begun and cut off can be begun anew.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, delete, or_, select, update

from penstock_server.errors import SessionNotFound
from penstock_server.runs.events import RunStatus
from penstock_server.store.records import Erased, Role, Scope
from penstock_server.store.sql.database import Database
from penstock_server.store.sql.history.rows import find_session, reachable
from penstock_server.store.sql.schema import Tables, live, place
from penstock_server.store.sql.turns.logs import ROWS_WITH_RUNS_MAX, Logs

ROWS_MAX = 500
"""How many rows a transaction removes at most."""
SESSIONS_MAX = 100
MESSAGES_MAX = (ROWS_MAX - SESSIONS_MAX - ROWS_WITH_RUNS_MAX) // 3
"""With each message go its words and, at most, a run."""
RUNS_MAX = ROWS_MAX - ROWS_WITH_RUNS_MAX

Condition = ColumnElement[bool]
Said = Row[Any, Any, Any]
"""The key of a message, of its session, and the id of its run."""


class Batch(NamedTuple):
    """What one transaction has removed."""

    erased: Erased
    done: bool
    """Whether nothing is left of what was asked for."""


class Erasure:
    """Deletes sessions, messages, and all that a user has left."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database = database
        self._tables = tables
        self._logs = Logs(tables)

    async def session(self, session: str, scope: Scope) -> Erased:
        """Deletes a session with its messages and runs. Raises SessionNotFound."""
        erased = await self.sessions([session], *reachable(self._tables.sessions, scope))
        if not erased.sessions:
            raise SessionNotFound.of(session)
        return erased

    async def user(self, user: str) -> Erased:
        """Removes every session and run of a user, and those that are added meanwhile; from the disk, too."""
        erased = Erased()
        table = self._tables.sessions.c
        owned = table.user == user
        while True:
            while sessions := await self.first_sessions(table.session_key, owned):
                erased += await self.sessions(sessions, owned)
            runs = await self.runs(self._tables.runs.c.user == user)
            if not runs:
                break
            erased += Erased(runs=runs)
        # Always: the call that removed the last of it may have been cut off.
        await self._database.scrub(self._tables.search)
        return erased

    async def sessions(self, sessions: Sequence[str], *conditions: Condition) -> Erased:
        """Deletes those of the sessions that are so, once they are locked, with their messages and runs."""
        erased = Erased()
        while sessions:
            batch = await self._database.write(lambda connection: self._sessions(connection, sessions, conditions))
            erased += batch.erased
            if batch.done:
                break
        return erased

    async def messages(self, session: str, scope: Scope, wanted: Sequence[tuple[int, Role]] | None) -> int:
        """Deletes messages of a session by turn and role, or all of them, with their runs. Raises SessionNotFound."""
        conditions = [] if wanted is None else [self._any_of(wanted)]
        deleted = 0
        while True:
            batch = await self._database.write(
                lambda connection: self._messages(connection, session, scope, conditions)
            )
            deleted += batch.erased.messages
            if batch.done:
                return deleted

    async def runs(self, *conditions: Condition) -> int:
        """Deletes the runs that are so; returns how many there were."""
        deleted = 0
        while True:
            batch = await self._database.write(lambda connection: self._runs(connection, conditions))
            deleted += batch.erased.runs
            if batch.done:
                return deleted

    async def first_sessions(self, order: ColumnElement[Any], *conditions: Condition) -> list[str]:
        """The ids of sessions that are so, about as many as one transaction can delete; one at least, if there is."""
        sessions = self._tables.sessions.c
        statement = select(sessions.session, sessions.message_count).where(*conditions).order_by(order)
        found = await self._database.read(lambda connection: connection.execute(statement.limit(SESSIONS_MAX)).all())
        ids: list[str] = []
        messages = 0
        for row in found:
            messages += row.message_count
            if ids and messages >= MESSAGES_MAX:
                break
            ids.append(row.session)
        return ids

    def _sessions(self, connection: Connection, sessions: Sequence[str], conditions: Sequence[Condition]) -> Batch:
        table, messages = self._tables.sessions, self._tables.messages
        locked = (
            select(table.c.session_key)
            .where(table.c.session.in_(sorted(sessions)), *conditions)
            .order_by(table.c.session)
            .with_for_update()
        )
        keys = list(connection.scalars(locked))
        if not keys:
            return Batch(Erased(), True)
        said = self._said(connection, messages.c.session_key.in_(keys))
        done = len(said) < MESSAGES_MAX
        runs = self._runs_behind(connection, said)
        if done:
            runs |= self._live_runs(connection, keys)
        if self._logs.shorten(connection, runs, ROWS_MAX):
            return Batch(Erased(), False)
        self._remove(connection, said, runs)
        if done:
            connection.execute(delete(table).where(table.c.session_key.in_(keys)))
        else:
            self._count_down(connection, said)
        return Batch(Erased(sessions=len(keys) if done else 0, messages=len(said), runs=len(runs)), done)

    def _messages(self, connection: Connection, session: str, scope: Scope, conditions: Sequence[Condition]) -> Batch:
        owner = find_session(connection, self._tables.sessions, session, scope, lock=True)
        said = self._said(connection, self._tables.messages.c.session_key == owner.session_key, *conditions)
        runs = self._runs_behind(connection, said, self._tables.runs.c.status >= RunStatus.SUCCEEDED.value)
        if self._logs.shorten(connection, runs, ROWS_MAX):
            return Batch(Erased(), False)
        self._forget(connection, self._runs_behind(connection, said, live(self._tables.runs)))
        self._remove(connection, said, runs)
        self._count_down(connection, said)
        return Batch(Erased(messages=len(said), runs=len(runs)), len(said) < MESSAGES_MAX)

    def _said(self, connection: Connection, *conditions: Condition) -> Sequence[Said]:
        """The first messages that are so, as many as one transaction can delete."""
        messages = self._tables.messages.c
        statement = select(messages.message_key, messages.session_key, messages.run).where(*conditions)
        ordered = statement.order_by(messages.session_key, messages.turn, messages.role)
        return connection.execute(ordered.limit(MESSAGES_MAX)).all()

    def _runs_behind(self, connection: Connection, said: Sequence[Said], *conditions: Condition) -> set[int]:
        """The keys of the runs of these messages that are so."""
        runs = self._tables.runs.c
        ids = {message.run for message in said if message.run}
        if not ids:
            return set()
        return set(connection.scalars(select(runs.run_key).where(runs.run.in_(ids), *conditions)))

    def _forget(self, connection: Connection, live_runs: set[int]) -> None:
        """Live runs stay, because somebody waits for them, and go with their ends (`schema.forgotten`)."""
        if live_runs:
            runs = self._tables.runs
            connection.execute(
                update(runs).where(runs.c.run_key.in_(sorted(live_runs))).values(turn=-place(runs), inputs=None)
            )

    def _live_runs(self, connection: Connection, session_keys: Sequence[int]) -> set[int]:
        """The keys of the runs of these sessions that execute now: their messages may have been deleted before."""
        runs = self._tables.runs.c
        its = runs.session_key.in_(session_keys)
        return set(connection.scalars(select(runs.run_key).where(live(self._tables.runs), its)))

    def _remove(self, connection: Connection, said: Sequence[Said], runs: set[int]) -> None:
        self._remove_runs(connection, runs)
        if said:
            table = self._tables.messages
            keys = sorted(message.message_key for message in said)
            self._database.dialect.forget_words(connection, self._tables.search, keys)
            connection.execute(delete(table).where(table.c.message_key.in_(keys)))

    def _count_down(self, connection: Connection, said: Sequence[Said]) -> None:
        table = self._tables.sessions
        less = update(table).where(table.c.session_key == bindparam("of")).values(
            message_count=table.c.message_count - bindparam("deleted")
        )  # fmt: skip
        counts = Counter(message.session_key for message in said)
        if counts:
            connection.execute(less, [{"of": key, "deleted": count} for key, count in counts.items()])

    def _runs(self, connection: Connection, conditions: Sequence[Condition]) -> Batch:
        runs = self._tables.runs
        oldest = select(runs.c.run_key).where(*conditions).order_by(runs.c.run_key).limit(RUNS_MAX)
        keys = list(connection.scalars(oldest))
        if self._logs.shorten(connection, keys, ROWS_MAX):
            return Batch(Erased(), False)
        self._remove_runs(connection, keys)
        return Batch(Erased(runs=len(keys)), len(keys) < RUNS_MAX)

    def _remove_runs(self, connection: Connection, keys: Collection[int]) -> None:
        """Removes runs with their logs: these after the runs, for then nothing is added to them any more."""
        if keys:
            table = self._tables.runs
            connection.execute(delete(table).where(table.c.run_key.in_(sorted(keys))))
            self._logs.remove(connection, keys)

    def _any_of(self, wanted: Sequence[tuple[int, Role]]) -> Condition:
        messages = self._tables.messages.c
        turns = {role: {turn for turn, of in wanted if of is role} for role in Role}
        return or_(*(and_(messages.role == role.value, messages.turn.in_(turns[role])) for role in Role))
