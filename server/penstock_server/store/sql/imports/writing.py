"""Sessions and messages that come from elsewhere.

A message is what its session, its turn and its role say: one that is there already is left as it is. So the same import
may be made twice, and one that was cut short may be made again.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Integer, and_, bindparam, case, or_, select, update

from penstock_server.history.importing.entries import Entry, EntryRefused, ImportedMessage, ImportedSession, Written
from penstock_server.store.records import JsonObject, Role
from penstock_server.store.sql import documents
from penstock_server.store.sql.database import Database
from penstock_server.store.sql.keys import TIME_US_MAX, SpreadKeys, from_us, to_us
from penstock_server.store.sql.schema import Tables
from penstock_server.store.sql.turns.said import Said, Sayings
from penstock_server.store.sql.turns.sessionlocks import Locked, SessionLocks, title_of

Place = tuple[int, int, int]
"""Where a message is: its session's key, its turn, its role."""


class Imports:
    """Writes imported entries, a batch in one transaction."""

    def __init__(self, database: Database, tables: Tables) -> None:
        sessions, messages = tables.sessions.c, tables.messages.c
        last_turn, time_us = bindparam("turn", type_=Integer()), bindparam("time_us", type_=BigInteger())
        self._database = database
        self._keys = SpreadKeys()
        self._locks = SessionLocks(tables, database.dialect)
        self._sayings = Sayings(tables, database.dialect, self._keys)
        self._insert_sessions = database.dialect.insert_new(tables.sessions)
        self._look = select(sessions.session, sessions.session_key, sessions.user).where(
            sessions.session.in_(bindparam("sessions", expanding=True))
        )
        self._messages = messages
        self._find = select(messages.session_key, messages.turn, messages.role, messages.content)
        self._update = (
            update(tables.sessions)
            .where(sessions.session_key == bindparam("key"))
            .values(
                message_count=sessions.message_count + bindparam("added"),
                last_turn=_larger(sessions.last_turn, last_turn),
                update_time_us=_larger(sessions.update_time_us, time_us),
            )
        )

    async def write(self, entries: Sequence[Entry]) -> Written:
        """Adds what is not there yet. Raises StoreUnavailable."""
        return await self._database.write(lambda connection: self._write(connection, entries))

    async def rehearse(self, entries: Sequence[Entry]) -> Written:
        """What `write` would tell, without writing. Raises StoreUnavailable."""
        return await self._database.read(lambda connection: self._rehearse(connection, entries))

    def _write(self, connection: Connection, entries: Sequence[Entry]) -> Written:
        names = {each.session for each in entries}
        found = self._locks.lock(connection, names)
        refused, accepted = _sorted_out(entries, found)
        new = _new_sessions(accepted, found)
        if new:
            rows = [{"session_key": self._keys.next(row["create_time_us"]), **row} for row in new.values()]
            connection.execute(self._insert_sessions, rows)
            found = self._locks.lock(connection, names)
            late, accepted = _sorted_out(accepted, found)  # another may have made one of them just now
            refused += late
        plan = self._plan(connection, accepted, found)
        self._sayings.add(connection, plan.new)
        changes = plan.changes()
        if changes:
            connection.execute(self._update, changes)
        return plan.written(new, refused)

    def _rehearse(self, connection: Connection, entries: Sequence[Entry]) -> Written:
        rows = connection.execute(self._look, {"sessions": [each.session for each in entries]})
        found = {row.session: _seen(row.session, row.session_key, row.user) for row in rows}
        refused, accepted = _sorted_out(entries, found)
        new = _new_sessions(accepted, found)
        missing = {name: _seen(name, -number, row["user"]) for number, (name, row) in enumerate(new.items(), start=1)}
        late, accepted = _sorted_out(accepted, missing)
        return self._plan(connection, accepted, found | missing).written(new, [*refused, *late])

    def _plan(self, connection: Connection, entries: Iterable[Entry], found: Mapping[str, Locked]) -> "_Plan":
        messages = [each for each in entries if isinstance(each, ImportedMessage)]
        rows = connection.execute(self._find.where(self._among(messages, found))) if messages else ()
        plan = _Plan({(row.session_key, row.turn, row.role): documents.load(row.content) for row in rows})
        for each in messages:
            plan.add(each, found[each.session])
        return plan

    def _among(self, messages: Iterable[ImportedMessage], found: Mapping[str, Locked]) -> ColumnElement[bool]:
        """What holds for messages in the same places. Ranges, for SQLite uses no index for a list of pairs."""
        turns: dict[int, list[int]] = {}
        for each in messages:
            turns.setdefault(found[each.session].session_key, []).append(each.turn)
        columns = self._messages
        return or_(
            *(
                and_(columns.session_key == key, columns.turn.between(min(each), max(each)))
                for key, each in turns.items()
            )
        )


class _Plan:
    """What becomes of the messages of a batch.

    Args:
        present: the content of the messages that are there.
    """

    def __init__(self, present: dict[Place, JsonObject]) -> None:
        self.new: list[Said] = []
        self._contents = present
        self._present = 0
        self._refused: list[EntryRefused] = []

    def add(self, message: ImportedMessage, session: Locked) -> None:
        """Decides about a message."""
        place = (session.session_key, message.turn, message.role.value)
        if place not in self._contents:
            self._contents[place] = message.content
            self.new.append(_said(message, session))
        elif self._contents[place] == message.content:
            self._present += 1
        else:
            self._refused.append(
                EntryRefused(
                    f"{message.place}: session {message.session} holds something else as turn {message.turn}, "
                    f"{message.role.name}"
                )
            )

    def changes(self) -> list[dict[str, int]]:
        """What changes in the sessions, by rising keys."""
        by_session: dict[int, list[Said]] = {}
        for said in self.new:
            by_session.setdefault(said.session_key, []).append(said)
        return [
            {
                "key": key,
                "added": len(added),
                "turn": max(each.turn for each in added),
                "time_us": max(each.time_us for each in added),
            }
            for key, added in sorted(by_session.items())
        ]

    def written(self, sessions: Iterable[str], refused: Iterable[EntryRefused]) -> Written:
        """What came of the batch."""
        return Written(
            sessions=tuple(sessions),
            messages=len(self.new),
            present=self._present,
            refused=(*refused, *self._refused),
        )


def _sorted_out(entries: Iterable[Entry], found: Mapping[str, Locked]) -> tuple[list[EntryRefused], list[Entry]]:
    """The entries that can be nothing of ours, and the others."""
    refused: list[EntryRefused] = []
    accepted: list[Entry] = []
    for each in entries:
        session = found.get(each.session)
        if session is not None and session.user != each.user:
            refused.append(EntryRefused(f"{each.place}: session {each.session} is there and belongs to another user"))
        elif not 0 <= to_us(each.create_time) <= TIME_US_MAX:
            span = f"{from_us(0):%Y-%m-%d} to {from_us(TIME_US_MAX):%Y-%m-%d}"
            refused.append(EntryRefused(f"{each.place}: the time {each.create_time:%Y-%m-%d} lies outside {span}"))
        else:
            accepted.append(each)
    return refused, accepted


def _new_sessions(entries: Iterable[Entry], found: Mapping[str, Locked]) -> dict[str, dict[str, Any]]:
    """The rows of the sessions that are missing, by id, without their keys; in the order of their ids."""
    rows: dict[str, dict[str, Any]] = {}
    for each in entries:
        if each.session in found:
            continue
        row = rows.setdefault(each.session, _session_row(each))
        if not row["title"] and isinstance(each, ImportedMessage) and each.role is Role.USER:
            row["title"] = title_of(each.text)
    return dict(sorted(rows.items()))


def _session_row(entry: Entry) -> dict[str, Any]:
    told = entry if isinstance(entry, ImportedSession) else None
    metadata = entry.metadata if isinstance(entry, ImportedSession) else entry.session_metadata
    return {
        "session": entry.session,
        "user": entry.user,
        "flow": entry.flow,
        "title": told.title if told else "",
        "metadata": documents.dump(metadata),
        "message_count": 0,
        "last_turn": 0,
        "retention_days": told.retention_days if told else 0,
        "create_time_us": to_us(entry.create_time),
        "update_time_us": to_us(told.update_time if told else entry.create_time),
    }


def _said(message: ImportedMessage, session: Locked) -> Said:
    return Said(
        session=session.session,
        session_key=session.session_key,
        user=session.user,
        turn=message.turn,
        role=message.role,
        run="",
        flow=message.flow,
        status=message.status,
        text_of=message.text_of,
        content=message.content,
        input_tokens=message.input_tokens,
        output_tokens=message.output_tokens,
        time_us=to_us(message.create_time),
        rating=message.rating,
        rating_comment=message.rating_comment,
    )


def _seen(session: str, session_key: int, user: str) -> Locked:
    """A session that is looked at without being locked."""
    return Locked(session=session, session_key=session_key, user=user, flow="", time_us=0)


def _larger(first: Any, second: Any) -> Any:
    """The larger of two: the function for that is called differently in every database."""
    return case((first > second, first), else_=second)
