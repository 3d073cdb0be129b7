"""The sessions that a batch of turns writes to: found or made, and locked until the transaction ends.

Every transaction that writes turns locks in one order, so that none waits for another in a circle: idempotency keys,
then the sessions that it makes, then those that there are, both by their ids, then runs. One that is being made is not
there for others yet, so nobody waits for it who has locked another. SQLite has a single writer, which needs no locks.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, UniqueConstraint, bindparam, insert, select, update

from penstock_server.store.sql.database import Collided, Dialect
from penstock_server.store.sql.schema import Tables

TITLE_CHARS_MAX = 80
"""How much of its first question becomes a session's title."""


@dataclass(slots=True, kw_only=True)
class Locked:
    """A session that is locked, as it will stand when the batch is committed."""

    session: str
    session_key: int
    user: str
    flow: str
    title: str = ""
    last_turn: int = 0
    added: int = 0
    """How many messages the batch adds."""
    time_us: int
    """When the last of them was said."""
    is_new: bool = False

    def add(self, time_us: int) -> int:
        """Adds a message that begins a turn; returns the turn."""
        self.last_turn += 1
        self.answer(time_us)
        return self.last_turn

    def answer(self, time_us: int) -> None:
        """Adds a message to a turn."""
        self.added += 1
        self.time_us = max(self.time_us, time_us)


class SessionLocks:
    """Locks sessions and writes them back."""

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        table, columns = tables.sessions, tables.sessions.c
        (ids,) = (each for each in table.constraints if isinstance(each, UniqueConstraint))
        among = columns.session.in_(bindparam("sessions", expanding=True))
        self._key = select(columns.session, columns.session_key).where(among)
        self._find = (
            select(columns.session, columns.session_key, columns.user, columns.flow, columns.title, columns.last_turn)
            .where(among)
            .order_by(columns.session)
            .with_for_update()
            .with_hint(table, f"FORCE INDEX ({ids.name})", "mysql")  # which else locks as it finds, and sorts later
        )
        self._insert = insert(table)
        self._insert_new = dialect.insert_new(table)
        self._update = (
            update(table)
            .where(columns.session_key == bindparam("key"))
            .values(
                last_turn=bindparam("turn"),
                message_count=columns.message_count + bindparam("added"),
                update_time_us=bindparam("time_us"),
            )
        )

    def missing(self, connection: Connection, sessions: Collection[str]) -> set[str]:
        """Those of the sessions that do not exist."""
        if not sessions:
            return set()
        return {*sessions}.difference(self._keys(connection, sessions))

    def make(self, connection: Connection, new: Collection[Locked]) -> None:
        """Makes sessions. Raises Collided where others have made some by now: those are to be locked in order."""
        if not new:
            return
        made = {each.session: each.session_key for each in new}
        connection.execute(self._insert_new, [_row(each) for each in sorted(new, key=lambda each: each.session)])
        if self._keys(connection, made) != made:
            raise Collided

    def lock(self, connection: Connection, sessions: Collection[str]) -> dict[str, Locked]:
        """Those of the sessions that exist, by id."""
        if not sessions:
            return {}
        rows = connection.execute(self._find, {"sessions": sorted(sessions)})
        return {row.session: _locked(row) for row in rows}

    def _keys(self, connection: Connection, sessions: Collection[str]) -> dict[str, int]:
        """The keys of those of the sessions that exist."""
        rows = connection.execute(self._key, {"sessions": sorted(sessions)})
        return {row.session: row.session_key for row in rows}

    def write(self, connection: Connection, sessions: Collection[Locked]) -> None:
        """Writes back what the batch has changed."""
        made = [_row(session) for session in sessions if session.is_new]
        changed = [
            {"key": each.session_key, "turn": each.last_turn, "added": each.added, "time_us": each.time_us}
            for each in sessions
            if each.added and not each.is_new
        ]
        if made:
            connection.execute(self._insert, made)
        if changed:
            connection.execute(self._update, changed)


def title_of(question: object) -> str:
    """The title of a session that begins with this question: its first line, shortened."""
    text = question if isinstance(question, str) else ""
    line = next((line for line in map(str.strip, text.splitlines()) if line), "").replace("\0", "")
    return line if len(line) <= TITLE_CHARS_MAX else line[: TITLE_CHARS_MAX - 1].rstrip() + "…"


def _locked(row: Any) -> Locked:
    return Locked(
        session=row.session,
        session_key=row.session_key,
        user=row.user,
        flow=row.flow,
        title=row.title,
        last_turn=row.last_turn,
        time_us=0,
    )


def _row(session: Locked) -> dict[str, object]:
    return {
        "session_key": session.session_key,
        "session": session.session,
        "user": session.user,
        "flow": session.flow,
        "title": session.title,
        "metadata": "{}",
        "message_count": session.added,
        "last_turn": session.last_turn,
        "retention_days": 0,
        "create_time_us": session.time_us,
        "update_time_us": session.time_us,
    }
