"""Groups of writes on servers that die: which of the writes may have been committed."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import Connection
from tests.databases import DatabaseServer
from tests.store.numbers import PATIENCE_S, count, numbers, opened, touch

from penstock_server.errors import StoreUnavailable
from penstock_server.store.sql.turns.groupcommit import RETRY_PAUSE_S, GroupCommit

TRIED_S = 4 * RETRY_PAUSE_S


def _dies_while_writing(kill: Callable[[], None], connection: Connection) -> None:
    kill()
    touch(connection)


def _dies_before_the_commit(kill: Callable[[], None], connection: Connection) -> None:
    touch(connection)
    kill()


@pytest.mark.parametrize(("work", "unsure"), [(_dies_while_writing, False), (_dies_before_the_commit, True)])
async def test_only_a_write_whose_transaction_was_made_may_have_been_committed(
    own_server: DatabaseServer, work: Callable[[Callable[[], None], Connection], None], *, unsure: bool
) -> None:
    async with opened(own_server.create("hurt")) as db:
        await db.alone("numbers", numbers.create)

        def write(connection: Connection, writes: Sequence[int], repeated: bool) -> Sequence[int]:
            work(own_server.kill, connection)
            return writes

        pending = GroupCommit(db, write).submit(1, patience_s=TRIED_S, tried_s=TRIED_S)
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(pending.committed, PATIENCE_S)
        assert pending.unsure is unsure


async def test_writes_that_never_reached_the_server_stay_one_group_and_are_not_uncertain(
    own_server: DatabaseServer,
) -> None:
    groups: list[tuple[int, bool]] = []

    def write(connection: Connection, writes: Sequence[int], repeated: bool) -> Sequence[int]:
        touch(connection)
        groups.append((len(writes), repeated))
        return writes

    async with opened(own_server.create("hurt")) as db:
        await db.alone("numbers", numbers.create)
        await db.write(count)
        commits = GroupCommit(db, write)
        own_server.kill()
        refused = commits.submit(0, patience_s=TRIED_S, tried_s=TRIED_S)
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(refused.committed, PATIENCE_S)
        assert not refused.unsure
        waiting = [commits.submit(each, patience_s=PATIENCE_S, tried_s=PATIENCE_S) for each in range(20)]
        await asyncio.sleep(2 * RETRY_PAUSE_S)
        own_server.start()
        assert await asyncio.gather(*(each.committed for each in waiting)) == list(range(20))
    assert groups == [(20, False)]
