"""What is stored can be listed, found, exported and rated, however large it is, over a socket and in process.

The server sends 64 KiB at once, so that little is large.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.server.conftest import FLOWS, METADATA, TOKEN
from tests.server.test_history import NOON, Pb, say

from penstock.v1 import history_pb2, history_pb2_grpc
from penstock_server.app import Server
from penstock_server.config import ServerConfig
from penstock_server.flows.loader import load_all
from penstock_server.store.records import Scope, SessionChange
from penstock_server.store.sql.databases import url
from penstock_server.store.sql.store import SqlStore, StoreSettings


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


LARGE = {"whole": "w" * 20_000, "within its content": "c" * 40_000, "by its beginning": "字" * 40_000}
"""Answers that fit into an answer of the server twice, once, and not at all."""


async def say_large(store: SqlStore) -> str:
    session = ""
    for text in (*LARGE.values(), "small"):
        session = await say(store, 1, session=session, answer=f"found {text}")
    return session


def check_large(messages: list[Pb]) -> None:
    whole, within, beginning, small = (message for message in messages if message.role == history_pb2.Message.ASSISTANT)
    assert (whole.text, whole.content["answer"], whole.shortened) == (f"found {LARGE['whole']}",) * 2 + (False,)
    assert (within.content["answer"], within.shortened) == (f"found {LARGE['within its content']}", True)
    assert within.content["answer"].startswith(within.text)
    assert 20_000 < len(within.text) < 30_000
    assert (dict(beginning.content), beginning.shortened) == ({}, True)
    assert f"found {LARGE['by its beginning']}".startswith(beginning.text)
    assert len(beginning.text) > 20_000
    assert (small.text, small.shortened) == ("found small", False)


async def test_messages_of_any_size_are_listed(history: Pb, store: SqlStore) -> None:
    request = history_pb2.ListMessagesRequest(session=await say_large(store))
    check_large(await paged(history.ListMessages, request, "messages"))


async def test_messages_of_any_size_are_found(history: Pb, store: SqlStore) -> None:
    await say_large(store)
    check_large(
        (await paged(history.SearchMessages, history_pb2.SearchMessagesRequest(query="found"), "messages"))[::-1]
    )


async def test_messages_of_any_size_are_exported(history: Pb, store: SqlStore) -> None:
    await say_large(store)
    stream = history.ExportMessages(history_pb2.ExportMessagesRequest(), metadata=METADATA)
    told = [record async for part in stream for record in part.records]
    assert [record.WhichOneof("record") for record in told] == ["session", *["message"] * 8]
    check_large([record.message for record in told[1:]])


async def test_a_message_of_any_size_is_rated(history: Pb, store: SqlStore) -> None:
    request = history_pb2.RateMessageRequest(session=await say_large(store), message="3-assistant", rating="LIKE")
    assert (await history.RateMessage(request, metadata=METADATA)).shortened


async def test_a_page_has_as_many_messages_as_an_answer_has_room_for(history: Pb, store: SqlStore) -> None:
    session = await say(store, 30, answer="y" * 3_000)
    messages = await paged(history.ListMessages, history_pb2.ListMessagesRequest(session=session), "messages")
    assert [message.turn for message in messages] == [turn for turn in range(1, 31) for _ in "ab"]
    assert not any(message.shortened for message in messages)


async def test_a_page_has_as_many_sessions_as_an_answer_has_room_for(history: Pb, store: SqlStore) -> None:
    made = [await say(store, 1, minute=minute) for minute in range(12)]
    for session in made:
        await store.sessions.update(session, Scope(), SessionChange(metadata={"note": "n" * 16_000}), NOON)
    sessions = await paged(history.ListSessions, history_pb2.ListSessionsRequest(), "sessions")
    assert [session.session for session in sessions] == made[::-1]


async def paged(method: Any, request: Pb, items: str) -> list[Pb]:
    """The items of all pages."""
    found: list[Pb] = []
    while True:
        page = await method(request, metadata=METADATA)
        found += getattr(page, items)
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token
