"""Sessions, on every database."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.store.records import accept, acceptance, take_turn

from penstock_server.errors import SessionNotFound
from penstock_server.ids import new_id
from penstock_server.store.records import (
    Scope,
    SessionChange,
    SessionFilter,
    SessionOrder,
    SessionRecord,
    TimeRange,
)
from penstock_server.store.sql.store import SqlStore

EVERYBODY = Scope()
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def at(minute: int) -> datetime:
    return NOON + timedelta(minutes=minute)


async def begin(store: SqlStore, minute: int, *, user: str = "", flow: str = "chat", session: str = "") -> str:
    """A session that begins, or goes on, with a question at this minute."""
    asked = acceptance(user=user, flow=flow, session=session, create_time=at(minute))
    await accept(store, asked)
    return asked.session


async def walk(store: SqlStore, wanted: SessionFilter, size: int) -> list[str]:
    """The ids on all pages."""
    found: list[str] = []
    after = None
    while True:
        page = await store.sessions.page(wanted, after, size)
        assert len(page.items) <= size
        found += [record.session for record in page.items]
        if page.next is None:
            return found
        after = page.next


async def test_pages_hold_every_session_once_the_newest_first(store: SqlStore) -> None:
    made = [await begin(store, minute) for minute in range(7)]
    wanted = SessionFilter(scope=EVERYBODY)
    for size in (1, 2, 7, 8):
        assert await walk(store, wanted, size) == made[::-1]


async def test_a_full_last_page_says_that_it_is_the_last(store: SqlStore) -> None:
    for minute in range(4):
        await begin(store, minute)
    page = await store.sessions.page(SessionFilter(scope=EVERYBODY), None, 4)
    assert len(page.items) == 4
    assert page.next is None


async def test_pages_may_be_asked_for_the_oldest_first(store: SqlStore) -> None:
    made = [await begin(store, minute) for minute in range(5)]
    assert await walk(store, SessionFilter(scope=EVERYBODY, order=SessionOrder.OLDEST), 2) == made


async def test_pages_may_be_ordered_by_the_last_update(store: SqlStore) -> None:
    first, second, third = [await begin(store, minute) for minute in range(3)]
    await begin(store, 10, session=first)
    wanted = SessionFilter(scope=EVERYBODY, order=SessionOrder.LAST_UPDATED)
    for size in (1, 2, 3):
        assert await walk(store, wanted, size) == [first, third, second]


async def test_sessions_of_one_moment_are_on_one_page_or_the_next(store: SqlStore) -> None:
    made = {await begin(store, 0) for _ in range(9)}
    for order in SessionOrder:
        found = await walk(store, SessionFilter(scope=EVERYBODY, order=order), 2)
        assert len(found) == 9
        assert set(found) == made


async def test_a_session_that_comes_meanwhile_changes_no_later_page(store: SqlStore) -> None:
    made = [await begin(store, minute) for minute in range(4)]
    wanted = SessionFilter(scope=EVERYBODY)
    page = await store.sessions.page(wanted, None, 2)
    await begin(store, 5)
    await store.sessions.delete(made[3], EVERYBODY)
    rest = await store.sessions.page(wanted, page.next, 2)
    assert [record.session for record in rest.items] == [made[1], made[0]]


async def test_a_user_sees_the_sessions_of_that_user_alone(store: SqlStore) -> None:
    alices = [await begin(store, minute, user="alice") for minute in (0, 2)]
    await begin(store, 1, user="bob")
    nobodys = await begin(store, 3)
    assert await walk(store, SessionFilter(scope=Scope(user="alice")), 10) == alices[::-1]
    assert nobodys in await walk(store, SessionFilter(scope=EVERYBODY), 10)


@pytest.mark.parametrize("other", ["Alice", "alice ", " alice", "alicE", "alice\u0301", "álice", "ALICE", "alic"])
async def test_users_are_compared_byte_for_byte(store: SqlStore, other: str) -> None:
    session = await begin(store, 0, user="alice")
    await begin(store, 1, user=other)
    assert await walk(store, SessionFilter(scope=Scope(user="alice")), 10) == [session]
    with pytest.raises(SessionNotFound):
        await store.sessions.get(session, Scope(user=other))


async def test_sessions_are_compared_byte_for_byte(store: SqlStore) -> None:
    lower, upper = "a" * 32, "A" * 32
    await begin(store, 0, session=lower)
    with pytest.raises(SessionNotFound):
        await store.sessions.get(upper, EVERYBODY)
    await begin(store, 1, session=upper)
    assert (await store.sessions.get(upper, EVERYBODY)).create_time == at(1)
    assert (await store.sessions.get(lower, EVERYBODY)).create_time == at(0)


async def test_ids_of_255_characters_are_kept_whole(store: SqlStore) -> None:
    session, user = "s" * 255, "u" * 255
    await begin(store, 0, session=session, user=user)
    record = await store.sessions.get(session, Scope(user=user))
    assert (record.session, record.user) == (session, user)
    for wrong in (session[:-1], session + "s", session[:-1] + "t"):
        with pytest.raises(SessionNotFound):
            await store.sessions.get(wrong, EVERYBODY)


@pytest.mark.parametrize("session", ["", "\0", "a" * 100_000, "会话", "' OR 1=1 --", "%", "_" * 32])
async def test_an_id_that_no_session_has_is_not_found(store: SqlStore, session: str) -> None:
    await begin(store, 0)
    with pytest.raises(SessionNotFound):
        await store.sessions.get(session, EVERYBODY)


async def test_a_foreign_session_looks_like_one_that_is_missing(store: SqlStore) -> None:
    session = await begin(store, 0, user="alice")
    failures = []
    for asked in (session, new_id()):
        with pytest.raises(SessionNotFound) as raised:
            await store.sessions.get(asked, Scope(user="bob"))
        failures.append(str(raised.value).replace(asked, "…"))
    assert failures[0] == failures[1]


async def test_a_session_without_a_user_is_reached_without_one_only(store: SqlStore) -> None:
    session = await begin(store, 0)
    assert (await store.sessions.get(session, EVERYBODY)).user == ""
    with pytest.raises(SessionNotFound):
        await store.sessions.get(session, Scope(user="alice"))


async def test_who_names_no_user_reaches_every_session(store: SqlStore) -> None:
    session = await begin(store, 0, user="alice")
    assert (await store.sessions.get(session, EVERYBODY)).user == "alice"


async def test_filters_leave_out_what_is_not_meant(store: SqlStore) -> None:
    first = await begin(store, 0, flow="a")
    second = await begin(store, 1, flow="b")
    third = await begin(store, 2, flow="a")
    await begin(store, 9, session=first)

    async def found(**conditions: object) -> list[str]:
        return await walk(store, SessionFilter(scope=EVERYBODY, **conditions), 10)  # type: ignore[arg-type]

    assert await found(flow="a") == [third, first]
    assert await found(flow="A") == []
    assert await found(updated=TimeRange(start=at(2))) == [third, first]
    assert await found(updated=TimeRange(end=at(2))) == [second]
    assert await found(updated=TimeRange(start=at(1), end=at(9))) == [third, second]
    assert await found(updated=TimeRange(start=at(1), end=at(9)), order=SessionOrder.LAST_UPDATED) == [third, second]


@pytest.mark.parametrize("year", [1, 1969, 2100, 9999])
async def test_ranges_may_lie_where_no_session_can(store: SqlStore, year: int) -> None:
    session = await begin(store, 0)
    edge = datetime(year, 1, 1, tzinfo=UTC)
    before = await walk(store, SessionFilter(scope=EVERYBODY, updated=TimeRange(end=edge)), 10)
    since = await walk(store, SessionFilter(scope=EVERYBODY, updated=TimeRange(start=edge)), 10)
    assert (before, since) == (([session], []) if year > 2026 else ([], [session]))


async def test_a_change_changes_what_it_names(store: SqlStore) -> None:
    session = await begin(store, 0, user="alice")
    before = await store.sessions.get(session, EVERYBODY)
    notes = {"标签": ["a", "\0", {"deep": None}], "n": 1.5}
    changed = await store.sessions.update(session, Scope(user="alice"), SessionChange(title="新 title"), at(5))
    assert (changed.title, changed.metadata, changed.update_time) == ("新 title", {}, at(5))
    changed = await store.sessions.update(session, EVERYBODY, SessionChange(metadata=notes, retention_days=7), at(6))
    assert changed == await store.sessions.get(session, EVERYBODY)
    assert (changed.title, changed.metadata, changed.retention_days) == ("新 title", notes, 7)
    assert _unchangeable(changed) == _unchangeable(before)
    emptied = await store.sessions.update(
        session, EVERYBODY, SessionChange(title="", metadata={}, retention_days=0), at(7)
    )
    assert (emptied.title, emptied.metadata, emptied.retention_days) == ("", {}, 0)


async def test_a_foreign_session_is_neither_changed_nor_deleted(store: SqlStore) -> None:
    session = await begin(store, 0, user="alice")
    for scope in (Scope(user="bob"), Scope(user="Alice")):
        with pytest.raises(SessionNotFound):
            await store.sessions.update(session, scope, SessionChange(title="mine"), at(5))
        with pytest.raises(SessionNotFound):
            await store.sessions.delete(session, scope)
    record = await store.sessions.get(session, EVERYBODY)
    assert (record.title, record.update_time) == ("hello", at(0))


async def test_the_count_of_messages_follows_the_turns(store: SqlStore) -> None:
    asked = await take_turn(store, "one")
    await take_turn(store, "two", session=asked.session)
    assert (await store.sessions.get(asked.session, EVERYBODY)).message_count == 4


def _unchangeable(record: SessionRecord) -> tuple[object, ...]:
    return record.session, record.user, record.flow, record.create_time, record.message_count
