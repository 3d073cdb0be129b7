"""Transactions of several instances that meet in the same sessions."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest
from tests.databases import DatabaseServer
from tests.store.conftest import SETTINGS
from tests.store.records import accept, acceptance, ending, take_turn
from tests.store.test_turns import messages

from penstock_server.ids import new_id
from penstock_server.store.records import Scope
from penstock_server.store.sql.databases.url import parse
from penstock_server.store.sql.store import SqlStore
from penstock_server.store.sql.turns.sessionlocks import SessionLocks

INSTANCES = 6
STEPS = 150
WINDOW = 12
"""How many sessions are used at the same time; with each step, one is new."""
AT_ONCE = 8
STATISTICS_S = 1.2
"""PostgreSQL tells of its deadlocks after up to a second."""
DEADLOCKS = {
    "mysql": "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'INNODB_DEADLOCKS'",
    "postgresql": "SELECT sum(deadlocks) FROM pg_stat_database",
}

CIRCLES_MAX = {"mysql": STEPS * INSTANCES // 50, "postgresql": 0}
"""MySQL locks more than it is told to where two make the same session, and notices the circle at once."""
Doing = Callable[[SqlStore], Coroutine[Any, Any, object]]


@pytest.fixture(params=["mysql", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """Those that several instances can share."""
    return str(request.param)


@pytest.fixture
async def stores(store_url: str) -> AsyncIterator[list[SqlStore]]:
    """Instances on the same database."""
    stores = [SqlStore(parse(store_url), SETTINGS, instance=f"instance-{number}") for number in range(INSTANCES)]
    for store in stores:
        await store.open()
    yield stores
    for store in stores:
        await store.close()


async def test_instances_that_make_and_use_the_same_sessions_do_not_wait_for_each_other_in_a_circle(
    stores: list[SqlStore], server: DatabaseServer
) -> None:
    random, before = Random(1), await _deadlocks(server)
    names = [new_id() for _ in range(STEPS + WINDOW)]

    async def converse(store: SqlStore) -> None:
        for step in range(STEPS):
            meeting = random.sample(names[step : step + WINDOW], AT_ONCE)
            await asyncio.gather(*(accept(store, acceptance(session=name)) for name in meeting))

    await asyncio.gather(*map(converse, stores))
    assert await _deadlocks(server) - before <= CIRCLES_MAX[server.kind]


@pytest.fixture
def meanwhile(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[Doing], None]:
    """Has another instance do something after the next transaction has seen which sessions are missing."""

    def meanwhile(doing: Doing) -> None:
        missing = SessionLocks.missing
        waiting = [doing]

        def meet(*args: Any) -> set[str]:
            found = missing(*args)
            while waiting:
                _elsewhere(store_url, waiting.pop())
            return found

        monkeypatch.setattr(SessionLocks, "missing", meet)

    return meanwhile


async def test_a_session_that_another_makes_meanwhile_is_the_same(
    store: SqlStore, meanwhile: Callable[[Doing], None]
) -> None:
    asked = acceptance(session=new_id())
    meanwhile(lambda elsewhere: take_turn(elsewhere, "Is it mine?", session=asked.session))
    assert (await accept(store, asked)).turn == 2


async def test_a_turn_whose_session_another_deletes_meanwhile_gets_a_new_one(
    store: SqlStore, meanwhile: Callable[[Doing], None]
) -> None:
    first = await take_turn(store, "Is it mine?")
    meanwhile(lambda elsewhere: elsewhere.sessions.delete(first.session, Scope()))
    asked = acceptance(session=first.session)
    accepted = await accept(store, asked)
    assert await store.turns.finish(ending(asked, accepted))
    assert [(each.run, each.turn) for each in await messages(store, asked.session)] == [(asked.run, 1)] * 2


async def _deadlocks(server: DatabaseServer) -> int:
    await asyncio.sleep(STATISTICS_S)
    return int(await asyncio.to_thread(server.execute, DEADLOCKS[server.kind]))


def _elsewhere(url: str, doing: Doing) -> None:
    """What another instance does while this one waits for it in the middle of a transaction."""

    async def do() -> None:
        store = SqlStore(parse(url), SETTINGS, instance="elsewhere")
        await store.open()
        await doing(store)
        await store.close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, do()).result()
