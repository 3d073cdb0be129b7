"""Threads for blocking flow code, so that the event loop never executes any.

The threads are our own and not those of `concurrent.futures`, for two reasons. That pool joins its threads when the
process exits, so flow code that never ends would keep the process alive for ever: ours are daemons. And a generator is
more than a call: it keeps one thread from its first chunk to its last and hands chunks over in batches.
A daemon thread that is still busy at exit is stopped wherever it is, without its `finally`; `Threads.close` gives it
some time before.
"""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextvars import Context, copy_context
from typing import Protocol, TypeVar

from penstock_server.flows.jobs import Call, Job, Mailbox, report_lost

T = TypeVar("T")

BATCH_CHUNKS_MAX = 64
"""How many chunks a generator may be ahead of its reader."""

BATCH_CHARS_MAX = 16 * 1024
"""How much text a generator may be ahead of its reader, by a chunk."""


ABANDONED_LOG_S = 10.0
"""How long code may go on after its run was cancelled before the log says so."""

logger = logging.getLogger("penstock.flows")


class CodeRaised(Exception):
    """Code in a thread raised; any exception at all, so that one with a meaning for the event loop is told apart.

    Attributes:
        error: what it raised.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(type(error).__name__)
        self.error = error


class Threads:
    """At most `threads_max` threads that execute blocking code; more code waits in a queue, first in first out."""

    def __init__(self, threads_max: int) -> None:
        self._threads_max = threads_max
        self._jobs: deque[_Job] = deque()
        self._lock = threading.Lock()
        self._count = 0
        self._idle: list[threading.Lock] = []
        self._is_waking = False
        self._mailbox: Mailbox | None = None
        self._users: set[object] = set()
        self._closed = False
        self._executing: set[_Job] = set()

    @property
    def abandoned(self) -> int:
        """How many threads execute code of runs that were cancelled: nothing can end it from outside."""
        with self._lock:
            return sum(job.is_abandoned for job in self._executing)

    def start(self, function: Callable[[], None], ended: Callable[[], None]) -> Job:
        """Executes `function`, which raises nothing, in a thread, and then calls `ended` on the event loop.

        Code that is abandoned before its turn comes is dropped, and `ended` is not called.
        """
        loop = asyncio.get_running_loop()
        mailbox = self._mailbox
        if mailbox is None or mailbox.loop is not loop:
            mailbox = self._mailbox = Mailbox(loop)
        job = Job(function, ended, mailbox)
        self._submit(job)
        return job

    async def call(self, function: Callable[[], T]) -> T:
        """Returns what `function` returns in a thread, with the caller's context variables.

        When the caller is cancelled it goes on at once; the code is dropped if it still waits for a thread, and left to
        its end otherwise.

        Raises:
            CodeRaised: the function raised.
        """
        call = Call(function)
        job = self.start(call.execute, call.settle)
        try:
            value, error = await call.done
        except BaseException:
            job.is_abandoned = True
            self._watch(job)
            raise
        if error is not None:
            raise CodeRaised(error)
        return value  # type: ignore[return-value]

    async def iterate(self, iterator: Iterator[object]) -> AsyncGenerator[list[object], None]:
        """Yields the chunks of an iterator that runs in one thread for its whole life, in batches.

        A batch holds what there is: a single chunk when the reader is faster, more when it is slower. The iterator
        waits when it is `BATCH_CHUNKS_MAX` or `BATCH_CHARS_MAX` ahead. When this generator is closed, the iterator is
        closed in its thread as soon as it yields.

        Raises:
            CodeRaised: the iterator raised; the chunks before that were yielded.
        """
        job = _IterateJob(iterator)
        try:
            self._submit(job)
            while True:
                batch, ended = await job.take()
                if batch:
                    yield batch
                if ended:
                    break
        finally:
            job.abandon()
            self._watch(job)
        if job.error is not None:
            raise CodeRaised(job.error)

    def share(self, user: object) -> "Threads":
        """The same threads for one more user; they end when every user has closed them."""
        self._users.add(user)
        return self

    async def close(self, user: object, wait_s: float) -> None:
        """Ends the threads once the last user is gone; waits up to `wait_s` for code that is still executing."""
        self._users.discard(user)
        if self._users or self._closed:
            return
        with self._lock:
            self._closed = True
            while self._idle:
                self._idle.pop().release()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while self._count:  # noqa: ASYNC110 - threads have no loop to set an event of
                    await asyncio.sleep(_CLOSE_POLL_S)

    def _watch(self, job: "_Job") -> None:
        """Has it logged if abandoned code does not end."""
        if job in self._executing:
            asyncio.get_running_loop().call_later(ABANDONED_LOG_S, self._report, job)

    def _report(self, job: "_Job") -> None:
        if job in self._executing:
            text = (
                "code of a cancelled run has gone on for %g s; %d of at most %d threads (sync_threads_max) do such work"
            )
            logger.warning(text, ABANDONED_LOG_S, self.abandoned, self._threads_max)

    def _submit(self, job: "_Job") -> None:
        with self._lock:
            if self._closed:
                raise RuntimeError("the flow is closed")
            self._jobs.append(job)
            wake = self._next()
        if wake is not None:
            wake()

    def _next(self) -> Callable[[], None] | None:
        """What brings one more thread to the queue, where it needs one.

        At most one is on its way at any time, and brings the next one if it finds more than one job. So short jobs are
        done by a few threads that are awake already, and long ones each have a thread of their own soon.
        """
        if self._is_waking or not self._jobs:
            return None
        if self._idle:
            self._is_waking = True
            return self._idle.pop().release
        if self._count == self._threads_max:
            return None
        self._is_waking = True
        self._count += 1
        return self._start

    def _start(self) -> None:
        try:
            threading.Thread(target=self._work, name="penstock-flow", daemon=True).start()
        except RuntimeError:  # the system gives no more threads
            with self._lock:
                self._is_waking = False
                self._count -= 1
                if self._count == 0:
                    raise

    def _work(self) -> None:
        asleep = threading.Lock()
        asleep.acquire()
        is_woken = True
        while True:
            job: _Job | None = None
            with self._lock:
                if is_woken:
                    self._is_waking = False
                if self._jobs:
                    job = self._jobs.popleft()
                    self._executing.add(job)
                elif self._closed:
                    self._count -= 1
                    return
                else:
                    self._idle.append(asleep)
                wake = self._next()
            if wake is not None:
                wake()
            is_woken = job is None
            if job is None:
                asleep.acquire()
            else:
                job.run()
                with self._lock:
                    self._executing.discard(job)
                del job  # it holds the caller's values, and the next one may be long in coming


class _Job(Protocol):
    is_abandoned: bool

    def run(self) -> None:
        """Executes in a thread; never raises."""


class _IterateJob:
    def __init__(self, iterator: Iterator[object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._context: Context = copy_context()
        self._iterator = iterator
        self._changed = threading.Condition()
        self._ready = asyncio.Event()
        self._chunks: list[object] = []
        self._chars = 0
        self._told = False
        self._ended = False
        self.is_abandoned = False
        self.error: BaseException | None = None

    async def take(self) -> tuple[list[object], bool]:
        """What the iterator yielded since the last time, and whether that is all."""
        await self._ready.wait()
        self._ready.clear()
        with self._changed:
            chunks, self._chunks, self._chars, self._told = self._chunks, [], 0, False
            self._changed.notify()
            return chunks, self._ended

    def abandon(self) -> None:
        """Asks the iterator to end; it does at its next chunk."""
        with self._changed:
            self.is_abandoned = True
            self._changed.notify()

    def run(self) -> None:
        try:
            self._context.run(self._iterate)
        except BaseException as raised:
            self.error = raised
        with self._changed:
            if self.error is not None and self.is_abandoned:
                report_lost(self.error)
            self._ended = True
            self._tell()

    def _iterate(self) -> None:
        try:
            if not self.is_abandoned:
                self._advance()
        finally:
            close = getattr(self._iterator, "close", None)
            if close is not None:
                close()

    def _advance(self) -> None:
        for chunk in self._iterator:
            if not self._put(chunk):
                break

    def _put(self, chunk: object) -> bool:
        with self._changed:
            self._chunks.append(chunk)
            self._chars += len(chunk) if isinstance(chunk, str) else 0
            self._tell()
            while not self.is_abandoned and self._full():
                self._changed.wait()
            return not self.is_abandoned

    def _full(self) -> bool:
        return len(self._chunks) >= BATCH_CHUNKS_MAX or self._chars >= BATCH_CHARS_MAX

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                self._loop.call_soon_threadsafe(self._ready.set)


_CLOSE_POLL_S = 0.01
