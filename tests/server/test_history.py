"""What HistoryService does beyond the contract's cases, over a socket and in process."""

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from tests.server.conftest import FLOWS, METADATA, TOKEN
from tests.store.records import accept, acceptance, ending, take_turn

from penstock.errors import PenstockError
from penstock.status import Code
from penstock.v1 import history_pb2, history_pb2_grpc
from penstock_server.app import Server
from penstock_server.config import ServerConfig
from penstock_server.flows.loader import load_all
from penstock_server.history.export import MESSAGES_AT_ONCE, SESSIONS_AT_ONCE
from penstock_server.store.records import Scope
from penstock_server.store.sql.databases import url
from penstock_server.store.sql.store import SqlStore, StoreSettings

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
METHODS = list(history_pb2.DESCRIPTOR.services_by_name["HistoryService"].methods)

Pb = Any
"""A request, a response or a stub of the generated code."""


@pytest.fixture
async def store(tmp_path: Path) -> SqlStore:
    """An empty store, open; its server closes it."""
    store = SqlStore(url.parse(url.file(tmp_path / "store.db")), StoreSettings(service="test"), instance="first")
    await store.open()
    return store


@pytest.fixture
async def server(config: ServerConfig, store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.syspath_prepend(str(FLOWS))
    running = Server(config, load_all(["server_flows:echo"]), [TOKEN], store)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
def history(channel: grpc.aio.Channel) -> Pb:
    return history_pb2_grpc.HistoryServiceStub(channel)


def at(minute: int) -> datetime:
    return NOON + timedelta(minutes=minute)


def stamp(minute: int) -> Timestamp:
    return Timestamp(seconds=int(at(minute).timestamp()))


def by(user: str) -> tuple[tuple[str, str], ...]:
    return (*METADATA, ("chat-user-id", user))


async def say(
    store: SqlStore,
    turns: int,
    *,
    minute: int = 0,
    user: str = "",
    session: str = "",
    answer: str = "hi",
    flow: str = "chat",
) -> str:
    """A session that begins, or goes on, with so many turns."""
    for moment in range(turns):
        # Each at its own moment: keys begin with the time, and so many at the same would not all find one.
        time = at(minute) + timedelta(microseconds=moment)
        asked = acceptance("word", session=session, user=user, create_time=time, flow=flow)
        session = asked.session
        await store.turns.finish(ending(asked, await accept(store, asked), answer, end_time=time))
    return session


async def refused(call: Any) -> PenstockError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return PenstockError.of_rpc(raised.value)


async def exported(stream: Any) -> list[list[str]]:
    return [records(batch) async for batch in stream]


def turn(session: str, number: int) -> list[str]:
    """The lines of a session of which one turn is told."""
    return [session, f"{session} {number}-user", f"{session} {number}-assistant"]


def records(batch: Pb) -> list[str]:
    """A session's id for a session, and for a message its own, too."""
    return [
        record.session.session if record.HasField("session") else f"{record.message.session} {record.message.message}"
        for record in batch.records
    ]


async def test_pages_hold_every_session_once_while_others_come_and_go(history: Pb, store: SqlStore) -> None:
    made = [await say(store, 1, minute=minute) for minute in range(7)]
    seen: list[str] = []
    request = history_pb2.ListSessionsRequest(page_size=2)
    while True:
        page = await history.ListSessions(request, metadata=METADATA)
        seen += [session.session for session in page.sessions]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
        await say(store, 1, minute=60)
        await store.sessions.delete(seen[-1], Scope())
    assert seen == made[::-1]


TOKENS_QUERY = {"page_size": 1, "user": "alice", "flow": "chat", "start_time": stamp(-1), "end_time": stamp(99)}


@pytest.mark.parametrize(
    "other",
    [
        {"user": "bob"},
        {"user": ""},
        {"flow": ""},
        {"start_time": stamp(-2)},
        {"end_time": None},
        {"order_by": "update_time desc"},
    ],
)
async def test_a_page_token_is_for_its_query_alone(history: Pb, store: SqlStore, other: dict[str, Any]) -> None:
    for minute in range(2):
        await say(store, 1, minute=minute, user="alice")
    page = await history.ListSessions(history_pb2.ListSessionsRequest(**TOKENS_QUERY), metadata=METADATA)
    same = TOKENS_QUERY | {"page_token": page.next_page_token, "page_size": 1000}
    rest = await history.ListSessions(history_pb2.ListSessionsRequest(**same), metadata=METADATA)
    assert len(rest.sessions) == 1
    error = await refused(history.ListSessions(history_pb2.ListSessionsRequest(**same | other), metadata=METADATA))
    assert [field for field, _ in error.violations] == ["pageToken"]


async def test_a_page_token_is_for_its_method_alone(history: Pb, store: SqlStore) -> None:
    session = await say(store, 2)
    listed = await history.ListMessages(
        history_pb2.ListMessagesRequest(session=session, page_size=1), metadata=METADATA
    )
    searched = await history.SearchMessages(
        history_pb2.SearchMessagesRequest(session=session, query="word", page_size=1), metadata=METADATA
    )
    for call in (
        history.ListMessages(
            history_pb2.ListMessagesRequest(session=session, page_token=searched.next_page_token), metadata=METADATA
        ),
        history.SearchMessages(
            history_pb2.SearchMessagesRequest(session=session, query="word", page_token=listed.next_page_token),
            metadata=METADATA,
        ),
        history.SearchMessages(
            history_pb2.SearchMessagesRequest(session=session, query="hi", page_token=searched.next_page_token),
            metadata=METADATA,
        ),
    ):
        assert [field for field, _ in (await refused(call)).violations] == ["pageToken"]


async def test_a_page_token_of_another_user_is_refused(history: Pb, store: SqlStore) -> None:
    for _ in range(2):
        await say(store, 1, user="alice")
    page = await history.ListSessions(history_pb2.ListSessionsRequest(page_size=1), metadata=by("alice"))
    request = history_pb2.ListSessionsRequest(page_token=page.next_page_token)
    assert [field for field, _ in (await refused(history.ListSessions(request, metadata=by("bob")))).violations] == [
        "pageToken"
    ]


async def test_an_altered_page_token_is_refused(history: Pb, store: SqlStore) -> None:
    for _ in range(2):
        await say(store, 1)
    page = await history.ListSessions(history_pb2.ListSessionsRequest(page_size=1), metadata=METADATA)
    token: str = page.next_page_token
    altered = [
        token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :] for place in range(len(token))
    ]
    forged = urlsafe_b64encode(bytes(16)).decode()
    for wrong in (
        *altered,
        token[:-1],
        token[4:],
        token + "A",
        token + "=",
        f" {token}",
        "页",
        "\0",
        "a" * 9999,
        forged,
    ):
        request = history_pb2.ListSessionsRequest(page_token=wrong)
        error = await refused(history.ListSessions(request, metadata=METADATA))
        assert [field for field, _ in error.violations] == ["pageToken"], wrong


async def test_what_only_the_service_writes_stays_as_it_is(history: Pb, store: SqlStore) -> None:
    session = await say(store, 1, user="alice")
    change = history_pb2.Session(session=session, user="mallory", message_count=7, title="new")
    mask = FieldMask(paths=["user", "message_count", "create_time", "title"])
    changed = await history.UpdateSession(
        history_pb2.UpdateSessionRequest(session=change, update_mask=mask), metadata=METADATA
    )
    assert (changed.user, changed.message_count, changed.title) == ("alice", 2, "new")


async def test_a_change_of_nothing_changes_nothing(history: Pb, store: SqlStore) -> None:
    session = await say(store, 1)
    request = history_pb2.UpdateSessionRequest(session=history_pb2.Session(session=session))
    changed = await history.UpdateSession(request, metadata=METADATA)
    assert changed.update_time.ToDatetime(UTC) == at(0)


async def test_notes_have_a_limit(history: Pb, store: SqlStore) -> None:
    change = history_pb2.Session(session=await say(store, 1))
    change.metadata["text"] = "字" * 6000
    error = await refused(history.UpdateSession(history_pb2.UpdateSessionRequest(session=change), metadata=METADATA))
    assert [field for field, _ in error.violations] == ["session.metadata"]


async def test_at_most_a_thousand_messages_are_named_at_once(history: Pb, store: SqlStore) -> None:
    session = await say(store, 1)
    names = [f"{turn}-user" for turn in range(1, 1002)]
    request = history_pb2.DeleteMessagesRequest(session=session, messages=names[:1000])
    assert (await history.DeleteMessages(request, metadata=METADATA)).deleted_messages == 1
    error = await refused(
        history.DeleteMessages(history_pb2.DeleteMessagesRequest(session=session, messages=names), metadata=METADATA)
    )
    assert [field for field, _ in error.violations] == ["messages"]


async def test_names_of_no_message_delete_nothing(history: Pb, store: SqlStore) -> None:
    session = await say(store, 1)
    request = history_pb2.DeleteMessagesRequest(
        session=session, messages=["", "1", "user", "01-user", "1-User", "-1-user"]
    )
    assert (await history.DeleteMessages(request, metadata=METADATA)).deleted_messages == 0


@pytest.mark.parametrize("user", [" alice", "al\x7fice", "a" * 256])
async def test_a_user_that_is_none_is_refused(history: Pb, user: str) -> None:
    for call in (
        history.ListSessions(history_pb2.ListSessionsRequest(user=user), metadata=METADATA),
        history.EraseUser(history_pb2.EraseUserRequest(user=user), metadata=METADATA),
    ):
        assert [field for field, _ in (await refused(call)).violations] == ["user"]


async def test_a_search_that_takes_too_long_says_what_to_do_and_fails_alone(
    history: Pb, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await say(store, 1)
    monkeypatch.setattr(store.database, "_search_timeout_s", 1e-9)
    failure = await refused(history.SearchMessages(history_pb2.SearchMessagesRequest(query="word"), metadata=METADATA))
    assert (failure.code, failure.reason) == (Code.DEADLINE_EXCEEDED, "SEARCH_TIMEOUT")
    assert "look at less: name a time" in failure.message
    request = history_pb2.ListMessagesRequest(session=session)
    assert len((await history.ListMessages(request, metadata=METADATA)).messages) == 2


async def test_an_export_tells_everything_once_in_bounded_batches(history: Pb, store: SqlStore) -> None:
    lengths = [1, 0, 2, MESSAGES_AT_ONCE + 3, 1, *[1] * (SESSIONS_AT_ONCE + 5), 0]
    expected = []
    for minute, turns in enumerate(lengths):
        session = await say(store, max(turns, 1), minute=minute)
        if not turns:
            await store.messages.delete(session, Scope(), None)
        expected += [session]
        expected += [f"{session} {turn}-{role}" for turn in range(1, turns + 1) for role in ("user", "assistant")]
    batches = await exported(history.ExportMessages(history_pb2.ExportMessagesRequest(), metadata=METADATA))
    assert [record for batch in batches for record in batch] == expected
    assert all(0 < len(batch) <= MESSAGES_AT_ONCE + SESSIONS_AT_ONCE for batch in batches)


async def test_an_export_of_a_time_leaves_out_sessions_that_were_silent(history: Pb, store: SqlStore) -> None:
    silent, early, spoke = [await say(store, 1, minute=minute) for minute in range(3)]
    await say(store, 1, minute=9, session=silent)
    request = history_pb2.ExportMessagesRequest(start_time=stamp(1), end_time=stamp(9))
    [batch] = await exported(history.ExportMessages(request, metadata=METADATA))
    assert batch == [
        line for session in (early, spoke) for line in (session, f"{session} 1-user", f"{session} 1-assistant")
    ]


async def test_an_export_may_be_of_a_session_or_a_user_alone(history: Pb, store: SqlStore) -> None:
    alices = await say(store, 1, user="alice")
    await say(store, 1, user="bob")
    for request, metadata in (
        (history_pb2.ExportMessagesRequest(session=alices), METADATA),
        (history_pb2.ExportMessagesRequest(user="alice"), METADATA),
        (history_pb2.ExportMessagesRequest(), by("alice")),
        (history_pb2.ExportMessagesRequest(session=alices, flow="chat"), by("alice")),
    ):
        [batch] = await exported(history.ExportMessages(request, metadata=metadata))
        assert batch[0] == alices
        assert len(batch) == 3
    request = history_pb2.ExportMessagesRequest(session=alices, flow="other")
    assert await exported(history.ExportMessages(request, metadata=METADATA)) == []


async def test_an_export_of_a_flow_has_its_messages_wherever_they_were_said(history: Pb, store: SqlStore) -> None:
    mixed = await say(store, 1, flow="other")
    await say(store, 1, session=mixed, flow="chat")
    only = await say(store, 1, minute=1, flow="chat")
    await say(store, 1, minute=2, flow="other")
    for request, expected in (
        (history_pb2.ExportMessagesRequest(flow="chat"), [*turn(mixed, 2), *turn(only, 1)]),
        (history_pb2.ExportMessagesRequest(flow="chat", session=mixed), turn(mixed, 2)),
        (history_pb2.ExportMessagesRequest(flow="chat", user="nobody"), []),
    ):
        told = [line for batch in await exported(history.ExportMessages(request, metadata=METADATA)) for line in batch]
        assert told == expected
    found = await history.ListMessages(history_pb2.ListMessagesRequest(session=mixed, flow="chat"), metadata=METADATA)
    assert [message.message for message in found.messages] == ["2-user", "2-assistant"]


async def test_an_export_survives_what_is_written_meanwhile(history: Pb, store: SqlStore) -> None:
    made = [await say(store, MESSAGES_AT_ONCE // 2, minute=minute) for minute in range(3)]
    stream = history.ExportMessages(history_pb2.ExportMessagesRequest(), metadata=METADATA)
    first = await stream.read()
    await store.sessions.delete(made[0], Scope())
    await say(store, 1, minute=9)
    await say(store, 1, minute=9, session=made[2])
    batches = []
    while (batch := await stream.read()) is not grpc.aio.EOF:
        batches.append(records(batch))
    assert first.records[0].session.session == made[0]
    sessions = [record for batch in batches for record in batch if " " not in record]
    assert sessions[:2] == made[1:]


async def test_an_export_that_is_left_holds_nothing_up(history: Pb, store: SqlStore) -> None:
    for minute in range(4):
        await say(store, MESSAGES_AT_ONCE // 2, minute=minute)
    for _ in range(20):
        stream = history.ExportMessages(history_pb2.ExportMessagesRequest(), metadata=METADATA)
        assert (await stream.read()).records
        stream.cancel()
    async with asyncio.timeout(10):
        batches = await exported(history.ExportMessages(history_pb2.ExportMessagesRequest(), metadata=METADATA))
        await take_turn(store, "more")
    assert len(batches) >= 4


class TestWithoutStore:
    """A server that keeps nothing."""

    @pytest.fixture
    async def store(self) -> None:
        """None."""

    @pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
    async def test_every_method_says_that_nothing_is_kept(self, history: Pb, method: Any) -> None:
        name = "s" * 32
        given = {"session": name, "message": "1-user", "query": "word", "user": "alice"}
        fields = {field.name: field for field in method.input_type.fields}
        request: Pb = getattr(history_pb2, method.input_type.name)(
            **{key: value for key, value in given.items() if key in fields and not fields[key].message_type}
        )
        if method.name == "UpdateSession":
            request.session.session = name
        called = getattr(history, method.name)(request, metadata=METADATA)
        error = await refused(called.read() if method.server_streaming else called)
        assert (error.code.name, error.reason) == ("UNIMPLEMENTED", "STORE_DISABLED")
        assert "--no-store" in error.message
