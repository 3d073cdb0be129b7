"""What a call that follows a run holds: the run's end, and its log."""

from collections.abc import Callable
from typing import Protocol

from penstock_server.errors import RunInterrupted
from penstock_server.runs.elsewhere import Elsewhere, StoredReader, ending
from penstock_server.runs.events import Event
from penstock_server.runs.log import Reader
from penstock_server.runs.run import Run
from penstock_server.store.records import RunRecord
from penstock_server.store.store import Runs


class Log(Protocol):
    """A reader of a run's log."""

    async def take(self) -> list[Event] | None:
        """Everything that is there, as soon as there is something; None once the run's last event was taken."""

    def close(self) -> None:
        """Takes no more."""


class Following(Protocol):
    """A run that a call follows; the call closes it."""

    @property
    def run(self) -> str:
        """The run's id."""

    @property
    def session(self) -> str:
        """The run's session."""

    def seen(self) -> Run | RunRecord:
        """The run as it is known here."""

    async def end(self) -> Run | RunRecord:
        """Waits for the run's end. Raises Failure where it cannot be told."""

    def log(self, *, simple: bool) -> Log:
        """Reads the log from its beginning.

        Args:
            simple: tell output deltas and the end alone (`RunView.SIMPLE`).
        """

    def close(self) -> None:
        """The call has its answer, or has left."""


class FollowingHere:
    """A run that this instance executes.

    Args:
        left: called once the call follows it no more.
    """

    def __init__(self, run: Run, left: Callable[[Run], None]) -> None:
        self.executed = run
        self.run = run.run
        self.session = run.session
        self._left = left

    def seen(self) -> Run:
        """See `Following`."""
        return self.executed

    async def end(self) -> Run:
        """See `Following`."""
        return await self.executed.recorded()

    def log(self, *, simple: bool) -> Reader:
        """See `Following`."""
        return self.executed.log.subscribe(after=0, simple=simple)

    def close(self) -> None:
        """See `Following`."""
        self._left(self.executed)


class FollowingElsewhere:
    """A run that has ended, or that another instance executes."""

    def __init__(self, record: RunRecord, elsewhere: Elsewhere, runs: Runs) -> None:
        self.run = record.run
        self.session = record.session
        self._record = record
        self._elsewhere = elsewhere
        self._runs = runs

    def seen(self) -> RunRecord:
        """See `Following`."""
        return self._record

    async def end(self) -> RunRecord:
        """See `Following`."""
        if self._record.status.terminal:
            return self._record
        return await ending(self._elsewhere, self._runs, self.run)

    def log(self, *, simple: bool) -> StoredReader:
        """See `Following`."""
        return StoredReader(self._elsewhere, self._runs, self.run, after=0, simple=simple)

    def close(self) -> None:
        """See `Following`."""


def needs_a_new_key(record: RunRecord) -> RunInterrupted:
    """What the caller of an interrupted run gets that repeats the call."""
    text = "the run of this Idempotency-Key was interrupted, and is not executed again: send the request with a new key"
    return RunInterrupted(text, metadata={"run": record.run})


class Watch:
    """A call that reads a run's log.

    Args:
        following: what the call holds of a run that executes here.
    """

    def __init__(self, log: Log, following: FollowingHere | None = None) -> None:
        self.log = log
        self._following = following

    async def end(self) -> None:
        """Raises Failure where the run's end cannot be told; the log is over."""
        if self._following is not None:
            await self._following.end()

    def close(self) -> None:
        """The call reads no more."""
        self.log.close()
        if self._following is not None:
            self._following.close()
