"""Writes that share transactions."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, cast

import pytest
from sqlalchemy import Connection

from penstock_server.errors import StoreUnavailable
from penstock_server.store.sql.database import Database, Work
from penstock_server.store.sql.turns.groupcommit import IDLE_PASS_S, OTHERS_FIRST_S, RETRY_PAUSE_S, GroupCommit

PATIENCE_S = 10.0
WORK_S = 20 * IDLE_PASS_S
"""How long each piece of other work keeps the event loop."""


class Groups:
    """The sizes of the groups that were written, each write with its own number as its outcome."""

    def __init__(self, db: Database) -> None:
        self.sizes: list[int] = []
        self.commits: GroupCommit[int, int] = GroupCommit(db, self._write)

    def submit(self, write: int) -> "asyncio.Future[int]":
        return self.commits.submit(write, patience_s=PATIENCE_S, tried_s=PATIENCE_S).committed

    def _write(self, connection: Connection, writes: Sequence[int], repeated: bool) -> Sequence[int]:
        self.sizes.append(len(writes))
        return writes


async def test_what_comes_while_other_work_goes_on_shares_a_commit(db: Database) -> None:
    groups = Groups(db)
    committed = []
    for write in range(10):
        committed.append(groups.submit(write))
        time.sleep(WORK_S)  # noqa: ASYNC251 - work keeps the event loop
        await asyncio.sleep(0)
    assert await asyncio.gather(*committed) == list(range(10))
    assert groups.sizes[0] > 1


async def test_where_nothing_else_is_to_be_done_a_write_waits_for_no_other(db: Database) -> None:
    groups = Groups(db)
    first = groups.submit(1)
    await asyncio.sleep(OTHERS_FIRST_S / 2)
    second = groups.submit(2)
    assert await asyncio.gather(first, second) == [1, 2]
    assert groups.sizes == [1, 1]


@pytest.mark.parametrize("passes", range(4))
async def test_a_write_that_comes_just_as_a_group_is_done_is_made_too(db: Database, passes: int) -> None:
    groups, loop = Groups(db), asyncio.get_running_loop()
    later: asyncio.Future[int] = loop.create_future()

    def submit(passes: int) -> None:
        if passes:
            loop.call_soon(submit, passes - 1)
            return
        groups.submit(2).add_done_callback(lambda done: later.set_result(done.result()))

    first = groups.commits.submit(1, patience_s=PATIENCE_S, tried_s=PATIENCE_S)
    first.when_over(lambda outcome: loop.call_soon(submit, passes))
    assert await first.committed == 1
    assert await asyncio.wait_for(later, PATIENCE_S / 2) == 2


class Late:
    """A database that gives each write up, and may begin it later all the same."""

    def __init__(self, db: Database) -> None:
        self.writers_max = db.writers_max
        self.given_up: list[Work[Any]] = []

    async def write(self, work: Work[Any]) -> Any:
        self.given_up.append(work)
        raise StoreUnavailable("it has taken too long")


async def test_what_was_given_up_before_it_began_is_not_begun_later(db: Database) -> None:
    late = Late(db)
    groups = Groups(cast("Database", late))
    with pytest.raises(StoreUnavailable):
        await groups.commits.submit(1, patience_s=RETRY_PAUSE_S / 2, tried_s=RETRY_PAUSE_S / 2).committed
    for work in late.given_up:
        with pytest.raises(StoreUnavailable):
            await db.write(work)
    assert late.given_up
    assert groups.sizes == []


class Silent:
    """A database that never answers."""

    writers_max = 1

    async def write(self, work: Work[Any]) -> Any:
        await asyncio.get_running_loop().create_future()


async def test_whoever_waits_is_told_when_a_database_that_does_not_answer_is_closed() -> None:
    groups = Groups(cast("Database", Silent()))
    outcomes: list[Any] = []
    committed = []
    for write in range(3):
        pending = groups.commits.submit(write, patience_s=PATIENCE_S, tried_s=PATIENCE_S)
        pending.when_over(outcomes.append)
        committed.append(pending.committed)
        await asyncio.sleep(2 * OTHERS_FIRST_S)  # the first is under way, the others wait
    await groups.commits.close(0.05)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 3
    for each in committed:
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(each, PATIENCE_S / 2)
