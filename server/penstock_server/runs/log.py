"""A run's event log: what happened, numbered, with readers that follow at their own pace.

The log of a run that is stored (*kept*) holds in memory what the store does not have yet, and what its readers are
about to take, up to a window. A reader that is further behind reads from the store. The flow waits (`room`) while the
store is a window behind, or while all its readers are: one that keeps up is enough.

The log of another run holds what its readers have not taken, and the slowest of them makes the flow wait. Without a
reader, it holds nothing.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from operator import itemgetter
from sys import maxsize
from typing import Protocol

from penstock_server.errors import DEFECT_MESSAGE, CursorExpired, Defect, RunNotFound
from penstock_server.runs.events import EVENT_OVERHEAD_BYTES, Event, OutputDelta, RunFinished
from penstock_server.store.records import LogPage

BATCH_BYTES_MAX = 16 * 1024
"""The most that a reader is handed at once, so that its copies of it stay small."""

FILLING = 0.75
"""A log that lacks as much of its window in the store is brought there without delay."""

QUICK_S = 0.002
"""How long after a batch the next one is handed out at the earliest, unless it is a whole one: a flow that is quicker
than any reader needs costs less where the cost of sending is shared."""
LATE_S = 0.004
"""A reader that gets its turn so long after it was woken is on an event loop that has more to do than it can."""
GATHER_S = 0.02
"""How long such a reader lets events gather. Fewer and larger writes let the loop keep up with more of them; without
that, all streams would fall behind more and more."""

_SIMPLE = (OutputDelta, RunFinished)
"""What `RunView.SIMPLE` tells."""

Entry = tuple[Event, int]
"""An event, and how many bytes all events until then had, itself included."""

ReadStored = Callable[[int], Awaitable[LogPage | None]]
"""Reads what the store has after a number (`store.Runs.log`)."""


class Keeper(Protocol):
    """Who brings a log to the store."""

    def appended(self) -> None:
        """What it waits for was appended (`EventLog.call_keeper`)."""


class EventLog:
    """The events of one run.

    Args:
        window_bytes: how much may lie unread, or not be stored, before the flow is asked to wait.
        read_stored: reads the run's log back from the store; None for a run that is not stored.
        reserved: up to which number readers may be told events (see `Appending.sequence_reserved`).
    """

    def __init__(self, window_bytes: int, read_stored: ReadStored | None = None, *, reserved: int = maxsize) -> None:
        self._window_bytes = window_bytes
        self._filling_bytes = int(window_bytes * FILLING)
        self._read_stored = read_stored
        self._kept = read_stored is not None
        self._events: list[Entry] = []
        """Numbered without gaps."""
        self._bytes = 0
        """How many bytes all events had."""
        self._stored_bytes = 0
        self._full_bytes: float = window_bytes if self._kept else inf
        """At so many bytes the flow has to wait (`_bound`)."""
        self._readers: list[Reader] = []
        self._room: asyncio.Future[None] | None = None
        self._unread_until: float = inf
        """How far the flow may go while nobody reads."""
        self._lost_after = maxsize
        """Behind this event, everything but the last is missing."""
        self.keeper: Keeper | None = None
        self._keeper_sequence: float = inf
        self._keeper_bytes: float = inf
        """Where the keeper is called."""
        self.last_sequence = 0
        self.stored_sequence = 0
        """The last event that the store has."""
        self.reserved = reserved if self._kept else maxsize
        self.ended = False
        """Whether nothing more is to come."""

    def append(self, event: Event, size_bytes: int = EVENT_OVERHEAD_BYTES) -> bool:
        """Numbers the event, keeps it for the readers and for the store, and wakes them.

        Args:
            size_bytes: about how much memory the event holds.

        Returns:
            Whether there is room for more.
        """
        self.last_sequence = event.sequence = sequence = self.last_sequence + 1
        if not self._kept and not self._readers:
            return True
        self._bytes = bytes_now = self._bytes + size_bytes
        self._events.append((event, bytes_now))
        if sequence >= self._keeper_sequence or bytes_now >= self._keeper_bytes:
            self._call_keeper()
        for reader in self._readers:
            if reader.waiter is not None and bytes_now >= reader.wanted_bytes:
                reader.wake()
        return bytes_now < self._full_bytes

    def call_keeper(self, sequence: int) -> None:
        """Has the keeper called, once: for the event of this number, or before, when the log is filling."""
        self._keeper_sequence, self._keeper_bytes = sequence, self._stored_bytes + self._filling_bytes

    def finish(self, event: RunFinished, sequence: int = 0) -> None:
        """Appends the last event, which the store has by now.

        Args:
            sequence: its number, where another owner of the run has given it; what lies before it and is not stored is
                lost.
        """
        if sequence:
            self._events.clear()
            self._lost_after, self.last_sequence = self.stored_sequence, sequence - 1
        self.keeper = None
        self.reserved = maxsize
        self.append(event)
        if self._kept:
            self.stored(self.last_sequence)
        self.end()

    def end(self) -> None:
        """Ends the log, also without its last event; readers take what is queued, and no more."""
        self.ended = True
        for reader in self._readers:
            reader.wake()

    def unstored(self, events_max: int = maxsize) -> list[Event]:
        """What the store does not have yet, the first `events_max` of it."""
        start = max(self.stored_sequence + 1 - self._first, 0)
        return [event for event, _ in self._events[start : start + events_max]]

    def stored(self, sequence: int, reserved: int = 0) -> None:
        """The store has all up to this number; up to the reserved one, readers may be told what comes."""
        if sequence > self.stored_sequence:
            self.stored_sequence, self._stored_bytes = sequence, self._bytes_at(sequence)
        if reserved > self.reserved:
            self.reserved = reserved
            for reader in self._readers:
                reader.wake()
        self._release()

    async def room(self) -> None:
        """Waits until the flow may go on."""
        while self._bytes >= self._full_bytes:
            if self._room is None:
                self._room = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._room)

    def nobody_follows(self, bytes_max: int) -> None:
        """Lets the flow go on for so many bytes of events, until somebody reads."""
        self._unread_until = self._bytes + bytes_max
        self._bound()

    def subscribe(self, *, after: int | None = None, simple: bool = False) -> "Reader":
        """A reader of what follows an event; the caller closes it.

        Args:
            after: the event's number; None for the last one, so that only what is appended from now on is told.
            simple: tell output deltas and the end alone (`RunView.SIMPLE`).

        Raises:
            CursorExpired: no event of this number can have been told.
        """
        position = self.last_sequence if after is None else after
        if position > self.tellable:
            raise CursorExpired(
                f"the run has no event {position} yet; its last is {self.last_sequence}",
                metadata={"after_sequence": str(position), "last_sequence": str(self.last_sequence)},
            )
        reader = Reader(self, position, simple=simple)
        self._readers.append(reader)
        self._unread_until = inf
        self._release()
        return reader

    @property
    def is_filling(self) -> bool:
        """Whether so much is not stored yet that soon the flow will have to wait."""
        return self._bytes - self._stored_bytes >= self._filling_bytes

    @property
    def tellable(self) -> int:
        """The last event that readers may be told."""
        return min(self.last_sequence, self.reserved)

    @property
    def _first(self) -> int:
        """The number of the first event in memory, or of the next one."""
        return self._events[0][0].sequence if self._events else self.last_sequence + 1

    def _in_memory(self, after: int) -> list[Entry] | None:
        """What follows a number; None where the store must be asked."""
        first = self._first
        if after + 1 < first and self._kept:
            return None
        return self._events[max(after + 1 - first, 0) : max(self.tellable + 1 - first, 0)]

    async def _stored_after(self, after: int) -> Sequence[Event]:
        assert self._read_stored is not None  # noqa: S101 - only kept logs are asked
        page = await self._read_stored(after)
        if page is None:
            raise RunNotFound("the run was erased")
        return page.events

    def _bytes_at(self, sequence: int) -> int:
        """How many bytes the events up to this number had; for one that is in memory no more, of those that are not."""
        if not self._events:
            return self._bytes
        index = sequence - self._first
        return self._events[index][1] if index >= 0 else self._events[0][1] - EVENT_OVERHEAD_BYTES

    def _call_keeper(self) -> None:
        self._keeper_sequence = self._keeper_bytes = inf
        if self.keeper is not None:
            self.keeper.appended()

    def _bound(self) -> None:
        """Says how far the flow may go, and lets it go on if it may."""
        taken = [reader.position_bytes for reader in self._readers]
        if not self._kept:
            self._full_bytes = min(taken, default=inf) + self._window_bytes
        elif taken:
            self._full_bytes = min(self._stored_bytes, max(taken)) + self._window_bytes
        else:
            self._full_bytes = min(self._stored_bytes + self._window_bytes, self._unread_until)
        if self._room is not None and self._bytes < self._full_bytes:
            self._room.set_result(None)
            self._room = None

    def _leave(self, reader: "Reader") -> None:
        if reader in self._readers:
            self._readers.remove(reader)
        self._release()

    def _release(self) -> None:
        """Lets go of what is stored and either taken by every reader or beyond the window."""
        events, first = self._events, self._first
        taken = min([reader.position for reader in self._readers], default=self.last_sequence)
        count = max(taken + 1 - first, 0)
        if self._kept:
            stored = self.stored_sequence + 1 - first
            count = min(count, stored)
            while count < stored and self._bytes - events[count][1] >= self._window_bytes:
                count += 1
        if count > 0:
            del events[:count]
        self._bound()


class Reader:
    """One reader of a log, at its own position."""

    def __init__(self, log: EventLog, after: int, *, simple: bool) -> None:
        self._log = log
        self._simple = simple
        self.waiter: asyncio.Future[None] | None = None
        """What the reader waits for while it has nothing to take, or lets events gather."""
        self.wanted_bytes = 0
        """How many bytes all events must have had before it is woken for them."""
        self._loop = asyncio.get_running_loop()
        self._taken_at = 0.0
        self._woken_at = 0.0
        self._handed = after
        self._handed_bytes = log._bytes_at(after)
        self._ended = False
        self.position = after
        """The sequence of the last event that the reader has done with."""
        self.position_bytes = self._handed_bytes

    async def take(self) -> list[Event] | None:
        """Everything that is queued, as soon as there is something; None once the run's last event was taken.

        What one call returned counts as taken when the next is made: until then it holds its place in the window.

        Raises:
            StoreUnavailable: the reader is behind, and the store does not answer.
            RunNotFound: the run was erased, and its log with it.
        """
        log = self._log
        while not self._ended:
            self.position, self.position_bytes = self._handed, self._handed_bytes
            log._release()
            late = False
            if self._handed >= log.tellable:
                if log.ended:
                    break
                late = await self._wait()
            if (pause_s := self._pause_s(late=late)) > 0:
                await self._gather(pause_s)
            self._taken_at = self._loop.time()
            if events := await self._next():
                self._ended = events[-1].__class__ is RunFinished
                return events
        return None

    def wake(self) -> None:
        """Tells the reader that something was appended."""
        if self.waiter is not None and not self.waiter.done():
            self._woken_at = self._loop.time()
            self.waiter.set_result(None)

    def close(self) -> None:
        """Leaves the log; what only this reader had not taken is dropped, and `take` returns None."""
        self._ended = True
        self._log._leave(self)
        self.wake()

    def _pause_s(self, *, late: bool) -> float:
        """How long to let events gather."""
        if self._log._bytes >= self._handed_bytes + BATCH_BYTES_MAX or self._log.ended:
            return 0.0
        return GATHER_S if late else self._taken_at + QUICK_S - self._loop.time()

    async def _gather(self, pause_s: float) -> None:
        """Waits, at most so long, until there is a whole batch or nothing more to come."""
        self.wanted_bytes = self._handed_bytes + BATCH_BYTES_MAX
        timer = self._loop.call_later(pause_s, self.wake)
        try:
            await self._wait()
        finally:
            timer.cancel()
            self.wanted_bytes = 0

    async def _next(self) -> list[Event]:
        queued = self._log._in_memory(self._handed)
        return self._from_store(await self._log._stored_after(self._handed)) if queued is None else self._from(queued)

    def _from(self, queued: list[Entry]) -> list[Event]:
        if not queued:
            return []
        bytes_max = self._handed_bytes + BATCH_BYTES_MAX
        if queued[-1][1] > bytes_max:
            queued = queued[: max(bisect_right(queued, bytes_max, key=itemgetter(1)), 1)]
        last, self._handed_bytes = queued[-1]
        self._handed = last.sequence
        return self._told([event for event, _ in queued])

    def _from_store(self, stored: Sequence[Event]) -> list[Event]:
        if stored:
            self._handed = stored[-1].sequence
            self._handed_bytes = self._log._bytes_at(self._handed)
        elif self._handed >= self._log._lost_after:
            self._handed = self._log.last_sequence - 1
        else:
            raise Defect(DEFECT_MESSAGE, metadata={"incident": "the store does not have what it said it has"})
        return self._told(stored)

    def _told(self, events: Sequence[Event]) -> list[Event]:
        return [event for event in events if event.__class__ in _SIMPLE] if self._simple else list(events)

    async def _wait(self) -> bool:
        """Waits to be woken; whether that was long ago when the reader got its turn."""
        self.waiter = self._loop.create_future()
        try:
            await self.waiter
        finally:
            self.waiter = None
        return self._loop.time() - self._woken_at >= LATE_S
