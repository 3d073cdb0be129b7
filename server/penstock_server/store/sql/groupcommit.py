"""Writes that wait at the same time share a transaction; each waits for its own durable commit.

A commit costs the same for one turn as for many. While one transaction is on its way, what arrives meanwhile makes the
next: nothing waits for the sake of being batched.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from sqlalchemy import Connection

from penstock_server.errors import Failure, StoreUnavailable
from penstock_server.store.sql.database import Database

logger = logging.getLogger("penstock.store")

GROUP_MAX = 64
"""How many writes one transaction makes."""
RETRY_PAUSE_S = 0.1
"""How long a write waits that did not reach the database, before it is tried again."""

W = TypeVar("W")
R = TypeVar("R")
Group = Callable[[Connection, Sequence[W], bool], Sequence[R | Failure]]
"""What a transaction does: makes the writes, and returns what each comes to. The flag says whether some of them may
have been committed before."""


class Pending(Generic[W, R]):
    """A write that waits for its commit."""

    __slots__ = ("committed", "patience_until", "repeated", "tried_until", "write")

    def __init__(self, write: W, committed: "asyncio.Future[R]", *, patience_until: float, tried_until: float) -> None:
        self.write = write
        self.committed = committed
        self.patience_until = patience_until
        self.tried_until = tried_until
        self.repeated = False


class GroupCommit(Generic[W, R]):
    """Makes writes in groups, and again where the database did not say whether it has committed them."""

    def __init__(self, database: Database, group: Group[W, R]) -> None:
        self._database = database
        self._group = group
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Pending[W, R]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, write: W, *, patience_s: float, tried_s: float) -> "asyncio.Future[R]":
        """A future of what the write comes to, once it is committed. The write goes on when nobody waits for it.

        Args:
            patience_s: after this, a write that does not reach the database raises StoreUnavailable.
            tried_s: for so long it is tried. When that is over, too, whether it was committed is not known.
        """
        now = self._loop.time()
        committed: asyncio.Future[R] = self._loop.create_future()
        pending = Pending(write, committed, patience_until=now + patience_s, tried_until=now + tried_s)
        self._waiting.append(pending)
        if len(self._tasks) < self._database.writers_max:
            task = self._loop.create_task(self._write_waiting())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return committed

    async def close(self) -> None:
        """Waits for the writes under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _write_waiting(self) -> None:
        while self._waiting:
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), GROUP_MAX))]
            try:
                await self._write(group)
            except StoreUnavailable as failure:
                await self._try_again(group, failure)
            except Exception as error:
                await self._one_by_one(group, error)

    async def _write(self, group: Sequence[Pending[W, R]]) -> None:
        writes = [each.write for each in group]
        repeated = any(each.repeated for each in group)
        outcomes = await self._database.write(lambda connection: self._group(connection, writes, repeated))
        for each, outcome in zip(group, outcomes, strict=True):
            _settle(each, outcome)

    async def _try_again(self, group: Sequence[Pending[W, R]], failure: StoreUnavailable) -> None:
        now = self._loop.time()
        again = []
        for each in group:
            each.repeated = True
            if now >= each.patience_until:
                _settle(each, failure)
            if now < each.tried_until:
                again.append(each)
        if again:
            await asyncio.sleep(RETRY_PAUSE_S)
            self._waiting.extendleft(reversed(again))

    async def _one_by_one(self, group: Sequence[Pending[W, R]], error: Exception) -> None:
        """One write that cannot be made must not take the others with it."""
        if len(group) == 1:
            logger.error("a write failed", exc_info=error)
            _settle(group[0], error)
            return
        for each in group:
            try:
                await self._write([each])
            except StoreUnavailable as failure:
                await self._try_again([each], failure)
            except Exception as own:
                await self._one_by_one([each], own)


def _settle(pending: Pending[W, R], outcome: R | Exception) -> None:
    if pending.committed.done():
        return
    if isinstance(outcome, Exception):
        pending.committed.set_exception(outcome)
        # Who waited for it may have left, and then nobody asks.
        pending.committed.exception()
    else:
        pending.committed.set_result(outcome)
