"""Outputs that are those of whichever node runs."""

from collections.abc import Callable
from typing import Any

import pytest

from penstock_server.flows.flow import Flow
from penstock_server.flows.problems import FlowLoadError

TOOL = "from penstock.flow import tool\n@tool\n"
STREAM = TOOL + "def give(x):\n    yield x\n    yield '!'\n"
WHOLE = TOOL + "def give(x):\n    return x\n"
OBJECT = TOOL + "def give(x):\n    return {'text': x}\n"


def node(name: str, value: str, when: str = "${inputs.q}") -> str:
    activate = f", activate: {{when: '{when}', is: {value}}}" if value else ""
    source = f"{{type: code, path: {name}.py}}"
    return f"- {{name: {name}, type: python, source: {source}, inputs: {{x: {name}}}{activate}}}\n"


@pytest.fixture
def flow_of(load_folder: Callable[..., Flow]) -> Callable[..., Flow]:
    """Loads nodes, each with its code, and an output of these references."""

    def make(nodes: dict[str, str], references: str, more: str = "") -> Flow:
        names = [text.partition("name: ")[2].partition(",")[0] for text in nodes]
        files = {f"{name}.py": code for name, code in zip(names, nodes.values(), strict=True)}
        outputs = f"outputs: {{answer: {{reference: {references}}}{more}}}"
        yaml = f"inputs: {{q: {{}}}}\n{outputs}\nnodes:\n{''.join(nodes)}"
        return load_folder({"flow.dag.yaml": yaml, **files})

    return make


@pytest.mark.parametrize("second", [STREAM, WHOLE])
async def test_the_output_is_that_of_the_node_that_runs_and_its_stream(
    flow_of: Callable[..., Flow], make_recorder: Any, run: Any, second: str
) -> None:
    flow = flow_of({node("a", "1"): STREAM, node("b", "2"): second}, "['${a}', '${b.output}']")
    assert flow.spec.streaming_outputs == ("answer",)
    recorder = make_recorder()
    assert await run(flow, recorder, q=1) == {"answer": "a!"}
    assert recorder.deltas == [{"answer": "a"}, {"answer": "!"}]
    recorder = make_recorder()
    whole = second is WHOLE
    assert await run(flow, recorder, q=2) == {"answer": "b" if whole else "b!"}
    assert recorder.deltas == ([{"answer": "b"}] if whole else [{"answer": "b"}, {"answer": "!"}])


async def test_it_is_null_where_none_runs_and_told_once(
    flow_of: Callable[..., Flow], make_recorder: Any, run: Any
) -> None:
    nodes = {node("a", "1"): STREAM, node("b", "2"): STREAM, node("c", ""): STREAM}
    flow = flow_of(nodes, "['${a}', '${b}']", more=", other: {reference: '${c}'}")
    recorder = make_recorder()
    assert await run(flow, recorder, q=3) == {"answer": None, "other": "c!"}
    assert [delta for delta in recorder.deltas if "answer" in delta] == [{"answer": None}]


async def test_a_part_of_what_one_node_returns_stands_beside_the_stream_of_another(
    flow_of: Callable[..., Flow], make_recorder: Any, run: Any
) -> None:
    flow = flow_of({node("a", "true"): STREAM, node("b", "false"): OBJECT}, "['${a}', '${b.output.text}']")
    for q, answer, deltas in ((True, "a!", 2), (False, "b", 1)):
        recorder = make_recorder()
        assert await run(flow, recorder, q=q) == {"answer": answer}
        assert len(recorder.deltas) == deltas


async def test_without_a_stream_the_output_is_told_whole(
    flow_of: Callable[..., Flow], make_recorder: Any, run: Any
) -> None:
    flow = flow_of({node("a", "1"): WHOLE, node("b", "2"): WHOLE}, "['${a}', '${b}']")
    assert flow.spec.streaming_outputs == ()
    for q, answer in ((1, "a"), (2, "b"), (3, None)):
        recorder = make_recorder()
        assert await run(flow, recorder, q=q) == {"answer": answer}
        assert recorder.deltas == [{"answer": answer}]


@pytest.mark.parametrize(
    ("first", "second", "references", "said"),
    [
        (node("a", ""), node("b", "2"), "['${a}', '${b}']", "`a` could run together with another node"),
        (node("a", "1"), node("b", ""), "['${a}', '${b}']", "`b` could run together with another node"),
        (node("a", "1"), node("b", "1"), "['${a}', '${b}']", "`b` could run together with another node"),
        (node("a", "1"), node("b", "true"), "['${a}', '${b}']", "`b` could run together with another node"),
        (node("a", "1"), node("b", "2", "${a}"), "['${a}', '${b}']", "`b` could run together with another node"),
        (node("a", "1", "same"), node("b", "2", "same"), "['${a}', '${b}']", "`b` could run together"),
        (node("a", "1"), node("b", "2"), "['${a}', '${a}']", "`a` could run together with another node"),
        (node("a", "1"), node("b", "2"), "['${a}', '${inputs.q}']", "each of several references must lead to a node"),
        (node("a", "1"), node("b", "2"), "['${a}', nothing]", "each of several references must lead to a node"),
        (node("a", "1"), node("b", "2"), "['${a}', '${c}']", "there is no node `c`"),
        (node("a", "1"), node("b", "2"), "['${a}', '${b.total}']", "node `b` has no output `total`"),
    ],
)
def test_nodes_that_could_run_together_are_refused_at_start(
    flow_of: Callable[..., Flow], first: str, second: str, references: str, said: str
) -> None:
    with pytest.raises(FlowLoadError) as error:
        flow_of({first: WHOLE, second: WHOLE}, references)
    assert said in str(error.value)
    assert len(error.value.problems) == 1
