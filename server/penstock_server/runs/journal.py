"""Brings the logs of live runs to the store, in batches, and reserves the numbers that readers may be told.

Numbers come before events: an owner that dies may have told its readers of events that the store does not have, but
none with a number beyond the reserved one, so that nobody ever gives such a number to something else.
"""

import asyncio
from collections.abc import Callable
from sys import maxsize

from penstock_server.errors import Failure, StoreUnavailable
from penstock_server.runs.run import Run
from penstock_server.runs.tasks import Tasks
from penstock_server.store.records import Appending
from penstock_server.store.store import Turns

FLUSH_S = 0.15
"""How long an event lies in memory alone, at most, while the store keeps up: with the commit, less than 200 ms."""
EVENTS_MAX = 64
"""So many events are not left lying."""
GATHER_S = 0.05
"""The least time between two rounds of such batches. A commit costs more than all that it brings: quick flows share it
with each other, and with their own next events; unless they would soon have to wait for it."""
BATCH_EVENTS_MAX = 1024
"""How many events one batch holds where the store does not keep up."""
RESERVED_FIRST = 256
"""How many numbers a run has from its acceptance on: more than most need in all."""
RESERVED_AHEAD = 1024
"""How many numbers beyond the last event each batch reserves."""
RETRY_S = 0.5
"""How long a batch waits that did not reach the store."""


class Journal:
    """Keeps the logs of one instance's runs.

    Args:
        lost: called for a run that another owner has taken over, or that was erased.
        refused: called for a run with an event that the store does not take, and why.
    """

    def __init__(self, turns: Turns, *, lost: Callable[[Run], None], refused: Callable[[Run, Failure], object]) -> None:
        self._turns = turns
        self._lost = lost
        self._refused = refused
        self._loop = asyncio.get_running_loop()
        self._waiting: set[_Entry] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._due: list[_Entry] = []
        self._round: asyncio.TimerHandle | None = None
        self._round_s = 0.0
        """When the last round was."""
        self._tasks = Tasks()

    def keep(self, run: Run) -> None:
        """Keeps a run's log from now on, until the log is finished."""
        run.log.keeper = _Entry(self, run)
        run.log.call_keeper(run.log.last_sequence + 1)

    def verify(self, run: Run) -> None:
        """Finds out whether the run is still this instance's, although its log has nothing new."""
        entry = run.log.keeper
        if isinstance(entry, _Entry) and not entry.flushing:
            entry.doubted = True
            self._flush(entry)

    async def close(self) -> None:
        """Waits for the batches under way."""
        for timer in (self._timer, self._round):
            if timer is not None:
                timer.cancel()
        await self._tasks.cancel()

    def _wait(self, entry: "_Entry") -> None:
        self._waiting.add(entry)
        if self._timer is None:
            self._timer = self._loop.call_later(FLUSH_S, self._flush_waiting)

    def _flush_waiting(self) -> None:
        self._timer = None
        waiting, self._waiting = self._waiting, set()
        for entry in waiting:
            entry.waited = True
            self._flush(entry)

    def _gather(self, entry: "_Entry") -> None:
        if entry.gathering:
            return
        entry.gathering = True
        self._waiting.discard(entry)
        self._due.append(entry)
        if self._round is None:
            self._round = self._loop.call_at(self._round_s + GATHER_S, self._flush_due)

    def _flush_due(self) -> None:
        self._round, self._round_s = None, self._loop.time()
        due, self._due = self._due, []
        for entry in due:
            entry.gathering = False
            if not entry.flushing:
                self._flush(entry)

    def _flush(self, entry: "_Entry") -> None:
        entry.flushing = True
        self._waiting.discard(entry)
        self._tasks.start(self._bring(entry))

    async def _bring(self, entry: "_Entry") -> None:
        log = entry.run.log
        try:
            if log.keeper is entry and entry.due:
                await self._append(entry)
        finally:
            entry.flushing = False
        if log.keeper is not entry:
            return
        if entry.doubted or log.last_sequence > log.stored_sequence:
            entry.appended()
        else:
            entry.waited = False
            log.call_keeper(log.last_sequence + 1)

    async def _append(self, entry: "_Entry") -> None:
        run = entry.run
        assert run.accepted is not None  # noqa: S101 - only stored runs are kept
        events = run.log.unstored(BATCH_EVENTS_MAX)
        reserved = max(run.log.reserved, run.log.last_sequence + RESERVED_AHEAD)
        entry.waited = entry.doubted = False
        try:
            taken = await self._turns.append(
                Appending(accepted=run.accepted, events=events, sequence_reserved=reserved)
            )
        except StoreUnavailable:
            entry.waited = entry.doubted = True
            await asyncio.sleep(RETRY_S)
            return
        except Failure as failure:
            failure.metadata["run"] = run.run
            run.log.keeper = None
            self._refused(run, failure)
            return
        if taken:
            run.log.stored(events[-1].sequence if events else run.log.stored_sequence, reserved)
        elif run.log.keeper is entry:
            run.log.keeper = None
            self._lost(run)


class _Entry:
    """One log that is kept (see `log.Keeper`)."""

    __slots__ = ("doubted", "flushing", "gathering", "journal", "run", "waited")

    def __init__(self, journal: Journal, run: Run) -> None:
        self.journal = journal
        self.run = run
        self.flushing = False
        """Whether its events are on their way to the store."""
        self.gathering = False
        """Whether it goes with the next round."""
        self.doubted = False
        """Whether the run may be another's by now."""
        self.waited = False
        """Whether its events have lain for as long as they may."""

    @property
    def due(self) -> bool:
        """Whether the log has to be brought to the store now."""
        log = self.run.log
        unstored = log.last_sequence - log.stored_sequence
        return unstored >= EVENTS_MAX or log.is_filling or self.doubted or (self.waited and unstored > 0)

    def appended(self) -> None:
        """See `log.Keeper`."""
        log = self.run.log
        if self.flushing:
            return
        if log.is_filling:
            self.journal._flush(self)
        elif self.gathering or self.due:
            self.journal._gather(self)
            log.call_keeper(maxsize)
        else:
            self.journal._wait(self)
            log.call_keeper(log.stored_sequence + EVENTS_MAX)
