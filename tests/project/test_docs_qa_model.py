"""examples/docs-qa asks a model as soon as the environment says which."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.flows.conftest import ListRecorder
from tests.modelserver.server import ModelServer

from penstock_server.flows.flow import NodeRecord
from penstock_server.flows.loader import load

FLOW = str(Path(__file__).parents[2] / "examples/docs-qa")
QUESTION = "How do I stream an answer?"


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ModelServer]:
    for name in ("API_KEY", "BASE_URL", "MODEL", "ORG_ID", "PROJECT_ID"):
        monkeypatch.delenv(f"OPENAI_{name}", raising=False)
    async with ModelServer().serving() as running:
        monkeypatch.setenv("OPENAI_MODEL", "echo")
        yield running


async def ask(question: str) -> tuple[str, ListRecorder]:
    flow = load(FLOW)
    recorder = ListRecorder()
    try:
        outputs = await flow.execute(await flow.arguments({"question": question}), recorder)
    finally:
        await flow.close()
    return str(outputs["answer"]), recorder


async def test_with_an_address_a_model_writes_the_answer_out_of_the_passages(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-shown")
    answer, recorder = await ask(QUESTION)
    assert answer == f"You said: {QUESTION}"
    assert len([delta for delta in recorder.deltas if "answer" in delta]) == 8
    assert "Stream an answer with server-sent events" in server.seen[0].body["messages"][0]["content"]
    record: NodeRecord = recorder.records["answer"]
    assert "sk-not-to-be-shown" not in str(record)


async def test_without_one_the_best_passage_is_quoted(server: ModelServer) -> None:
    answer, _ = await ask(QUESTION)
    assert "Source: Stream an answer with server-sent events" in answer
    assert server.seen == []


async def test_a_question_that_no_page_answers_costs_nothing(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    answer, _ = await ask("What is the weather in Paris?")
    assert answer.startswith("I know Penstock's own documentation")
    assert server.seen == []
