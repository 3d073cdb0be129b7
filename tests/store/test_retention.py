"""What may go, on every database."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from tests.store.records import accept, acceptance, ending, take_turn

from penstock_server.errors import SessionNotFound, StoreUnavailable
from penstock_server.history.sweeper import Sweeper, SweepSettings
from penstock_server.ids import new_id
from penstock_server.store.records import Acceptance, Accepted, Erased, Scope, SessionChange
from penstock_server.store.sql.history import erasure
from penstock_server.store.sql.store import SqlStore

EVERYBODY = Scope()
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


async def turn(store: SqlStore, days_ago: float, *, session: str = "", chat: bool = True, key: str = "") -> Acceptance:
    """A whole run, so many days ago."""
    time = NOW - timedelta(days=days_ago)
    asked = acceptance(session=session, create_time=time, chat=chat, key=key)
    await store.turns.finish(ending(asked, await accept(store, asked), end_time=time))
    return asked


async def keep(store: SqlStore, session: str, days: int, *, since_days: float) -> None:
    change = SessionChange(retention_days=days)
    await store.sessions.update(session, EVERYBODY, change, NOW - timedelta(days=since_days))


async def expire(store: SqlStore, keep_days: int) -> Erased:
    """All batches."""
    total = Erased()
    while (erased := await store.retention.expire(NOW, keep_days)) != Erased():
        total += erased
    return total


async def is_there(store: SqlStore, session: str) -> bool:
    try:
        await store.sessions.get(session, EVERYBODY)
    except SessionNotFound:
        return False
    return True


async def test_a_session_goes_so_long_after_its_last_update(store: SqlStore) -> None:
    old, lately = await turn(store, 11), await turn(store, 9)
    revived = await turn(store, 30)
    await turn(store, 1, session=revived.session)
    assert await expire(store, 10) == Erased(sessions=1, messages=2, runs=1)
    assert [await is_there(store, each.session) for each in (old, lately, revived)] == [False, True, True]


async def test_nothing_goes_where_everything_is_kept(store: SqlStore) -> None:
    asked = await turn(store, 3650)
    assert await expire(store, 0) == Erased()
    assert await is_there(store, asked.session)


async def test_a_sessions_own_retention_comes_first(store: SqlStore) -> None:
    longer, shorter = await turn(store, 20), await turn(store, 20)
    await keep(store, longer.session, 100, since_days=20)
    await keep(store, shorter.session, 5, since_days=6)
    assert await expire(store, 10) == Erased(sessions=1, messages=2, runs=1)
    assert await is_there(store, longer.session)
    assert not await is_there(store, shorter.session)


async def test_a_sessions_own_retention_counts_where_everything_is_kept(store: SqlStore) -> None:
    due, not_due = await turn(store, 8), await turn(store, 8)
    await keep(store, due.session, 5, since_days=5.1)
    await keep(store, not_due.session, 5, since_days=4.9)
    assert (await expire(store, 0)).sessions == 1
    assert await is_there(store, not_due.session)


async def test_a_session_that_is_used_before_it_is_locked_stays(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = await turn(store, 11)
    find = erasure.Erasure.first_sessions

    async def found_too_early(self: erasure.Erasure, *conditions: object) -> list[str]:
        found = await find(self, *conditions)  # type: ignore[arg-type]
        monkeypatch.undo()
        await turn(store, 0, session=asked.session)
        return found

    monkeypatch.setattr(erasure.Erasure, "first_sessions", found_too_early)
    assert await expire(store, 10) == Erased()
    assert await is_there(store, asked.session)


async def test_runs_without_a_turn_go_so_long_after_they_were_accepted(store: SqlStore) -> None:
    old, lately = await turn(store, 11, chat=False), await turn(store, 9, chat=False)
    live = acceptance(create_time=NOW - timedelta(days=11), chat=False)
    await accept(store, live)
    assert await expire(store, 10) == Erased(runs=1)
    assert [await store.runs.get(each.run) is not None for each in (old, lately, live)] == [False, True, True]
    assert (await store.retention.expire(NOW + timedelta(days=2), 10)).runs >= 1


async def test_one_call_removes_one_batch(store: SqlStore) -> None:
    await asyncio.gather(*(turn(store, 20 + number / 1000) for number in range(erasure.SESSIONS_MAX + 5)))
    await asyncio.gather(*(turn(store, 20 + number / 1000, chat=False) for number in range(erasure.ROWS_MAX + 5)))
    batches = []
    while (erased := await store.retention.expire(NOW, 10)) != Erased():
        batches.append(erased)
    assert sum(batches, Erased()) == Erased(
        sessions=erasure.SESSIONS_MAX + 5,
        messages=2 * (erasure.SESSIONS_MAX + 5),
        runs=erasure.SESSIONS_MAX + erasure.ROWS_MAX + 10,
    )
    assert max(each.sessions + 2 * each.messages + each.runs for each in batches) <= erasure.ROWS_MAX


async def test_an_idempotency_key_is_forgotten_after_its_window(store: SqlStore) -> None:
    old, lately = await turn(store, 2, key="old"), await turn(store, 0.5, key="lately")
    before = NOW - timedelta(days=1)
    assert await store.retention.forget_idempotency_keys(before) == 1
    assert await store.retention.forget_idempotency_keys(before) == 0
    again = await store.turns.accept(acceptance(session=lately.session, key="lately"))
    assert not isinstance(again, Accepted)
    assert again.run == lately.run
    assert await store.runs.get(old.run) is not None
    anew = await store.turns.accept(acceptance(session=old.session, key="old"))
    assert isinstance(anew, Accepted)


async def test_the_store_tells_how_much_it_holds(store: SqlStore) -> None:
    empty = await store.retention.stats()
    assert (empty.sessions, empty.messages, empty.runs) == (0, 0, 0)
    asked = await take_turn(store, "question " * 100_000)
    await take_turn(store, "hello", session=asked.session)
    full = await store.retention.stats()
    assert (full.sessions, full.messages, full.runs) == (1, 4, 2)
    assert full.size_bytes > 0
    if store.database.dialect.name != "mysql":  # which estimates, now and then
        assert full.size_bytes > empty.size_bytes


def sweeper(store: SqlStore, *, keep_days: int = 10) -> Sweeper:
    return Sweeper(
        store.retention,
        SweepSettings(
            history_keep_days=keep_days, idempotency_window_s=3600.0, resume_window_s=600.0, sweep_interval_s=0.05
        ),
    )


async def test_a_sweeper_sweeps_until_it_is_stopped(store: SqlStore) -> None:
    sweeps = sweeper(store)
    sweeps.start()
    for _ in range(2):
        asked = acceptance(create_time=datetime.now(UTC) - timedelta(days=11))
        await store.turns.finish(
            ending(asked, await accept(store, asked), end_time=datetime.now(UTC) - timedelta(days=11))
        )
        for _ in range(200):
            if not await is_there(store, asked.session):
                break
            await asyncio.sleep(0.05)
        else:
            pytest.fail("it was not swept")
    await sweeps.stop()
    asked = await turn(store, 3650, session=new_id())
    await asyncio.sleep(0.2)
    assert await is_there(store, asked.session)


async def test_a_sweeper_goes_on_after_a_failure(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = asyncio.Queue[None]()
    failures: list[Exception] = [StoreUnavailable("gone"), RuntimeError("boom")]

    async def fails(now: datetime, keep_days: int) -> Erased:
        calls.put_nowait(None)
        if failures:
            raise failures.pop(0)
        return Erased()

    monkeypatch.setattr(store.retention, "expire", fails)
    sweeps = sweeper(store)
    sweeps.start()
    async with asyncio.timeout(10):
        for _ in range(3):
            await calls.get()
    await sweeps.stop()
    assert "gone" in caplog.text
    assert "boom" in caplog.text


async def test_a_sweeper_that_was_never_started_may_be_stopped(store: SqlStore) -> None:
    await sweeper(store).stop()
