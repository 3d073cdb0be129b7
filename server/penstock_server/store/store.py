"""What the rest of the server asks of the store.

Every method raises StoreUnavailable where the database does not answer or takes nothing; what a method returns or
acknowledges is committed. `sql/` holds the one implementation.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from penstock_server.store.records import (
    Acceptance,
    Accepted,
    Cursor,
    Ending,
    Erased,
    MessageFilter,
    MessageRecord,
    Page,
    Rating,
    Role,
    RunRecord,
    Scope,
    SearchFilter,
    SessionChange,
    SessionFilter,
    SessionRecord,
    StoreStats,
    TimeRange,
)


class Turns(Protocol):
    """Runs and their turns, written while they happen."""

    async def accept(self, acceptance: Acceptance) -> Accepted | RunRecord:
        """Stores a run, its session and the user's message, and reads the rounds that the run starts with.

        It returns when that is committed. Several calls share a transaction. Where the call is cancelled, or raises,
        nothing of the run remains.

        Returns:
            The acceptance; or the run that was accepted before with the same idempotency key and request.

        Raises:
            SessionNotFound: the session is another user's.
            IdempotencyKeyReused: the key was used for another request.
        """

    async def finish(self, ending: Ending) -> None:
        """Stores a run's terminal status and its answer. A run that was erased meanwhile stays erased.

        A write that is cancelled, or raises StoreUnavailable, goes on for a while.
        """

    async def run(self, run: str) -> RunRecord | None:
        """The run of this id."""


class Sessions(Protocol):
    """Conversations."""

    async def page(self, filter: SessionFilter, after: Cursor | None, size: int) -> Page[SessionRecord]:
        """At most `size` sessions that follow the cursor."""

    async def get(self, session: str, scope: Scope) -> SessionRecord:
        """One session. Raises SessionNotFound."""

    async def update(self, session: str, scope: Scope, change: SessionChange, now: datetime) -> SessionRecord:
        """Changes a session. Raises SessionNotFound."""

    async def delete(self, session: str, scope: Scope) -> Erased:
        """Deletes a session with its messages and runs, in bounded batches. Raises SessionNotFound."""

    async def erase_user(self, user: str) -> Erased:
        """Removes every trace of a user, in bounded batches."""


class Messages(Protocol):
    """What was said. Pages hold fewer than asked for where messages are large."""

    async def page(self, filter: MessageFilter, after: Cursor | None, size: int) -> Page[MessageRecord]:
        """At most `size` messages of a session that follow the cursor. Raises SessionNotFound."""

    async def search(self, filter: SearchFilter, after: Cursor | None, size: int) -> Page[MessageRecord]:
        """At most `size` messages that hold every word, the newest first.

        Raises:
            InvalidRequest: there is no word in the query.
            SessionNotFound: the filter names a session, and there is none.
        """

    async def of_sessions(
        self, sessions: Sequence[SessionRecord], said: TimeRange, after: Cursor | None, size: int, *, flow: str = ""
    ) -> Page[MessageRecord]:
        """At most `size` messages of these sessions, in the order in which the sessions were made, the oldest first.

        Args:
            flow: only messages of runs of this flow; empty for all.
        """

    async def delete(self, session: str, scope: Scope, messages: Sequence[tuple[int, Role]] | None) -> int:
        """Deletes messages of a session by turn and role, or all of them; returns how many there were.

        A run that has ended goes with the first of its messages: it holds the same texts.

        Raises:
            SessionNotFound: no such session.
        """

    async def rate(
        self, session: str, scope: Scope, turn: int, role: Role, rating: Rating, comment: str
    ) -> MessageRecord | None:
        """Rates a message; None where there is no such message. Raises SessionNotFound."""


class Retention(Protocol):
    """What may go, and how much there is."""

    async def expire(self, now: datetime, keep_days: int) -> Erased:
        """Removes one bounded batch of what is past its time; nothing removed means that nothing is left.

        Args:
            keep_days: how long sessions are kept after their last update, and runs without a turn after their
                acceptance; 0 for ever. A session's own retention comes before it.
        """

    async def forget_idempotency_keys(self, before: datetime) -> int:
        """Forgets one bounded batch of the keys of runs that were accepted before this; returns how many."""

    async def stats(self) -> StoreStats:
        """How much the store holds."""


class Store(Protocol):
    """The database of one service."""

    @property
    def turns(self) -> Turns:
        """Runs and their turns."""

    @property
    def sessions(self) -> Sessions:
        """Conversations."""

    @property
    def messages(self) -> Messages:
        """What was said."""

    @property
    def retention(self) -> Retention:
        """What may go."""

    async def open(self) -> None:
        """Connects, migrates, and takes possession. Raises StoreError (see `store.errors`)."""

    async def close(self) -> None:
        """Waits for writes under way, and lets go of every connection."""
