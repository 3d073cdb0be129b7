"""The published schemas of the documents say what the loader says."""

import copy
import json
from importlib.resources import files
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from penstock_server.flows import document, flex
from penstock_server.flows.dag import keys, policy, reader
from penstock_server.flows.document import Problems
from penstock_server.flows.loader import load
from penstock_server.flows.problems import FlowLoadError

FORMAT = files("penstock_server.flows") / "format"
SCHEMAS = {name: json.loads((FORMAT / f"flow.{name}.schema.json").read_text("utf-8")) for name in ("dag", "flex")}
VALIDATORS = {name: Draft202012Validator(schema) for name, schema in SCHEMAS.items()}

EVERYTHING = """
$schema: https://example.com/Flow.schema.json
display_name: Everything
description: A flow with every key that there is
environment: {python_requirements_txt: requirements.txt}
environment_variables: {A: b, C: 1}
additional_includes: [../shared]
allow_extra_inputs: true
history_rounds_max: 3
x-owner: somebody
inputs:
  question: {type: string, default: '?', description: asked, is_chat_input: true, is_chat_history: false}
  chat_history: {type: list, is_chat_history: true, default: []}
  picture: {type: image}
  anything: {}
outputs:
  answer: {type: string, reference: '${say.output}', is_chat_output: true, description: said}
  score: {type: double, reference: '${score.output}', evaluation_only: true}
nodes:
- name: fetch
  type: python
  source: {type: code, path: fetch.py}
  inputs: {question: '${inputs.question}', count: 3}
  activate: {when: '${inputs.question}', is: null}
  timeout_s: 2.5
  retry: {attempts: 3, backoff_s: 0.5, on: [TimeoutError, ConnectionError]}
  comment: a comment
- name: say
  use_variants: true
- name: score
  type: python
  source: {type: package, tool: a.b}
  aggregation: true
  inputs: {answer: '${say.output}'}
  retry: {attempts: 2, on: TimeoutError}
node_variants:
  say:
    default_variant_id: one
    variants:
      one:
        node: {type: llm, source: {type: code, path: a.jinja2}, inputs: {model: m}, connection: c, api: chat}
"""

WRONG = {
    "inputs: 5\nnodes: []": ("inputs",),
    "inputs: {a: 5}\nnodes: []": ("inputs", "a"),
    "inputs: {a: {type: strin}}\nnodes: []": ("inputs", "a", "type"),
    "inputs: {a: {typ: string}}\nnodes: []": ("inputs", "a"),
    "inputs: {a: {type: string, is_chat_input: 'yes'}}\nnodes: []": ("inputs", "a", "is_chat_input"),
    "outputs: [a]\nnodes: []": ("outputs",),
    "outputs: {a: {type: string}}\nnodes: []": ("outputs", "a"),
    "outputs: {a: {type: text, reference: x}}\nnodes: []": ("outputs", "a", "type"),
    "nodes: 5": ("nodes",),
    "inputs: {}": (),
    "[]": (),
    "nodes: []\nnodez: []": (),
    "nodes: [5]": ("nodes", 0),
    "nodes: [{type: python}]": ("nodes", 0),
    "nodes: [{name: a, type: python, inputz: {}}]": ("nodes", 0),
    "nodes: [{name: a, type: python, inputs: 5}]": ("nodes", 0, "inputs"),
    "nodes: [{name: a, type: python, source: {pth: a.py}}]": ("nodes", 0, "source"),
    "nodes: [{name: a, type: python, activate: {when: '${inputs.x}'}}]": ("nodes", 0, "activate"),
    "nodes: [{name: a, type: python, aggregation: 'yes'}]": ("nodes", 0, "aggregation"),
    "nodes: [{name: a, type: python, timeout_s: 0}]": ("nodes", 0, "timeout_s"),
    "nodes: [{name: a, type: python, timeout_s: soon}]": ("nodes", 0, "timeout_s"),
    "nodes: [{name: a, type: python, retry: 3}]": ("nodes", 0, "retry"),
    "nodes: [{name: a, type: python, retry: {}}]": ("nodes", 0, "retry"),
    "nodes: [{name: a, type: python, retry: {attempts: 0}}]": ("nodes", 0, "retry", "attempts"),
    "nodes: [{name: a, type: python, retry: {attempts: 2, backoff_s: -1}}]": ("nodes", 0, "retry", "backoff_s"),
    "nodes: [{name: a, type: python, retry: {attempts: 2, on: []}}]": ("nodes", 0, "retry", "on"),
    "nodes: [{name: a, type: python, retry: {attempts: 2, wait: 1}}]": ("nodes", 0, "retry"),
    "nodes: []\nnode_variants: [a]": ("node_variants",),
    "nodes: []\nnode_variants: {a: {variant: {}}}": ("node_variants", "a"),
    "nodes: []\nallow_extra_inputs: 'yes'": ("allow_extra_inputs",),
    "nodes: []\nhistory_rounds_max: -1": ("history_rounds_max",),
    "nodes: []\nhistory_rounds_max: 1001": ("history_rounds_max",),
    "nodes: []\nhistory_rounds_max: many": ("history_rounds_max",),
}
"""Documents with one thing that is wrong, and the place where the schema finds it."""


def plain(text: str) -> Any:
    return document.parse(text, "flow.dag.yaml").plain()


def found_by_loader(text: str) -> list[str]:
    problems = Problems("flow.dag.yaml")
    try:
        reader.read(document.parse(text, "flow.dag.yaml"), problems)
    except FlowLoadError as error:
        return [str(problem) for problem in error.problems]
    return [str(problem) for problem in problems.found]


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schema_is_one_and_explains_every_key(name):
    Draft202012Validator.check_schema(SCHEMAS[name])
    objects = [SCHEMAS[name], *SCHEMAS[name]["$defs"].values()]
    keys_of = [(key, entry) for each in objects for key, entry in each["properties"].items()]
    assert [key for key, entry in keys_of if "$ref" not in entry and len(entry["description"]) < 10] == []


def test_the_schema_has_the_keys_that_the_loader_knows():
    definitions = SCHEMAS["dag"]["$defs"]
    known = {
        "input": keys.INPUT,
        "output": keys.OUTPUT,
        "node": [key for key in keys.NODE if key != "skip"],  # the loader knows it to say what to use in its place
        "source": keys.SOURCE,
        "activate": keys.ACTIVATE,
        "variants": keys.VARIANTS,
        "variant": keys.VARIANT,
    }
    assert {name: set(definitions[name]["properties"]) for name in known} == {k: set(v) for k, v in known.items()}
    assert set(SCHEMAS["dag"]["properties"]) == set(keys.DOCUMENT)
    assert set(SCHEMAS["flex"]["properties"]) == set(flex.KEYS)
    assert definitions["retry"]["properties"]["attempts"]["maximum"] == policy.ATTEMPTS_MAX
    assert definitions["node"]["properties"]["timeout_s"]["maximum"] == policy.SECONDS_MAX


def test_a_document_with_every_key_pleases_both():
    assert found_by_loader(EVERYTHING) == []
    assert list(VALIDATORS["dag"].iter_errors(plain(EVERYTHING))) == []


@pytest.mark.parametrize(("text", "place"), WRONG.items())
def test_what_is_wrong_for_one_is_wrong_for_the_other(text, place):
    assert found_by_loader(text)
    places = {tuple(error.absolute_path) for error in VALIDATORS["dag"].iter_errors(plain(text))}
    assert places == {place}


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in _places(each, (*path, key)))]


def _changed(value: Any, path: tuple[Any, ...], change: Any) -> Any:
    changed = copy.deepcopy(value)
    if not path:
        return change
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    if change is ...:
        del parent[path[-1]]
    else:
        parent[path[-1]] = change
    return changed


WHOLE = plain(EVERYTHING)


def _is_read_with_the_graph(path: tuple[Any, ...]) -> bool:
    """Whether the reader of graphs looks there, rather than who prepares the folder or who makes nodes."""
    folder = ("additional_includes", "environment_variables")
    return path != () and path[0] not in folder and not (path[0] == "nodes" and path[2:3] in [("type",), ("source",)])


VALUES = st.sampled_from([..., None, True, 5, -1, 0.5, "", "x", "string", [], ["a"], {}, {"unknown": 1}, {"name": "n"}])


@settings(max_examples=400, deadline=None)
@given(path=st.sampled_from(list(filter(_is_read_with_the_graph, _places(WHOLE)))), change=VALUES)
def test_what_the_schema_refuses_the_loader_refuses(path, change):
    changed = _changed(WHOLE, path, change)
    refused = [(tuple(each.absolute_path), each.message) for each in VALIDATORS["dag"].iter_errors(changed)]
    if refused:  # what it takes may still be refused: a reference to nothing has the form of one
        assert found_by_loader(yaml.safe_dump(changed, sort_keys=False)), (path, change, refused)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "entry: ''",
        "entry: [a]",
        "entry: main:f\ninputs: 5",
        "entry: main:f\ninputs: {a: {type: x}}",
        "entry: main:f\ninit: [1]",
        "entry: main:f\nunknown: 1",
        "entry: main:f\nadditional_includes: x",
        "entry: main:f\nenvironment_variables: [x]",
    ],
)
def test_flex_documents_are_refused_by_both(text, write):
    write({"flow.flex.yaml": text, "main.py": "def f(a=1): return a\n"})
    assert not VALIDATORS["flex"].is_valid(plain(text))
    with pytest.raises(FlowLoadError):
        load("shop")


def test_a_flex_document_with_every_key_pleases_both(load_folder):
    text = """
        $schema: https://example.com/Flow.schema.json
        entry: main:Flow
        description: Every key
        inputs: {a: {type: int, default: 1, description: a number}}
        outputs: {output: {type: string}}
        init: {b: {type: string, default: x}, c: 5}
        sample: {inputs: {a: 2}, init: {b: y}}
        environment: {python_requirements_txt: requirements.txt}
        environment_variables: {PENSTOCK_TEST_OF_FORMAT: x}
        x-owner: somebody
        """
    source = "class Flow:\n    def __init__(self, b, c): ...\n    def __call__(self, a): return a\n"
    load_folder({"flow.flex.yaml": text, "main.py": source})
    assert list(VALIDATORS["flex"].iter_errors(plain(text))) == []
