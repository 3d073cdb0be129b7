"""Flows that are one callable: forms, outputs, kinds and descriptions."""

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import pytest
from pydantic import BaseModel, Field

from penstock.flow import Call, current_call, tool
from penstock_server.flows.flow import FlowKind
from penstock_server.flows.problems import ProblemFound


def plain(text: str) -> str:
    return text * 2


async def asynchronous(text: str) -> str:
    await asyncio.sleep(0)
    return text * 2


def generator(text: str) -> Iterator[str]:
    yield text
    yield text


async def async_generator(text: str) -> AsyncIterator[str]:
    yield text
    yield text


class Instance:
    """Doubles."""

    def __call__(self, text: str) -> str:
        return text * 2


class AsyncInstance:
    async def __call__(self, text: str) -> str:
        return text * 2


class GeneratorInstance:
    def __call__(self, text: str) -> Iterator[str]:
        yield from (text, text)


class AsyncGeneratorInstance:
    async def __call__(self, text: str) -> AsyncIterator[str]:
        yield text
        yield text


@pytest.mark.parametrize("target", [plain, asynchronous, Instance(), AsyncInstance(), functools.partial(plain)])
async def test_functions_and_instances_give_their_result_in_one_delta(target, flow_of, run, recorder):
    flow = flow_of(target)
    assert await run(flow, recorder, text="ab") == {"output": "abab"}
    assert recorder.deltas == [{"output": "abab"}]
    assert flow.spec.streaming_outputs == ()


@pytest.mark.parametrize("target", [generator, async_generator, GeneratorInstance(), AsyncGeneratorInstance()])
async def test_generators_of_either_kind_stream_chunk_by_chunk(target, flow_of, run, recorder):
    flow = flow_of(target)
    assert await run(flow, recorder, text="ab") == {"output": "abab"}
    assert recorder.deltas == [{"output": "ab"}, {"output": "ab"}]
    assert flow.spec.streaming_outputs == ("output",)


async def test_a_callable_flow_has_no_nodes(flow_of, run, recorder):
    await run(flow_of(plain), recorder, text="a")
    assert recorder.events == []


async def test_a_decorated_async_function_is_awaited_on_the_loop(flow_of, run):
    def hidden(function):
        def call(text: str) -> Any:
            return function(text)

        return call

    assert await run(flow_of(hidden(asynchronous)), text="x") == {"output": "xx"}
    assert await run(flow_of(hidden(async_generator)), text="x") == {"output": "xx"}
    assert await run(flow_of(hidden(generator)), text="x") == {"output": "xx"}


async def test_a_wrapped_generator_is_announced_as_streaming(flow_of, run, recorder):
    @functools.wraps(generator)
    def wrapped(*args, **kwargs):
        return generator(*args, **kwargs)

    flow = flow_of(wrapped)
    assert flow.spec.streaming_outputs == ("output",)
    assert await run(flow, recorder, text="x") == {"output": "xx"}
    assert len(recorder.deltas) == 2


async def test_an_iterator_that_nothing_announced_is_told_as_a_whole(flow_of, run, recorder):
    def surprise():
        return iter(["a", "b"])

    flow = flow_of(surprise)
    assert flow.spec.streaming_outputs == ()
    assert await run(flow, recorder) == {"output": "ab"}
    assert recorder.deltas == [{"output": "ab"}]


async def test_an_announced_stream_may_return_less(flow_of, run, recorder):
    def text() -> str | Iterator[str]:
        return "whole"

    def chunks() -> Iterator[str]:
        return ["a", "b"]  # type: ignore[return-value]

    assert await run(flow_of(text), recorder) == {"output": "whole"}
    assert await run(flow_of(chunks), recorder) == {"output": "ab"}
    assert recorder.deltas == [{"output": "whole"}, {"output": "a"}, {"output": "b"}]


async def test_chunks_that_are_not_all_text_make_a_list(flow_of, run, recorder):
    async def numbers() -> AsyncIterator[int]:
        yield 1
        yield 2

    async def mixed():
        yield "a"
        yield {"b": 1}

    async def nothing():
        return
        yield

    assert await run(flow_of(numbers), recorder) == {"output": [1, 2]}
    assert await run(flow_of(mixed)) == {"output": ["a", {"b": 1}]}
    assert await run(flow_of(nothing)) == {"output": ""}
    assert flow_of(numbers).spec.output_schema["properties"]["output"] == {
        "type": "array",
        "items": {"type": "integer"},
    }


async def test_question_and_chat_history_make_a_chat_flow(flow_of, run):
    async def chat(question: str, chat_history: list[dict[str, Any]]) -> str:
        return f"{question} {len(chat_history)}"

    flow = flow_of(chat)
    spec = flow.spec
    assert spec.kind is FlowKind.CHAT
    assert (spec.chat_input, spec.chat_output, spec.chat_history) == ("question", "answer", "chat_history")
    assert spec.input_schema["required"] == ["question"]
    assert await run(flow, question="q") == {"answer": "q 0"}
    assert await run(flow, question="q", chat_history=[{}]) == {"answer": "q 1"}
    assert flow_of(plain).spec.kind is FlowKind.STANDARD


@tool(history_rounds_max=3)
def remembering(question: str, chat_history: list[Any]) -> str:
    return question


class Remembering:
    @tool(history_rounds_max=4)
    def __call__(self, question: str, chat_history: list[Any]) -> str:
        return question


def test_a_callable_says_how_many_rounds_it_gets(flow_of):
    assert flow_of(remembering).spec.history_rounds_max == 3
    assert flow_of(Remembering()).spec.history_rounds_max == 4
    assert flow_of(tool(plain)).spec.history_rounds_max is None


@pytest.mark.parametrize("count", [-1, 1001, True, "many"])
def test_a_number_of_rounds_that_cannot_be_is_refused(count, flow_of):
    def chat(question: str, chat_history: list[Any]) -> str:
        return question

    with pytest.raises(ProblemFound, match="a whole number from 0 to 1000"):
        flow_of(tool(history_rounds_max=count)(chat))


class Both(TypedDict):
    answer: str
    score: float


@dataclass
class Data:
    answer: str
    score: float = 0.5


class Model(BaseModel):
    answer: str
    score: float = 0.5


def typed_dict() -> Both:
    return {"answer": "a", "score": 0.5}


def data() -> Data:
    return Data("a")


def model() -> Model:
    return Model(answer="a")


def bare_dict():
    return {"answer": "a", "score": 0.5}


def any_dict() -> dict[str, Any]:
    return {"answer": "a", "score": 0.5}


@pytest.mark.parametrize("target", [typed_dict, data, model, bare_dict, any_dict])
async def test_the_keys_of_an_object_are_the_outputs(target, flow_of, run, recorder):
    assert await run(flow_of(target), recorder) == {"answer": "a", "score": 0.5}
    assert recorder.deltas == [{"answer": "a", "score": 0.5}]


@pytest.mark.parametrize("target", [typed_dict, data, model])
def test_the_fields_of_an_annotated_object_are_in_the_schema(target, flow_of):
    schema = flow_of(target).spec.output_schema
    properties = schema["properties"]
    assert (properties["answer"]["type"], properties["score"]["type"]) == ("string", "number")
    assert set(schema["required"]) >= {"answer"}


def test_outputs_that_nothing_announces_have_an_open_schema(flow_of):
    assert flow_of(bare_dict).spec.output_schema["additionalProperties"] is True
    assert flow_of(any_dict).spec.output_schema["additionalProperties"] is True


class Streamed(TypedDict):
    sources: list[str]
    answer: Iterator[str]


async def test_a_field_may_stream_beside_fields_that_do_not(flow_of, run, recorder):
    def search() -> Streamed:
        return {"sources": ["s"], "answer": iter(["a", "b"])}

    flow = flow_of(search)
    assert flow.spec.streaming_outputs == ("answer",)
    assert await run(flow, recorder) == {"sources": ["s"], "answer": "ab"}
    assert recorder.deltas == [{"sources": ["s"]}, {"answer": "a"}, {"answer": "b"}]
    assert flow.spec.output_schema["properties"]["answer"] == {"type": "string"}


@pytest.mark.parametrize("hint", [Iterator[str], Iterable[str], Generator[str, None, None]])
def test_the_chunks_of_a_generator_may_be_annotated_in_any_usual_way(hint, flow_of):
    def tokens():
        yield ""

    tokens.__annotations__["return"] = hint
    assert flow_of(tokens).spec.output_schema["properties"] == {"output": {"type": "string"}}


async def test_synchronous_code_never_runs_on_the_loop(flow_of, run):
    seen: list[int] = []

    def function():
        seen.append(threading.get_ident())

    def generator_function():
        seen.append(threading.get_ident())
        yield "a"
        seen.append(threading.get_ident())

    await run(flow_of(function))
    await run(flow_of(generator_function))
    assert threading.get_ident() not in seen
    assert len(set(seen[1:])) == 1, "a generator runs in one thread"


async def test_asynchronous_code_runs_on_the_loop(flow_of, run):
    async def where() -> bool:
        return asyncio.get_running_loop() is loop

    loop = asyncio.get_running_loop()
    assert await run(flow_of(where)) == {"output": True}


async def test_the_call_is_known_in_threads_and_on_the_loop(flow_of, run):
    def in_thread() -> str:
        return current_call.get().session

    def in_generator() -> Iterator[str]:
        yield current_call.get().session

    async def on_loop() -> str:
        return current_call.get().session

    current_call.set(Call(run="r", flow="f", session="s"))
    for target in (in_thread, in_generator, on_loop):
        assert await run(flow_of(target)) == {"output": "s"}


def test_descriptions_come_from_docstrings_and_annotations(flow_of):
    def google(text: str, times: Annotated[int, Field(description="how often", gt=0)] = 1) -> str:
        """Repeats a text.

        More about it.

        Args:
            text: what to
                repeat.
            times: not this.
        """
        return text * times

    def sphinx(text: str) -> str:
        """Repeats.

        :param text: what to repeat
        :returns: the text
        """
        return text

    spec = flow_of(google).spec
    assert spec.description == "Repeats a text.\n\nMore about it."
    assert spec.input_schema["properties"]["text"]["description"] == "what to repeat."
    assert spec.input_schema["properties"]["times"]["description"] == "how often"
    assert flow_of(sphinx).spec.input_schema["properties"]["text"]["description"] == "what to repeat"
    assert flow_of(Instance()).spec.description == "Doubles."


async def test_positional_only_parameters_and_extra_keywords_work(flow_of, run):
    def function(first, /, second=2, *rest, **others):
        return [first, second, others]

    flow = flow_of(function)
    assert flow.spec.input_schema["additionalProperties"] is True
    assert await run(flow, first=1, third=3) == {"output": [1, 2, {"third": 3}]}


def test_an_input_that_json_cannot_carry_is_refused_when_the_flow_is_loaded(flow_of):
    class Client:
        pass

    def function(client: Client) -> str:
        return ""

    with pytest.raises(ProblemFound, match="input `client`"):
        flow_of(function)


async def test_names_that_mean_something_to_pydantic_are_fine(flow_of, run):
    def function(schema: str, copy: int, model_config: str, _hidden: str = "") -> str:
        return f"{schema}{copy}{model_config}{_hidden}"

    assert await run(flow_of(function), schema="a", copy=1, model_config="b", _hidden="c") == {"output": "a1bc"}
