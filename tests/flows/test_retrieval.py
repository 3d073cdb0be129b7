"""Nodes that search knowledge bases."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from tests.modelserver.server import ModelServer

from penstock_server.errors import FlowFailed, ModelRefused
from penstock_server.flows.connections.connections import load as load_connections
from penstock_server.flows.flow import Flow, NodeStatus
from penstock_server.flows.knowledge.build import Build, Wanted
from penstock_server.flows.knowledge.manifest import Shelf
from penstock_server.flows.models.models import Models
from penstock_server.flows.problems import FlowLoadError

Run = Callable[..., Awaitable[dict[str, Any]]]

DOCUMENTS = {
    "guide/returns.md": "# Returns\n## Cost\nReturning a parcel costs nothing.\n## 退货\n七天之内可以退货。",
    "tea.html": "<h1>Tea</h1><p>Green tea and black tea.",
}


@pytest.fixture
async def build(write: Callable[..., Path], server: ModelServer) -> Callable[..., Awaitable[None]]:
    """Builds knowledge bases in the data folder of the current folder."""
    write(DOCUMENTS, "docs")
    write({"connections.yaml": f"open: {{type: open_ai, base_url: '{server.url}'}}\n"}, ".penstock")

    async def run(name: str, **wanted: Any) -> None:
        models = Models(silence_timeout_s=30)
        connections = load_connections(data=Path(".penstock"))
        work = Build(Shelf(Path(".penstock")), connections, models, lambda done, files: None)
        await work.run(name, Path("docs"), Wanted(**wanted))
        await models.close()

    return run


@pytest.fixture
async def server() -> Any:
    async with ModelServer().serving() as running:
        yield running


@pytest.fixture
def retrieval(load_folder: Callable[..., Flow]) -> Callable[..., Flow]:
    def make(inputs: str, more: str = "") -> Flow:
        document = f"""\
inputs:
  question: {{type: string}}
  count: {{type: int, default: 2}}
  where: {{type: object, default: {{}}}}
outputs: {{documents: {{type: list, reference: "${{find.output}}"}}}}
nodes:
- {{name: find, type: retrieval, inputs: {{{inputs}}}}}
{more}"""
        return load_folder({"flow.dag.yaml": document})

    return make


GIVEN = 'query: "${inputs.question}", knowledge: shop, top_k: "${inputs.count}", filters: "${inputs.where}"'


async def test_documents_come_with_scores_and_places(build: Any, retrieval: Any, run: Run, recorder: Any) -> None:
    await build("shop")
    flow = retrieval(GIVEN)
    documents = (await run(flow, recorder, question="What does returning cost?"))["documents"]
    assert documents[0].pop("score") > 0
    assert documents[0] == {
        "source": "guide/returns.md",
        "line": 3,
        "title": "Returns › Cost",
        "text": "Returning a parcel costs nothing.",
    }
    record = recorder.records["find"]
    assert record.status is NodeStatus.SUCCEEDED
    assert record.inputs["query"] == "What does returning cost?"
    assert record.output[0]["source"] == "guide/returns.md"
    assert (await run(flow, question="怎么退货"))["documents"][0]["line"] == 5
    assert (await run(flow, question=" "))["documents"] == []


async def test_vectors_are_searched_with_filters_and_their_tokens_count(
    build: Any, retrieval: Any, run: Run, recorder: Any
) -> None:
    await build("shop", connection="open", model="echo")
    flow = retrieval(GIVEN)
    assert len((await run(flow, recorder, question="green tea", count=3))["documents"]) == 3
    assert recorder.records["find"].input_tokens == 2
    found = (await run(flow, question="green tea", count=10, where={"source": "guide/"}))["documents"]
    assert {each["source"] for each in found} == {"guide/returns.md"}
    many = await asyncio.gather(*(run(flow, question="tea") for _ in range(20)))
    assert all(each == many[0] for each in many)


async def test_defaults_stand_for_what_is_not_given(build: Any, retrieval: Any, run: Run) -> None:
    await build("shop")
    flow = retrieval('query: "${inputs.question}", knowledge: shop')
    assert len((await run(flow, question="tea parcel 退货"))["documents"]) == 3


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"count": 0}, "`top_k` must be a whole number from 1 to 100"),
        ({"count": 1000}, "`top_k` must be a whole number from 1 to 100"),
        ({"where": {"author": "me"}}, "`filters` has no `author`; it has: source, title"),
    ],
)
async def test_what_callers_give_wrong_is_told(build: Any, retrieval: Any, run: Run, inputs: Any, text: str) -> None:
    await build("shop")
    with pytest.raises(FlowFailed, match=text) as error:
        await run(retrieval(GIVEN), question="tea", **inputs)
    assert error.value.metadata["node"] == "find"


async def test_a_query_that_is_no_text_is_told(build: Any, retrieval: Any, run: Run) -> None:
    await build("shop")
    with pytest.raises(FlowFailed, match="`query` must be a text"):
        await run(retrieval('query: "${inputs.where}", knowledge: shop'), question="tea")


async def test_what_is_wrong_is_told_at_start(build: Any, retrieval: Any) -> None:
    await build("shop")
    with pytest.raises(FlowLoadError) as error:
        retrieval("qurey: tea, knowledge: shpo, top_k: many, filters: {sources: a}")
    assert [f"{each.text} ({each.hint})" for each in error.value.problems] == [
        "node `find`: a retrieval has no input `qurey` (did you mean `query`?)",
        "node `find`: `top_k` must be a whole number from 1 to 100 ()",
        "node `find`: `filters` has no `sources`; did you mean `source`? ()",
        "node `find` needs an input `query`, what is looked for ()",
        "node `find`: there is no knowledge base `shpo` in .penstock/knowledge (did you mean `shop`?)",
    ]
    with pytest.raises(FlowLoadError, match=r"`cards` in .penstock/knowledge \(it has: shop\)"):
        retrieval("query: tea, knowledge: cards")
    for given in ("query: tea", 'query: tea, knowledge: "${inputs.question}"', "query: tea, knowledge: 5"):
        with pytest.raises(FlowLoadError, match="needs an input `knowledge`, the name of a knowledge base"):
            retrieval(given)


@pytest.mark.parametrize(
    ("inputs", "is_right"),
    [
        ("{query: '${inputs.question}', knowledge: shop}", True),
        ("{query: tea, knowledge: shop, top_k: 3, filters: {source: [a.md, guide/], title: T}}", True),
        ("{query: tea, knowledge: shop, top_k: '${inputs.count}', filters: '${inputs.where}'}", True),
        ("{query: tea, knowledge: shop, top_k: '3', filters: {}}", True),
        ("{query: tea, knowledge: shop, top_k: null, filters: ''}", True),
        ("{knowledge: shop}", False),
        ("{query: tea}", False),
        ("{query: tea, knowledge: '${inputs.question}'}", False),
        ("{query: tea, knowledge: shop, topk: 3}", False),
        ("{query: tea, knowledge: shop, top_k: 0}", False),
        ("{query: tea, knowledge: shop, top_k: 101}", False),
        ("{query: tea, knowledge: shop, top_k: many}", False),
        ("{query: tea, knowledge: shop, filters: guide/}", False),
        ("{query: tea, knowledge: shop, filters: {author: me}}", False),
        ("{query: tea, knowledge: shop, filters: {source: [5]}}", False),
    ],
)
async def test_the_schema_says_what_the_loader_says(build: Any, retrieval: Any, inputs: str, is_right: bool) -> None:
    await build("shop")
    schema = json.loads((files("penstock_server.flows") / "format/flow.dag.schema.json").read_text("utf-8"))
    try:
        retrieval(inputs[1:-1])
        is_loaded = True
    except FlowLoadError:
        is_loaded = False
    written = yaml.safe_load(Path("shop/flow.dag.yaml").read_text())
    assert (is_loaded, Draft202012Validator(schema).is_valid(written)) == (is_right, is_right)


def test_with_no_knowledge_base_it_is_told_how_to_make_one(retrieval: Any) -> None:
    with pytest.raises(FlowLoadError, match="penstock knowledge build shop FOLDER makes it"):
        retrieval("query: tea, knowledge: shop")


async def test_a_connection_that_is_gone_is_told_at_start(build: Any, retrieval: Any) -> None:
    await build("shop", connection="open", model="echo")
    Path(".penstock/connections.yaml").unlink()
    with pytest.raises(FlowLoadError, match="node `find`: knowledge base `shop`: there is no connection `open`"):
        retrieval("query: tea, knowledge: shop")


async def test_a_run_that_ends_closes_the_request_to_the_model(
    build: Any, retrieval: Any, make_recorder: Any, server: ModelServer, until: Any
) -> None:
    await build("shop", connection="open", model="echo")
    manifest = Path(".penstock/knowledge/shop/manifest.json")
    manifest.write_text(manifest.read_text().replace('"echo"', '"hang"'))
    flow, recorder = retrieval(GIVEN), make_recorder()
    task = asyncio.create_task(flow.execute(await flow.arguments({"question": "tea"}), recorder))
    await until(lambda: server.seen[-1].model == "hang")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: server.seen[-1].left_at)
    assert recorder.records["find"].status is NodeStatus.CANCELED


async def test_a_model_that_is_gone_fails_the_run(build: Any, retrieval: Any, run: Run) -> None:
    await build("shop", connection="open", model="echo")
    manifest = Path(".penstock/knowledge/shop/manifest.json")
    manifest.write_text(manifest.read_text().replace('"echo"', '"nobody"'))
    with pytest.raises(ModelRefused, match="is not there") as error:
        await run(retrieval(GIVEN), question="tea")
    assert error.value.metadata["node"] == "find"


async def test_an_index_that_was_busy_is_opened_by_the_next_call(build: Any, retrieval: Any, run: Run) -> None:
    await build("shop")
    flow = retrieval(GIVEN)
    words = Path(".penstock/knowledge/shop/words.db")
    kept = words.read_bytes()
    words.write_bytes(b"damaged" * 1000)
    with pytest.raises(Exception, match="the index of the knowledge base `shop` cannot be used"):
        await run(flow, question="tea")
    words.write_bytes(kept)
    assert (await run(flow, question="tea"))["documents"]


async def test_two_flows_share_an_embedded_index(build: Any, load_folder: Any, retrieval: Any, run: Run) -> None:
    await build("shop", connection="open", model="echo")
    first = retrieval(GIVEN)
    document = Path("shop/flow.dag.yaml").read_text()
    second = load_folder({"flow.dag.yaml": document}, "other")
    assert await run(first, question="tea") == await run(second, question="tea")
    await first.close()
    assert (await run(second, question="tea"))["documents"]
