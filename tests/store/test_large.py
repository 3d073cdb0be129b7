"""Runs that say more than the database takes, and writes that fail beside others."""

import asyncio
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection
from tests.databases import DatabaseServer
from tests.store.records import accept, acceptance, append, ending, start, take_turn

from penstock_server.errors import Defect, RunTooLarge, StoreUnavailable
from penstock_server.flows.flow import NodeRecord, NodeStatus
from penstock_server.ids import new_id
from penstock_server.runs.events import OutputDelta, RunStatus
from penstock_server.store.errors import StoreError
from penstock_server.store.records import MessageFilter, RunRecord, Scope
from penstock_server.store.sql.databases.url import parse
from penstock_server.store.sql.store import SqlStore, StoreSettings
from penstock_server.store.sql.turns import turns
from penstock_server.store.sql.turns.acceptances import Acceptances
from penstock_server.store.sql.turns.endings import Endings

MEBIBYTE = 1024 * 1024
LARGE = '"\\\n' * (3 * MEBIBYTE)
"""9 MiB that JSON makes 18 of, and MariaDB's client 36: it takes 16."""


@pytest.fixture
def mysql(database: str) -> None:
    if database != "mysql":
        pytest.skip("the others take a gigabyte")


async def ended(store: SqlStore, run: str) -> RunRecord:
    async with asyncio.timeout(30):
        while (record := await store.runs.get(run)) is None or not record.status.terminal:
            await asyncio.sleep(0.02)
    return record


@pytest.mark.usefixtures("mysql")
class TestMoreThanThePacketTakes:
    async def test_an_answer_ends_its_run_as_failed_and_says_why(self, store: SqlStore) -> None:
        asked = acceptance("q")
        node = NodeRecord(
            node="n",
            status=NodeStatus.SUCCEEDED,
            output=LARGE,
            start_time=datetime.now(UTC),
            end_time=datetime.now(UTC),
        )
        deltas = [OutputDelta({"answer": LARGE}, 1)]
        accepted = await accept(store, asked)
        finished = ending(asked, accepted, LARGE, nodes=[node], events=deltas, last_sequence=2)
        assert not await store.turns.finish(finished)
        record = await ended(store, asked.run)
        assert (record.status, record.outputs, type(record.error)) == (RunStatus.FAILED, {}, RunTooLarge)
        assert "max_allowed_packet" in str(record.error)
        assert [(node.node, node.output) for node in record.nodes] == [("n", None)]
        page = await store.runs.log(asked.run, 0)
        assert page is not None
        assert page.end is not None
        assert page.end.lost_after == 0
        assert not await store.turns.finish(finished)

    async def test_those_at_the_same_time_lose_nothing(self, store: SqlStore) -> None:
        async def poison() -> None:
            asked = acceptance("q")
            await store.turns.finish(ending(asked, await accept(store, asked), LARGE))

        texts = [f"answer {number}" for number in range(48)]
        *_, asked = await asyncio.gather(poison(), poison(), asyncio.gather(*(take_turn(store, "q", t) for t in texts)))
        for each, text in zip(asked, texts, strict=True):
            record = await ended(store, each.run)
            assert (record.status, record.outputs) == (RunStatus.SUCCEEDED, {"answer": text})

    async def test_a_cancelled_run_stays_so(self, store: SqlStore) -> None:
        asked = acceptance("q")
        await store.turns.finish(ending(asked, await accept(store, asked), LARGE, status=RunStatus.CANCELED))
        assert (await ended(store, asked.run)).status is RunStatus.CANCELED

    async def test_the_session_goes_on(self, store: SqlStore) -> None:
        session = new_id()
        asked, waits = acceptance("q", session=session), acceptance("q", session=session)
        accepted, waiting = await accept(store, asked), await accept(store, waits)
        await store.turns.finish(ending(asked, accepted, LARGE))
        begun = await start(store, waiting)
        assert begun is not None
        assert begun.status is RunStatus.RUNNING
        said = await store.messages.page(MessageFilter(scope=Scope(), session=session), None, 10)
        assert [(each.turn, each.status) for each in said.items][1] == (1, RunStatus.FAILED)

    async def test_a_question_is_refused_and_leaves_nothing(self, store: SqlStore) -> None:
        asked = acceptance(LARGE)
        with pytest.raises(RunTooLarge, match="max_allowed_packet"):
            await store.turns.accept(asked)
        assert await store.runs.get(asked.run) is None

    async def test_an_event_is_refused(self, store: SqlStore) -> None:
        asked = acceptance("q")
        accepted = await accept(store, asked)
        with pytest.raises(RunTooLarge, match="max_allowed_packet"):
            await append(store, accepted, [OutputDelta({"answer": LARGE}, 1)])

    async def test_what_just_fits_is_kept_whole(self, store: SqlStore) -> None:
        text = '"' * (4 * MEBIBYTE - 128 * 1024)  # MariaDB gets four characters for each
        asked = await take_turn(store, "q", text)
        record = await store.runs.get(asked.run)
        assert record is not None
        assert record.outputs == {"answer": text}


async def test_a_server_that_takes_hardly_anything_is_refused(mariadb: DatabaseServer, store: SqlStore) -> None:
    if store.database.dialect.name != "mysql":
        pytest.skip("the others have no such setting")
    url = mariadb.create("small_packets")
    mariadb.execute("SET GLOBAL max_allowed_packet = 65536")
    try:
        with pytest.raises(StoreError, match="max_allowed_packet"):
            await SqlStore(parse(url), store._settings).open()
    finally:
        mariadb.execute("SET GLOBAL max_allowed_packet = 16777216")


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The answers that make the transaction fail in which they are written."""
    answers: set[str] = set()
    write = Endings.write

    def fail(self: Endings, connection: Connection, endings: Any, *more: Any) -> Any:
        if any(each.outputs.get("answer") in answers for each in endings):
            raise StoreUnavailable("the store does not answer: it has taken too long")
        return write(self, connection, endings, *more)

    monkeypatch.setattr(Endings, "write", fail)
    return answers


async def test_a_write_that_always_fails_does_not_fail_those_beside_it(store: SqlStore, poisoned: set[str]) -> None:
    poisoned.add("bad")
    asked = [acceptance("q") for _ in range(20)]
    accepted = [await accept(store, each) for each in asked]
    answers = ["bad" if number == 7 else "good" for number in range(20)]
    endings = [ending(*each) for each in zip(asked, accepted, answers, strict=True)]
    tasks = [asyncio.create_task(store.turns.finish(each)) for each in endings]
    good = [task for task, answer in zip(tasks, answers, strict=True) if answer == "good"]
    assert all(await asyncio.wait_for(asyncio.gather(*good), 10))
    tasks[7].cancel()


async def test_a_run_whose_answer_is_never_taken_ends_without_it_and_that_is_logged(
    store: SqlStore, poisoned: set[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(turns, "TRIED_S", 0.3)
    monkeypatch.setattr(turns, "PATIENCE_S", 0.1)
    poisoned.add("bad")
    asked = acceptance("q")
    accepted = await accept(store, asked)
    with pytest.raises(StoreUnavailable, match="it has taken too long"):
        await store.turns.finish(ending(asked, accepted, "bad"))
    record = await ended(store, asked.run)
    assert (record.status, record.outputs, type(record.error)) == (RunStatus.FAILED, {}, StoreUnavailable)
    logged = [each.message for each in caplog.records if asked.run in each.message and each.levelno == logging.ERROR]
    assert len(logged) == 1
    assert "it has taken too long" in logged[0]


async def test_a_caller_is_told_why_the_store_takes_nothing(
    store_url: str, settings: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("the store does not answer: its disk is full", retry_after_s=2.0)

    monkeypatch.setattr(turns, "PATIENCE_S", 0.15)
    store = SqlStore(parse(store_url), settings, instance="i")
    await store.open()
    with monkeypatch.context() as broken:
        broken.setattr(Acceptances, "claim", fail)
        failures = await asyncio.gather(
            *(store.turns.accept(acceptance("q")) for _ in range(3)), return_exceptions=True
        )
    assert [str(each) for each in failures] == ["the store does not answer: its disk is full"] * 3
    assert len({id(each) for each in failures}) == 3, "each caller adds to its own"
    await store.close()


async def test_a_run_whose_ending_meets_a_defect_ends_without_its_answer(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Endings.write

    def fail(self: Endings, connection: Connection, endings: Any, *more: Any) -> Any:
        if any(each.outputs for each in endings):
            raise ZeroDivisionError
        return write(self, connection, endings, *more)

    monkeypatch.setattr(Endings, "write", fail)
    asked = acceptance("q")
    assert not await store.turns.finish(ending(asked, await accept(store, asked)))
    record = await ended(store, asked.run)
    assert (record.status, type(record.error)) == (RunStatus.FAILED, Defect)
