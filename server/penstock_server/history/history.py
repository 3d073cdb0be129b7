"""What callers can do with sessions and messages."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import orjson

from penstock.status import Violation
from penstock_server.errors import InvalidRequest, StoreDisabled
from penstock_server.history import messageids
from penstock_server.history.export import ExportFilter, Line, export
from penstock_server.store.records import (
    Cursor,
    Erased,
    MessageFilter,
    MessageRecord,
    Page,
    Rating,
    Role,
    Scope,
    SearchFilter,
    SessionChange,
    SessionFilter,
    SessionRecord,
)
from penstock_server.store.store import Store

TITLE_CHARS_MAX = 512
METADATA_BYTES_MAX = 16 * 1024
"""As JSON."""
RETENTION_DAYS_MAX = 36_500
COMMENT_CHARS_MAX = 4096
QUERY_CHARS_MAX = 1024
MESSAGES_NAMED_MAX = 1000
"""How many messages one call deletes by name."""


class History:
    """Sessions and messages, with the limits on what callers write.

    Every method raises StoreDisabled where nothing is kept, StoreUnavailable where the database does not answer, and
    SessionNotFound where it is about a session that is not there or that the scope does not reach.

    Args:
        store: where they are kept; None keeps nothing.
    """

    def __init__(self, store: Store | None) -> None:
        self._kept = store

    async def sessions(self, filter: SessionFilter, after: Cursor | None, size: int) -> Page[SessionRecord]:
        """A page of sessions."""
        return await self._store.sessions.page(filter, after, size)

    async def session(self, session: str, scope: Scope) -> SessionRecord:
        """One session."""
        return await self._store.sessions.get(session, scope)

    async def change_session(self, session: str, scope: Scope, change: SessionChange) -> SessionRecord:
        """Changes a session; what is to change in nothing is not changed.

        Raises:
            InvalidRequest: the change goes beyond a limit.
        """
        store = self._store
        _check(_wrong_in(change))
        if change == SessionChange():
            return await store.sessions.get(session, scope)
        return await store.sessions.update(session, scope, change, datetime.now(UTC))

    async def delete_session(self, session: str, scope: Scope) -> Erased:
        """Deletes a session with all that belongs to it."""
        return await self._store.sessions.delete(session, scope)

    async def messages(self, filter: MessageFilter, after: Cursor | None, size: int) -> Page[MessageRecord]:
        """A page of a session's messages."""
        return await self._store.messages.page(filter, after, size)

    async def search(self, filter: SearchFilter, after: Cursor | None, size: int) -> Page[MessageRecord]:
        """A page of the messages that hold every word of the query, the newest first.

        Raises:
            InvalidRequest: there is no word in the query, or it is too long.
        """
        store = self._store
        _check(_longer("query", filter.query, QUERY_CHARS_MAX))
        return await store.messages.search(filter, after, size)

    def export(self, filter: ExportFilter) -> AsyncIterator[Sequence[Line]]:
        """All that was said, in batches (see `export.py`)."""
        return export(self._store, filter)

    async def delete_messages(self, session: str, scope: Scope, messages: Sequence[str]) -> int:
        """Deletes messages by their ids, or all of the session where none is named; returns how many there were.

        Raises:
            InvalidRequest: too many are named.
        """
        store = self._store
        if len(messages) > MESSAGES_NAMED_MAX:
            text = f"names {len(messages)} messages; at most {MESSAGES_NAMED_MAX} can be deleted at once"
            raise InvalidRequest.of([("messages", text)])
        named = [found for found in map(messageids.parsed, messages) if found is not None]
        return await store.messages.delete(session, scope, named if messages else None)

    async def rate(self, session: str, scope: Scope, message: str, rating: Rating, comment: str) -> MessageRecord:
        """Rates a message; the rating before is gone.

        Raises:
            InvalidRequest: the comment is too long.
            MessageNotFound: the session has no such message.
        """
        store = self._store
        _check([*_longer("comment", comment, COMMENT_CHARS_MAX), *_unstorable("comment", comment)])
        turn, role = messageids.parsed(message) or (0, Role.USER)
        rated = await store.messages.rate(session, scope, turn, role, rating, comment)
        if rated is None:
            raise messageids.not_found(message, session)
        return rated

    async def erase_user(self, user: str) -> Erased:
        """Removes every trace of a user."""
        return await self._store.sessions.erase_user(user)

    @property
    def _store(self) -> Store:
        if self._kept is None:
            raise StoreDisabled("this service keeps no sessions and messages; start it without --no-store to keep them")
        return self._kept


def _wrong_in(change: SessionChange) -> Sequence[Violation]:
    wrong = list[Violation]()
    if change.title is not None:
        wrong += _longer("session.title", change.title, TITLE_CHARS_MAX)
        wrong += _unstorable("session.title", change.title)
    if change.metadata is not None:
        size_bytes = len(orjson.dumps(change.metadata))
        if size_bytes > METADATA_BYTES_MAX:
            text = f"has {size_bytes} bytes as JSON; at most {METADATA_BYTES_MAX} are kept"
            wrong.append(("session.metadata", text))
    days = change.retention_days
    if days is not None and not 0 <= days <= RETENTION_DAYS_MAX:
        wrong.append(("session.retentionDays", f"must be 0 to {RETENTION_DAYS_MAX}"))
    return wrong


def _longer(field: str, text: str, chars_max: int) -> Sequence[Violation]:
    return [] if len(text) <= chars_max else [(field, f"has {len(text)} characters; at most {chars_max} are taken")]


def _unstorable(field: str, text: str) -> Sequence[Violation]:
    # PostgreSQL stores no NUL in text, and what one database refuses, none takes.
    return [(field, "must not hold the character NUL")] if "\0" in text else []


def _check(wrong: Sequence[Violation]) -> None:
    if wrong:
        raise InvalidRequest.of(wrong)
