"""Python code loads prompties as it does with prompt flow, and calls them from threads and from loops."""

import asyncio

import pytest

from penstock.modelconfig import OpenAIModelConfiguration
from penstock_server.errors import ModelRefused
from penstock_server.flows.problems import FlowLoadError
from penstock_server.flows.prompty.code import AsyncPrompty, Prompty

PROMPTY = """
    ---
    model:
      configuration: {type: openai, model: echo, base_url: '${env:TEST_MODEL_URL}', api_key: '${env:TEST_MODEL_KEY}'}
      parameters: {temperature: 0.5}
    inputs: {name: {type: string}, mood: {type: string, default: kind}}
    ---
    user:
    {{ name }}, be {{ mood }}
    """


@pytest.fixture
def source(write, server):
    return write({"greet.prompty": PROMPTY}) / "greet.prompty"


async def called(prompty, **inputs):
    """Calls a synchronous prompty as the code of a flow does, in a thread."""
    return await asyncio.to_thread(lambda: prompty(**inputs))


async def test_it_answers_as_the_flow_would(source, server):
    prompty = Prompty.load(source=source)
    assert (await called(prompty, name="Ada", unknown=1)).strip() == "You said: Ada, be kind"
    assert (await AsyncPrompty.load(source)(name="Ada")).strip() == "You said: Ada, be kind"
    assert [seen.body["temperature"] for seen in server.seen] == [0.5, 0.5]
    assert "Ada, be kind" in prompty.render(name="Ada")


@pytest.mark.parametrize("kind", [Prompty, AsyncPrompty])
async def test_it_streams_where_that_is_asked_for(kind, source):
    prompty = kind.load(source, model={"parameters": {"stream": True}})
    if kind is Prompty:
        pieces = await asyncio.to_thread(lambda: list(prompty(name="Ada")))
    else:
        pieces = [piece async for piece in await prompty(name="Ada")]
    assert len(pieces) > 1
    assert "".join(pieces).strip() == "You said: Ada, be kind"


async def test_the_model_may_be_given_in_code(source, server):
    configuration = OpenAIModelConfiguration(model="roles", base_url=server.url, api_key="other")
    prompty = Prompty.load(source, model={"configuration": configuration, "parameters": {"seed": 7}})
    assert (await called(prompty, name="Ada")).strip() == "user: Ada, be kind"
    seen = server.seen[0]
    assert (seen.key, seen.model, seen.body["seed"], seen.body["temperature"]) == ("other", "roles", 7, 0.5)


async def test_a_connection_may_be_named_in_code(source, server):
    declared = f"mine: {{type: open_ai, api_key: mine, base_url: '{server.url}'}}\n"
    source.with_name("connections.yaml").write_text(declared)
    prompty = Prompty.load(source, model={"configuration": OpenAIModelConfiguration(model="echo", connection="mine")})
    await called(prompty, name="Ada")
    assert server.seen[0].key == "mine"


async def test_what_is_wrong_is_told(source):
    with pytest.raises(ValueError, match="needs the inputs name"):
        Prompty.load(source)()
    with pytest.raises(FlowLoadError, match="there is no such setting of `chat`"):
        Prompty.load(source, model={"parameters": {"temprature": 1}})
    with pytest.raises(ModelRefused):
        await called(Prompty.load(source, model={"configuration": {"model": "no-such-model"}}), name="Ada")


@pytest.mark.parametrize("kind", [Prompty, AsyncPrompty])
async def test_code_that_stops_reading_ends_the_request(kind, source, server, until):
    model = {"configuration": {"model": "slow"}, "parameters": {"stream": True}}
    prompty = kind.load(source, model=model)
    if kind is Prompty:
        pieces = prompty(name="a b c d e f g")
        await asyncio.to_thread(next, pieces)
        pieces.close()
    else:
        pieces = await prompty(name="a b c d e f g")
        await anext(pieces)
        await pieces.aclose()
    await until(lambda: server.seen[0].left_at is not None)


@pytest.mark.parametrize(("kind", "call"), [("Prompty", "prompty"), ("AsyncPrompty", "await prompty")])
async def test_a_tool_of_a_folder_uses_it_and_its_node_counts_the_tokens(
    kind, call, load_folder, server, run, recorder
):
    keyword = "async def" if kind.startswith("Async") else "def"
    source = f"""
        from pathlib import Path
        from promptflow.core import {kind}, tool
        prompty = {kind}.load(source=Path(__file__).parent / "greet.prompty")
        @tool
        {keyword} greet(name: str) -> str:
            return {call}(name=name)
        """
    yaml = """
        inputs: {name: {type: string}}
        outputs: {greeting: {reference: '${greet.output}'}}
        nodes:
        - {name: greet, type: python, source: {type: code, path: greet.py}, inputs: {name: '${inputs.name}'}}
        """
    flow = load_folder({"flow.dag.yaml": yaml, "greet.py": source, "greet.prompty": PROMPTY})
    answer = await run(flow, recorder, name="Ada")
    assert answer["greeting"].strip() == "You said: Ada, be kind"
    assert recorder.records["greet"].input_tokens > 0
