"""A served flow that asks a model: over real sockets from the caller to the model and back."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.modelserver.server import ModelServer
from tests.service import TOKEN, Service, penstock

KEY = "sk-not-to-be-shown"
FLOW = """\
inputs: {question: {type: string}, model: {type: string, default: echo}}
outputs: {answer: {type: string, reference: "${ask.output}"}}
nodes:
- name: ask
  type: llm
  source: {type: code, path: ask.jinja2}
  inputs: {model: "${inputs.model}", question: "${inputs.question}"}
  connection: open
"""
ONE = {"question": "Is there tea?"}


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer().serving() as running:
        yield running


@pytest.fixture
async def service(server: ModelServer, tmp_path: Path) -> AsyncIterator[Service]:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "flow.dag.yaml").write_text(FLOW)
    (folder / "ask.jinja2").write_text("user:\n{{ question }}\n")
    free = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--token", TOKEN)
    env = {"OPEN_TYPE": "open_ai", "OPEN_API_KEY": KEY, "OPEN_BASE_URL": server.url}
    started = penstock("serve", "shop", *free, folder=tmp_path / "run", cwd=tmp_path, env=env)
    running = await asyncio.to_thread(started.__enter__)
    yield running
    await asyncio.to_thread(started.__exit__, None, None, None)
    assert KEY not in running.stdout.read_text() + running.log()


@pytest.fixture
async def client(service: Service) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(service.http, headers=headers) as session:
        yield session


async def error_of(client: aiohttp.ClientSession, model: str) -> tuple[int, str | None, dict[str, Any]]:
    async with client.post("/", json={**ONE, "model": model}) as response:
        text = await response.text()
        assert KEY not in text
        return response.status, response.headers.get("Retry-After"), json.loads(text)["error"]


async def test_the_run_tells_the_answer_the_tokens_and_no_key(client: aiohttp.ClientSession) -> None:
    async with client.post("/run", json=ONE) as response:
        text = await response.text()
    run = json.loads(text)
    assert run["outputs"] == {"answer": "You said: Is there tea?"}
    assert run["nodes"][0]["usage"] == run["usage"] == {"inputTokens": 3, "outputTokens": 5}
    assert KEY not in text


async def test_what_a_model_refuses_is_the_caller_s_error(client: aiohttp.ClientSession) -> None:
    status, _, error = await error_of(client, "nobody")
    assert (status, error["status"], error["details"][0]["reason"]) == (400, "FAILED_PRECONDITION", "MODEL_REFUSED")
    assert error["details"][0]["metadata"] | {"run": ""} == {
        "flow": "shop",
        "node": "ask",
        "connection": "open",
        "model": "nobody",
        "run": "",
    }


async def test_a_model_that_is_busy_is_told_with_the_time_to_come_back(client: aiohttp.ClientSession) -> None:
    status, retry_after, error = await error_of(client, "busy-429-9-after-60")
    assert (status, retry_after, error["details"][0]["reason"]) == (503, "60", "UPSTREAM_UNAVAILABLE")


async def test_a_caller_who_leaves_ends_the_request_to_the_model(
    client: aiohttp.ClientSession, server: ModelServer
) -> None:
    stream = {"Accept": "text/event-stream"}
    asked = {"question": "word " * 100, "model": "slow"}
    response = await client.post("/?options.onDisconnect=CANCEL", json=asked, headers=stream)
    await response.content.readline()
    left = time.monotonic()
    response.close()
    async with asyncio.timeout(5):
        await server.seen[0].ended.wait()
    assert server.seen[0].left_at is not None
    assert server.seen[0].left_at - left < 1


async def test_many_streams_at_once_each_get_their_own_answer(client: aiohttp.ClientSession) -> None:
    async def ask(number: int) -> str:
        async with client.post("/", json={"question": f"Number {number}?"}) as response:
            return str((await response.json())["answer"])

    answers = await asyncio.gather(*map(ask, range(50)))
    assert answers == [f"You said: Number {number}?" for number in range(50)]
