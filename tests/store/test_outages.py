"""Servers that die, hang, and come back."""

import asyncio
import logging
import time

import pytest
from tests.databases import DatabaseServer, PostgreSql, running
from tests.store.numbers import PATIENCE_S, TIMEOUT_S, count, fails, healed, numbers, opened

from penstock_server.errors import StoreUnavailable
from penstock_server.store.errors import StoreError
from penstock_server.store.sql.database import Changes, Database


async def test_a_server_that_died_fails_calls_at_once_and_is_used_again_when_it_is_back(
    own_server: DatabaseServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "penstock.store")
    async with opened(own_server.create("hurt")) as db:
        await db.alone("numbers", numbers.create)
        own_server.kill()
        for execute in (db.read, db.write) * 3:
            _, took_s = await fails(execute(count))
            assert took_s < TIMEOUT_S + PATIENCE_S / 2
        own_server.start()
        await healed(db)
    said = [record.message for record in caplog.records if record.name == "penstock.store"]
    assert [("works again" in each, "secret" in each) for each in said] == [(False, False), (True, False)]


async def test_a_server_that_hangs_fails_calls_within_the_timeout_and_is_used_again_when_it_answers(
    own_server: DatabaseServer,
) -> None:
    async with opened(own_server.create("hurt")) as db:
        await db.alone("numbers", numbers.create)
        await asyncio.gather(*(db.read(count) for _ in range(4)))
        with own_server.frozen():
            for _ in range(2):
                calls = [db.read(count) for _ in range(10)] + [db.write(count) for _ in range(10)]
                results = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), PATIENCE_S)
                assert [type(each) for each in results] == [StoreUnavailable] * 20
        await healed(db)


async def test_a_store_on_a_server_that_hangs_or_is_gone_cannot_be_opened(own_server: DatabaseServer) -> None:
    url = own_server.create("hurt")
    with own_server.frozen(), pytest.raises(StoreError, match="longer than 1 s"):
        await opened(url).__aenter__()
    own_server.stop()
    with pytest.raises(StoreError, match=r"nothing listens there|no connection to it comes about"):
        await opened(url).__aenter__()


async def test_what_is_told_is_heard_again_when_the_server_is_back() -> None:
    with running(PostgreSql) as server:
        url = server.create("hurt")
        async with opened(url) as db:
            await db.alone("numbers", numbers.create)
            changes = db.changes("channel")
            server.kill()
            await changes.wait(0.1)  # it has nobody to listen to, and goes on trying
            server.start()
            await healed(db)
            async with asyncio.timeout(PATIENCE_S * 2):
                for _ in range(2):
                    await changes.wait(PATIENCE_S)  # what was told before, it has missed
                    while not await _heard(db, changes):
                        pass
                    server.kill()
                    server.start()
                    await healed(db)
            await changes.close()


async def _heard(db: Database, changes: Changes) -> bool:
    """Whether something that is told now is heard soon."""
    waiting = asyncio.create_task(changes.wait(TIMEOUT_S))
    await asyncio.sleep(0.05)
    start_s = time.monotonic()
    await db.write(lambda connection: db.dialect.notify(connection, "channel"))
    await waiting
    return time.monotonic() - start_s < TIMEOUT_S / 2
