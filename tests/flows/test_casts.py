"""Inputs of folders are cast to the types of their document: the answers are those of prompt flow 1.18.5."""

import json

import pytest

from penstock_server.errors import InvalidRequest


@pytest.mark.parametrize(
    ("kind", "sent", "got"),
    [
        ("int", "3", 3),
        ("int", 3.7, 3),
        ("int", True, 1),
        ("double", "2", 2.0),
        ("double", 3, 3.0),
        ("bool", "TRUE", True),
        ("bool", False, False),
        ("string", 5, "5"),
        ("string", True, "True"),
        ("string", {"a": 1}, "{'a': 1}"),
        ("list", "[1]", [1]),
        ("object", '{"a": 2}', {"a": 2}),
    ],
)
async def test_inputs_and_defaults_are_cast_as_in_prompt_flow(kind, sent, got, graph):
    flow = graph({}, inputs=f"{{x: {{type: {kind}}}, y: {{type: {kind}, default: {json.dumps(sent)}}}}}")
    bound = await flow.arguments({"x": sent})
    assert bound == {"x": got, "y": got}
    assert [type(value) for value in bound.values()] == [type(got)] * 2


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("int", "3.5"),
        ("int", "1e400"),
        ("int", "9" * 20),
        ("int", None),
        ("double", "nan"),
        ("double", "inf"),
        ("double", "1e999"),
        ("bool", 1),
        ("bool", "yes"),
        ("string", None),
        ("list", "x"),
        ("list", "[NaN]"),
        ("list", "{}"),
        ("list", "[" * 100_000),
        ("object", "[]"),
        ("object", 5),
        ("object", None),
    ],
)
async def test_what_cannot_be_cast_names_the_input(kind, sent, graph):
    flow = graph({}, inputs=f"{{x: {{type: {kind}}}}}")
    with pytest.raises(InvalidRequest) as caught:
        await flow.arguments({"x": sent})
    assert [field for field, _ in caught.value.violations] == ["inputs.x"]


async def test_an_empty_default_of_what_is_no_text_is_none(graph):
    flow = graph({}, inputs="{l: {type: list, default: ''}, s: {type: string, default: ''}}")
    assert flow.spec.input_schema["required"] == ["l"]


async def test_inputs_that_are_not_declared_are_refused_unless_the_flow_allows_them(graph, load_folder, run):
    with pytest.raises(InvalidRequest, match=r"inputs.y: is not an input of this flow"):
        await graph({}, inputs="{x: {type: int}}").arguments({"x": 1, "y": 2})
    text = "allow_extra_inputs: true\ninputs: {x: {type: int}}\noutputs: {o: {reference: '${inputs.x}'}}\nnodes: []\n"
    open_flow = load_folder({"flow.dag.yaml": text}, "open")
    assert await run(open_flow, x=1, y={"z": 2}) == {"o": 1}
