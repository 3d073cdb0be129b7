import asyncio
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from tests.models.conftest import KEY
from tests.modelserver.server import ModelServer

from penstock.connections import (
    AzureOpenAIConnection,
    CustomConnection,
    DashScopeConnection,
    OpenAIConnection,
    ServerlessConnection,
)
from penstock_server.errors import ModelRefused, UpstreamUnavailable
from penstock_server.flows.flow import NodeRecord
from penstock_server.flows.models.chat import Answer, ChatModel, ChatRequest, TextRequest, Usage
from penstock_server.flows.models.faults import retry_after_s
from penstock_server.flows.models.models import Models
from penstock_server.flows.models.usage import current_record
from penstock_server.flows.problems import ProblemFound

TOOLS = [
    {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
]


def ask(model: str = "echo", text: str = "Is there tea?", **settings: object) -> ChatRequest:
    return ChatRequest(model=model, messages=[{"role": "user", "content": text}], settings=settings)


async def streamed(model: ChatModel, request: ChatRequest | TextRequest) -> tuple[list[str], Answer]:
    answer = Answer()
    return [piece async for piece in model.stream(request, answer)], answer


async def collect(model: ChatModel, request: ChatRequest, pieces: list[str]) -> None:
    async for piece in model.stream(request, Answer()):
        pieces.append(piece)


async def test_a_whole_answer_comes_with_its_usage(model: ChatModel) -> None:
    answer = await model.answer(ask())
    assert (answer.text, answer.finish_reason) == ("You said: Is there tea?", "stop")
    assert answer.usage == Usage(input_tokens=3, output_tokens=5)
    assert answer.message == {"role": "assistant", "content": "You said: Is there tea?"}


async def test_a_stream_gives_each_piece_as_it_comes_and_then_the_usage(model: ChatModel) -> None:
    pieces, answer = await streamed(model, ask())
    assert pieces == ["You ", "said: ", "Is ", "there ", "tea?"]
    assert (answer.text, answer.finish_reason) == ("You said: Is there tea?", "stop")
    assert answer.usage == Usage(input_tokens=3, output_tokens=5)


async def test_the_older_protocol_completes_a_text(model: ChatModel, server: ModelServer) -> None:
    request = TextRequest(model="echo", prompt="Once upon a time", settings={"max_tokens": 5})
    assert (await model.answer(request)).text == "Once upon a time, and so on"
    pieces, answer = await streamed(model, request)
    assert "".join(pieces) == answer.text == "Once upon a time, and so on"
    assert answer.usage == Usage(input_tokens=4, output_tokens=7)
    assert server.seen[0].path == "/v1/completions"
    assert server.seen[0].body["max_tokens"] == 5


async def test_the_tokens_count_for_the_node_that_asks(model: ChatModel) -> None:
    record = NodeRecord(node="ask", start_time=datetime.now(UTC))
    current_record.set(record)
    await model.answer(ask())
    await streamed(model, ask())
    assert (record.input_tokens, record.output_tokens) == (6, 10)


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calls_come_whole(model: ChatModel, stream: bool) -> None:
    request = ask("tools", "Delft", tools=TOOLS)
    answer = (await streamed(model, request))[1] if stream else await model.answer(request)
    function = {"name": "weather", "arguments": '{"city": "Delft"}'}
    assert answer.tool_calls == [{"id": "call_0", "type": "function", "function": function}]
    assert answer.message["content"] is None
    assert answer.finish_reason == "tool_calls"


async def test_a_call_of_a_function_comes_in_the_message(model: ChatModel) -> None:
    answer = await model.answer(ask("tools", "Delft", functions=[TOOLS[0]["function"]]))
    call = {"name": "weather", "arguments": '{"city": "Delft"}'}
    assert answer.message == {"role": "assistant", "content": None, "function_call": call}


@pytest.mark.parametrize("stream", [False, True])
async def test_arguments_of_a_tool_that_are_no_json_are_told_with_the_tool(model: ChatModel, stream: bool) -> None:
    request = ask("bad-arguments", tools=TOOLS)
    with pytest.raises(UpstreamUnavailable, match="called the tool `weather` with arguments that are not JSON"):
        await (streamed(model, request) if stream else model.answer(request))


async def test_settings_reach_the_server_as_they_are(model: ChatModel, server: ModelServer) -> None:
    form = {"type": "json_object"}
    answer = await model.answer(ask(response_format=form, temperature=0.2, top_k=3))
    assert json.loads(answer.text) == {"said": "Is there tea?"}
    assert {key: server.seen[0].body[key] for key in ("temperature", "top_k", "response_format")} == {
        "temperature": 0.2,
        "top_k": 3,
        "response_format": form,
    }


async def test_one_pool_serves_a_connection(model: ChatModel, server: ModelServer) -> None:
    for _ in range(3):
        await model.answer(ask())
        await streamed(model, ask())
    assert server.connections == 1


async def test_equal_connections_share_a_model_and_others_do_not() -> None:
    models = Models(silence_timeout_s=30)
    first = models.of(OpenAIConnection(KEY, name="a"))
    assert models.of(OpenAIConnection(KEY, name="a")) is first
    assert models.of(OpenAIConnection("another", name="a")) is not first
    await models.close()


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("nobody", ModelRefused, r"is not there \(404\); check the model's name .*The model `nobody` does not exist"),
        ("context", ModelRefused, r"refused: the prompt is longer than its context: This model's maximum"),
        ("filter", ModelRefused, r"refused: a content filter found something in the prompt"),
        ("filtered-answer", ModelRefused, r"cut its answer off, for a content filter found something in it"),
        ("quota", ModelRefused, r"refused: the quota of the key is used up"),
        ("busy-503-9-after-60", UpstreamUnavailable, r"is out of order \(503\): Slow down"),
        ("html", UpstreamUnavailable, r"is out of order \(502\)"),
        ("busy-418-9", ModelRefused, r"refused the request \(418\): Slow down"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_server_refuses_is_told_by_its_kind(
    model: ChatModel, name: str, error: type[Exception], text: str, stream: bool
) -> None:
    with pytest.raises(error, match=rf"the model `{name}` of connection `test` {text}") as raised:
        await (streamed(model, ask(name)) if stream else model.answer(ask(name)))
    assert raised.value.metadata == {"connection": "test", "model": name}  # type: ignore[attr-defined]


async def test_a_wrong_key_is_told_without_the_key(server: ModelServer, model_of: Callable[..., ChatModel]) -> None:
    model = model_of(OpenAIConnection("wrong-and-secret", base_url=server.url, name="test"))
    with pytest.raises(ModelRefused, match="refused the key") as error:
        await model.answer(ask())
    assert "wrong-and-secret" not in str(error.value)
    assert (error.value.__cause__, error.value.__suppress_context__) == (None, True)


async def test_a_key_in_what_a_server_says_is_masked(server: ModelServer, model_of: Callable[..., ChatModel]) -> None:
    model = model_of(OpenAIConnection(KEY, base_url=server.url, name="test"))
    with pytest.raises(ModelRefused) as error:
        await model.answer(ask(KEY))
    assert error.value.message.count(KEY) == 1  # the caller's own word, as the model's name
    assert "The model `**********` does not exist" in error.value.message


async def test_a_busy_server_is_asked_again_when_it_says(model: ChatModel, server: ModelServer) -> None:
    started = time.monotonic()
    answer = await model.answer(ask("busy-429-2-after-0.3"))
    assert answer.text == "You said: Is there tea?"
    assert len(server.seen) == 3
    assert 0.6 <= time.monotonic() - started < 5


async def test_a_server_that_stays_busy_is_asked_three_times(model: ChatModel, server: ModelServer) -> None:
    with pytest.raises(UpstreamUnavailable, match="is asked too often") as error:
        await model.answer(ask("busy-429-9-after-0.05"))
    assert (len(server.seen), error.value.retry_after_s) == (3, 0.05)


async def test_a_server_that_wants_long_patience_is_not_waited_for(model: ChatModel, server: ModelServer) -> None:
    with pytest.raises(UpstreamUnavailable) as error:
        await model.answer(ask("busy-429-9-after-60"))
    assert (len(server.seen), error.value.retry_after_s) == (1, 60)


def test_retry_after_is_read_in_seconds_and_as_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 80 < (retry_after_s({"retry-after": later}) or 0) <= 90
    assert retry_after_s({"retry-after": "1.5"}) == 1.5
    assert [retry_after_s({"retry-after": text}) for text in ("soon", "nan", "-3", "")] == [None] * 4


async def test_a_host_that_nobody_answers_at_is_named(model_of: Callable[..., ChatModel], unused_tcp_port: int) -> None:
    model = model_of(OpenAIConnection(KEY, base_url=f"http://127.0.0.1:{unused_tcp_port}/v1", name="test"))
    with pytest.raises(UpstreamUnavailable, match=rf"cannot be reached at 127.0.0.1:{unused_tcp_port}"):
        await model.answer(ask())


@pytest.mark.parametrize("stream", [False, True])
async def test_a_server_that_says_nothing_is_given_up(
    server: ModelServer, model_of: Callable[..., ChatModel], stream: bool
) -> None:
    model = model_of(OpenAIConnection(KEY, base_url=server.url, name="test"), silence_timeout_s=0.3)
    with pytest.raises(UpstreamUnavailable, match=r"said nothing for 0.3 s"):
        await (streamed(model, ask("hang")) if stream else model.answer(ask("hang")))


async def test_a_stream_that_falls_silent_is_given_up(server: ModelServer, model_of: Callable[..., ChatModel]) -> None:
    model = model_of(OpenAIConnection(KEY, base_url=server.url, name="test"), silence_timeout_s=0.3)
    pieces: list[str] = []
    with pytest.raises(UpstreamUnavailable, match=r"said nothing for 0.3 s"):
        await collect(model, ask("hang-midway"), pieces)
    assert pieces == ["You ", "said: "]


async def test_a_slow_reader_is_not_taken_for_a_silent_server(
    server: ModelServer, model_of: Callable[..., ChatModel]
) -> None:
    model = model_of(OpenAIConnection(KEY, base_url=server.url, name="test"), silence_timeout_s=0.2)
    stream = model.stream(ask(), Answer())
    pieces = []
    async for piece in stream:
        pieces.append(piece)
        if len(pieces) == 1:
            await asyncio.sleep(0.5)
    assert "".join(pieces) == "You said: Is there tea?"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cut", "broke off in the middle of its answer"),
        ("malformed", "sent an event that is not of OpenAI's protocol"),
        ("malformed-json", "sent an event that is not of OpenAI's protocol"),
        ("error-midway", "broke off in the middle of its answer: The engine broke"),
    ],
)
async def test_a_stream_that_breaks_midway_keeps_what_came_and_is_told(
    model: ChatModel, server: ModelServer, name: str, text: str
) -> None:
    pieces: list[str] = []
    with pytest.raises(UpstreamUnavailable, match=text):
        await collect(model, ask(name), pieces)
    assert pieces == ["You ", "said: "]
    assert len(server.seen) == 1


async def test_a_stream_that_ends_without_its_last_event_is_complete(model: ChatModel) -> None:
    pieces, answer = await streamed(model, ask("no-end"))
    assert answer.text == "".join(pieces) == "You said: Is there tea?"


async def test_an_empty_answer_is_an_empty_text(model: ChatModel) -> None:
    assert (await streamed(model, ask("empty")))[1].text == (await model.answer(ask("empty"))).text == ""


@pytest.mark.parametrize("name", ["hang", "hang-midway", "slow"])
async def test_cancelling_closes_the_request_at_once(model: ChatModel, server: ModelServer, name: str) -> None:
    task = asyncio.create_task(streamed(model, ask(name, "word " * 100)))
    while not server.seen or (name != "hang" and server.seen[0].sent < 3):
        await asyncio.sleep(0.01)
    cancelled = time.monotonic()
    task.cancel()
    async with asyncio.timeout(5):
        await server.seen[0].ended.wait()
    assert server.seen[0].left_at is not None
    assert server.seen[0].left_at - cancelled < 1
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelling_while_waiting_to_ask_again_ends_at_once(model: ChatModel, server: ModelServer) -> None:
    task = asyncio.create_task(model.answer(ask("busy-429-9-after-15")))
    while not server.seen:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 2)
    assert len(server.seen) == 1


async def test_closing_a_stream_closes_the_request(model: ChatModel, server: ModelServer) -> None:
    stream = model.stream(ask("slow", "word " * 100), Answer())
    assert await anext(stream) == "You "
    await stream.aclose()
    async with asyncio.timeout(5):
        await server.seen[0].ended.wait()
    assert server.seen[0].left_at is not None


async def test_azure_is_asked_by_deployment_with_its_own_header(
    server: ModelServer, model_of: Callable[..., ChatModel]
) -> None:
    address = server.url.removesuffix("/v1")
    model = model_of(AzureOpenAIConnection(KEY, api_base=address, name="azure"))
    assert (await streamed(model, ask()))[1].text == "You said: Is there tea?"
    assert server.seen[0].path == "/openai/deployments/echo/chat/completions"
    assert server.seen[0].key == KEY


@pytest.mark.parametrize("name", ["../../files", "a/b", "a?b", "x" * 65])
async def test_the_name_of_a_deployment_cannot_lead_elsewhere(
    server: ModelServer, model_of: Callable[..., ChatModel], name: str
) -> None:
    model = model_of(AzureOpenAIConnection(KEY, api_base=server.url.removesuffix("/v1"), name="azure"))
    with pytest.raises(ModelRefused, match="this is no name of a deployment"):
        await model.answer(ask(name))
    assert server.seen == []


async def test_an_answer_without_end_is_given_up(model: ChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock_server.flows.models.parts.ANSWER_CHARS_MAX", 1000)
    with pytest.raises(UpstreamUnavailable, match="sent an answer of more than 1000 characters"):
        await streamed(model, ask("count-500"))


@pytest.mark.parametrize("kind", [DashScopeConnection, ServerlessConnection])
async def test_compatible_endpoints_are_asked_at_their_address(
    server: ModelServer, model_of: Callable[..., ChatModel], kind: type[DashScopeConnection]
) -> None:
    assert (await model_of(kind(KEY, base_url=server.url)).answer(ask())).text == "You said: Is there tea?"
    assert server.seen[0].key == KEY


async def test_variables_of_the_sdk_do_not_send_the_request_elsewhere(
    server: ModelServer, model_of: Callable[..., ChatModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("API_KEY", "BASE_URL", "ORG_ID", "PROJECT_ID", "ADMIN_KEY"):
        monkeypatch.setenv(f"OPENAI_{name}", "http://127.0.0.1:9/from-the-environment")
    model = model_of(OpenAIConnection(base_url=server.url))
    assert (await model.answer(ask())).text == "You said: Is there tea?"
    assert server.seen[0].key == ""
    assert "from-the-environment" not in str(server.seen[0].headers)


async def test_without_the_sdk_the_line_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "penstock_server.flows.models.openai", raising=False)
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ProblemFound, match="connection `a` needs the package `openai`") as error:
        Models(silence_timeout_s=30).of(OpenAIConnection(KEY, name="a"))
    assert error.value.hint == "pip install 'penstock[openai]'"


async def test_a_prompt_that_is_no_unicode_is_refused(model: ChatModel) -> None:
    with pytest.raises(ModelRefused, match="could not be asked"):
        await model.answer(ask(text="\ud800"))


async def test_a_connection_that_leads_to_no_model_is_refused() -> None:
    with pytest.raises(ProblemFound, match="`shop` is of the type `custom`, which leads to no model"):
        Models(silence_timeout_s=30).of(CustomConnection({"a": "b"}, name="shop"))
