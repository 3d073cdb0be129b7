"""Sessions: pages of them, one of them, and what changes in it (see `store.Sessions`)."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, or_, select, update

from penstock_server.store.records import (
    Cursor,
    Erased,
    Page,
    Scope,
    SessionChange,
    SessionFilter,
    SessionOrder,
    SessionRecord,
)
from penstock_server.store.sql import documents
from penstock_server.store.sql.database import Database
from penstock_server.store.sql.history.erasure import Erasure
from penstock_server.store.sql.history.pages import key_bound, take, within
from penstock_server.store.sql.history.rows import find_session, reachable, session_chars, session_record
from penstock_server.store.sql.keys import to_us
from penstock_server.store.sql.schema import Tables


class SqlSessions:
    """Reads and changes sessions."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database = database
        self._sessions = tables.sessions
        self._erasure = Erasure(database, tables)

    async def page(self, filter: SessionFilter, after: Cursor | None, size: int) -> Page[SessionRecord]:
        """See `store.Sessions`."""
        statement = select(self._sessions).where(*_conditions(self._sessions, filter))
        statement = _ordered(self._sessions, statement, filter.order, after)

        def position(row: Any) -> Cursor:
            if filter.order is SessionOrder.LAST_UPDATED:
                return row.update_time_us, row.session_key
            return (row.session_key,)

        return await self._database.read(
            lambda connection: take(
                connection.execute(statement.limit(size + 1)), size, session_record, position, chars=session_chars
            )
        )

    async def get(self, session: str, scope: Scope) -> SessionRecord:
        """See `store.Sessions`."""
        return await self._database.read(
            lambda connection: session_record(find_session(connection, self._sessions, session, scope))
        )

    async def update(self, session: str, scope: Scope, change: SessionChange, now: datetime) -> SessionRecord:
        """See `store.Sessions`."""
        values = {"update_time_us": to_us(now)} | _values(change)

        def work(connection: Connection) -> SessionRecord:
            row = find_session(connection, self._sessions, session, scope, lock=True)
            found: ColumnElement[bool] = self._sessions.c.session_key == row.session_key
            connection.execute(update(self._sessions).where(found).values(values))
            return session_record(connection.execute(select(self._sessions).where(found)).one())

        return await self._database.write(work)

    async def delete(self, session: str, scope: Scope) -> Erased:
        """See `store.Sessions`."""
        return await self._erasure.session(session, scope)

    async def erase_user(self, user: str) -> Erased:
        """See `store.Sessions`."""
        return await self._erasure.user(user)


def _conditions(sessions: Table, filter: SessionFilter) -> list[ColumnElement[bool]]:
    conditions = [*reachable(sessions, filter.scope), *within(sessions.c.update_time_us, filter.updated)]
    if filter.flow:
        conditions.append(sessions.c.flow == filter.flow)
    if filter.updated.end is not None:
        # It was made before it was updated, so the keys that come into question have an end, too.
        conditions.append(sessions.c.session_key < key_bound(filter.updated.end))
    return conditions


def _ordered(sessions: Table, statement: Select[Any], order: SessionOrder, after: Cursor | None) -> Select[Any]:
    key, time_us = sessions.c.session_key, sessions.c.update_time_us
    if order is SessionOrder.LAST_UPDATED:
        if after is not None:
            last_us, last = after
            # The first comparison is the index's; databases differ in what they make of the two together.
            statement = statement.where(and_(time_us <= last_us, or_(time_us < last_us, key < last)))
        return statement.order_by(time_us.desc(), key.desc())
    oldest = order is SessionOrder.OLDEST
    if after is not None:
        statement = statement.where(key > after[0] if oldest else key < after[0])
    return statement.order_by(key if oldest else key.desc())


def _values(change: SessionChange) -> dict[str, object]:
    values = {
        "title": change.title,
        "metadata": None if change.metadata is None else documents.dump(change.metadata),
        "retention_days": change.retention_days,
    }
    return {name: value for name, value in values.items() if value is not None}
