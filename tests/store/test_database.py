"""Work on a database, where nothing fails but the work."""

import asyncio

import pytest
from sqlalchemy import Connection, text
from tests.store.numbers import adding, count, touch

from penstock_server.errors import StoreUnavailable
from penstock_server.store.sql.database import ATTEMPTS_MAX, Database


async def test_what_fails_is_taken_back_whole(db: Database) -> None:
    def broken(connection: Connection) -> None:
        adding(3)(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await db.write(broken)
    assert await db.read(count) == 2


async def test_a_statement_that_is_wrong_is_a_defect_and_no_failure_of_the_store(db: Database) -> None:
    for execute in (db.read, db.write):
        with pytest.raises(Exception, match="nothing_of_the_kind") as failed:
            await execute(lambda connection: connection.execute(text("SELECT * FROM nothing_of_the_kind")))
        assert not isinstance(failed.value, StoreUnavailable)
    assert await db.read(count) == 2


async def test_work_that_collides_is_executed_again(db: Database) -> None:
    keys = iter((1, 2, 3))
    await db.write(lambda connection: adding(next(keys))(connection))
    assert await db.read(count) == 3


async def test_work_that_always_collides_is_given_up(db: Database) -> None:
    executed: list[int] = []
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        await db.write(lambda connection: executed.append(1) or adding(1)(connection))
    assert len(executed) == ATTEMPTS_MAX


async def test_what_is_written_is_read_at_once(db: Database) -> None:
    for key in range(10, 30):
        await db.write(adding(key))
        assert await db.read(count) == key - 7


async def test_many_calls_at_once_share_the_connections(db: Database) -> None:
    await asyncio.gather(*(db.write(adding(key)) for key in range(100, 160)), *(db.read(count) for _ in range(60)))
    assert await db.read(count) == 62


async def test_a_call_that_is_cancelled_leaves_the_connection_usable(db: Database) -> None:
    for _ in range(30):
        calls = [asyncio.ensure_future(db.read(count)), asyncio.ensure_future(db.write(touch))]
        await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    assert await db.read(count) == 2
    await db.write(touch)
