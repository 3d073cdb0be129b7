"""A run's event log loses nothing, keeps its bounds, and keeps nothing that nobody reads."""

import asyncio
import time
from datetime import UTC, datetime

import pytest

from penstock_server.errors import CursorExpired
from penstock_server.runs import log as runs_log
from penstock_server.runs.events import EVENT_OVERHEAD_BYTES, Event, OutputDelta, RunFinished, RunStarted, RunStatus
from penstock_server.runs.log import BATCH_BYTES_MAX, GATHER_S, LATE_S, EventLog, Reader
from penstock_server.store.records import LogPage

WINDOW_BYTES = 32 * EVENT_OVERHEAD_BYTES
NOW = datetime.now(UTC)


def finish() -> RunFinished:
    return RunFinished("r", RunStatus.SUCCEEDED, None, 0, 0, NOW)


def sequences(events: list[Event] | None) -> list[int]:
    assert events is not None
    return [event.sequence for event in events]


async def test_an_idle_reader_gets_each_event_at_once() -> None:
    log = EventLog(WINDOW_BYTES)
    reader = log.subscribe()
    for number in (1, 2, 3):
        waiting = asyncio.create_task(reader.take())
        await asyncio.sleep(0)
        log.append(OutputDelta({"a": "x"}))
        assert sequences(await waiting) == [number]


async def test_a_slow_reader_gets_a_larger_batch_in_order_and_then_the_end() -> None:
    log = EventLog(WINDOW_BYTES)
    reader = log.subscribe()
    for _ in range(5):
        log.append(OutputDelta({"a": "x"}))
    log.append(finish())
    assert sequences(await reader.take()) == [1, 2, 3, 4, 5, 6]
    assert await reader.take() is None
    assert await reader.take() is None


async def test_the_simple_view_skips_events_but_not_numbers() -> None:
    log = EventLog(WINDOW_BYTES)
    reader = log.subscribe(simple=True)
    log.append(RunStarted("r", "f", "s", NOW))
    log.append(OutputDelta({"a": "x"}))
    log.append(finish())
    assert sequences(await reader.take()) == [2, 3]


async def test_a_quick_flow_of_large_pieces_is_told_in_whole_batches() -> None:
    log = EventLog(10 * BATCH_BYTES_MAX)
    reader = log.subscribe()
    pieces = 400

    async def flow() -> None:
        for _ in range(pieces):
            if not log.append(OutputDelta({"a": "x"}), BATCH_BYTES_MAX // 20):
                await log.room()
            await asyncio.sleep(0)
        log.append(finish())

    telling = asyncio.create_task(flow())
    sizes = []
    while (events := await reader.take()) is not None:
        sizes.append(len(events))
        await asyncio.sleep(0)  # as sending them takes
    await telling
    assert sum(sizes) == pieces + 1
    assert len(sizes) < pieces // 5


async def test_a_whole_batch_and_the_end_do_not_wait_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_log, "QUICK_S", 3600.0)
    log = EventLog(10 * BATCH_BYTES_MAX)
    reader = log.subscribe()
    log.append(OutputDelta({"a": "x"}), BATCH_BYTES_MAX)
    assert sequences(await reader.take()) == [1]
    waiting = asyncio.create_task(reader.take())
    log.append(OutputDelta({"a": "x"}))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    log.append(OutputDelta({"a": "x"}), BATCH_BYTES_MAX - EVENT_OVERHEAD_BYTES)
    assert sequences(await waiting) == [2, 3]
    waiting = asyncio.create_task(reader.take())
    log.append(OutputDelta({"a": "x"}))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    log.finish(finish())
    assert sequences(await waiting) == [4, 5]


async def woken_late(log: EventLog, reader: Reader) -> "asyncio.Task[list[Event] | None]":
    """A reader's turn that comes long after it was woken, since the loop was busy."""
    waiting = asyncio.create_task(reader.take())
    await asyncio.sleep(0)
    log.append(OutputDelta({"a": "x"}))
    time.sleep(2 * LATE_S)  # noqa: ASYNC251 - the loop is to be busy
    return waiting


async def test_on_a_loop_that_is_behind_a_reader_gathers_events() -> None:
    log = EventLog(WINDOW_BYTES)
    reader = log.subscribe()
    for first in (1, 3):
        waiting = await woken_late(log, reader)
        await asyncio.sleep(GATHER_S / 4)
        log.append(OutputDelta({"a": "x"}))
        assert sequences(await waiting) == [first, first + 1]


async def test_a_reader_that_is_closed_while_it_gathers_gets_nothing_more() -> None:
    log = EventLog(WINDOW_BYTES)
    reader = log.subscribe()
    waiting = await woken_late(log, reader)
    await asyncio.sleep(GATHER_S / 4)
    reader.close()
    assert await waiting is None


async def test_a_full_window_makes_the_flow_wait_until_the_reader_comes_back() -> None:
    log = EventLog(WINDOW_BYTES)
    reader = log.subscribe()
    appended = 0
    while log.append(OutputDelta({"a": "x"})):
        appended += 1
    assert appended <= 32
    room = asyncio.create_task(log.room())
    assert len(sequences(await reader.take())) == appended + 1
    await asyncio.sleep(0)
    assert not room.done(), "what the reader holds still counts"
    next_batch = asyncio.create_task(reader.take())
    await asyncio.wait_for(room, 1)
    next_batch.cancel()


async def test_a_reader_that_leaves_frees_the_flow() -> None:
    log = EventLog(WINDOW_BYTES)
    reader = log.subscribe()
    while log.append(OutputDelta({"a": "x"})):
        pass
    room = asyncio.create_task(log.room())
    await asyncio.sleep(0)
    reader.close()
    await asyncio.wait_for(room, 1)
    assert log.append(OutputDelta({"a": "x"}))


async def test_the_slowest_of_several_readers_decides() -> None:
    log = EventLog(WINDOW_BYTES)
    fast, slow = log.subscribe(), log.subscribe()
    while log.append(OutputDelta({"a": "x"})):
        pass
    assert await fast.take()
    waiting = asyncio.create_task(fast.take())
    room = asyncio.create_task(log.room())
    await asyncio.sleep(0)
    assert not room.done()
    slow.close()
    await asyncio.wait_for(room, 1)
    waiting.cancel()


async def test_without_a_reader_nothing_is_kept() -> None:
    log = EventLog(WINDOW_BYTES)
    for _ in range(1000):
        assert log.append(OutputDelta({"a": "x" * 1000}))
    late = log.subscribe()
    log.append(finish())
    assert sequences(await late.take()) == [1001]


async def test_one_batch_stays_small_however_much_is_queued() -> None:
    log = EventLog(10 * BATCH_BYTES_MAX)
    reader = log.subscribe()
    while log.append(OutputDelta({"a": "x" * 1000}), 1000):
        pass
    taken = [await reader.take() for _ in range(3)]
    assert all(0 < len(batch or []) <= BATCH_BYTES_MAX / 1000 for batch in taken)


async def test_an_event_larger_than_a_batch_goes_alone() -> None:
    log = EventLog(10 * BATCH_BYTES_MAX)
    reader = log.subscribe()
    log.append(OutputDelta({"a": "x" * 2 * BATCH_BYTES_MAX}), 2 * BATCH_BYTES_MAX)
    log.append(finish())
    assert sequences(await reader.take()) == [1]
    assert sequences(await reader.take()) == [2]


@pytest.mark.parametrize("readers", [1, 3])
async def test_no_reader_misses_an_event_at_any_pace(readers: int) -> None:
    log = EventLog(WINDOW_BYTES)
    count = 2000

    async def follow(pause: int) -> list[int]:
        reader, got = log.subscribe(), []
        while (events := await reader.take()) is not None:
            got += sequences(events)
            for _ in range(pause):
                await asyncio.sleep(0)
        return got

    followers = [asyncio.create_task(follow(index * 7)) for index in range(readers)]
    await asyncio.sleep(0)
    for number in range(count):
        if not log.append(OutputDelta({"a": str(number)})):
            await log.room()
    log.append(finish())
    assert all([await follower == list(range(1, count + 2)) for follower in followers])


class Kept:
    """A log whose run is stored, and the store, which has what was brought to it."""

    def __init__(self, reserved: int = 1000) -> None:
        self.stored: list[Event] = []
        self.log = EventLog(WINDOW_BYTES, self.read, reserved=reserved)

    async def read(self, after: int) -> LogPage:
        return LogPage(events=[event for event in self.stored if event.sequence > after], end=None)

    def flush(self, reserved: int = 0) -> None:
        events = self.log.unstored()
        self.stored += events
        self.log.stored(events[-1].sequence if events else self.log.stored_sequence, reserved)

    def tell(self, count: int = 1) -> bool:
        return [self.log.append(OutputDelta({"a": "x"})) for _ in range(count)][-1]


async def test_a_kept_log_holds_what_the_store_does_not_have_although_nobody_reads() -> None:
    kept = Kept()
    kept.tell(3)
    assert sequences(kept.log.unstored()) == [1, 2, 3]
    kept.flush()
    assert kept.log.unstored() == []
    assert not kept.log._events


async def test_a_reader_that_comes_late_reads_from_the_store_and_then_from_memory() -> None:
    kept = Kept()
    kept.tell(5)
    kept.flush()
    kept.tell(2)
    reader = kept.log.subscribe(after=2)
    assert sequences(await reader.take()) == [3, 4, 5]
    assert sequences(await reader.take()) == [6, 7]


async def test_a_slow_reader_of_a_kept_log_does_not_hold_up_the_flow_while_another_keeps_up() -> None:
    kept = Kept()
    slow, quick = kept.log.subscribe(after=0), kept.log.subscribe(after=0)
    for number in range(1, 200):
        assert kept.tell()
        assert sequences(await quick.take()) == [number]
        kept.flush()
    await asyncio.wait_for(kept.log.room(), 1)
    assert len(kept.log._events) <= WINDOW_BYTES // EVENT_OVERHEAD_BYTES + 1
    told: list[int] = []
    while len(told) < 199:
        told += sequences(await slow.take())
    assert told == list(range(1, 200))


async def test_the_flow_waits_while_every_reader_is_a_window_behind() -> None:
    kept = Kept()
    reader = kept.log.subscribe(after=0)
    while kept.tell():
        kept.flush()
    waiting = asyncio.create_task(kept.log.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    await reader.take()
    taking = asyncio.create_task(reader.take())
    await asyncio.wait_for(waiting, 1)
    taking.cancel()


async def test_the_flow_waits_while_the_store_is_a_window_behind() -> None:
    kept = Kept()
    while kept.tell():
        pass
    waiting = asyncio.create_task(kept.log.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    kept.flush()
    await asyncio.wait_for(waiting, 1)


async def test_no_event_is_told_beyond_the_reserved_number() -> None:
    kept = Kept(reserved=2)
    reader = kept.log.subscribe(after=0)
    kept.tell(4)
    assert sequences(await reader.take()) == [1, 2]
    waiting = asyncio.create_task(reader.take())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    kept.flush(reserved=10)
    assert sequences(await waiting) == [3, 4]


async def test_the_end_that_another_owner_gave_follows_what_is_stored() -> None:
    kept = Kept(reserved=10)
    reader, near = kept.log.subscribe(after=0), kept.log.subscribe(after=0)
    kept.tell(2)
    kept.flush()
    kept.tell(2)
    assert sequences(await near.take()) == [1, 2, 3, 4]
    kept.log.finish(finish(), 11)
    assert sequences(await reader.take()) == [1, 2]
    assert sequences(await reader.take()) == [11]
    assert sequences(await near.take()) == [11]
    assert await reader.take() is None


async def test_a_reader_cannot_begin_behind_what_was_told() -> None:
    kept = Kept()
    kept.tell(2)
    with pytest.raises(CursorExpired):
        kept.log.subscribe(after=3)
