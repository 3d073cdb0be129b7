"""Finds messages by their words, the newest first.

The index of words gives keys of messages, and keys begin with the time: the newest that match are the end of what the
index lists, and a time range is a range of keys. The user, the session and the flow are words themselves, so a search
among them reads no more of the index than an unlimited one.
"""

from typing import Any

from sqlalchemy import Connection, select

from penstock_server.errors import InvalidRequest
from penstock_server.store.records import Cursor, MessageRecord, Page, SearchFilter
from penstock_server.store.sql import words
from penstock_server.store.sql.database import Dialect
from penstock_server.store.sql.pages import KEY_MAX, PAGE_CHARS_MAX, key_bound
from penstock_server.store.sql.rows import content_chars, find_session, matching, message_record, reachable
from penstock_server.store.sql.schema import Tables

LOOKED_AT_MAX = 5_000
"""How many messages that hold the words are looked at for one page, where few of them have the status asked for."""
STEP_MIN = 100


class Search:
    """Reads pages of what a search finds."""

    def __init__(self, dialect: Dialect, tables: Tables) -> None:
        self._dialect = dialect
        self._tables = tables
        self._said = select(tables.messages, tables.sessions.c.session, tables.sessions.c.user).join_from(
            tables.messages, tables.sessions, tables.messages.c.session_key == tables.sessions.c.session_key
        )

    def page(
        self, connection: Connection, filter: SearchFilter, after: Cursor | None, size: int
    ) -> Page[MessageRecord]:
        """See `store.Messages.search`."""
        tokens = words.of_query(filter.query, user=filter.scope.user, session=filter.session, flow=filter.flow)
        if not tokens:
            raise InvalidRequest.of([("query", "has no word in it; a word is made of letters or digits")])
        if filter.session:
            find_session(connection, self._tables.sessions, filter.session, filter.scope)
        first, below = _bounds(filter, after)
        items: list[MessageRecord] = []
        looked_at = taken = 0
        while looked_at < LOOKED_AT_MAX:
            limit = max(size + 1 - len(items), STEP_MIN if looked_at else 0)
            keys = self._dialect.find_words(
                connection, self._tables.search, tokens, first=first, below=below, limit=limit
            )
            for row in self._load(connection, filter, keys):
                if len(items) == size or taken >= PAGE_CHARS_MAX:
                    return Page(items=items, next=(items[-1].message_key,))
                items.append(message_record(row, row.session, row.user))
                taken += content_chars(row)
            if len(keys) < limit:
                return Page(items=items, next=None)
            below = keys[-1]
            looked_at += limit
        return Page(items=items, next=(below,))

    def _load(self, connection: Connection, filter: SearchFilter, keys: Any) -> Any:
        """The messages of these keys that are all that was asked for, the newest first."""
        if not keys:
            return []
        messages, sessions = self._tables.messages, self._tables.sessions
        statement = self._said.where(
            messages.c.message_key.in_(keys),
            *matching(messages, flow=filter.flow, status=filter.status),
            *reachable(sessions, filter.scope),
        )
        if filter.session:
            statement = statement.where(sessions.c.session == filter.session)
        return self._dialect.streamed(connection, statement.order_by(messages.c.message_key.desc()))


def _bounds(filter: SearchFilter, after: Cursor | None) -> tuple[int, int]:
    """The keys that come into question: from the first on, and below the other."""
    first = 0 if filter.said.start is None else key_bound(filter.said.start)
    below = KEY_MAX if filter.said.end is None else key_bound(filter.said.end)
    return first, below if after is None else min(below, after[0])
