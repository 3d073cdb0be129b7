"""Searching messages, on every database."""

import math
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from tests.store.records import accept, acceptance, ending, take_turn

from penstock_server.errors import InvalidRequest, SessionNotFound
from penstock_server.ids import new_id
from penstock_server.runs.events import RunStatus
from penstock_server.store.records import MessageRecord, Scope, SearchFilter, TimeRange
from penstock_server.store.sql.history import newest, words
from penstock_server.store.sql.store import SqlStore

EVERYBODY = Scope()
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def at(minute: int) -> datetime:
    return NOON + timedelta(minutes=minute)


async def walk(store: SqlStore, query: str, size: int = 10, **conditions: object) -> list[MessageRecord]:
    wanted = SearchFilter(**{"scope": EVERYBODY, "query": query} | conditions)  # type: ignore[arg-type]
    found: list[MessageRecord] = []
    after = None
    while True:
        page = await store.messages.search(wanted, after, size)
        assert len(page.items) <= size
        found += page.items
        if page.next is None:
            return found
        after = page.next


async def found(store: SqlStore, query: str, **conditions: object) -> list[str]:
    return [str(record.content[record.text_of]) for record in await walk(store, query, **conditions)]


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("What is a penstock?", "penstock"),
        ("What is a penstock?", "PENSTOCK what"),
        ("What is a penstock?", "a"),  # a word of one letter
        ("this is the how and the what", "the"),  # no stop words
        ("用人工智能写诗", "智能"),
        ("用人工智能写诗", "工智能写"),
        ("用人工智能写诗", "诗"),
        ("今天的天气，真好", "天气 真"),
        ("用AI写诗", "ai 写诗"),
        ("ｆｕｌｌ　ｗｉｄｔｈ", "full width"),
        ("Straße", "STRASSE"),
        ("Привет, мир", "привет"),
        ("東京タワーへ行く", "タワー"),
        ("서울에서 만나요", "서울"),
        ("नमस्ते दुनिया", "दुनिया"),
        ("ภาษาไทย", "ไทย"),
        ("naïve café", "CAFÉ"),
        ("version 3.14 of gpt-4o", "3.14 gpt-4o"),
        ("snake_case_name", "case"),
        ("it's O'Brien's", "o'brien"),
        ("emoji 😀 here", "here 😀"),
        ("x" * 200, "x" * 200),
        ("a\0b", "b"),
        ("𠀀𠀁 rare", "𠀀𠀁"),
        ('+operators -are "just" (text)* ~', '-are +operators* "just" ~(text)'),
        ("either OR both AND NOT near", "or and not NEAR"),
    ],
)
async def test_a_message_is_found_by_its_words(store: SqlStore, text: str, query: str) -> None:
    await take_turn(store, text, "irrelevant")
    assert await found(store, query) == [text]


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("What is a penstock?", "pen"),
        ("What is a penstock?", "penstock pipe"),
        ("用人工智能写诗", "能人"),
        ("用人工智能写诗", "作诗"),
        ("x" * 200, "x" * 199),
        ("naïve", "naive"),
        ("12", "1"),
        ("xwhello", "whello"),
    ],
)
async def test_a_message_is_not_found_by_other_words(store: SqlStore, text: str, query: str) -> None:
    await take_turn(store, text, "answer")
    assert await found(store, query) == []


@pytest.mark.parametrize("query", ["", " ", "?!", "\0", "😀", "___", "，。", '""', "*"])
async def test_a_query_without_a_word_is_refused(store: SqlStore, query: str) -> None:
    with pytest.raises(InvalidRequest, match="query"):
        await found(store, query)


async def test_questions_and_answers_are_found_the_newest_first(store: SqlStore) -> None:
    for number in range(3):
        asked = acceptance(f"word {number}", create_time=at(2 * number))
        await store.turns.finish(
            ending(asked, await accept(store, asked), f"answered word {number}", end_time=at(2 * number + 1))
        )
    expected = [f"{prefix}word {number}" for number in (2, 1, 0) for prefix in ("answered ", "")]
    for size in (1, 2, 4, 6, 7):
        assert [str(each.content[each.text_of]) for each in await walk(store, "word", size)] == expected


@pytest.mark.parametrize("took_s", [0.0, math.inf], ids=["by looking", "by the index"])
async def test_a_page_is_the_same_however_it_is_found(
    store: SqlStore, took_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    next_look = newest._next_look
    monkeypatch.setattr(newest, "FIRST_LOOK_ROWS", 3)
    monkeypatch.setattr(newest, "_next_look", lambda looked, _, found, most_s: next_look(looked, took_s, found, most_s))
    texts = ["知识库 one", "知识 one two", "one two three", "知识库 two three", "nothing at all"] * 5
    for minute, text in enumerate(texts):
        await accept(store, acceptance(f"{text} {minute}", user=f"user{minute % 3}", create_time=at(minute)))
    said = [f"{text} {minute}" for minute, text in enumerate(texts)][::-1]
    for query, size in product(
        ("one", "one two", "知识库", "知识库 one", "two 知识 库", "one three 知识", "13"), (1, 2, 7)
    ):
        expected = [text for text in said if all(word in text for word in query.split())]
        assert [str(each.content[each.text_of]) for each in await walk(store, query, size)] == expected
    assert len(await walk(store, "two", 2, scope=Scope(user="user1"), said=TimeRange(start=at(3)))) == 4


async def test_a_search_among_a_users_or_sessions_or_flows_messages_finds_no_others(store: SqlStore) -> None:
    alice = await take_turn(store, "shared word", user="alice", flow="a")
    await take_turn(store, "shared word", user="Alice", flow="b")
    await take_turn(store, "shared word", flow="A")
    assert len(await walk(store, "shared")) == 3
    [record] = await walk(store, "shared", scope=Scope(user="alice"))
    assert (record.user, record.session, record.flow) == ("alice", alice.session, "a")
    assert await walk(store, "shared", session=alice.session) == [record]
    assert await walk(store, "shared", flow="a") == [record]
    assert await walk(store, "shared", scope=Scope(user="alice"), flow="b") == []
    assert await walk(store, "shared", scope=Scope(user="bob")) == []


async def test_a_search_in_a_foreign_session_is_refused(store: SqlStore) -> None:
    asked = await take_turn(store, "word", user="alice")
    for session, scope in ((asked.session, Scope(user="bob")), (new_id(), EVERYBODY)):
        with pytest.raises(SessionNotFound):
            await walk(store, "word", session=session, scope=scope)


async def test_nobody_finds_messages_by_the_tokens_of_the_index(store: SqlStore) -> None:
    asked = await take_turn(store, "secret", user="alice")
    tokens = words.of_query("secret", user="alice", session=asked.session, flow="chat")
    assert len(tokens) == 4
    for token in tokens:
        assert await found(store, token) == []


async def test_a_search_may_be_limited_to_a_time(store: SqlStore) -> None:
    for minute in range(4):
        await accept(store, acceptance(f"word {minute}", create_time=at(minute)))
    assert await found(store, "word", said=TimeRange(start=at(1), end=at(3))) == ["word 2", "word 1"]
    assert await found(store, "word", said=TimeRange(start=at(3))) == ["word 3"]
    assert await found(store, "word", said=TimeRange(end=at(1))) == ["word 0"]
    assert await found(store, "word", said=TimeRange(start=at(9))) == []


async def test_a_search_may_be_limited_to_a_status(store: SqlStore) -> None:
    statuses = [RunStatus.FAILED, RunStatus.SUCCEEDED, RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.SUCCEEDED]
    for minute, status in enumerate(statuses):
        asked = acceptance("word", create_time=at(minute))
        await store.turns.finish(
            ending(asked, await accept(store, asked), f"word {minute}", status=status, end_time=at(minute))
        )
    for size in (1, 2, 3):
        records = await walk(store, "word", size, status=RunStatus.FAILED)
        assert [each.content["answer"] for each in records] == ["word 3", "word 0"]


async def test_a_message_that_comes_meanwhile_changes_no_later_page(store: SqlStore) -> None:
    for minute in range(4):
        await accept(store, acceptance(f"word {minute}", create_time=at(minute)))
    wanted = SearchFilter(scope=EVERYBODY, query="word")
    page = await store.messages.search(wanted, None, 2)
    await accept(store, acceptance("word 9", create_time=at(9)))
    rest = await store.messages.search(wanted, page.next, 10)
    assert [record.content["question"] for record in rest.items] == ["word 1", "word 0"]


async def test_what_lies_behind_the_indexed_part_is_not_found(store: SqlStore) -> None:
    text = "begin " + "x" * words.INDEXED_CHARS_MAX + " end"
    await take_turn(store, text, "answer")
    assert await found(store, "begin") == [text]
    assert await found(store, "end") == []


async def test_a_message_of_a_mebibyte_is_indexed(store: SqlStore) -> None:
    text = "".join(chr(0x4E00 + (7919 * number) % 20_000) for number in range(2**20 // 3))
    await take_turn(store, text, "answer")
    assert await found(store, text[100:120]) == [text]


async def test_a_query_may_hold_hundreds_of_words(store: SqlStore) -> None:
    text = " ".join(f"w{number}" for number in range(500))
    await take_turn(store, text, "answer")
    assert await found(store, text) == [text]
    assert await found(store, text + " w500") == []


async def test_deleted_messages_are_not_found(store: SqlStore) -> None:
    asked = await take_turn(store, "word one", "word two")
    await store.messages.delete(asked.session, EVERYBODY, None)
    assert await found(store, "word") == []
