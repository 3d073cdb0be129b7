"""Runs that this instance does not execute, as the store tells of them: they live elsewhere, or have ended."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from penstock_server.errors import RunNotFound, StoreUnavailable
from penstock_server.runs.events import Event, OutputDelta, RunFinished
from penstock_server.store.records import LogPage, RunRecord
from penstock_server.store.store import Runs

logger = logging.getLogger("penstock.runs")

POLL_MIN_S = 0.025
"""How soon a run is looked at again that has just changed."""
POLL_MAX_S = 0.25
"""How late, at most, a change is seen of a run that had been silent; databases that tell of changes are quicker."""
POLL_GROWTH = 1.5
WATCHED_FOR_S = 15.0
"""For how long a note says that somebody follows a run; it is renewed at a third of that."""
PATIENCE_S = 20.0
"""How long a reader waits for a store that does not answer."""
RETRY_S = 0.25


class Elsewhere:
    """Looks after the runs that somebody here follows and that live elsewhere: one query for all of them."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._loop = asyncio.get_running_loop()
        self._followed: dict[str, _Followed] = {}
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def followed(self, run: str) -> Iterator["_Followed"]:
        """Somebody follows the run within the block."""
        entry = self._followed.setdefault(run, _Followed())
        entry.count += 1
        if self._task is None:
            self._task = self._loop.create_task(self._look_after())
        try:
            yield entry
        finally:
            entry.count -= 1
            if not entry.count:
                del self._followed[run]

    async def close(self) -> None:
        """Looks no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _look_after(self) -> None:
        pause_s, noted_s = POLL_MIN_S, -WATCHED_FOR_S
        while self._followed:
            try:
                if self._loop.time() - noted_s > WATCHED_FOR_S / 3 or self._has_new():
                    noted_s = self._loop.time()
                    await self._runs.watch(list(self._followed), WATCHED_FOR_S)
                changed = await self._look()
                pause_s = POLL_MIN_S if changed else min(pause_s * POLL_GROWTH, POLL_MAX_S)
                await self._runs.changed(pause_s)
            except StoreUnavailable:
                await asyncio.sleep(RETRY_S)  # the store has logged it, and whoever reads is told
            except Exception:
                logger.exception("runs that live elsewhere could not be looked at")
                await asyncio.sleep(RETRY_S)
        self._task = None

    def _has_new(self) -> bool:
        return any(entry.head is None for entry in self._followed.values())

    async def _look(self) -> bool:
        asked = list(self._followed)
        heads = await self._runs.heads(asked)
        changed = False
        for run in asked:
            entry, head = self._followed.get(run), heads.get(run, 0)
            if entry is not None and entry.head != head:
                changed = True
                entry.moved(head)
        return changed


class _Followed:
    """What is known of a run that somebody follows."""

    def __init__(self) -> None:
        self.count = 0
        self.head: int | None = None
        """Grows with the run's log, and when its status changes."""
        self._waiters: list[asyncio.Future[None]] = []

    def moved(self, head: int) -> None:
        """Something has changed."""
        self.head = head
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def changed(self, since: int | None) -> None:
        """Waits until the head is another one."""
        if self.head == since:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter


class StoredReader:
    """Reads a run's log from the store (see `log.Reader`).

    Args:
        after: the last event that the reader has.
        first: what follows it, where that was read already.
    """

    def __init__(
        self, elsewhere: Elsewhere, runs: Runs, run: str, *, after: int, simple: bool, first: LogPage | None = None
    ) -> None:
        self._elsewhere = elsewhere
        self._runs = runs
        self._run = run
        self._position = after
        self._simple = simple
        self._first = first
        self._ended = False

    async def take(self) -> list[Event] | None:
        """See `log.Reader`.

        Raises:
            CursorExpired: what follows is not kept any more, or there is no event of that number.
            RunNotFound: there is no such run, any more.
            StoreUnavailable: the store does not answer.
        """
        if self._ended:
            return None
        page = await self._page()
        events = self._told(page)
        if not events and page.end is None:
            with self._elsewhere.followed(self._run) as followed:
                while not events and page.end is None:
                    since = followed.head
                    page = await self._page()
                    events = self._told(page)
                    if not events and page.end is None:
                        await followed.changed(since)
        return events

    def close(self) -> None:
        """Takes no more."""
        self._ended = True

    async def _page(self) -> LogPage:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        page = await patiently(self._runs, self._run, self._position)
        if page is None:
            raise RunNotFound.of(self._run)
        return page

    def _told(self, page: LogPage) -> list[Event]:
        events: list[Event] = list(page.events)
        if events:
            self._position = events[-1].sequence
        if page.end is not None:
            events.append(page.end)
            self._ended = True
        if self._simple:
            return [event for event in events if isinstance(event, (OutputDelta, RunFinished))]
        return events


async def ending(elsewhere: Elsewhere, runs: Runs, run: str) -> RunRecord:
    """Waits for the end of a run.

    Raises:
        RunNotFound: there is no such run, any more.
        StoreUnavailable: the store does not answer.
    """
    with elsewhere.followed(run) as followed:
        while True:
            since = followed.head
            record = await runs.get(run)
            if record is None:
                raise RunNotFound.of(run)
            if record.status.terminal:
                return record
            await followed.changed(since)


async def patiently(runs: Runs, run: str, after: int) -> LogPage | None:
    """A page of a run's log; a store that does not answer is asked again for a while."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + PATIENCE_S
    while True:
        try:
            return await runs.log(run, after)
        except StoreUnavailable:
            if loop.time() > until_s:
                raise
        await asyncio.sleep(RETRY_S)
