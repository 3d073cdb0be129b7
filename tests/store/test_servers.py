"""Databases on servers: time limits, locks, connections, and why one cannot be opened."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection, update
from sqlalchemy.util import await_only
from tests.databases import DatabaseServer
from tests.store.numbers import PATIENCE_S, TIMEOUT_S, count, fails, healed, numbers, opened, touch

from penstock_server.errors import StoreUnavailable
from penstock_server.store.errors import StoreError
from penstock_server.store.sql.database import Database
from penstock_server.store.sql.databases import networked
from penstock_server.store.sql.databases.url import parse

pytestmark = pytest.mark.parametrize("database", ["mysql", "postgresql"])
SLEEP = {"mysql": "SELECT SLEEP(30)", "postgresql": "SELECT pg_sleep(30)"}


async def test_transactions_that_deadlock_both_succeed(db: Database) -> None:
    meet = asyncio.Barrier(2)

    async def swap(patient: Database, first: int, second: int) -> None:
        met = False

        def work(connection: Connection) -> None:
            nonlocal met
            connection.execute(update(numbers).where(numbers.c.id == first).values(value=first))
            if not met:
                met = True
                await_only(meet.wait())
            connection.execute(update(numbers).where(numbers.c.id == second).values(value=first))

        await patient.write(work)

    # PostgreSQL looks for deadlocks once a second.
    async with opened(database_url(db), store_timeout_s=PATIENCE_S) as patient:
        await asyncio.gather(swap(patient, 1, 2), swap(patient, 2, 1))


async def test_a_lock_that_is_held_for_too_long_fails_the_call(db: Database) -> None:
    release = asyncio.Event()

    def hold(connection: Connection) -> None:
        touch(connection)
        await_only(release.wait())

    async with opened(database_url(db), store_timeout_s=PATIENCE_S * 3) as patient:
        holder = asyncio.ensure_future(patient.write(hold))
        await asyncio.sleep(0.2)
        _, took_s = await fails(db.write(touch))
        assert took_s < TIMEOUT_S + PATIENCE_S / 2
        release.set()
        await holder
    await db.write(touch)


async def test_a_query_that_takes_too_long_fails_the_call_and_ends_on_the_server(
    db: Database, server: DatabaseServer
) -> None:
    failure, took_s = await fails(db.read(lambda each: each.exec_driver_sql(SLEEP[server.kind])))
    assert took_s < TIMEOUT_S + PATIENCE_S / 2
    assert failure.retry_after_s
    await healed(db)
    running = {
        "mysql": "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'",
        "postgresql": "SELECT COUNT(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sl%' AND state = 'active'",
    }
    async with asyncio.timeout(PATIENCE_S):
        while server.execute(running[server.kind]) != "0":
            await asyncio.sleep(0.1)


async def test_calls_wait_for_a_connection_no_longer_than_the_timeout(db: Database, server: DatabaseServer) -> None:
    async with opened(database_url(db), store_pool_size=3, store_timeout_s=TIMEOUT_S / 2) as small:
        sleep = [small.read(lambda each: each.exec_driver_sql(SLEEP[server.kind])) for _ in range(8)]
        results = await asyncio.wait_for(asyncio.gather(*sleep, return_exceptions=True), PATIENCE_S)
        assert [type(each) for each in results] == [StoreUnavailable] * 8
        await healed(small)


async def test_cancelled_calls_leak_no_connections(db: Database, server: DatabaseServer) -> None:
    for _ in range(5):
        calls = [asyncio.ensure_future(db.read(lambda each: each.exec_driver_sql(SLEEP[server.kind])))]
        calls += [asyncio.ensure_future(db.write(touch)) for _ in range(5)]
        await asyncio.sleep(0.02)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    await healed(db)
    await asyncio.gather(*(db.read(count) for _ in range(20)))
    connections = {
        "mysql": "SELECT COUNT(*) FROM information_schema.processlist WHERE db = '{}'",
        "postgresql": "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = '{}'",
    }
    asked = connections[server.kind].format(database_url(db).rpartition("/")[2])
    async with asyncio.timeout(PATIENCE_S):
        while int(server.execute(asked)) > 6:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("ping_idle_s", [0.0, 60.0], ids=["asked", "unasked"])
async def test_a_connection_that_the_server_closed_is_replaced_unseen(
    db: Database, server: DatabaseServer, ping_idle_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networked, "PING_IDLE_S", ping_idle_s)
    name = database_url(db).rpartition("/")[2]
    for execute in (db.read, db.write):
        await asyncio.gather(*(execute(count) for _ in range(6)))
        if server.kind == "mysql":
            asked = f"SELECT id FROM information_schema.processlist WHERE db = '{name}'"
            server.execute(*(f"KILL {each}" for each in server.execute(asked).split()))
        else:
            asked = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            server.execute(asked)
        assert await asyncio.gather(*(execute(count) for _ in range(6))) == [2] * 6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": "wrong-secret"}, "the user or the password is wrong"),
        ({"username": "nobody"}, "the user or the password is wrong"),
        ({"database": "nothing"}, "there is no such database; create it first|has no right to this database"),
        ({"port": 1}, "nothing listens there|no connection to it comes about"),
        ({"host": "nothing.invalid"}, "the host nothing.invalid is not known|Name or service not known"),
        ({"query": {"sslmode": "require"}}, "SSL"),
        (
            {"query": {"sslmode": "verify-full", "sslrootcert": "/nothing.pem"}},
            "certificate /nothing.pem cannot be read",
        ),
    ],
)
async def test_a_database_that_cannot_be_opened_says_why_without_the_password(
    empty_url: str, change: dict[str, Any], said: str
) -> None:
    url = parse(empty_url).set(**change)
    with pytest.raises(StoreError, match=said) as refused:
        await opened(url.render_as_string(hide_password=False)).__aenter__()
    assert "secret" not in str(refused.value)


def database_url(database: Any) -> str:
    url: str = database._url.render_as_string(hide_password=False)
    return url
