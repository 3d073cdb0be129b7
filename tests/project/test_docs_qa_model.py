"""examples/docs-qa asks a model as soon as the environment says which, and works without."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.flows.conftest import ListRecorder
from tests.modelserver.server import ModelServer
from tests.service import TOKEN, Service, penstock

from penstock_server.flows.flow import NodeStatus
from penstock_server.flows.loader import load
from penstock_server.flows.problems import FlowLoadError

FLOW = str(Path(__file__).parents[2] / "examples/docs-qa")
QUESTION = "How do I stream an answer?"
KEY = "sk-not-to-be-shown"
LEFT_TIMEOUT_S = 5


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ModelServer]:
    for name in ("API_KEY", "BASE_URL", "MODEL", "ORG_ID", "PROJECT_ID"):
        monkeypatch.delenv(f"OPENAI_{name}", raising=False)
    async with ModelServer().serving() as running:
        monkeypatch.setenv("OPENAI_MODEL", "echo")
        yield running


async def ask(question: str, **inputs: object) -> tuple[str, ListRecorder]:
    flow = load(FLOW)
    recorder = ListRecorder()
    try:
        outputs = await flow.execute(await flow.arguments({"question": question, **inputs}), recorder)
    finally:
        await flow.close()
    return str(outputs["answer"]), recorder


async def test_with_an_address_a_model_writes_the_answer_out_of_the_passages(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    answer, recorder = await ask(QUESTION)
    assert answer == f"You said: {QUESTION}"
    assert len([delta for delta in recorder.deltas if "answer" in delta]) == 8
    assert "Stream an answer with server-sent events" in server.seen[0].body["messages"][0]["content"]
    statuses = {name: record.status for name, record in recorder.records.items()}
    assert (statuses["write"], statuses["quote"]) == (NodeStatus.SUCCEEDED, NodeStatus.BYPASSED)
    assert KEY not in str(recorder.records)


async def test_a_model_gets_the_conversation(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    before = [{"inputs": {"question": "What is Penstock?"}, "outputs": {"answer": "A server."}}]
    await ask(QUESTION, chat_history=before)
    assert [(each["role"], each["content"].strip()) for each in server.seen[0].body["messages"][1:]] == [
        ("user", "What is Penstock?"),
        ("assistant", "A server."),
        ("user", QUESTION),
    ]


async def test_without_one_the_best_passage_is_quoted(server: ModelServer) -> None:
    answer, recorder = await ask(QUESTION)
    assert "Source: Stream an answer with server-sent events" in answer
    assert len([delta for delta in recorder.deltas if "answer" in delta]) > 20
    assert recorder.records["write"].status is NodeStatus.BYPASSED
    assert server.seen == []


async def test_a_question_that_no_page_answers_costs_nothing(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    answer, _ = await ask("What is the weather in Paris?")
    assert answer.startswith("I know Penstock's own documentation")
    assert server.seen == []


async def test_without_a_model_it_needs_no_package_for_one(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "penstock_server.flows.models.openai", raising=False)
    monkeypatch.setitem(sys.modules, "openai", None)
    assert "Source:" in (await ask(QUESTION))[0]
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    with pytest.raises(FlowLoadError, match=r"needs the package `openai` \(pip install 'penstock\[openai\]'\)"):
        load(FLOW)


@pytest.fixture
async def serve(server: ModelServer, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Serves the example with a model of this name, and gives a session of HTTP with it."""
    closing: list[Callable[[], Any]] = []

    async def start(model: str) -> aiohttp.ClientSession:
        free = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--token", TOKEN)
        env = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": KEY, "OPENAI_MODEL": model}
        started = penstock("serve", FLOW, *free, folder=tmp_path / "run", cwd=tmp_path, env=env)
        running: Service = await asyncio.to_thread(started.__enter__)
        closing.append(lambda: asyncio.to_thread(started.__exit__, None, None, None))
        session = aiohttp.ClientSession(running.http, headers={"Authorization": f"Bearer {TOKEN}"})
        closing.append(session.close)
        return session

    yield start
    for close in reversed(closing):
        await close()


async def test_the_run_tells_the_tokens_that_the_model_took(serve: Callable[..., Any]) -> None:
    client = await serve("echo")
    async with client.post("/run", json={"question": QUESTION}) as response:
        text = await response.text()
    run = json.loads(text)
    nodes = {each["node"]: each for each in run["nodes"]}
    assert run["outputs"]["answer"] == f"You said: {QUESTION}"
    assert nodes["write"]["usage"] == run["usage"]
    assert (run["usage"]["inputTokens"] > 100, run["usage"]["outputTokens"]) == (True, 8)
    assert KEY not in text


async def test_a_caller_who_leaves_ends_the_request_to_the_model(
    serve: Callable[..., Any], server: ModelServer
) -> None:
    client = await serve("hang-midway")
    headers = {"Accept": "text/event-stream"}
    response = await client.post("/?options.onDisconnect=CANCEL", json={"question": QUESTION}, headers=headers)
    while b"You" not in await response.content.readline():
        pass
    left = time.monotonic()
    response.close()
    async with asyncio.timeout(LEFT_TIMEOUT_S):
        await server.seen[0].ended.wait()
    assert server.seen[0].left_at is not None
    assert server.seen[0].left_at - left < LEFT_TIMEOUT_S
