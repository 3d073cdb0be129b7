"""Conditions, bypassed nodes and nodes for batches: the answers are those of prompt flow 1.18.5."""

import pytest

from penstock_server.errors import FlowFailed
from penstock_server.flows.flow import NodeStatus
from penstock_server.flows.problems import FlowLoadError

GIVE = "from penstock.flow import tool\n@tool\ndef give(x=7):\n    return x\n"
SHOW = "from penstock.flow import tool\n@tool\ndef show(**inputs):\n    return inputs\n"
DEFAULT = "from penstock.flow import tool\n@tool\ndef default(b, a='default'):\n    return [a, b]\n"
TALK = "from penstock.flow import tool\n@tool\ndef talk(x=0):\n    yield 'a'\n    yield 'b'\n"


def python(name, inputs="{}", activate="", extra=""):
    activate = f", activate: {activate}" if activate else ""
    source = f"{{type: code, path: {name}.py}}"
    return f"- {{name: {name}, type: python, source: {source}, inputs: {inputs}{activate}{extra}}}\n"


@pytest.fixture
def flow_with(load_folder):
    """Loads nodes, each as its YAML and its code, with an output for each of them unless others are given."""

    def make(nodes, inputs="{q: {}}", outputs="", **files):
        names = [text.partition("name: ")[2].partition(",")[0] for text in nodes]
        outputs = outputs or "{" + ", ".join(f"{name}: {{reference: '${{{name}}}'}}" for name in names) + "}"
        files = {f"{name}.py": code for name, code in zip(names, nodes.values(), strict=True) if code} | files
        yaml = f"inputs: {inputs}\noutputs: {outputs}\nnodes:\n{''.join(nodes)}"
        return load_folder({"flow.dag.yaml": yaml, **files})

    return make


def statuses(recorder):
    return {name: str(record.status) for name, record in recorder.records.items()}


async def test_a_node_whose_condition_fails_is_bypassed_and_what_needs_nothing_else_too(flow_with, make_recorder, run):
    nodes = {python("a", "{x: 1}", "{when: '${inputs.q}', is: 'yes'}"): GIVE, python("b", "{x: '${a}'}"): GIVE}
    flow = flow_with(nodes)
    recorder = make_recorder()
    assert await run(flow, recorder, q="yes") == {"a": 1, "b": 1}
    recorder = make_recorder()
    assert await run(flow, recorder, q="no") == {"a": None, "b": None}
    assert statuses(recorder) == {"a": "BYPASSED", "b": "BYPASSED"}
    assert recorder.events == ["a started", "a BYPASSED", "b started", "b BYPASSED"]
    assert recorder.records["a"].end_time is not None


async def test_a_node_with_one_source_that_ran_runs_and_gets_none_for_the_others(flow_with, run):
    flow = flow_with(
        {
            python("a", "{x: 1}", "{when: '${inputs.q}', is: 1}"): GIVE,
            python("b", "{x: 2}", "{when: '${inputs.q}', is: 2}"): GIVE,
            python("c", "{a: '${a}', b: '${b}'}"): SHOW,
            python("d", "{a: '${a}', z: 3}"): SHOW,
        }
    )
    first = {"a": 1, "z": 3}
    assert await run(flow, q=1) == {"a": 1, "b": None, "c": {"a": 1, "b": None}, "d": first}
    assert await run(flow, q=2) == {"a": None, "b": 2, "c": {"a": None, "b": 2}, "d": None}
    assert await run(flow, q=3) == {"a": None, "b": None, "c": None, "d": None}


async def test_a_bypassed_input_takes_the_default_of_its_parameter(flow_with, run):
    nodes = {
        python("a", "{x: 1}", "{when: '${inputs.q}', is: 1}"): GIVE,
        python("b", "{x: 2}"): GIVE,
        python("c", "{a: '${a}', b: '${b}'}"): DEFAULT,
    }
    flow = flow_with(nodes)
    assert (await run(flow, q=1))["c"] == [1, 2]
    assert (await run(flow, q=2))["c"] == ["default", 2]


async def test_a_template_gets_none_for_a_bypassed_input(flow_with, run):
    prompt = "- {name: p, type: prompt, source: {type: code, path: p.jinja2}, inputs: {a: '${a}', b: '${b}'}}\n"
    nodes = {
        python("a", "{x: 1}", "{when: '${inputs.q}', is: 1}"): GIVE,
        python("b", "{x: 2}"): GIVE,
        prompt: "",
    }
    flow = flow_with(nodes, **{"p.jinja2": "a={{a}} b={{b}} c={{c}}"})
    assert (await run(flow, q=2))["p"] == "a=None b=2 c="


async def test_a_condition_decides_alone(flow_with, run):
    flow = flow_with(
        {
            python("a", "{x: 1}", "{when: '${inputs.q}', is: 1}"): GIVE,
            python("b", "{x: '${a}'}", "{when: '${inputs.q}', is: 2}"): SHOW,
        }
    )
    assert await run(flow, q=2) == {"a": None, "b": {"x": None}}, "it runs, though all that it refers to was bypassed"


async def test_a_condition_on_a_bypassed_node_fails(flow_with, run):
    flow = flow_with(
        {
            python("a", "{x: 1}", "{when: '${inputs.q}', is: 1}"): GIVE,
            python("b", "{x: 2}", "{when: '${a}', is: null}"): GIVE,
        }
    )
    assert await run(flow, q=2) == {"a": None, "b": None}


@pytest.mark.parametrize(
    ("q", "wanted", "runs"),
    [
        (True, "true", True),
        (True, "'true'", False),
        (True, "'True'", False),
        (1, "'1'", False),
        (1, "1.0", True),
        ("x", "x", True),
        ("x", "X", False),
        ([1, {"a": None}], "[1, {a: null}]", True),
        (None, "null", True),
        (0, "false", True),
        ("", "null", False),
    ],
)
async def test_equality_is_pythons(q, wanted, runs, flow_with, run):
    flow = flow_with({python("a", "{x: 1}", f"{{when: '${{inputs.q}}', is: {wanted}}}"): GIVE})
    assert await run(flow, q=q) == {"a": 1 if runs else None}


async def test_a_condition_may_look_into_what_a_node_returned(flow_with, run, recorder):
    flow = flow_with(
        {
            python("a", "{q: '${inputs.q}'}"): SHOW,
            python("b", "{x: 5}", "{when: '${a.output.q.k}', is: 1}"): GIVE,
        }
    )
    assert (await run(flow, q={"k": 1}))["b"] == 5
    assert (await run(flow, q={"k": 2}))["b"] is None
    with pytest.raises(FlowFailed, match=r"node `b`: `activate`: \$\{a.output.q.k\}: there is no `k`") as caught:
        await run(flow, recorder, q={})
    assert caught.value.metadata["node"] == "b"
    assert recorder.records["b"].status is NodeStatus.FAILED


async def test_outputs_in_what_was_bypassed_are_null(flow_with, run):
    flow = flow_with(
        {python("a", "{x: 1}", "{when: '${inputs.q}', is: 1}"): GIVE},
        outputs="{whole: {type: int, reference: '${a}'}, inner: {reference: '${a.output.deep[0]}'}}",
    )
    assert await run(flow, q=2) == {"whole": None, "inner": None}
    whole = flow.spec.output_schema["properties"]["whole"]
    assert whole == {"anyOf": [{"type": "integer"}, {"type": "null"}]}


async def test_a_bypassed_stream_is_told_as_null(flow_with, run, recorder):
    flow = flow_with({python("a", "{}", "{when: '${inputs.q}', is: 1}"): TALK, python("b"): TALK})
    assert flow.spec.streaming_outputs == ("a", "b")
    assert await run(flow, recorder, q=2) == {"a": None, "b": "ab"}
    assert {"a": None} in recorder.deltas
    assert [delta for delta in recorder.deltas if "b" in delta] == [{"b": "a"}, {"b": "b"}]


async def test_nodes_for_batches_do_not_run_and_their_outputs_are_absent(flow_with, run, recorder):
    flow = flow_with(
        {
            python("a", "{x: '${inputs.q}'}"): GIVE,
            python("m", "{x: '${a}'}", extra=", aggregation: true"): "raise SystemExit('never imported')",
            python("n", "{x: '${m}'}", extra=", reduce: true"): "raise SystemExit('never imported')",
        },
        outputs="{a: {reference: '${a}'}, m: {reference: '${m}'}, e: {reference: '${a}', evaluation_only: true}}",
    )
    assert await run(flow, recorder, q=1) == {"a": 1}
    assert set(recorder.records) == {"a"}
    schema = flow.spec.output_schema
    assert list(schema["properties"]) == ["a"]
    assert schema["description"] == "Not given online, for they are of aggregation nodes or for evaluation only: m, e."


def test_a_node_that_runs_online_cannot_refer_to_one_for_batches(flow_with):
    nodes = {python("a", extra=", aggregation: true"): GIVE, python("b", "{x: '${a}'}"): GIVE}
    with pytest.raises(FlowLoadError, match="`a` is an aggregation node"):
        flow_with(nodes)


async def test_the_default_variant_stands_for_all_of_its_node(load_folder, run):
    flow = load_folder(
        {
            "flow.dag.yaml": """
                inputs: {q: {type: int}}
                outputs: {o: {reference: "${a}"}}
                nodes:
                - {name: a, use_variants: true, activate: {when: x, is: y}}
                node_variants:
                  a:
                    default_variant_id: second
                    variants:
                      first: {node: {type: prompt, source: {type: code, path: gone.jinja2}}}
                      second: {node: {type: python, source: {type: code, path: a.py}, inputs: {x: "${inputs.q}"}}}
                """,
            "a.py": GIVE,
        }
    )
    assert await run(flow, q=3) == {"o": 3}


def test_a_default_variant_that_is_none_is_named(load_folder):
    yaml = """
        nodes: [{name: a, use_variants: true}]
        node_variants: {a: {default_variant_id: secnod, variants: {second: {node: {type: python}}}}}
        """
    with pytest.raises(FlowLoadError) as caught:
        load_folder({"flow.dag.yaml": yaml})
    assert "`default_variant_id` names no variant (did you mean `second`?)" in str(caught.value)
