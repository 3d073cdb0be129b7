"""What a server with a store does with the calls of a conversation, over a socket and in process."""

import asyncio
from ast import literal_eval
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.server.conftest import FLOWS, METADATA, TOKEN, request
from tests.store.records import accept, acceptance

from penstock.errors import PenstockError
from penstock.v1.flow_pb2 import InvokeOptions, InvokeRequest
from penstock.v1.run_pb2 import Run
from penstock_server.app import Server
from penstock_server.config import ServerConfig
from penstock_server.flows.loader import load_all
from penstock_server.runs.events import OutputDelta, RunStatus
from penstock_server.store.records import Appending, MessageFilter, MessageRecord, Role, Scope
from penstock_server.store.sql.databases import url
from penstock_server.store.sql.store import SqlStore, StoreSettings

TARGETS = (
    *(f"chat_flows:{name}" for name in ("told", "gated", "breaks", "picky")),
    "server_flows:echo",
    str(FLOWS / "rounds"),
    str(FLOWS / "renamed"),
)
SESSION = "s" * 32
PATIENCE_S = 10.0


@pytest.fixture
async def store(tmp_path: Path) -> SqlStore:
    """An empty store, open; its server closes it."""
    store = SqlStore(url.parse(url.file(tmp_path / "store.db")), StoreSettings(service="test"), instance="first")
    await store.open()
    return store


@pytest.fixture
def flows(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FLOWS))
    loaded = load_all(TARGETS)
    import chat_flows

    chat_flows.executed.clear()
    chat_flows.gates.clear()
    return loaded


@pytest.fixture
async def server(config: ServerConfig, flows: Any, store: SqlStore) -> AsyncIterator[Server]:
    running = Server(config, flows, [TOKEN], store)
    await running.start()
    yield running
    await running.stop()


def executed() -> list[str]:
    import chat_flows

    return list(chat_flows.executed)


def gate(question: str) -> asyncio.Event:
    import chat_flows

    opened: asyncio.Event = chat_flows.gates.setdefault(question, asyncio.Event())
    return opened


def sent(*, session: str = SESSION, user: str = "", key: str = "") -> Any:
    """Metadata of a call."""
    named = (("chat-session-id", session), ("chat-user-id", user), ("idempotency-key", key))
    return (*METADATA, *((name, value) for name, value in named if value))


async def said(store: SqlStore, session: str = SESSION) -> list[MessageRecord]:
    """What a session holds."""
    return list((await store.messages.page(MessageFilter(scope=Scope(), session=session), None, 100)).items)


async def until_said(store: SqlStore, count: int, session: str = SESSION) -> list[MessageRecord]:
    """What a session holds once there are so many messages."""
    async with asyncio.timeout(PATIENCE_S):
        while len(found := await said(store, session)) < count:
            await asyncio.sleep(0.01)
    return found


async def refused(call: Any) -> PenstockError:
    """The error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return PenstockError.of_rpc(caught.value)


async def read_all(call: Any) -> list[Any]:
    return [event async for response in call for event in response.events]


async def test_a_flow_is_told_the_rounds_before(stub: Any) -> None:
    for question in ("one", "two"):
        await stub.Invoke(request("told", question=question), metadata=sent())
    run = await stub.Invoke(request("told", question="three"), metadata=sent())
    first = [("user", "one"), ("assistant", "[]")]
    assert run.outputs["answer"] == repr([*first, ("user", "two"), ("assistant", repr(first))])


async def test_a_folder_is_told_the_rounds_in_its_own_form(stub: Any) -> None:
    first = await stub.Invoke(request("rounds", question="one"), metadata=sent())
    assert first.outputs["answer"] == "[]"
    second = await stub.Invoke(request("rounds", question="two"), metadata=sent())
    assert second.outputs["answer"] == "[{'inputs': {'question': 'one'}, 'outputs': {'answer': '[]'}}]"


async def test_a_flow_is_told_what_was_said_to_another_under_its_own_names(stub: Any) -> None:
    await stub.Invoke(request("told", question="one"), metadata=sent())
    foreign = {"inputs": {"query": "one"}, "outputs": {"reply": "[]"}}
    second = await stub.Invoke(request("renamed", query="two", tone="sharp"), metadata=sent())
    assert literal_eval(second.outputs["reply"]) == [foreign]
    third = await stub.Invoke(request("renamed", query="three"), metadata=sent())
    own = {"inputs": {"query": "two", "tone": "sharp"}, "outputs": {"reply": repr([foreign])}}
    assert literal_eval(third.outputs["reply"]) == [foreign, own]
    fourth = await stub.Invoke(request("told", question="four"), metadata=sent())
    assert [text for role, text in literal_eval(fourth.outputs["answer"]) if role == "user"] == ["one", "two", "three"]


async def test_a_folder_says_how_many_rounds_it_is_told(stub: Any) -> None:
    for question in ("one", "two", "three"):
        await stub.Invoke(request("rounds", question=question), metadata=sent())
    run = await stub.Invoke(request("rounds", question="four"), metadata=sent())
    told = literal_eval(run.outputs["answer"])
    assert [each["inputs"]["question"] for each in told] == ["two", "three"]


async def test_a_caller_that_brings_the_history_wins_for_that_call(stub: Any, store: SqlStore) -> None:
    await stub.Invoke(request("told", question="one"), metadata=sent())
    brought = [{"role": "user", "content": "brought"}]
    run = await stub.Invoke(request("told", question="two", chat_history=brought), metadata=sent())
    assert run.outputs["answer"] == "[('user', 'brought')]"
    assert [each.content for each in await said(store) if each.role is Role.USER] == [
        {"question": "one"},
        {"question": "two"},
    ]


async def test_what_the_flow_makes_of_its_history_is_the_runs_failure(stub: Any) -> None:
    await stub.Invoke(request("picky", question="one"), metadata=sent())
    error = await refused(stub.Invoke(request("picky", question="one"), metadata=sent()))
    assert (error.reason, error.message) == ("INVALID_INPUT", "was asked before")


async def test_another_users_session_is_not_found(stub: Any) -> None:
    await stub.Invoke(request("told", question="one"), metadata=sent(user="alice"))
    error = await refused(stub.Invoke(request("told", question="two"), metadata=sent(user="bob")))
    assert error.reason == "SESSION_NOT_FOUND"
    assert executed() == ["one"]


async def test_a_session_is_its_first_runs_users_whatever_the_flow(stub: Any) -> None:
    await stub.Invoke(request("echo", text="one"), metadata=sent(user="alice"))
    for asked in (request("told", question="two"), request("echo", text="two")):
        assert (await refused(stub.Invoke(asked, metadata=sent(user="bob")))).reason == "SESSION_NOT_FOUND"
    await stub.Invoke(request("told", question="three"), metadata=sent(user="alice"))
    assert executed() == ["three"]


async def test_a_run_that_is_not_to_be_stored_leaves_nothing(stub: Any, store: SqlStore) -> None:
    await stub.Invoke(request("told", question="one"), metadata=sent())
    asked = request("told", question="two")
    asked.options.store = False
    run = await stub.Invoke(asked, metadata=sent())
    assert run.outputs["answer"] == "[('user', 'one'), ('assistant', '[]')]"
    assert len(await said(store)) == 2
    assert await store.runs.get(run.run) is None


async def test_a_failed_stream_keeps_what_was_said(stub: Any, store: SqlStore) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await read_all(stub.InvokeStream(request("breaks", question="one"), metadata=sent()))
    answer = (await said(store))[1]
    assert (answer.content, answer.status) == ({"answer": "half "}, RunStatus.FAILED)


async def test_a_stream_that_its_reader_leaves_keeps_what_was_said(stub: Any, store: SqlStore) -> None:
    asked = request("gated", question="one")
    asked.options.on_disconnect = InvokeOptions.CANCEL
    call = stub.InvokeStream(asked, metadata=sent())
    async for response in call:
        if any(event.HasField("output_delta") for event in response.events):
            break
    call.cancel()
    answer = (await until_said(store, 2))[1]
    assert (answer.content, answer.status) == ({"answer": "half "}, RunStatus.CANCELED)


async def test_the_end_of_a_run_is_told_when_it_is_stored(stub: Any, store: SqlStore) -> None:
    run = await stub.Invoke(request("echo", text="hi"), metadata=sent())
    record = await store.runs.get(run.run)
    assert record is not None
    assert (record.status, record.inputs, record.outputs) == (RunStatus.SUCCEEDED, {"text": "hi"}, {"output": "hi"})


async def test_a_run_whose_stopping_server_cannot_wait_is_interrupted(
    stub: Any, server: Server, store: SqlStore, tmp_path: Path
) -> None:
    call = stub.InvokeStream(request("gated", question="one"), metadata=sent())
    await call.read()
    await asyncio.gather(server.stop(), asyncio.wait_for(_end(call), PATIENCE_S))
    again = SqlStore(url.parse(url.file(tmp_path / "store.db")), StoreSettings(service="test"), instance="second")
    await again.open()
    answer = (await said(again))[1]
    assert (answer.content, answer.status) == ({"answer": "half "}, RunStatus.INTERRUPTED)
    await again.close()


async def _end(call: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await _read_on(call)


async def _read_on(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def test_the_runs_of_an_earlier_boot_are_interrupted_and_keep_what_they_said(
    tmp_path: Path, flows: Any, config: ServerConfig
) -> None:
    address = url.parse(url.file(tmp_path / "store.db"))
    killed = SqlStore(address, StoreSettings(service="test"), instance="killed")
    await killed.open()
    asked = acceptance("one", session=SESSION, flow="gated", sequence_reserved=100)
    accepted = await accept(killed, asked)
    delta = OutputDelta({"answer": "half "})
    delta.sequence = 1
    await killed.turns.append(Appending(accepted=accepted, events=[delta], sequence_reserved=100))
    await killed.close()
    next_boot = SqlStore(address, StoreSettings(service="test"), instance="next")
    await next_boot.open()
    server = Server(config, flows, [TOKEN], next_boot)
    await server.start()
    question, answer = await said(next_boot)
    assert (question.content, answer.content) == ({"question": "one"}, {"answer": "half "})
    assert answer.status is RunStatus.INTERRUPTED
    page = await next_boot.runs.log(asked.run, 1)
    assert page is not None
    assert page.end is not None
    assert (page.end.sequence, page.end.lost_after) == (101, 1)
    await server.stop()


class TestIdempotencyKeys:
    async def test_the_same_request_is_executed_once(self, stub: Any, store: SqlStore) -> None:
        asked = request("told", question="one")
        first = await stub.Invoke(asked, metadata=sent(session="", key="k"))
        call = stub.Invoke(asked, metadata=sent(session="", key="k"))
        again = await call
        assert again == first
        assert dict(await call.initial_metadata())["chat-session-id"] == first.session
        assert executed() == ["one"]
        assert len(await said(store, first.session)) == 2

    async def test_another_request_is_refused(self, stub: Any) -> None:
        await stub.Invoke(request("told", question="one"), metadata=sent(key="k"))
        error = await refused(stub.Invoke(request("told", question="two"), metadata=sent(key="k")))
        assert (error.code.name, error.reason) == ("ALREADY_EXISTS", "IDEMPOTENCY_KEY_REUSED")

    async def test_a_failure_is_the_same_failure_again(self, stub: Any) -> None:
        asked = request("breaks", question="one")
        first = await refused(stub.Invoke(asked, metadata=sent(key="k")))
        again = await refused(stub.Invoke(asked, metadata=sent(key="k")))
        assert (again.code, again.reason, again.message) == (first.code, first.reason, first.message)

    async def test_a_caller_that_comes_while_it_runs_gets_its_end(self, stub: Any) -> None:
        asked = request("gated", question="one")
        first = asyncio.create_task(_invoke(stub, asked, key="k"))
        await _until(lambda: executed() == ["one"])
        second = asyncio.create_task(_invoke(stub, asked, key="k"))
        await asyncio.sleep(0.05)
        assert not second.done()
        gate("one").set()
        async with asyncio.timeout(PATIENCE_S):
            runs = await asyncio.gather(first, second)
        assert runs[0] == runs[1]
        assert runs[0].outputs["answer"] == "half whole"
        assert executed() == ["one"]

    async def test_a_stream_tells_the_run_that_an_earlier_call_made(self, stub: Any) -> None:
        asked = request("told", question="one")
        run = await stub.Invoke(asked, metadata=sent(key="k"))
        events = await read_all(stub.InvokeStream(asked, metadata=sent(key="k")))
        assert [event.WhichOneof("event") for event in events] == ["run_started", "output_delta", "run_finished"]
        assert events[0].run_started.run == run.run
        assert events[1].output_delta.outputs == run.outputs

    async def test_a_run_goes_on_when_its_caller_leaves_and_waits_for_the_next(self, stub: Any) -> None:
        asked = request("gated", question="one")
        first = stub.Invoke(asked, metadata=sent(key="k"))
        await _until(lambda: executed() == ["one"])
        first.cancel()
        gate("one").set()
        run = await stub.Invoke(asked, metadata=sent(key="k"))
        assert (run.status, run.outputs["answer"]) == (Run.SUCCEEDED, "half whole")
        assert executed() == ["one"]

    async def test_a_run_whose_caller_says_so_is_cancelled_when_it_leaves(self, stub: Any, store: SqlStore) -> None:
        asked = request("gated", question="one")
        asked.options.on_disconnect = InvokeOptions.CANCEL
        first = stub.Invoke(asked, metadata=sent(key="k"))
        await _until(lambda: executed() == ["one"])
        first.cancel()
        assert (await until_said(store, 2))[1].status is RunStatus.CANCELED
        assert (await refused(stub.Invoke(asked, metadata=sent(key="k")))).reason == "RUN_CANCELED"

    async def test_a_second_caller_that_leaves_disturbs_nobody(self, stub: Any) -> None:
        asked = request("gated", question="one")
        first = asyncio.create_task(_invoke(stub, asked, key="k"))
        await _until(lambda: executed() == ["one"])
        second = stub.InvokeStream(asked, metadata=sent(key="k"))
        await second.initial_metadata()
        second.cancel()
        await asyncio.sleep(0.05)
        gate("one").set()
        async with asyncio.timeout(PATIENCE_S):
            assert (await first).outputs["answer"] == "half whole"

    async def test_a_run_that_is_not_to_be_stored_takes_none(self, stub: Any) -> None:
        asked = request("told", question="one")
        asked.options.store = False
        error = await refused(stub.Invoke(asked, metadata=sent(key="k")))
        assert [field for field, _ in error.violations] == ["idempotency-key"]


async def _invoke(stub: Any, asked: InvokeRequest, *, key: str) -> Run:
    run: Run = await stub.Invoke(asked, metadata=sent(key=key))
    return run


async def _until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


class TestWithoutHistory:
    @pytest.fixture
    def config(self, config: ServerConfig) -> ServerConfig:
        return config.model_copy(update={"history": False})

    async def test_runs_are_kept_and_no_turns(self, stub: Any, store: SqlStore) -> None:
        for question in ("one", "two"):
            run = await stub.Invoke(request("told", question=question), metadata=sent())
            assert run.outputs["answer"] == "[]"
        record = await store.runs.get(run.run)
        assert record is not None
        assert record.inputs == {"question": "two"}
        assert list((await store.sessions.page(_all(), None, 10)).items) == []


def _all() -> Any:
    from penstock_server.store.records import SessionFilter

    return SessionFilter(scope=Scope())


class TestWithoutAStore:
    @pytest.fixture
    async def server(self, config: ServerConfig, flows: Any) -> AsyncIterator[Server]:
        running = Server(config, flows, [TOKEN])
        await running.start()
        yield running
        await running.stop()

    async def test_a_flow_has_no_history(self, stub: Any) -> None:
        for _ in range(2):
            run = await stub.Invoke(request("told", question="one"), metadata=sent())
            assert run.outputs["answer"] == "[]"

    async def test_idempotency_keys_are_refused(self, stub: Any) -> None:
        error = await refused(stub.Invoke(request("told", question="one"), metadata=sent(key="k")))
        assert "--no-store" in error.message
