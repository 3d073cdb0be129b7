"""Work that has much to read: its own limit, and apart from other calls."""

import asyncio
import time
from dataclasses import replace

import pytest
from sqlalchemy import Connection
from tests.databases import DatabaseServer
from tests.store.conftest import SETTINGS
from tests.store.numbers import PATIENCE_S, TIMEOUT_S, count, opened, touch
from tests.store.records import take_turn

from penstock_server.errors import SearchTimeout
from penstock_server.store.records import Scope, SearchFilter, TimeRange
from penstock_server.store.sql.database import Database
from penstock_server.store.sql.databases.url import parse
from penstock_server.store.sql.store import SqlStore

UNTIL_INTERRUPTED = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT COUNT(*) FROM n"
SLEEP = {"sqlite": UNTIL_INTERRUPTED, "mysql": "SELECT SLEEP(30)", "postgresql": "SELECT pg_sleep(30)"}
SLEEP_BRIEFLY = {"sqlite": "SELECT 1", "mysql": "SELECT SLEEP(1)", "postgresql": "SELECT pg_sleep(1)"}
RUNNING = {
    "mysql": "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'",
    "postgresql": "SELECT COUNT(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sl%' AND state = 'active'",
}
SEARCHES = 20
"""More than any database executes at once."""


def slow(database: Database, statement: dict[str, str] = SLEEP) -> "asyncio.Task[None]":
    def work(connection: Connection) -> None:
        connection.exec_driver_sql(statement[database.dialect.name]).all()

    return asyncio.ensure_future(database.search(work))


async def test_a_search_may_take_longer_than_other_calls(empty_url: str) -> None:
    async with opened(empty_url, store_timeout_s=TIMEOUT_S / 2, search_timeout_s=PATIENCE_S) as db:
        await slow(db, SLEEP_BRIEFLY)


async def test_a_search_that_takes_too_long_fails_and_ends_in_the_database(
    empty_url: str, server: DatabaseServer | None
) -> None:
    async with opened(empty_url, search_timeout_s=TIMEOUT_S) as db:
        for _ in range(2):
            start_s = time.monotonic()
            with pytest.raises(SearchTimeout, match="longer than 1 s; look at less"):
                await slow(db)
            assert time.monotonic() - start_s < TIMEOUT_S + PATIENCE_S / 2
        async with asyncio.timeout(PATIENCE_S):
            while server is not None and server.execute(RUNNING[server.kind]) != "0":
                await asyncio.sleep(0.1)
    # SQLite's threads are waited for when the file is closed: they have nothing left to do.


async def test_searches_keep_neither_reads_nor_writes_waiting(db: Database, empty_url: str) -> None:
    async with opened(empty_url, search_timeout_s=PATIENCE_S) as busy:
        searches = [slow(busy) for _ in range(SEARCHES)]
        await asyncio.sleep(0.2)
        for _ in range(5):
            await asyncio.gather(busy.write(touch), *(busy.read(count) for _ in range(5)))
        assert not any(search.done() for search in searches)
        for search in searches:
            search.cancel()
        await asyncio.gather(*searches, return_exceptions=True)


async def test_a_search_that_nobody_waits_for_any_more_makes_room_for_others(empty_url: str) -> None:
    async with opened(empty_url, search_timeout_s=2 * PATIENCE_S) as db:
        searches = [slow(db) for _ in range(SEARCHES)]
        await asyncio.sleep(0.2)
        for search in searches:
            search.cancel()
        await asyncio.gather(*searches, return_exceptions=True)
        await asyncio.wait_for(db.search(lambda each: each.exec_driver_sql("SELECT 1").all()), PATIENCE_S)


async def test_a_search_that_waits_for_others_for_too_long_fails(empty_url: str) -> None:
    async with opened(empty_url, search_timeout_s=TIMEOUT_S) as db:
        results = await asyncio.wait_for(
            asyncio.gather(*(slow(db) for _ in range(SEARCHES)), return_exceptions=True), PATIENCE_S
        )
        assert {type(result) for result in results} == {SearchTimeout}
        await db.search(lambda each: each.exec_driver_sql("SELECT 1").all())


async def test_a_search_of_messages_has_this_limit(store_url: str) -> None:
    settings = replace(SETTINGS, search_timeout_s=1e-6)
    store = SqlStore(parse(store_url), settings, instance="instance-of-the-test")
    await store.open()
    try:
        asked = await take_turn(store, "word")
        with pytest.raises(SearchTimeout):
            await store.messages.search(SearchFilter(scope=Scope(), query="word"), None, 10)
        session = await store.sessions.get(asked.session, Scope())
        with pytest.raises(SearchTimeout):
            await store.messages.of_sessions([session], TimeRange(), None, 10)
    finally:
        await store.close()
