"""Threads that execute jobs, each with a database connection of its own. A job's end wakes the event loop once."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import Connection

from penstock_server.errors import StoreUnavailable

T = TypeVar("T")
Job = Callable[[Connection], T]


class Threads:
    """Executes jobs in the order in which they come. The threads start with the first jobs.

    Args:
        count: how many threads there are.
        connect: makes a thread's connection, in that thread. A job that raises StoreUnavailable costs the thread its
            connection; the next job makes another.
    """

    def __init__(self, name: str, count: int, connect: Callable[[], Connection]) -> None:
        self._name = name
        self._count = count
        self._connect = connect
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[tuple[Job[Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def submit(self, job: Job[T]) -> "asyncio.Future[T]":
        """Has a job executed. It is not begun if the future is cancelled before; once begun, it goes on to its end."""
        if len(self._threads) < self._count:
            self._start()
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((job, future))
        return future

    async def close(self) -> None:
        """Waits for the jobs that were submitted, and ends the threads."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        self._threads.clear()

    def _start(self) -> None:
        # A daemon: a process that fails before it closes its store still ends. What was not committed is taken back.
        thread = threading.Thread(target=self._serve, name=f"{self._name}-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        connection: Connection | None = None
        while (entry := self._jobs.get()) is not None:
            job, future = entry
            if future.cancelled():
                continue
            try:
                connection = connection or self._connect()
                result = job(connection)
            except BaseException as error:  # whatever it is, who waits is told
                if connection is not None and isinstance(error, StoreUnavailable):
                    connection.close()
                    connection = None
                self._loop.call_soon_threadsafe(_fail, future, error)
            else:
                self._loop.call_soon_threadsafe(_succeed, future, result)
            del entry, job, future  # they hold what the job was given, until the next one comes
        if connection is not None:
            connection.close()


def _succeed(future: "asyncio.Future[T]", result: T) -> None:
    if not future.cancelled():
        future.set_result(result)


def _fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.cancelled():
        future.set_exception(error)
