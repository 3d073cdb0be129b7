"""The logs of runs, on every database."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select
from tests.store.records import accept, acceptance, append, deltas, ending

from penstock_server.errors import CursorExpired, Defect, FlowFailed
from penstock_server.flows.flow import NodeRecord, NodeStatus
from penstock_server.runs.events import Event, NodeFinished, NodeStarted, OutputDelta, RunStarted, RunStatus
from penstock_server.store.records import Acceptance, Accepted, LogPage, Scope
from penstock_server.store.sql.history import retention
from penstock_server.store.sql.runs import logreader
from penstock_server.store.sql.store import SqlStore
from penstock_server.store.sql.turns import logs

NOW = datetime.now(UTC)


async def begun(store: SqlStore, **more: object) -> tuple[Acceptance, Accepted]:
    asked = acceptance(sequence_reserved=64, **more)
    return asked, await accept(store, asked)


async def page(store: SqlStore, run: str, after: int) -> LogPage:
    found = await store.runs.log(run, after)
    assert found is not None
    return found


def numbers(events: Sequence[Event]) -> list[int]:
    return [event.sequence for event in events]


async def told(store: SqlStore, run: str, after: int) -> list[int]:
    """The numbers of all that follows a position, with the end."""
    found: list[int] = []
    while True:
        part = await page(store, run, after)
        found += numbers(part.events)
        if part.end is not None:
            return [*found, part.end.sequence]
        assert part.events
        after = part.events[-1].sequence


async def batches(store: SqlStore) -> int:
    count = select(func.count()).select_from(store.tables.events)
    return await store.database.read(lambda connection: connection.scalar(count) or 0)


async def test_every_event_comes_back_as_it_was(store: SqlStore) -> None:
    asked, accepted = await begun(store)
    failed = NodeRecord(
        node="n", status=NodeStatus.FAILED, inputs={"x": [1, {"水": None}]}, error=FlowFailed("no"), start_time=NOW
    )
    events: list[Event] = [
        RunStarted(asked.run, asked.flow, asked.session, asked.create_time, 1),
        NodeStarted("n", NOW, 2),
        OutputDelta({"answer": "a\0b 水😀"}, 3),
        OutputDelta({"answer": [1, 2.5], "other": {"deep": True}}, 4),
        NodeFinished(failed, 5),
    ]
    assert await append(store, accepted, events)
    back = (await page(store, asked.run, 0)).events
    assert back[:4] == events[:4]
    last = back[4]
    assert isinstance(last, NodeFinished)
    assert isinstance(last.node.error, FlowFailed)
    assert replace(last.node, error=None) == replace(failed, error=None)
    assert last.sequence == 5


async def test_a_log_is_told_from_every_position(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "BATCH_EVENTS_MAX", 4)
    asked, accepted = await begun(store)
    for first, last in ((1, 1), (2, 12), (13, 14)):
        assert await append(store, accepted, deltas(first, last))
    await store.turns.finish(ending(asked, accepted, last_sequence=18, events=deltas(15, 17)))
    for after in range(19):
        assert await told(store, asked.run, after) == (list(range(after + 1, 19)) or [18])
    assert (await page(store, asked.run, 18)).events == ()
    assert (await page(store, asked.run, 17)).events == ()
    end = (await page(store, asked.run, 17)).end
    assert end is not None
    assert (end.run, end.status, end.input_tokens, end.output_tokens) == (asked.run, RunStatus.SUCCEEDED, 3, 5)
    assert (end.lost_after, end.sequence) == (None, 18)


async def test_a_page_is_bounded_and_the_next_goes_on_where_it_ended(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logreader, "PAGE_CHARS_MAX", 1000)
    monkeypatch.setattr(logs, "BATCH_CHARS_MAX", 500)
    asked, accepted = await begun(store)
    large = [OutputDelta({"answer": "x" * 200}, number) for number in range(1, 41)]
    await append(store, accepted, large)
    assert await batches(store) > 16
    first = await page(store, asked.run, 0)
    assert 0 < len(first.events) <= 8
    await store.turns.finish(ending(asked, accepted, last_sequence=41))
    assert await told(store, asked.run, 0) == list(range(1, 42))


async def test_one_event_may_be_larger_than_a_page(store: SqlStore) -> None:
    asked, accepted = await begun(store)
    large = [OutputDelta({"answer": "水" * 400_000}, number) for number in (1, 2)]
    await append(store, accepted, large)
    assert (await page(store, asked.run, 0)).events == large[:1]
    assert (await page(store, asked.run, 1)).events == large[1:]


async def test_a_live_run_tells_what_it_has_and_then_nothing(store: SqlStore) -> None:
    asked, accepted = await begun(store)
    assert await page(store, asked.run, 0) == LogPage(events=(), end=None)
    await append(store, accepted, deltas(1, 3), reserved=128)
    assert numbers((await page(store, asked.run, 1)).events) == [2, 3]
    # Readers may know what the owner has shown and not stored yet, up to what it has reserved.
    for after in (3, 64, 128):
        assert await page(store, asked.run, after) == LogPage(events=(), end=None)
    with pytest.raises(CursorExpired):
        await store.runs.log(asked.run, 129)


async def test_there_is_no_log_of_a_run_that_does_not_exist_or_at_a_number_that_was_never_given(
    store: SqlStore,
) -> None:
    assert await store.runs.log("nothing", 0) is None
    asked, accepted = await begun(store)
    await store.turns.finish(ending(asked, accepted, last_sequence=4, events=deltas(1, 3)))
    for after in (5, -1, 2**31 - 1):
        with pytest.raises(CursorExpired) as expired:
            await store.runs.log(asked.run, after)
        assert expired.value.metadata == {"run": asked.run}


async def test_what_is_added_twice_is_kept_once(store: SqlStore) -> None:
    asked, accepted = await begun(store)
    assert await append(store, accepted, deltas(1, 5))
    assert await append(store, accepted, deltas(1, 5))
    assert await append(store, accepted, deltas(3, 8))
    assert await append(store, accepted, [])
    done = ending(asked, accepted, last_sequence=11, events=deltas(2, 10))
    assert await store.turns.finish(done)
    assert await store.turns.finish(done)
    assert await told(store, asked.run, 0) == list(range(1, 12))


async def test_appendings_of_one_run_may_share_a_transaction(store: SqlStore) -> None:
    asked, accepted = await begun(store)
    parts = [deltas(1, 4), deltas(5, 6), deltas(5, 9)]
    assert all(await asyncio.gather(*(append(store, accepted, part) for part in parts)))
    assert numbers((await page(store, asked.run, 0)).events) == list(range(1, 10))


async def test_a_log_gets_no_gaps(store: SqlStore) -> None:
    asked, accepted = await begun(store)
    await append(store, accepted, deltas(1, 2))
    with pytest.raises(Defect, match="3 to 4"):
        await append(store, accepted, deltas(5, 6))
    assert numbers((await page(store, asked.run, 0)).events) == [1, 2]
    # An end is written in any case, and says what is missing.
    assert await store.turns.finish(ending(asked, accepted, last_sequence=7, events=deltas(5, 6)))
    assert await told(store, asked.run, 0) == [1, 2, 7]
    end = (await page(store, asked.run, 4)).end
    assert end is not None
    assert end.lost_after == 2


async def test_only_the_owner_of_a_live_run_adds_to_its_log(store: SqlStore) -> None:
    asked, accepted = await begun(store)
    assert not await append(store, replace(accepted, attempt=2), deltas(1, 1), reserved=1000)
    assert not await append(store, replace(accepted, run_key=1), deltas(1, 1))
    assert not await store.turns.finish(ending(asked, replace(accepted, attempt=2), events=deltas(1, 1)))
    with pytest.raises(CursorExpired):  # nothing was reserved
        await store.runs.log(asked.run, 1000)
    await store.turns.finish(ending(asked, accepted, last_sequence=1))
    assert not await append(store, accepted, deltas(1, 1))
    assert await batches(store) == 0
    assert await told(store, asked.run, 0) == [1]


async def test_a_reservation_never_shrinks(store: SqlStore) -> None:
    asked, accepted = await begun(store)
    await append(store, accepted, [], reserved=10)
    assert await page(store, asked.run, 64) == LogPage(events=(), end=None)


async def test_a_run_ends_so_or_otherwise_or_not_at_all(store: SqlStore) -> None:
    asked, accepted = await begun(store)
    done = ending(asked, accepted, last_sequence=1)
    assert await store.turns.finish(done)
    assert await store.turns.finish(done)
    assert not await store.turns.finish(replace(done, status=RunStatus.CANCELED))
    assert not await store.turns.finish(replace(done, last_sequence=2))
    erased, of = await begun(store)
    await store.sessions.delete(erased.session, Scope())
    assert not await store.turns.finish(ending(erased, of))
    assert not await append(store, of, deltas(1, 1))


async def test_what_a_dead_owner_had_shown_and_not_stored_is_told_as_lost(store: SqlStore) -> None:
    asked, accepted = await begun(store)
    await append(store, accepted, deltas(1, 10), reserved=128)
    await store.turns.finish(ending(asked, accepted, status=RunStatus.INTERRUPTED, last_sequence=129))
    for after in (10, 11, 128):
        part = await page(store, asked.run, after)
        assert part.events == ()
        assert part.end is not None
        assert (part.end.lost_after, part.end.sequence) == (10, 129)
    assert await told(store, asked.run, 8) == [9, 10, 129]


async def test_many_runs_append_at_once_without_disturbing_each_other(store: SqlStore) -> None:
    runs = [await begun(store) for _ in range(20)]

    async def talk(asked: Acceptance, accepted: Accepted) -> None:
        for first in range(1, 50, 7):
            assert await append(store, accepted, deltas(first, first + 6), reserved=first + 100)
        await store.turns.finish(ending(asked, accepted, last_sequence=53, events=deltas(50, 52)))

    await asyncio.gather(*(talk(*each) for each in runs))
    for asked, _ in runs:
        assert await told(store, asked.run, 0) == list(range(1, 54))


class TestExpiry:
    async def test_the_logs_of_runs_that_ended_long_ago_go_and_others_stay(self, store: SqlStore) -> None:
        ended, live, recent = [await begun(store) for _ in range(3)]
        for _, accepted in (ended, live, recent):
            await append(store, accepted, deltas(1, 3))
        await store.turns.finish(ending(*ended, last_sequence=4))
        await asyncio.sleep(0.3)
        await store.turns.finish(ending(*recent, last_sequence=4))
        assert await store.retention.expire_logs(3600) == 0
        assert await store.retention.expire_logs(0.2) in (1, 2)  # on a slow machine, the other has ended long ago, too
        with pytest.raises(CursorExpired, match="not kept any more"):
            await store.runs.log(ended[0].run, 0)
        assert numbers((await page(store, live[0].run, 0)).events) == [1, 2, 3]
        await store.retention.expire_logs(0)
        assert numbers((await page(store, live[0].run, 0)).events) == [1, 2, 3]
        assert await batches(store) == 1

    async def test_who_has_it_all_still_gets_the_end_of_a_log_that_is_gone(self, store: SqlStore) -> None:
        asked, accepted = await begun(store)
        await append(store, accepted, deltas(1, 3))
        await store.turns.finish(ending(asked, accepted, last_sequence=4))
        assert await store.retention.expire_logs(0) == 1
        assert await told(store, asked.run, 3) == [4]
        assert await told(store, asked.run, 4) == [4]
        for after in (0, 2):
            with pytest.raises(CursorExpired):
                await store.runs.log(asked.run, after)

    async def test_a_long_log_goes_in_batches(self, store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(logs, "BATCH_EVENTS_MAX", 1)
        asked, accepted = await begun(store)
        await append(store, accepted, deltas(1, 1200))
        await store.turns.finish(ending(asked, accepted, last_sequence=1201))
        assert [await store.retention.expire_logs(0) for _ in range(4)] == [500, 500, 200, 0]
        assert await batches(store) == 0

    async def test_what_is_to_stay_is_passed_over(self, store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(logs, "BATCH_EVENTS_MAX", 1)
        monkeypatch.setattr(retention, "ROWS_MAX", 3)
        runs = [await begun(store) for _ in range(6)]
        for _, accepted in runs:
            await append(store, accepted, deltas(1, 5))
        for each in runs[4:]:
            await store.turns.finish(ending(*each, last_sequence=6))
        assert [await store.retention.expire_logs(0) for _ in range(5)] == [3, 3, 3, 1, 0]
        assert await batches(store) == 20
