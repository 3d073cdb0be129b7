"""What the rest of the server asks of the store.

Every method raises StoreUnavailable where the database does not answer or takes nothing; what a method returns or
acknowledges is committed. `sql/` holds the one implementation.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from penstock_server.store.records import (
    Acceptance,
    Accepted,
    Appending,
    Cursor,
    Ending,
    Erased,
    Errands,
    LogPage,
    MessageFilter,
    MessageRecord,
    Orphan,
    Page,
    Rating,
    Role,
    RunFilter,
    RunRecord,
    Scope,
    SearchFilter,
    SessionChange,
    SessionFilter,
    SessionRecord,
    Start,
    StoreStats,
    TimeRange,
)


class Turns(Protocol):
    """Runs and their turns, written while they happen by the instance that owns them.

    A write carries the run's attempt. One of another attempt than the run has now changes nothing: its instance was
    taken for dead, and another owns the run.
    """

    async def accept(self, acceptance: Acceptance) -> Accepted | RunRecord:
        """Stores a run, its session and the user's message, and reads the rounds that the run starts with.

        It returns when that is committed. Several calls share a transaction. Where the call is cancelled, or raises,
        nothing of the run remains. A run with a turn waits (QUEUED) while a run before it in its session is live; then
        its rounds are read when it starts.

        Returns:
            The acceptance; or the run that was accepted before with the same idempotency key and request.

        Raises:
            SessionNotFound: the session is another user's.
            SessionBusy: a run of the session is live, and this one is not to wait.
            TooManyRuns: as many runs of the session wait as may.
            RunTooLarge: the database does not take an input of this length.
            IdempotencyKeyReused: the key was used for another request.
        """

    async def start(self, start: Start) -> Accepted | None:
        """Lets a queued run begin, unless a run before it in its session is live.

        Returns:
            RUNNING with the run's rounds; QUEUED where it has to wait on; None where the run is not this attempt's any
            more, has ended, or was erased.
        """

    async def append(self, appending: Appending) -> bool:
        """Adds events to a run's log, and reserves numbers. Several calls share a transaction.

        Returns:
            Whether that was done; False where the run is not this attempt's any more, has ended, or was erased.

        Raises:
            RunTooLarge: the database does not take an event of this length.
        """

    async def finish(self, ending: Ending) -> bool:
        """Stores a run's terminal status, its answer, and the rest of its log.

        A write that is cancelled, or raises StoreUnavailable, goes on for a while. Where the database does not take
        what the run said, the run ends without it, and a run that succeeded as FAILED.

        Returns:
            Whether the run ended so, now or by the same write before; False where it is not this attempt's any more,
            has ended otherwise, or was erased.
        """


class Runs(Protocol):
    """Runs, as every instance sees them."""

    async def get(self, run: str) -> RunRecord | None:
        """The run of this id, live or ended."""

    async def page(self, filter: RunFilter, after: Cursor | None, size: int) -> Page[RunRecord]:
        """At most `size` runs that follow the cursor, the newest first, without inputs, outputs and nodes."""

    async def log(self, run: str, after: int) -> LogPage | None:
        """The next part of a run's log, bounded in size; empty where nothing has been added. None without such a run.

        Raises:
            CursorExpired: what follows `after` is not kept any more, or there is no event of that number.
        """

    async def heads(self, runs: Sequence[str]) -> Mapping[str, int]:
        """For each of the runs that there is, a number that changes when its log or its status does."""

    async def request_cancel(self, run: str) -> None:
        """Asks the owner of a run to end it (`Leases.errands`)."""

    async def watch(self, runs: Sequence[str], for_s: float) -> None:
        """Notes that somebody follows these runs, for the next `for_s` seconds."""

    async def watched(self, run: str) -> bool:
        """Whether somebody has noted, on any instance, that he follows the run now."""

    async def changed(self, timeout_s: float) -> None:
        """Waits until the database says that a watched run has changed or that an errand has come; at most `timeout_s`.

        Databases that cannot say so take the whole time.
        """


class Leases(Protocol):
    """Who is alive. An instance beats; one whose beats stop is dead for those that have looked on for a whole lease.

    No clock but the observers' own monotonic one is asked, so that none that jumps kills anybody.
    """

    async def beat(self) -> bool:
        """Tells the others that this instance lives; False where they had taken it for dead, and forgotten it."""

    async def beats(self) -> Mapping[str, int]:
        """How often each other instance has beaten; 0 for one that is forgotten and still owns live runs."""

    async def adopt(self, instance: str, beat: int) -> Sequence[Orphan]:
        """Takes over live runs of a dead instance, a bounded number; forgets it when none is left.

        Nothing happens if it has beaten since.
        """

    async def owned(self) -> Sequence[str]:
        """The live runs of this instance."""

    async def retake(self, run: str) -> Orphan | None:
        """Takes a live run of this instance over from itself: what it may still be writing is refused from now on."""

    async def errands(self) -> Errands:
        """What others want of this instance."""

    async def retire(self) -> None:
        """Forgets this instance, which owns no live runs any more; others take those that it does over."""


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
            SearchTimeout: it has taken too long.
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

        A run goes with the first of its messages, for it holds the same texts: a live one at its end.

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

    async def expire_logs(self, window_s: float) -> int:
        """Removes the logs of runs that ended longer ago, one bounded batch; returns how many rows."""

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
    def runs(self) -> Runs:
        """Runs, as every instance sees them."""

    @property
    def leases(self) -> Leases:
        """Who is alive."""

    @property
    def shared(self) -> bool:
        """Whether other instances may be at work on the same database."""

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
