"""What databases do when they fail: for how long a caller waits, what it is told, and how all heals."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, insert, select, text, update

from penstock_server.errors import StoreUnavailable
from penstock_server.store.errors import StoreError
from penstock_server.store.sql.database import ATTEMPTS_MAX, Database
from penstock_server.store.sql.store import StoreSettings, database_of
from penstock_server.store.sql.url import parse
from tests.databases import DatabaseServer, MariaDb, PostgreSql, running

TIMEOUT_S = 1.0
PATIENCE_S = 10.0
"""How long anything may take on a machine that has other things to do."""
SLEEP = {"mysql": "SELECT SLEEP(30)", "postgresql": "SELECT pg_sleep(30)"}

numbers = Table("numbers", MetaData(), Column("id", Integer, primary_key=True), Column("value", Integer))
networked = pytest.mark.parametrize("database", ["mysql", "postgresql"])


@asynccontextmanager
async def opened(url: str, **settings: Any) -> AsyncIterator[Database]:
    defaults = {"store_timeout_s": TIMEOUT_S, "store_pool_size": 6}
    database = database_of(parse(url), StoreSettings(service="test", **defaults | settings), instance=False)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
async def db(empty_url: str) -> AsyncIterator[Database]:
    """A database with a table of numbers: 1 and 2, both with the value 0."""
    async with opened(empty_url) as database:
        await database.alone("numbers", numbers.create)
        await database.write(lambda each: each.execute(insert(numbers), [{"id": key, "value": 0} for key in (1, 2)]))
        yield database


def count(connection: Connection) -> int:
    return len(connection.execute(select(numbers)).all())


def adding(*keys: int) -> Callable[[Connection], None]:
    return lambda connection: [connection.execute(insert(numbers).values(id=key, value=0)) for key in keys] and None


async def fails(doing: Any) -> tuple[StoreUnavailable, float]:
    """The failure, and how long it took to come."""
    start_s = time.monotonic()
    with pytest.raises(StoreUnavailable) as failed:
        await doing
    return failed.value, time.monotonic() - start_s


async def healed(database: Database) -> None:
    """Returns once the database reads and writes again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await database.read(count)
                await database.write(lambda each: each.execute(update(numbers).values(value=1)))
                return
            except StoreUnavailable:
                await asyncio.sleep(0.05)


class TestWork:
    """What is promised of work that meets no failure of the database."""

    async def test_what_fails_is_taken_back_whole(self, db: Database) -> None:
        def broken(connection: Connection) -> None:
            adding(3)(connection)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await db.write(broken)
        assert await db.read(count) == 2

    async def test_a_statement_that_is_wrong_is_a_defect_and_no_failure_of_the_store(self, db: Database) -> None:
        for execute in (db.read, db.write):
            with pytest.raises(Exception, match="nothing_of_the_kind") as failed:
                await execute(lambda connection: connection.execute(text("SELECT * FROM nothing_of_the_kind")))
            assert not isinstance(failed.value, StoreUnavailable)
        assert await db.read(count) == 2

    async def test_work_that_collides_is_executed_again(self, db: Database) -> None:
        keys = iter((1, 2, 3))
        await db.write(lambda connection: adding(next(keys))(connection))
        assert await db.read(count) == 3

    async def test_work_that_always_collides_is_given_up(self, db: Database) -> None:
        executed: list[int] = []
        with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
            await db.write(lambda connection: executed.append(1) or adding(1)(connection))
        assert len(executed) == ATTEMPTS_MAX

    async def test_what_is_written_is_read_at_once(self, db: Database) -> None:
        for key in range(10, 30):
            await db.write(adding(key))
            assert await db.read(count) == key - 7

    async def test_many_calls_at_once_share_the_connections(self, db: Database) -> None:
        await asyncio.gather(*(db.write(adding(key)) for key in range(100, 160)), *(db.read(count) for _ in range(60)))
        assert await db.read(count) == 62

    async def test_a_call_that_is_cancelled_leaves_the_connection_usable(self, db: Database) -> None:
        for _ in range(30):
            calls = [asyncio.ensure_future(db.read(count)), asyncio.ensure_future(db.write(touch))]
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        assert await db.read(count) == 2
        await db.write(touch)


def touch(connection: Connection) -> None:
    connection.execute(update(numbers).where(numbers.c.id == 1).values(value=numbers.c.value + 1))


@networked
class TestServers:
    """Databases behind a network."""

    async def test_transactions_that_deadlock_both_succeed(self, db: Database) -> None:
        meet = asyncio.Barrier(2)

        async def swap(first: int, second: int) -> None:
            from sqlalchemy.util import await_only

            met = False

            def work(connection: Connection) -> None:
                nonlocal met
                connection.execute(update(numbers).where(numbers.c.id == first).values(value=first))
                if not met:
                    met = True
                    await_only(meet.wait())
                connection.execute(update(numbers).where(numbers.c.id == second).values(value=first))

            await db.write(work)

        # PostgreSQL looks for deadlocks once a second.
        async with opened(str(database_url(db)), store_timeout_s=PATIENCE_S) as patient:
            db = patient
            await asyncio.gather(swap(1, 2), swap(2, 1))

    async def test_a_lock_that_is_held_for_too_long_fails_the_call(self, db: Database) -> None:
        release = asyncio.Event()

        def hold(connection: Connection) -> None:
            from sqlalchemy.util import await_only

            touch(connection)
            await_only(release.wait())

        async with opened(str(database_url(db)), store_timeout_s=PATIENCE_S * 3) as patient:
            holder = asyncio.ensure_future(patient.write(hold))
            await asyncio.sleep(0.2)
            _, took_s = await fails(db.write(touch))
            assert took_s < TIMEOUT_S + PATIENCE_S / 2
            release.set()
            await holder
        await db.write(touch)

    async def test_a_query_that_takes_too_long_fails_the_call_and_ends_on_the_server(
        self, db: Database, server: DatabaseServer
    ) -> None:
        failure, took_s = await fails(db.read(lambda each: each.exec_driver_sql(SLEEP[server.kind])))
        assert took_s < TIMEOUT_S + PATIENCE_S / 2
        assert failure.retry_after_s
        await healed(db)
        running = {
            "mysql": "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'",
            "postgresql": "SELECT COUNT(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'",
        }
        async with asyncio.timeout(PATIENCE_S):
            while server.execute(running[server.kind]) != "0":
                await asyncio.sleep(0.1)

    async def test_calls_wait_for_a_connection_no_longer_than_the_timeout(
        self, db: Database, server: DatabaseServer
    ) -> None:
        async with opened(str(database_url(db)), store_pool_size=2, store_timeout_s=TIMEOUT_S / 2) as small:
            sleep = [small.read(lambda each: each.exec_driver_sql(SLEEP[server.kind])) for _ in range(8)]
            results = await asyncio.wait_for(asyncio.gather(*sleep, return_exceptions=True), PATIENCE_S)
            assert [type(each) for each in results] == [StoreUnavailable] * 8
            await healed(small)

    async def test_cancelled_calls_leak_no_connections(self, db: Database, server: DatabaseServer) -> None:
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
            "postgresql": "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = '{}' AND backend_type = 'client backend'",
        }
        asked = connections[server.kind].format(database_url(db).rpartition("/")[2])
        async with asyncio.timeout(PATIENCE_S):
            while int(server.execute(asked)) > 6:
                await asyncio.sleep(0.1)

    async def test_a_connection_that_the_server_closed_is_replaced_unseen(
        self, db: Database, server: DatabaseServer
    ) -> None:
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


def database_url(database: Any) -> str:
    url: str = database._url.render_as_string(hide_password=False)
    return url


@pytest.fixture(params=[MariaDb, PostgreSql])
def own_server(request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    """A server that the test may hurt."""
    with running(request.param) as server:
        yield server


class TestOutages:
    """A server that dies, hangs, and comes back."""

    async def test_a_server_that_died_fails_calls_at_once_and_is_used_again_when_it_is_back(
        self, own_server: DatabaseServer, caplog: pytest.LogCaptureFixture
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
        self, own_server: DatabaseServer
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

    async def test_a_store_on_a_server_that_hangs_or_is_gone_cannot_be_opened(self, own_server: DatabaseServer) -> None:
        url = own_server.create("hurt")
        with own_server.frozen(), pytest.raises(StoreError, match="longer than 1 s"):
            await opened(url).__aenter__()
        own_server.stop()
        with pytest.raises(StoreError, match=r"nothing (answers|listens) there"):
            await opened(url).__aenter__()


@networked
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": "wrong-secret"}, "the user or the password is wrong"),
        ({"username": "nobody"}, "the user or the password is wrong"),
        ({"database": "nothing"}, "there is no such database; create it first|has no right to this database"),
        ({"host": "nothing.invalid"}, "the host nothing.invalid is not known|nothing answers there"),
        ({"query": {"sslmode": "require"}}, "SSL|TLS"),
    ],
)
async def test_a_database_that_cannot_be_opened_says_why_without_the_password(
    empty_url: str, change: dict[str, Any], said: str
) -> None:
    url = parse(empty_url).set(**change)
    with pytest.raises(StoreError, match=said) as refused:
        await opened(url.render_as_string(hide_password=False)).__aenter__()
    assert "secret" not in str(refused.value)
