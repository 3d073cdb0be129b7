"""The language of references."""

from types import SimpleNamespace

import pytest

from penstock_server.flows.dag.references import Index, Key, parse
from penstock_server.flows.problems import ProblemFound


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "",
        3,
        None,
        ["${a}"],
        {"a": "${a}"},
        "x ${a}",
        "${a} x",
        "${a} and ${b}",
        "${a",
        "$a",
        "$${a}",
        "${a}\n",
    ],
)
def test_only_a_whole_string_is_a_reference(text):
    assert parse(text) is None


@pytest.mark.parametrize(
    ("text", "source", "steps"),
    [
        ("${inputs.question}", ("question", ""), ()),
        ("${flow.question}", ("question", ""), ()),
        ("${inputs.filters.tags[0]}", ("filters", ""), (Key("tags"), Index(0))),
        ("${node}", ("", "node"), ()),
        ("${node.output}", ("", "node"), ()),
        ("${my-node_1.output.a.b}", ("", "my-node_1"), (Key("a"), Key("b"))),
        ("${n.output['a.b'][\"c]\"][-1][2]}", ("", "n"), (Index("a.b"), Index("c]"), Index(-1), Index(2))),
        ("${ node.output }", ("", "node"), ()),
        ("${n.output.[0].['a']}", ("", "n"), (Index(0), Index("a"))),
        ("${n.total.net}", ("", "n"), (Key("total"), Key("net"))),
    ],
)
def test_references_name_an_input_or_a_node_and_a_way_into_its_value(text, source, steps):
    reference = parse(text)
    assert reference is not None
    assert (reference.input, reference.node) == source
    assert reference.steps == steps


@pytest.mark.parametrize("text", ["${}", "${ }", "${inputs}", "${inputs[0]}", "${a['b']}", "${a..b}", "${a.output[x]}"])
def test_what_looks_like_a_reference_and_is_none_is_a_problem(text):
    with pytest.raises(ProblemFound):
        parse(text)


def test_a_key_reads_mappings_and_attributes():
    reference = parse("${n.output.a.b[0]}")
    assert reference is not None
    assert reference.of({"a": SimpleNamespace(b=[7])}) == 7
    assert reference.of(SimpleNamespace(a={"b": "7"})) == "7"
    for whole in ({}, {"a": 1}, {"a": {"b": []}}, {"a": {"b": None}}, None):
        with pytest.raises(LookupError, match="there is no"):
            reference.of(whole)
