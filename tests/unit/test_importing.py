"""Lines and rows of other systems become messages, or errors that name them."""

import io
import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from penstock_server.history.importing.entries import EntryRefused, ImportedMessage, ImportedSession
from penstock_server.history.importing.ids import session_id, user_id
from penstock_server.history.importing.jsonl import ExportFile
from penstock_server.history.importing.mapping import Mapping, MappingInvalid, parse
from penstock_server.history.importing.rows import Rows
from penstock_server.history.importing.spool import Said, spool
from penstock_server.metadata import SESSION_ID_FORM
from penstock_server.runs.events import RunStatus
from penstock_server.store.errors import StoreError
from penstock_server.store.records import Rating, Role

SESSION = "s" * 32
OTHER = "t" * 32
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
TIME = "2024-05-01T12:00:00.123456Z"


def read(*lines: object) -> tuple[list[Any], bool | None]:
    """The entries of lines, errors as their texts; and whether the export was complete."""
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    export = ExportFile(io.BytesIO(text.encode("utf-8", "surrogatepass")))
    return [str(each) if isinstance(each, EntryRefused) else each for each in export], export.complete


def message(**changes: object) -> dict[str, object]:
    """A message as it is exported."""
    return {
        "session": SESSION,
        "user": "alice",
        "turn": 3,
        "role": "ASSISTANT",
        "text": "It is.",
        "content": {"sources": [1], "answer": "It is."},
        "run": "r" * 32,
        "flow": "chat",
        "status": "FAILED",
        "usage": {"inputTokens": 5, "outputTokens": 7},
        "createTime": TIME,
        "rating": "LIKE",
        "ratingComment": "good",
        "ofALaterVersion": True,
    } | changes


def session(**changes: object) -> dict[str, object]:
    """A session as it is exported."""
    return {"session": SESSION, "user": "alice", "flow": "chat", "title": "T", "createTime": TIME} | changes


def test_a_message_is_read_as_it_was_exported() -> None:
    entries, complete = read({"message": message()})
    assert (len(entries), complete) == (1, None)
    found = entries[0]
    assert isinstance(found, ImportedMessage)
    assert (found.place, found.session, found.user, found.turn, found.role) == (
        "line 1", SESSION, "alice", 3, Role.ASSISTANT,
    )  # fmt: skip
    assert (found.text_of, found.text, found.content) == ("answer", "It is.", {"sources": [1], "answer": "It is."})
    assert (found.status, found.input_tokens, found.output_tokens) == (RunStatus.FAILED, 5, 7)
    assert (found.rating, found.rating_comment) == (Rating.LIKE, "good")
    assert found.create_time == datetime(2024, 5, 1, 12, 0, 0, 123456, UTC)


def test_a_question_has_no_status_and_text_without_content_is_a_question() -> None:
    unset = {"status": "STATUS_UNSPECIFIED", "rating": "RATING_UNSPECIFIED", "usage": None, "content": None}
    entries, _ = read({"message": message(role="USER", **unset)})
    assert (entries[0].status, entries[0].content) == (None, {"question": "It is."})


def test_frames_of_the_bridge_are_read_and_tell_the_end() -> None:
    session = {"session": SESSION, "user": "", "flow": "chat", "createTime": TIME, "updateTime": TIME, "metadata": None}
    frames = [{"event": "session", "id": 1, "data": session}, {"event": "message", "id": 2, "data": message()}]
    entries, complete = read(*frames)
    assert ([type(each) for each in entries], complete) == ([ImportedSession, ImportedMessage], False)
    assert read(*frames, {"event": "done", "id": 2, "data": {}}) == (entries, True)


def test_a_message_without_a_user_belongs_to_the_user_of_its_session() -> None:
    session = {"session": SESSION, "user": "alice", "createTime": TIME}
    entries, _ = read({"session": session}, {"message": message(user="")}, {"message": message(session=OTHER, user="")})
    assert [each.user for each in entries] == ["alice", "alice", ""]


@pytest.mark.parametrize("text", ["I", ""])
def test_a_message_that_was_shortened_is_whole_in_its_content(text: str) -> None:
    content = {"aside": "In short", "answer": "It is a long answer.", "sources": [1]}
    entries, _ = read({"message": message(shortened=True, text=text, content=content)})
    assert (entries[0].text_of, entries[0].content) == ("answer", content)


def test_a_line_of_a_session_behind_its_messages_is_refused() -> None:
    entries, _ = read({"message": message()}, {"session": session()}, {"session": session(session="t" * 32)})
    assert [type(each) for each in entries] == [ImportedMessage, str, ImportedSession]
    assert entries[1] == f"line 2: the line of the session {SESSION} must come before those of its messages"


def test_a_session_may_be_told_again_when_it_goes_on() -> None:
    lines = [{"session": session()}, {"message": message()}]
    entries, _ = read(*lines, {"session": session(session="t" * 32)}, *lines)
    assert len([each for each in entries if not isinstance(each, str)]) == 5


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    entries, _ = read("\ufeff" + json.dumps({"message": message()}))
    assert isinstance(entries[0], ImportedMessage)


@pytest.mark.parametrize("form", ["utf-16-le", "utf-16-be"])
def test_a_file_in_utf_16_is_told_to_be_one(form: str) -> None:
    file = io.BytesIO(("\ufeff" + json.dumps({"message": message()})).encode(form))
    assert [str(each) for each in ExportFile(file)] == ["line 1: the file is UTF-16; save it as UTF-8"]


def test_an_export_that_failed_says_so() -> None:
    entries, complete = read({"event": "error", "id": 2, "data": {"error": {"message": "no database"}}})
    assert ("no database" in entries[0], complete) == (True, False)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("no json", "is no JSON object"),
        ("[1]", "is no JSON object"),
        ("{}", 'is neither {"session": …} nor {"message": …}'),
        ({"event": "run_started", "data": {}}, "there is no event 'run_started'"),
        ({"message": None}, "is no JSON object"),
        ({"message": message(session="short")}, "session: is no session id"),
        ({"message": message(user=" alice")}, "user: is no user id"),
        ({"message": message(turn=0)}, "turn: Input should be greater than or equal to 1"),
        ({"message": message(turn=10**9 + 1)}, "turn: Input should be less than or equal to 1000000000"),
        ({"message": message(createTime="0001-01-01T00:00:00+14:00")}, "createTime: lies outside the years 1 to 9999"),
        ({"session": session(session=OTHER, updateTime="9999-12-31T23:59:59-14:00")}, "updateTime: lies outside"),
        ({"session": session(retentionDays=36_501)}, "retentionDays: Input should be less than or equal to 36500"),
        ({"session": session(session=OTHER, metadata={"a": "x" * 16_384})}, "metadata: has 16392 bytes as JSON"),
        ({"message": message(shortened=True, content={})}, "the export has only its beginning; export again with a"),
        ({"message": message(role="SYSTEM")}, "role: Input should be 'USER' or 'ASSISTANT'"),
        ({"message": message(status="DONE")}, "there is no status 'DONE'"),
        ({"message": message(createTime="yesterday")}, "createTime: "),
        ({"message": message(createTime="2024-05-01T12:00:00")}, "createTime: "),
        ({"message": message(ratingComment="a\0b")}, "ratingComment: holds the character NUL"),
        ({"message": message(content={"answer": 2**60})}, "content.answer: 1152921504606846976 is a whole number"),
        ('{"message": {"session": "\\ud800"}}', "is no JSON object"),
        ('{"message": ' + "[" * 10_000, "is no JSON object"),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_read_is_named_and_the_rest_goes_on(line: object, complaint: str) -> None:
    entries, _ = read({"message": message()}, "", line, {"message": message(turn=4)})
    assert [type(each) for each in entries] == [ImportedMessage, str, ImportedMessage]
    assert entries[1].startswith(f"line 3: {complaint}"), entries[1]


def mapping(**changes: object) -> Mapping:
    """A mapping of a table with roles."""
    columns = {"session": "chat", "user": "who", "time": "at", "role": "role", "text": "text"}
    return Mapping.model_validate(
        {"table": "t", "columns": columns, "session_prefix": "old-system:" + "0" * 21} | changes
    )


async def rows(found: Mapping, *rows: dict[str, object]) -> tuple[list[Any], int]:
    """The entries of rows, errors as their texts; and how many rows were skipped."""

    async def each() -> AsyncGenerator[dict[str, object]]:
        for row in rows:
            yield row

    reader = Rows(found)
    entries = [str(entry) if isinstance(entry, EntryRefused) else entry async for entry in reader.entries(each())]
    return entries, reader.skipped


def row(chat: object = 1, role: object = "user", text: object = "hi", **changes: object) -> dict[str, object]:
    """A row with roles."""
    return {"chat": chat, "who": "alice", "at": "2024-05-01 12:00:00", "role": role, "text": text} | changes


async def test_a_question_begins_a_turn_and_an_answer_joins_it() -> None:
    said = ["user", "assistant", "ai", "human", "system", "user", "assistant"]
    entries, skipped = await rows(mapping(), *(row(role=role) for role in said), row(chat=2))
    assert [(each.session[-1], each.turn, each.role.name) for each in entries] == [
        ("1", 1, "USER"), ("1", 1, "ASSISTANT"), ("1", 2, "ASSISTANT"), ("1", 3, "USER"), ("1", 4, "USER"),
        ("1", 4, "ASSISTANT"), ("2", 1, "USER"),
    ]  # fmt: skip
    assert skipped == 1


async def test_an_answer_belongs_to_the_sessions_owner_whoever_the_table_says_spoke() -> None:
    entries, _ = await rows(mapping(), row(), row(role="assistant", who="the bot"), row(who=None))
    assert {each.user for each in entries} == {"alice"}


async def test_a_row_of_a_question_and_an_answer_is_a_turn() -> None:
    pairs = mapping(
        columns={"session": "chat", "time": "at", "question": "q", "answer": "a"}, input="input", output="out"
    )
    at = {"chat": "c", "at": "2024-05-01T12:00:00+02:00"}
    entries, _ = await rows(pairs, at | {"q": "1+1?", "a": "2"}, at | {"q": "why?", "a": None})
    assert [(each.turn, each.content) for each in entries] == [
        (1, {"input": "1+1?"}), (1, {"out": "2"}), (2, {"input": "why?"}),
    ]  # fmt: skip
    assert entries[0].create_time == datetime(2024, 5, 1, 10, tzinfo=UTC)


async def test_values_within_json_are_reached_by_a_path() -> None:
    found = mapping(
        columns={
            "session": "chat",
            "role": {"column": "m", "path": "type"},
            "text": {"column": "m", "path": "data.parts.1"},
        },
        time_default="2024-01-01T00:00:00Z",
    )
    value = json.dumps({"type": "human", "data": {"parts": ["no", "yes"]}})
    entries, _ = await rows(found, {"chat": 1, "m": value}, {"chat": 1, "m": "{"})
    assert entries[0] == "row chat='1': the column 'm' holds no JSON, which its path asks for"
    assert (entries[1].text, entries[1].role, entries[1].create_time.year) == ("yes", Role.USER, 2024)


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (row(chat=None), "the session's column is empty"),
        (row(role="moderator"), "nothing is said about the role 'moderator': name it under `roles`"),
        (
            row(at="yesterday"),
            "the time cannot be read (Invalid isoformat string: 'yesterday'); `time_format` is 'iso'",
        ),
        (row(at=None), "the time cannot be read (it is NULL, and the mapping gives no `time_default`)"),
        (row(text=b"\xff"), "the column 'text' holds no text"),
        (row(text="\ud800"), "the column 'text' holds no text"),
        (row(who="x" * 256), "the user "),
        (row(chat="x" * 1025), "the session's name has 1025 characters"),
        (row(at="0001-01-01T00:00:00+14:00"), "the time cannot be read"),
    ],
)
async def test_a_row_that_cannot_be_read_is_named_and_the_rest_goes_on(bad: dict[str, object], complaint: str) -> None:
    entries, _ = await rows(mapping(), row(), bad, row())
    assert [type(each) for each in entries] == [str, ImportedMessage, ImportedMessage]
    place = f"row chat={str(bad['chat'])[:80]!r}, at={str(bad['at'])!r}"
    assert entries[0].startswith(f"{place}: {complaint}"), entries[0]


IN_ORDER = [
    ("%d.%m.%Y %H:%M", "at", ["30.11.2023 09:00", "01.12.2023 08:00", "01.12.2023 10:00", "02.01.2024 07:00"]),
    ("iso", "at", ["2024-05-01T12:00:00+02:00", "2024-05-01 10:30:00", "2024-05-01T11:00Z", "2024-05-01T23:00+11:00"]),
    ("unix_s", "at", ["999999999", "1000000000", "1000000001.5", "10000000000"]),
    ("unix_s", {"column": "at", "path": "sent"}, ['{"x": 9, "sent": 1}', '{"sent": 2}', '{"sent": 3}', '{"sent": 10}']),
]


@pytest.mark.parametrize(("form", "column", "values"), IN_ORDER)
async def test_what_was_said_follows_the_times_and_not_how_they_are_written(
    form: str, column: object, values: list[str]
) -> None:
    columns = {"session": "chat", "time": column, "role": "role", "text": "text"}
    said = [row(at=at, role=role, text=at) for at, role in zip(values, ["user", "assistant"] * 2, strict=True)]
    for given in (said, said[::-1], [said[2], said[0], said[3], said[1]]):
        entries, _ = await rows(mapping(columns=columns, time_format=form), *given)
        assert [(each.text, each.turn) for each in entries] == list(zip(values, [1, 1, 2, 2], strict=True))


@pytest.mark.parametrize(
    "ranks",
    [[9, 10, 11], ["9", "10", "11"], [b"9", b"10", "b"], [None, 1, 10**30], [Decimal("9.5"), Decimal(10), 11.5]],
)
async def test_what_was_said_at_the_same_time_follows_the_order_that_the_mapping_names(ranks: list[object]) -> None:
    columns = {"session": "chat", "time": "at", "role": "role", "text": "text", "order": "id"}
    said = [row(id=key, text=str(number)) for number, key in enumerate(ranks)]
    entries, _ = await rows(mapping(columns=columns), *said[::-1])
    assert [each.text for each in entries] == ["0", "1", "2"]


async def test_what_nothing_orders_stays_as_it_came_and_sessions_come_one_by_one() -> None:
    said = [row(chat=number % 3, text=f"{number % 3}{number}") for number in range(9)]
    entries, _ = await rows(mapping(), *said)
    texts = [each.text for each in entries]
    assert texts == sorted(texts)


def test_a_disk_without_room_is_told_of_with_what_to_do() -> None:
    def fill() -> None:
        with spool() as spooled:
            spooled._connection.execute("PRAGMA max_page_count = 10")
            for _ in range(20):
                spooled.add(said)

    said = Said(place="row", session=SESSION, name="", user="", role=1, text="x" * 4096, time=NOON, rank=None)
    with pytest.raises(StoreError, match="is full; TMPDIR names another folder"):
        fill()


async def test_a_session_may_be_named_within_json() -> None:
    found = mapping(columns={"session": {"column": "chat", "path": "id"}, "role": "role", "time": "at", "text": "text"})
    entries, _ = await rows(found, row(chat='{"n": 1, "id": "b"}'), row(chat='{"id": "a"}'), row(chat='{"id": "b"}'))
    assert [(each.session[-1], each.turn) for each in entries] == [("a", 1), ("b", 1), ("b", 2)]


async def test_a_session_that_becomes_another_id_keeps_its_name() -> None:
    names = [f"{number:x}" for number in range(16)]
    entries, _ = await rows(mapping(session_prefix=""), *(row(chat=name) for name in names))
    assert sorted(each.session_metadata["imported_id"] for each in entries) == sorted(names)


@pytest.mark.parametrize(
    ("form", "value", "seconds"),
    [
        ("unix_s", 1_700_000_000, 0.0),
        ("unix_s", "1700000000.5", 0.5),
        ("unix_ms", 1_700_000_000_250, 0.25),
        ("unix_us", 1_700_000_000_000_001, 0.000001),
        ("iso", "2023-11-14T22:13:20Z", 0.0),
        ("iso", datetime(2023, 11, 14, 22, 13, 20), 0.0),
        ("%d.%m.%Y %H:%M:%S", "14.11.2023 22:13:20", 0.0),
    ],
)  # fmt: skip
def test_times_are_read_in_the_form_that_the_mapping_names(form: str, value: object, seconds: float) -> None:
    assert mapping(time_format=form).time(value).timestamp() == 1_700_000_000 + seconds


def test_times_without_a_zone_are_in_that_of_the_mapping() -> None:
    assert mapping(time_zone="Asia/Shanghai").time("2024-05-01 12:00:00") == datetime(2024, 5, 1, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[", "is not YAML"),
        ("", "Input should be a valid dictionary"),
        ("table: t", "`columns`: Field required"),
        ("{table: t, columns: {session: s, time: t, text: x}}", "give either `role` and `text`, or `question` and"),
        ("{table: t, columns: {session: s, role: r, text: x}}", "give `columns.time`, or `time_default`"),
        ("{table: t, colums: {}}", "`colums`: Extra inputs are not permitted"),
        ("{table: t, columns: {session: s, time: t, role: r, text: x}, time_zone: Mars}", "no time zone 'Mars'"),
    ],
)
def test_a_mapping_that_cannot_be_used_says_why(text: str, complaint: str) -> None:
    with pytest.raises(MappingInvalid) as raised:
        parse(text)
    assert complaint in str(raised.value)


def test_a_session_keeps_its_name_where_that_is_an_id() -> None:
    assert session_id("c" * 32) == "c" * 32
    assert session_id("1", prefix="p" * 31) == "p" * 31 + "1"


def test_other_names_of_sessions_become_ids_that_are_always_the_same() -> None:
    names = ["7", "07", "七", "a b", "x" * 300]
    assert len({session_id(name) for name in names}) == len(names)
    assert all(SESSION_ID_FORM.fullmatch(session_id(name)) for name in names)
    assert session_id("7") == session_id("7")


def test_names_of_users_become_what_a_header_can_carry() -> None:
    assert (user_id("Alice 100%"), user_id("张"), user_id("é%"), user_id("")) == (
        "Alice 100%",
        "%E5%BC%A0",
        "%C3%A9%25",
        "",
    )
