"""What is imported is added once, however often it comes."""

from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from penstock_server.history.importing.entries import Entry, EntryRefused, ImportedMessage, ImportedSession
from penstock_server.history.importing.importer import BATCH_ENTRIES_MAX, Counts, Importer
from penstock_server.runs.events import RunStatus
from penstock_server.store.records import MessageFilter, Rating, Role, Scope, SearchFilter, SessionRecord
from penstock_server.store.sql.imports.writing import Imports
from penstock_server.store.sql.store import SqlStore

SESSION = "a-session-that-came-from-elsewhere-1"
WHOLE_SECOND = datetime(2024, 5, 1, 12, 0, 0, tzinfo=UTC)


def message(turn: int, role: Role = Role.USER, **changes: object) -> ImportedMessage:
    """A message."""
    name = "question" if role is Role.USER else "answer"
    made = ImportedMessage(
        place=f"line {turn}",
        session=SESSION,
        user="alice",
        turn=turn,
        role=role,
        flow="chat",
        status=RunStatus.SUCCEEDED if role is Role.ASSISTANT else None,
        text_of=name,
        content={name: f"{name} {turn}"},
        create_time=WHOLE_SECOND,
        session_metadata={},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def turns(count: int) -> list[ImportedMessage]:
    """Questions with answers, all said within one second."""
    return [message(turn, role) for turn in range(1, count + 1) for role in Role]


async def imported(store: SqlStore, entries: Iterable[Entry], *, dry_run: bool = False) -> tuple[Counts, list[str]]:
    """What the import counts, and what it refuses."""
    refused: list[EntryRefused] = []
    target = Imports(store.database, store.tables)
    importer = Importer(target, dry_run=dry_run, refused=refused.append, progress=lambda counts: None)
    await importer.run(_each(entries))
    return importer.counts, [str(each) for each in refused]


async def _each(entries: Iterable[Entry]) -> AsyncGenerator[Entry | EntryRefused]:
    for entry in entries:
        yield entry


async def session(store: SqlStore) -> SessionRecord:
    """The imported session."""
    return await store.sessions.get(SESSION, Scope())


async def test_an_import_may_be_repeated(store: SqlStore) -> None:
    entries = turns(3)
    assert await imported(store, entries) == (Counts(sessions=1, messages=6), [])
    assert await imported(store, entries) == (Counts(present=6), [])
    assert await imported(store, [*entries, message(4)]) == (Counts(messages=1, present=6), [])
    assert (await session(store)).message_count == 7


async def test_messages_keep_all_that_they_had(store: SqlStore) -> None:
    told = message(
        1, Role.ASSISTANT, status=RunStatus.FAILED, content={"answer": "你好\0", "more": [1, None]}, input_tokens=3,
        output_tokens=4, rating=Rating.DISLIKE, rating_comment="no",
    )  # fmt: skip
    await imported(store, [told])
    page = await store.messages.page(MessageFilter(scope=Scope(), session=SESSION), None, 10)
    found = page.items[0]
    assert (found.turn, found.role, found.status, found.content) == (1, Role.ASSISTANT, RunStatus.FAILED, told.content)
    assert (found.input_tokens, found.output_tokens, found.rating, found.rating_comment) == (3, 4, Rating.DISLIKE, "no")
    assert (found.create_time, found.run, found.flow, found.user) == (WHOLE_SECOND, "", "chat", "alice")


async def test_a_session_keeps_all_that_it_had(store: SqlStore) -> None:
    told = ImportedSession(
        place="line 1", session=SESSION, user="alice", flow="chat", title="Greetings", metadata={"team": "a"},
        create_time=WHOLE_SECOND, update_time=WHOLE_SECOND + timedelta(days=2), retention_days=30,
    )  # fmt: skip
    await imported(store, [told, *turns(1)])
    found = await session(store)
    assert (found.title, found.metadata, found.retention_days) == ("Greetings", {"team": "a"}, 30)
    assert (found.create_time, found.update_time, found.message_count) == (told.create_time, told.update_time, 2)


async def test_a_session_that_nobody_told_of_is_made_from_its_messages(store: SqlStore) -> None:
    later = WHOLE_SECOND + timedelta(hours=1)
    await imported(store, [message(1, session_metadata={"imported_id": "7"}), message(2, create_time=later)])
    found = await session(store)
    assert (found.title, found.user, found.flow) == ("question 1", "alice", "chat")
    assert (found.metadata, found.create_time, found.update_time) == ({"imported_id": "7"}, WHOLE_SECOND, later)


async def test_ten_thousand_messages_of_one_second_are_kept_apart(store: SqlStore) -> None:
    entries = turns(5_000)
    assert await imported(store, entries) == (Counts(sessions=1, messages=10_000), [])
    assert (await session(store)).message_count == 10_000


async def test_imported_messages_are_found_by_their_words(store: SqlStore) -> None:
    await imported(store, [message(1, content={"question": "Where is the 知识库?"}), message(2)])
    found = await store.messages.search(SearchFilter(scope=Scope(), query="知识"), None, 10)
    assert [each.turn for each in found.items] == [1]


async def test_something_else_in_the_same_place_is_refused_and_the_rest_goes_on(store: SqlStore) -> None:
    await imported(store, turns(1))
    counts, refused = await imported(store, [message(1, content={"question": "other"}), message(2)])
    assert (counts.messages, counts.refused) == (1, 1)
    assert refused == [f"line 1: session {SESSION} holds something else as turn 1, USER"]


async def test_a_message_that_contradicts_another_of_the_same_import_is_refused(store: SqlStore) -> None:
    counts, refused = await imported(store, [message(1), message(1), message(1, content={"question": "other"})])
    assert (counts.messages, counts.present, len(refused)) == (1, 1, 1)


async def test_another_users_session_is_not_touched(store: SqlStore) -> None:
    await imported(store, turns(1))
    _, refused = await imported(store, [message(2, user="Alice")])
    assert refused == [f"line 2: session {SESSION} is there and belongs to another user"]
    assert (await session(store)).message_count == 2


@pytest.mark.parametrize("year", [1969, 2042])
async def test_a_time_that_has_no_keys_is_refused(store: SqlStore, year: int) -> None:
    _, refused = await imported(store, [message(1, create_time=WHOLE_SECOND.replace(year=year))])
    assert "lies outside 1970-01-01 to 2041-05-10" in refused[0]


async def test_a_dry_run_counts_and_writes_nothing(store: SqlStore) -> None:
    await imported(store, [message(1)])
    entries = [*turns(BATCH_ENTRIES_MAX), *(message(1, session=SESSION + each, user="bob") for each in "abc")]
    tried, refused = await imported(store, entries, dry_run=True)
    assert (await session(store)).message_count == 1
    assert (tried, refused) == await imported(store, entries)
    assert tried == Counts(sessions=3, messages=2 * BATCH_ENTRIES_MAX + 2, present=1)
