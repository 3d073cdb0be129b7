"""Messages of a session, on every database."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.store.records import accept, acceptance, ending, take_turn

from penstock_server.errors import FlowFailed, SessionNotFound
from penstock_server.ids import new_id
from penstock_server.runs.events import RunStatus
from penstock_server.store.records import (
    MessageFilter,
    MessageRecord,
    Rating,
    Role,
    Scope,
    SessionFilter,
    SessionOrder,
    SessionRecord,
    TimeRange,
)
from penstock_server.store.sql.history.pages import PAGE_CHARS_MAX
from penstock_server.store.sql.store import SqlStore

EVERYBODY = Scope()
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
ALWAYS = TimeRange()


def at(minute: int) -> datetime:
    return NOON + timedelta(minutes=minute)


async def turns(
    store: SqlStore, count: int, *, session: str = "", user: str = "", since: int = 0, **more: object
) -> str:
    """A session with so many more turns, one a minute."""
    for minute in range(since, since + count):
        asked = acceptance(f"question {minute}", session=session, user=user, create_time=at(minute), **more)
        accepted = await accept(store, asked)
        await store.turns.finish(ending(asked, accepted, f"answer {minute}", end_time=at(minute)))
        session = asked.session
    return session


async def walk(store: SqlStore, wanted: MessageFilter, size: int) -> list[MessageRecord]:
    found: list[MessageRecord] = []
    after = None
    while True:
        page = await store.messages.page(wanted, after, size)
        assert len(page.items) <= size
        found += page.items
        if page.next is None:
            return found
        after = page.next


def places(records: list[MessageRecord]) -> list[tuple[int, Role]]:
    return [(record.turn, record.role) for record in records]


IN_ORDER = [(turn, role) for turn in (1, 2, 3) for role in (Role.USER, Role.ASSISTANT)]


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7])
async def test_pages_hold_every_message_once_in_the_order_of_the_turns(store: SqlStore, size: int) -> None:
    session = await turns(store, 3)
    wanted = MessageFilter(scope=EVERYBODY, session=session)
    assert places(await walk(store, wanted, size)) == IN_ORDER
    newest_first = MessageFilter(scope=EVERYBODY, session=session, newest_first=True)
    assert places(await walk(store, newest_first, size)) == IN_ORDER[::-1]


async def test_a_page_holds_the_messages_of_its_session_alone(store: SqlStore) -> None:
    session = await turns(store, 1, user="alice")
    await turns(store, 1, user="alice")
    found = await walk(store, MessageFilter(scope=Scope(user="alice"), session=session), 10)
    assert {(record.session, record.user) for record in found} == {(session, "alice")}
    assert len(found) == 2


async def test_a_turn_that_comes_meanwhile_is_on_a_later_page(store: SqlStore) -> None:
    session = await turns(store, 2)
    wanted = MessageFilter(scope=EVERYBODY, session=session)
    page = await store.messages.page(wanted, None, 3)
    await turns(store, 1, session=session)
    rest = await store.messages.page(wanted, page.next, 10)
    assert places([*page.items, *rest.items]) == IN_ORDER


async def test_messages_of_a_foreign_session_are_not_found(store: SqlStore) -> None:
    session = await turns(store, 1, user="alice")
    for asked, scope in ((session, Scope(user="bob")), (new_id(), EVERYBODY)):
        with pytest.raises(SessionNotFound):
            await store.messages.page(MessageFilter(scope=scope, session=asked), None, 10)
        with pytest.raises(SessionNotFound):
            await store.messages.delete(asked, scope, None)
        with pytest.raises(SessionNotFound):
            await store.messages.rate(asked, scope, 1, Role.USER, Rating.LIKE, "")
    assert len(await walk(store, MessageFilter(scope=EVERYBODY, session=session), 10)) == 2


async def test_filters_leave_out_what_is_not_meant(store: SqlStore) -> None:
    session = await turns(store, 2, flow="a")
    asked = acceptance("third", session=session, flow="b", create_time=at(5))
    failed = ending(
        asked, await accept(store, asked), status=RunStatus.FAILED, error=FlowFailed("boom"), end_time=at(6)
    )
    await store.turns.finish(failed)

    async def found(**conditions: object) -> list[tuple[int, Role]]:
        wanted = MessageFilter(scope=EVERYBODY, session=session, **conditions)  # type: ignore[arg-type]
        return places(await walk(store, wanted, 2))

    assert await found(flow="b") == IN_ORDER[4:]
    assert await found(status=RunStatus.FAILED) == IN_ORDER[5:]
    assert await found(status=RunStatus.SUCCEEDED) == [IN_ORDER[1], IN_ORDER[3]]
    assert await found(said=TimeRange(start=at(1), end=at(6))) == IN_ORDER[2:5]
    assert await found(said=TimeRange(start=at(7))) == []
    assert await found(status=RunStatus.CANCELED, flow="a") == []


async def test_what_was_said_comes_back_as_it_was(store: SqlStore) -> None:
    said = {"question": "NUL \0, 引号 \"', \\ %s \U0001f600", "n": 2**53, "deep": [{"a": None}, 1.5, True, ""]}
    asked = await take_turn(store, "", "\n", inputs=said)
    question, answer = await walk(store, MessageFilter(scope=EVERYBODY, session=asked.session), 10)
    assert question.content == said
    assert answer.content == {"answer": "\n"}


async def test_a_page_of_large_messages_is_cut_short(store: SqlStore) -> None:
    text = "字" * (PAGE_CHARS_MAX // 2 - 100)
    asked = await take_turn(store, text, text)
    await take_turn(store, text, text, session=asked.session)
    wanted = MessageFilter(scope=EVERYBODY, session=asked.session)
    page = await store.messages.page(wanted, None, 100)
    assert len(page.items) == 2
    assert page.next is not None
    assert len(await walk(store, wanted, 100)) == 4


async def test_a_large_message_begins_a_page(store: SqlStore) -> None:
    asked = await take_turn(store, "small", "x" * PAGE_CHARS_MAX)
    page = await store.messages.page(MessageFilter(scope=EVERYBODY, session=asked.session), None, 100)
    assert (places(list(page.items)), page.next) == ([(1, Role.USER)], (1, Role.USER))


async def test_a_message_larger_than_a_page_is_a_page(store: SqlStore) -> None:
    asked = await take_turn(store, "x" * (2 * PAGE_CHARS_MAX))
    page = await store.messages.page(MessageFilter(scope=EVERYBODY, session=asked.session), None, 100)
    assert places(list(page.items)) == [(1, Role.USER)]


async def test_a_rating_replaces_the_one_before(store: SqlStore) -> None:
    session = await turns(store, 1, user="alice")
    before = await store.sessions.get(session, EVERYBODY)
    scope = Scope(user="alice")
    for rating, comment in ((Rating.LIKE, "好 👍"), (Rating.DISLIKE, ""), (Rating.DISLIKE, ""), (Rating.NONE, "")):
        rated = await store.messages.rate(session, scope, 1, Role.ASSISTANT, rating, comment)
        assert rated is not None
        assert (rated.rating, rated.rating_comment, rated.turn, rated.role) == (rating, comment, 1, Role.ASSISTANT)
        _, answer = await walk(store, MessageFilter(scope=EVERYBODY, session=session), 10)
        assert answer == rated
    assert await store.sessions.get(session, EVERYBODY) == before


@pytest.mark.parametrize("place", [(2, Role.USER), (0, Role.USER), (2**31 - 1, Role.ASSISTANT)])
async def test_a_message_that_is_not_there_is_not_rated(store: SqlStore, place: tuple[int, Role]) -> None:
    session = await turns(store, 1)
    assert await store.messages.rate(session, EVERYBODY, *place, Rating.LIKE, "") is None


async def test_messages_of_several_sessions_come_in_the_order_of_the_sessions(store: SqlStore) -> None:
    first, second, third = [await turns(store, 2, user="alice", since=10 * number) for number in range(3)]
    page = await store.sessions.page(SessionFilter(scope=EVERYBODY, order=SessionOrder.OLDEST), None, 10)
    wanted: list[SessionRecord] = [record for record in page.items if record.session != second]
    for size in (1, 3, 8, 9):
        found: list[MessageRecord] = []
        after = None
        while True:
            some = await store.messages.of_sessions(wanted, ALWAYS, after, size)
            found += some.items
            if some.next is None:
                break
            after = some.next
        assert [record.session for record in found] == [first] * 4 + [third] * 4
        assert places(found) == IN_ORDER[:4] * 2
        assert {record.user for record in found} == {"alice"}


async def test_messages_of_several_sessions_may_be_those_of_a_time(store: SqlStore) -> None:
    session = await turns(store, 3)
    record = await store.sessions.get(session, EVERYBODY)
    found = await store.messages.of_sessions([record], TimeRange(start=at(1), end=at(2)), None, 10)
    assert places(list(found.items)) == IN_ORDER[2:4]
