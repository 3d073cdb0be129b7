"""Finds messages by their words, the newest first.

The index of words gives keys of messages, and keys begin with the time: the newest that match are the end of what the
index lists, and a time range is a range of keys. All else that is asked for is a word of the index, too (`words.py`),
so nothing that the index gives is left out afterwards.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from penstock_server.errors import InvalidRequest
from penstock_server.store.records import Cursor, MessageRecord, Page, SearchFilter
from penstock_server.store.sql.database import Dialect
from penstock_server.store.sql.history import words
from penstock_server.store.sql.history.pages import KEY_MAX, key_bound, take
from penstock_server.store.sql.history.rows import content_chars, find_session, matching, message_record, reachable
from penstock_server.store.sql.schema import Tables


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
        tokens = words.of_query(
            filter.query, user=filter.scope.user, session=filter.session, flow=filter.flow, status=filter.status
        )
        if not tokens:
            raise InvalidRequest.of([("query", "has no word in it; a word is made of letters or digits")])
        if filter.session:
            find_session(connection, self._tables.sessions, filter.session, filter.scope)
        first, below = _bounds(filter, after)
        keys = self._dialect.find_words(
            connection, self._tables.search, tokens, first=first, below=below, limit=size + 1
        )
        return take(
            self._load(connection, filter, keys),
            size,
            lambda row: message_record(row, row.session, row.user),
            lambda row: (row.message_key,),
            chars=content_chars,
        )

    def _load(self, connection: Connection, filter: SearchFilter, keys: Sequence[int]) -> Iterable[Row[Any]]:
        """The messages of these keys, the newest first.

        Tokens of ids are digests. That no two of them meet is certain enough for finding, but not for what a caller may
        see, so the ids themselves are compared.
        """
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
