"""Deleting, on every database."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text
from tests.store.records import accept, acceptance, append, deltas, ending, start, take_turn

from penstock_server.errors import SessionNotFound, StoreUnavailable
from penstock_server.ids import new_id
from penstock_server.runs.events import RunStatus
from penstock_server.store.records import (
    Acceptance,
    Accepted,
    Erased,
    MessageFilter,
    Role,
    Scope,
    SearchFilter,
    SessionChange,
)
from penstock_server.store.sql.databases.url import parse
from penstock_server.store.sql.history import erasure
from penstock_server.store.sql.store import SqlStore, StoreSettings
from penstock_server.store.sql.turns import logs

EVERYBODY = Scope()
QUESTION, ANSWER = Role.USER, Role.ASSISTANT


async def converse(store: SqlStore, turns: int, *, user: str = "", session: str = "") -> list[Acceptance]:
    """A session, or more of one, with so many turns."""
    asked = [await take_turn(store, "word", session=session, user=user)]
    session = asked[0].session
    more = (take_turn(store, "word", session=session, user=user) for _ in range(turns - 1))
    return asked + list(await asyncio.gather(*more))


async def rows(store: SqlStore) -> dict[str, int]:
    """How many rows each table has."""
    tables = store.tables
    words = tables.search + ("_fts" if store.database.dialect.name == "sqlite" else "")

    def count(connection: Any) -> dict[str, int]:
        quoted = connection.dialect.identifier_preparer.quote(words)
        return {
            "sessions": connection.scalar(select(func.count()).select_from(tables.sessions)),
            "messages": connection.scalar(select(func.count()).select_from(tables.messages)),
            "runs": connection.scalar(select(func.count()).select_from(tables.runs)),
            "events": connection.scalar(select(func.count()).select_from(tables.events)),
            "words": connection.scalar(text(f"SELECT count(*) FROM {quoted}")),
        }

    return await store.database.read(count)


NOTHING = {"sessions": 0, "messages": 0, "runs": 0, "events": 0, "words": 0}


async def test_a_deleted_session_leaves_nothing(store: SqlStore) -> None:
    asked = await converse(store, 3, user="alice")
    session = asked[0].session
    assert await store.sessions.delete(session, Scope(user="alice")) == Erased(sessions=1, messages=6, runs=3)
    assert await rows(store) == NOTHING
    assert await store.runs.get(asked[0].run) is None
    with pytest.raises(SessionNotFound):
        await store.sessions.delete(session, Scope(user="alice"))


@pytest.mark.parametrize("what", ["session", "user", "messages", "own retention", "retention", "withdrawal"])
async def test_what_is_erased_leaves_no_log(store: SqlStore, what: str) -> None:
    """It holds the same texts."""
    asked = acceptance("q", user="alice", create_time=datetime.now(UTC) - timedelta(days=9))
    plain = acceptance("q", user="alice", chat=False, create_time=datetime.now(UTC) - timedelta(days=9))
    for each in (asked, plain):
        accepted = await accept(store, each)
        await append(store, accepted, deltas(1, 3))
        ended = ending(each, accepted, last_sequence=6, events=deltas(4, 5), end_time=each.create_time)
        await store.turns.finish(ended)
    assert (await rows(store))["events"] == 4
    match what:
        case "session":
            await store.sessions.delete(asked.session, EVERYBODY)
        case "user":
            await store.sessions.erase_user("alice")
        case "messages":
            await store.messages.delete(asked.session, EVERYBODY, [(1, ANSWER)])
        case "own retention":
            change = SessionChange(retention_days=1)
            await store.sessions.update(asked.session, EVERYBODY, change, asked.create_time)
            await store.retention.expire(datetime.now(UTC), 0)
        case "retention":
            while await store.retention.expire(datetime.now(UTC), 3) != Erased():
                pass
        case "withdrawal":
            await store.sessions.erase_user("alice")
            withdrawn = acceptance("q")
            await append(store, await accept(store, withdrawn), deltas(1, 3))
            store.turns._withdraw(withdrawn, StoreUnavailable("it may have been committed"), unsure=True)
            async with asyncio.timeout(10):
                while await store.runs.get(withdrawn.run) is not None:
                    await asyncio.sleep(0.01)
    left = {"user": 0, "retention": 0, "withdrawal": 0}.get(what, 2)
    assert (await rows(store))["events"] == left
    assert (await rows(store))["runs"] == left // 2


async def test_a_log_that_is_written_while_its_run_is_erased_leaves_nothing(store: SqlStore) -> None:
    asked = [acceptance("q", user="alice") for _ in range(10)]
    accepted = [await accept(store, each) for each in asked]

    async def talk(run: Accepted) -> None:
        number = 1
        while await append(store, run, deltas(number, number)):
            number += 1

    talking = [asyncio.create_task(talk(each)) for each in accepted]
    await asyncio.sleep(0.05)
    await store.sessions.erase_user("alice")
    await asyncio.gather(*talking)
    assert await rows(store) == NOTHING


async def test_a_session_of_many_batches_is_deleted_whole_and_counted_right(store: SqlStore) -> None:
    turns = erasure.MESSAGES_MAX + 3
    asked = await converse(store, turns)
    kept = await take_turn(store, "word")
    erased = await store.sessions.delete(asked[0].session, EVERYBODY)
    assert erased == Erased(sessions=1, messages=2 * turns, runs=turns)
    assert await rows(store) == {"sessions": 1, "messages": 2, "runs": 1, "events": 0, "words": 2}
    assert await store.runs.get(kept.run) is not None


async def test_no_transaction_removes_more_rows_than_it_may(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await converse(store, erasure.MESSAGES_MAX, user="alice")
    await asyncio.gather(*(take_turn(store, "word", user="alice") for _ in range(erasure.SESSIONS_MAX)))
    monkeypatch.setattr(logs, "BATCH_EVENTS_MAX", 1)
    for chat, count in ((True, 1200), (False, 1200), (True, 90)):
        asked = acceptance("q", user="alice", chat=chat)
        await append(store, await accept(store, asked), deltas(1, count))
    before, removed = sum((await rows(store)).values()), []
    write = store.database.write

    async def counted(work: Callable[[Any], Any]) -> Any:
        nonlocal before
        result = await write(work)
        now = sum((await rows(store)).values())
        removed.append(before - now)
        before = now
        return result

    monkeypatch.setattr(store.database, "write", counted)
    await store.sessions.erase_user("alice")
    assert await rows(store) == NOTHING
    assert max(removed) <= erasure.ROWS_MAX
    assert len([count for count in removed if count]) <= 16


async def test_what_was_begun_and_cut_off_can_be_begun_anew(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = erasure.MESSAGES_MAX
    asked = await converse(store, turns, user="alice")
    session = asked[0].session
    write = store.database.write

    async def once(work: Callable[[Any], Any]) -> Any:
        monkeypatch.setattr(store.database, "write", fails)
        return await write(work)

    async def fails(work: Callable[[Any], Any]) -> Any:
        raise StoreUnavailable("the database is gone")

    monkeypatch.setattr(store.database, "write", once)
    with pytest.raises(StoreUnavailable):
        await store.sessions.delete(session, EVERYBODY)
    monkeypatch.undo()
    record = await store.sessions.get(session, EVERYBODY)
    left = (await rows(store))["messages"]
    assert 0 < left < 2 * turns
    assert record.message_count == left
    assert (await store.sessions.erase_user("alice")).messages == left
    assert await rows(store) == NOTHING


async def test_a_run_whose_session_is_deleted_meanwhile_leaves_nothing(store: SqlStore) -> None:
    asked = await take_turn(store, "one")
    live = acceptance("two", session=asked.session)
    accepted = await accept(store, live)
    assert await store.sessions.delete(asked.session, EVERYBODY) == Erased(sessions=1, messages=3, runs=2)
    await store.turns.finish(ending(live, accepted))
    assert await rows(store) == NOTHING


async def test_a_live_run_without_messages_goes_with_its_session(store: SqlStore) -> None:
    live = acceptance("two")
    accepted = await accept(store, live)
    assert await store.messages.delete(live.session, EVERYBODY, None) == 1
    assert await store.sessions.delete(live.session, EVERYBODY) == Erased(sessions=1, messages=0, runs=1)
    await store.turns.finish(ending(live, accepted))
    assert await rows(store) == NOTHING


async def test_an_erased_user_leaves_nothing(store: SqlStore) -> None:
    for _ in range(3):
        await converse(store, 2, user="alice")
    standard = acceptance(user="alice", chat=False)
    await store.turns.finish(ending(standard, await accept(store, standard)))
    bobs = await converse(store, 2, user="Alice")
    nobodys = await converse(store, 1)
    assert await store.sessions.erase_user("alice") == Erased(sessions=3, messages=12, runs=7)
    assert await store.sessions.erase_user("alice") == Erased()
    assert await rows(store) == {"sessions": 2, "messages": 6, "runs": 3, "events": 0, "words": 6}
    assert {(await store.sessions.get(each.session, EVERYBODY)).user for each in (*bobs, *nobodys)} == {"Alice", ""}


async def test_messages_are_deleted_by_turn_and_role(store: SqlStore) -> None:
    asked = await converse(store, 3)
    session = asked[0].session
    wanted = [(1, QUESTION), (1, ANSWER), (3, QUESTION), (3, QUESTION), (9, ANSWER)]
    assert await store.messages.delete(session, EVERYBODY, wanted) == 3
    assert await store.messages.delete(session, EVERYBODY, wanted) == 0
    page = await store.messages.page(MessageFilter(scope=EVERYBODY, session=session), None, 10)
    assert [(each.turn, each.role) for each in page.items] == [(2, QUESTION), (2, ANSWER), (3, ANSWER)]
    assert (await store.sessions.get(session, EVERYBODY)).message_count == 3
    found = await store.messages.search(SearchFilter(scope=EVERYBODY, query="word"), None, 10)
    assert [each.turn for each in found.items] == [2]
    assert await rows(store) == {"sessions": 1, "messages": 3, "runs": 1, "events": 0, "words": 3}


async def test_none_named_deletes_none(store: SqlStore) -> None:
    [asked] = await converse(store, 1)
    assert await store.messages.delete(asked.session, EVERYBODY, []) == 0
    assert (await store.sessions.get(asked.session, EVERYBODY)).message_count == 2


async def test_all_messages_of_many_batches_are_deleted_and_the_session_goes_on(store: SqlStore) -> None:
    turns = erasure.MESSAGES_MAX
    asked = await converse(store, turns)
    session = asked[0].session
    assert await store.messages.delete(session, EVERYBODY, None) == 2 * turns
    assert await rows(store) == {"sessions": 1, "messages": 0, "runs": 0, "events": 0, "words": 0}
    assert (await store.sessions.get(session, EVERYBODY)).message_count == 0
    await take_turn(store, "again", session=session)
    page = await store.messages.page(MessageFilter(scope=EVERYBODY, session=session), None, 10)
    assert [each.turn for each in page.items] == [turns + 1, turns + 1]  # no number is given out twice


@pytest.mark.parametrize("named", [None, [(2, QUESTION)]], ids=["all", "one"])
@pytest.mark.parametrize("with_history", [False, True], ids=["", "own-history"])
async def test_what_is_deleted_while_its_run_is_live_leaves_nothing_of_the_run(
    store: SqlStore, named: list[tuple[int, Role]] | None, with_history: bool
) -> None:
    first = await take_turn(store, "one")
    live = acceptance("two", session=first.session, rounds=0 if with_history else 10)
    if with_history:
        live = replace(live, inputs={**live.inputs, "chat_history": [{"role": "user", "content": "before"}]})
    accepted = await accept(store, live)
    await append(store, accepted, deltas(1, 3))
    behind = acceptance("three", session=first.session)
    waiting = await accept(store, behind)
    assert await store.messages.delete(live.session, EVERYBODY, named) == (1 if named else 4)
    record = await store.runs.get(live.run)
    assert record is not None
    assert (record.status, record.inputs) == (RunStatus.RUNNING, {})
    assert await append(store, accepted, deltas(4, 5))
    begun = await start(store, waiting)
    assert begun is not None
    assert begun.status is RunStatus.QUEUED, "its session still waits for it"
    assert await store.turns.finish(ending(live, accepted, last_sequence=6))
    assert await store.runs.get(live.run) is None
    begun = await start(store, waiting)
    assert begun is not None
    assert begun.status is RunStatus.RUNNING
    await store.turns.finish(ending(behind, waiting))
    kept = 2 if named else 0
    left = await rows(store)
    assert (left["events"], left["runs"]) == (0, 2 if named else 0)
    page = await store.messages.page(MessageFilter(scope=EVERYBODY, session=live.session), None, 10)
    assert [each.turn for each in page.items] == ([1, 1, 3, 3] if named else [])
    assert (await store.sessions.get(live.session, EVERYBODY)).message_count == kept * 2


async def test_what_is_deleted_while_its_run_is_live_stays_deleted_where_another_instance_ends_the_run(
    store: SqlStore, store_url: str, settings: StoreSettings
) -> None:
    if not store.database.shared:
        pytest.skip("no other instance uses it")
    live = acceptance("two")
    await append(store, await accept(store, live), deltas(1, 3))
    await store.messages.delete(live.session, EVERYBODY, None)
    other = SqlStore(parse(store_url), settings, instance="another")
    await other.open()
    (orphan,) = await other.leases.adopt("instance-of-the-test", 0)
    assert await other.turns.finish(ending(live, orphan.accepted, last_sequence=orphan.sequence_reserved + 1))
    await other.close()
    assert await rows(store) == NOTHING | {"sessions": 1}


@pytest.mark.parametrize("what", ["session", "messages", "user"])
async def test_nothing_is_orphaned_by_turns_that_are_taken_meanwhile(store: SqlStore, what: str) -> None:
    session = new_id()
    stop = asyncio.Event()

    async def talk() -> int:
        taken = 0
        while not stop.is_set():
            await take_turn(store, "word", session=session, user="alice", session_is_new=False)
            taken += 1
        return taken

    async def remove() -> None:
        for _ in range(15):
            await asyncio.sleep(0.01)
            deletions: dict[str, Callable[[], Awaitable[object]]] = {
                "session": lambda: store.sessions.delete(session, EVERYBODY),
                "messages": lambda: store.messages.delete(session, EVERYBODY, None),
                "user": lambda: store.sessions.erase_user("alice"),
            }
            with suppress(SessionNotFound):
                await deletions[what]()
        stop.set()

    taken, *_ = await asyncio.gather(talk(), talk(), talk(), remove())
    assert taken
    counted = await rows(store)
    assert counted["words"] == counted["messages"]
    if counted["sessions"]:
        assert (await store.sessions.get(session, EVERYBODY)).message_count == counted["messages"]
    await store.sessions.erase_user("alice")
    assert await rows(store) == NOTHING
