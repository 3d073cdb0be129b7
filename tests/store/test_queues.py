"""Runs of one session, one at a time, on every database."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from itertools import cycle
from typing import Any

import pytest
from tests.store.records import accept, acceptance, append, deltas, ending, start, take_turn

from penstock_server.errors import SessionBusy, SessionNotFound, StoreUnavailable, TooManyRuns
from penstock_server.ids import new_id
from penstock_server.runs.events import OnBusy, RunStatus
from penstock_server.store.records import Acceptance, Accepted, Scope
from penstock_server.store.sql.store import SqlStore

QUEUED, RUNNING = RunStatus.QUEUED, RunStatus.RUNNING


async def queue(store: SqlStore, count: int, **more: object) -> list[tuple[Acceptance, Accepted]]:
    """So many runs of one session, in the order of their turns."""
    session = new_id()
    asked = [acceptance(f"q{number}", session=session, **more) for number in range(count)]
    return [(each, await accept(store, each)) for each in asked]


async def status(store: SqlStore, run: str) -> RunStatus:
    record = await store.runs.get(run)
    assert record is not None
    return record.status


async def test_a_run_of_a_session_waits_while_one_before_it_is_live(store: SqlStore) -> None:
    [(first, one), (second, two), (_, three)] = await queue(store, 3)
    assert [each.status for each in (one, two, three)] == [RUNNING, QUEUED, QUEUED]
    assert await status(store, second.run) is QUEUED
    record = await store.runs.get(second.run)
    assert record is not None
    assert record.start_time is None
    waiting = await start(store, two)
    assert waiting is not None
    assert waiting.status is QUEUED
    await store.turns.finish(ending(first, one, "a0"))
    third = await start(store, three)
    assert third is not None
    assert third.status is QUEUED
    begun = await start(store, two)
    assert begun is not None
    assert (begun.status, begun.attempt, begun.turn) == (RUNNING, 1, 2)
    assert [each.outputs for each in begun.rounds] == [{"answer": "a0"}]
    record = await store.runs.get(second.run)
    assert record is not None
    assert (record.status, record.start_time is not None) == (RUNNING, True)


async def test_a_start_that_is_repeated_gets_the_same_again(store: SqlStore) -> None:
    [(first, one), (_, two)] = await queue(store, 2)
    await store.turns.finish(ending(first, one))
    assert await start(store, two) == await start(store, two)


async def test_a_run_that_has_ended_or_is_anothers_or_was_erased_does_not_begin(store: SqlStore) -> None:
    [(first, one), (second, two), (_, three)] = await queue(store, 3)
    await store.turns.finish(ending(first, one))
    assert await start(store, replace(two, attempt=2)) is None
    await store.turns.finish(ending(second, two, status=RunStatus.CANCELED))
    assert await start(store, two) is None
    await store.sessions.delete(first.session, Scope())
    assert await start(store, three) is None


async def test_a_queued_run_may_end_without_ever_beginning(store: SqlStore) -> None:
    [(_, _), (second, two), (_, three)] = await queue(store, 3)
    assert await store.turns.finish(ending(second, two, status=RunStatus.CANCELED))
    assert await status(store, second.run) is RunStatus.CANCELED
    waiting = await start(store, three)
    assert waiting is not None
    assert waiting.status is QUEUED


async def test_of_many_that_come_at_once_one_runs_and_all_get_their_turn(store: SqlStore) -> None:
    session = new_id()
    asked = [acceptance(str(number), session=session) for number in range(20)]
    accepted = await asyncio.gather(*(accept(store, each) for each in asked))
    line = sorted(zip(accepted, asked, strict=True), key=lambda each: each[0].turn)
    assert [each.status for each, _ in line] == [RUNNING] + [QUEUED] * 19
    for number, (each, of) in enumerate(line):
        begun = each if number == 0 else await start(store, each)
        assert begun is not None
        assert begun.status is RUNNING
        after = [await start(store, later) for later, _ in line[number + 1 : number + 3]]
        assert all(later is not None and later.status is QUEUED for later in after)
        await store.turns.finish(ending(of, begun))


async def test_a_session_that_is_free_again_lets_the_next_run_begin_at_once(store: SqlStore) -> None:
    asked = await take_turn(store, "one")
    accepted = await accept(store, acceptance("two", session=asked.session))
    assert (accepted.status, len(accepted.rounds)) == (RUNNING, 1)


async def test_the_end_of_a_run_and_the_next_of_its_session_may_share_a_transaction(store: SqlStore) -> None:
    asked = acceptance("one")
    accepted = await accept(store, asked)
    following = acceptance("two", session=asked.session)
    ended, then = await asyncio.gather(store.turns.finish(ending(asked, accepted)), store.turns.accept(following))
    assert ended
    assert isinstance(then, Accepted)
    assert (then.status, len(then.rounds)) == (RUNNING, 1)


async def test_who_is_not_to_wait_is_refused_and_leaves_nothing(store: SqlStore) -> None:
    [(first, one)] = await queue(store, 1)
    refused = acceptance("no", session=first.session, on_busy=OnBusy.REJECT, key="k")
    with pytest.raises(SessionBusy, match="on_busy") as busy:
        await store.turns.accept(refused)
    assert busy.value.metadata["session"] == first.session
    assert await store.runs.get(refused.run) is None
    assert (await store.sessions.get(first.session, Scope())).message_count == 1
    await store.turns.finish(ending(first, one))
    # The key is free again, and so is the session.
    again = await accept(store, acceptance("no", session=first.session, on_busy=OnBusy.REJECT, key="k"))
    assert (again.status, again.turn) == (RUNNING, 2)


async def test_who_repeats_a_refused_request_at_the_same_time_is_refused_as_well(store: SqlStore) -> None:
    [(first, _)] = await queue(store, 1)
    asked = [acceptance("no", session=first.session, on_busy=OnBusy.REJECT, key="k") for _ in range(8)]
    outcomes = await asyncio.gather(*(store.turns.accept(each) for each in asked), return_exceptions=True)
    assert {type(each) for each in outcomes} == {SessionBusy}
    assert [await store.runs.get(each.run) for each in asked] == [None] * 8


async def test_of_many_that_are_not_to_wait_one_is_accepted(store: SqlStore) -> None:
    session = new_id()
    asked = [acceptance(str(number), session=session, on_busy=OnBusy.REJECT) for number in range(10)]
    outcomes = await asyncio.gather(*(store.turns.accept(each) for each in asked), return_exceptions=True)
    assert sorted(type(each).__name__ for each in outcomes) == ["Accepted"] + ["SessionBusy"] * 9


async def test_an_interrupting_run_asks_all_before_it_to_end_and_waits_for_them(store: SqlStore) -> None:
    [(first, _), (second, _)] = await queue(store, 2)
    asked = acceptance("now", session=first.session, on_busy=OnBusy.INTERRUPT)
    accepted = await accept(store, asked)
    assert (accepted.status, set(accepted.interrupts)) == (QUEUED, {first.run, second.run})
    errands = await store.leases.errands()
    assert (set(errands.cancel), errands.start) == ({first.run, second.run}, [])
    # One that interrupts in its turn interrupts that one, too.
    last = await accept(store, acceptance("now!", session=first.session, on_busy=OnBusy.INTERRUPT))
    assert set(last.interrupts) == {first.run, second.run, asked.run}


async def test_runs_that_interrupt_and_runs_that_end_and_append_at_once_do_not_block_each_other(
    store: SqlStore,
) -> None:
    lines = [await queue(store, 3) for _ in range(6)]

    async def interrupt(session: str) -> None:
        await accept(store, acceptance("now", session=session, on_busy=OnBusy.INTERRUPT))

    async def end(asked: Acceptance, accepted: Accepted) -> None:
        for number in range(1, 6):
            assert await append(store, accepted, deltas(number, number))
        assert await store.turns.finish(ending(asked, accepted, last_sequence=6))

    ends = [end(*each) for line in lines for each in line]
    async with asyncio.timeout(30):
        await asyncio.gather(*ends, *(interrupt(line[0][0].session) for line in lines * 3))
    assert (await store.leases.errands()).start


async def test_an_interrupting_run_of_a_free_session_interrupts_nobody(store: SqlStore) -> None:
    asked = await take_turn(store, "one")
    accepted = await accept(store, acceptance("two", session=asked.session, on_busy=OnBusy.INTERRUPT))
    assert (accepted.status, accepted.interrupts) == (RUNNING, ())


async def test_no_more_runs_of_a_session_wait_than_may(store: SqlStore) -> None:
    [(first, one), *waiting] = await queue(store, 3, session_queue_max=2)
    with pytest.raises(TooManyRuns, match="2") as refused:
        await store.turns.accept(acceptance("q", session=first.session, session_queue_max=2))
    assert refused.value.retry_after_s
    await store.turns.finish(ending(*waiting[-1], status=RunStatus.CANCELED))
    assert (await accept(store, acceptance("q", session=first.session, session_queue_max=2))).status is QUEUED
    # Those that were asked to end take no place.
    more = acceptance("q", session=first.session, session_queue_max=2, on_busy=OnBusy.INTERRUPT)
    await accept(store, more)
    assert (await accept(store, acceptance("q", session=first.session, session_queue_max=2))).status is QUEUED
    assert one.status is RUNNING


async def test_of_many_at_once_no_more_wait_than_may(store: SqlStore) -> None:
    session = new_id()
    asked = [acceptance(str(number), session=session, session_queue_max=4) for number in range(12)]
    outcomes = await asyncio.gather(*(store.turns.accept(each) for each in asked), return_exceptions=True)
    assert sum(isinstance(each, Accepted) for each in outcomes) == 5
    assert sum(isinstance(each, TooManyRuns) for each in outcomes) == 7


async def test_a_run_waits_for_its_instance_though_its_session_is_free(store: SqlStore) -> None:
    asked = await take_turn(store, "one")
    queued = await accept(store, acceptance("two", session=asked.session, queued=True))
    plain = await accept(store, acceptance("plain", chat=False, queued=True))
    keyed = await accept(store, acceptance("keyed", queued=True, key="k"))
    assert [(each.status, each.rounds) for each in (queued, plain, keyed)] == [(QUEUED, ())] * 3
    for each, rounds in ((queued, 1), (plain, 0), (keyed, 0)):
        begun = await start(store, each)
        assert begun is not None
        assert (begun.status, len(begun.rounds)) == (RUNNING, rounds)


async def test_runs_without_a_turn_and_unstored_ones_wait_for_nobody(store: SqlStore) -> None:
    [(first, _)] = await queue(store, 1)
    for more in ({"chat": False}, {"stored": False}, {"stored": False, "on_busy": OnBusy.REJECT}):
        assert (await accept(store, acceptance("q", session=first.session, **more))).status is RUNNING
    unstored = acceptance("q", session=first.session, stored=False, queued=True)
    assert (await accept(store, unstored)).status is RUNNING


async def test_another_users_busy_session_is_not_found(store: SqlStore) -> None:
    asked = acceptance("mine", session=new_id(), user="alice")
    await accept(store, asked)
    for on_busy in OnBusy:
        with pytest.raises(SessionNotFound):
            await store.turns.accept(acceptance("q", session=asked.session, user="bob", on_busy=on_busy))
    assert (await store.leases.errands()).cancel == []


async def test_runs_of_many_instances_get_their_turns_in_order(store: SqlStore, store_url: str) -> None:
    """Each ends at a chance time; the next begins when it is asked after that, and never before."""
    session, running = new_id(), 0

    async def run() -> int:
        nonlocal running
        asked = acceptance("q", session=session)
        accepted: Accepted | None = await accept(store, asked)
        assert accepted is not None
        while accepted.status is QUEUED:
            await asyncio.sleep(0.005)
            accepted = await start(store, accepted)
            assert accepted is not None
        running += 1
        assert running == 1
        await asyncio.sleep(0.005)
        running -= 1
        await store.turns.finish(ending(asked, accepted, end_time=datetime.now(UTC)))
        return accepted.turn

    async with asyncio.timeout(30):
        assert sorted(await asyncio.gather(*(run() for _ in range(12)))) == list(range(1, 13))


async def test_a_run_that_brings_its_history_keeps_it_in_its_row(store: SqlStore) -> None:
    asked = acceptance("q", rounds=0)
    brought = replace(asked, inputs={**asked.inputs, "history": [{"role": "user", "content": "before"}]})
    await accept(store, brought)
    record = await store.runs.get(brought.run)
    assert record is not None
    assert record.inputs == brought.inputs


@pytest.fixture
def unknown(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database commits every second transaction without saying so."""
    write, silent = store.database.write, cycle((True, False))

    async def commit(work: Any) -> Any:
        result = await write(work)
        if next(silent):
            raise StoreUnavailable("the connection broke")
        return result

    monkeypatch.setattr(store.database, "write", commit)


@pytest.mark.usefixtures("unknown")
async def test_what_was_committed_unheard_is_done_once_and_told_as_it_is(store: SqlStore) -> None:
    [(first, one), (second, two)] = await queue(store, 2, key="", sequence_reserved=8)
    assert [(each.status, each.turn, each.attempt) for each in (one, two)] == [(RUNNING, 1, 1), (QUEUED, 2, 1)]
    assert await append(store, one, deltas(1, 4), reserved=16)
    assert await store.turns.finish(ending(first, one, last_sequence=7, events=deltas(3, 6)))
    begun = await start(store, two)
    assert begun is not None
    assert (begun.status, [each.outputs for each in begun.rounds]) == (RUNNING, [{"answer": "hi"}])
    keyed = await accept(store, acceptance("k", session=first.session, key="k"))
    assert (keyed.status, keyed.turn) == (QUEUED, 3)
    interrupting = await accept(store, acceptance("i", session=first.session, on_busy=OnBusy.INTERRUPT))
    assert (interrupting.status, interrupting.turn) == (QUEUED, 4)
    assert second.run in (await store.leases.errands()).cancel
    page = await store.runs.log(first.run, 0)
    assert page is not None
    assert [each.sequence for each in page.events] == [1, 2, 3, 4, 5, 6]
    assert (await store.sessions.get(first.session, Scope())).message_count == 5
