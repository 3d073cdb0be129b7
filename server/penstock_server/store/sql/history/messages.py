"""Messages: pages of a session's, deletion and rating (see `store.Messages`). `search.py` finds them by words."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, or_, select, update

from penstock_server.store.records import (
    Cursor,
    MessageFilter,
    MessageRecord,
    Page,
    Rating,
    Role,
    Scope,
    SearchFilter,
    SessionRecord,
    TimeRange,
)
from penstock_server.store.sql.database import Database
from penstock_server.store.sql.history.erasure import Erasure
from penstock_server.store.sql.history.pages import take, within
from penstock_server.store.sql.history.rows import content_chars, find_session, matching, message_record
from penstock_server.store.sql.history.search import Search
from penstock_server.store.sql.schema import Tables


class SqlMessages:
    """Reads, deletes and rates messages."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database = database
        self._tables = tables
        self._search = Search(database.dialect, tables)
        self._erasure = Erasure(database, tables)

    async def page(self, filter: MessageFilter, after: Cursor | None, size: int) -> Page[MessageRecord]:
        """See `store.Messages`."""
        messages = self._tables.messages

        def work(connection: Connection) -> Page[MessageRecord]:
            session = find_session(connection, self._tables.sessions, filter.session, filter.scope)
            statement = select(messages).where(
                messages.c.session_key == session.session_key,
                *matching(messages, flow=filter.flow, status=filter.status),
                *within(messages.c.create_time_us, filter.said),
            )
            statement = _ordered(messages, statement, after, newest_first=filter.newest_first)
            return take(
                self._database.dialect.streamed(connection, statement.limit(size + 1)),
                size,
                lambda row: message_record(row, session.session, session.user),
                lambda row: (row.turn, row.role),
                chars=content_chars,
            )

        return await self._database.read(work)

    async def search(self, filter: SearchFilter, after: Cursor | None, size: int) -> Page[MessageRecord]:
        """See `store.Messages`."""
        return await self._database.search(lambda connection: self._search.page(connection, filter, after, size))

    async def of_sessions(
        self, sessions: Sequence[SessionRecord], said: TimeRange, after: Cursor | None, size: int, *, flow: str = ""
    ) -> Page[MessageRecord]:
        """See `store.Messages`."""
        by_key = {each.session_key: each for each in sessions}
        messages = self._tables.messages
        statement = _of_sessions(messages, sorted(by_key), said, after)
        statement = statement.where(*matching(messages, flow=flow, status=None)).limit(size + 1)

        def record(row: Any) -> MessageRecord:
            session = by_key[row.session_key]
            return message_record(row, session.session, session.user)

        return await self._database.search(
            lambda connection: take(
                self._database.dialect.streamed(connection, statement),
                size,
                record,
                lambda row: (row.session_key, row.turn, row.role),
                chars=content_chars,
            )
        )

    async def delete(self, session: str, scope: Scope, messages: Sequence[tuple[int, Role]] | None) -> int:
        """See `store.Messages`."""
        return await self._erasure.messages(session, scope, messages)

    async def rate(
        self, session: str, scope: Scope, turn: int, role: Role, rating: Rating, comment: str
    ) -> MessageRecord | None:
        """See `store.Messages`."""
        messages = self._tables.messages

        def work(connection: Connection) -> MessageRecord | None:
            owner = find_session(connection, self._tables.sessions, session, scope)
            rated = and_(
                messages.c.session_key == owner.session_key, messages.c.turn == turn, messages.c.role == role.value
            )
            connection.execute(update(messages).where(rated).values(rating=rating.value, rating_comment=comment))
            row = connection.execute(select(messages).where(rated)).one_or_none()
            return None if row is None else message_record(row, owner.session, owner.user)

        return await self._database.write(work)


def _ordered(messages: Table, statement: Select[Any], after: Cursor | None, *, newest_first: bool) -> Select[Any]:
    turn, role = messages.c.turn, messages.c.role
    if newest_first:
        if after is not None:
            last_turn, last_role = after
            statement = statement.where(turn <= last_turn, or_(turn < last_turn, role < last_role))
        return statement.order_by(messages.c.session_key.desc(), turn.desc(), role.desc())
    if after is not None:
        statement = statement.where(_follows(messages, *after))
    return statement.order_by(messages.c.session_key, turn, role)


def _of_sessions(messages: Table, keys: Sequence[int], said: TimeRange, after: Cursor | None) -> Select[Any]:
    statement = select(messages).where(*within(messages.c.create_time_us, said))
    if after is not None:
        last_key, *position = after
        keys = [key for key in keys if key >= last_key]
        rest = _follows(messages, *position)
        statement = statement.where(rest if len(keys) == 1 else or_(messages.c.session_key > last_key, rest))
    # A single session, however long, is read as a range of the index.
    of = messages.c.session_key == keys[0] if len(keys) == 1 else messages.c.session_key.in_(keys)
    return statement.where(of).order_by(messages.c.session_key, messages.c.turn, messages.c.role)


def _follows(messages: Table, turn: int, role: int) -> ColumnElement[bool]:
    # The first comparison is the index's; MySQL makes no range of a comparison of rows.
    return and_(messages.c.turn >= turn, or_(messages.c.turn > turn, messages.c.role > role))
