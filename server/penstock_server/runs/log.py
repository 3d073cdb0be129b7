"""A run's event log: what happened, numbered, with readers that follow at their own pace.

The log keeps the events that some reader has not taken yet. Nothing is ever lost to a reader, so a full window makes
the flow wait (`room`). With no reader at all, nothing is kept.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from itertools import islice

from penstock_server.runs.events import EVENT_OVERHEAD_BYTES, Event, OutputDelta, RunFinished

BATCH_BYTES_MAX = 16 * 1024
"""The most that a reader is handed at once, so that its copies of it stay small."""

QUICK_S = 0.002
"""A flow that appends again so soon after the last batch is quicker than any reader needs."""
QUICK_PASSES = 32
"""How often a reader of a quick flow lets other work that is ready go first. These are passes of the event loop, not
time: some 40 µs when nothing else is to be done. Under load each pass brings an event of every quick flow, and the cost
of sending is shared by so many more."""


class EventLog:
    """The events of one run.

    Args:
        window_bytes: how much may lie unread before the flow is asked to wait.
    """

    def __init__(self, window_bytes: int) -> None:
        self._window_bytes = window_bytes
        self._events: deque[tuple[Event, int]] = deque()
        self._held_bytes = 0
        self._readers: list[Reader] = []
        self._room: asyncio.Future[None] | None = None
        self.last_sequence = 0
        self.ended = False
        """Whether nothing more is to come, without a `run_finished`."""

    def append(self, event: Event, size_bytes: int = EVENT_OVERHEAD_BYTES) -> bool:
        """Numbers the event, keeps it for the readers and wakes them.

        Args:
            size_bytes: about how much memory the event holds.

        Returns:
            Whether there is room for more.
        """
        self.last_sequence += 1
        event.sequence = self.last_sequence
        if not self._readers:
            return True
        self._events.append((event, size_bytes))
        self._held_bytes += size_bytes
        for reader in self._readers:
            reader.wake()
        return self._held_bytes < self._window_bytes

    def end(self) -> None:
        """Ends the log without its last event; readers take what is queued, and no more."""
        self.ended = True
        for reader in self._readers:
            reader.wake()

    async def room(self) -> None:
        """Waits until less than the window lies unread."""
        while self._held_bytes >= self._window_bytes:
            if self._room is None:
                self._room = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._room)

    def subscribe(self, *, simple: bool = False) -> "Reader":
        """A reader of everything that is appended from now on; the caller closes it.

        Args:
            simple: tell output deltas and the end alone (`RunView.SIMPLE`).
        """
        reader = Reader(self, simple=simple)
        self._readers.append(reader)
        return reader

    def _unread(self, after: int) -> Iterator[tuple[Event, int]]:
        return islice(self._events, len(self._events) - (self.last_sequence - after), None)

    def _leave(self, reader: "Reader") -> None:
        if reader in self._readers:
            self._readers.remove(reader)
        self._release()

    def _release(self) -> None:
        """Lets go of what every reader has taken."""
        keep_after = min((reader.position for reader in self._readers), default=self.last_sequence)
        while self._events and self._events[0][0].sequence <= keep_after:
            self._held_bytes -= self._events.popleft()[1]
        if self._room is not None and self._held_bytes < self._window_bytes:
            self._room.set_result(None)
            self._room = None


class Reader:
    """One reader of a log, at its own position."""

    def __init__(self, log: EventLog, *, simple: bool) -> None:
        self._log = log
        self._simple = simple
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._taken_at = 0.0
        self._handed = log.last_sequence
        self._ended = False
        self.position = log.last_sequence
        """The sequence of the last event that the reader has done with."""

    async def take(self) -> list[Event] | None:
        """Everything that is queued, as soon as there is something; None once the run's last event was taken.

        What one call returned counts as taken when the next is made: until then it holds its place in the window.
        """
        while not self._ended:
            self.position = self._handed
            self._log._release()
            if self._handed == self._log.last_sequence:
                if self._log.ended:
                    break
                await self._wait()
                await self._let_others_go_first()
            self._taken_at = self._loop.time()
            if events := self._queued():
                self._ended = events[-1].__class__ is RunFinished
                return events
        return None

    def wake(self) -> None:
        """Tells the reader that something was appended."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        """Leaves the log; what only this reader had not taken is dropped, and `take` returns None."""
        self._ended = True
        self._log._leave(self)

    async def _let_others_go_first(self) -> None:
        if self._loop.time() - self._taken_at < QUICK_S:
            for _ in range(QUICK_PASSES):
                await asyncio.sleep(0)

    def _queued(self) -> list[Event]:
        events: list[Event] = []
        size = 0
        for event, event_size in self._log._unread(self._handed):
            size += event_size
            if events and size > BATCH_BYTES_MAX:
                break
            self._handed = event.sequence
            if not self._simple or event.__class__ is OutputDelta or event.__class__ is RunFinished:
                events.append(event)
        return events

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
