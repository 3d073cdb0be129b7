"""Everything that was said, in batches that fit into memory whatever there is.

Sessions and messages are read side by side in the order of their keys: a page of sessions, then the messages of some of
them at once, so that a million short conversations need no million queries, and one long conversation no more memory.
Each page is read for itself. What is written meanwhile is told if it belongs behind what was told already.
"""

from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

from penstock_server.store.records import (
    Cursor,
    MessageRecord,
    Scope,
    SessionFilter,
    SessionOrder,
    SessionRecord,
    TimeRange,
)
from penstock_server.store.store import Store

SESSIONS_AT_ONCE = 100
MESSAGES_AT_ONCE = 250

Line = SessionRecord | MessageRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFilter:
    """What is to be told; an empty text is no condition."""

    scope: Scope
    session: str = ""
    flow: str = ""
    """Of the messages. Sessions without one of this flow are left out."""
    said: TimeRange = field(default_factory=TimeRange)
    """Sessions without a message in a limited range are left out."""

    @property
    def whole(self) -> bool:
        """Whether sessions are told with all their messages, and so even those that have none."""
        return not self.flow and self.said == TimeRange()


async def export(store: Store, filter: ExportFilter) -> AsyncIterator[Sequence[Line]]:
    """Tells sessions and messages in batches: each session before its messages, the oldest session first.

    Raises:
        SessionNotFound: the filter names a session, and there is none that the caller may reach.
    """
    async for sessions in _sessions(store, filter):
        for some in _together(sessions):
            async for lines in _lines(store, some, filter):
                yield lines


async def _sessions(store: Store, filter: ExportFilter) -> AsyncIterator[Sequence[SessionRecord]]:
    """Pages of sessions, the oldest first."""
    if filter.session:
        yield [await store.sessions.get(filter.session, filter.scope)]
        return
    # What was said at a time or later was said in a session that was updated then or later.
    updated = TimeRange(start=filter.said.start)
    wanted = SessionFilter(scope=filter.scope, updated=updated, order=SessionOrder.OLDEST)
    after: Cursor | None = None
    while True:
        page = await store.sessions.page(wanted, after, SESSIONS_AT_ONCE)
        yield page.items
        if page.next is None:
            return
        after = page.next


def _together(sessions: Sequence[SessionRecord]) -> Iterator[Sequence[SessionRecord]]:
    """Neighbours that hold about a page of messages together. A long session comes alone."""
    some: list[SessionRecord] = []
    messages = 0
    for session in sessions:
        if some and messages + session.message_count > MESSAGES_AT_ONCE:
            yield some
            some, messages = [], 0
        some.append(session)
        messages += session.message_count
    if some:
        yield some


async def _lines(
    store: Store, sessions: Sequence[SessionRecord], filter: ExportFilter
) -> AsyncIterator[Sequence[Line]]:
    """The sessions with their messages."""
    untold = deque(sessions)
    current = ""
    after: Cursor | None = None
    while True:
        page = await store.messages.of_sessions(sessions, filter.said, after, MESSAGES_AT_ONCE, flow=filter.flow)
        lines: list[Line] = []
        for message in page.items:
            if message.session != current:
                current = message.session
                lines += _up_to(current, untold, whole=filter.whole)
            lines.append(message)
        if page.next is None and filter.whole:
            lines += untold
        if lines:
            yield lines
        if page.next is None:
            return
        after = page.next


def _up_to(session: str, untold: deque[SessionRecord], *, whole: bool) -> Iterator[SessionRecord]:
    """The next sessions up to this one; without those between, which have no message, unless the whole is told."""
    while untold:
        record = untold.popleft()
        if whole or record.session == session:
            yield record
        if record.session == session:
            return
