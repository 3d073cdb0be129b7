"""Who is alive, and who takes over what the dead leave, on every database."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.store.records import accept, acceptance, append, deltas, ending, start, take_turn

from penstock_server.runs.events import OnDisconnect, RunStatus
from penstock_server.store.records import Acceptance, Accepted, Errands
from penstock_server.store.sql.runs import leases
from penstock_server.store.sql.runs.leases import SqlLeases
from penstock_server.store.sql.store import SqlStore
from penstock_server.store.sql.turns.turns import SqlTurns

OWNER = "instance-of-the-test"


@pytest.fixture
def other(store: SqlStore) -> SqlLeases:
    """Another instance, which looks on."""
    return SqlLeases(store.database, store.tables, instance="another")


@pytest.fixture
async def others_turns(store: SqlStore) -> AsyncIterator[SqlTurns]:
    turns = SqlTurns(store.database, store.tables, instance="another", idempotency_window_s=3600)
    yield turns
    await turns.close()


async def test_an_instance_beats_for_the_others_to_see(store: SqlStore, other: SqlLeases) -> None:
    assert await other.beats() == {}
    assert not await store.leases.beat()
    assert await store.leases.beat()
    assert await store.leases.beats() == {}
    assert await other.beats() == {OWNER: 2}
    await store.leases.retire()
    assert await other.beats() == {}
    assert not await store.leases.beat()
    await store.leases.retire()
    await store.leases.retire()


async def test_an_instance_that_is_forgotten_and_owns_runs_has_never_beaten(store: SqlStore, other: SqlLeases) -> None:
    asked = acceptance()
    accepted = await accept(store, asked)
    assert await other.beats() == {OWNER: 0}
    assert await store.leases.beats() == {}
    await store.turns.finish(ending(asked, accepted))
    assert await other.beats() == {}


async def test_the_runs_of_a_dead_instance_are_taken_over(
    store: SqlStore, other: SqlLeases, others_turns: SqlTurns
) -> None:
    await store.leases.beat()
    asked = acceptance("q", sequence_reserved=64, on_disconnect=OnDisconnect.CONTINUE, user="u", inputs={"n": 1})
    accepted = await accept(store, asked)
    waits = acceptance("w", session=asked.session, user="u")
    waiting = await accept(store, waits)
    plain = acceptance("plain", chat=False)
    await accept(store, plain)
    await append(store, accepted, deltas(1, 3), reserved=128)

    orphans = {each.record.run: each for each in await other.adopt(OWNER, 1)}
    assert set(orphans) == {asked.run, waits.run, plain.run}
    orphan = orphans[asked.run]
    assert orphan.accepted == replace(accepted, attempt=2)
    assert (orphan.on_disconnect, orphan.sequence_reserved) == (OnDisconnect.CONTINUE, 128)
    assert (orphan.record.inputs, orphan.record.status) == ({"question": "q", "n": 1}, RunStatus.RUNNING)
    assert orphans[waits.run].accepted == replace(waiting, attempt=2)
    assert orphans[plain.run].record.inputs == {"question": "plain"}

    # What the dead one still writes is refused, and it is told that it was taken for dead.
    assert not await append(store, accepted, deltas(4, 5))
    assert not await store.turns.finish(ending(asked, accepted))
    assert await start(store, waiting) is None
    assert not await store.leases.beat()
    assert await store.leases.errands() == Errands(cancel=[], start=[])

    ended = ending(asked, orphan.accepted, status=RunStatus.INTERRUPTED, last_sequence=129)
    assert await others_turns.finish(ended)
    assert await other.errands() == Errands(cancel=[], start=[waits.run])
    page = await store.runs.log(asked.run, 0)
    assert page is not None
    assert page.end is not None
    assert (page.end.lost_after, page.end.sequence) == (3, 129)


async def test_an_instance_that_has_beaten_since_keeps_its_runs(store: SqlStore, other: SqlLeases) -> None:
    asked = acceptance()
    accepted = await accept(store, asked)
    assert await other.beats() == {OWNER: 0}
    await store.leases.beat()
    assert list(await other.adopt(OWNER, 0)) == []
    await store.leases.beat()
    assert list(await other.adopt(OWNER, 1)) == []
    assert await store.turns.finish(ending(asked, accepted))
    assert await store.leases.beat()


async def test_the_runs_of_a_forgotten_instance_are_taken_over(store: SqlStore, other: SqlLeases) -> None:
    asked = acceptance()
    await accept(store, asked)
    assert [each.record.run for each in await other.adopt(OWNER, 0)] == [asked.run]
    assert list(await other.adopt(OWNER, 0)) == []


async def test_nobody_takes_over_its_own_runs(store: SqlStore) -> None:
    await accept(store, acceptance())
    assert list(await store.leases.adopt(OWNER, 0)) == []


async def test_many_runs_are_taken_over_in_parts_and_then_their_owner_is_forgotten(
    store: SqlStore, other: SqlLeases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "ADOPTED_AT_ONCE", 2)
    await store.leases.beat()
    asked = [acceptance(str(number)) for number in range(5)]
    for each in asked:
        await accept(store, each)
    taken = []
    for number in (2, 2, 1, 0):
        assert OWNER in await other.beats() or number == 0
        part = await other.adopt(OWNER, 1 if number else 0)
        assert len(part) == number
        taken += [each.record.run for each in part]
    assert taken == [each.run for each in asked]
    assert await other.beats() == {}


async def test_ended_runs_are_nobodys(store: SqlStore, other: SqlLeases) -> None:
    await store.leases.beat()
    await take_turn(store, "q")
    assert list(await other.adopt(OWNER, 1)) == []
    assert await other.beats() == {}


async def test_an_adopted_run_that_brought_its_history_has_it_still(store: SqlStore, other: SqlLeases) -> None:
    asked = acceptance("q", rounds=0)
    brought = replace(asked, inputs={**asked.inputs, "history": ["before"]})
    await accept(store, brought)
    [orphan] = await other.adopt(OWNER, 0)
    assert orphan.record.inputs == brought.inputs


class TestErrands:
    async def test_a_cancel_is_asked_of_the_owner_until_the_run_has_ended(
        self, store: SqlStore, other: SqlLeases
    ) -> None:
        asked = acceptance()
        accepted = await accept(store, asked)
        assert await store.leases.errands() == Errands(cancel=[], start=[])
        await store.runs.request_cancel(asked.run)
        await store.runs.request_cancel(asked.run)
        await store.runs.request_cancel("nothing")
        assert await store.leases.errands() == Errands(cancel=[asked.run], start=[])
        assert await other.errands() == Errands(cancel=[], start=[])
        await store.turns.finish(ending(asked, accepted, status=RunStatus.CANCELED))
        assert await store.leases.errands() == Errands(cancel=[], start=[])
        await store.runs.request_cancel(asked.run)
        assert await store.leases.errands() == Errands(cancel=[], start=[])

    async def test_the_first_that_waits_may_start_once_nobody_is_before_it(self, store: SqlStore) -> None:
        first = acceptance("1")
        line: list[tuple[Acceptance, Accepted]] = [(first, await accept(store, first))]
        for text in "23":
            each = acceptance(text, session=first.session)
            line.append((each, await accept(store, each)))
        free = acceptance("free", queued=True)
        plain = acceptance("plain", chat=False, queued=True)
        for each in (free, plain):
            await accept(store, each)
        assert (await store.leases.errands()).start == [free.run, plain.run]
        await store.turns.finish(ending(*line[0]))
        assert set((await store.leases.errands()).start) == {line[1][0].run, free.run, plain.run}
        assert await start(store, line[1][1]) is not None
        assert set((await store.leases.errands()).start) == {free.run, plain.run}
