"""Blocking code in threads: how many, in which order, with which pressure, and what cancelling does."""

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from textwrap import dedent

import pytest

from penstock_server.errors import FlowFailed
from penstock_server.flows.threads import BATCH_CHARS_MAX, BATCH_CHUNKS_MAX, CodeRaised, Threads


@pytest.fixture
async def threads():
    pool = Threads(2)
    yield pool
    await pool.close(None, wait_s=5)


async def test_no_more_threads_than_allowed_execute_at_once(threads):
    lock = threading.Lock()
    running: set[int] = set()
    most = 0

    def work():
        nonlocal most
        with lock:
            running.add(threading.get_ident())
            most = max(most, len(running))
        time.sleep(0.01)
        with lock:
            running.discard(threading.get_ident())

    await asyncio.gather(*(threads.call(work) for _ in range(10)))
    assert most == 2


async def test_code_waits_for_a_thread_first_come_first_served():
    pool = Threads(1)
    order: list[int] = []
    gate = threading.Event()
    calls = [asyncio.create_task(pool.call(gate.wait))]
    calls += [asyncio.create_task(pool.call(lambda number=number: order.append(number))) for number in range(20)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*calls)
    assert order == list(range(20))
    await pool.close(None, wait_s=5)


async def test_the_loop_stays_free_while_code_blocks(threads):
    gate = threading.Event()
    blocked = asyncio.create_task(threads.call(gate.wait))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not blocked.done()
    gate.set()
    assert await blocked is True


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), StopIteration(1), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()],
)
async def test_any_exception_comes_back_as_one_that_the_loop_does_not_mind(threads, error):
    def fail():
        raise error

    def fail_later():
        yield 1
        raise error

    with pytest.raises(CodeRaised) as caught:
        await threads.call(fail)
    assert caught.value.error is error
    if not isinstance(error, StopIteration):
        batches = threads.iterate(fail_later())
        assert await anext(batches) == [1]
        with pytest.raises(CodeRaised) as caught:
            await anext(batches)
        assert caught.value.error is error
    assert await threads.call(lambda: 1) == 1, "the threads live on"


async def test_cancelling_drops_code_that_still_waits():
    pool = Threads(1)
    gate = threading.Event()
    ran: list[str] = []
    first = asyncio.create_task(pool.call(gate.wait))
    second = asyncio.create_task(pool.call(lambda: ran.append("second")))
    third = asyncio.create_task(pool.call(lambda: ran.append("third")))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    gate.set()
    await asyncio.gather(first, third)
    assert second.cancelled()
    assert ran == ["third"]
    await pool.close(None, wait_s=5)


async def test_cancelling_does_not_wait_for_code_that_runs(threads):
    gate = threading.Event()
    call = asyncio.create_task(threads.call(gate.wait))
    await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(call, 5)
    gate.set()


async def test_code_that_outlives_its_cancelled_run_is_counted_and_logged(threads, until, caplog, monkeypatch):
    monkeypatch.setattr("penstock_server.flows.threads.ABANDONED_LOG_S", 0.05)
    release = threading.Event()
    waiting = asyncio.create_task(threads.call(release.wait))
    await until(lambda: threads._executing)
    assert threads.abandoned == 0
    waiting.cancel()
    await until(lambda: threads.abandoned == 1)
    await until(lambda: "1 of at most" in caplog.text)
    release.set()
    await until(lambda: threads.abandoned == 0)


async def test_a_generator_waits_for_its_reader(threads, until):
    produced = 0

    def endless():
        nonlocal produced
        while True:
            produced += 1
            yield "x"

    batches = threads.iterate(endless())
    assert await anext(batches)
    await until(lambda: produced >= BATCH_CHUNKS_MAX)
    await asyncio.sleep(0.05)
    before = produced
    assert before <= 3 * BATCH_CHUNKS_MAX
    await anext(batches)
    await until(lambda: produced > before)
    await batches.aclose()


async def test_large_chunks_count_by_their_size(threads, until):
    produced = 0

    def endless():
        nonlocal produced
        while True:
            produced += 1
            yield "x" * BATCH_CHARS_MAX

    batches = threads.iterate(endless())
    await anext(batches)
    await until(lambda: produced >= 2)
    await asyncio.sleep(0.05)
    assert produced <= 3
    await batches.aclose()


async def test_every_chunk_arrives_once_and_in_order(threads):
    received: list[object] = []
    async for batch in threads.iterate(iter(range(10_000))):
        assert batch
        received += batch
    assert received == list(range(10_000))


async def test_a_closed_stream_closes_the_generator_in_its_own_thread(threads, until):
    seen: list[int] = []

    def endless():
        seen.append(threading.get_ident())
        try:
            while True:
                yield "x"
        finally:
            seen.append(threading.get_ident())

    batches = threads.iterate(endless())
    await anext(batches)
    await batches.aclose()
    await until(lambda: len(seen) == 2)
    assert seen[0] == seen[1] != threading.get_ident()


async def test_a_flow_that_is_cancelled_closes_its_generator(flow_of, make_recorder, until):
    closed = threading.Event()

    def endless():
        try:
            while True:
                yield "x"
        finally:
            closed.set()

    flow = flow_of(endless)
    recorder = make_recorder(capacity=10)
    run = asyncio.create_task(flow.execute({}, recorder))
    await until(lambda: recorder.waits)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await until(closed.is_set)


async def test_a_reader_without_room_stops_either_kind_of_generator(flow_of, make_recorder, until):
    def blocking():
        for _ in range(1000):
            yield "x"

    async def asynchronous():
        for _ in range(1000):
            yield "x"

    for target in (blocking, asynchronous):
        recorder = make_recorder(capacity=10)
        run = asyncio.create_task(flow_of(target).execute({}, recorder))
        await until(lambda recorder=recorder: recorder.waits)
        await asyncio.sleep(0.02)
        assert len(recorder.deltas) == 10
        recorder.make_room()
        assert await run == {"output": "x" * 1000}


async def test_an_async_generator_that_never_waits_lets_others_run(flow_of, recorder):
    async def endless():
        while True:
            yield "x"

    run = asyncio.create_task(flow_of(endless).execute({}, recorder))
    await asyncio.sleep(0.01)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


async def test_an_async_generator_that_swallows_its_cancellation_ends_all_the_same(flow_of, recorder, until):
    async def stubborn():
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            yield "x"

    run = asyncio.create_task(flow_of(stubborn).execute({}, recorder))
    await until(lambda: recorder.deltas)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(run, 10)


async def test_a_cancelled_async_generator_runs_its_finally(flow_of, make_recorder, until):
    ended: list[str] = []

    async def waiting():
        try:
            yield "x"
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("waiting")

    async def suspended():
        try:
            while True:
                yield "x"
        finally:
            ended.append("suspended")

    for target, capacity in ((waiting, 10), (suspended, 1)):
        recorder = make_recorder(capacity)
        run = asyncio.create_task(flow_of(target).execute({}, recorder))
        await until(lambda recorder=recorder: recorder.deltas)
        await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    assert ended == ["waiting", "suspended"]


async def test_closing_waits_for_code_but_not_for_ever():
    pool = Threads(2)
    gate = threading.Event()
    call = asyncio.create_task(pool.call(gate.wait))
    await asyncio.sleep(0.01)
    start = time.monotonic()
    await pool.close(None, wait_s=0.05)
    assert time.monotonic() - start < 5
    with pytest.raises(RuntimeError, match="closed"):
        await pool.call(print)
    gate.set()
    await call


async def test_threads_end_with_their_last_user():
    pool = Threads(2).share("one").share("two")
    for _ in range(2):
        await pool.close("one", wait_s=1)
    assert await pool.call(lambda: 1) == 1
    await pool.close("two", wait_s=5)
    with pytest.raises(RuntimeError, match="closed"):
        await pool.call(print)


async def test_a_closed_flow_says_so(flow_of, recorder):
    def work():
        return 1

    flow = flow_of(work)
    await flow.close()

    with pytest.raises(FlowFailed, match="the flow is closed"):
        await flow.execute({}, recorder)


def test_a_thread_that_never_ends_does_not_keep_the_process():
    script = """
        import asyncio, threading
        from penstock_server.flows.threads import Threads

        async def main():
            pool = Threads(2)
            call = asyncio.create_task(pool.call(threading.Event().wait))
            await asyncio.sleep(0.05)
            call.cancel()
            await pool.close(None, wait_s=0.05)
            print("closed")

        asyncio.run(main())
    """
    done = subprocess.run([sys.executable, "-c", dedent(script)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "closed\n", "")


async def test_what_code_raises_after_its_run_is_logged(threads, until, caplog):
    gate = threading.Event()

    def late():
        gate.wait(10)
        raise ValueError("late")

    def endless():
        try:
            while True:
                yield 1
        finally:
            raise KeyError("in finally")

    call = asyncio.create_task(threads.call(late))
    await asyncio.sleep(0.02)
    call.cancel()
    gate.set()
    batches = threads.iterate(endless())
    await anext(batches)
    await batches.aclose()
    await until(lambda: len(caplog.records) == 2)
    assert {record.getMessage().split()[3] for record in caplog.records} == {"ValueError", "KeyError"}


async def test_a_hundred_jobs_that_block_are_executed_at_once():
    threads = Threads(128)
    threads.share("test")
    meeting = threading.Barrier(100)
    places = await asyncio.gather(*(threads.call(lambda: meeting.wait(30)) for _ in range(100)))
    assert sorted(places) == list(range(100))
    await threads.close("test", 5)


async def test_no_job_is_left_behind_however_they_come():
    threads = Threads(8)
    threads.share("test")
    for size in [*range(1, 40), 500]:
        jobs = [
            threads.call(lambda number=number: time.sleep(0.0001 * (number % 3)) or number) for number in range(size)
        ]
        async with asyncio.timeout(30):
            assert await asyncio.gather(*jobs) == list(range(size))
    await threads.close("test", 5)
