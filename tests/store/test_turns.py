"""Runs and their turns, on every database."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.store.records import accept, acceptance, ending, take_turn

from penstock_server.errors import FlowFailed, IdempotencyKeyReused, SessionNotFound
from penstock_server.ids import new_id
from penstock_server.runs.events import RunStatus
from penstock_server.store.records import (
    Accepted,
    MessageFilter,
    MessageRecord,
    Role,
    RunRecord,
    Scope,
    SessionRecord,
)
from penstock_server.store.sql.store import SqlStore

EVERYBODY = Scope()
PAGE = 1000


async def messages(store: SqlStore, session: str) -> list[MessageRecord]:
    """What a session holds, the oldest first."""
    found: list[MessageRecord] = []
    cursor = None
    while True:
        page = await store.messages.page(MessageFilter(scope=EVERYBODY, session=session), cursor, PAGE)
        found += page.items
        if (cursor := page.next) is None:
            return found


async def session_of(store: SqlStore, session: str) -> SessionRecord:
    """A session."""
    return await store.sessions.get(session, EVERYBODY)


async def stored_run(store: SqlStore, run: str) -> RunRecord:
    """A run that is there."""
    record = await store.runs.get(run)
    assert record is not None
    return record


async def test_a_turn_is_two_messages_of_its_run(store: SqlStore) -> None:
    asked = await take_turn(store, "What is it?", "A penstock.", user="alice", inputs={"n": 1})
    question, answer = await messages(store, asked.session)
    assert (question.turn, question.role, question.content) == (1, Role.USER, {"question": "What is it?", "n": 1})
    assert (answer.turn, answer.role, answer.content) == (1, Role.ASSISTANT, {"answer": "A penstock."})
    assert (question.status, answer.status) == (None, RunStatus.SUCCEEDED)
    assert {question.run, answer.run} == {asked.run}
    assert {question.user, answer.user} == {"alice"}
    assert (answer.input_tokens, answer.output_tokens) == (3, 5)


async def test_a_session_is_made_by_its_first_run(store: SqlStore) -> None:
    asked = await take_turn(store, "\n  What is it?  \nMore.", user="alice")
    session = await session_of(store, asked.session)
    assert (session.user, session.flow, session.title, session.message_count) == ("alice", "chat", "What is it?", 2)
    assert session.create_time == asked.create_time
    assert session.update_time >= session.create_time


async def test_a_long_first_question_makes_a_short_title(store: SqlStore) -> None:
    asked = await take_turn(store, "水" * 500)
    assert (await session_of(store, asked.session)).title == "水" * 79 + "…"


async def test_turns_follow_each_other_and_the_next_gets_their_rounds(store: SqlStore) -> None:
    session = new_id()
    for number in range(4):
        await take_turn(store, f"q{number}", f"a{number}", session=session)
    accepted = await accept(store, acceptance("q4", session=session, rounds=2))
    assert accepted.turn == 5
    assert [(each.inputs, each.outputs) for each in accepted.rounds] == [
        ({"question": "q2"}, {"answer": "a2"}),
        ({"question": "q3"}, {"answer": "a3"}),
    ]
    assert (accepted.rounds[0].question_of, accepted.rounds[0].answer_of) == ("question", "answer")


async def test_rounds_that_did_not_succeed_are_kept_but_not_told(store: SqlStore) -> None:
    session = new_id()
    await take_turn(store, "q1", "a1", session=session)
    asked = acceptance("q2", session=session)
    failed = ending(asked, await accept(store, asked), "half", status=RunStatus.FAILED, error=FlowFailed("no"))
    await store.turns.finish(failed)
    accepted = await accept(store, acceptance("q3", session=session))
    assert [each.inputs["question"] for each in accepted.rounds] == ["q1"]
    kept = (await messages(store, session))[3]
    assert (kept.content, kept.status) == ({"answer": "half"}, RunStatus.FAILED)


async def test_no_rounds_are_read_that_nobody_asks_for(store: SqlStore) -> None:
    session = new_id()
    await take_turn(store, "q", session=session)
    assert (await accept(store, acceptance(session=session, rounds=0))).rounds == ()


async def test_another_users_session_is_not_found_and_gets_nothing(store: SqlStore) -> None:
    session = new_id()
    await take_turn(store, "mine", session=session, user="alice")
    for user in ("Alice", "alice ", "bob"):
        with pytest.raises(SessionNotFound):
            await store.turns.accept(acceptance(session=session, user=user))
        with pytest.raises(SessionNotFound):
            await store.turns.accept(acceptance(session=session, user=user, key=f"key of {user}"))
        with pytest.raises(SessionNotFound):
            await store.turns.accept(acceptance(session=session, user=user, chat=False))
    assert len(await messages(store, session)) == 2
    # A refused key is free again.
    assert (await accept(store, acceptance(user="bob", key="key of bob"))).turn == 1


async def test_a_caller_without_a_user_reaches_every_session_which_stays_its_owners(store: SqlStore) -> None:
    session = new_id()
    await take_turn(store, "mine", session=session, user="alice")
    await take_turn(store, "service", session=session)
    assert {message.user for message in await messages(store, session)} == {"alice"}


async def test_a_session_without_a_user_is_reached_without_one_only(store: SqlStore) -> None:
    session = new_id()
    await take_turn(store, "nobody's", session=session)
    with pytest.raises(SessionNotFound):
        await store.turns.accept(acceptance(session=session, user="alice"))


@pytest.mark.parametrize("key", ["", "k"])
async def test_a_session_is_its_first_runs_users_whatever_the_flow(store: SqlStore, key: str) -> None:
    session = new_id()
    await take_turn(store, "first", session=session, user="alice", chat=False, key=key)
    for asked in ({"chat": True}, {"chat": False}, {"chat": False, "stored": False}, {"key": "another"}):
        with pytest.raises(SessionNotFound):
            await store.turns.accept(acceptance(session=session, user="bob", **asked))
    with pytest.raises(SessionNotFound):
        await session_of(store, session)  # nothing was said in it yet
    await take_turn(store, "service", session=session)
    assert (await session_of(store, session)).user == "alice"
    await take_turn(store, "mine", session=session, user="alice")
    assert {message.user for message in await messages(store, session)} == {"alice"}


async def test_a_session_whose_first_run_named_no_user_is_reached_without_one_only(store: SqlStore) -> None:
    session = new_id()
    await take_turn(store, "nobody's", session=session, chat=False)
    with pytest.raises(SessionNotFound):
        await store.turns.accept(acceptance(session=session, user="alice"))
    await take_turn(store, "nobody's", session=session)


async def test_of_first_runs_at_the_same_time_one_makes_the_session_its_users(store: SqlStore) -> None:
    session = new_id()
    asked = [acceptance(session=session, user=f"user {n}", chat=bool(n % 2), session_is_new=False) for n in range(8)]
    outcomes = await asyncio.gather(*(store.turns.accept(each) for each in asked), return_exceptions=True)
    assert sorted(type(each) is SessionNotFound for each in outcomes) == [False] + [True] * 7


async def test_a_run_that_is_not_stored_makes_no_session_its_users(store: SqlStore) -> None:
    session = new_id()
    await accept(store, acceptance(session=session, user="alice", stored=False))
    await take_turn(store, "mine", session=session, user="bob")
    assert (await session_of(store, session)).user == "bob"


async def test_a_session_whose_runs_are_gone_is_free(store: SqlStore) -> None:
    session = new_id()
    await take_turn(store, "first", session=session, user="alice", chat=False)
    await store.sessions.erase_user("alice")
    await take_turn(store, "mine", session=session, user="bob")


async def test_users_differ_by_every_byte(store: SqlStore) -> None:
    users = ["alice", "Alice", "ALICE", "alice%20", "al\u0131ce".encode("ascii", "backslashreplace").decode()]
    sessions = {user: (await take_turn(store, user, user=user)).session for user in users}
    for user, session in sessions.items():
        assert (await session_of(store, session)).user == user


async def test_a_failed_run_keeps_its_error(store: SqlStore) -> None:
    asked = acceptance()
    error = FlowFailed("it broke", metadata={"node": "n"})
    await store.turns.finish(ending(asked, await accept(store, asked), status=RunStatus.FAILED, error=error))
    record = await stored_run(store, asked.run)
    assert isinstance(record.error, FlowFailed)
    assert (record.error.message, record.error.metadata) == ("it broke", {"node": "n"})
    assert record.status is RunStatus.FAILED


async def test_a_run_reads_as_it_was(store: SqlStore) -> None:
    asked = await take_turn(store, "q", "a", user="u", inputs={"deep": {"er": [1, 2.5, None, True, "水"]}})
    record = await stored_run(store, asked.run)
    assert (record.flow, record.snapshot, record.session, record.user) == ("chat", "1", asked.session, "u")
    assert record.inputs == {"question": "q", "deep": {"er": [1, 2.5, None, True, "水"]}}
    assert record.outputs == {"answer": "a"}
    assert (record.create_time, record.start_time) == (asked.create_time, asked.create_time)
    assert record.end_time is not None


async def test_a_run_without_a_turn_keeps_what_it_was_given_and_opens_no_session(store: SqlStore) -> None:
    asked = acceptance("q", chat=False)
    accepted = await accept(store, asked)
    assert accepted.turn == 0
    await store.turns.finish(ending(asked, accepted, "a"))
    record = await stored_run(store, asked.run)
    assert (record.inputs, record.outputs) == ({"question": "q"}, {"answer": "a"})
    with pytest.raises(SessionNotFound):
        await session_of(store, asked.session)


async def test_a_run_that_is_not_to_be_stored_reads_and_writes_nothing(store: SqlStore) -> None:
    session = new_id()
    await take_turn(store, "q1", "a1", session=session)
    asked = acceptance("q2", session=session, stored=False)
    accepted = await accept(store, asked)
    assert [each.outputs for each in accepted.rounds] == [{"answer": "a1"}]
    assert (accepted.run_key, accepted.turn) == (0, 0)
    assert await store.runs.get(asked.run) is None
    assert len(await messages(store, session)) == 2


@pytest.mark.parametrize("text", ["\0", "a\0b", "水😀", "'; DROP TABLE x; --", "%s {} \\", "x" * 1024 * 1024, ""])
async def test_every_text_comes_back_as_it_was(store: SqlStore, text: str) -> None:
    asked = await take_turn(store, text, text)
    question, answer = await messages(store, asked.session)
    assert (question.content["question"], answer.content["answer"]) == (text, text)


async def test_the_longest_ids_are_kept_whole(store: SqlStore) -> None:
    session, user = "s" * 255, "u" * 255
    await take_turn(store, "q", session=session, user=user, key="k" * 255)
    assert (await session_of(store, session)).user == user


class TestIdempotencyKeys:
    async def test_the_same_request_gets_the_same_run(self, store: SqlStore) -> None:
        asked = await take_turn(store, "q", "a", key="k")
        again = await store.turns.accept(acceptance("q", key="k"))
        assert isinstance(again, RunRecord)
        assert (again.run, again.session, again.outputs) == (asked.run, asked.session, {"answer": "a"})
        assert len(await messages(store, asked.session)) == 2

    async def test_another_request_is_refused(self, store: SqlStore) -> None:
        await take_turn(store, "q", key="k")
        with pytest.raises(IdempotencyKeyReused):
            await store.turns.accept(acceptance("other", key="k", digest=b"e" * 32))

    async def test_the_same_request_in_another_session_is_refused(self, store: SqlStore) -> None:
        asked = await take_turn(store, "q", key="k")
        with pytest.raises(IdempotencyKeyReused):
            await store.turns.accept(acceptance("q", key="k", session=new_id()))
        assert isinstance(await store.turns.accept(acceptance("q", key="k", session=asked.session)), RunRecord)

    async def test_users_and_principals_have_keys_of_their_own(self, store: SqlStore) -> None:
        asked = acceptance("q", key="k", user="alice")
        others = [acceptance("q", key="k", user="Alice"), acceptance("q", key="K", user="alice")]
        assert asked.idempotency is not None
        others.append(replace(acceptance("q", user="alice"), idempotency=replace(asked.idempotency, principal="q")))
        runs = [await accept(store, each) for each in (asked, *others)]
        assert len({each.run_key for each in runs}) == 4

    async def test_an_old_key_is_free_again(self, store: SqlStore) -> None:
        asked = acceptance("q", key="k")
        await accept(store, replace(asked, create_time=asked.create_time - timedelta(days=2)))
        assert isinstance(await store.turns.accept(acceptance("q", key="k")), Accepted)

    async def test_of_many_at_once_one_is_executed(self, store: SqlStore) -> None:
        outcomes = await asyncio.gather(*(store.turns.accept(acceptance("q", key="k")) for _ in range(40)))
        assert sum(isinstance(each, Accepted) for each in outcomes) == 1
        [winner] = {each.run for each in outcomes if isinstance(each, RunRecord)}
        record = await stored_run(store, winner)
        assert len(await messages(store, record.session)) == 1


async def test_turns_of_a_session_are_numbered_without_holes_however_many_come_at_once(store: SqlStore) -> None:
    session = new_id()
    asked = [acceptance(str(number), session=session) for number in range(50)]
    turns = [each.turn for each in await asyncio.gather(*(accept(store, each) for each in asked))]
    assert sorted(turns) == list(range(1, 51))
    assert (await session_of(store, session)).message_count == 50


async def test_many_sessions_at_once_disturb_each_other_in_nothing(store: SqlStore) -> None:
    sessions = [new_id() for _ in range(10)]

    async def talk(session: str, offset: int) -> None:
        for number in range(5):
            await take_turn(store, f"{offset}.{number}", session=session)

    await asyncio.gather(*(talk(session, offset) for session in sessions for offset in range(3)))
    for session in sessions:
        said = await messages(store, session)
        assert [message.turn for message in said[::2]] == list(range(1, 16))
        assert (await session_of(store, session)).message_count == 30


async def test_a_run_ends_once(store: SqlStore) -> None:
    asked = acceptance()
    accepted = await accept(store, asked)
    await store.turns.finish(ending(asked, accepted, "first"))
    await store.turns.finish(ending(asked, accepted, "second", status=RunStatus.CANCELED))
    record = await stored_run(store, asked.run)
    assert (record.status, record.outputs) == (RunStatus.SUCCEEDED, {"answer": "first"})
    assert len(await messages(store, asked.session)) == 2


async def test_another_attempt_cannot_end_a_run(store: SqlStore) -> None:
    asked = acceptance()
    accepted = await accept(store, asked)
    await store.turns.finish(ending(asked, replace(accepted, attempt=2)))
    assert (await stored_run(store, asked.run)).status is RunStatus.RUNNING


async def test_an_acceptance_that_nobody_waits_for_any_more_leaves_nothing(store: SqlStore) -> None:
    session = new_id()
    await take_turn(store, "q1", session=session)
    left = [acceptance("left", session=session), acceptance("left", key="k"), acceptance("left")]
    tasks = [asyncio.create_task(store.turns.accept(each)) for each in left]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    assert all(
        isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(*tasks, return_exceptions=True)
    )
    await take_turn(store, "q2", session=session)
    async with asyncio.timeout(10):
        while any([await store.runs.get(each.run) for each in left]):
            await asyncio.sleep(0.01)
    assert [message.content.get("question") for message in await messages(store, session)][::2] == ["q1", "q2"]
    assert (await session_of(store, session)).message_count == 4
    assert isinstance(await store.turns.accept(acceptance("left", key="k")), Accepted)
    for each in left[1:]:
        with pytest.raises(SessionNotFound):
            await session_of(store, each.session)
