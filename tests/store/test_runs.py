"""Runs as every instance sees them, on every database."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.store.records import accept, acceptance, append, deltas, ending, take_turn

from penstock_server.ids import new_id
from penstock_server.runs.events import RunStatus
from penstock_server.store.records import Cursor, RunFilter, RunRecord, Scope, TimeRange
from penstock_server.store.sql.runs.runs import SqlRuns
from penstock_server.store.sql.store import SqlStore

EVERYBODY = Scope()
SOON_S = 10.0
SECOND = timedelta(seconds=1)


async def found(store: SqlStore, size: int = 100, **filter: object) -> list[RunRecord]:
    """All runs that are so, read page by page."""
    asked = RunFilter(**{"scope": EVERYBODY, **filter})  # type: ignore[arg-type]
    runs: list[RunRecord] = []
    cursor: Cursor | None = None
    while True:
        page = await store.runs.page(asked, cursor, size)
        assert len(page.items) <= size
        runs += page.items
        if (cursor := page.next) is None:
            return runs


async def ids(store: SqlStore, **filter: object) -> list[str]:
    return [each.run for each in await found(store, **filter)]


async def test_runs_are_listed_newest_first_in_pages(store: SqlStore) -> None:
    asked = [(await take_turn(store, str(number))).run for number in range(7)]
    for size in (1, 3, 7, 100):
        assert [each.run for each in await found(store, size)] == asked[::-1]


async def test_a_listed_run_comes_without_what_is_large(store: SqlStore) -> None:
    asked = acceptance("q", chat=False, user="u")
    await store.turns.finish(ending(asked, await accept(store, asked)))
    [listed] = await found(store)
    record = await store.runs.get(asked.run)
    assert record is not None
    assert (record.inputs, record.outputs) == ({"question": "q"}, {"answer": "hi"})
    assert (listed.inputs, listed.outputs, listed.nodes) == ({}, {}, ())
    assert (listed.status, listed.end_time, listed.user) == (record.status, record.end_time, "u")


async def test_runs_are_listed_by_user_session_flow_status_and_time(store: SqlStore) -> None:
    start = datetime.now(UTC) - timedelta(hours=1)
    session = new_id()
    alice = await take_turn(store, "a", user="alice", session=session, create_time=start)
    plain = await take_turn(store, "b", user="alice", session=session, chat=False, create_time=start + SECOND)
    other = await take_turn(store, "c", user="Alice", flow="other", create_time=start + 2 * SECOND)
    live = acceptance("d", user="alice", session=session, create_time=start + 3 * SECOND)
    await accept(store, live)
    waits = acceptance("e", user="alice", session=session, create_time=start + 4 * SECOND)
    await accept(store, waits)
    assert await ids(store, scope=Scope(user="alice")) == [waits.run, live.run, plain.run, alice.run]
    assert await ids(store, scope=Scope(user="nobody")) == []
    assert await ids(store, session=session, size=2) == [waits.run, live.run, plain.run, alice.run]
    assert await ids(store, session=session, scope=Scope(user="Alice")) == []
    assert await ids(store, flow="other") == [other.run]
    assert await ids(store, status=RunStatus.RUNNING) == [live.run]
    assert await ids(store, status=RunStatus.QUEUED, session=session) == [waits.run]
    assert await ids(store, status=RunStatus.SUCCEEDED) == [other.run, plain.run, alice.run]
    within = TimeRange(start=start + SECOND, end=start + 3 * SECOND)
    assert await ids(store, accepted=within) == [other.run, plain.run]
    assert await ids(store, accepted=TimeRange(end=start)) == []


async def test_who_follows_a_run_is_known_for_as_long_as_he_says(store: SqlStore) -> None:
    asked, other = acceptance(), acceptance()
    await accept(store, asked)
    await accept(store, other)
    assert not await store.runs.watched(asked.run)
    await store.runs.watch([asked.run, "nothing"], 60)
    await store.runs.watch([asked.run], 0.01)  # the longer one counts
    await asyncio.sleep(0.05)
    assert await store.runs.watched(asked.run)
    assert not await store.runs.watched(other.run)
    assert not await store.runs.watched("nothing")
    await store.runs.watch([other.run], 0.05)
    async with asyncio.timeout(SOON_S):
        while await store.runs.watched(other.run):
            await asyncio.sleep(0.02)
    await store.runs.watch([], 60)


async def test_many_runs_are_followed_at_once_while_they_are_written(store: SqlStore) -> None:
    asked = [acceptance(str(number)) for number in range(30)]
    accepted = [await accept(store, each) for each in asked]
    names = [each.run for each in asked]
    appending = [append(store, each, deltas(1, 5)) for each in accepted]
    watching = [store.runs.watch(names[::way], 60) for way in (1, -1, 1, -1)]
    await asyncio.gather(*watching, *appending)
    assert all([await store.runs.watched(each) for each in names])


class TestChanges:
    """PostgreSQL tells other instances what has changed; with the others, they have to look."""

    @pytest.fixture
    async def elsewhere(self, store: SqlStore) -> AsyncIterator[SqlRuns]:
        """Runs, as another instance sees them. It listens already."""
        runs = SqlRuns(store.database, store.tables)
        await runs.changed(0.5)
        await asyncio.sleep(0.5)
        await runs.changed(0.0)
        yield runs
        await runs.close()

    async def wakes(self, runs: SqlRuns, doing: object, timeout_s: float = SOON_S) -> bool:
        """Whether it is told of what is done."""
        waiting = asyncio.create_task(runs.changed(timeout_s))
        await asyncio.sleep(0.05)
        await doing  # type: ignore[misc]
        start_s = time.monotonic()
        await waiting
        return time.monotonic() - start_s < timeout_s / 2

    @pytest.mark.parametrize("database", ["sqlite", "mysql"])
    async def test_where_nothing_is_told_it_takes_the_whole_time(self, store: SqlStore) -> None:
        start_s = time.monotonic()
        await store.runs.changed(0.2)
        assert time.monotonic() - start_s >= 0.19

    @pytest.mark.parametrize("database", ["postgresql"])
    async def test_what_happens_to_a_followed_run_is_told(self, store: SqlStore, elsewhere: SqlRuns) -> None:
        asked = acceptance()
        accepted = await accept(store, asked)
        assert not await self.wakes(elsewhere, append(store, accepted, deltas(1, 2)), 0.5)
        await store.runs.watch([asked.run], 60)
        assert await self.wakes(elsewhere, append(store, accepted, deltas(3, 4)))
        assert await self.wakes(elsewhere, store.turns.finish(ending(asked, accepted, last_sequence=5)))

    @pytest.mark.parametrize("database", ["postgresql"])
    async def test_errands_are_told(self, store: SqlStore, elsewhere: SqlRuns) -> None:
        first = acceptance()
        one = await accept(store, first)
        assert await self.wakes(elsewhere, store.runs.request_cancel(first.run))
        await accept(store, acceptance(session=first.session))
        assert await self.wakes(elsewhere, store.turns.finish(ending(first, one)))
        unfollowed = acceptance()
        last = await accept(store, unfollowed)
        assert not await self.wakes(elsewhere, store.turns.finish(ending(unfollowed, last)), 0.5)

    @pytest.mark.parametrize("database", ["postgresql"])
    async def test_what_is_told_between_two_waits_is_not_missed(self, store: SqlStore, elsewhere: SqlRuns) -> None:
        asked = acceptance()
        await accept(store, asked)
        await store.runs.request_cancel(asked.run)
        await asyncio.sleep(0.2)
        start_s = time.monotonic()
        await elsewhere.changed(SOON_S)
        assert time.monotonic() - start_s < SOON_S / 2
