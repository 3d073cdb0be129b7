"""Writes that wait at the same time share a transaction; each waits for its own durable commit.

A commit costs the same for one turn as for many. While one transaction is on its way, what arrives meanwhile makes the
next. Before that, work that is ready goes first, for it may bring more to write; where there is none, nothing waits for
the sake of being batched.
"""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from sys import maxsize
from typing import Generic, TypeVar, cast

from sqlalchemy import Connection, literal, select

from penstock_server.errors import RETRY_AFTER_S, Failure, StoreUnavailable
from penstock_server.store.sql import failpoints
from penstock_server.store.sql.database import Database

logger = logging.getLogger("penstock.store")

GROUP_MAX = 64
"""How many writes one transaction makes, unless it is told otherwise."""
OTHERS_FIRST_S = 0.005
"""For so long, at most, other work goes before a transaction."""
IDLE_PASS_S = 8e-6
"""A pass of the event loop in which nothing was ready is shorter (it takes 1 to 2 µs)."""
HELD_UP_S = 0.05
"""A transaction that takes longer waits for something, such as a row that another instance has locked; others go past
it. Until then one at a time is best: what waits makes a larger group, and a group costs little more than one write."""
RETRY_PAUSE_S = 0.1
"""How long a write waits that did not reach the database, before it is tried again."""
SPLIT = 8
"""Into how many a group is split that failed while the database answered: one of its writes may have failed the others,
or they are too much at once."""
PATIENCE_CHECK_S = 0.05
"""How often it is looked who has waited too long."""
NO_ANSWER = StoreUnavailable("the store does not answer in time; try again", retry_after_s=RETRY_AFTER_S)

W = TypeVar("W")
R = TypeVar("R")
Group = Callable[[Connection, Sequence[W], bool], Sequence[R | Failure]]
"""What a transaction does: makes the writes, and returns what each comes to. The flag says whether some of them may
have been committed before."""


_yield_core: Callable[[], None] = getattr(os, "sched_yield", lambda: None)
"""Lets gRPC's thread bring what it has, where it shares a core with the event loop: it interrupts nothing by itself."""


class Pending(Generic[W, R]):
    """A write that waits for its commit.

    Its caller may be told sooner than the write is over: that the database does not answer.
    """

    __slots__ = (
        "_when_over",
        "committed",
        "group_max",
        "outcome",
        "patience_until",
        "tried_until",
        "unsure",
        "write",
    )

    def __init__(self, write: W, committed: "asyncio.Future[R]", *, patience_until: float, tried_until: float) -> None:
        self.write = write
        self.committed = committed
        """What the write comes to; StoreUnavailable where its caller had to wait too long."""
        self.patience_until = patience_until
        self.tried_until = tried_until
        self.unsure = False
        """Whether it may have been committed although the database did not say so."""
        self.group_max = maxsize
        """How many go with it at most: it was in groups that failed while the database answered."""
        self.outcome: R | Exception | None = None
        self._when_over: Callable[[R | Exception], None] | None = None

    def when_over(self, call: Callable[[R | Exception], None]) -> None:
        """Has `call` made once the write is tried no more, with what it came to."""
        if self.outcome is not None:
            call(self.outcome)
        else:
            self._when_over = call

    def over(self, outcome: R | Exception) -> None:
        """The write is tried no more."""
        self.outcome = outcome
        self.tell(outcome)
        if self._when_over is not None:
            self._when_over(outcome)

    def tell(self, outcome: R | Exception) -> None:
        """Tells the caller, unless it was told before."""
        if self.committed.done():
            return
        if isinstance(outcome, Exception):
            self.committed.set_exception(outcome)
            self.committed.exception()  # who waited for it may have left, and then nobody asks
        else:
            self.committed.set_result(outcome)


class _Transaction(Generic[W, R]):
    """What becomes of a group's transaction, as far as it is known without the database.

    Args:
        repeated: whether some of the writes may have been committed before.
    """

    def __init__(self, group: Group[W, R], writes: Sequence[W], *, repeated: bool) -> None:
        self.begun = False
        """Whether anything was written. Otherwise none of the writes can be to blame."""
        self.unsure = False
        """Whether it may have been committed, if the database does not say so."""
        self.given_up = False
        """Whether it is not to begin any more. A cancelled wait for a connection may still come to one (`wait_for`)."""
        self._group = group
        self._writes = writes
        self._repeated = repeated

    def write(self, connection: Connection) -> Sequence[R | Failure]:
        """Makes the writes. What fails here is not committed; what has returned may be."""
        if self.given_up:
            raise StoreUnavailable(NO_ANSWER.message)
        self.begun = self.unsure = True
        try:
            return self._group(connection, self._writes, self._repeated)
        except BaseException:
            self.unsure = False
            raise


class GroupCommit(Generic[W, R]):
    """Makes writes in groups, and again where the database did not say whether it has committed them.

    Args:
        group_max: how many writes one transaction makes.
    """

    def __init__(self, database: Database, group: Group[W, R], *, group_max: int = GROUP_MAX) -> None:
        self._database = database
        self._group = group
        self._group_max = group_max
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Pending[W, R]] = deque()
        self._patient: deque[Pending[W, R]] = deque()
        self._check: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun = 0.0
        """When the last group was begun, or began to gather."""
        self._failure = NO_ANSWER
        """Why the last group failed."""
        self._closed = False

    def submit(self, write: W, *, patience_s: float, tried_s: float) -> Pending[W, R]:
        """Has a write made. It goes on when nobody waits for it.

        Args:
            patience_s: how long its caller waits at most.
            tried_s: for so long it is tried. When that is over, too, whether it was committed is not known.
        """
        now = self._loop.time()
        committed: asyncio.Future[R] = self._loop.create_future()
        pending = Pending(write, committed, patience_until=now + patience_s, tried_until=now + tried_s)
        if self._closed:
            pending.over(self._too_late())
            return pending
        self._waiting.append(pending)
        self._patient.append(pending)
        if self._check is None:
            self._check = self._loop.call_later(PATIENCE_CHECK_S, self._check_patience)
        held_up = now - self._begun > HELD_UP_S and len(self._tasks) < self._database.writers_max
        if held_up or not self._tasks:
            task = self._loop.create_task(self._write_waiting())
            self._tasks.add(task)
        return pending

    async def close(self, timeout_s: float) -> None:
        """Waits for the writes under way, but no longer than `timeout_s`."""
        if self._tasks:
            _, unfinished = await asyncio.wait(self._tasks, timeout=timeout_s)
            self._closed = True
            if unfinished:
                logger.error("the database does not answer: %d writes were given up", self._give_up())
                for task in unfinished:
                    task.cancel()
                await asyncio.wait(unfinished)
        if self._check is not None:
            self._check.cancel()

    async def _write_waiting(self) -> None:
        try:
            while self._waiting:
                await self._let_others_go_first()
                group = self._next_group()
                try:
                    await self._write_group(group)
                except asyncio.CancelledError:
                    logger.error("the database does not answer: %d writes under way were given up", len(group))
                    for each in group:
                        if each.outcome is None:
                            each.over(self._too_late())
                    raise
        finally:
            # Not a callback of the task, which is called later: what is submitted in between would wait for nobody.
            self._tasks.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _write_group(self, group: Sequence[Pending[W, R]]) -> None:
        if not group:
            return
        writes, repeated = [each.write for each in group], any(each.unsure for each in group)
        transaction = _Transaction(self._group, writes, repeated=repeated)
        try:
            await self._commit(group, transaction)
        except StoreUnavailable as failure:
            await self._try_again(group, transaction, failure)
        except Exception as error:
            await self._one_by_one(group, error)

    async def _let_others_go_first(self) -> None:
        """A busy event loop has its commits more seldom: each then serves more."""
        self._begun = self._loop.time()
        now_s = time.monotonic()  # the event loop's own clock tells milliseconds
        end_s = now_s + OTHERS_FIRST_S
        while now_s < end_s:
            before_s = now_s
            _yield_core()
            await asyncio.sleep(0)
            now_s = time.monotonic()
            if now_s - before_s < IDLE_PASS_S:
                return

    def _next_group(self) -> list[Pending[W, R]]:
        group: list[Pending[W, R]] = []
        now = self._loop.time()
        group_max = self._group_max
        while self._waiting and len(group) < (group_max := min(group_max, self._waiting[0].group_max)):
            pending = self._waiting.popleft()
            if now < pending.tried_until:
                group.append(pending)
            else:
                pending.over(self._too_late())
        return group

    async def _commit(self, group: Sequence[Pending[W, R]], transaction: _Transaction[W, R]) -> None:
        self._begun = self._loop.time()
        commit = self._database.write(transaction.write)
        outcomes = await failpoints.around(commit, [each.write for each in group])
        self._failure = NO_ANSWER
        for each, outcome in zip(group, outcomes, strict=True):
            each.over(outcome)

    async def _try_again(
        self, group: Sequence[Pending[W, R]], transaction: _Transaction[W, R], failure: StoreUnavailable
    ) -> None:
        now = self._loop.time()
        self._failure = failure
        transaction.given_up = True
        for each in group:
            each.unsure = each.unsure or transaction.unsure
            if now >= each.tried_until:
                each.over(self._too_late())
            elif now >= each.patience_until:
                each.tell(self._too_late())
        await asyncio.sleep(RETRY_PAUSE_S)
        if len(group) > 1 and transaction.begun and await self._answers():
            for each in group:
                each.group_max = max(1, len(group) // SPLIT)
        # Behind those that came meanwhile: what fails again and again must not keep the others from being tried.
        self._waiting.extend(each for each in group if each.outcome is None)

    async def _answers(self) -> bool:
        """Whether the database answers, so that it may be one of the writes that failed the others."""
        try:
            await self._database.read(lambda connection: connection.scalar(select(literal(1))))
        except StoreUnavailable:
            return False
        return True

    async def _one_by_one(self, group: Sequence[Pending[W, R]], error: Exception) -> None:
        """One write that cannot be made must not take the others with it."""
        if len(group) == 1:
            if not isinstance(error, Failure):
                logger.error("a write failed", exc_info=error)
            group[0].over(error)
            return
        for each in group:
            await self._write_group([each])

    def _check_patience(self) -> None:
        now = self._loop.time()
        still: list[Pending[W, R]] = []
        for pending in self._patient:
            if pending.committed.done():
                continue
            if now >= pending.patience_until:
                pending.tell(self._too_late())
            else:
                still.append(pending)
        self._patient = deque(still)
        self._check = self._loop.call_later(PATIENCE_CHECK_S, self._check_patience) if still else None

    def _give_up(self) -> int:
        count = len(self._waiting)
        while self._waiting:
            self._waiting.popleft().over(self._too_late())
        return count

    def _too_late(self) -> StoreUnavailable:
        """Why a write is not made in time: for each caller an error of its own, who may add to it."""
        known = self._failure
        return StoreUnavailable(known.message, metadata=known.metadata, retry_after_s=known.retry_after_s)
